/* SPDX-License-Identifier: Apache-2.0 */
/* What task.c, timer.c and loop.c share. */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "io/loop.h"

struct task_queue {
    struct task *head;
    struct task **tail;
    struct task end; /* marks the end of the round under way; never run */
};

struct timer_heap {
    struct timer **at; /* at[0] is due first */
    unsigned count;
    unsigned room;
};

struct loop {
    struct task_queue soon;
    struct task_queue late;
    struct timer_heap timers;
    struct list hooks;
    struct list orphans;
    _Atomic(struct mail *) mail; /* newest first */
    atomic_bool stop;
    atomic_bool poked; /* the eventfd is already written */
    int epoll;
    int wakeup; /* eventfd */
    uint64_t now_ms;
    uint64_t skew_ms;  /* loop_advance */
    bool clock_stands; /* loop_stop_clock */
    uint64_t woke_ns;  /* when the wait of this turn ended; 0: no turn yet */
    uint64_t last_turn_ns;
    _Atomic(uint64_t) turns; /* written by the loop, read by whoever counts */
    void *scratch;           /* made at first use */
    bool scratch_used;       /* since the last rest */
    struct list rests;
    uint64_t rest_at_ms;    /* 0: nothing was stirred */
    struct list idle_pipes; /* splice.c */
    unsigned idle_pipe_count;
    unsigned pipes; /* idle and in use */
    struct loop_counts counts;
};

/* One writer: no locked instruction is needed. */
static inline void loop_count(_Atomic(uint64_t) *n, uint64_t more)
{
    uint64_t was = atomic_load_explicit(n, memory_order_relaxed);
    atomic_store_explicit(n, was + more, memory_order_relaxed);
}

void task_queue_init(struct task_queue *q);
/* Runs what was queued when it was called, once each. */
unsigned task_queue_round(struct task_queue *q);

/* Wakes the tasks of all timers that are due. */
void timer_heap_fire(struct timer_heap *h, uint64_t now_ms);
/* Until the next one; negative: none. */
int64_t timer_heap_next_ms(const struct timer_heap *h, uint64_t now_ms);
