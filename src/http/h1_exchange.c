/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/num.h"
#include "http/h1_int.h"

static struct h1_exchange *of(struct stream *s)
{
    return container_of(s, struct h1_exchange, x.s);
}

static struct h1_exchange *of_x(struct exchange *x)
{
    return container_of(x, struct h1_exchange, x);
}

/* Reading */

/* The client waits for permission to send its body: reading it is the permission. */
static int give_continue(struct h1_exchange *x)
{
    AUTO(message) struct message m = {.status = 100};

    if (!x->owes_continue || x->conn->limits.continue_by_owner) {
        return 0;
    }
    if (x->out != H1_OUT_HEAD || x->conn->in.len > 0) {
        x->owes_continue = false;
        return 0; /* too late for it, or the client did not wait */
    }
    return h1_send_head(x, &m);
}

/* 1: there may be something to read. */
static int before_reading(struct h1_exchange *x)
{
    if (x->in == H1_IN_ENDED) {
        return 0;
    }
    if (!x->conn) {
        return x->failure;
    }
    if (x->in == H1_IN_HEAD) {
        int r = h1_client_head(x);
        return r < 0 ? r : r == 0 ? 1 : FAIL(stream_why(&x->x.s), -EINVAL, "not the time to read");
    }
    int r = give_continue(x);
    return r < 0 ? r : 1;
}

static ssize_t x_read(struct stream *s, void *into, size_t room)
{
    struct h1_exchange *x = of(s);
    ssize_t r = before_reading(x);

    r = r > 0 ? h1_body_read(x, into, room) : r;
    x->in_waits = r == -EAGAIN;
    return r;
}

static int x_peek(struct stream *s, struct iovec *out, int max)
{
    struct h1_exchange *x = of(s);
    int r = before_reading(x);

    r = r > 0 ? h1_body_peek(x, out, max) : r;
    x->in_waits = r == -EAGAIN;
    return r;
}

static void x_skip(struct stream *s, size_t len)
{
    struct h1_exchange *x = of(s);

    if (len > 0 && x->conn) {
        h1_body_skip(x, len);
    }
}

static int x_head(struct exchange *e)
{
    struct h1_exchange *x = of_x(e);
    int r = 0;

    if (x->in == H1_IN_HEAD || x->interim_shown) {
        r = x->conn ? h1_client_head(x) : x->failure;
    }
    x->in_waits = r == -EAGAIN;
    return r;
}

/* Writing */

static ssize_t x_writev(struct stream *s, const struct iovec *from, int count)
{
    struct h1_exchange *x = of(s);
    ssize_t r = x->conn ? h1_send_body(x, from, count) : x->failure;

    x->out_waits = r == -EAGAIN;
    return r;
}

static ssize_t x_write(struct stream *s, const void *from, size_t len)
{
    union {
        const void *in;
        void *out;
    } p = {from}; /* what is written is not changed; a vector cannot say so */

    return x_writev(s, &(struct iovec){p.out, len}, 1);
}

static int x_flush(struct stream *s)
{
    struct h1_exchange *x = of(s);

    if (!x->conn) {
        return x->failure;
    }
    /* What was written leaves at the end of this turn or waits for the transport; either way run()
     * wakes us, and asking must not make it run. */
    x->out_waits = x->conn->out.len > 0;
    return x->out_waits ? -EAGAIN : 0;
}

static int x_finish(struct exchange *e, const struct message *trailers)
{
    struct h1_exchange *x = of_x(e);

    if (x->out == H1_OUT_ENDED) {
        return 0;
    }
    return x->conn ? h1_send_end(x, trailers) : x->failure;
}

static int x_shut(struct stream *s)
{
    return x_finish(&of(s)->x, NULL);
}

static int x_send(struct exchange *e, const struct message *m)
{
    struct h1_exchange *x = of_x(e);

    return x->conn ? h1_send_head(x, m) : x->failure;
}

/* Life */

static void x_close(struct stream *s, int why)
{
    struct h1_exchange *x = of(s);

    if (!x->conn) {
        h1_exchange_free(x);
        return;
    }
    if (why < 0 && x->out != H1_OUT_ENDED) {
        x->out = H1_OUT_HEAD; /* given up: the connection must not look complete */
    }
    if (x->conn->client) {
        h1_client_closed(x->conn, x);
    } else {
        h1_server_closed(x->conn, x);
    }
}

static struct stream *x_transport(struct exchange *e)
{
    struct h1_exchange *x = of_x(e);

    return x->conn ? x->conn->below : NULL;
}

static const struct stream_ops stream_ops = {
    .name = "h1 exchange",
    .read = x_read,
    .write = x_write,
    .flush = x_flush,
    .shut = x_shut,
    .close = x_close,
    .writev = x_writev,
    .peek = x_peek,
    .skip = x_skip,
};

static const struct exchange_ops exchange_ops = {
    .name = "h1",
    .head = x_head,
    .send = x_send,
    .finish = x_finish,
    .transport = x_transport,
};

struct h1_exchange *h1_exchange_new(struct h1_conn *c)
{
    struct h1_exchange *x = mem_new(struct h1_exchange);

    x->x.s.ops = &stream_ops;
    x->x.ops = &exchange_ops;
    x->x.version = EXCHANGE_HTTP11;
    x->conn = c;
    message_init(&x->x.in, c->limits.head_bytes);
    message_init(&x->x.in_trailers, H1_TRAILERS_BYTES_MAX);
    return x;
}

void h1_exchange_free(struct h1_exchange *x)
{
    stream_fini(&x->x.s);
    message_fini(&x->x.in);
    message_fini(&x->x.in_trailers);
    mem_free(x);
}

/* Heads */

/* The number as everybody reads it: some take a leading zero for octal. */
static struct slice without_zeros(struct slice number)
{
    while (number.len > 1 && number.p[0] == '0') {
        number.p++;
        number.len--;
    }
    return number;
}

static bool is_bodiless(unsigned status)
{
    return status == 204 || (status > 0 && status < 200);
}

static bool is_wanted(const struct h1_exchange *x, const struct h1_head *h,
                      const struct h1_framing *f, struct slice name)
{
    const struct h1_limits *limits = &x->conn->limits;

    switch (name.len) {
    case 2: /* put back in its plain form */
        return !slice_is_any_case(name, "te");
    case 4:
        if (!x->conn->client && slice_is_any_case(name, "host")) {
            return false;
        }
        break;
    case 6:
        if (!x->conn->client && slice_is_any_case(name, "expect")) {
            return limits->continue_by_owner && x->owes_continue;
        }
        break;
    default:
        break;
    }
    return !h1_is_hop_field(name) && !(f->nominates && h1_is_nominated(h, name)) &&
           !(limits->names == H1_UNDERSCORE_DROP && memchr(name.p, '_', name.len));
}

void h1_take_fields(struct h1_exchange *x, const struct h1_head *h, const struct h1_framing *f)
{
    struct message *in = &x->x.in;

    for (unsigned i = 0; i < h->count; i++) {
        struct slice name = h->fields[i].name;
        struct slice value = h->fields[i].value;
        if (slice_is_any_case(name, "content-length")) {
            if (!is_bodiless(h->status)) {
                message_add(in, name, without_zeros(value));
            }
        } else if (is_wanted(x, h, f, name)) {
            message_add(in, name, value);
        }
    }
    if (f->takes_trailers && !x->conn->client) {
        message_puts(in, "te", "trailers");
    }
}
