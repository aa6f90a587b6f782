/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where received bytes wait for their readers. A tunnel reads into a large chunk that all tunnels of
 * a loop share; each stream queues pieces that point into it, so bulk data is never copied here. Small
 * pieces are copied, and so is what a slow reader leaves in a chunk that is mostly free otherwise: a
 * queued byte never pins more than about 8/7 of itself.
 *
 * The loop's thread only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/list.h"
#include "hbone/budget.h"

enum {
    CHUNK_BYTES = 256 << 10,    /* performance: two of these fit the L2 cache */
    CHUNK_ROOM_MIN = 64 << 10,  /* no read offers less */
    CHUNK_PIECE_MIN = 512,      /* shorter pieces are copied */
    CHUNK_SPARE_MAX = 2,        /* unused chunks that are kept */
    CHUNK_COUNT_MAX = 16 << 10, /* 4 GiB: what budgets allow comes long before */
};

struct loop;
struct chunk;

struct chunk_pool {
    struct loop *loop;
    struct chunk *current; /* NULL before the first read */
    struct list busy;      /* full, and pointed into; the oldest first */
    struct list spare;
    unsigned spare_count;
    unsigned count;
    bool used;             /* since the last rest */
    uint64_t queued_bytes; /* in all queues of this pool */
};

void chunk_pool_init(struct chunk_pool *p, struct loop *l);
/* Every queue must be empty. */
void chunk_pool_fini(struct chunk_pool *p);

/* Room for one read, at least CHUNK_ROOM_MIN; NULL when memory is short. Good until the next call. */
uint8_t *chunk_pool_room(struct chunk_pool *p, size_t *out_room);
/* So much of the room was filled and may be queued from now on. */
void chunk_pool_filled(struct chunk_pool *p, size_t len);

/* Gives chunks back that nothing points into, unless there was a read since the last time. */
void chunk_pool_rest(struct chunk_pool *p);

struct rx_queue {
    struct chunk_pool *pool;
    struct budget *budget; /* may be NULL */
    struct list pieces;
    uint32_t bytes;   /* payload: at most a stream's window */
    uint32_t charged; /* memory, as the budget sees it */
};

void rx_queue_init(struct rx_queue *q, struct chunk_pool *pool, struct budget *budget);
/* Drops what is queued. */
void rx_queue_clear(struct rx_queue *q);
/* from lies in what was filled last. -ENOMEM: nothing was queued. */
MUST_USE int rx_queue_add(struct rx_queue *q, const uint8_t *from, size_t len);
/* From anywhere. */
MUST_USE int rx_queue_add_copy(struct rx_queue *q, const uint8_t *from, size_t len);
/* Lends up to max pieces from the front. */
int rx_queue_peek(const struct rx_queue *q, struct iovec *out, int max);
/* len <= q->bytes */
void rx_queue_skip(struct rx_queue *q, size_t len);
size_t rx_queue_read(struct rx_queue *q, void *into, size_t room);

/* One piece after the other, from the front: false at the end. */
struct rx_cursor {
    const struct list *at;
};
bool rx_queue_first(const struct rx_queue *q, struct rx_cursor *at, struct iovec *out);
bool rx_queue_next(const struct rx_queue *q, struct rx_cursor *at, struct iovec *out);
