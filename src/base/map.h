/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive hash table. The owner embeds a map_node, computes the hash with map_hash (keyed by a
 * random seed, so that peers cannot choose collisions) and compares keys itself:
 *
 *     for (struct map_node *n = map_find(&m, h); n; n = map_find_next(n)) {
 *         struct pod *p = container_of(n, struct pod, by_uid);
 *         if (strcmp(p->uid, uid) == 0) ...
 *     }
 *
 * Nodes belong to their owner; the table owns only its buckets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **buckets; /* NULL until the first insert */
    size_t bucket_count;       /* a power of two */
    size_t count;
};

void map_init(struct map *m);
/* Releases the buckets; the nodes are not touched. */
void map_fini(struct map *m);

uint64_t map_hash(const void *key, size_t len);
uint64_t map_hash_str(const char *key);

void map_insert(struct map *m, struct map_node *n, uint64_t hash);
/* n must be in m. */
void map_remove(struct map *m, struct map_node *n);
/* The first node with this hash; go on with map_find_next. */
struct map_node *map_find(const struct map *m, uint64_t hash);
struct map_node *map_find_next(const struct map_node *n);

/* Any order. map_next bears the removal of the node before it, not of the one it returned. */
struct map_node *map_first(const struct map *m);
struct map_node *map_next(const struct map *m, const struct map_node *n);

#define map_for_each(it, m)                                                                        \
    for (struct map_node *it = map_first(m), *it##_next = it ? map_next((m), it) : NULL; it;       \
         it = it##_next, it##_next = it ? map_next((m), it) : NULL)
