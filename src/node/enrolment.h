/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of one pod into the mesh and out of it. At every point either its connections go as if
 * there were no mesh, or a proxy that has acknowledged the pod listens where they are captured; and
 * the pod is announced to the world only while the latter is proved.
 *
 * In: the proxy is told and answers, rules are written, the capture is proved, the annotation says so.
 * Out: the annotation goes, the world hears of it, new connections pass by while carried ones end
 * (or ten minutes pass), the proxy lets go, the rules go.
 *
 * An owner holds one for each pod and wakes nobody: it is woken with WAKE_CHILD when the standing has
 * changed. Lives on the agent's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/jobs.h"
#include "node/capture.h"
#include "node/pod_source.h"
#include "node/zds_server.h"

enum {
    ENROLMENT_DRAIN_MS = 600000,
    ENROLMENT_DRAIN_POLL_MS = 500,
    ENROLMENT_CHECK_MS = 60000, /* a member is proved again that often */
    ENROLMENT_TOLD_MS = 1500    /* from the annotation to proxies on other nodes */
};

struct repairs { /* of rules that somebody else has changed */
    uint64_t count;
    int64_t last_s; /* since 1970 */
};

struct enrolment_env { /* the agent's; outlives its enrolments */
    struct loop *loop;
    struct jobs *jobs;
    const struct capture_ops *capture;
    struct zds_server *zds;
    struct pod_source *source;
    const char *netns_dir; /* mounts of local workloads' namespaces */
    unsigned told_ms;
    struct repairs *repairs; /* of rules inside of pods: counted here */
    struct repairs *host;    /* of the host's rules for health probes */
    bool probes;             /* those are in place */
};

enum enrolment_standing {
    ENROLMENT_OUT,
    ENROLMENT_JOINING,
    ENROLMENT_IN,
    ENROLMENT_LEAVING,
    ENROLMENT_OVER /* the pod is gone and so is all that was its: free it */
};

struct enrolment;

struct enrolment *enrolment_new(const struct enrolment_env *env, struct pod *take_pod, bool wanted,
                                struct task *owner);
/* Drops everything where it stands: for the agent's end. What is in the kernel stays. */
void enrolment_free(struct enrolment *e);
AUTO_DEFINE(enrolment, struct enrolment *, enrolment_free);

void enrolment_update(struct enrolment *e, struct pod *take_pod, bool wanted);
/* The pod does not run any more. */
void enrolment_end(struct enrolment *e);

enum enrolment_standing enrolment_standing(const struct enrolment *e);
/* Its namespace was looked for, found or not: proxies may be told the whole membership. */
bool enrolment_is_located(const struct enrolment *e);
const struct pod *enrolment_pod(const struct enrolment *e);
/* For people: the step's name, and why the last attempt failed ("" if it did not). */
const char *enrolment_step_name(const struct enrolment *e);
const char *enrolment_trouble(const struct enrolment *e);
/* Of the rules inside of its pod. */
const struct repairs *enrolment_repairs(const struct enrolment *e);
