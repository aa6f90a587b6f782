/* SPDX-License-Identifier: Apache-2.0 */
#include "io/failed_stream.h"

#include "base/mem.h"

static ssize_t failed_read(struct stream *s, void *into, size_t room)
{
    (void)into;
    (void)room;
    return stream_diag(s)->code;
}

static ssize_t failed_write(struct stream *s, const void *from, size_t len)
{
    (void)from;
    (void)len;
    return stream_diag(s)->code;
}

static int failed_call(struct stream *s)
{
    return stream_diag(s)->code;
}

static void failed_close(struct stream *s, int why)
{
    (void)why;
    stream_fini(s);
    mem_free(s);
}

static const struct stream_ops failed_ops = {
    .name = "failed",
    .read = failed_read,
    .write = failed_write,
    .flush = failed_call,
    .shut = failed_call,
    .close = failed_close,
};

struct stream *failed_stream_new(int code, const char *text)
{
    struct stream *s = mem_new(struct stream);

    s->ops = &failed_ops;
    (void)diag_note(stream_why(s), surely_negative(code), "%s",
                    text); /* noted for the caller to find */
    return s;
}
