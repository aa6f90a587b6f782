/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_client.h"

#include "base/mem.h"
#include "http/h1_int.h"

struct h1_client {
    struct h1_conn c;
    uint32_t served;
};

static const struct h1_limits defaults = {
    .line_bytes = 16 << 10,
    .head_bytes = 32 << 10,
    .fields = 100,
    .value_bytes = 32 << 10,
    .body_bytes = H1_BODY_UNLIMITED,
    .output_bytes = 64 << 10,
    .header_ms = 10000,
    .write_stall_ms = 30000,
    .requests = H1_REQUESTS_UNLIMITED,
};

/* The response's head */

static int broken(struct h1_exchange *x, int r)
{
    x->in_failure = r;
    x->conn->last = true;
    h1_set_due(x->conn, &x->conn->head_due, 0);
    if (stream_diag(&x->x.s)->code != r) {
        stream_note(&x->x.s,
                    h1_diag(x->conn)->code == r ? h1_diag(x->conn) : stream_diag(x->conn->below));
        stream_why(&x->x.s)->code = r;
    }
    return r;
}

/* The server has ended the connection where a head was due. */
static int gone(struct h1_exchange *x)
{
    return x->conn->in.len > 0
               ? FAIL(h1_why(x->conn), -ERR_TRUNCATED, "the server ended inside a response head")
               : FAIL(h1_why(x->conn), -ECONNRESET, "the server ended without a response");
}

static bool is_agreed(const struct h1_exchange *x, const struct h1_head *h,
                      const struct h1_framing *f)
{
    return x->upgrade.len > 0 && slice_is(f->upgrade, x->upgrade.p) &&
           message_find_next(&x->x.in, "sec-websocket-accept", 0) >= 0 && h->minor == 1;
}

static void begin_body(struct h1_exchange *x, const struct h1_framing *f)
{
    x->in_left = f->length;
    x->in = f->chunked ? H1_IN_CHUNKED : f->to_close ? H1_IN_TO_CLOSE : H1_IN_COUNTED;
    if (x->in == H1_IN_COUNTED && f->length == 0) {
        h1_in_ended(x);
    }
    x->conn->last |= f->close;
}

static int take_final(struct h1_exchange *x, const struct h1_head *h, const struct h1_framing *f)
{
    h1_set_due(x->conn, &x->conn->head_due, 0);
    if (h->status == 101) {
        if (!is_agreed(x, h, f)) {
            return FAIL(h1_why(x->conn), -ERR_SYNTAX, "the server changed a protocol unasked");
        }
        x->in = H1_IN_TO_CLOSE;
        x->out = H1_OUT_TO_CLOSE;
        x->conn->last = true;
        return 0;
    }
    begin_body(x, f);
    return 0;
}

/* 1: `in` is an interim response that is to be shown. 2: it was not worth it. */
static int take_interim(struct h1_exchange *x)
{
    h1_set_due(x->conn, &x->conn->head_due, x->conn->in.len > 0 ? x->conn->limits.header_ms : 0);
    if (++x->interims > EXCHANGE_INTERIM_MAX) {
        return FAIL(h1_why(x->conn), -ERR_LIMIT, "more than %d interim responses",
                    EXCHANGE_INTERIM_MAX);
    }
    if (!x->x.wants_interim) {
        return 2;
    }
    x->interim_shown = true;
    return 1;
}

/* The head is whole: len octets. */
static int take_head(struct h1_exchange *x, size_t len)
{
    struct h1_conn *c = x->conn;
    UNINITIALIZED struct h1_head h;
    struct h1_framing f;
    struct diag why = {.code = 0};
    int r = h1_response_parse((const char *)bytes_peek(&c->in), len, &h, &why);

    r = r < 0 ? r : h1_check_limits(c, &h, &why);
    r = r < 0 ? r : h1_response_framing(&h, x->to_head, &f, &why);
    if (r < 0) {
        *h1_why(c) = why;
        return r;
    }
    message_clear(&x->x.in);
    x->x.in.status = h.status;
    h1_take_fields(x, &h, &f);
    if (!message_is_whole(&x->x.in)) {
        return FAIL(h1_why(c), -ERR_TOO_LARGE, "response head is too large");
    }
    bytes_skip(&c->in, len);
    c->seen = 0;
    c->begun = false;
    return h.status < 200 && h.status != 101 ? take_interim(x) : take_final(x, &h, &f);
}

static int more_head(struct h1_exchange *x)
{
    struct h1_conn *c = x->conn;
    bool first = c->in.len == 0;
    int r = h1_fill(c);

    if (r == 0) {
        return gone(x);
    }
    if (r > 0 && first) {
        x->x.reach = EXCHANGE_ANSWERING;
        h1_set_due(c, &c->head_due, c->limits.header_ms);
    }
    return r < 0 ? r : 2;
}

static int head_once(struct h1_exchange *x)
{
    struct h1_conn *c = x->conn;
    ssize_t len = h1_find_head_end(c);

    if (h1_line_is_too_long(c) || len > (ssize_t)c->limits.head_bytes ||
        (len == 0 && c->in.len > c->limits.head_bytes)) {
        return FAIL(h1_why(c), -ERR_TOO_LARGE, "response head is too large");
    }
    int r = len <= 0 ? h1_judge_beginning(c) : 0;
    if (r < 0) {
        return r;
    }
    return len < 0 ? (int)len : len > 0 ? take_head(x, (size_t)len) : more_head(x);
}

static void note_reach(struct h1_exchange *x)
{
    if (x->x.reach == EXCHANGE_UNSENT && x->conn->sent > x->sent_mark) {
        x->x.reach = EXCHANGE_SENT;
    }
}

int h1_client_head(struct h1_exchange *x)
{
    int r = 2;

    if (x->in_failure < 0) {
        return x->in_failure;
    }
    if (x->interim_shown) {
        x->interim_shown = false;
        message_clear(&x->x.in);
    }
    while (r == 2) {
        r = x->in == H1_IN_HEAD ? head_once(x) : 0;
    }
    if (r < 0 && r != -EAGAIN) {
        note_reach(x);
        return broken(x, r);
    }
    return r;
}

/* The connection */

static void cut_unasked(struct h1_conn *c)
{
    h1_cut(c, FAIL(h1_why(c), -ERR_SYNTAX, "the server sent what nobody had asked for"));
}

static int step_idle(struct h1_conn *c)
{
    int r = c->in.len > 0 ? 1 : h1_fill(c);

    if (r > 0) {
        cut_unasked(c);
    } else if (r == 0) {
        h1_end(c, 0, FAIL(h1_why(c), -ECONNRESET, "the server has closed the connection"));
    }
    return r < 0 ? r : 0;
}

static int step(struct h1_conn *c)
{
    if (c->step == H1_IDLE) {
        return step_idle(c);
    }
    h1_wake_exchange(c);
    return -EAGAIN;
}

static void check_deadlines(struct h1_conn *c)
{
    int r = -ERR_DEADLINE;

    if (c->x) {
        note_reach(c->x);
    }
    if (h1_is_past(c, c->write_due)) {
        h1_cut(c, FAIL(h1_why(c), r, "the server takes no bytes"));
    } else if (h1_is_past(c, c->head_due) && c->step == H1_IDLE) {
        h1_end(c, 0, FAIL(h1_why(c), -ECONNRESET, "idle for too long"));
    } else if (h1_is_past(c, c->head_due)) {
        h1_cut(c, FAIL(h1_why(c), r, "the response's head took too long"));
    } else if (h1_is_past(c, c->read_due)) {
        c->x->in_failure = FAIL(stream_why(&c->x->x.s), r, "the response's body stalled");
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
    if (c->step == H1_BUSY) {
        int r = h1_send_out(c);
        if (r < 0 && r != -EAGAIN) {
            h1_stop_sending(c);
        }
    }
    h1_steps(c, why, step);
}

static void await_request(struct h1_conn *c)
{
    c->step = H1_IDLE;
    c->seen = 0;
    c->begun = false;
    c->read_due = 0;
    h1_set_due(c, &c->head_due, c->limits.idle_ms);
    task_wake(&c->task, WAKE_IO); /* somebody has to notice when the server goes */
}

void h1_client_closed(struct h1_conn *c, struct h1_exchange *x)
{
    bool whole = x->in == H1_IN_ENDED && x->out == H1_OUT_ENDED && x->in_failure == 0;
    bool stays = whole && !c->last && !c->ended && c->out.len == 0;

    h1_exchange_free(x);
    c->x = NULL;
    if (stays && c->in.len > 0) {
        cut_unasked(c); /* now: before the next request it would be that one's answer */
    } else if (stays) {
        await_request(c);
        h1_wake_owner(c);
    } else if (whole) {
        h1_end(c, 0, FAIL(h1_why(c), -ECONNRESET, "the connection ends with its last response"));
    } else {
        h1_cut(c, FAIL(h1_why(c), -ERR_CANCELLED, "an exchange was given up"));
    }
}

struct h1_client *h1_client_new(struct loop *l, struct stream *take_below,
                                const struct h1_limits *limits, struct task *owner)
{
    struct h1_client *s = mem_new(struct h1_client);

    s->c.limits = h1_limits_of(limits, &defaults);
    s->c.client = true;
    h1_conn_init(&s->c, l, "h1 client", run, take_below, owner);
    await_request(&s->c);
    return s;
}

int h1_client_state(struct h1_client *s)
{
    if (s->c.step == H1_OVER) {
        return s->c.result < 0 ? s->c.result : -ECONNRESET;
    }
    return s->c.step == H1_IDLE ? 0 : -EAGAIN;
}

static int begin(struct h1_client *s, struct h1_exchange *x, const struct message *head, bool end)
{
    int r = h1_client_state(s);

    if (r < 0) {
        stream_note(&x->x.s, h1_diag(&s->c));
        return r == -EAGAIN ? FAIL(stream_why(&x->x.s), -ERR_LIMIT, "another request is under way")
                            : r;
    }
    return h1_send_request(x, head, end);
}

struct exchange *h1_client_request(struct h1_client *s, const struct message *head, bool end)
{
    struct h1_conn *c = &s->c;
    struct h1_exchange *x = h1_exchange_new(c);
    int r = begin(s, x, head, end);

    if (r < 0) {
        x->conn = NULL;
        x->failure = r;
        return &x->x;
    }
    x->in = H1_IN_HEAD;
    x->sent_mark = c->sent;
    x->x.reused = s->served > 0;
    s->served++;
    c->last |= s->served >= c->limits.requests;
    c->x = x;
    c->step = H1_BUSY;
    h1_set_due(c, &c->head_due, 0);
    return &x->x;
}

void h1_client_free(struct h1_client *s)
{
    if (!s) {
        return;
    }
    s->c.owner = NULL;
    if (s->c.step == H1_IDLE) {
        h1_end(&s->c, 0, -ERR_CANCELLED);
    } else if (s->c.step != H1_OVER) {
        note_reach(s->c.x);
        h1_cut(&s->c, FAIL(h1_why(&s->c), -ERR_CANCELLED, "the client is gone"));
    }
    h1_conn_fini(&s->c);
    mem_free(s);
}
