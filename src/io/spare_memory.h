/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives back to the kernel what connections of the past have left free in the allocator. Only what
 * lay free for a whole period: memory that a steady load takes and returns stays, because a page
 * fault costs as much as ten system calls.
 *
 * The control loop's thread.
 */
#pragma once

#include "io/loop.h"

enum {
    SPARE_PERIOD_MS = 5000,
    SPARE_KEPT_BYTES = 1 << 20 /* free memory that is left alone */
};

struct spare_memory {
    struct task task;
    struct timer next;
    size_t before; /* free bytes a period ago */
    size_t hollow; /* of the free bytes, those given back already: the fewest there were since */
};

void spare_memory_init(struct spare_memory *s, struct loop *l);
void spare_memory_fini(struct spare_memory *s);
