/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_server.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "http/h1_int.h"
#include "http/linger.h"
#include "http/status.h"

enum { DISCARD_MAX = 256 << 10, INPUT_SLACK = 4096, READ_AHEAD_BYTES = 4096, FILLS_A_RUN = 16 };

static const struct h1_limits defaults = {
    .head_bytes = 32 << 10,
    .body_bytes = 16 << 20,
    .output_bytes = 64 << 10,
    .header_ms = 10000,
    .idle_ms = 60000,
    .body_stall_ms = 30000,
    .write_stall_ms = 30000,
    .requests = 10000,
};

static void pick(uint32_t *limit, uint32_t fallback)
{
    *limit = *limit > 0 ? *limit : fallback;
}

static struct h1_limits limits_of(const struct h1_limits *given)
{
    struct h1_limits l = given ? *given : defaults;

    pick(&l.head_bytes, defaults.head_bytes);
    pick(&l.output_bytes, defaults.output_bytes);
    pick(&l.header_ms, defaults.header_ms);
    pick(&l.idle_ms, defaults.idle_ms);
    pick(&l.body_stall_ms, defaults.body_stall_ms);
    pick(&l.write_stall_ms, defaults.write_stall_ms);
    pick(&l.requests, defaults.requests);
    l.body_bytes = l.body_bytes > 0 ? l.body_bytes : defaults.body_bytes;
    l.head_bytes = MIN_OF(l.head_bytes, (uint32_t)MESSAGE_BYTES_MAX);
    return l;
}

static uint64_t now(const struct h1_server *s)
{
    return loop_now_ms(s->task.loop);
}

static void rearm(struct h1_server *s)
{
    uint64_t due = UINT64_MAX;
    const uint64_t all[] = {s->head_due, s->read_due, s->write_due};

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        due = all[i] > 0 ? MIN_OF(due, all[i]) : due;
    }
    if (due == UINT64_MAX) {
        timer_clear(&s->timer);
    } else {
        timer_set(&s->timer, &s->task, due > now(s) ? due - now(s) : 0);
    }
}

static void set_due(struct h1_server *s, uint64_t *due, uint32_t in_ms)
{
    *due = in_ms > 0 ? now(s) + in_ms : 0;
    rearm(s);
}

static void wake_exchange(struct h1_server *s)
{
    if (s->step == H1_BUSY) {
        stream_wake(&s->x->x.s);
    }
}

/* The connection is gone for its exchange: an owner that still holds it learns why. */
static void orphan(struct h1_server *s, int why)
{
    struct h1_exchange *x = s->x;

    s->x = NULL;
    if (!x) {
        return;
    }
    x->server = NULL;
    x->failure = why < 0 ? why : -ECONNRESET;
    if (s->step == H1_BUSY) {
        x->x.s.diag = s->diag;
        stream_wake(&x->x.s);
    } else {
        h1_exchange_free(x);
    }
}

/* The only way to H1_OVER. why < 0 cuts the connection; with 0 what is in out still leaves. */
static void end(struct h1_server *s, int why, int result)
{
    struct stream *below = MOVE(s->below);

    orphan(s, result);
    s->step = H1_OVER;
    s->result = result;
    timer_clear(&s->timer);
    stream_own(below, NULL);
    if (why < 0) {
        stream_close(below, why);
    } else {
        linger_start(s->task.loop, below, &s->out);
    }
    bytes_fini(&s->in);
    bytes_fini(&s->out);
    if (s->owner) {
        task_wake(s->owner, WAKE_CHILD);
    }
}

static void cut(struct h1_server *s, int why)
{
    end(s, surely_negative(why), surely_negative(why));
}

/* A request that is not handed out: says the status and ends the connection in order. */
static void refuse(struct h1_server *s, unsigned status)
{
    char text[160];
    char date[HTTP_DATE_TEXT];

    http_date(clock_wall_s(), date);
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %u %s\r\ncontent-length: 0\r\nconnection: close\r\ndate: %s\r\n\r\n",
                     status, http_reason(status), date);
    if (bytes_add(&s->out, text, (size_t)n) < 0) {
        cut(s, -ERR_LIMIT);
        return;
    }
    end(s, 0, s->diag.code < 0 ? s->diag.code : -ERR_HTTP_STATUS);
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

int h1_fill(struct h1_server *s)
{
    size_t want = MIN_OF((size_t)H1_FILL_BYTES, bytes_room(&s->in));
    uint8_t *room = want > 0 ? bytes_reserve(&s->in, want) : NULL;

    if (!room) {
        return FAIL(&s->diag, -ERR_LIMIT, "no memory for input");
    }
    ssize_t n = stream_read(s->below, room, want);
    if (n <= 0) {
        bytes_shrink(&s->in);
        s->ended |= n == 0;
        return (int)n;
    }
    bytes_commit(&s->in, (size_t)n);
    return 1;
}

void h1_kick(struct h1_server *s)
{
    if (s->write_due == 0 && s->out.len > 0) {
        set_due(s, &s->write_due, s->limits.write_stall_ms);
    }
    task_wake_late(&s->task, WAKE_IO);
}

void h1_await_body(struct h1_server *s, bool waits)
{
    if (waits != (s->read_due > 0)) {
        set_due(s, &s->read_due, waits ? s->limits.body_stall_ms : 0);
    }
}

/* Everything that waits, as far as the transport takes it. 0 when all of it has left. */
static int send_out(struct h1_server *s)
{
    while (s->out.len > 0) {
        ssize_t n = stream_write(s->below, bytes_peek(&s->out), s->out.len);
        if (n < 0) {
            return (int)n;
        }
        bytes_skip(&s->out, (size_t)n);
        set_due(s, &s->write_due, s->limits.write_stall_ms);
    }
    bytes_shrink(&s->out);
    int r = stream_flush(s->below);
    if (r == 0 && s->write_due > 0) {
        set_due(s, &s->write_due, 0);
    }
    return r;
}

static void await_head(struct h1_server *s)
{
    s->step = H1_HEAD;
    s->seen = 0;
    s->blank = false;
    s->read_due = 0;
    set_due(s, &s->head_due, s->in.len > 0 ? s->limits.header_ms : s->limits.idle_ms);
    task_wake(&s->task, WAKE_IO); /* the next request may be in the buffer already */
}

/* A robust server ignores one empty line before a request (RFC 9112 2.2). */
static void skip_empty_line(struct h1_server *s)
{
    const char *p = (const char *)bytes_peek(&s->in);

    if (!s->blank && s->seen == 0 && s->in.len >= 2 && p[0] == '\r' && p[1] == '\n') {
        s->blank = true;
        bytes_skip(&s->in, 2);
    }
}

/* What cannot be part of any request is refused before the rest has come: other protocols. */
static bool is_hopeless(const struct h1_server *s)
{
    const char *p = (const char *)bytes_peek(&s->in);

    return s->in.len > 0 && ((unsigned char)p[0] <= 0x20 || (unsigned char)p[0] >= 0x7f) &&
           p[0] != '\r';
}

static int parse(struct h1_server *s, size_t len, struct h1_exchange **out)
{
    struct h1_head head;
    struct h1_framing framing;
    int r = h1_head_parse((const char *)bytes_peek(&s->in), len, &head, &s->diag);

    r = r < 0 ? r : h1_framing_of(&head, &framing, &s->diag);
    if (r < 0) {
        return r;
    }
    *out = h1_exchange_new(s, &head, &framing);
    if (!*out) {
        return FAIL(&s->diag, -ERR_TOO_LARGE, "request head is too large");
    }
    s->last |= framing.close || ++s->served >= s->limits.requests;
    return 0;
}

/* The head is whole: len octets. */
static void take_request(struct h1_server *s, size_t len)
{
    int r = parse(s, len, &s->x);

    if (r < 0) {
        refuse(s, status_for(r));
        return;
    }
    bytes_skip(&s->in, len);
    set_due(s, &s->head_due, 0);
    if (message_is_method(&s->x->x.in, "CONNECT")) {
        (void)FAIL(&s->diag, -ERR_UNSUPPORTED, "CONNECT");
        refuse(s, 405);
    } else if (s->x->in == H1_IN_COUNTED && s->x->in_left > s->limits.body_bytes) {
        (void)FAIL(&s->diag, -ERR_TOO_LARGE, "request body is too large");
        refuse(s, 413);
    } else {
        s->step = H1_READY;
        if (s->owner) {
            task_wake(s->owner, WAKE_CHILD);
        }
    }
}

/* -EAGAIN, or 0 when the step has changed. */
static int step_head(struct h1_server *s)
{
    if (s->last && s->in.len == 0) {
        end(s, 0, 0);
        return 0;
    }
    skip_empty_line(s);
    size_t len =
        s->in.len > 0 ? h1_section_end((const char *)bytes_peek(&s->in), s->in.len, &s->seen) : 0;
    if (len > 0 && len <= s->limits.head_bytes) {
        take_request(s, len);
        return 0;
    }
    if (len > 0 || s->in.len > s->limits.head_bytes || is_hopeless(s)) {
        bool large = len > 0 || s->in.len > s->limits.head_bytes;
        (void)FAIL(&s->diag, large ? -ERR_TOO_LARGE : -ERR_SYNTAX, "no proper request head");
        refuse(s, large ? 431 : 400);
        return 0;
    }
    bool first = s->in.len == 0;
    int r = h1_fill(s);
    if (r == 0) {
        end(s, 0, s->in.len > 0 ? FAIL(&s->diag, -ERR_TRUNCATED, "end inside a request head") : 0);
    } else if (r > 0 && first) {
        set_due(s, &s->head_due, s->limits.header_ms);
    }
    return r < 0 ? r : 0;
}

/* Notices that a client has gone, and reads a little of what it may have pipelined. */
static int watch_client(struct h1_server *s)
{
    struct h1_exchange *x = s->x;
    int r = -EAGAIN;

    if (x->in == H1_IN_ENDED && !s->ended && s->in.len < READ_AHEAD_BYTES) {
        r = h1_fill(s);
    }
    if (r == 0 && (x->out == H1_OUT_CHUNKED || x->out == H1_OUT_TO_CLOSE)) {
        return FAIL(&s->diag, -ECONNRESET, "the client left a response that has no end of its own");
    }
    return r < 0 ? r : 0;
}

static int step_busy(struct h1_server *s)
{
    int r = watch_client(s);

    wake_exchange(s);
    return r < 0 ? r : s->ended ? -EAGAIN : 0;
}

static int step_discard(struct h1_server *s)
{
    char waste[4096];
    ssize_t n = h1_body_take(s->x, waste, sizeof(waste));

    if (n > 0 && s->x->in_taken <= DISCARD_MAX) {
        return 0;
    }
    n = n > 0 ? -ERR_TOO_LARGE : n;
    if (n == 0) {
        h1_exchange_closed(s, s->x);
    } else if (n != -EAGAIN) {
        end(s, 0, (int)n);
    }
    return n == 0 ? 0 : -EAGAIN;
}

static int step(struct h1_server *s)
{
    switch (s->step) {
    case H1_HEAD:
        return step_head(s);
    case H1_READY:
        return -EAGAIN;
    case H1_BUSY:
        return step_busy(s);
    case H1_DISCARD:
        return step_discard(s);
    case H1_OVER:
        break;
    }
    return -EAGAIN;
}

static bool is_past(const struct h1_server *s, uint64_t due)
{
    return due > 0 && now(s) >= due;
}

static void check_deadlines(struct h1_server *s)
{
    if (is_past(s, s->write_due)) {
        cut(s, FAIL(&s->diag, -ERR_DEADLINE, "the client takes no response bytes"));
    } else if (is_past(s, s->head_due) && s->in.len == 0) {
        end(s, 0, 0);
    } else if (is_past(s, s->head_due)) {
        (void)FAIL(&s->diag, -ERR_DEADLINE, "request head took too long");
        refuse(s, 408);
    } else if (is_past(s, s->read_due) && s->step == H1_DISCARD) {
        end(s, 0, FAIL(&s->diag, -ERR_DEADLINE, "request body stalled"));
    } else if (is_past(s, s->read_due)) {
        s->x->in_failure = FAIL(&s->x->x.s.diag, -ERR_DEADLINE, "request body stalled");
        set_due(s, &s->read_due, 0);
        wake_exchange(s);
    }
}

static void run(struct task *t, unsigned why)
{
    struct h1_server *s = container_of(t, struct h1_server, task);
    int r = 0;

    (void)why; /* every wake is a hint */
    if (s->step != H1_OVER && timer_is_due(&s->timer)) {
        check_deadlines(s);
    }
    for (int i = 0; s->step != H1_OVER && r == 0; i++) {
        r = i < FILLS_A_RUN ? step(s) : -EAGAIN;
        if (i == FILLS_A_RUN) {
            task_wake(t, WAKE_IO);
        }
    }
    if (s->step != H1_OVER && (r == 0 || r == -EAGAIN)) {
        r = send_out(s);
    }
    if (s->step != H1_OVER && r < 0 && r != -EAGAIN) {
        if (s->below->diag.code == r) {
            s->diag = s->below->diag;
        }
        cut(s, r);
    }
}

void h1_exchange_closed(struct h1_server *s, struct h1_exchange *x)
{
    if (x->out != H1_OUT_ENDED) {
        h1_exchange_free(x);
        s->x = NULL;
        cut(s, FAIL(&s->diag, -ERR_CANCELLED, "the response was given up"));
        return;
    }
    if (x->in != H1_IN_ENDED && !x->owes_continue && !s->ended) {
        s->step = H1_DISCARD;
        x->in_taken = 0;
        set_due(s, &s->read_due, s->limits.body_stall_ms);
        task_wake(&s->task, WAKE_IO);
        return;
    }
    s->last |= x->in != H1_IN_ENDED || (s->ended && s->in.len == 0);
    h1_exchange_free(x);
    s->x = NULL;
    if (s->last) {
        end(s, 0, 0);
    } else {
        await_head(s);
    }
}

struct h1_server *h1_server_new(struct loop *l, struct stream *take_below,
                                const struct h1_limits *limits, struct task *owner)
{
    struct h1_server *s = mem_new(struct h1_server);

    task_init(&s->task, l, "h1 server", run);
    s->below = take_below;
    s->owner = owner;
    s->limits = limits_of(limits);
    bytes_init(&s->in, s->limits.head_bytes + INPUT_SLACK);
    bytes_init(&s->out, s->limits.output_bytes + MESSAGE_BYTES_MAX);
    stream_own(take_below, &s->task);
    await_head(s);
    return s;
}

int h1_server_next(struct h1_server *s, struct exchange **out)
{
    if (s->step == H1_OVER) {
        return s->result;
    }
    if (s->step != H1_READY) {
        return -EAGAIN;
    }
    s->step = H1_BUSY;
    *out = &s->x->x;
    task_wake(&s->task, WAKE_IO); /* from now on somebody has to notice when the client goes */
    return 1;
}

const struct diag *h1_server_diag(const struct h1_server *s)
{
    return &s->diag;
}

void h1_server_drain(struct h1_server *s)
{
    s->last = true;
    task_wake(&s->task, WAKE_DRAIN);
}

void h1_server_free(struct h1_server *s)
{
    if (!s) {
        return;
    }
    s->owner = NULL;
    if (s->step == H1_HEAD) {
        end(s, 0, -ERR_CANCELLED);
    } else if (s->step != H1_OVER) {
        cut(s, FAIL(&s->diag, -ERR_CANCELLED, "the server is gone"));
    }
    task_fini(&s->task);
    mem_free(s);
}
