/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task is one activity: one relayed connection, one dial, one watch. Whatever can move it forward
 * calls task_wake(); only the loop calls run(). So run() is never on the stack twice and may free its
 * own task as its last act. A wake is a hint: run() must bear being run for nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct task;

enum wake {
    WAKE_START = 1,
    WAKE_IO = 2,
    WAKE_TIMER = 4,
    WAKE_JOB = 8,
    WAKE_CONFIG = 16, /* a newer snapshot may change an earlier decision */
    WAKE_DRAIN = 32,
    WAKE_CHILD = 64 /* an object this task owns has news */
};

typedef void task_fn(struct task *t, unsigned why);

struct task {
    task_fn *run; /* NULL once finished */
    struct loop *loop;
    const char *name; /* of the activity, for slow-task reports */
    /* private to io/ */
    struct task *next;
    struct task **link; /* what points at us while queued, else NULL */
    unsigned why;
    bool late;
};

void task_init(struct task *t, struct loop *l, const char *name, task_fn *run);
/* Queues; never runs; merges reasons. The loop's own thread only. */
void task_wake(struct task *t, unsigned why);
/* The same, but behind everything else of this turn: what wants to act once on all that the other
 * tasks produced (one send for many small writes). A plain wake meanwhile does not hurry it. */
void task_wake_late(struct task *t, unsigned why);
/* Legal inside run(). Later wakes fall flat. */
void task_fini(struct task *t);
