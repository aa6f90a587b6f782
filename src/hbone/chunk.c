/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/chunk.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/loop.h"

enum {
    SMALL_FIRST = 256, /* room of a copied piece, doubling while small pieces keep coming */
    SMALL_MAX = 4096,
    TIDY_AT_ONCE = 4 /* chunks looked at before a read */
};

struct chunk {
    struct list in_pool; /* busy or spare */
    struct list pieces;  /* that point into it */
    size_t fill;
    uint64_t turn; /* of the loop, when it was filled last */
    uint8_t data[CHUNK_BYTES];
};

struct piece {
    struct list in_queue;
    struct list in_chunk;
    struct chunk *chunk; /* NULL: the bytes are in own */
    uint8_t *p;
    uint32_t len;
    uint32_t room;    /* of own */
    uint32_t charged; /* to the budget */
    uint8_t own[];
};

void chunk_pool_init(struct chunk_pool *p, struct loop *l)
{
    *p = (struct chunk_pool){.loop = l};
    list_init(&p->busy);
    list_init(&p->spare);
}

static void chunk_free(struct chunk_pool *p, struct chunk *c)
{
    p->count--;
    mem_free(c);
}

static void free_spare(struct chunk_pool *p)
{
    struct list *node;

    while ((node = list_take_first(&p->spare)) != NULL) {
        chunk_free(p, container_of(node, struct chunk, in_pool));
    }
    p->spare_count = 0;
}

void chunk_pool_fini(struct chunk_pool *p)
{
    assert(list_is_empty(&p->busy));
    free_spare(p);
    if (p->current) {
        chunk_free(p, p->current);
        p->current = NULL;
    }
}

void chunk_pool_rest(struct chunk_pool *p)
{
    if (p->used) {
        p->used = false;
        loop_stir(p->loop);
        return;
    }
    free_spare(p);
    if (p->current && list_is_empty(&p->current->pieces)) {
        chunk_free(p, MOVE(p->current));
    }
}

static void retire(struct chunk_pool *p, struct chunk *c)
{
    list_remove(&c->in_pool);
    c->fill = 0;
    if (p->spare_count < CHUNK_SPARE_MAX) {
        list_append(&p->spare, &c->in_pool);
        p->spare_count++;
    } else {
        chunk_free(p, c);
    }
}

static struct chunk *chunk_new(struct chunk_pool *p)
{
    struct list *node = list_take_first(&p->spare);

    if (node) {
        p->spare_count--;
        return container_of(node, struct chunk, in_pool);
    }
    struct chunk *c = p->count < CHUNK_COUNT_MAX ? mem_try(sizeof(*c), sizeof(*c)) : NULL;
    if (c) {
        list_init(&c->in_pool);
        list_init(&c->pieces);
        c->fill = 0;
        p->count++;
    }
    return c;
}

static struct piece *piece_new(size_t room)
{
    struct piece *s = mem_try(sizeof(*s) + room, sizeof(*s) + CHUNK_BYTES);

    if (s) {
        list_init(&s->in_queue);
        list_init(&s->in_chunk);
        s->chunk = NULL;
        s->p = s->own;
        s->len = 0;
        s->room = (uint32_t)room;
        s->charged = 0;
    }
    return s;
}

static void piece_free(struct chunk_pool *p, struct piece *s)
{
    struct chunk *c = s->chunk;

    list_remove(&s->in_queue);
    list_remove(&s->in_chunk);
    mem_free(s);
    if (c && c != p->current && list_is_empty(&c->pieces)) {
        retire(p, c);
    }
}

/* Gives what still waits in c memory of its own. Where that fails it stays as it is. */
static void evict(struct chunk_pool *p, struct chunk *c)
{
    list_for_each_safe (node, &c->pieces) {
        struct piece *old = container_of(node, struct piece, in_chunk);
        bool last = node_next == &c->pieces;
        struct piece *copy = piece_new(old->len);

        if (!copy) {
            return;
        }
        memcpy(copy->own, old->p, old->len);
        copy->len = old->len;
        copy->charged = old->charged;
        list_insert_before(&old->in_queue, &copy->in_queue);
        piece_free(p, old);
        if (last) {
            return; /* c may be gone */
        }
    }
}

static size_t waiting_bytes(const struct chunk *c)
{
    size_t sum = 0;

    list_for_each (node, &c->pieces) {
        sum += container_of(node, struct piece, in_chunk)->len;
    }
    return sum;
}

/* Readers have had their turn on the oldest chunks: what is left there waits for slow ones. */
static void tidy(struct chunk_pool *p)
{
    uint64_t now = loop_turns(p->loop);

    for (int i = 0; i < TIDY_AT_ONCE && !list_is_empty(&p->busy); i++) {
        struct chunk *c = container_of(p->busy.next, struct chunk, in_pool);

        if (c->turn + 1 >= now) {
            return;
        }
        list_remove(&c->in_pool);
        list_append(&p->busy, &c->in_pool);
        c->turn = now;
        if (waiting_bytes(c) < c->fill / 8 * 7) {
            evict(p, c);
        }
    }
}

uint8_t *chunk_pool_room(struct chunk_pool *p, size_t *out_room)
{
    struct chunk *c = p->current;

    p->used = true;
    loop_stir(p->loop);
    tidy(p);
    if (c && list_is_empty(&c->pieces)) {
        c->fill = 0;
    }
    if (!c || CHUNK_BYTES - c->fill < CHUNK_ROOM_MIN) {
        struct chunk *fresh = chunk_new(p);

        if (!fresh) {
            return NULL;
        }
        if (c) {
            list_append(&p->busy, &c->in_pool);
        }
        p->current = c = fresh;
    }
    *out_room = CHUNK_BYTES - c->fill;
    return c->data + c->fill;
}

void chunk_pool_filled(struct chunk_pool *p, size_t len)
{
    p->current->fill += len;
    p->current->turn = loop_turns(p->loop);
}

void rx_queue_init(struct rx_queue *q, struct chunk_pool *pool, struct budget *budget)
{
    *q = (struct rx_queue){.pool = pool, .budget = budget};
    list_init(&q->pieces);
}

static void charge(struct rx_queue *q, struct piece *s, size_t len)
{
    s->charged += (uint32_t)len;
    q->charged += (uint32_t)len;
    budget_charge(q->budget, len);
}

static void drop_first(struct rx_queue *q)
{
    struct piece *s = container_of(q->pieces.next, struct piece, in_queue);

    q->charged -= s->charged;
    budget_release(q->budget, s->charged);
    piece_free(q->pool, s);
}

void rx_queue_clear(struct rx_queue *q)
{
    q->pool->queued_bytes -= q->bytes;
    q->bytes = 0;
    while (!list_is_empty(&q->pieces)) {
        drop_first(q);
    }
}

static struct piece *tail_of(struct rx_queue *q)
{
    return list_is_empty(&q->pieces) ? NULL : container_of(q->pieces.prev, struct piece, in_queue);
}

static bool extends(const struct piece *tail, const struct chunk *c, const uint8_t *from)
{
    return tail && tail->chunk == c && tail->p + tail->len == from;
}

static int add_lent(struct rx_queue *q, const uint8_t *from, size_t len)
{
    struct chunk *c = q->pool->current;
    struct piece *tail = tail_of(q);

    if (extends(tail, c, from)) {
        tail->len += (uint32_t)len;
        charge(q, tail, len);
        return 0;
    }
    struct piece *s = piece_new(0);
    if (!s) {
        return -ENOMEM;
    }
    s->chunk = c;
    s->p = c->data + (from - c->data);
    s->len = (uint32_t)len;
    list_append(&c->pieces, &s->in_chunk);
    list_append(&q->pieces, &s->in_queue);
    charge(q, s, len + sizeof(*s));
    return 0;
}

static size_t small_room(const struct piece *tail, size_t len)
{
    size_t room = tail && !tail->chunk ? MIN_OF((size_t)tail->room * 2, (size_t)SMALL_MAX)
                                       : (size_t)SMALL_FIRST;

    return MAX_OF(room, len);
}

static int add_copy(struct rx_queue *q, const uint8_t *from, size_t len)
{
    struct piece *s = tail_of(q);

    if (!s || s->chunk || (size_t)(s->own + s->room - (s->p + s->len)) < len) {
        s = piece_new(small_room(s, len));
        if (!s) {
            return -ENOMEM;
        }
        list_append(&q->pieces, &s->in_queue);
        charge(q, s, sizeof(*s) + s->room);
    }
    memcpy(s->p + s->len, from, len);
    s->len += (uint32_t)len;
    return 0;
}

static int count_added(struct rx_queue *q, int r, size_t len)
{
    if (r == 0) {
        q->bytes += (uint32_t)len;
        q->pool->queued_bytes += len;
    }
    return r;
}

int rx_queue_add(struct rx_queue *q, const uint8_t *from, size_t len)
{
    const struct piece *tail = tail_of(q);
    bool lend = len >= CHUNK_PIECE_MIN || extends(tail, q->pool->current, from);

    return count_added(q, lend ? add_lent(q, from, len) : add_copy(q, from, len), len);
}

int rx_queue_add_copy(struct rx_queue *q, const uint8_t *from, size_t len)
{
    return count_added(q, add_copy(q, from, len), len);
}

int rx_queue_peek(const struct rx_queue *q, struct iovec *out, int max)
{
    int n = 0;

    for (struct list *it = q->pieces.next; it != &q->pieces && n < max; it = it->next) {
        struct piece *s = container_of(it, struct piece, in_queue);

        out[n++] = (struct iovec){s->p, s->len};
    }
    return n;
}

void rx_queue_skip(struct rx_queue *q, size_t len)
{
    assert(len <= q->bytes);
    q->bytes -= (uint32_t)len;
    q->pool->queued_bytes -= len;
    while (len > 0) {
        struct piece *s = container_of(q->pieces.next, struct piece, in_queue);

        if (len < s->len) {
            s->p += len;
            s->len -= (uint32_t)len;
            return;
        }
        len -= s->len;
        drop_first(q);
    }
}

size_t rx_queue_read(struct rx_queue *q, void *into, size_t room)
{
    size_t done = 0;

    while (done < room && q->bytes > 0) {
        struct piece *s = container_of(q->pieces.next, struct piece, in_queue);
        size_t n = MIN_OF(room - done, (size_t)s->len);

        memcpy((uint8_t *)into + done, s->p, n);
        done += n;
        rx_queue_skip(q, n);
    }
    return done;
}

static bool piece_at(const struct rx_queue *q, const struct rx_cursor *at, struct iovec *out)
{
    if (at->at == &q->pieces) {
        return false;
    }
    struct piece *s = container_of((struct list *)(uintptr_t)at->at, struct piece, in_queue);
    *out = (struct iovec){s->p, s->len};
    return true;
}

bool rx_queue_first(const struct rx_queue *q, struct rx_cursor *at, struct iovec *out)
{
    at->at = q->pieces.next;
    return piece_at(q, at, out);
}

bool rx_queue_next(const struct rx_queue *q, struct rx_cursor *at, struct iovec *out)
{
    at->at = at->at->next;
    return piece_at(q, at, out);
}
