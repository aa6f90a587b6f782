/* SPDX-License-Identifier: Apache-2.0 */
/* What nghttp2 tells us. Everything here runs inside nghttp2: it changes our objects and wakes tasks,
 * and calls nghttp2 only where its manual allows that from a callback. */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "http/h2_int.h"

enum {
    ALLOC_MAX = 16 << 20,
    HEADER_BYTES_ABUSE = 1 << 20, /* decoded, of one block: a compression bomb */
    FRAMES_A_DATA = 2,
    SKIP_MAX = 64 << 10,
    NO_RATE_LIMIT = 1 << 30
};

static struct h2_exchange *exchange_of(nghttp2_session *ng, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(ng, id) : NULL;
}

static void refuse_stream(struct h2_session *s, int32_t id, uint32_t code)
{
    if (nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, id, code) < 0) {
        h2_fail(s, FAIL(&s->diag, -ENOMEM, "no memory for a reset"));
    }
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;

    if (s->role != H2_SERVER || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    /* Work that goes on after its stream was reset still counts, or resets would hide it. */
    if (s->given_out >= 2 * s->o.streams_max) {
        refuse_stream(s, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    struct h2_exchange *x = h2_exchange_new(s, H2_HELD_NEW);
    x->id = frame->hd.stream_id;
    s->head_since_ms = loop_now_ms(s->task.loop);
    s->head_from = s->stats.taken_bytes;
    h2_set_due(s, &s->head_due, s->o.head_ms); /* what is there already counts when it was taken */
    h2_budget_earn(s, FRAMES_A_DATA);
    return nghttp2_session_set_stream_user_data(ng, x->id, x);
}

static void set_pseudo(struct message *m, struct slice name, struct slice value)
{
    static const char *const names[MESSAGE_PARTS] = {[MESSAGE_METHOD] = ":method",
                                                     [MESSAGE_SCHEME] = ":scheme",
                                                     [MESSAGE_AUTHORITY] = ":authority",
                                                     [MESSAGE_PATH] = ":path",
                                                     [MESSAGE_PROTOCOL] = ":protocol"};
    uint32_t status = 0;

    for (unsigned i = 0; i < MESSAGE_PARTS; i++) {
        if (slice_is(name, names[i])) {
            message_set(m, (enum message_part)i, value);
        }
    }
    if (slice_is(name, ":status") && num_parse_u32(value.p, value.len, 999, &status) == 0) {
        m->status = status;
    }
}

/* http2-settings is the connection's that it came on (RFC 7540 3.2.1), and obsolete (RFC 9113 3.1). nghttp2,
 * which resets streams with the other fields of that kind (8.2.2), does not know it. */
static bool is_wanted(const struct h2_exchange *x, const struct message *m, struct slice name)
{
    return m == &x->x.in_trailers ? h2_may_trail(x, name) : !slice_is(name, "http2-settings");
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2_exchange *x = exchange_of(ng, frame->hd.stream_id);
    struct slice n = {(const char *)name, name_len};
    struct slice v = {(const char *)value, value_len};
    struct h2_session *s = user;

    (void)flags;
    s->block_bytes += (uint32_t)(name_len + value_len) + MESSAGE_FIELD_COST;
    if (s->block_bytes > HEADER_BYTES_ABUSE) {
        h2_fail(s, FAIL(&s->diag, -ERR_H2_ABUSE, "a header block that grows without end"));
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (!x) {
        return 0;
    }
    struct message *m = x->recv != H2_RECV_HEAD ? &x->x.in_trailers
                        : s->role == H2_CLIENT  ? &x->head
                                                : &x->x.in;
    if (name_len > 0 && name[0] == ':') {
        set_pseudo(m, n, v);
    } else if (is_wanted(x, m, n)) {
        message_add(m, n, v);
    }
    return 0;
}

/* nghttp2 would drop a field with a bad name or value and go on; to us the message is malformed. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)ng;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void h2_note_refusal(struct h2_exchange *x, unsigned status, const struct diag *why)
{
    struct h2_session *s = x->session;

    if (s->role != H2_SERVER || !s->o.shows_refusals) {
        return;
    }
    struct refusal *r = mem_new(struct refusal);
    r->status = status;
    r->why = why ? *why : (struct diag){.code = -ERR_H2_PROTOCOL};
    r->version = EXCHANGE_HTTP2;
    r->head_bytes = message_cost(&x->x.in);
    message_take(&r->in, &x->x.in); /* nobody else will want it */
    list_append(&s->refusals, &r->in_list);
    h2_wake_owner(s);
}

/* A request that no handler sees: our answer, and no interest in the rest. */
static void answer(struct h2_exchange *x, unsigned status)
{
    static char name[] = ":status";
    char text[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                    (char)('0' + status % 10), 0};
    nghttp2_nv nv = {(uint8_t *)name, (uint8_t *)text, sizeof(name) - 1, 3, NGHTTP2_NV_FLAG_NONE};
    struct h2_session *s = x->session;

    h2_note_refusal(x, status, NULL);
    x->refused = true;
    x->holder = H2_HELD_LEFT;
    h2_budget_spend(s, H2_TOKEN_OWN_RESET);
    if (nghttp2_submit_response(s->ng, x->id, &nv, 1, NULL) < 0) {
        h2_fail(s, FAIL(&s->diag, -ENOMEM, "no memory for a response"));
    }
}

static void request_complete(struct h2_session *s, struct h2_exchange *x, bool end)
{
    unsigned status = h2_request_check(x, end);

    if (status > 0) {
        answer(x, status);
        return;
    }
    list_append(&s->ready, &x->in_ready);
    h2_set_due(s, &s->idle_due, 0);
    h2_wake_owner(s);
}

/* An interim response: shown to who wants it, or forgotten. */
static void interim_head(struct h2_session *s, struct h2_exchange *x)
{
    if (++x->interims > EXCHANGE_INTERIM_MAX) {
        x->failure = FAIL(stream_why(&x->x.s), -ERR_LIMIT, "more than %d interim responses",
                          EXCHANGE_INTERIM_MAX);
        refuse_stream(s, x->id, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (x->x.wants_interim) {
        if (!x->interim) {
            x->interim = mem_array(EXCHANGE_INTERIM_MAX, sizeof(*x->interim));
        }
        message_take(&x->interim[x->interim_count++], &x->head);
    }
    message_clear(&x->head);
    h2_wake(x);
}

/* Agreed to is what HTTP/1.1 says with 101. */
static void settle_upgrade(struct h2_exchange *x)
{
    if (x->head.status >= 200 && x->head.status <= 299) {
        x->head.status = 101;
    } else {
        h2_end_upgrade(x);
    }
}

static void response_head(struct h2_session *s, struct h2_exchange *x)
{
    x->x.reach = EXCHANGE_ANSWERING;
    if (!message_is_whole(&x->head) || x->head.count > s->o.fields) {
        refuse_stream(s, x->id, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (x->head.status < 200) {
        interim_head(s, x);
    } else {
        x->recv = H2_RECV_BODY;
        x->arrived = true;
        if (x->upgrade) {
            settle_upgrade(x);
        }
        h2_wake(x);
    }
}

static void check_trailers(struct h2_session *s, const struct h2_exchange *x)
{
    if (!message_is_whole(&x->x.in_trailers) || x->x.in_trailers.count > H1_TRAILERS_MAX) {
        refuse_stream(s, x->id, NGHTTP2_ENHANCE_YOUR_CALM);
    }
}

static void on_headers(struct h2_session *s, struct h2_exchange *x, bool end)
{
    bool first = x->recv == H2_RECV_HEAD;

    if (first && s->role == H2_CLIENT) {
        response_head(s, x);
    } else if (first) {
        x->recv = H2_RECV_BODY;
    }
    if (end) {
        h2_in_ended(x);
    }
    if (first && s->role == H2_SERVER) {
        request_complete(s, x, end);
    } else if (!first) {
        check_trailers(s, x);
    }
}

static void on_goaway(struct h2_session *s, const nghttp2_goaway *g)
{
    bool clean = g->error_code == NGHTTP2_NO_ERROR;

    s->peer_leaves = true;
    (void)diag_note(&s->diag, clean ? -ERR_H2_GOAWAY : -ERR_H2_PROTOCOL,
                    "the peer said GOAWAY: %s %.*s", nghttp2_http2_strerror(g->error_code),
                    (int)MIN_OF(g->opaque_data_len, (size_t)60),
                    g->opaque_data ? (const char *)g->opaque_data : "");
    h2_wake_owner(s);
}

static void on_ping(struct h2_session *s, const nghttp2_frame *frame)
{
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        h2_budget_spend(s, H2_TOKEN_PING);
        return;
    }
    h2_set_due(s, &s->pong_due, 0);
    bool heard = memcmp(frame->ping.opaque_data, h2_drain_ping, sizeof(h2_drain_ping)) == 0;
    if (heard && s->step == H2_NOTICED && s->notice_due > loop_now_ms(s->task.loop) + 1) {
        h2_set_due(s, &s->notice_due, 1);
    }
}

static void on_data(struct h2_session *s, struct h2_exchange *x, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        if (x) {
            h2_in_ended(x);
        }
    } else if (frame->hd.length == frame->data.padlen) {
        h2_budget_spend(s, H2_TOKEN_EMPTY);
    }
}

static void on_settings(struct h2_session *s, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
        return;
    }
    if (s->step == H2_OPENING || s->first_due > 0) { /* it may drain already */
        s->step = s->step == H2_OPENING ? H2_OPEN : s->step;
        h2_set_due(s, &s->first_due, 0);
        h2_wake_owner(s);
    } else {
        h2_budget_spend(s, H2_TOKEN_SETTINGS);
    }
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    struct h2_exchange *x = exchange_of(ng, frame->hd.stream_id);

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        s->block_bytes = 0;
        h2_set_due(s, &s->head_due, 0);
        if (x && !x->refused) {
            on_headers(s, x, frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
        }
        break;
    case NGHTTP2_DATA:
        on_data(s, x, frame);
        break;
    case NGHTTP2_RST_STREAM:
        h2_budget_spend(s, H2_TOKEN_RESET);
        if (x) {
            x->x.reset_code = frame->rst_stream.error_code;
            x->failure = FAIL(stream_why(&x->x.s), -ERR_H2_RESET, "the peer reset the stream: %s",
                              nghttp2_http2_strerror(frame->rst_stream.error_code));
        }
        break;
    case NGHTTP2_SETTINGS:
        on_settings(s, frame);
        break;
    case NGHTTP2_PING:
        on_ping(s, frame);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(s, &frame->goaway);
        break;
    default: /* an open set */
        h2_budget_spend(s, H2_TOKEN_OTHER);
        break;
    }
    return 0;
}

/* A header block that nghttp2 decodes and then ignores, because its stream is closed or was skipped. */
static bool is_for_nobody(nghttp2_session *ng, const nghttp2_frame_hd *hd)
{
    return hd->type == NGHTTP2_HEADERS &&
           hd->stream_id <= nghttp2_session_get_last_proc_stream_id(ng) &&
           !nghttp2_session_find_stream(ng, hd->stream_id);
}

/* Every header that nghttp2 sees, also of frames it then ignores. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    struct h2_session *s = user;

    if (hd->type == NGHTTP2_CONTINUATION && hd->length == 0) {
        h2_budget_spend(s, H2_TOKEN_EMPTY);
    } else if (hd->type > NGHTTP2_CONTINUATION || (s->role == H2_SERVER && is_for_nobody(ng, hd))) {
        h2_budget_spend(s, H2_TOKEN_OTHER);
    }
    return 0;
}

/* Whether the peer gets credit for body octets that nobody wants. Past the limit it gets none until
 * the answer has left, and then a reset with NO_ERROR, which asks it to stop (RFC 9113 8.1). */
static bool may_skip(struct h2_session *s, struct h2_exchange *x, size_t len)
{
    if (!x) {
        return true;
    }
    bool before = x->skipped <= SKIP_MAX;
    x->skipped += before ? (uint32_t)len : 0;
    if (before && x->skipped > SKIP_MAX && x->send == H2_SEND_ENDED) {
        refuse_stream(s, x->id, NGHTTP2_NO_ERROR);
    }
    return x->skipped <= SKIP_MAX;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p,
                         size_t len, void *user)
{
    struct h2_session *s = user;
    struct h2_exchange *x = exchange_of(ng, id);
    bool wanted = x && !x->refused && x->holder != H2_HELD_LEFT;

    (void)flags;
    h2_budget_earn(s, len > 0 ? FRAMES_A_DATA : 0);
    if (wanted) {
        x->taken += len;
        if (s->o.body_bytes > 0 && x->taken > s->o.body_bytes) {
            /* Without credit the peer stops; the handler may still answer. */
            x->in_failure = FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "request body is too large");
            h2_wake(x);
        } else if (bytes_add(&x->in, p, len) < 0) {
            x->failure = FAIL(stream_why(&x->x.s), -ERR_LIMIT, "no memory for a body");
            refuse_stream(s, id, NGHTTP2_INTERNAL_ERROR);
        } else {
            s->stats.buffered += len;
            h2_wake(x);
        }
    }
    int r = nghttp2_session_consume_connection(ng, len);
    if (r == 0 && !wanted && may_skip(s, x, len)) {
        r = nghttp2_session_consume_stream(ng, id, len);
    }
    return r;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct h2_session *s = user;
    struct h2_exchange *x = exchange_of(ng, id);

    if (!x) {
        return 0;
    }
    if (code == NGHTTP2_REFUSED_STREAM && x->x.reach == EXCHANGE_SENT) {
        x->x.reach = EXCHANGE_UNSENT; /* RFC 9113 8.7: the server has not acted on it */
    }
    bool whole = x->recv == H2_RECV_ENDED && x->send == H2_SEND_ENDED;
    int why = x->failure;
    if (why == 0 && (!whole || code != NGHTTP2_NO_ERROR)) {
        bool refused = code == NGHTTP2_REFUSED_STREAM;
        x->x.reset_code = code;
        why = FAIL(stream_why(&x->x.s),
                   s->peer_leaves && refused ? -ERR_H2_GOAWAY
                   : refused                 ? -ERR_H2_RESET
                                             : -ERR_H2_PROTOCOL,
                   "the stream was closed: %s", nghttp2_http2_strerror(code));
    }
    if (x->holder == H2_HELD_NEW && x->recv == H2_RECV_HEAD) {
        h2_set_due(s, &s->head_due, 0);
        h2_note_refusal(x, 0,
                        NULL); /* malformed in nghttp2's eyes: its reset is all the client gets */
    }
    h2_exchange_orphan(x, why);
    return 0;
}

static bool is_our_doing(uint32_t code)
{
    return code == NGHTTP2_NO_ERROR || code == NGHTTP2_CANCEL || code == NGHTTP2_INTERNAL_ERROR;
}

static void goaway_sent(struct h2_session *s, uint32_t code)
{
    static const struct {
        uint32_t code;
        int why;
    } table[] = {{NGHTTP2_FLOW_CONTROL_ERROR, -ERR_H2_FLOW},
                 {NGHTTP2_ENHANCE_YOUR_CALM, -ERR_H2_ABUSE},
                 {NGHTTP2_INTERNAL_ERROR, -ENOMEM}};
    int why = -ERR_H2_PROTOCOL;

    if (code == NGHTTP2_NO_ERROR || s->failing < 0) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        why = table[i].code == code ? table[i].why : why;
    }
    h2_fail(s,
            FAIL(&s->diag, why, "the peer broke the protocol: %s", nghttp2_http2_strerror(code)));
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    struct h2_exchange *x = exchange_of(ng, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_RST_STREAM && !is_our_doing(frame->rst_stream.error_code)) {
        h2_budget_spend(s, H2_TOKEN_OWN_RESET);
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        goaway_sent(s, frame->goaway.error_code);
    } else if (frame->hd.type == NGHTTP2_DATA) {
        h2_budget_earn(s, frame->hd.length > 0 ? FRAMES_A_DATA : 0);
    }
    if (x && frame->hd.type == NGHTTP2_HEADERS && x->x.reach == EXCHANGE_UNSENT) {
        x->x.reach = EXCHANGE_SENT;
    }
    if (x && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
        x->send = H2_SEND_ENDED;
        h2_wake(x);
        /* Answered in full while the request still comes: a little more of it is let in, for clients
         * that take a reset for a failure; but not where the rest is what was wrong. */
        bool unwanted = x->refused || x->in_failure < 0 || x->skipped > SKIP_MAX;
        if (unwanted && x->holder == H2_HELD_LEFT && x->recv != H2_RECV_ENDED) {
            refuse_stream(s, x->id, NGHTTP2_NO_ERROR);
        }
    }
    return 0;
}

/* A request that never became a stream, because the peer leaves or the numbers ran out. */
static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *user)
{
    struct h2_session *s = user;

    (void)ng;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    list_for_each_safe (n, &s->streams) {
        struct h2_exchange *x = container_of(n, struct h2_exchange, in_streams);
        if (x->id == frame->hd.stream_id) {
            h2_exchange_orphan(x, FAIL(stream_why(&x->x.s),
                                       s->peer_leaves ? -ERR_H2_GOAWAY : -ERR_UNAVAILABLE,
                                       "no stream: %s", nghttp2_strerror(code)));
        }
    }
    return 0;
}

static void *ng_malloc(size_t size, void *user)
{
    (void)user;
    return mem_try(size, ALLOC_MAX);
}

static void ng_free(void *p, void *user)
{
    (void)user;
    mem_free(p);
}

static void *ng_calloc(size_t n, size_t size, void *user)
{
    size_t all;
    void *p = size_mul(n, size, &all) ? mem_try(all, ALLOC_MAX) : NULL;

    (void)user;
    return p ? memset(p, 0, all) : NULL;
}

static void *ng_realloc(void *p, size_t size, void *user)
{
    (void)user;
    return mem_try_resize(p, size, ALLOC_MAX);
}

/* Frames of unknown types are declared ours only to be counted: nghttp2 skips the others in silence. */
static int on_unknown_chunk(nghttp2_session *ng, const nghttp2_frame_hd *hd, const uint8_t *p,
                            size_t len, void *user)
{
    (void)ng;
    (void)hd;
    (void)p;
    (void)len;
    (void)user;
    return NGHTTP2_ERR_CANCEL;
}

static int on_unknown_end(nghttp2_session *ng, void **payload, const nghttp2_frame_hd *hd,
                          void *user)
{
    (void)ng;
    (void)payload;
    (void)hd;
    (void)user;
    return NGHTTP2_ERR_CANCEL;
}

static int set_callbacks(nghttp2_session_callbacks **out)
{
    int r = nghttp2_session_callbacks_new(out);

    if (r == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(*out, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(*out, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback2(*out, on_invalid_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(*out, on_frame_recv);
        nghttp2_session_callbacks_set_on_begin_frame_callback(*out, on_begin_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*out, on_data_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(*out, on_stream_close);
        nghttp2_session_callbacks_set_on_frame_send_callback(*out, on_frame_send);
        nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(*out, on_unknown_chunk);
        nghttp2_session_callbacks_set_unpack_extension_callback(*out, on_unknown_end);
        nghttp2_session_callbacks_set_send_data_callback(*out, h2_on_send_data);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(*out, on_frame_not_send);
    }
    return r;
}

/* Its limit on resets is lifted: it would end a connection whose clients merely cancel a lot, and
 * ours (h2_budget.c) counts more than resets. */
static int set_option(nghttp2_option **out)
{
    int r = nghttp2_option_new(out);

    if (r == 0) {
        nghttp2_option_set_no_auto_window_update(*out, 1);
        nghttp2_option_set_no_closed_streams(*out, 1);
        nghttp2_option_set_max_reserved_remote_streams(*out, 0);
        for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++) {
            nghttp2_option_set_user_recv_extension_type(*out, (uint8_t)type);
        }
        nghttp2_option_set_stream_reset_rate_limit(*out, NO_RATE_LIMIT, NO_RATE_LIMIT);
    }
    return r;
}

int h2_events_new(struct h2_session *s)
{
    nghttp2_mem mem = {
        .malloc = ng_malloc, .free = ng_free, .calloc = ng_calloc, .realloc = ng_realloc};
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int r = set_callbacks(&callbacks);

    r = r < 0 ? r : set_option(&option);
    if (r == 0 && s->role == H2_SERVER) {
        r = nghttp2_session_server_new3(&s->ng, callbacks, s, option, &mem);
    } else if (r == 0) {
        r = nghttp2_session_client_new3(&s->ng, callbacks, s, option, &mem);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return r < 0 ? -ENOMEM : 0;
}
