/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pump.h"

#include "base/num.h"

enum { PIECES = 32 };

void pump_init(struct pump *p, struct stream *src, struct stream *dst)
{
    *p = (struct pump){.src = src, .dst = dst, .want = PUMP_BATCH_MIN, .step = PUMP_COPY};
    bytes_init(&p->stuck, PUMP_BATCH_MAX);
}

void pump_fini(struct pump *p)
{
    bytes_fini(&p->stuck);
}

/* A full batch asks for more next time, a thin one for less. */
static void adapt(struct pump *p, size_t got)
{
    if (got >= p->want) {
        p->want = MIN_OF(p->want * 2, (uint32_t)PUMP_BATCH_MAX);
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
    adapt(p, (size_t)n);
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
    adapt(p, (size_t)got);
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

static int copy_once(struct pump *p, struct loop *l)
{
    if (p->stuck.len > 0) {
        return write_stuck(p);
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
