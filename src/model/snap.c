/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot has one writer on each side: publishers exchange `pending`, the loop owns `current`.
 * Counting does the rest.
 */
#include "model/snap.h"

#include <stddef.h>

void snap_init(struct snap *s, struct snap_bin *bin, void (*free)(struct snap *s))
{
    *s = (struct snap){.free = free, .bin = bin};
    aref_init(&s->refs);
}

struct snap *snap_ref(struct snap *s)
{
    aref_get(&s->refs);
    return s;
}

/* Pushes only; the bin's owner takes all at once, so there is no element to come back (no ABA). */
static void bin_put(struct snap_bin *bin, struct snap *s)
{
    s->bin_next = atomic_load_explicit(&bin->top, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&bin->top, &s->bin_next, s, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

struct snap *snap_unref(struct snap *s)
{
    if (!s || !aref_put(&s->refs)) {
        return NULL;
    }
    if (s->bin) {
        bin_put(s->bin, s);
    } else {
        s->free(s);
    }
    return NULL;
}

unsigned snap_bin_empty(struct snap_bin *bin)
{
    struct snap *s = atomic_exchange_explicit(&bin->top, NULL, memory_order_acquire);
    unsigned count = 0;

    while (s) {
        struct snap *next = s->bin_next;
        s->free(s);
        s = next;
        count++;
    }
    return count;
}

void snap_publish(struct snap_slot *slots, unsigned count, struct snap *take_s)
{
    for (unsigned i = 0; i < count; i++) {
        snap_unref(
            atomic_exchange_explicit(&slots[i].pending, snap_ref(take_s), memory_order_acq_rel));
    }
    snap_unref(take_s);
}

bool snap_adopt(struct snap_slot *slot)
{
    struct snap *newer;

    if (!atomic_load_explicit(&slot->pending, memory_order_relaxed)) {
        return false;
    }
    newer = atomic_exchange_explicit(&slot->pending, NULL, memory_order_acq_rel);
    snap_unref(slot->current);
    slot->current = newer;
    return true;
}

void snap_slot_fini(struct snap_slot *slot)
{
    slot->current = snap_unref(slot->current);
    snap_unref(atomic_exchange_explicit(&slot->pending, NULL, memory_order_acq_rel));
}
