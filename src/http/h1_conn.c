/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/num.h"
#include "http/h1_int.h"
#include "http/linger.h"

enum {
    FILL_MIN = 16 << 10,
    FILL_MAX = 64 << 10,
    INPUT_SLACK = 4096,
    STEPS_A_RUN = 16,
    QUIET_MS = 1000,
};

static void pick(uint32_t *limit, uint32_t fallback)
{
    *limit = *limit > 0 ? *limit : fallback;
}

struct h1_limits h1_limits_of(const struct h1_limits *given, const struct h1_limits *defaults)
{
    struct h1_limits l = given ? *given : *defaults;

    pick(&l.line_bytes, defaults->line_bytes);
    pick(&l.head_bytes, defaults->head_bytes);
    pick(&l.fields, defaults->fields);
    pick(&l.value_bytes, defaults->value_bytes);
    pick(&l.output_bytes, defaults->output_bytes);
    pick(&l.header_ms, defaults->header_ms);
    pick(&l.idle_ms, defaults->idle_ms);
    pick(&l.body_stall_ms, defaults->body_stall_ms);
    pick(&l.write_stall_ms, defaults->write_stall_ms);
    pick(&l.requests, defaults->requests);
    l.body_bytes = l.body_bytes > 0 ? l.body_bytes : defaults->body_bytes;
    l.head_bytes = MIN_OF(l.head_bytes, (uint32_t)MESSAGE_BYTES_MAX);
    return l;
}

void h1_conn_init(struct h1_conn *c, struct loop *l, const char *name, task_fn *run,
                  struct stream *take_below, struct task *owner)
{
    task_init(&c->task, l, name, run);
    c->below = take_below;
    c->owner = owner;
    c->fill = FILL_MIN;
    bytes_init(&c->in, MAX_OF(c->limits.head_bytes + INPUT_SLACK, (uint32_t)FILL_MAX));
    bytes_init(&c->out, c->limits.output_bytes + MESSAGE_BYTES_MAX);
    stream_own(take_below, &c->task);
}

void h1_conn_fini(struct h1_conn *c)
{
    task_fini(&c->task);
    mem_free(c->said);
}

const struct diag *h1_diag(const struct h1_conn *c)
{
    static const struct diag nothing = {.code = 0};

    return c->said ? c->said : &nothing;
}

struct diag *h1_why(struct h1_conn *c)
{
    c->said = c->said ? c->said : mem_new(struct diag);
    return c->said;
}

static uint64_t now(const struct h1_conn *c)
{
    return loop_now_ms(c->task.loop);
}

/* The timer may fire too early and is then set again: most deadlines are replaced long before they
 * come, and need not touch it. */
void h1_rearm(struct h1_conn *c)
{
    const uint64_t all[] = {c->head_due, c->read_due, c->write_due, c->quiet_due};
    uint64_t due = UINT64_MAX;

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        due = all[i] > 0 ? MIN_OF(due, all[i]) : due;
    }
    if (due == UINT64_MAX || (c->armed_ms > 0 && c->armed_ms <= due)) {
        return;
    }
    c->armed_ms = due;
    timer_set(&c->timer, &c->task, due > now(c) ? due - now(c) : 0);
}

void h1_set_due(struct h1_conn *c, uint64_t *due, uint32_t in_ms)
{
    *due = in_ms > 0 ? now(c) + in_ms : 0;
    h1_rearm(c);
}

bool h1_is_past(const struct h1_conn *c, uint64_t due)
{
    return due > 0 && now(c) >= due;
}

/* A connection that is between requests gives its memory back; what it read into not at once, or it
 * would at each. */
static void rest(struct h1_conn *c)
{
    if (h1_is_past(c, c->quiet_due)) {
        c->quiet_due = 0;
        bytes_shrink(&c->in);
        bytes_shrink(&c->out);
    }
}

bool h1_timer_fired(struct h1_conn *c)
{
    bool fired = timer_is_due(&c->timer);

    if (fired) {
        timer_clear(&c->timer);
        c->armed_ms = 0;
        rest(c);
    }
    return fired;
}

void h1_wake_owner(struct h1_conn *c)
{
    if (c->owner) {
        task_wake(c->owner, WAKE_CHILD);
    }
}

void h1_wake_exchange(struct h1_conn *c)
{
    if (c->step == H1_BUSY && (c->x->in_waits || c->x->out_waits)) {
        stream_wake(&c->x->x.s);
    }
}

/* The connection is gone for its exchange: an owner that still holds it learns why. */
static void orphan(struct h1_conn *c, int why)
{
    struct h1_exchange *x = c->x;

    c->x = NULL;
    if (!x) {
        return;
    }
    x->conn = NULL;
    x->failure = why < 0 ? why : -ECONNRESET;
    if (c->step == H1_BUSY) {
        stream_note(&x->x.s, h1_diag(c));
        stream_wake(&x->x.s);
    } else {
        h1_exchange_free(x);
    }
}

void h1_end(struct h1_conn *c, int why, int result)
{
    struct stream *below = MOVE(c->below);

    orphan(c, result);
    c->step = H1_OVER;
    c->result = result;
    timer_clear(&c->timer);
    stream_own(below, NULL);
    if (why < 0) {
        stream_close(below, why);
    } else {
        linger_start(c->task.loop, below, &c->out);
    }
    bytes_fini(&c->in);
    bytes_fini(&c->out);
    h1_wake_owner(c);
}

void h1_cut(struct h1_conn *c, int why)
{
    h1_end(c, surely_negative(why), surely_negative(why));
}

static void adapt_fill(struct h1_conn *c, size_t got)
{
    if (got == c->fill) {
        c->fill = MIN_OF(c->fill * 2, (uint32_t)FILL_MAX);
    } else if (got < c->fill / 4) {
        c->fill = MAX_OF(c->fill / 2, (uint32_t)FILL_MIN);
    }
}

static int short_of_memory(struct h1_conn *c)
{
    return FAIL(h1_why(c), -ERR_LIMIT, "no memory for input");
}

/* Nobody knows how much comes, and most often it is little: no memory is taken for the unknown. */
static int fill_by_scratch(struct h1_conn *c)
{
    uint8_t *room = loop_scratch(c->task.loop);
    ssize_t n = stream_read(c->below, room, c->fill);

    if (n <= 0) {
        return (int)n;
    }
    adapt_fill(c, (size_t)n);
    return bytes_add(&c->in, room, (size_t)n) < 0 ? short_of_memory(c) : 1;
}

static int fill_in_place(struct h1_conn *c)
{
    size_t want = MIN_OF((size_t)c->fill, bytes_room(&c->in));
    uint8_t *room = want > 0 ? bytes_reserve(&c->in, want) : NULL;

    if (!room) {
        return short_of_memory(c);
    }
    ssize_t n = stream_read(c->below, room, want);
    if (n <= 0) {
        return (int)n;
    }
    bytes_commit(&c->in, (size_t)n);
    adapt_fill(c, (size_t)n);
    return 1;
}

int h1_fill(struct h1_conn *c)
{
    int r = c->in.len == 0 && c->fill == FILL_MIN ? fill_by_scratch(c) : fill_in_place(c);

    c->ended |= r == 0;
    return r;
}

void h1_kick(struct h1_conn *c)
{
    if (c->write_due == 0 && c->out.len > 0) {
        h1_set_due(c, &c->write_due, c->limits.write_stall_ms);
    }
    task_wake_late(&c->task, WAKE_CHILD);
}

void h1_await_body(struct h1_conn *c, bool waits)
{
    if (waits != (c->read_due > 0)) {
        h1_set_due(c, &c->read_due, waits ? c->limits.body_stall_ms : 0);
    }
}

static int write_out(struct h1_conn *c)
{
    while (c->out.len > 0) {
        ssize_t n = stream_write(c->below, bytes_peek(&c->out), c->out.len);
        if (n < 0) {
            return (int)n;
        }
        bytes_skip(&c->out, (size_t)n);
        c->sent += (uint64_t)n;
        h1_set_due(c, &c->write_due, c->limits.write_stall_ms);
    }
    return 0;
}

int h1_send_out(struct h1_conn *c)
{
    bool had = c->out.len > 0 || c->touched;
    int r = write_out(c);

    if (r == 0 && had) {
        r = stream_flush(c->below);
    }
    c->touched = had && r == -EAGAIN;
    c->refused = c->out.len > 0;
    if (r == 0 && c->ending) {
        r = stream_shut(c->below);
        c->ending = r == -EAGAIN;
    }
    if (r == 0) {
        c->write_due = 0;
    }
    if (had && !c->refused) {
        h1_wake_exchange(c);
    }
    return r;
}

void h1_stop_sending(struct h1_conn *c)
{
    struct h1_exchange *x = c->x;

    bytes_skip(&c->out, c->out.len);
    c->last = true;
    c->write_due = 0;
    c->ending = false;
    c->refused = false;
    c->touched = false;
    if (x->out != H1_OUT_ENDED) {
        x->out = H1_OUT_SILENT;
    }
    if (x->in == H1_IN_HEAD && c->head_due == 0) {
        h1_set_due(c, &c->head_due, c->limits.header_ms);
    }
    h1_wake_exchange(c);
}

/* The transport's failure, or ours: the connection ends with it. */
static void fail(struct h1_conn *c, int r)
{
    if (stream_diag(c->below)->code == r) {
        *h1_why(c) = *stream_diag(c->below);
    } else if (h1_diag(c)->code != r) {
        (void)diag_note(h1_why(c), r, "%s", err_text(r)); /* the code is known */
    }
    h1_cut(c, r);
}

void h1_steps(struct h1_conn *c, unsigned why, int (*step)(struct h1_conn *c))
{
    /* What an exchange has put out only needs to be sent. */
    int r = why == WAKE_CHILD && c->step == H1_BUSY ? -EAGAIN : 0;

    for (int i = 0; c->step != H1_OVER && r == 0; i++) {
        r = i < STEPS_A_RUN ? step(c) : -EAGAIN;
        if (i == STEPS_A_RUN) {
            task_wake(&c->task, WAKE_IO);
        }
    }
    if (c->step != H1_OVER && (r == 0 || r == -EAGAIN)) {
        r = h1_send_out(c);
    }
    if (c->step == H1_OVER) {
        return;
    }
    if (r < 0 && r != -EAGAIN) {
        fail(c, r);
        return;
    }
    if (c->step ==
        H1_HEAD) { /* is as large as a head: many connections have one, few are writing */
        bytes_shrink(&c->out);
    }
    bool spare = (c->in.p && c->in.len == 0) || (c->out.p && c->out.len == 0);
    if (spare && c->quiet_due == 0) {
        h1_set_due(c, &c->quiet_due, QUIET_MS);
    }
}

ssize_t h1_find_head_end(struct h1_conn *c)
{
    struct diag why;
    ssize_t len = c->in.len > 0
                      ? h1_section_end((const char *)bytes_peek(&c->in), c->in.len, &c->seen, &why)
                      : 0;

    if (len < 0) {
        *h1_why(c) = why;
    }
    return len;
}

int h1_judge_beginning(struct h1_conn *c)
{
    const char *p = (const char *)bytes_peek(&c->in);

    if (c->begun || c->in.len == 0) {
        return 0;
    }
    struct diag why;
    int r =
        c->client ? h1_response_begins(p, c->in.len, &why) : h1_request_begins(p, c->in.len, &why);
    if (r < 0) {
        *h1_why(c) = why;
    }
    c->begun = r == 0 && memchr(p, '\n', c->in.len);
    return r;
}

bool h1_line_is_too_long(const struct h1_conn *c)
{
    return c->in.len > c->limits.line_bytes &&
           !memchr(bytes_peek(&c->in), '\n', c->limits.line_bytes);
}

int h1_check_limits(const struct h1_conn *c, const struct h1_head *h, struct diag *why)
{
    if (h->count > c->limits.fields) {
        return FAIL(why, -ERR_TOO_LARGE, "more than %u fields", c->limits.fields);
    }
    for (unsigned i = 0; i < h->count; i++) {
        const struct h1_field *f = &h->fields[i];
        if (f->value.len > c->limits.value_bytes) {
            return FAIL(why, -ERR_TOO_LARGE, "the value of %.*s is too large",
                        (int)MIN_OF(f->name.len, (size_t)40), f->name.p);
        }
        if (c->limits.names == H1_UNDERSCORE_REJECT && memchr(f->name.p, '_', f->name.len)) {
            return FAIL(why, -ERR_SYNTAX, "a field name with an underscore");
        }
    }
    return 0;
}
