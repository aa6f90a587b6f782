/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_server.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "http/h1_int.h"
#include "http/status.h"

enum {
    DISCARD_MAX = 64 << 10,
    DRAIN_MS = 1000 /* a request that is on its way when we drain is still answered */
};

struct h1_server {
    struct h1_conn c;
    uint32_t served;
    uint64_t since_ms;       /* of the first octet of the head that is arriving; 0: none is there */
    struct refusal *refusal; /* NULL: none, or taken */
    bool blank;              /* the empty line that may precede a request was there */
    bool draining;           /* the next response says that it is the last */
};

static const struct h1_limits defaults = {
    .line_bytes = 16 << 10,
    .head_bytes = 32 << 10,
    .fields = 100,
    .value_bytes = 32 << 10,
    .body_bytes = 16 << 20,
    .output_bytes = 64 << 10,
    .header_ms = 10000,
    .idle_ms = 60000,
    .body_stall_ms = 30000,
    .write_stall_ms = 30000,
    .requests = 10000,
};

static struct h1_server *of(struct h1_conn *c)
{
    return container_of(c, struct h1_server, c);
}

/* What the first line says, as far as it is one. */
static void note_line(struct refusal *r, struct slice text)
{
    struct slice line = text;
    struct slice method;
    struct slice target;

    (void)slice_cut(text, '\n', &line, &text); /* without one: the whole */
    if (slice_cut(line, ' ', &method, &line) && h1_is_token(method) &&
        method.len <= H1_METHOD_MAX) {
        message_set(&r->in, MESSAGE_METHOD, method);
        (void)slice_cut(line, ' ', &target, &line); /* likewise */
        if (h1_is_target(target)) {
            message_set(&r->in, MESSAGE_PATH, target);
        }
    }
}

/* All of a head that was a proper one, and still is not handed out. */
static void note_head(struct refusal *r, const char *p, size_t len)
{
    UNINITIALIZED struct h1_head head;
    struct h1_framing f;

    if (h1_head_parse(p, len, &head, NULL) < 0) {
        return;
    }
    r->version = head.minor == 0 ? EXCHANGE_HTTP10 : EXCHANGE_HTTP11;
    if (h1_framing_of(&head, &f, NULL) == 0) {
        message_set(&r->in, MESSAGE_AUTHORITY, f.authority);
    }
}

static void note_refusal(struct h1_conn *c, unsigned status)
{
    const char *p = (const char *)bytes_peek(&c->in);
    ssize_t len = h1_find_head_end(c);

    if (!c->limits.shows_refusals) {
        return;
    }
    struct refusal *r = mem_new(struct refusal);
    list_init(&r->in_list);
    r->status = status;
    r->version = EXCHANGE_HTTP11;
    r->why = *h1_diag(c);
    r->head_bytes = len > 0 ? (uint32_t)len : (uint32_t)c->in.len;
    if (c->in.len > 0) {
        note_line(r, (struct slice){p, MIN_OF(c->in.len, (size_t)c->limits.line_bytes)});
    }
    if (len > 0) {
        note_head(r, p, (size_t)len);
    }
    of(c)->refusal = r;
}

/* A request that is not handed out: says the status and ends the connection in order. */
static void refuse(struct h1_conn *c, unsigned status)
{
    char text[200];
    char date[HTTP_DATE_TEXT];

    note_refusal(c, status);
    http_date(clock_wall_s(), date);
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %u %s\r\ncontent-length: 0\r\n%sconnection: close%s\r\n"
                     "date: %s\r\n\r\n",
                     status, http_reason(status), status == 426 ? "upgrade: HTTP/1.1\r\n" : "",
                     status == 426 ? ", upgrade" : "", date);
    if (bytes_add(&c->out, text, (size_t)n) < 0) {
        h1_cut(c, -ERR_LIMIT);
        return;
    }
    h1_end(c, 0, h1_diag(c)->code < 0 ? h1_diag(c)->code : -ERR_HTTP_STATUS);
}

static unsigned status_for(int why)
{
    switch (why) {
    case -ERR_VERSION:
        return 505;
    case -ERR_UNSUPPORTED:
        return 501;
    case -ERR_TOO_LARGE:
        return 431;
    default: /* an open set of codes */
        return 400;
    }
}

/* Octets of a head are there: how much time it has. */
static void time_head(struct h1_conn *c)
{
    struct h1_server *s = of(c);
    const struct h1_limits *l = &c->limits;
    uint64_t all = l->header_ms;

    if (s->since_ms == 0) {
        s->since_ms = loop_now_ms(c->task.loop);
    }
    if (l->head_rate > 0) {
        all = MIN_OF(all, l->head_grace_ms + (uint64_t)c->in.len * 1000 / l->head_rate);
    }
    c->head_due = s->since_ms + all;
    h1_rearm(c);
}

/* The head's first octet has so long to come. */
static uint32_t patience(struct h1_conn *c)
{
    return of(c)->draining ? MIN_OF(c->limits.idle_ms, (uint32_t)DRAIN_MS) : c->limits.idle_ms;
}

static void await_head(struct h1_conn *c)
{
    c->step = H1_HEAD;
    c->seen = 0;
    c->begun = false;
    of(c)->blank = false;
    c->read_due = 0;
    of(c)->since_ms = 0;
    if (c->in.len > 0) {
        time_head(c);
    } else {
        h1_set_due(c, &c->head_due, patience(c));
    }
    task_wake(&c->task, WAKE_IO); /* the next request may be in the buffer already */
}

/* A robust server ignores one empty line before a request (RFC 9112 2.2). */
static void skip_empty_line(struct h1_conn *c)
{
    const char *p = (const char *)bytes_peek(&c->in);

    if (!of(c)->blank && c->seen == 0 && c->in.len >= 2 && p[0] == '\r' && p[1] == '\n') {
        of(c)->blank = true;
        bytes_skip(&c->in, 2);
    }
}

static void fill_exchange(struct h1_exchange *x, const struct h1_head *h,
                          const struct h1_framing *f)
{
    struct message *in = &x->x.in;

    x->in_left = f->length;
    x->in = f->chunked ? H1_IN_CHUNKED : H1_IN_COUNTED;
    if (!f->chunked && f->length == 0) {
        h1_in_ended(x);
    }
    x->x.version = h->minor == 1 ? EXCHANGE_HTTP11 : EXCHANGE_HTTP10;
    x->owes_continue = f->expects_continue && x->in != H1_IN_ENDED;
    x->x.expects_continue = x->owes_continue;
    x->takes_trailers = f->takes_trailers;
    x->to_head = slice_is(h->method, "HEAD");
    message_set(in, MESSAGE_METHOD, h->method);
    message_set(in, MESSAGE_SCHEME, slice_of(x->conn->limits.secure ? "https" : "http"));
    message_set(in, MESSAGE_AUTHORITY, f->authority);
    message_set(in, MESSAGE_PATH, f->path);
    if (f->upgrade.len > 0 && x->conn->limits.websocket && slice_is(h->method, "GET")) {
        x->upgrade = f->upgrade;
        message_set(in, MESSAGE_PROTOCOL, f->upgrade);
    }
    h1_take_fields(x, h, f);
}

/* What is well formed and still not for a handler: a status, or 0. */
static unsigned objection(struct h1_conn *c, const struct h1_head *h, const struct h1_framing *f)
{
    if (h->minor == 0 && c->limits.refuse_http10) {
        (void)FAIL(h1_why(c), -ERR_VERSION, "HTTP/1.0");
        return 426;
    }
    if (slice_is(h->method, "CONNECT") || slice_is(h->method, "TRACE")) {
        (void)FAIL(h1_why(c), -ERR_UNSUPPORTED, "method CONNECT or TRACE");
        return 405;
    }
    if (f->expects_unknown && h->minor == 1) {
        (void)FAIL(h1_why(c), -ERR_UNSUPPORTED, "expectation other than 100-continue");
        return 417;
    }
    if (!f->chunked && f->length > c->limits.body_bytes) {
        (void)FAIL(h1_why(c), -ERR_TOO_LARGE, "request body is too large");
        return 413;
    }
    return 0;
}

/* The head is whole: len octets. The status of its refusal, or 0. */
static unsigned parse(struct h1_conn *c, size_t len)
{
    UNINITIALIZED struct h1_head head;
    struct h1_framing framing;
    struct diag why = {.code = 0};
    int r = h1_head_parse((const char *)bytes_peek(&c->in), len, &head, &why);

    r = r < 0 ? r : h1_check_limits(c, &head, &why);
    r = r < 0 ? r : h1_framing_of(&head, &framing, &why);
    if (r < 0) {
        *h1_why(c) = why;
        return status_for(r);
    }
    unsigned status = objection(c, &head, &framing);
    if (status > 0) {
        return status;
    }
    c->x = h1_exchange_new(c);
    fill_exchange(c->x, &head, &framing);
    if (!message_is_whole(&c->x->x.in)) {
        h1_exchange_free(MOVE(c->x));
        return status_for(FAIL(h1_why(c), -ERR_TOO_LARGE, "request head is too large"));
    }
    c->last |= framing.close || ++of(c)->served >= c->limits.requests || of(c)->draining;
    return 0;
}

static void take_request(struct h1_conn *c, size_t len)
{
    unsigned status = parse(c, len);

    if (status > 0) {
        refuse(c, status);
        return;
    }
    bytes_skip(&c->in, len);
    h1_set_due(c, &c->head_due, 0);
    c->step = H1_READY;
    h1_wake_owner(c);
}

/* 0, or the status of a head that is not worth waiting for. len: what h1_section_end says. */
static unsigned hopeless_status(struct h1_conn *c, ssize_t len)
{
    if (h1_line_is_too_long(c)) {
        (void)FAIL(h1_why(c), -ERR_TOO_LARGE, "request line is too long");
        return 414;
    }
    if (len > (ssize_t)c->limits.head_bytes || (len == 0 && c->in.len > c->limits.head_bytes)) {
        (void)FAIL(h1_why(c), -ERR_TOO_LARGE, "request head is too large");
        return 431;
    }
    int r = len <= 0 ? h1_judge_beginning(c) : 0;
    r = r == 0 && len < 0 ? (int)len : r;
    return r < 0 ? status_for(r) : 0;
}

static int step_head(struct h1_conn *c)
{
    skip_empty_line(c);
    ssize_t len = h1_find_head_end(c);
    unsigned status = hopeless_status(c, len);
    if (status > 0) {
        refuse(c, status);
        return 0;
    }
    if (len > 0) {
        take_request(c, (size_t)len);
        return 0;
    }
    int r = h1_fill(c);
    if (r == 0) {
        h1_end(c, 0,
               c->in.len > 0 ? FAIL(h1_why(c), -ERR_TRUNCATED, "end inside a request head") : 0);
    } else if (r > 0) {
        time_head(c);
    }
    return r < 0 ? r : 0;
}

/* Notices that a client has gone, and reads a little of what it may have pipelined. */
static int watch_client(struct h1_conn *c)
{
    struct h1_exchange *x = c->x;
    int r = -EAGAIN;

    if (x->in == H1_IN_ENDED && !c->ended && c->in.len < H1_READ_AHEAD) {
        r = h1_fill(c);
    }
    if (r == 0 && (x->out == H1_OUT_CHUNKED || x->out == H1_OUT_TO_CLOSE) && x->upgrade.len == 0) {
        return FAIL(h1_why(c), -ECONNRESET,
                    "the client left a response that has no end of its own");
    }
    return r < 0 ? r : 0;
}

static int step_busy(struct h1_conn *c)
{
    int r = watch_client(c);

    h1_wake_exchange(c);
    return r < 0 ? r : c->ended ? -EAGAIN : 0;
}

static int step_discard(struct h1_conn *c)
{
    struct iovec v;
    int n = h1_body_peek(c->x, &v, 1);

    if (n > 0) {
        h1_body_skip(c->x, v.iov_len);
        n = c->x->in_taken > DISCARD_MAX ? -ERR_TOO_LARGE : c->x->in == H1_IN_ENDED ? 0 : 1;
    }
    if (n == 0) {
        h1_server_closed(c, c->x);
    } else if (n < 0 && n != -EAGAIN) {
        h1_end(c, 0, n);
    }
    return n == -EAGAIN ? -EAGAIN : 0;
}

static int step(struct h1_conn *c)
{
    switch (c->step) {
    case H1_HEAD:
        return step_head(c);
    case H1_BUSY:
        return step_busy(c);
    case H1_DISCARD:
        return step_discard(c);
    case H1_READY:
    case H1_IDLE:
    case H1_OVER:
        break;
    }
    return -EAGAIN;
}

/* No head has come, as far as we have looked. */
static void end_idle(struct h1_conn *c)
{
    if (h1_fill(c) > 0) {
        time_head(c);
    } else {
        h1_end(c, 0, 0);
    }
}

static void check_deadlines(struct h1_conn *c)
{
    if (h1_is_past(c, c->write_due)) {
        h1_cut(c, FAIL(h1_why(c), -ERR_DEADLINE, "the client takes no response bytes"));
    } else if (h1_is_past(c, c->head_due) && c->in.len == 0) {
        end_idle(c);
    } else if (h1_is_past(c, c->head_due)) {
        (void)FAIL(h1_why(c), -ERR_DEADLINE, "request head took too long");
        refuse(c, 408);
    } else if (h1_is_past(c, c->read_due) && c->step == H1_DISCARD) {
        h1_end(c, 0, FAIL(h1_why(c), -ERR_DEADLINE, "request body stalled"));
    } else if (h1_is_past(c, c->read_due)) {
        c->x->in_failure = FAIL(stream_why(&c->x->x.s), -ERR_DEADLINE, "request body stalled");
        c->last = true;
        c->read_due = 0;
        h1_wake_exchange(c);
    }
}

static void run(struct task *t, unsigned why)
{
    struct h1_conn *c = container_of(t, struct h1_conn, task);

    if (c->step != H1_OVER && h1_timer_fired(c)) {
        check_deadlines(c);
        if (c->step != H1_OVER) {
            h1_rearm(c);
        }
    }
    h1_steps(c, why, step);
}

void h1_server_closed(struct h1_conn *c, struct h1_exchange *x)
{
    if (x->out != H1_OUT_ENDED) {
        h1_exchange_free(x);
        c->x = NULL;
        h1_cut(c, FAIL(h1_why(c), -ERR_CANCELLED, "the response was given up"));
        return;
    }
    if (x->in != H1_IN_ENDED && !x->owes_continue && !c->ended && x->upgrade.len == 0) {
        c->step = H1_DISCARD;
        x->in_taken = 0;
        h1_set_due(c, &c->read_due, c->limits.body_stall_ms);
        task_wake(&c->task, WAKE_IO);
        return;
    }
    c->last |= x->in != H1_IN_ENDED || (c->ended && c->in.len == 0);
    h1_exchange_free(x);
    c->x = NULL;
    if (c->last) {
        h1_end(c, 0, 0);
    } else {
        await_head(c);
    }
}

struct h1_server *h1_server_new(struct loop *l, struct stream *take_below,
                                const struct h1_limits *limits, struct task *owner)
{
    struct h1_server *s = mem_new(struct h1_server);

    s->c.limits = h1_limits_of(limits, &defaults);
    h1_conn_init(&s->c, l, "h1 server", run, take_below, owner);
    await_head(&s->c);
    return s;
}

void h1_server_feed(struct h1_server *s, const void *from, size_t len)
{
    struct h1_conn *c = &s->c;

    if (bytes_add(&c->in, from, len) < 0) {
        h1_cut(c, FAIL(h1_why(c), -ERR_LIMIT, "no memory for input"));
        return;
    }
    time_head(c);
}

int h1_server_next(struct h1_server *s, struct exchange **out)
{
    struct h1_conn *c = &s->c;

    if (c->step == H1_OVER) {
        return c->result;
    }
    if (c->step != H1_READY) {
        return -EAGAIN;
    }
    c->step = H1_BUSY;
    *out = &c->x->x;
    task_wake(&c->task, WAKE_IO); /* from now on somebody has to notice when the client goes */
    return 1;
}

struct refusal *h1_server_refusal(struct h1_server *s)
{
    return MOVE(s->refusal);
}

const struct diag *h1_server_diag(const struct h1_server *s)
{
    return h1_diag(&s->c);
}

/* Who was not told may have sent its next request already, and could not know whether it was read. */
void h1_server_drain(struct h1_server *s)
{
    struct h1_conn *c = &s->c;

    if (s->draining || c->step == H1_OVER) {
        return;
    }
    s->draining = true;
    if (c->step == H1_HEAD && c->in.len == 0) {
        h1_set_due(c, &c->head_due, patience(c));
    } else if (c->x && c->x->out == H1_OUT_HEAD) {
        c->last = true;
    }
}

void h1_server_finish(struct h1_server *s)
{
    struct h1_conn *c = &s->c;

    c->last = true;
    if (c->step == H1_HEAD && c->in.len == 0) {
        h1_end(c, 0, 0);
    }
}

bool h1_server_is_idle(const struct h1_server *s)
{
    return s->c.step == H1_HEAD;
}

bool h1_server_shed(struct h1_server *s)
{
    struct h1_conn *c = &s->c;

    if (c->step != H1_HEAD || c->in.len == 0 || h1_find_head_end(c) != 0) {
        return false;
    }
    (void)FAIL(h1_why(c), -ENOMEM, "memory is short");
    refuse(c, 503);
    return true;
}

void h1_server_cut(struct h1_server *s, int why)
{
    if (s->c.step != H1_OVER) {
        h1_cut(&s->c, why);
    }
}

void h1_server_free(struct h1_server *s)
{
    if (!s) {
        return;
    }
    s->c.owner = NULL;
    if (s->c.step == H1_HEAD) {
        h1_end(&s->c, 0, -ERR_CANCELLED);
    } else if (s->c.step != H1_OVER) {
        h1_cut(&s->c, FAIL(h1_why(&s->c), -ERR_CANCELLED, "the server is gone"));
    }
    h1_conn_fini(&s->c);
    refusal_free(s->refusal);
    mem_free(s);
}
_Static_assert(sizeof(struct h1_server) <= 368, "per-connection memory is a budget");
