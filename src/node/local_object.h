/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod object of a local workload, written through the agent's pod source: one write at a time.
 * Each call starts its write when none is under way, answers -EAGAIN and wakes task (WAKE_CHILD)
 * until it has ended, and forgets it then. Before another call the one under way is dropped.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "node/pod_source.h"

struct local_env;
struct local_record;

struct local_object { /* embedded; all three are borrowed */
    const struct local_env *env;
    const struct local_record *record;
    struct task *task;
    struct pod_write *write; /* NULL: none is under way */
};

/* *out_uid: a text of the caller's. -ERR_EXISTS: a pod of that name is somebody else's. */
MUST_USE int local_object_create(struct local_object *o, char **out_uid, struct diag *why);
/* trouble: why it is not ready, for people; NULL: nothing is to be said. */
MUST_USE int local_object_tell(struct local_object *o, enum pod_phase phase, bool ready,
                               const char *trouble, struct diag *why);
MUST_USE int local_object_remove(struct local_object *o, struct diag *why);
void local_object_drop(struct local_object *o); /* fine if no write is under way */
