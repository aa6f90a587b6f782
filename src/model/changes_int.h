/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to the values of a snapshot that is being replaced (delta.c, l7_delta.c): gathered by kind
 * and key, so that a key has one change, which tells what the base has and what comes instead.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "model/table_int.h"

enum { CHANGE_KINDS_MAX = 4 };

struct change_ops { /* of values of a kind, in a base */
    const char *(*key)(unsigned kind, const void *v);
    /* Putting the one where the other is changes nothing. */
    bool (*is_same)(unsigned kind, const void *a, const void *b);
    const void *(*find)(const void *base, unsigned kind, const char *key);
    const struct table_owner *(*owner)(unsigned kind);
};

/* What becomes of one key. */
struct change {
    struct map_node by_key;
    struct list in_order; /* of the last word about the key */
    unsigned kind;
    const void *old; /* base's; NULL: base has none */
    const void *now; /* one reference; NULL: it goes */
};

struct changes {
    const struct change_ops *ops;
    const void *base; /* borrowed */
    struct map by_key[CHANGE_KINDS_MAX];
    struct list in_order; /* of struct change */
};

void changes_init(struct changes *c, const struct change_ops *ops, const void *base);
void changes_fini(struct changes *c);
size_t changes_count(const struct changes *c);
/* What is held now for a key, be it by a change or in the base; borrowed. NULL: nothing. */
const void *changes_held(const struct changes *c, unsigned kind, const char *key);
/* Takes the caller's reference. False: the same is held. */
bool changes_put(struct changes *c, unsigned kind, const void *take_v);
/* False: there was none. */
bool changes_remove(struct changes *c, unsigned kind, const char *key);
