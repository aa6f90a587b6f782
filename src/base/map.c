/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"

enum { FIRST_BUCKETS = 8 };

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_fill(void)
{
    rand_bytes(seed, sizeof(seed));
}

/* The 128-bit product folded: mixes every input bit into every output bit. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 p = (unsigned __int128)a * b;

    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t map_hash(const void *key, size_t len)
{
    const uint8_t *p = key;
    uint64_t h = len;
    uint64_t word;

    (void)pthread_once(&seed_once, seed_fill); /* cannot fail with a static once */
    for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        h = fold(h ^ word ^ seed[0], seed[1] | 1);
    }
    word = 0;
    if (len > 0) {
        memcpy(&word, p, len);
    }
    h = fold(h ^ word ^ seed[0], seed[1] | 1);
    return fold(h ^ seed[1], seed[0] | 1);
}

uint64_t map_hash_str(const char *key)
{
    return map_hash(key, strlen(key));
}

void map_init(struct map *m)
{
    *m = (struct map){.buckets = NULL};
}

void map_fini(struct map *m)
{
    mem_free(m->buckets);
    map_init(m);
}

static struct map_node **bucket_of(const struct map *m, uint64_t hash)
{
    return &m->buckets[hash & (m->bucket_count - 1)];
}

static void grow(struct map *m)
{
    struct map old = *m;

    m->bucket_count = old.bucket_count > 0 ? old.bucket_count * 2 : FIRST_BUCKETS;
    m->buckets = mem_array(m->bucket_count, sizeof(struct map_node *));
    for (size_t i = 0; i < old.bucket_count; i++) {
        struct map_node *n = old.buckets[i];
        while (n) {
            struct map_node *next = n->next;
            struct map_node **b = bucket_of(m, n->hash);
            n->next = *b;
            *b = n;
            n = next;
        }
    }
    mem_free(old.buckets);
}

void map_insert(struct map *m, struct map_node *n, uint64_t hash)
{
    if (m->count >= m->bucket_count) {
        grow(m);
    }
    struct map_node **b = bucket_of(m, hash);
    n->hash = hash;
    n->next = *b;
    *b = n;
    m->count++;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **at = bucket_of(m, n->hash);

    while (*at != n) {
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    m->count--;
}

static struct map_node *first_with(struct map_node *n, uint64_t hash)
{
    while (n && n->hash != hash) {
        n = n->next;
    }
    return n;
}

struct map_node *map_find(const struct map *m, uint64_t hash)
{
    return m->count > 0 ? first_with(*bucket_of(m, hash), hash) : NULL;
}

struct map_node *map_find_next(const struct map_node *n)
{
    return first_with(n->next, n->hash);
}

static struct map_node *first_from(const struct map *m, size_t bucket)
{
    for (; bucket < m->bucket_count; bucket++) {
        if (m->buckets[bucket]) {
            return m->buckets[bucket];
        }
    }
    return NULL;
}

struct map_node *map_first(const struct map *m)
{
    return first_from(m, 0);
}

struct map_node *map_next(const struct map *m, const struct map_node *n)
{
    return n->next ? n->next : first_from(m, (size_t)(n->hash & (m->bucket_count - 1)) + 1);
}
