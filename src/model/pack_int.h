/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Laying an object and all it points to into one allocation. The same code runs twice: first
 * without memory, to measure, then with it. In the first run every room is NULL and nothing is
 * written.
 */
#pragma once

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

struct pack {
    char *base; /* NULL: measuring */
    size_t used;
};

enum { PACK_ALIGN = 8 };

static inline void *pack_room(struct pack *p, size_t size, size_t align)
{
    size_t at = (p->used + align - 1) & ~(align - 1);

    p->used = at + size;
    return p->base ? p->base + at : NULL;
}

static inline void *pack_copy(struct pack *p, const void *from, size_t size, size_t align)
{
    void *to = pack_room(p, size, align);

    if (to && size > 0) {
        memcpy(to, from, size);
    }
    return to;
}

/* NULL becomes "". */
static inline const char *pack_text(struct pack *p, const char *s)
{
    return pack_copy(p, s ? s : "", s ? strlen(s) + 1 : 1, 1);
}
