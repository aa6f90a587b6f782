/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One workload that the node itself runs: from the request over the pod object, network, enrolment
 * and command to the last trace of it. A pod that its labels make a member of the mesh is one before
 * its command starts. Lives on the agent's loop; its owner is woken with WAKE_CHILD when something
 * worth telling has changed.
 */
#pragma once

#include <stdbool.h>

#include "io/jobs.h"
#include "node/agent.h"
#include "node/local_record.h"
#include "node/local_work.h"

struct local_env { /* the runtime's; outlives its pods */
    struct loop *loop;
    struct jobs *jobs;
    struct agent *agent;
    struct pod_source *source;
    const char *node;
};

enum local_state {
    LOCAL_STARTING,
    LOCAL_RUNNING,
    LOCAL_WAITING,  /* it ended and is started again after a pause */
    LOCAL_STOPPING, /* it ends, or its traces are being removed */
    LOCAL_GONE      /* nothing is left: free it */
};

struct local_pod;

/* Takes the record (which has its addresses) and the descriptors (-1: none). */
struct local_pod *local_pod_new(const struct local_env *env, struct local_record *take_record,
                                int take_stdio[static LOCAL_STDIO], struct task *owner);
/* One that an agent before us left behind. */
struct local_pod *local_pod_adopt(const struct local_env *env, struct local_record *take_record,
                                  struct task *owner);
/* What runs goes on without the agent. */
void local_pod_free(struct local_pod *p);

void local_pod_stop(struct local_pod *p);
/* Its enrolment may have changed. */
void local_pod_poke(struct local_pod *p);
/* -ESRCH if it does not run. */
MUST_USE int local_pod_signal(struct local_pod *p, int signal);

enum local_state local_pod_state(const struct local_pod *p);
const struct local_record *local_pod_record(const struct local_pod *p);
/* Its traces could not be removed; that is tried again. */
bool local_pod_is_stuck(const struct local_pod *p);
/* The command has run, and may still. */
bool local_pod_has_started(const struct local_pod *p);
/* How the command ended last; NULL if it has not. */
const struct local_exit *local_pod_exit(const struct local_pod *p);
/* What kept it from starting: 0 if nothing did. */
int local_pod_failure(const struct local_pod *p, const char **out_text);
/* The name of the step that state is made of, for people. */
const char *local_pod_step(const struct local_pod *p);
/* A waypoint whose pod object says so. */
bool local_pod_is_ready(const struct local_pod *p);
/* NULL if the agent has not heard of the pod, or not any more. */
const struct enrolment *local_pod_enrolment(const struct local_pod *p);
