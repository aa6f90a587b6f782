/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

enum { FIRST_ROOM = 256 };

void bytes_init(struct bytes *b, size_t limit)
{
    *b = (struct bytes){.limit = limit};
}

void bytes_fini(struct bytes *b)
{
    mem_free(b->p);
    *b = (struct bytes){.limit = b->limit};
}

void bytes_shrink(struct bytes *b)
{
    if (b->len == 0) {
        bytes_fini(b);
    }
}

uint8_t *bytes_reserve(struct bytes *b, size_t want)
{
    if (want > b->limit - b->len) {
        return NULL;
    }
    size_t need = b->len + want;
    if (b->head + need <= b->room) {
        return b->p + b->head + b->len;
    }
    if (need <= b->room) {
        memmove(b->p, b->p + b->head, b->len);
        b->head = 0;
        return b->p + b->len;
    }
    size_t room = MAX_OF(MIN_OF(MAX_OF(b->room * 2, FIRST_ROOM), b->limit), need);
    uint8_t *p = mem_try(room, SIZE_MAX / 2);
    if (!p) {
        return NULL;
    }
    if (b->len > 0) {
        memcpy(p, b->p + b->head, b->len);
    }
    mem_free(b->p);
    b->p = p;
    b->head = 0;
    b->room = room;
    return p + b->len;
}

void bytes_commit(struct bytes *b, size_t len)
{
    assert(len <= b->room - b->head - b->len);
    b->len += len;
}

int bytes_add(struct bytes *b, const void *from, size_t len)
{
    uint8_t *to = bytes_reserve(b, len);

    if (!to) {
        return -ERR_TOO_LARGE;
    }
    if (len > 0) {
        memcpy(to, from, len);
    }
    bytes_commit(b, len);
    return 0;
}

int bytes_add_pieces(struct bytes *b, const struct iovec *v, int count, size_t skip)
{
    int r = 0;

    for (int i = 0; i < count && r == 0; i++) {
        size_t over = MIN_OF(skip, v[i].iov_len);
        skip -= over;
        if (v[i].iov_len > over) {
            r = bytes_add(b, (const char *)v[i].iov_base + over, v[i].iov_len - over);
        }
    }
    return r;
}

void bytes_skip(struct bytes *b, size_t len)
{
    assert(len <= b->len);
    b->head += len;
    b->len -= len;
    if (b->len == 0) {
        b->head = 0;
    }
}
