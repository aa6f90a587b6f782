/* SPDX-License-Identifier: Apache-2.0 */
#include "mempipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct end {
    struct stream s;
    struct end *peer; /* NULL once the other end was closed */
    struct mempipe_fault *fault;
    char *inbox; /* what was written towards this end */
    size_t capacity;
    size_t len;
    size_t shown; /* of len: visible to the reader */
    bool ended;   /* the peer shut its half */
    bool aborted;
    size_t lent; /* room given by the last reserve */
    bool waits;  /* was answered -EAGAIN and is owed a wake */
};

static int live;

int mempipe_live(void)
{
    return live;
}

static struct end *of(struct stream *s)
{
    return container_of(s, struct end, s);
}

static int maybe_fail(struct end *e)
{
    if (!e->fault) {
        return 0;
    }
    e->fault->calls++;
    if (e->fault->countdown >= 0 && e->fault->countdown-- == 0) {
        return FAIL(stream_why(&e->s), e->fault->code, "injected");
    }
    return 0;
}

static void nudge(struct end *e)
{
    if (e && e->waits) {
        e->waits = false;
        stream_wake(&e->s);
    }
}

static int blocked(struct end *e)
{
    e->waits = true;
    return -EAGAIN;
}

static void show(struct end *reader)
{
    if (reader && reader->shown < reader->len) {
        reader->shown = reader->len;
        nudge(reader);
    }
}

/* 1 when bytes can be read, 0 at the end, else the refusal or failure. */
static int may_read(struct end *e)
{
    int r = maybe_fail(e);

    if (r < 0) {
        return r;
    }
    if (e->aborted) {
        return FAIL(stream_why(&e->s), -ECONNRESET, "the other end was aborted");
    }
    if (e->shown > 0) {
        return 1;
    }
    return e->ended || !e->peer ? 0 : blocked(e);
}

static void consume(struct end *e, size_t n)
{
    memmove(e->inbox, e->inbox + n, e->len - n);
    e->len -= n;
    e->shown -= n;
    nudge(e->peer);
}

static ssize_t end_read(struct stream *s, void *into, size_t room)
{
    struct end *e = of(s);
    int r = may_read(e);
    size_t n = room < e->shown ? room : e->shown;

    if (r <= 0) {
        return r;
    }
    memcpy(into, e->inbox, n);
    consume(e, n);
    return (ssize_t)n;
}

/* How much room there is, else the refusal or failure. */
static ssize_t may_write(struct end *e)
{
    int r = maybe_fail(e);

    if (r < 0) {
        return r;
    }
    if (!e->peer || e->aborted) {
        return FAIL(stream_why(&e->s), e->aborted ? -ECONNRESET : -EPIPE,
                    "the other end is closed");
    }
    if (e->peer->capacity == e->peer->len) {
        show(e->peer); /* a full pipe flushes itself, like a full send buffer */
        return blocked(e);
    }
    return (ssize_t)(e->peer->capacity - e->peer->len);
}

static ssize_t end_write(struct stream *s, const void *from, size_t len)
{
    struct end *e = of(s);
    ssize_t room = may_write(e);

    if (room < 0) {
        return room;
    }
    size_t n = len < (size_t)room ? len : (size_t)room;
    memcpy(e->peer->inbox + e->peer->len, from, n);
    e->peer->len += n;
    return (ssize_t)n;
}

static int end_peek(struct stream *s, struct iovec *out, int max)
{
    struct end *e = of(s);
    int r = may_read(e);

    (void)max;
    if (r > 0) {
        *out = (struct iovec){e->inbox, e->shown};
    }
    return r;
}

static void end_skip(struct stream *s, size_t len)
{
    struct end *e = of(s);

    if (len > e->shown) {
        abort(); /* more than was lent */
    }
    consume(e, len);
}

static int end_reserve(struct stream *s, struct iovec *out, int max, size_t want)
{
    struct end *e = of(s);
    ssize_t room = may_write(e);

    (void)max;
    if (room < 0) {
        return (int)room;
    }
    e->lent = want < (size_t)room ? want : (size_t)room;
    *out = (struct iovec){e->peer->inbox + e->peer->len, e->lent};
    return 1;
}

static void end_commit(struct stream *s, size_t len)
{
    struct end *e = of(s);

    if (len == 0 || len > e->lent) {
        abort(); /* more than was lent */
    }
    e->peer->len += len;
    e->lent = 0;
}

static ssize_t end_readv(struct stream *s, const struct iovec *into, int count)
{
    struct end *e = of(s);
    int r = may_read(e);
    size_t done = 0;

    if (r <= 0) {
        return r;
    }
    for (int i = 0; i < count && e->shown > 0; i++) {
        size_t n = into[i].iov_len < e->shown ? into[i].iov_len : e->shown;
        memcpy(into[i].iov_base, e->inbox, n);
        consume(e, n);
        done += n;
    }
    return (ssize_t)done;
}

static ssize_t end_writev(struct stream *s, const struct iovec *from, int count)
{
    struct end *e = of(s);
    ssize_t room = may_write(e);
    size_t done = 0;

    for (int i = 0; i < count && room > 0; i++) {
        size_t n = from[i].iov_len < (size_t)room ? from[i].iov_len : (size_t)room;
        memcpy(e->peer->inbox + e->peer->len, from[i].iov_base, n);
        e->peer->len += n;
        room -= (ssize_t)n;
        done += n;
    }
    return done > 0 ? (ssize_t)done : room;
}

static int end_flush(struct stream *s)
{
    struct end *e = of(s);
    int r = maybe_fail(e);

    if (r == 0) {
        show(e->peer);
    }
    return r;
}

static int end_shut(struct stream *s)
{
    struct end *e = of(s);
    int r = maybe_fail(e);

    if (r == 0 && e->peer) {
        show(e->peer);
        e->peer->ended = true;
        nudge(e->peer);
    }
    return r;
}

static void end_close(struct stream *s, int why)
{
    struct end *e = of(s);

    if (e->peer) {
        show(e->peer);
        e->peer->peer = NULL;
        e->peer->aborted = why < 0;
        nudge(e->peer);
    }
    mem_free(e->inbox);
    stream_fini(&e->s);
    mem_free(e);
    live--;
}

static const struct stream_ops mempipe_ops = {
    .name = "mempipe",
    .read = end_read,
    .write = end_write,
    .flush = end_flush,
    .shut = end_shut,
    .close = end_close,
};

static const struct stream_ops lending_ops = {
    .name = "lending mempipe",
    .read = end_read,
    .write = end_write,
    .flush = end_flush,
    .shut = end_shut,
    .close = end_close,
    .readv = end_readv,
    .writev = end_writev,
    .peek = end_peek,
    .skip = end_skip,
    .reserve = end_reserve,
    .commit = end_commit,
};

static void make_pair(struct stream *ends[2], const struct stream_ops *ops, size_t capacity,
                      struct mempipe_fault *fault)
{
    struct end *e[2];

    for (int i = 0; i < 2; i++) {
        e[i] = mem_new(struct end);
        e[i]->s.ops = ops;
        e[i]->capacity = capacity;
        e[i]->inbox = mem_alloc(capacity);
        e[i]->fault = i == 1 ? fault : NULL;
        ends[i] = &e[i]->s;
        live++;
    }
    e[0]->peer = e[1];
    e[1]->peer = e[0];
}

void mempipe_pair(struct stream *ends[2], size_t capacity, struct mempipe_fault *fault)
{
    make_pair(ends, &mempipe_ops, capacity, fault);
}

void mempipe_pair_lending(struct stream *ends[2], size_t capacity, struct mempipe_fault *fault)
{
    make_pair(ends, &lending_ops, capacity, fault);
}
