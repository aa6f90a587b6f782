/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pump.h"

#include <unistd.h>

#include "base/num.h"
#include "io/splice_int.h"
#include "io/tcp_stream.h"

enum { PIECES = 64 };
enum {
    COPY_BATCH_MAX = 128 << 10
}; /* read once, written once: larger ones leave the cache between */

void pump_init(struct pump *p, struct stream *src, struct stream *dst)
{
    *p = (struct pump){.src = src, .dst = dst, .want = PUMP_BATCH_MIN, .step = PUMP_COPY};
    p->splice_at = stream_is_tcp(src) && stream_is_tcp(dst) ? SPLICE_AFTER_BYTES : UINT64_MAX;
    bytes_init(&p->stuck, PUMP_BATCH_MAX);
}

void pump_fini(struct pump *p)
{
    bytes_fini(&p->stuck);
    splice_pipe_put(p->pipe);
    p->pipe = NULL;
}

/* A full batch asks for more next time, a thin one for less. */
static void adapt(struct pump *p, size_t got, uint32_t most)
{
    if (got >= p->want) {
        p->want = MIN_OF(p->want * 2, most);
    } else if (got < p->want / 8) {
        p->want = MAX_OF(p->want / 2, (uint32_t)PUMP_BATCH_MIN);
    }
}

/* For each way of copying: 0 to go on, or the reason to stop. Nothing is read before what was read
 * earlier has been taken. */

static int source_ended(struct pump *p)
{
    p->step = PUMP_FLUSH;
    return 0;
}

static ssize_t write_pieces(struct stream *dst, const struct iovec *v, int count)
{
    return dst->ops->writev ? dst->ops->writev(dst, v, count)
                            : stream_write(dst, v[0].iov_base, v[0].iov_len);
}

/* The source lends what it holds. */
static int copy_lent(struct pump *p)
{
    struct iovec v[PIECES];
    int count = stream_peek(p->src, v, PIECES);

    if (count <= 0) {
        return count == 0 ? source_ended(p) : count;
    }
    ssize_t n = write_pieces(p->dst, v, count);
    if (n < 0) {
        return (int)n;
    }
    stream_skip(p->src, (size_t)n);
    p->moved += (uint64_t)n;
    return 0;
}

/* The sink lends room; the source reads straight into it. */
static int copy_reserved(struct pump *p)
{
    struct iovec v[PIECES];
    int count = stream_reserve(p->dst, v, PIECES, p->want);

    if (count < 0) {
        return count;
    }
    ssize_t n = p->src->ops->readv ? p->src->ops->readv(p->src, v, count)
                                   : stream_read(p->src, v[0].iov_base, v[0].iov_len);
    if (n <= 0) {
        return n == 0 ? source_ended(p) : (int)n;
    }
    stream_commit(p->dst, (size_t)n);
    p->moved += (uint64_t)n;
    adapt(p, (size_t)n, PUMP_BATCH_MAX);
    return 0;
}

/* Keeps what the sink refused. Memory that is short here is the connection's end, not the process'. */
static int keep(struct pump *p, const uint8_t *from, size_t len)
{
    return len > 0 ? bytes_add(&p->stuck, from, len) : 0;
}

static int copy_scratch(struct pump *p, struct loop *l)
{
    uint8_t *scratch = loop_scratch(l);
    ssize_t got = stream_read(p->src, scratch, p->want);

    if (got <= 0) {
        return got == 0 ? source_ended(p) : (int)got;
    }
    adapt(p, (size_t)got, COPY_BATCH_MAX);
    ssize_t n = stream_write(p->dst, scratch, (size_t)got);
    if (n < 0 && n != -EAGAIN) {
        return (int)n;
    }
    size_t taken = n > 0 ? (size_t)n : 0;
    p->moved += taken;
    int r = keep(p, scratch + taken, (size_t)got - taken);
    return r < 0 ? r : n < 0 ? (int)n : 0;
}

static int write_stuck(struct pump *p)
{
    ssize_t n = stream_write(p->dst, bytes_peek(&p->stuck), p->stuck.len);

    if (n < 0) {
        return (int)n;
    }
    bytes_skip(&p->stuck, (size_t)n);
    bytes_shrink(&p->stuck);
    p->moved += (uint64_t)n;
    return 0;
}

static void drop_pipe(struct pump *p)
{
    splice_pipe_put(p->pipe);
    p->pipe = NULL;
}

/* Not worth it, or not to be had: copy for a while. */
static void splice_later(struct pump *p)
{
    p->splice_at = p->moved + SPLICE_AFTER_BYTES;
    p->thin = 0;
    p->want = PUMP_BATCH_MIN;
}

static int splice_out(struct pump *p)
{
    ssize_t n = tcp_stream_splice_out(p->dst, p->pipe);

    if (n < 0) {
        return (int)n;
    }
    p->moved += (uint64_t)n;
    if (p->pipe->len == 0) {
        drop_pipe(p);
        if (p->thin >= SPLICE_THIN_MAX) {
            splice_later(p);
        }
    }
    return 0;
}

static int splice_in(struct pump *p, struct loop *l)
{
    p->pipe = splice_pipe_get(l);
    if (!p->pipe) {
        splice_later(p);
        return 0;
    }
    ssize_t n = tcp_stream_splice_in(p->src, p->pipe);
    if (n <= 0) {
        drop_pipe(p);
        return n == 0 ? source_ended(p) : (int)n;
    }
    p->thin = n < SPLICE_THIN_BYTES ? (uint8_t)(p->thin + 1) : 0;
    return 0;
}

int pump_gather(struct pump *p)
{
    uint8_t *to = p->pipe ? bytes_reserve(&p->stuck, p->pipe->len) : NULL;

    if (!p->pipe) {
        return 0;
    }
    while (to && p->pipe->len > 0) {
        ssize_t n = read(p->pipe->read_end, to, p->pipe->len);
        if (n <= 0) {
            return n < 0 ? neg_errno() : -EIO;
        }
        bytes_commit(&p->stuck, (size_t)n);
        p->pipe->len -= (size_t)n;
        to += n;
    }
    if (!to) {
        return -ERR_TOO_LARGE;
    }
    drop_pipe(p);
    return 0;
}

static int copy_once(struct pump *p, struct loop *l)
{
    if (p->stuck.len > 0) {
        return write_stuck(p);
    }
    if (p->pipe) {
        return splice_out(p);
    }
    if (p->moved >= p->splice_at && p->want >= SPLICE_WANT_BYTES) {
        return splice_in(p, l);
    }
    if (p->src->ops->peek) {
        return copy_lent(p);
    }
    return p->dst->ops->reserve ? copy_reserved(p) : copy_scratch(p, l);
}

/* Before waiting for a slow source, let what was accepted go out. */
static int copy(struct pump *p, struct loop *l)
{
    int r = copy_once(p, l);

    if (r == -EAGAIN && p->stuck.len == 0) {
        int f = stream_flush(p->dst);
        return f < 0 && f != -EAGAIN ? f : r;
    }
    return r;
}

static int step(struct pump *p, struct loop *l)
{
    int r = 0;

    switch (p->step) {
    case PUMP_COPY:
        return copy(p, l);
    case PUMP_FLUSH:
        r = stream_flush(p->dst);
        p->step = r == 0 ? PUMP_SHUT : PUMP_FLUSH;
        return r;
    case PUMP_SHUT:
        r = stream_shut(p->dst);
        p->step = r == 0 ? PUMP_DONE : PUMP_SHUT;
        return r;
    case PUMP_DONE:
        break;
    }
    return r;
}

int pump_run(struct pump *p, struct loop *l, size_t budget)
{
    uint64_t stop = p->moved + budget;
    int r = 0;

    while (r == 0 && p->step != PUMP_DONE && p->moved < stop) {
        r = step(p, l);
    }
    if (r < 0 && r != -EAGAIN) {
        return r;
    }
    if (p->step == PUMP_DONE) {
        return PUMP_FINISHED;
    }
    return r == -EAGAIN ? PUMP_BLOCKED : PUMP_AGAIN;
}
