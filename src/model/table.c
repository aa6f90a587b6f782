/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard is written once, by the thread that makes it, and never again. A lookup touches one
 * shard, one bucket, and then the values themselves; a delta copies the touched shards and 256
 * pointers.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/ref.h"
#include "model/table_int.h"

/* Entries lie sorted by bucket, in order of arrival within a bucket; start[b] is where bucket b
 * begins, start[b + 1] where it ends. About 16 bytes an entry. */
struct shard {
    struct aref refs;
    uint32_t count;
    uint32_t mask; /* buckets - 1 */
    uint32_t *hash;
    uint32_t *start;
    const void *value[];
};

struct entry {
    const void *value;
    uint32_t hash;
};

static unsigned shard_of(uint64_t hash)
{
    return (unsigned)(hash >> 56);
}

/* ---- edits */

void table_edits_add(struct table_edits *e, uint64_t hash, const void *value, bool in)
{
    if (e->count == e->room) {
        e->room = e->room > 0 ? e->room * 2 : 16;
        e->at = mem_resize(e->at, e->room * sizeof(*e->at));
    }
    e->at[e->count++] = (struct table_edit){hash, value, in};
}

void table_edits_fini(struct table_edits *e)
{
    mem_free(e->at);
    *e = (struct table_edits){.at = NULL};
}

/* The edits sorted by shard, stably; first[s] to first[s + 1] are those of shard s. The
 * caller's. */
static struct table_edit *sort_edits(const struct table_edits *e, size_t first[TABLE_SHARDS + 1])
{
    struct table_edit *sorted = mem_array(e->count, sizeof(*sorted));
    size_t next[TABLE_SHARDS];

    memset(first, 0, (TABLE_SHARDS + 1) * sizeof(*first));
    for (size_t i = 0; i < e->count; i++) {
        first[shard_of(e->at[i].hash) + 1]++;
    }
    for (unsigned s = 0; s < TABLE_SHARDS; s++) {
        first[s + 1] += first[s];
        next[s] = first[s];
    }
    for (size_t i = 0; i < e->count; i++) {
        sorted[next[shard_of(e->at[i].hash)]++] = e->at[i];
    }
    return sorted;
}

/* ---- shards */

static struct shard *shard_new(const struct entry *entries, uint32_t count)
{
    uint32_t buckets = 1;

    while (buckets < count) {
        buckets *= 2;
    }
    struct shard *s = mem_alloc(sizeof(*s) + count * (sizeof(s->value[0]) + sizeof(uint32_t)) +
                                (buckets + 1) * sizeof(uint32_t));
    aref_init(&s->refs);
    s->count = count;
    s->mask = buckets - 1;
    s->hash = (uint32_t *)(void *)(s->value + count);
    s->start = s->hash + count;
    for (uint32_t i = 0; i < count; i++) {
        s->start[(entries[i].hash & s->mask) + 1]++;
    }
    for (uint32_t b = 0; b < buckets; b++) {
        s->start[b + 1] += s->start[b];
    }
    /* Filling moves each start to its bucket's end, which is the next one's start: shifted back
     * after. */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = s->start[entries[i].hash & s->mask]++;
        s->value[at] = entries[i].value;
        s->hash[at] = entries[i].hash;
    }
    memmove(s->start + 1, s->start, buckets * sizeof(*s->start));
    s->start[0] = 0;
    return s;
}

static void shard_unref(struct shard *s, const struct table_owner *owner)
{
    if (!s || !aref_put(&s->refs)) {
        return;
    }
    for (uint32_t i = 0; owner && i < s->count; i++) {
        owner->unref(s->value[i]);
    }
    mem_free(s);
}

/* The entries of the changed shard, the old ones first and in their order; what went is NULL. */
static bool mark_gone(struct entry *entries, const struct shard *old, const struct table_edit *e)
{
    uint32_t bucket = (uint32_t)e->hash & old->mask;

    for (uint32_t i = old->start[bucket]; i < old->start[bucket + 1]; i++) {
        if (entries[i].value == e->value && entries[i].hash == (uint32_t)e->hash) {
            entries[i].value = NULL;
            return true;
        }
    }
    return false;
}

static uint32_t squeeze(struct entry *entries, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].value) {
            entries[kept++] = entries[i];
        }
    }
    return kept;
}

static struct shard *shard_next(const struct shard *old, const struct table_edit *edits, size_t n,
                                const struct table_owner *owner)
{
    uint32_t count = old ? old->count : 0;
    struct entry *entries = mem_array(count + n, sizeof(*entries));
    struct shard *s = NULL;

    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct entry){old->value[i], old->hash[i]};
    }
    for (size_t i = 0; i < n; i++) {
        if (edits[i].in) {
            entries[count++] = (struct entry){edits[i].value, (uint32_t)edits[i].hash};
        } else {
            bool was_there = old && mark_gone(entries, old, &edits[i]);
            assert(was_there);
            (void)was_there; /* where asserts are compiled out */
        }
    }
    count = squeeze(entries, count);
    for (uint32_t i = 0; owner && i < count; i++) {
        owner->ref(entries[i].value);
    }
    if (count > 0) {
        s = shard_new(entries, count);
    }
    mem_free(entries);
    return s;
}

/* ---- tables */

void table_next(struct table *out, const struct table *old, struct table_edits *edits,
                const struct table_owner *owner)
{
    size_t first[TABLE_SHARDS + 1];
    struct table_edit *sorted = sort_edits(edits, first);

    *out = *old;
    out->count = 0;
    for (unsigned i = 0; i < TABLE_SHARDS; i++) {
        size_t n = first[i + 1] - first[i];
        if (n > 0) {
            out->shard[i] = shard_next(old->shard[i], sorted + first[i], n, owner);
        } else if (out->shard[i]) {
            aref_get(&out->shard[i]->refs);
        }
        out->count += out->shard[i] ? out->shard[i]->count : 0;
    }
    mem_free(sorted);
    table_edits_fini(edits);
}

void table_fini(struct table *t, const struct table_owner *owner)
{
    for (unsigned i = 0; i < TABLE_SHARDS; i++) {
        shard_unref(t->shard[i], owner);
    }
    *t = (struct table){.count = 0};
}

struct table_seek table_seek(const struct table *t, uint64_t hash)
{
    const struct shard *s = t->shard[shard_of(hash)];
    uint32_t bucket;

    if (!s) {
        return (struct table_seek){.shard = NULL};
    }
    bucket = (uint32_t)hash & s->mask;
    return (struct table_seek){s, s->start[bucket], s->start[bucket + 1], (uint32_t)hash};
}

const void *table_seek_next(struct table_seek *s)
{
    while (s->at < s->end) {
        uint32_t i = s->at++;
        if (s->shard->hash[i] == s->hash) {
            return s->shard->value[i];
        }
    }
    return NULL;
}

const void *table_each(const struct table *t, unsigned *shard, size_t *at)
{
    for (; *shard < TABLE_SHARDS; (*shard)++, *at = 0) {
        const struct shard *s = t->shard[*shard];
        if (s && *at < s->count) {
            return s->value[(*at)++];
        }
    }
    return NULL;
}
