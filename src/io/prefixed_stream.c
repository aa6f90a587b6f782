/* SPDX-License-Identifier: Apache-2.0 */
#include "io/prefixed_stream.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"

struct prefixed {
    struct stream s;
    struct stream *below;
    struct bytes prefix;
};

static struct prefixed *of(struct stream *s)
{
    return container_of(s, struct prefixed, s);
}

static int told(struct prefixed *p, int r)
{
    if (r < 0 && r != -EAGAIN) {
        stream_note(&p->s, stream_diag(p->below));
    }
    return r;
}

static ssize_t x_read(struct stream *s, void *into, size_t room)
{
    struct prefixed *p = of(s);
    size_t n = MIN_OF(room, p->prefix.len);

    if (n == 0) {
        ssize_t r = stream_read(p->below, into, room);
        return r < 0 ? told(p, (int)r) : r;
    }
    memcpy(into, bytes_peek(&p->prefix), n);
    bytes_skip(&p->prefix, n);
    if (p->prefix.len == 0) {
        bytes_fini(&p->prefix);
    }
    return (ssize_t)n;
}

static ssize_t x_write(struct stream *s, const void *from, size_t len)
{
    ssize_t r = stream_write(of(s)->below, from, len);

    return r < 0 ? told(of(s), (int)r) : r;
}

static ssize_t x_writev(struct stream *s, const struct iovec *from, int count)
{
    struct stream *below = of(s)->below;
    ssize_t r = below->ops->writev ? below->ops->writev(below, from, count)
                                   : stream_write(below, from[0].iov_base, from[0].iov_len);

    return r < 0 ? told(of(s), (int)r) : r;
}

static int x_flush(struct stream *s)
{
    return told(of(s), stream_flush(of(s)->below));
}

static int x_shut(struct stream *s)
{
    return told(of(s), stream_shut(of(s)->below));
}

static void x_close(struct stream *s, int why)
{
    struct prefixed *p = of(s);

    bytes_fini(&p->prefix);
    stream_close(p->below, why);
    stream_fini(&p->s);
    mem_free(p);
}

static void x_owned(struct stream *s)
{
    stream_own(of(s)->below, s->owner);
}

static const struct stream_ops prefixed_ops = {
    .name = "prefixed",
    .read = x_read,
    .write = x_write,
    .writev = x_writev,
    .flush = x_flush,
    .shut = x_shut,
    .close = x_close,
    .owned = x_owned,
};

struct stream *prefixed_stream_new(struct stream *take_below, struct bytes *take_prefix)
{
    struct prefixed *p = mem_new(struct prefixed);

    p->s.ops = &prefixed_ops;
    p->below = take_below;
    p->prefix = *take_prefix;
    bytes_init(take_prefix, take_prefix->limit);
    return &p->s;
}
