/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of its memory a process uses: anonymous pages (what the kernel cannot have back) against a
 * limit, looked at four times a second by one loop and asked by any thread. From SOFT_PERCENT on, what
 * the allocator holds free is given back at once.
 */
#pragma once

#include <stdatomic.h>

#include "io/loop.h"

enum { MEMORY_SOFT_PERCENT = 80, MEMORY_HARD_PERCENT = 90, MEMORY_LOOK_MS = 250 };

struct memory_guard {
    struct task task;
    struct timer next;
    uint64_t limit_bytes; /* 0: none */
    uint64_t trimmed_ms;
    atomic_uint percent; /* used of the limit */
};

/* The smaller of what is asked for and what the control group has; 0 is no limit in both. */
uint64_t memory_limit(uint64_t asked_bytes);
/* Anonymous pages of the process; 0: not known. */
uint64_t memory_used(void);

void memory_guard_init(struct memory_guard *g, struct loop *l, uint64_t limit_bytes);
void memory_guard_fini(struct memory_guard *g);

/* Any thread. New work is to be refused. */
static inline bool memory_guard_is_over(const struct memory_guard *g)
{
    return atomic_load_explicit(&g->percent, memory_order_relaxed) >= MEMORY_HARD_PERCENT;
}
