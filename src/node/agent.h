/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's core: follows pods and namespaces, and takes each pod of this node into the mesh and
 * out of it (enrolment.h). Proxies are served once everything that exists has been seen, so that a
 * restarted agent never makes them drop a pod. Lives on one loop.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "io/jobs.h"
#include "node/capture.h"
#include "node/enrolment.h"
#include "node/pod_source.h"

/* More pods than PODS_MAX wait, out of the mesh, until others end; of those, AWAY_MAX are known. */
enum { AGENT_PODS_MAX = 1024, AGENT_AWAY_MAX = 4096, AGENT_NAMESPACES_MAX = 16384 };

struct agent_config {
    struct loop *loop;
    struct jobs *jobs;                 /* job threads, for visits to namespaces */
    const struct capture_ops *capture; /* &capture_kernel */
    struct pod_source *source;
    const char *zds_path;
    const char *netns_dir;       /* mounts of local workloads' namespaces */
    const char *const *excluded; /* namespaces, NULL at the end; may be NULL */
    unsigned told_ms;            /* 0 = ENROLMENT_TOLD_MS */
    bool probes;
};

struct agent;

void agent_free(struct agent *a);
MUST_USE int agent_new(const struct agent_config *config, struct agent **out, struct diag *why);
AUTO_DEFINE(agent, struct agent *, agent_free);

/* Everything that existed at the start is known, and a proxy is connected. */
bool agent_is_ready(const struct agent *a);

/* The pod with this uid; NULL if the agent does not know it (yet). Borrowed until the next turn. */
const struct enrolment *agent_find(const struct agent *a, const char *uid);
/* Every pod of this node that is known, in no order; those that are on their way out have is_ending. */
void agent_each_pod(const struct agent *a, void (*each)(void *arg, const struct pod *p), void *arg);
/* All that existed at the start has been told. */
bool agent_is_synced(const struct agent *a);
/* How often: more than once where the API was away. Watchers are woken. */
unsigned agent_syncs(const struct agent *a);

/* Embedded in whoever wants to hear, with WAKE_CHILD, that a pod's standing or the number of proxies may
 * have changed. It stays where it is for the agent's life, or until list_remove. */
struct agent_watcher {
    struct list in_agent;
    struct task *task;
};
void agent_watch(struct agent *a, struct agent_watcher *w, struct task *t);

struct agent_counts {
    unsigned pods;        /* known on this node */
    unsigned turned_away; /* for which there is no room */
    unsigned joining;
    unsigned members;
    unsigned leaving;
    unsigned proxies;
    uint64_t repairs; /* of rules that were changed: inside of pods, and the host's for probes */
    struct repairs host_repairs;
};
struct agent_counts agent_counts(const struct agent *a);
