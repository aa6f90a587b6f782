/* SPDX-License-Identifier: Apache-2.0 */
/* A relay with a task of its own, for tests that have no connection around it. */
#pragma once

#include "io/relay.h"

struct relay_task;

/* Called once, as the last act of its task, after both legs are closed. */
typedef void relay_done_fn(void *arg, int result, struct relay_stats stats,
                           const struct diag *diag);

/* Takes both streams. */
struct relay_task *relay_task_new(struct loop *l, struct stream *near, struct stream *far,
                                  relay_done_fn *done, void *arg);
/* Ends soon with result why. */
void relay_task_abort(struct relay_task *x, int why);

struct relay_parts {
    struct relay relay;
    struct relay_legs legs;
};
void relay_task_take_apart(struct relay_task *x, struct relay_parts *out);
struct relay_task *relay_task_assemble(struct loop *l, const struct relay_parts *parts,
                                       relay_done_fn *done, void *arg);
