/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A persistent hash table of pointers with several entries to a key, in 256 shards. A changed table
 * shares every untouched shard with the one before. Immutable once made; any thread may read.
 *
 * Entries with one hash keep the order in which they were added. Callers compare keys themselves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_SHARDS = 256 };

struct shard;

struct table {
    struct shard *shard[TABLE_SHARDS]; /* NULL: empty */
    size_t count;
};

/* What an owning table does with its values; a table without one borrows. */
struct table_owner {
    void (*ref)(const void *value);
    void (*unref)(const void *value);
};

/* A value goes (in is false) or comes. A value that goes must be there under that hash. */
struct table_edit {
    uint64_t hash;
    const void *value;
    bool in;
};

struct table_edits {
    struct table_edit *at;
    size_t count;
    size_t room;
};

void table_edits_add(struct table_edits *e, uint64_t hash, const void *value, bool in);
void table_edits_fini(struct table_edits *e);

/* out: old as the edits, in their order, change it. old and out may not be the same. owner may be
 * NULL. Empties the edits. */
void table_next(struct table *out, const struct table *old, struct table_edits *edits,
                const struct table_owner *owner);
void table_fini(struct table *t, const struct table_owner *owner);

/* The entries of one hash, in order:
 *     struct table_seek s = table_seek(t, h);
 *     for (const void *v; (v = table_seek_next(&s));) ... */
struct table_seek {
    const struct shard *shard;
    uint32_t at;
    uint32_t end;
    uint32_t hash;
};
struct table_seek table_seek(const struct table *t, uint64_t hash);
const void *table_seek_next(struct table_seek *s);

/* All entries, in any order, from a position that starts as two zeroes; NULL at the end. */
const void *table_each(const struct table *t, unsigned *shard, size_t *at);
