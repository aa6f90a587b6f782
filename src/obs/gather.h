/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks several loops for text and joins what they say. Each source's render runs on its own loop, so
 * it may look at that loop's objects without a lock; the asker's task is woken with WAKE_JOB when all
 * have answered.
 */
#pragma once

#include "base/str.h"
#include "io/loop.h"

struct gather_source { /* must outlive every gather that asks it */
    struct loop *loop;
    /* Appends the elements of a JSON array, without brackets. */
    void (*render)(void *arg, struct strbuf *out);
    void *arg;
};

struct gather;

/* Every source's loop must be running or about to. */
struct gather *gather_start(struct loop *l, const struct gather_source *sources, unsigned count,
                            struct task *owner);
bool gather_is_done(const struct gather *g);
/* "[...]"; only when done. */
void gather_write(const struct gather *g, struct strbuf *out);
/* Legal before it is done: late answers are dropped. */
void gather_free(struct gather *g);
AUTO_DEFINE(gather, struct gather *, gather_free);
