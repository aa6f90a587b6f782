/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resources of one type that a discovery server has, each encoded once for all clients, in the
 * order in which they last changed. A client's place is one number, the sequence up to which it has
 * been told; what it still has to hear is the tail of that order, so that ten changes of one resource
 * are one to whoever is slow, and nothing is queued for anybody.
 *
 * What went away stays as a tombstone until everybody has heard of it. One loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "xds/resource.h"

enum { CATALOG_TOMBS_MAX = 65536 }; /* beyond it the oldest are forgotten, see catalog_floor */

struct catalog_entry { /* read only outside catalog.c; borrowed until the catalog changes */
    struct map_node by_name;
    struct list in_order;
    struct list in_tombs;
    uint64_t changed;  /* sequence of its last change */
    uint32_t slot;     /* a small number of its own: while it is there, no other entry has it */
    uint32_t body_len; /* 0: a tombstone */
    uint32_t value_at; /* the resource itself within body */
    uint32_t value_len;
    const char *name;
    char version[XDS_VERSION_TEXT]; /* "" in a catalog without versions */
    char body[];                    /* the first three fields of a Resource message */
};

struct catalog;

/* type_url is borrowed. Without versions every client is sent everything when it comes back. */
struct catalog *catalog_new(const char *type_url, bool has_versions);
void catalog_free(struct catalog *c);
AUTO_DEFINE(catalog, struct catalog *, catalog_free);
const char *catalog_type(const struct catalog *c);

/* False: it is there already, with the same bytes. */
bool catalog_put(struct catalog *c, const char *name, struct slice value);
bool catalog_remove(struct catalog *c, const char *name);
/* As if it had changed: it is sent again. */
void catalog_touch(struct catalog *c, const char *name);

/* The newest sequence; 0: nothing ever happened. */
uint64_t catalog_seq(const struct catalog *c);
/* Whoever has heard less than this may have missed a removal for ever. */
uint64_t catalog_floor(const struct catalog *c);
/* Resources there are now, and tombstones. */
size_t catalog_count(const struct catalog *c);
size_t catalog_tombs(const struct catalog *c);
/* Bound of the slots in use. */
uint32_t catalog_slots(const struct catalog *c);
/* Everybody has heard of everything up to heard: tombstones up to there go. */
void catalog_prune(struct catalog *c, uint64_t heard);

/* Tombstones are found too. */
const struct catalog_entry *catalog_find(const struct catalog *c, struct slice name);
/* In the order of change: the first one after since (NULL: none), and on. */
const struct catalog_entry *catalog_after(const struct catalog *c, uint64_t since);
const struct catalog_entry *catalog_next(const struct catalog *c, const struct catalog_entry *e);

static inline bool catalog_is_gone(const struct catalog_entry *e)
{
    return e->body_len == 0;
}
static inline struct slice catalog_value(const struct catalog_entry *e)
{
    return (struct slice){e->body + e->value_at, e->value_len};
}
