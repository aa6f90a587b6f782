/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pump.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/splice_int.h"
#include "io/tcp_stream.h"

enum { PIECES = 64, KIB_BITS = 10, MIB_BITS = 20 };
enum {
    COPY_BATCH_MAX = 128 << 10
}; /* read once, written once: larger ones leave the cache between */

static uint32_t want(const struct pump *p)
{
    return (uint32_t)p->want_kib << KIB_BITS;
}

static void want_set(struct pump *p, uint32_t bytes)
{
    p->want_kib = (uint16_t)(bytes >> KIB_BITS);
}

/* The mark from which on to splice, so much having been moved. */
static uint32_t splice_mib(uint64_t moved)
{
    uint64_t mib = (moved + SPLICE_AFTER_BYTES + (1u << MIB_BITS) - 1) >> MIB_BITS;

    return (uint32_t)MIN_OF(mib, (uint64_t)UINT32_MAX);
}

void pump_init(struct pump *p, const struct stream *src, const struct stream *dst)
{
    *p = (struct pump){.step = PUMP_COPY};
    want_set(p, PUMP_BATCH_MIN);
    p->splice_at_mib = stream_is_tcp(src) && stream_is_tcp(dst) ? splice_mib(0) : UINT32_MAX;
}

void pump_fini(struct pump *p)
{
    if (p->held) {
        bytes_fini(&p->held->stuck);
        splice_pipe_put(p->held->pipe);
        mem_free(MOVE(p->held));
    }
}

static struct pump_held *hold(struct pump *p)
{
    if (!p->held) {
        p->held = mem_new(struct pump_held);
        bytes_init(&p->held->stuck, PUMP_BATCH_MAX);
    }
    return p->held;
}

static bool has_stuck(const struct pump *p)
{
    return p->held && p->held->stuck.len > 0;
}

static struct splice_pipe *pipe_of(const struct pump *p)
{
    return p->held ? p->held->pipe : NULL;
}

/* A full batch asks for more next time, a thin one for less. */
static void adapt(struct pump *p, size_t got, uint32_t most)
{
    if (got >= want(p)) {
        want_set(p, MIN_OF(want(p) * 2, most));
    } else if (got < want(p) / 8) {
        want_set(p, MAX_OF(want(p) / 2, (uint32_t)PUMP_BATCH_MIN));
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
static int copy_lent(struct pump *p, struct stream *src, struct stream *dst)
{
    struct iovec v[PIECES];
    int count = stream_peek(src, v, PIECES);

    if (count <= 0) {
        return count == 0 ? source_ended(p) : count;
    }
    ssize_t n = write_pieces(dst, v, count);
    if (n < 0) {
        return (int)n;
    }
    stream_skip(src, (size_t)n);
    p->moved += (uint64_t)n;
    return 0;
}

/* The sink lends room; the source reads straight into it. */
static int copy_reserved(struct pump *p, struct stream *src, struct stream *dst)
{
    struct iovec v[PIECES];
    int count = stream_reserve(dst, v, PIECES, want(p));

    if (count < 0) {
        return count;
    }
    ssize_t n = src->ops->readv ? src->ops->readv(src, v, count)
                                : stream_read(src, v[0].iov_base, v[0].iov_len);
    if (n <= 0) {
        return n == 0 ? source_ended(p) : (int)n;
    }
    stream_commit(dst, (size_t)n);
    p->moved += (uint64_t)n;
    adapt(p, (size_t)n, PUMP_BATCH_MAX);
    return 0;
}

/* Keeps what the sink refused. Memory that is short here is the connection's end, not the process'. */
static int keep(struct pump *p, const uint8_t *from, size_t len)
{
    return len > 0 ? bytes_add(&hold(p)->stuck, from, len) : 0;
}

static int copy_scratch(struct pump *p, struct stream *src, struct stream *dst, struct loop *l)
{
    uint8_t *scratch = loop_scratch(l);
    ssize_t got = stream_read(src, scratch, want(p));

    if (got <= 0) {
        return got == 0 ? source_ended(p) : (int)got;
    }
    adapt(p, (size_t)got, COPY_BATCH_MAX);
    ssize_t n = stream_write(dst, scratch, (size_t)got);
    if (n < 0 && n != -EAGAIN) {
        return (int)n;
    }
    size_t taken = n > 0 ? (size_t)n : 0;
    p->moved += taken;
    int r = keep(p, scratch + taken, (size_t)got - taken);
    return r < 0 ? r : n < 0 ? (int)n : 0;
}

static int write_stuck(struct pump *p, struct stream *dst)
{
    struct bytes *stuck = &p->held->stuck;
    ssize_t n = stream_write(dst, bytes_peek(stuck), stuck->len);

    if (n < 0) {
        return (int)n;
    }
    bytes_skip(stuck, (size_t)n);
    p->moved += (uint64_t)n;
    if (stuck->len == 0) {
        pump_fini(p);
    }
    return 0;
}

/* Not worth it, or not to be had: copy for a while. */
static void splice_later(struct pump *p)
{
    p->splice_at_mib = splice_mib(p->moved);
    p->thin = 0;
    want_set(p, PUMP_BATCH_MIN);
}

static int splice_out(struct pump *p, struct stream *dst)
{
    struct splice_pipe *pipe = pipe_of(p);
    ssize_t n = tcp_stream_splice_out(dst, pipe);

    if (n < 0) {
        return (int)n;
    }
    p->moved += (uint64_t)n;
    if (pipe->len == 0) {
        pump_fini(p);
        if (p->thin >= SPLICE_THIN_MAX) {
            splice_later(p);
        }
    }
    return 0;
}

static int splice_in(struct pump *p, struct stream *src, struct loop *l)
{
    struct splice_pipe *pipe = splice_pipe_get(l);

    if (!pipe) {
        splice_later(p);
        return 0;
    }
    ssize_t n = tcp_stream_splice_in(src, pipe);
    if (n <= 0) {
        splice_pipe_put(pipe);
        return n == 0 ? source_ended(p) : (int)n;
    }
    hold(p)->pipe = pipe;
    p->thin = n < SPLICE_THIN_BYTES ? (uint8_t)(p->thin + 1) : 0;
    return 0;
}

int pump_gather(struct pump *p)
{
    struct splice_pipe *pipe = pipe_of(p);
    uint8_t *to = pipe ? bytes_reserve(&p->held->stuck, pipe->len) : NULL;

    if (!pipe) {
        return 0;
    }
    while (to && pipe->len > 0) {
        ssize_t n = read(pipe->read_end, to, pipe->len);
        if (n <= 0) {
            return n < 0 ? neg_errno() : -EIO;
        }
        bytes_commit(&p->held->stuck, (size_t)n);
        pipe->len -= (size_t)n;
        to += n;
    }
    if (!to) {
        return -ERR_TOO_LARGE;
    }
    splice_pipe_put(pipe);
    p->held->pipe = NULL;
    return 0;
}

static int copy_once(struct pump *p, struct stream *src, struct stream *dst, struct loop *l)
{
    if (has_stuck(p)) {
        return write_stuck(p, dst);
    }
    if (pipe_of(p)) {
        return splice_out(p, dst);
    }
    if (p->moved >> MIB_BITS >= p->splice_at_mib && want(p) >= SPLICE_WANT_BYTES) {
        return splice_in(p, src, l);
    }
    if (src->ops->peek) {
        return copy_lent(p, src, dst);
    }
    return dst->ops->reserve ? copy_reserved(p, src, dst) : copy_scratch(p, src, dst, l);
}

/* Before waiting for a slow source, let what was accepted go out. */
static int copy(struct pump *p, struct stream *src, struct stream *dst, struct loop *l)
{
    int r = copy_once(p, src, dst, l);

    if (r == -EAGAIN && !has_stuck(p)) {
        int f = stream_flush(dst);
        return f < 0 && f != -EAGAIN ? f : r;
    }
    return r;
}

static int step(struct pump *p, struct stream *src, struct stream *dst, struct loop *l)
{
    int r = 0;

    switch ((enum pump_step)p->step) {
    case PUMP_COPY:
        return copy(p, src, dst, l);
    case PUMP_FLUSH:
        r = stream_flush(dst);
        p->step = r == 0 ? PUMP_SHUT : PUMP_FLUSH;
        return r;
    case PUMP_SHUT:
        r = stream_shut(dst);
        p->step = r == 0 ? PUMP_DONE : PUMP_SHUT;
        return r;
    case PUMP_DONE:
        break;
    }
    return r;
}

int pump_run(struct pump *p, struct stream *src, struct stream *dst, struct loop *l, size_t budget)
{
    uint64_t stop = p->moved + budget;
    int r = 0;

    while (r == 0 && p->step != PUMP_DONE && p->moved < stop) {
        r = step(p, src, dst, l);
    }
    if (r < 0 && r != -EAGAIN) {
        return r;
    }
    if (p->step == PUMP_DONE) {
        return PUMP_FINISHED;
    }
    return r == -EAGAIN ? PUMP_BLOCKED : PUMP_AGAIN;
}
