/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is freed all at once: for the temporary parts of one decoded message or one request. */
#pragma once

#include <stddef.h>

#include "base/auto.h"

struct arena_chunk;

struct arena { /* zeroed is empty and ready */
    struct arena_chunk *chunks;
    size_t used; /* of the newest chunk */
};

/* Zeroed, aligned for any type; never NULL. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_text(struct arena *a, const char *from, size_t len);
void arena_fini(struct arena *a);

static inline void arena_release(struct arena a)
{
    arena_fini(&a);
}
AUTO_DEFINE(arena, struct arena, arena_release);
