/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All objects, in memory and in order, with one version counter and a window of past changes for
 * watches and for lists of an older state. Pure data on the loop thread: it neither reads nor writes
 * files. A change is visible to its own process at once; whoever answers a client waits until
 * store_durable has reached the version that the answer rests on (store_writer.h moves it).
 *
 * Versions are contiguous: each change takes exactly one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct kind;
struct object;
struct store;
struct task;

enum {
    STORE_WINDOW = 8192,              /* changes remembered, a power of two */
    STORE_WINDOW_BYTES = 64 << 20,    /* and the objects that only they keep alive */
    STORE_PENDING = STORE_WINDOW / 2, /* changes not yet durable: more are refused */
};

struct store_change {
    uint64_t rv;
    struct object *now; /* a deletion: the last content under the deletion's version */
    struct object *was; /* NULL: created by this change */
    bool deleted;
};

struct store *store_new(void);
void store_free(struct store *s);

/* While loading, before the first change: takes o; 0 or -ERR_EXISTS. */
MUST_USE int store_load(struct store *s, struct object *take_o);
/* Ends loading: the state stands at rv, and that is durable. */
void store_loaded(struct store *s, uint64_t rv);

/* The newest version, and the newest that is on disk. */
uint64_t store_rv(const struct store *s);
uint64_t store_durable(const struct store *s);
void store_set_durable(struct store *s, uint64_t rv); /* wakes every waiter */
/* False while too many changes wait for the disk. */
bool store_accepts(const struct store *s);
size_t store_count(const struct store *s, const struct kind *kind);

/* Borrowed until the next change; NULL when absent. */
struct object *store_find(const struct store *s, const struct kind *kind, const char *ns,
                          const char *name);
/* Creates or replaces; takes o, whose rv is store_rv + 1. The caller has asked store_accepts. */
void store_put(struct store *s, struct object *take_o);
/* Removes the object of that key; last is its content under rv store_rv + 1, taken. */
void store_remove(struct store *s, struct object *take_last);

/* The change with that version; NULL when it is beyond the newest or out of the window. */
const struct store_change *store_change(const struct store *s, uint64_t rv);
/* The oldest version whose state and successors are still known. */
uint64_t store_floor(const struct store *s);

/* Woken (WAKE_IO) by every change: it brings them to the disk and calls store_set_durable. */
void store_set_writer(struct store *s, struct task *writer);

/* Woken (WAKE_IO) whenever store_durable moves. Embedded; remove it before it goes away. */
struct store_waiter {
    struct list node;
    struct task *task;
};
void store_wait(struct store *s, struct store_waiter *w, struct task *task);
void store_unwait(struct store_waiter *w);

/*
 * A walk over one kind, in order, as of one version. Not across changes: make a new one with the
 * last key to go on.
 */
struct cursor {
    const struct store *store;
    const struct kind *kind;
    const char *ns;
    size_t at;
    const struct store_change **past; /* sorted: keys whose state at rv differs from now */
    size_t past_count;
    size_t past_at;
};

/* ns "" = all. Starts behind (after_ns, after_name), both NULL: at the first.
 * -ERR_NOT_FOUND: rv is out of the window. rv 0 = newest. */
MUST_USE int cursor_init(struct cursor *c, const struct store *s, const struct kind *kind,
                         const char *ns, uint64_t rv);
void cursor_skip_to(struct cursor *c, const char *after_ns, const char *after_name);
struct object *cursor_next(struct cursor *c); /* borrowed; NULL at the end */
void cursor_fini(struct cursor *c);
