/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing immutable configuration to loops that never lock.
 *
 * A publisher on any thread builds a whole new value and hands it to every slot; each loop adopts
 * the newest between turns. Inside a turn snap_now() is a plain pointer that cannot change or die;
 * what outlives the turn takes its own reference. A value whose last reference ends on a loop is
 * not freed there, which would stall it, but left in the publisher's bin.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/ref.h"

struct snap;

/* Where dead values wait for the publisher. Outlives every value that names it. */
struct snap_bin {
    _Atomic(struct snap *) top;
};

/* Embedded in the value. */
struct snap {
    struct aref refs;
    void (*free)(struct snap *s);
    struct snap_bin *bin;  /* NULL: freed on the spot, by whoever ends the last reference */
    struct snap *bin_next; /* only while in the bin */
};

struct snap_slot {
    _Atomic(struct snap *) pending; /* newest not yet adopted; owns a reference */
    struct snap *current;           /* this loop's; owns a reference */
};

/* One reference for the caller. */
void snap_init(struct snap *s, struct snap_bin *bin, void (*free)(struct snap *s));
struct snap *snap_ref(struct snap *s);
struct snap *snap_unref(struct snap *s); /* any thread; returns NULL; accepts NULL */

/* Any thread. Takes one reference. A value that nobody adopted in time is skipped. */
void snap_publish(struct snap_slot *slots, unsigned count, struct snap *take_s);
/* Frees what loops left behind; the publisher's thread, off the loops. Returns how many. */
unsigned snap_bin_empty(struct snap_bin *bin);

/* The owning loop, between turns: one relaxed load when there is nothing new. True when a newer
 * value was adopted. */
bool snap_adopt(struct snap_slot *slot);
/* Borrowed until the turn ends. NULL before the first adoption. */
static inline struct snap *snap_now(const struct snap_slot *slot)
{
    return slot->current;
}
/* Any thread, when the loop no longer runs. */
void snap_slot_fini(struct snap_slot *slot);
