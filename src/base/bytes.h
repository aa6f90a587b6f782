/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded byte queue in one piece of memory: written at the tail, read at the head. Memory comes
 * with the first byte and can be given back when the queue is empty, so that an idle connection
 * holds none.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct bytes {
    uint8_t *p; /* NULL while nothing was ever stored */
    size_t head;
    size_t len;
    size_t room;
    size_t limit; /* most bytes it may hold; set at init */
};

void bytes_init(struct bytes *b, size_t limit);
void bytes_fini(struct bytes *b);
/* Gives the memory back; legal only as an optimisation, when len is 0. */
void bytes_shrink(struct bytes *b);

/* At least want contiguous bytes behind the tail to write into, then bytes_commit what was used.
 * NULL: beyond the limit, or memory is short. Moves the contents. */
uint8_t *bytes_reserve(struct bytes *b, size_t want);
void bytes_commit(struct bytes *b, size_t len);
/* All or nothing: 0 or -ERR_TOO_LARGE. */
MUST_USE int bytes_add(struct bytes *b, const void *from, size_t len);
/* The pieces but for their first skip octets; after a failure some of them. */
MUST_USE int bytes_add_pieces(struct bytes *b, const struct iovec *v, int count, size_t skip);

static inline const uint8_t *bytes_peek(const struct bytes *b)
{
    return b->p ? b->p + b->head : NULL;
}

static inline size_t bytes_room(const struct bytes *b)
{
    return b->limit - b->len;
}

/* len <= b->len */
void bytes_skip(struct bytes *b, size_t len);
