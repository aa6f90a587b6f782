/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "http/h1_int.h"
#include "http/status.h"

enum { TRAILERS_BYTES_MAX = 8 << 10 };

static struct h1_exchange *of(struct stream *s)
{
    return container_of(s, struct h1_exchange, x.s);
}

static struct h1_exchange *of_x(struct exchange *x)
{
    return container_of(x, struct h1_exchange, x);
}

/* Body of the request */

static ssize_t take_plain(struct h1_exchange *x, void *into, size_t room)
{
    struct bytes *in = &x->server->in;
    size_t n = (size_t)MIN_OF((uint64_t)MIN_OF(room, in->len), x->in_left);

    memcpy(into, bytes_peek(in), n);
    bytes_skip(in, n);
    x->in_left -= n;
    if (x->in_left == 0) {
        x->in = H1_IN_ENDED;
    }
    return (ssize_t)n;
}

/* No more than room octets are looked at, so the data among them fits. */
static ssize_t take_chunked(struct h1_exchange *x, void *into, size_t room)
{
    struct bytes *in = &x->server->in;
    struct slice data;
    ssize_t used = h1_chunk_feed(&x->chunk, (const char *)bytes_peek(in), MIN_OF(room, in->len),
                                 &data, &x->x.s.diag);

    if (used < 0) {
        return used;
    }
    if (data.len > 0) {
        memcpy(into, data.p, data.len);
    }
    bytes_skip(in, (size_t)used);
    if (x->chunk.step == H1_CHUNK_TRAILERS) {
        x->in = H1_IN_TRAILERS;
    }
    return (ssize_t)data.len;
}

/* Fields that would change the framing or the routing after the fact are dropped (RFC 9110 6.5.1). */
static bool may_trail(struct slice name)
{
    static const char *const never[] = {"content-length", "transfer-encoding", "host",
                                        "connection",     "authorization",     "te",
                                        "trailer"};

    for (unsigned i = 0; i < ARRAY_LEN(never); i++) {
        if (name.len == strlen(never[i]) && strncasecmp(name.p, never[i], name.len) == 0) {
            return false;
        }
    }
    return true;
}

static int take_trailers(struct h1_exchange *x)
{
    struct bytes *in = &x->server->in;
    const char *p = (const char *)bytes_peek(in);
    size_t len = in->len > 0 ? h1_section_end(p, in->len, &x->seen) : 0;
    struct h1_head head;

    if (len == 0) {
        return in->len > TRAILERS_BYTES_MAX
                   ? FAIL(&x->x.s.diag, -ERR_TOO_LARGE, "trailers are too large")
                   : -EAGAIN;
    }
    int r = h1_fields_parse(p, len, &head, &x->x.s.diag);
    for (unsigned i = 0; i < head.count && r == 0; i++) {
        if (may_trail(head.fields[i].name)) {
            message_add(&x->x.in_trailers, head.fields[i].name, head.fields[i].value);
        }
    }
    if (r == 0) {
        bytes_skip(in, len);
        x->in = H1_IN_ENDED;
    }
    return r;
}

/* What the input buffer gives: octets; 0: nothing, but the state may have moved; -EAGAIN: it holds
 * too little. */
static ssize_t take_buffered(struct h1_exchange *x, void *into, size_t room)
{
    if (x->in == H1_IN_TRAILERS) {
        return take_trailers(x);
    }
    if (x->server->in.len == 0) {
        return -EAGAIN;
    }
    return x->in == H1_IN_COUNTED ? take_plain(x, into, room) : take_chunked(x, into, room);
}

static int fill_for_body(struct h1_exchange *x)
{
    int r = h1_fill(x->server);

    if (r > 0) {
        return 0;
    }
    h1_await_body(x->server, r == -EAGAIN);
    return r < 0 ? r : FAIL(&x->x.s.diag, -ERR_TRUNCATED, "the client ended inside the body");
}

static ssize_t take_some(struct h1_exchange *x, void *into, size_t room)
{
    while (x->in != H1_IN_ENDED) {
        ssize_t n = take_buffered(x, into, room);
        if (n == -EAGAIN) {
            n = fill_for_body(x);
        }
        if (n != 0) {
            return n;
        }
    }
    return 0;
}

ssize_t h1_body_take(struct h1_exchange *x, void *into, size_t room)
{
    if (x->in_failure < 0) {
        return x->in_failure;
    }
    ssize_t n = take_some(x, into, room);
    if (n > 0) {
        x->in_taken += (uint64_t)n;
        if (x->in_taken > x->server->limits.body_bytes) {
            n = FAIL(&x->x.s.diag, -ERR_TOO_LARGE, "request body is too large");
        }
    }
    if (n < 0 && n != -EAGAIN) {
        x->in_failure = (int)n;
    }
    if (n != -EAGAIN) {
        h1_await_body(x->server, false);
    }
    return n;
}

/* The client waits for permission to send its body: reading it is the permission. */
static int give_continue(struct h1_exchange *x)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (!x->owes_continue) {
        return 0;
    }
    x->owes_continue = false;
    if (x->out != H1_OUT_HEAD || x->server->in.len > 0) {
        return 0; /* too late for it, or the client did not wait */
    }
    int r = bytes_add(&x->server->out, text, sizeof(text) - 1);
    h1_kick(x->server);
    return r;
}

static ssize_t x_read(struct stream *s, void *into, size_t room)
{
    struct h1_exchange *x = of(s);

    if (x->in == H1_IN_ENDED) {
        return 0;
    }
    if (!x->server) {
        return x->failure;
    }
    int r = give_continue(x);
    return r < 0 ? r : h1_body_take(x, into, room);
}

/* The response */

static bool is_own_field(struct slice name)
{
    static const char *const own[] = {"connection", "keep-alive", "proxy-connection",
                                      "transfer-encoding", "upgrade"};

    for (unsigned i = 0; i < ARRAY_LEN(own); i++) {
        if (slice_is(name, own[i])) {
            return true;
        }
    }
    return false;
}

/* A line end that got into a value from outside would split the response. */
static bool is_clean(struct message_field f)
{
    for (size_t i = 0; i < f.value.len; i++) {
        unsigned char c = (unsigned char)f.value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    for (size_t i = 0; i < f.name.len; i++) {
        if (f.name.p[i] <= 0x20 || f.name.p[i] >= 0x7f || f.name.p[i] == ':') {
            return false;
        }
    }
    return f.name.len > 0;
}

static int put_fields(struct h1_exchange *x, const struct message *m, struct strbuf *out)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct message_field f = message_field(m, i);
        if (is_own_field(f.name) || !is_clean(f)) {
            return FAIL(&x->x.s.diag, -ERR_SYNTAX, "response field that cannot be sent: %.*s",
                        (int)MIN_OF(f.name.len, (size_t)40), f.name.p);
        }
        strbuf_add(out, f.name.p, f.name.len);
        strbuf_puts(out, ": ");
        strbuf_add(out, f.value.p, f.value.len);
        strbuf_puts(out, "\r\n");
    }
    return 0;
}

/* How the end of the body will be known (RFC 9112 6.3); may refuse a bad content-length. */
static int choose_framing(struct h1_exchange *x, const struct message *m, enum h1_out *out)
{
    struct slice length;
    bool counted = message_find(m, "content-length", &length);

    if (counted && num_parse_u64(length.p, length.len, INT64_MAX, &x->out_left) < 0) {
        return FAIL(&x->x.s.diag, -ERR_SYNTAX, "content-length is not a number");
    }
    if (message_is_method(&x->x.in, "HEAD") || m->status == 204 || m->status == 304) {
        *out = H1_OUT_SILENT;
    } else if (counted) {
        *out = H1_OUT_COUNTED;
    } else {
        *out = x->minor == 1 ? H1_OUT_CHUNKED : H1_OUT_TO_CLOSE;
    }
    return 0;
}

static void put_own_fields(struct h1_exchange *x, const struct message *m, enum h1_out framing,
                           struct strbuf *out)
{
    struct slice given;
    char date[HTTP_DATE_TEXT];

    if (framing == H1_OUT_CHUNKED) {
        strbuf_puts(out, "transfer-encoding: chunked\r\n");
    }
    if (!message_find(m, "date", &given)) {
        http_date(clock_wall_s(), date);
        strbuf_printf(out, "date: %s\r\n", date);
    }
    if (x->server->last) {
        strbuf_puts(out, "connection: close\r\n");
    }
    strbuf_puts(out, "\r\n");
}

static int send_head(struct h1_exchange *x, const struct message *m)
{
    AUTO(strbuf) struct strbuf text = {.limit = MESSAGE_BYTES_MAX};
    enum h1_out framing = H1_OUT_ENDED;
    int r = choose_framing(x, m, &framing);

    if (r < 0) {
        return r;
    }
    /* A body nobody has asked for may or may not be on its way: no telling what comes next. */
    x->server->last |= framing == H1_OUT_TO_CLOSE || x->owes_continue;
    strbuf_printf(&text, "HTTP/1.1 %u %s\r\n", m->status, http_reason(m->status));
    r = put_fields(x, m, &text);
    if (r < 0) {
        return r;
    }
    put_own_fields(x, m, framing, &text);
    if (text.overflow || bytes_add(&x->server->out, text.p, text.len) < 0) {
        return FAIL(&x->x.s.diag, -ERR_TOO_LARGE, "response head is too large");
    }
    x->out = framing;
    h1_kick(x->server);
    return 0;
}

static int x_send(struct exchange *e, const struct message *m)
{
    struct h1_exchange *x = of_x(e);

    if (!x->server) {
        return x->failure;
    }
    if (x->out != H1_OUT_HEAD || m->status < 200 || m->status > 599) {
        return FAIL(&e->s.diag, -EINVAL, "not the time for a head with status %u", m->status);
    }
    if (!message_is_whole(m)) {
        return FAIL(&e->s.diag, -ERR_TOO_LARGE, "response head is too large");
    }
    return send_head(x, m);
}

static size_t output_room(const struct h1_server *s)
{
    size_t limit = (size_t)s->limits.output_bytes;

    return s->out.len + H1_FRAMING_ROOM < limit ? limit - s->out.len - H1_FRAMING_ROOM : 0;
}

static int put_chunk(struct bytes *out, const void *from, size_t len)
{
    char frame[20];
    int n = snprintf(frame, sizeof(frame), "%zx\r\n", len);
    int r = bytes_add(out, frame, (size_t)n);

    r = r < 0 ? r : bytes_add(out, from, len);
    return r < 0 ? r : bytes_add(out, "\r\n", 2);
}

static ssize_t put_body(struct h1_exchange *x, const void *from, size_t len)
{
    struct h1_server *s = x->server;
    size_t n = MIN_OF(len, output_room(s));

    if (n == 0) {
        return -EAGAIN; /* run() wakes us whenever the client has taken something */
    }
    int r = x->out == H1_OUT_CHUNKED ? put_chunk(&s->out, from, n) : bytes_add(&s->out, from, n);
    if (r < 0) {
        return FAIL(&x->x.s.diag, r, "no memory for the response");
    }
    x->out_left -= x->out == H1_OUT_COUNTED ? n : 0;
    h1_kick(s);
    return (ssize_t)n;
}

static ssize_t x_write(struct stream *s, const void *from, size_t len)
{
    struct h1_exchange *x = of(s);

    if (!x->server) {
        return x->failure;
    }
    switch (x->out) {
    case H1_OUT_SILENT:
        return (ssize_t)len;
    case H1_OUT_COUNTED:
        if (len > x->out_left) {
            return FAIL(&s->diag, -ERR_TOO_LARGE, "more body than content-length said");
        }
        return put_body(x, from, len);
    case H1_OUT_CHUNKED:
    case H1_OUT_TO_CLOSE:
        return put_body(x, from, len);
    case H1_OUT_HEAD:
    case H1_OUT_ENDED:
        break;
    }
    return FAIL(&s->diag, -EINVAL, "not the time for a body");
}

static int x_flush(struct stream *s)
{
    struct h1_exchange *x = of(s);

    if (!x->server) {
        return x->failure;
    }
    /* What was written leaves at the end of this turn or waits for the transport; either way run()
     * wakes us, and asking must not make it run. */
    return x->server->out.len == 0 ? 0 : -EAGAIN;
}

static int end_chunks(struct h1_exchange *x, const struct message *trailers)
{
    AUTO(strbuf) struct strbuf text = {.limit = TRAILERS_BYTES_MAX};

    strbuf_puts(&text, "0\r\n");
    if (trailers && x->takes_trailers) {
        int r = put_fields(x, trailers, &text);
        if (r < 0) {
            return r;
        }
    }
    strbuf_puts(&text, "\r\n");
    if (text.overflow || bytes_add(&x->server->out, text.p, text.len) < 0) {
        return FAIL(&x->x.s.diag, -ERR_TOO_LARGE, "trailers are too large");
    }
    return 0;
}

static int x_finish(struct exchange *e, const struct message *trailers)
{
    struct h1_exchange *x = of_x(e);
    int r = 0;

    if (x->out == H1_OUT_ENDED) {
        return 0;
    }
    if (!x->server) {
        return x->failure;
    }
    if (x->out == H1_OUT_HEAD || (x->out == H1_OUT_COUNTED && x->out_left > 0)) {
        return FAIL(&e->s.diag, -EINVAL, "the response is not complete");
    }
    if (x->out == H1_OUT_CHUNKED) {
        r = end_chunks(x, trailers);
    }
    if (r == 0) {
        x->out = H1_OUT_ENDED;
        h1_kick(x->server);
    }
    return r;
}

static int x_shut(struct stream *s)
{
    return x_finish(&of(s)->x, NULL);
}

static void x_close(struct stream *s, int why)
{
    struct h1_exchange *x = of(s);

    if (!x->server) {
        h1_exchange_free(x);
        return;
    }
    if (why < 0 && x->out != H1_OUT_ENDED) {
        x->out = H1_OUT_HEAD; /* given up: the connection must not look complete */
    }
    h1_exchange_closed(x->server, x);
}

static int x_head(struct exchange *e)
{
    (void)e; /* a server's request is complete before anybody sees it */
    return 0;
}

static struct stream *x_transport(struct exchange *e)
{
    struct h1_exchange *x = of_x(e);

    return x->server ? x->server->below : NULL;
}

static const struct stream_ops stream_ops = {
    .name = "h1 exchange",
    .read = x_read,
    .write = x_write,
    .flush = x_flush,
    .shut = x_shut,
    .close = x_close,
};

static const struct exchange_ops exchange_ops = {
    .name = "h1",
    .head = x_head,
    .send = x_send,
    .finish = x_finish,
    .transport = x_transport,
};

static bool is_connection_field(struct slice name)
{
    static const char *const skip[] = {
        "host",    "connection", "keep-alive",       "proxy-connection",
        "upgrade", "expect",     "transfer-encoding"};

    for (unsigned i = 0; i < ARRAY_LEN(skip); i++) {
        if (name.len == strlen(skip[i]) && strncasecmp(name.p, skip[i], name.len) == 0) {
            return true;
        }
    }
    return false;
}

static void fill_message(struct message *m, const struct h1_head *head,
                         const struct h1_framing *framing, const char *scheme)
{
    message_set(m, MESSAGE_METHOD, head->method);
    message_set(m, MESSAGE_SCHEME, slice_of(scheme));
    message_set(m, MESSAGE_AUTHORITY, framing->authority);
    message_set(m, MESSAGE_PATH, framing->path);
    for (unsigned i = 0; i < head->count; i++) {
        if (!is_connection_field(head->fields[i].name)) {
            message_add(m, head->fields[i].name, head->fields[i].value);
        }
    }
}

struct h1_exchange *h1_exchange_new(struct h1_server *s, const struct h1_head *head,
                                    const struct h1_framing *framing)
{
    struct h1_exchange *x = mem_new(struct h1_exchange);

    x->x.s.ops = &stream_ops;
    x->x.ops = &exchange_ops;
    x->server = s;
    x->in_left = framing->length;
    x->in = framing->chunked ? H1_IN_CHUNKED : framing->length > 0 ? H1_IN_COUNTED : H1_IN_ENDED;
    x->minor = head->minor;
    x->owes_continue = framing->expects_continue && x->in != H1_IN_ENDED && head->minor == 1;
    x->takes_trailers = framing->takes_trailers;
    message_init(&x->x.in, 0);
    message_init(&x->x.in_trailers, TRAILERS_BYTES_MAX);
    fill_message(&x->x.in, head, framing, s->limits.secure ? "https" : "http");
    if (!message_is_whole(&x->x.in)) {
        h1_exchange_free(x);
        return NULL;
    }
    return x;
}

void h1_exchange_free(struct h1_exchange *x)
{
    message_fini(&x->x.in);
    message_fini(&x->x.in_trailers);
    mem_free(x);
}
