/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h2_session.h"

#include <assert.h>

#include "base/mem.h"
#include "base/num.h"
#include "http/h2_int.h"
#include "http/linger.h"

enum {
    READ_BYTES = 16 << 10,
    READS_A_RUN = 16,
    SEND_A_RUN = 512 << 10,
    OUT_MAX = 1 << 20, /* one frame or header block of nghttp2's, never more */
    NOTICE_MS = 1000,
    GATHER_FRAME = 4096,
    GATHER_MAX = 64 << 10,
    FRAME_HEAD = 9,
    FRAME_PIECES = 2
};

const uint8_t h2_drain_ping[8] = {0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54};

static const struct h2_options defaults = {
    .stream_window = 256 << 10,
    .connection_window = 1 << 20,
    .frame_bytes = 16384,
    .header_list_bytes = 16 << 10,
    .streams_max = 100,
    .send_buffer_bytes = 64 << 10,
    .ping_timeout_ms = 10000,
    .first_ms = 5000,
    .head_ms = 10000,
    .write_stall_ms = 30000,
    .tokens = 200,
    .tokens_per_s = 20,
    .fields = 100,
    .value_bytes = 32 << 10,
};

static void pick(uint32_t *value, uint32_t fallback)
{
    *value = *value > 0 ? *value : fallback;
}

static struct h2_options options_of(const struct h2_options *given)
{
    struct h2_options o = given ? *given : defaults;

    pick(&o.stream_window, defaults.stream_window);
    pick(&o.connection_window, MAX_OF(defaults.connection_window, o.stream_window));
    pick(&o.frame_bytes, defaults.frame_bytes);
    pick(&o.header_list_bytes, defaults.header_list_bytes);
    pick(&o.streams_max, defaults.streams_max);
    pick(&o.send_buffer_bytes, defaults.send_buffer_bytes);
    pick(&o.ping_timeout_ms, defaults.ping_timeout_ms);
    pick(&o.first_ms, defaults.first_ms);
    pick(&o.head_ms, defaults.head_ms);
    pick(&o.write_stall_ms, defaults.write_stall_ms);
    pick(&o.tokens, defaults.tokens);
    pick(&o.tokens_per_s, defaults.tokens_per_s);
    pick(&o.fields, defaults.fields);
    pick(&o.value_bytes, defaults.value_bytes);
    o.header_list_bytes = MIN_OF(o.header_list_bytes, (uint32_t)MESSAGE_BYTES_MAX);
    return o;
}

static uint64_t now(const struct h2_session *s)
{
    return loop_now_ms(s->task.loop);
}

static void rearm(struct h2_session *s)
{
    const uint64_t all[] = {s->first_due, s->write_due,  s->ping_due, s->pong_due,
                            s->idle_due,  s->notice_due, s->left_due, s->head_due};
    uint64_t due = UINT64_MAX;

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        due = all[i] > 0 ? MIN_OF(due, all[i]) : due;
    }
    /* It may fire too early and is then set again: most deadlines move on long before they come. */
    if (due != UINT64_MAX && (s->armed_ms == 0 || s->armed_ms > due)) {
        s->armed_ms = due;
        timer_set(&s->timer, &s->task, due > now(s) ? due - now(s) : 0);
    }
}

void h2_set_due(struct h2_session *s, uint64_t *due, uint32_t in_ms)
{
    *due = in_ms > 0 ? now(s) + in_ms : 0;
    rearm(s);
}

void h2_kick(struct h2_session *s)
{
    task_wake_late(&s->task, WAKE_IO);
}

void h2_wake_owner(struct h2_session *s)
{
    if (s->owner) {
        task_wake(s->owner, WAKE_CHILD);
    }
}

void h2_fail(struct h2_session *s, int why)
{
    if (s->failing == 0) {
        s->failing = surely_negative(why);
        task_wake(&s->task, WAKE_IO);
    }
}

/* The end */

static void orphan_all(struct h2_session *s, int why)
{
    list_for_each_safe (n, &s->streams) {
        struct h2_exchange *x = container_of(n, struct h2_exchange, in_streams);
        int r = x->failure < 0 ? x->failure : why < 0 ? why : -ECONNRESET;
        if (x->failure == 0) {
            stream_note(&x->x.s, &s->diag);
        }
        h2_exchange_orphan(x, r);
    }
}

/* What nghttp2 still wants to say goes to out, within limits. */
static void collect_last_words(struct h2_session *s)
{
    const uint8_t *p;
    ssize_t n;

    s->full = true; /* no more bodies */
    while (nghttp2_session_want_write(s->ng)) {
        n = nghttp2_session_mem_send(s->ng, &p);
        if (n <= 0 || bytes_add(&s->out, p, (size_t)n) < 0) {
            return;
        }
    }
}

/* The only way to H2_OVER. cut: the transport is of no use any more. */
static void end(struct h2_session *s, int result, bool cut)
{
    struct stream *below = MOVE(s->below);

    s->result = result;
    if (!cut) {
        collect_last_words(s);
    }
    orphan_all(s, result);
    h2_exchange_drop_spare(s, s->spare_count);
    s->step = H2_OVER;
    nghttp2_session_del(MOVE(s->ng));
    timer_clear(&s->timer);
    stream_own(below, NULL);
    if (cut) {
        stream_close(below, surely_negative(result));
    } else {
        linger_start(s->task.loop, below, &s->out);
    }
    bytes_fini(&s->out);
    h2_wake_owner(s);
}

/* Says why, if that is still possible, and ends. */
static void end_with(struct h2_session *s, int why, uint32_t code)
{
    if (s->diag.code != why) {
        (void)diag_note(&s->diag, why, "%s", err_text(why));
    }
    bool said = nghttp2_session_terminate_session(s->ng, code) == 0;
    end(s, why, !said);
}

static void transport_failed(struct h2_session *s, int why)
{
    if (stream_diag(s->below)->code == why) {
        s->diag = *stream_diag(s->below);
    } else {
        (void)diag_note(&s->diag, why, "transport of HTTP/2: %s", err_text(why));
    }
    end(s, why, true);
}

/* Input */

/* More of a head may have come. */
static void time_head(struct h2_session *s)
{
    uint64_t bytes = s->stats.taken_bytes - s->head_from;
    uint64_t all = s->o.head_ms;

    if (s->o.head_rate > 0) {
        all = MIN_OF(all, s->o.head_grace_ms + bytes * 1000 / s->o.head_rate);
    }
    s->head_due = s->head_since_ms + all;
    rearm(s);
}

/* The head that is arriving is not waited for: nothing else can come before it. */
static void note_late_head(struct h2_session *s)
{
    list_for_each (n, &s->streams) {
        struct h2_exchange *x = container_of(n, struct h2_exchange, in_streams);
        if (x->holder == H2_HELD_NEW && x->recv == H2_RECV_HEAD) {
            h2_note_refusal(x, 0, &s->diag);
        }
    }
}

static int head_is_late(struct h2_session *s)
{
    int r = FAIL(&s->diag, -ERR_DEADLINE, "a request head took too long");

    note_late_head(s);
    return r;
}

bool h2_session_shed(struct h2_session *s, uint64_t longer_than_ms)
{
    if (s->head_due == 0 || s->failing < 0 || s->step == H2_OVER ||
        loop_now_ms(s->task.loop) <= s->head_since_ms + longer_than_ms) {
        return false;
    }
    int r = FAIL(&s->diag, -ENOMEM, "memory is short");

    note_late_head(s);
    h2_fail(s, r);
    return true;
}

static int feed(struct h2_session *s, const uint8_t *p, size_t len)
{
    ssize_t used = nghttp2_session_mem_recv(s->ng, p, len);

    s->stats.taken_bytes += len;
    if (s->head_due > 0) {
        time_head(s);
    }
    if (used < 0 && s->failing == 0) {
        h2_fail(s, FAIL(&s->diag, used == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ERR_H2_PROTOCOL,
                        "HTTP/2 input: %s", nghttp2_strerror((int)used)));
    }
    return s->failing;
}

static int input_ended(struct h2_session *s)
{
    if (s->stats.streams > 0) {
        return FAIL(&s->diag, -ERR_TRUNCATED, "the connection ended with %u streams open",
                    s->stats.streams);
    }
    end(s, s->peer_leaves && s->role == H2_CLIENT ? -ERR_H2_GOAWAY : 0, false);
    return 0;
}

/* 0: enough for this run (it will go on), -EAGAIN: there is no more. */
static int receive(struct h2_session *s)
{
    uint8_t *room = loop_scratch(s->task.loop);

    for (int i = 0; i < READS_A_RUN && nghttp2_session_want_read(s->ng); i++) {
        ssize_t n = stream_read(s->below, room, READ_BYTES);
        if (n == 0) {
            return input_ended(s);
        }
        int r = n < 0 ? (int)n : feed(s, room, (size_t)n);
        if (r < 0) {
            return r;
        }
    }
    return nghttp2_session_want_read(s->ng) ? 0 : -EAGAIN;
}

/* Output */

static int offer(struct h2_session *s)
{
    while (s->out.len > 0) {
        ssize_t n = stream_write(s->below, bytes_peek(&s->out), s->out.len);
        if (n < 0) {
            return (int)n;
        }
        bytes_skip(&s->out, (size_t)n);
        s->stats.sent_bytes += (uint64_t)n;
        h2_set_due(s, &s->write_due, s->o.write_stall_ms);
    }
    return 0;
}

/* All that waits, and the pieces of a frame behind it. */
static ssize_t write_behind(struct h2_session *s, const struct iovec *v, int count)
{
    struct iovec all[1 + FRAME_PIECES];
    int k = 0;

    if (!s->below->ops->writev) {
        int r = offer(s);
        return r < 0 ? r : stream_write(s->below, v[0].iov_base, v[0].iov_len);
    }
    if (s->out.len > 0) {
        all[k++] = (struct iovec){s->out.p + s->out.head, s->out.len};
    }
    for (int i = 0; i < count; i++) {
        all[k++] = v[i];
    }
    return s->below->ops->writev(s->below, all, k);
}

/* The pieces less their first skip octets wait in out. */
static int keep(struct h2_session *s, const struct iovec *v, int count, size_t skip)
{
    int r = bytes_add_pieces(&s->out, v, count, skip);

    return r < 0 ? FAIL(&s->diag, -ERR_LIMIT, "no memory for output") : 0;
}

/* What the transport does not take at once waits in out; only its -EAGAIN promises a wake. Small frames
 * are gathered where each write is a system call. */
static int send_frame(struct h2_session *s, const struct iovec *v, int count, size_t len)
{
    bool gathers = s->below->ops->writev && !s->below->ops->reserve;

    if (gathers && len < GATHER_FRAME && s->out.len < GATHER_MAX) {
        /* Memory at once for a few: it is given back when all has left. */
        return bytes_reserve(&s->out, GATHER_FRAME) ? keep(s, v, count, 0) : -ERR_LIMIT;
    }
    size_t waited = s->out.len;
    ssize_t n = write_behind(s, v, count);
    if (n < 0 && n != -EAGAIN) {
        return (int)n;
    }
    size_t taken = n > 0 ? (size_t)n : 0;
    size_t old = s->below->ops->writev ? MIN_OF(taken, waited) : 0;
    s->stats.sent_bytes += taken;
    bytes_skip(&s->out, old);
    if (taken - old == len) {
        return 0;
    }
    int r = keep(s, v, count, taken - old);
    return r < 0 ? r : n < 0 ? (int)n : offer(s);
}

int h2_send_data(struct h2_session *s, const uint8_t *head, const uint8_t *body, size_t len)
{
    union {
        const uint8_t *in;
        void *out;
    } h = {head}, b = {body}; /* what is written is not changed; a vector cannot say so */
    const struct iovec v[FRAME_PIECES] = {{h.out, FRAME_HEAD}, {b.out, len}};

    if (s->full || s->stats.sent_bytes >= s->send_stop) {
        return -EAGAIN;
    }
    int r = send_frame(s, v, len > 0 ? 2 : 1, FRAME_HEAD + len);
    s->full = r == -EAGAIN;
    s->send_failure = r < 0 && r != -EAGAIN ? r : 0;
    return s->send_failure;
}

static int send_serialised(struct h2_session *s, const uint8_t *p, size_t len)
{
    union {
        const uint8_t *in;
        void *out;
    } frame = {p};

    return send_frame(s, &(struct iovec){frame.out, len}, 1, len);
}

static void submit_kicked(struct h2_session *s)
{
    struct list *n;

    while ((n = list_take_first(&s->kicked))) {
        h2_exchange_submit(container_of(n, struct h2_exchange, in_kicked));
    }
}

/* Frames until nghttp2 has none or the transport takes none. 0: all of it has left. */
static int transmit(struct h2_session *s)
{
    int r = offer(s);
    const uint8_t *p;

    s->send_stop = s->stats.sent_bytes + SEND_A_RUN;
    s->full = false;
    submit_kicked(s);
    while (r == 0 && s->stats.sent_bytes < s->send_stop) {
        ssize_t n = nghttp2_session_mem_send(s->ng, &p);
        if (n < 0) {
            return s->send_failure < 0
                       ? s->send_failure
                       : FAIL(&s->diag, -ENOMEM, "HTTP/2 output: %s", nghttp2_strerror((int)n));
        }
        if (n == 0) {
            break;
        }
        r = send_serialised(s, p, (size_t)n);
    }
    r = r == 0 ? offer(s) : r;
    if (r == 0 && s->stats.sent_bytes >= s->send_stop) {
        task_wake(&s->task, WAKE_IO);
    }
    return r < 0 ? r : stream_flush(s->below);
}

static int send_all(struct h2_session *s)
{
    int r = transmit(s);
    bool waits = s->out.len > 0 || r == -EAGAIN;

    if (s->out.len == 0) {
        bytes_shrink(&s->out);
    }
    if (waits && s->write_due == 0) {
        h2_set_due(s, &s->write_due, s->o.write_stall_ms);
    } else if (!waits && s->write_due > 0) {
        h2_set_due(s, &s->write_due, 0);
    }
    return r;
}

/* Time */

static bool is_past(const struct h2_session *s, uint64_t due)
{
    return due > 0 && now(s) >= due;
}

static void ping(struct h2_session *s)
{
    /* The payload is the one that mesh proxies are used to see. */
    static const uint8_t payload[8] = {0x3b, 0x7c, 0xdb, 0x7a, 0x0b, 0x87, 0x16, 0xb4};

    h2_set_due(s, &s->ping_due, s->o.ping_ms);
    if (s->stats.streams > 0 && s->pong_due == 0) {
        if (nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, payload) < 0) {
            h2_fail(s, -ENOMEM);
        }
        h2_set_due(s, &s->pong_due, s->o.ping_timeout_ms);
    }
}

/* Streams that were left long ago and still have not got rid of their bytes. */
static void reap_left(struct h2_session *s)
{
    h2_set_due(s, &s->left_due, 0);
    list_for_each (n, &s->streams) {
        struct h2_exchange *x = container_of(n, struct h2_exchange, in_streams);
        uint32_t code = x->send == H2_SEND_ENDED ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL;
        if (x->holder == H2_HELD_LEFT &&
            nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, x->id, code) < 0) {
            h2_fail(s, -ENOMEM);
        }
    }
}

static void say_last_id(struct h2_session *s)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(s->ng);

    h2_set_due(s, &s->notice_due, 0);
    s->step = H2_DRAINING;
    if (nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) < 0) {
        h2_fail(s, -ENOMEM);
    }
}

static int check_deadlines(struct h2_session *s)
{
    if (is_past(s, s->write_due)) {
        return FAIL(&s->diag, -ERR_DEADLINE, "the peer takes no bytes");
    }
    if (is_past(s, s->first_due)) {
        return FAIL(&s->diag, -ERR_DEADLINE, "no HTTP/2 preface and SETTINGS in time");
    }
    if (is_past(s, s->head_due)) {
        return head_is_late(s);
    }
    if (is_past(s, s->pong_due)) {
        return FAIL(&s->diag, -ERR_DEADLINE, "a PING was not answered");
    }
    if (is_past(s, s->ping_due)) {
        ping(s);
    }
    if (is_past(s, s->left_due)) {
        reap_left(s);
    }
    if (is_past(s, s->idle_due)) {
        h2_set_due(s, &s->idle_due, 0);
        h2_session_drain(s);
    }
    return 0;
}

/* Nothing more can come of this connection. */
static bool is_done(const struct h2_session *s)
{
    return !nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng) &&
           s->out.len == 0;
}

static bool has_nothing_left(const struct h2_session *s)
{
    return s->role == H2_CLIENT && s->peer_leaves && s->stats.streams == 0;
}

static void note_idle(struct h2_session *s)
{
    bool idle = s->role == H2_SERVER && s->stats.streams == 0 && s->step == H2_OPEN;

    if (idle && s->idle_due == 0 && s->o.idle_ms > 0) {
        h2_set_due(s, &s->idle_due, s->o.idle_ms);
    }
    if (s->left_due > 0 && s->stats.streams == 0) {
        h2_set_due(s, &s->left_due, 0);
    }
}

static uint32_t code_for(int why)
{
    return why == -ERR_H2_ABUSE ? NGHTTP2_ENHANCE_YOUR_CALM
           : why == -ENOMEM     ? NGHTTP2_INTERNAL_ERROR
                                : NGHTTP2_PROTOCOL_ERROR;
}

static void settle(struct h2_session *s, int r)
{
    if (s->step == H2_OVER) {
        return;
    }
    if (s->failing < 0) {
        end_with(s, s->failing, code_for(s->failing));
    } else if (r < 0 && r != -EAGAIN) {
        transport_failed(s, r);
    } else if (is_done(s)) {
        end(s, s->role == H2_CLIENT ? -ERR_H2_GOAWAY : 0, false);
    } else if (has_nothing_left(s)) {
        end_with(s, s->diag.code < 0 ? s->diag.code : -ERR_H2_GOAWAY, NGHTTP2_NO_ERROR);
    } else {
        note_idle(s);
    }
}

static void run(struct task *t, unsigned why)
{
    struct h2_session *s = container_of(t, struct h2_session, task);
    int r = 0;

    (void)why; /* every wake is a hint */
    if (s->step != H2_OVER && timer_is_due(&s->timer)) {
        timer_clear(&s->timer);
        s->armed_ms = 0;
        r = check_deadlines(s);
        if (r < 0) {
            end_with(s, r, NGHTTP2_NO_ERROR);
        } else if (s->step != H2_OVER) {
            rearm(s);
        }
    }
    if (s->step != H2_OVER) {
        r = receive(s);
        if (r == 0) {
            task_wake(t, WAKE_IO);
        }
    }
    if (s->step != H2_OVER && is_past(s, s->notice_due)) { /* with what was there by then */
        say_last_id(s);
    }
    if (s->step != H2_OVER && (r == 0 || r == -EAGAIN) && s->failing == 0) {
        r = send_all(s);
    }
    settle(s, r);
}

/* Birth */

static int say_hello(struct h2_session *s)
{
    const struct h2_options *o = &s->o;
    nghttp2_settings_entry server[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o->stream_window},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, o->frame_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, o->header_list_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}, /* the last: left away if it is not wanted */
    };
    nghttp2_settings_entry client[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o->stream_window},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, o->frame_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, o->header_list_bytes},
    };
    bool serves = s->role == H2_SERVER;
    int r = nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, serves ? server : client,
                                    serves && o->websocket ? ARRAY_LEN(server) : ARRAY_LEN(client));

    return r < 0 ? r
                 : nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0,
                                                         (int32_t)o->connection_window);
}

static struct h2_session *make(struct loop *l, struct stream *below,
                               const struct h2_options *options, struct task *owner,
                               enum h2_role role)
{
    struct h2_session *s = mem_new(struct h2_session);

    task_init(&s->task, l, "h2 session", run);
    s->below = below;
    s->owner = owner;
    s->role = role;
    s->o = options_of(options);
    list_init(&s->streams);
    list_init(&s->ready);
    list_init(&s->kicked);
    list_init(&s->given);
    list_init(&s->refusals);
    list_init(&s->spare);
    bytes_init(&s->out, OUT_MAX);
    h2_budget_init(s);
    stream_own(below, &s->task);
    task_wake(&s->task, WAKE_START);
    if (h2_events_new(s) < 0 || say_hello(s) < 0) {
        s->result = FAIL(&s->diag, -ENOMEM, "no memory for an HTTP/2 session");
        s->step = H2_OVER;
        nghttp2_session_del(MOVE(s->ng));
        stream_close(MOVE(s->below), -ENOMEM);
        h2_wake_owner(s);
        return s;
    }
    h2_set_due(s, &s->ping_due, s->o.ping_ms);
    return s;
}

struct h2_session *h2_client_new(struct loop *l, struct stream *take_below,
                                 const struct h2_options *options, struct task *owner)
{
    return make(l, take_below, options, owner, H2_CLIENT);
}

struct h2_session *h2_server_new(struct loop *l, struct stream *take_below,
                                 const struct h2_options *options, struct task *owner)
{
    struct h2_session *s = make(l, take_below, options, owner, H2_SERVER);

    if (s->step != H2_OVER) {
        h2_set_due(s, &s->first_due, s->o.first_ms);
    }
    return s;
}

/* The owner's side */

static void give(struct h2_session *s, struct h2_exchange *x)
{
    x->holder = H2_HELD_OWNER;
    x->given_by = s;
    list_append(&s->given, &x->in_given);
    s->given_out++;
}

int h2_session_next(struct h2_session *s, struct exchange **out)
{
    struct list *n = list_take_first(&s->ready);

    if (n) {
        struct h2_exchange *x = container_of(n, struct h2_exchange, in_ready);
        give(s, x);
        *out = &x->x;
        return 1;
    }
    return s->step == H2_OVER ? s->result : -EAGAIN;
}

struct refusal *h2_session_refusal(struct h2_session *s)
{
    struct list *n = list_take_first(&s->refusals);

    return n ? container_of(n, struct refusal, in_list) : NULL;
}

uint32_t h2_session_room(const struct h2_session *s)
{
    uint32_t peer =
        nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    uint32_t most = MIN_OF(s->o.streams_max, peer);

    return s->stats.streams < most ? most - s->stats.streams : 0;
}

int h2_session_state(struct h2_session *s)
{
    if (s->step == H2_OVER) {
        return s->result < 0 ? s->result : -ECONNRESET;
    }
    if (s->peer_leaves || s->step == H2_DRAINING) {
        return -ERR_H2_GOAWAY;
    }
    return h2_session_room(s) > 0 ? 0 : -EAGAIN;
}

int h2_session_upgrades(const struct h2_session *s)
{
    if (s->step == H2_OVER) {
        return 0;
    }
    if (s->step == H2_OPENING) {
        return -EAGAIN;
    }
    bool offered =
        nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
    return offered ? 0 : -ERR_UNSUPPORTED;
}

struct exchange *h2_session_request(struct h2_session *s, const struct message *head, bool end)
{
    int r = h2_session_state(s); /* before this one counts */
    struct h2_exchange *x = h2_exchange_new(s, H2_HELD_OWNER);

    give(s, x);
    if (r < 0) {
        stream_note(&x->x.s, &s->diag);
        r = r == -EAGAIN ? FAIL(stream_why(&x->x.s), -ERR_LIMIT, "too many streams at once") : r;
    } else {
        r = h2_exchange_request(x, head, end);
    }
    if (r < 0) {
        h2_exchange_orphan(x, r);
    } else {
        h2_kick(s);
    }
    return &x->x;
}

const struct diag *h2_session_diag(const struct h2_session *s)
{
    return &s->diag;
}

struct h2_stats h2_session_stats(const struct h2_session *s)
{
    return s->stats;
}

void h2_session_drain(struct h2_session *s)
{
    if (s->step == H2_OVER || s->step == H2_NOTICED || s->step == H2_DRAINING) {
        return;
    }
    if (s->role == H2_CLIENT) {
        say_last_id(s);
    } else {
        s->step = H2_NOTICED;
        h2_set_due(s, &s->notice_due, NOTICE_MS);
        if (nghttp2_submit_shutdown_notice(s->ng) < 0 ||
            nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, h2_drain_ping) < 0) {
            h2_fail(s, -ENOMEM);
        }
    }
    h2_kick(s);
}

void h2_session_free(struct h2_session *s)
{
    if (!s) {
        return;
    }
    s->owner = NULL;
    if (s->step != H2_OVER) {
        end_with(s, FAIL(&s->diag, -ERR_CANCELLED, "the session is gone"), NGHTTP2_NO_ERROR);
    }
    list_for_each_safe (n, &s->given) {
        struct h2_exchange *x = container_of(n, struct h2_exchange, in_given);
        x->given_by = NULL;
        list_remove(n);
    }
    for (struct refusal *r; (r = h2_session_refusal(s));) {
        refusal_free(r);
    }
    task_fini(&s->task);
    mem_free(s);
}
