/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two counts that do not mix. ref: one thread's objects, plain arithmetic. aref: objects that cross
 * threads, whose contents are immutable from the moment a second thread can see them.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

struct ref {
    unsigned n;
};

struct aref {
    atomic_uint n;
};

static inline void ref_init(struct ref *r)
{
    r->n = 1;
}

static inline void ref_get(struct ref *r)
{
    assert(r->n > 0);
    r->n++;
}

/* True when the caller held the last one and must free. */
static inline bool ref_put(struct ref *r)
{
    assert(r->n > 0);
    return --r->n == 0;
}

static inline void aref_init(struct aref *r)
{
    atomic_init(&r->n, 1);
}

static inline void aref_get(struct aref *r)
{
    unsigned was = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);

    assert(was > 0);
    (void)was;
}

/* True when the caller held the last one and must free. */
static inline bool aref_put(struct aref *r)
{
    unsigned was = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);

    assert(was > 0);
    return was == 1;
}
