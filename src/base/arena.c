/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

enum { CHUNK_BYTES = 4096, ALIGN = _Alignof(max_align_t) };

struct arena_chunk {
    struct arena_chunk *older;
    size_t room;
    _Alignas(max_align_t) unsigned char bytes[];
};

static void chunk_add(struct arena *a, size_t size)
{
    size_t room = MAX_OF(size, (size_t)CHUNK_BYTES);
    struct arena_chunk *c = mem_alloc(sizeof(*c) + room);

    c->older = a->chunks;
    c->room = room;
    a->chunks = c;
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t need = (size + ALIGN - 1) & ~((size_t)ALIGN - 1);

    if (!a->chunks || need > a->chunks->room - a->used) {
        chunk_add(a, need);
    }
    void *p = a->chunks->bytes + a->used;
    a->used += need;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t total;

    if (!size_mul(count, size, &total)) {
        (void)fprintf(stderr, "arena: array of %zu x %zu bytes\n", count, size);
        abort();
    }
    return arena_alloc(a, total);
}

char *arena_text(struct arena *a, const char *from, size_t len)
{
    char *text = arena_alloc(a, len + 1);

    if (len > 0) {
        memcpy(text, from, len);
    }
    return text;
}

void arena_fini(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *older = a->chunks->older;
        mem_free(a->chunks);
        a->chunks = older;
    }
    a->used = 0;
}
