/* SPDX-License-Identifier: Apache-2.0 */
#include "mempipe.h"

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
    bool waits; /* was answered -EAGAIN and is owed a wake */
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
        return FAIL(&e->s.diag, e->fault->code, "injected");
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

static ssize_t end_read(struct stream *s, void *into, size_t room)
{
    struct end *e = of(s);
    int r = maybe_fail(e);

    if (r < 0) {
        return r;
    }
    if (e->aborted) {
        return FAIL(&s->diag, -ECONNRESET, "the other end was aborted");
    }
    if (e->shown > 0) {
        size_t n = room < e->shown ? room : e->shown;
        memcpy(into, e->inbox, n);
        memmove(e->inbox, e->inbox + n, e->len - n);
        e->len -= n;
        e->shown -= n;
        nudge(e->peer);
        return (ssize_t)n;
    }
    return e->ended || !e->peer ? 0 : blocked(e);
}

static ssize_t end_write(struct stream *s, const void *from, size_t len)
{
    struct end *e = of(s);
    int r = maybe_fail(e);

    if (r < 0) {
        return r;
    }
    if (!e->peer || e->aborted) {
        return FAIL(&s->diag, e->aborted ? -ECONNRESET : -EPIPE, "the other end is closed");
    }
    size_t room = e->peer->capacity - e->peer->len;
    if (room == 0) {
        show(e->peer); /* a full pipe flushes itself, like a full send buffer */
        return blocked(e);
    }
    size_t n = len < room ? len : room;
    memcpy(e->peer->inbox + e->peer->len, from, n);
    e->peer->len += n;
    return (ssize_t)n;
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

void mempipe_pair(struct stream *ends[2], size_t capacity, struct mempipe_fault *fault)
{
    struct end *e[2];

    for (int i = 0; i < 2; i++) {
        e[i] = mem_new(struct end);
        e[i]->s.ops = &mempipe_ops;
        e[i]->capacity = capacity;
        e[i]->inbox = mem_alloc(capacity);
        e[i]->fault = i == 1 ? fault : NULL;
        ends[i] = &e[i]->s;
        live++;
    }
    e[0]->peer = e[1];
    e[1]->peer = e[0];
}
