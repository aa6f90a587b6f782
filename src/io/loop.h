/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop a thread. A turn is: readiness, hooks (adopt configuration), mail, due timers, then up to
 * LOOP_ROUNDS rounds of the tasks that were queued when the round began, then the late tasks. What is
 * gathered before the rounds only sets bits and queues tasks, so nothing of it can point at what was
 * freed in the same turn.
 *
 * Everything here belongs to the loop's thread, except loop_post, loop_stop and loop_poke.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "io/task.h"

enum {
    LOOP_ROUNDS = 8,
    LOOP_SCRATCH_BYTES = 512 << 10, /* performance: batches beyond this leave the L2 cache */
    LOOP_SLOW_TASK_MS = 5,          /* a task that runs longer is named in the log (debug) */
    LOOP_REST_MS = 5000
};

/* Delivers what mail is left, so that abandoned jobs are released; whoever may post (a job pool,
 * another loop) has ended before. */
void loop_free(struct loop *l);
struct loop *loop_new(struct diag *why) FREED_BY(loop_free);
AUTO_DEFINE(loop, struct loop *, loop_free);

/* Runs turns until loop_stop. */
void loop_run(struct loop *l);
/* One turn that waits at most wait_ms (negative: for ever) for something to do. How many tasks ran. */
unsigned loop_turn(struct loop *l, int wait_ms);
void loop_stop(struct loop *l); /* any thread */
void loop_poke(struct loop *l); /* any thread: makes the loop take a turn soon */

/* Monotonic; constant within a turn. */
uint64_t loop_now_ms(const struct loop *l);
/* Tests: moves the loop's clock forward without waiting. */
void loop_advance(struct loop *l, uint64_t ms);
/* Tests: from now on loop_advance alone moves the clock, so that what becomes due does not depend on
 * how long the test takes. */
void loop_stop_clock(struct loop *l);
/* Memory any task may use within one run, never across runs. */
void *loop_scratch(struct loop *l);

/* What the sockets of a loop count together, however short one of them lives. */
struct loop_counts {
    uint64_t accept_pauses;  /* of listeners, for want of descriptors or memory */
    uint64_t datagrams_lost; /* sends the kernel took no datagram of, and received ones too large */
    uint64_t splices;        /* times bytes began to be moved by a pipe instead of being copied */
};
struct loop_counts *loop_counts(struct loop *l);

uint64_t loop_turns(const struct loop *l); /* any thread: how many so far */
/* For hooks: how long the turn before this one took, from the end of its wait; 0 in the first. */
uint64_t loop_last_turn_ns(const struct loop *l);

struct loop_hook { /* embedded; called at the top of each turn, before any task */
    struct list in_loop;
    void (*turn)(struct loop_hook *h);
};
void loop_hook_start(struct loop *l, struct loop_hook *h);
void loop_hook_stop(struct loop_hook *h);

/* Large buffers that the connections of a loop share are given back when they have not been needed
 * for a while. Whoever uses one says so (loop_stir, cheap); LOOP_REST_MS after that, rest is called once,
 * outside of any task: it gives back what is free and unused, and stirs again for what is not. */
struct loop_rest { /* embedded */
    struct list in_loop;
    void (*rest)(struct loop_rest *r);
};
void loop_rest_start(struct loop *l, struct loop_rest *r);
void loop_rest_stop(struct loop_rest *r);
void loop_stir(struct loop *l);

/* Something that lives on by itself, with nobody who would end it: a connection that lingers. It takes
 * itself out when it ends. */
struct loop_orphan { /* embedded */
    struct list in_loop;
    void (*end)(struct loop_orphan *o); /* at once: frees it */
};
void loop_orphan_add(struct loop *l, struct loop_orphan *o);
void loop_orphan_remove(struct loop_orphan *o);
/* Ends them all: before what they stand on is taken down. loop_free does it, too. */
void loop_end_orphans(struct loop *l);

struct mail { /* the only door from other threads; the receiver owns it on delivery */
    struct mail *next;
    void (*deliver)(struct mail *m); /* runs on the loop, may only wake tasks and move values */
};
void loop_post(struct loop *l, struct mail *m); /* any thread */

enum {
    FD_READABLE = 1,
    FD_WRITABLE = 2,
    FD_ENDED = 4 /* the peer ended its half, or the socket failed: no edge may come after this */
};

struct fd_watch {      /* embedded in whatever owns the descriptor */
    struct task *task; /* may change while watched; NULL drops wakes */
    struct loop *loop;
    int fd;
    unsigned ready; /* FD_*; the first two are sticky until the owner sees EAGAIN */
};

/* Edge-triggered: starts out ready, so the first call is simply tried. */
MUST_USE int fd_watch_start(struct fd_watch *w, struct loop *l, struct task *t, int fd);
/* The caller saw EAGAIN: forget readiness, wake the task when it comes back. */
void fd_watch_blocked(struct fd_watch *w, unsigned what);
/* Before close(fd); never fails; fine on a watch that never started (zeroed). */
void fd_watch_stop(struct fd_watch *w);

struct timer { /* embedded; zeroed = not armed */
    struct task *task;
    uint64_t due_ms;
    unsigned slot; /* place in the heap + 1; 0 = not armed */
};

/* Re-arms if armed. Fires once by waking task with WAKE_TIMER. Must be cleared before the memory of
 * the timer or of the task goes. */
void timer_set(struct timer *t, struct task *task, uint64_t in_ms);
void timer_clear(struct timer *t);
/* Was set, and its time has come (it is not armed any more), until the next set or clear. */
bool timer_is_due(const struct timer *t);
static inline bool timer_is_armed(const struct timer *t)
{
    return t->slot > 0;
}
