/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/grpc_call.h"

#include "base/mem.h"
#include "base/num.h"
#include "rpc/grpc_int.h"

enum { PREFIX_BYTES = 5 };

enum grpc_recv {
    GRPC_RECV_HEAD,    /* client: the response head is awaited */
    GRPC_RECV_PREFIX,  /* a message, or the end */
    GRPC_RECV_MESSAGE, /* left octets of one are still to come */
    GRPC_RECV_ENDED,   /* the peer has sent all it will, well */
    GRPC_RECV_FAILED
};

enum grpc_send {
    GRPC_SEND_HEAD, /* server: no response head yet */
    GRPC_SEND_OPEN,
    GRPC_SEND_ENDED
};

struct grpc_call {
    struct exchange *x;
    struct loop *loop;
    struct timer timer;
    uint64_t due_ms; /* 0: no deadline */
    uint32_t limit;  /* of a received message */
    uint32_t left;
    enum grpc_role role;
    enum grpc_recv recv;
    enum grpc_send send;
    uint8_t prefix[PREFIX_BYTES];
    unsigned prefix_len;
    size_t sent;   /* of prefix and message under way */
    bool in_whole; /* grpc_call_recv is amid a message */
    bool has_only; /* grpc_call_recv_only has its message */
    int failure;
    struct diag diag;
    struct grpc_status status;
};

struct grpc_call *grpc_call_new(struct loop *l, struct exchange *take_x, enum grpc_role role,
                                uint32_t message_bytes, uint64_t limit_ms)
{
    struct grpc_call *c = mem_new(struct grpc_call);

    c->x = take_x;
    c->loop = l;
    c->role = role;
    c->limit = message_bytes;
    c->recv = role == GRPC_CLIENT ? GRPC_RECV_HEAD : GRPC_RECV_PREFIX;
    c->send = role == GRPC_CLIENT ? GRPC_SEND_OPEN : GRPC_SEND_HEAD;
    c->due_ms = limit_ms > 0 ? loop_now_ms(l) + limit_ms : 0;
    return c;
}

void grpc_call_own(struct grpc_call *c, struct task *owner)
{
    uint64_t now = loop_now_ms(c->loop);

    stream_own(&c->x->s, owner);
    timer_clear(&c->timer);
    if (owner && c->due_ms > 0) {
        timer_set(&c->timer, owner, c->due_ms > now ? c->due_ms - now : 0);
    }
}

void grpc_call_close(struct grpc_call *c)
{
    if (c) {
        timer_clear(&c->timer);
        bool whole =
            c->send == GRPC_SEND_ENDED && (c->role == GRPC_SERVER || c->recv == GRPC_RECV_ENDED);
        exchange_close(c->x, whole ? 0 : -ERR_CANCELLED);
        mem_free(c);
    }
}

struct slice grpc_call_path(const struct grpc_call *c)
{
    return message_get(&c->x->in, MESSAGE_PATH);
}

const struct message *grpc_call_metadata(const struct grpc_call *c)
{
    return &c->x->in;
}

const struct grpc_status *grpc_call_status(const struct grpc_call *c)
{
    return &c->status;
}

const struct diag *grpc_call_diag(const struct grpc_call *c)
{
    return &c->diag;
}

/* The call is over with this error. */
static int fail(struct grpc_call *c, int why, const char *text)
{
    c->recv = GRPC_RECV_FAILED;
    c->failure = diag_note(&c->diag, surely_negative(why), "%s", text);
    grpc_status_set(&c->status, grpc_code_of_error(why, c->x->reset_code), slice_of(c->diag.text));
    return c->failure;
}

/* The exchange has answered r. */
static int fail_below(struct grpc_call *c, int r)
{
    if (r == -EAGAIN) {
        return r;
    }
    return fail(c, r, stream_diag(&c->x->s)->code == r ? stream_diag(&c->x->s)->text : err_text(r));
}

static int fail_status(struct grpc_call *c)
{
    c->recv = GRPC_RECV_FAILED;
    c->failure =
        FAIL(&c->diag, -ERR_GRPC_STATUS, "%s: %s", grpc_code_name(c->status.code), c->status.text);
    return c->failure;
}

static int check_time(struct grpc_call *c)
{
    if (c->recv == GRPC_RECV_FAILED) {
        return c->failure;
    }
    bool past = c->due_ms > 0 && loop_now_ms(c->loop) >= c->due_ms;
    bool over = c->role == GRPC_CLIENT ? c->recv == GRPC_RECV_ENDED : c->send == GRPC_SEND_ENDED;
    return past && !over ? fail(c, -ERR_DEADLINE, "the call's deadline passed") : 0;
}

static bool is_grpc(const struct message *m)
{
    struct slice type;

    return message_find(m, "content-type", &type) && slice_has_prefix(type, "application/grpc");
}

static int take_head(struct grpc_call *c)
{
    int r = exchange_head(c->x);

    if (r < 0) {
        return fail_below(c, r);
    }
    if (c->x->in.status != 200) {
        AUTO(strbuf) struct strbuf text = {0};
        strbuf_printf(&text, "HTTP status %u", c->x->in.status);
        grpc_status_set(&c->status, grpc_code_of_http(c->x->in.status), slice_of(text.p));
        return fail_status(c);
    }
    if (!is_grpc(&c->x->in)) {
        grpc_status_set(&c->status, GRPC_UNKNOWN, slice_of("the response is no gRPC"));
        return fail_status(c);
    }
    c->recv = GRPC_RECV_PREFIX;
    return 0;
}

/* The peer has ended its half. */
static int take_end(struct grpc_call *c)
{
    struct slice unused;

    if (c->prefix_len > 0) {
        return fail(c, -ERR_SYNTAX, "the stream ended inside a message");
    }
    if (c->role == GRPC_CLIENT) {
        bool head_only = message_find(&c->x->in, "grpc-status", &unused);
        grpc_status_read(&c->status, head_only ? &c->x->in : &c->x->in_trailers);
        if (c->status.code != GRPC_OK) {
            return fail_status(c);
        }
    }
    c->recv = GRPC_RECV_ENDED;
    return 0;
}

/* Up to a whole prefix: 1 and a message has begun; 0: the step has changed otherwise. */
static int take_prefix(struct grpc_call *c)
{
    ssize_t n = stream_read(&c->x->s, c->prefix + c->prefix_len, PREFIX_BYTES - c->prefix_len);

    if (n <= 0) {
        return n == 0 ? take_end(c) : fail_below(c, (int)n);
    }
    c->prefix_len += (unsigned)n;
    if (c->prefix_len < PREFIX_BYTES) {
        return 0;
    }
    if (c->prefix[0] != 0) {
        return fail(c, -ERR_UNSUPPORTED, "a compressed message, and no compression was agreed on");
    }
    c->left = be32_get(c->prefix + 1);
    if (c->left > c->limit) {
        return fail(c, -ERR_TOO_LARGE, "a message is larger than its limit");
    }
    c->prefix_len = 0;
    c->recv = GRPC_RECV_MESSAGE;
    return 1;
}

static int peek(struct grpc_call *c, struct iovec *out, int max)
{
    int n = stream_peek(&c->x->s, out, max);
    size_t room = c->left;

    if (n <= 0) {
        return n == 0 ? fail(c, -ERR_SYNTAX, "the stream ended inside a message")
                      : fail_below(c, n);
    }
    for (int i = 0; i < n; i++) {
        out[i].iov_len = MIN_OF(out[i].iov_len, room);
        room -= out[i].iov_len;
    }
    return n;
}

void grpc_call_skip(struct grpc_call *c, size_t len)
{
    stream_skip(&c->x->s, len);
    c->left -= (uint32_t)len;
}

/* What is left of the current message is thrown away. */
static int skip_message(struct grpc_call *c)
{
    struct iovec v;

    while (c->left > 0) {
        int n = peek(c, &v, 1);
        if (n < 0) {
            return n;
        }
        grpc_call_skip(c, v.iov_len);
    }
    c->recv = GRPC_RECV_PREFIX;
    return 0;
}

static int step(struct grpc_call *c)
{
    switch (c->recv) {
    case GRPC_RECV_HEAD:
        return take_head(c);
    case GRPC_RECV_PREFIX:
        return take_prefix(c);
    case GRPC_RECV_MESSAGE:
        return skip_message(c);
    case GRPC_RECV_ENDED:
        break;
    case GRPC_RECV_FAILED:
        return c->failure;
    }
    return 0;
}

int grpc_call_next(struct grpc_call *c, uint32_t *out_len)
{
    int r = check_time(c);

    while (r == 0 && c->recv != GRPC_RECV_ENDED) {
        r = step(c);
    }
    if (r == 1) {
        *out_len = c->left;
    }
    return r;
}

int grpc_call_peek(struct grpc_call *c, struct iovec *out, int max)
{
    int r = check_time(c);

    if (r < 0 || c->recv != GRPC_RECV_MESSAGE || c->left == 0) {
        return r;
    }
    return peek(c, out, max);
}

static int begin_whole(struct grpc_call *c, const struct bytes *into)
{
    uint32_t len = 0;
    int r = c->in_whole ? 1 : grpc_call_next(c, &len);

    if (r != 1) {
        return r;
    }
    if (!c->in_whole && len > bytes_room(into)) {
        return fail(c, -ERR_TOO_LARGE, "a message is larger than its limit");
    }
    c->in_whole = true;
    return 1;
}

int grpc_call_recv(struct grpc_call *c, struct bytes *into)
{
    int r = begin_whole(c, into);

    while (r == 1 && c->left > 0) {
        struct iovec v;
        int n = grpc_call_peek(c, &v, 1);
        if (n < 0) {
            return n;
        }
        if (bytes_add(into, v.iov_base, v.iov_len) < 0) {
            return fail(c, -ERR_LIMIT, "no memory for a message");
        }
        grpc_call_skip(c, v.iov_len);
    }
    c->in_whole = false;
    return r;
}

int grpc_call_recv_only(struct grpc_call *c, struct bytes *into)
{
    uint32_t len;
    int r = c->has_only ? 1 : grpc_call_recv(c, into);

    if (r == 0) {
        return fail(c, -ERR_SYNTAX, "the call ended without a message");
    }
    if (r < 0) {
        return r;
    }
    c->has_only = true;
    r = grpc_call_next(c, &len);
    return r == 1 ? fail(c, -ERR_SYNTAX, "a second message in a unary call") : r;
}

/* Sending. An error here is not yet the call's result: the peer may have said why it stopped
 * listening, and receiving finds that. */

static int send_error(struct grpc_call *c, int r)
{
    if (r < 0 && r != -EAGAIN && c->recv != GRPC_RECV_FAILED) {
        (void)diag_note(&c->diag, r, "%s",
                        stream_diag(&c->x->s)->code == r ? stream_diag(&c->x->s)->text
                                                         : err_text(r));
        grpc_status_set(&c->status, grpc_code_of_error(r, c->x->reset_code),
                        slice_of(c->diag.text));
    }
    return r;
}

static int send_head(struct grpc_call *c, struct message *m)
{
    if (c->send != GRPC_SEND_HEAD) {
        return 0;
    }
    m->status = 200;
    message_puts(m, "content-type", "application/grpc");
    int r = exchange_send(c->x, m);
    if (r == 0) {
        c->send = GRPC_SEND_OPEN;
    }
    return r;
}

static int open_send(struct grpc_call *c)
{
    AUTO(message) struct message head = {0};
    int r = check_time(c);

    return r < 0 ? r : send_head(c, &head);
}

/* Writes from[at..len) of a part whose place in the whole is base. */
static int send_part(struct grpc_call *c, const void *from, size_t base, size_t len)
{
    while (c->sent < base + len) {
        size_t at = c->sent - base;
        ssize_t n = stream_write(&c->x->s, (const char *)from + at, len - at);
        if (n < 0) {
            return (int)n;
        }
        c->sent += (size_t)n;
    }
    return 0;
}

int grpc_call_send(struct grpc_call *c, const void *message, size_t len)
{
    uint8_t prefix[PREFIX_BYTES] = {0};
    int r = open_send(c);

    if (len > GRPC_MESSAGE_BYTES_MAX) {
        return send_error(c, -ERR_TOO_LARGE);
    }
    be32_put(prefix + 1, (uint32_t)len);
    r = r < 0 ? r : send_part(c, prefix, 0, PREFIX_BYTES);
    r = r < 0 ? r : send_part(c, message, PREFIX_BYTES, len);
    if (r < 0) {
        return send_error(c, r);
    }
    c->sent = 0;
    return 0;
}

int grpc_call_flush(struct grpc_call *c)
{
    int r = check_time(c);

    return r < 0 ? r : send_error(c, stream_flush(&c->x->s));
}

int grpc_call_send_end(struct grpc_call *c)
{
    int r = stream_shut(&c->x->s);

    if (r == 0) {
        c->send = GRPC_SEND_ENDED;
    }
    return send_error(c, r);
}

/* "Trailers-only": the head says it all, and ends the stream. */
static int finish_at_once(struct grpc_call *c, unsigned code, const char *text)
{
    AUTO(message) struct message head = {0};

    grpc_status_put(&head, code, text);
    int r = send_head(c, &head);
    return r < 0 ? r : stream_shut(&c->x->s);
}

static int finish_with_trailers(struct grpc_call *c, unsigned code, const char *text)
{
    AUTO(message) struct message trailers = {0};

    grpc_status_put(&trailers, code, text);
    return exchange_finish(c->x, &trailers);
}

int grpc_call_finish(struct grpc_call *c, unsigned code, const char *text)
{
    if (c->send == GRPC_SEND_ENDED) {
        return 0;
    }
    int r = c->send == GRPC_SEND_HEAD ? finish_at_once(c, code, text)
                                      : finish_with_trailers(c, code, text);
    if (r == 0) {
        c->send = GRPC_SEND_ENDED;
    }
    return send_error(c, r);
}
