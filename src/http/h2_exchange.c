/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "http/h2_int.h"

enum {
    LEFT_MS = 30000,
    TRAILERS_BYTES_MAX = 16 << 10,
    SPARE_MAX = 16,
    SPARE_BYTES = 4096, /* of a body's buffer that is kept */
    NV_MAX = MESSAGE_FIELDS_MAX + MESSAGE_PARTS
};

static struct h2_exchange *of(struct stream *s)
{
    return container_of(s, struct h2_exchange, x.s);
}

static struct h2_exchange *of_x(struct exchange *x)
{
    return container_of(x, struct h2_exchange, x);
}

void h2_wake(struct h2_exchange *x)
{
    stream_wake(&x->x.s);
}

void h2_in_ended(struct h2_exchange *x)
{
    x->recv = H2_RECV_ENDED;
    /* Whoever forwards it must see that something comes behind the empty body. */
    x->x.in_over = x->in.len == 0 && x->x.in_trailers.count == 0;
    h2_wake(x);
}

static void kick(struct h2_exchange *x)
{
    if (list_is_empty(&x->in_kicked)) {
        list_append(&x->session->kicked, &x->in_kicked);
    }
    h2_kick(x->session);
}

/* Heads and trailers as nghttp2 wants them. */

static nghttp2_nv nv_of(struct slice name, struct slice value, uint8_t flags)
{
    /* nghttp2 copies both; its pointers are not const for historical reasons. */
    union {
        const char *in;
        uint8_t *out;
    } n = {name.p}, v = {value.p};

    return (nghttp2_nv){n.out, v.out, name.len, value.len, flags};
}

static bool is_secret(struct slice name)
{
    return slice_is(name, "authorization") || slice_is(name, "cookie");
}

/* Connection-level fields have no place in HTTP/2 (RFC 9113 8.2.2). */
static bool is_own_field(struct slice name)
{
    return slice_is(name, "connection") || slice_is(name, "transfer-encoding") ||
           slice_is(name, "keep-alive") || slice_is(name, "upgrade") ||
           slice_is(name, "proxy-connection");
}

/* What is wrong is noted in x, whose text is made only then. */
static int check_fields(struct h2_exchange *x, const struct message *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct message_field f = message_field(m, i);
        if (is_own_field(f.name) ||
            !nghttp2_check_header_name((const uint8_t *)f.name.p, f.name.len) ||
            !nghttp2_check_header_value((const uint8_t *)f.value.p, f.value.len)) {
            return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "field that cannot be sent: %.*s",
                        (int)MIN_OF(f.name.len, (size_t)40), f.name.p);
        }
    }
    return message_is_whole(m)
               ? 0
               : FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "message head is too large");
}

/* Behind the n that are there: how many then. but: left out; "": none. */
static size_t put_fields_but(const struct message *m, const char *but, nghttp2_nv *out, size_t n)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct message_field f = message_field(m, i);
        if (*but && slice_is(f.name, but)) {
            continue;
        }
        out[n++] = nv_of(f.name, f.value, is_secret(f.name) ? NGHTTP2_NV_FLAG_NO_INDEX : 0);
    }
    return n;
}

static size_t put_fields(const struct message *m, nghttp2_nv *out, size_t n)
{
    return put_fields_but(m, "", out, n);
}

static size_t put_parts(const struct message *m, nghttp2_nv *out)
{
    static const struct {
        const char *name;
        enum message_part part;
    } order[] = {{":method", MESSAGE_METHOD},
                 {":scheme", MESSAGE_SCHEME},
                 {":authority", MESSAGE_AUTHORITY},
                 {":path", MESSAGE_PATH}};
    size_t n = 0;

    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        struct slice value = message_get(m, order[i].part);
        if (value.len > 0) {
            out[n++] = nv_of(slice_of(order[i].name), value, 0);
        }
    }
    return n;
}

static int submit_trailers(struct h2_exchange *x)
{
    UNINITIALIZED nghttp2_nv nv[NV_MAX];

    return nghttp2_submit_trailer(x->session->ng, x->id, nv, put_fields(&x->trailers, nv, 0));
}

void h2_end_upgrade(struct h2_exchange *x)
{
    x->send = H2_SEND_ENDING;
    kick(x);
}

/* Called by nghttp2 when it could send body. */
static ssize_t on_body_wanted(nghttp2_session *ng, int32_t id, uint8_t *into, size_t room,
                              uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_exchange *x = nghttp2_session_get_stream_user_data(ng, id);

    (void)into;
    (void)source;
    (void)user;
    if (!x) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* its owner has cut it */
    }
    size_t n = MIN_OF(room, x->out.len);
    if (n == 0 && x->send != H2_SEND_ENDING) {
        x->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY; /* h2_on_send_data takes it from where it is */
    if (n == x->out.len && x->send == H2_SEND_ENDING) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (x->trailers.count > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            return submit_trailers(x) < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : (ssize_t)n;
        }
    }
    return (ssize_t)n;
}

int h2_on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
                    nghttp2_data_source *source, void *user)
{
    struct h2_exchange *x = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);

    (void)source;
    if (!x) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    int r = h2_send_data(user, head, bytes_peek(&x->out), len);
    if (r < 0) {
        return r == -EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (len > 0) {
        bytes_skip(&x->out, len);
        h2_wake(x); /* there is room again, or less to flush */
    }
    return 0;
}

/* Nothing but the head: it carries the end of the stream. */
static bool ends_with_head(const struct h2_exchange *x)
{
    return x->send == H2_SEND_ENDING && x->out.len == 0 && x->trailers.count == 0;
}

static nghttp2_nv status_nv(unsigned status, char text[static 4])
{
    text[0] = (char)('0' + status / 100 % 10);
    text[1] = (char)('0' + status / 10 % 10);
    text[2] = (char)('0' + status % 10);
    text[3] = '\0';
    return nv_of(slice_of(":status"), (struct slice){text, 3}, 0);
}

static int submit_head(struct h2_exchange *x)
{
    nghttp2_data_provider body = {.read_callback = on_body_wanted};
    UNINITIALIZED nghttp2_nv nv[NV_MAX];
    char status[4];
    int r = 0;

    nv[0] = status_nv(x->head.status, status);
    size_t n = put_fields(&x->head, nv, 1);
    if (nghttp2_submit_response(x->session->ng, x->id, nv, n, ends_with_head(x) ? NULL : &body) <
        0) {
        r = FAIL(stream_why(&x->x.s), -ENOMEM, "no memory for a response");
    }
    if (x->send == H2_SEND_ENDING) { /* soon over: its memory serves the next */
        message_clear(&x->head);
    } else {
        message_fini(&x->head);
    }
    return r;
}

static void reset(struct h2_exchange *x, uint32_t code)
{
    if (nghttp2_submit_rst_stream(x->session->ng, NGHTTP2_FLAG_NONE, x->id, code) < 0) {
        h2_fail(x->session, -ENOMEM);
    }
}

void h2_exchange_submit(struct h2_exchange *x)
{
    bool queued = x->session->role == H2_SERVER && x->head.status > 0;
    int r = 0;

    if (queued) {
        r = submit_head(x);
        x->send = x->send == H2_SEND_QUEUED ? H2_SEND_BODY : x->send;
        h2_wake(x); /* flush has said that the head was on its way */
    } else if (x->deferred) {
        x->deferred = false;
        r = nghttp2_session_resume_data(x->session->ng, x->id) == NGHTTP2_ERR_NOMEM ? -ENOMEM : 0;
    }
    if (r < 0) {
        x->failure = r;
        reset(x, NGHTTP2_INTERNAL_ERROR);
    }
}

/* Extended CONNECT, of what would be a GET in HTTP/1.1. A stream needs no proof that its request was
 * read, hence no key (RFC 8441 4, 5). */
static size_t put_upgrade(const struct message *m, nghttp2_nv *out)
{
    size_t n = put_parts(m, out);

    out[0] = nv_of(slice_of(":method"), slice_of("CONNECT"), 0);
    out[n++] = nv_of(slice_of(":protocol"), message_get(m, MESSAGE_PROTOCOL), 0);
    return put_fields_but(m, "sec-websocket-key", out, n);
}

int h2_exchange_request(struct h2_exchange *x, const struct message *head, bool end)
{
    nghttp2_data_provider body = {.read_callback = on_body_wanted};
    UNINITIALIZED nghttp2_nv nv[NV_MAX];
    int r = check_fields(x, head);

    x->upgrade = message_get(head, MESSAGE_PROTOCOL).len > 0;
    if (r == 0 && x->upgrade && h2_session_upgrades(x->session) != 0) {
        r = FAIL(stream_why(&x->x.s), -ERR_UNSUPPORTED,
                 "the server offers no change of protocol over HTTP/2");
    }
    if (r < 0) {
        return r;
    }
    size_t n = x->upgrade ? put_upgrade(head, nv) : put_fields(head, nv, put_parts(head, nv));
    end = end && !x->upgrade; /* what follows the answer goes on its stream */
    x->send = end ? H2_SEND_ENDING : H2_SEND_BODY;
    x->id = nghttp2_submit_request(x->session->ng, NULL, nv, n, end ? NULL : &body, x);
    return x->id > 0
               ? 0
               : FAIL(stream_why(&x->x.s), -ERR_LIMIT, "no stream: %s", nghttp2_strerror(x->id));
}

/* The body that comes */

static void give_credit(struct h2_exchange *x, size_t n)
{
    struct h2_session *s = x->session;

    if (!s) {
        return;
    }
    s->stats.buffered -= n;
    if (x->recv != H2_RECV_ENDED) {
        if (nghttp2_session_consume_stream(s->ng, x->id, n) < 0) {
            h2_fail(s, -ENOMEM);
        }
        h2_kick(s);
    }
}

/* What reading answers when nothing is buffered. */
static int nothing_to_read(struct h2_exchange *x)
{
    if (x->recv == H2_RECV_ENDED) {
        x->x.in_over = true;
        return 0;
    }
    if (x->in_failure < 0) {
        return x->in_failure;
    }
    return x->failure < 0 ? x->failure : x->session ? -EAGAIN : -ECONNRESET;
}

static void x_skip(struct stream *s, size_t n)
{
    struct h2_exchange *x = of(s);

    bytes_skip(&x->in, n);
    if (x->in.len == 0) {
        if (x->recv != H2_RECV_ENDED) {
            bytes_shrink(&x->in); /* else it is soon over */
        }
        x->x.in_over = x->recv == H2_RECV_ENDED && x->x.in_trailers.count == 0;
    }
    give_credit(x, n);
}

static int submit_interim(struct h2_exchange *x, const struct message *m)
{
    UNINITIALIZED nghttp2_nv nv[NV_MAX];
    char status[4];
    int r = check_fields(x, m);

    nv[0] = status_nv(m->status, status);
    size_t n = put_fields(m, nv, 1);
    if (r == 0 &&
        nghttp2_submit_headers(x->session->ng, NGHTTP2_FLAG_NONE, x->id, NULL, nv, n, NULL) < 0) {
        r = FAIL(stream_why(&x->x.s), -ENOMEM, "no memory for a response");
    }
    x->owes_continue &= m->status != 100;
    x->interims++;
    h2_kick(x->session);
    return r;
}

static int send_interim(struct h2_exchange *x, const struct message *m)
{
    if (x->interims == EXCHANGE_INTERIM_MAX) {
        return FAIL(stream_why(&x->x.s), -ERR_LIMIT, "too many interim responses");
    }
    return m->status == 100 && !x->owes_continue ? 0 : submit_interim(x, m);
}

/* The client waits for permission to send its body: reading it is the permission. */
static int give_continue(struct h2_exchange *x)
{
    AUTO(message) struct message m = {.status = 100};

    if (!x->owes_continue || !x->session || x->session->o.continue_by_owner ||
        x->send != H2_SEND_HEAD || x->taken > 0) {
        return 0;
    }
    return submit_interim(x, &m);
}

/* Nothing is there: what a reader is told. */
static int wait_for_body(struct h2_exchange *x)
{
    int r = nothing_to_read(x);
    int c = r == -EAGAIN ? give_continue(x) : 0;

    return c < 0 ? c : r;
}

static ssize_t x_read(struct stream *s, void *into, size_t room)
{
    struct h2_exchange *x = of(s);
    size_t n = MIN_OF(room, x->in.len);

    if (n == 0) {
        return wait_for_body(x);
    }
    memcpy(into, bytes_peek(&x->in), n);
    x_skip(s, n);
    return (ssize_t)n;
}

static int x_peek(struct stream *s, struct iovec *out, int max)
{
    struct h2_exchange *x = of(s);

    (void)max; /* one piece is all there ever is */
    if (x->in.len == 0) {
        return wait_for_body(x);
    }
    out[0] = (struct iovec){x->in.p + x->in.head, x->in.len};
    return 1;
}

/* What we send */

static int cannot_send(const struct h2_exchange *x)
{
    return x->failure < 0 ? x->failure : -ECONNRESET;
}

static ssize_t x_write(struct stream *s, const void *from, size_t len)
{
    struct h2_exchange *x = of(s);

    if (!x->session || x->failure < 0) {
        return cannot_send(x);
    }
    if (x->send != H2_SEND_BODY && x->send != H2_SEND_QUEUED) {
        return FAIL(stream_why(s), -EINVAL, "not the time for a body");
    }
    if (message_is_method(&x->x.in, "HEAD")) {
        return (ssize_t)len;
    }
    if (x->counted && len > x->out_left) {
        return FAIL(stream_why(s), -ERR_TOO_LARGE, "more body than content-length said");
    }
    size_t n = MIN_OF(len, bytes_room(&x->out));
    if (n == 0) {
        return -EAGAIN;
    }
    if (bytes_add(&x->out, from, n) < 0) {
        return FAIL(stream_why(s), -ERR_LIMIT, "no memory for a body");
    }
    x->out_left -= x->counted ? n : 0;
    kick(x);
    return (ssize_t)n;
}

static ssize_t x_writev(struct stream *s, const struct iovec *from, int count)
{
    size_t taken = 0;

    for (int i = 0; i < count; i++) {
        ssize_t n = from[i].iov_len > 0 ? x_write(s, from[i].iov_base, from[i].iov_len) : 0;
        if (n < 0) {
            return taken > 0 && n == -EAGAIN ? (ssize_t)taken : n;
        }
        taken += (size_t)n;
        if ((size_t)n < from[i].iov_len) {
            break;
        }
    }
    return (ssize_t)taken;
}

static int x_flush(struct stream *s)
{
    struct h2_exchange *x = of(s);
    bool waits = x->out.len > 0 || x->send == H2_SEND_QUEUED || x->send == H2_SEND_ENDING;

    if (!x->session || x->failure < 0) {
        return x->send == H2_SEND_ENDED ? 0 : cannot_send(x);
    }
    /* What nghttp2 has taken is the session's, which sends it whatever becomes of us. */
    return waits ? -EAGAIN : 0;
}

static int x_finish(struct exchange *e, const struct message *trailers)
{
    struct h2_exchange *x = of_x(e);

    if (x->send == H2_SEND_ENDING || x->send == H2_SEND_ENDED) {
        return 0;
    }
    if (!x->session || x->failure < 0) {
        return cannot_send(x);
    }
    if (x->send == H2_SEND_HEAD || (x->counted && x->out_left > 0)) {
        return FAIL(stream_why(&e->s), -EINVAL, "the response is not complete");
    }
    int r = trailers ? check_fields(x, trailers) : 0;
    for (unsigned i = 0; r == 0 && trailers && i < trailers->count; i++) {
        struct message_field f = message_field(trailers, i);
        message_add(&x->trailers, f.name, f.value);
    }
    if (r < 0 || !message_is_whole(&x->trailers)) {
        return r < 0 ? r : FAIL(stream_why(&e->s), -ERR_TOO_LARGE, "trailers are too large");
    }
    x->send = H2_SEND_ENDING;
    kick(x);
    return 0;
}

static int x_shut(struct stream *s)
{
    return x_finish(&of(s)->x, NULL);
}

static int copy_head(struct message *to, const struct message *from)
{
    message_copy(to, from);
    if (from->status == 101) {
        /* What was agreed to needs no proof of having been read (RFC 8441 5). */
        to->status = 200;
        (void)message_remove(to, "sec-websocket-accept");
    } else if (from->status == 204) {
        (void)message_remove(to, "content-length");
    }
    return message_is_whole(to) ? 0 : -ERR_TOO_LARGE;
}

/* HEAD, 204 and 304 may name a length without a body. */
static int promise_length(struct h2_exchange *x, const struct message *m)
{
    struct slice length;

    if (!message_find(m, "content-length", &length)) {
        return 0;
    }
    if (num_parse_u64(length.p, length.len, INT64_MAX, &x->out_left) < 0) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "content-length is not a number");
    }
    x->counted = !message_is_method(&x->x.in, "HEAD") && m->status != 204 && m->status != 304;
    return 0;
}

static int x_send(struct exchange *e, const struct message *m)
{
    struct h2_exchange *x = of_x(e);

    if (!x->session || x->failure < 0) {
        return cannot_send(x);
    }
    if (x->session->role != H2_SERVER || x->send != H2_SEND_HEAD || m->status < 100 ||
        m->status > 599 || (m->status == 101 && !x->upgrade)) {
        return FAIL(stream_why(&e->s), -EINVAL, "not the time for a head with status %u",
                    m->status);
    }
    if (m->status < 200 && m->status != 101) {
        return send_interim(x, m);
    }
    if (x->upgrade && m->status >= 200 && m->status <= 299) {
        return FAIL(stream_why(&e->s), -ERR_HTTP_STATUS,
                    "status %u without a change of protocol would read as one", m->status);
    }
    int r = check_fields(x, m);
    r = r < 0 ? r : promise_length(x, m);
    if (r == 0 && copy_head(&x->head, m) < 0) {
        r = FAIL(stream_why(&e->s), -ERR_TOO_LARGE, "response head is too large");
    }
    if (r < 0) {
        message_fini(&x->head);
        return r;
    }
    x->send = H2_SEND_QUEUED;
    kick(x);
    return 0;
}

/* 1: `in` is the next interim response. */
static int show_interim(struct h2_exchange *x)
{
    message_take(&x->x.in, &x->interim[0]);
    x->interim_count--;
    message_fini(&x->interim[0]);
    memmove(x->interim, x->interim + 1, x->interim_count * sizeof(*x->interim));
    x->interim[x->interim_count] = (struct message){.limit = x->x.in.limit};
    return 1;
}

static int x_head(struct exchange *e)
{
    struct h2_exchange *x = of_x(e);

    if (x->interim_count > 0) {
        return show_interim(x);
    }
    if (x->arrived) {
        message_take(&x->x.in, &x->head);
        x->arrived = false;
    }
    if (x->recv != H2_RECV_HEAD) {
        return 0;
    }
    return x->failure < 0 ? x->failure : x->session ? -EAGAIN : -ECONNRESET;
}

static struct stream *x_transport(struct exchange *e)
{
    struct h2_exchange *x = of_x(e);

    return x->session ? x->session->below : NULL;
}

/* Life */

static void forget_input(struct h2_exchange *x)
{
    size_t n = x->in.len;

    if (n > 0) {
        x_skip(&x->x.s, n);
    }
}

/* All of it was sent, or will be if its owner does not give it up. */
static bool is_answered(const struct h2_exchange *x, int why)
{
    return x->send == H2_SEND_ENDED || (x->send == H2_SEND_ENDING && why == 0);
}

/* Its owner has closed it. */
static void take_back(struct h2_exchange *x)
{
    if (x->given_by) {
        x->given_by->given_out--;
        x->given_by = NULL;
        list_remove(&x->in_given);
    }
}

/* Lets go of a stream that nobody owns any more: what was promised still leaves. */
static void leave(struct h2_exchange *x)
{
    struct h2_session *s = x->session;

    take_back(x);
    x->holder = H2_HELD_LEFT;
    if (x->send == H2_SEND_ENDED && x->recv != H2_RECV_ENDED && x->in_failure < 0) {
        reset(x, NGHTTP2_NO_ERROR);
    }
    if (s->left_due == 0) {
        h2_set_due(s, &s->left_due, LEFT_MS);
    }
    h2_kick(s);
}

static uint32_t code_for(const struct h2_exchange *x, int why)
{
    if (x->session->role == H2_CLIENT || why == -ERR_CANCELLED || why == -ERR_H2_RESET ||
        why == -ERR_POLICY_CHANGED) {
        return NGHTTP2_CANCEL;
    }
    return NGHTTP2_INTERNAL_ERROR;
}

static void x_close(struct stream *st, int why)
{
    struct h2_exchange *x = of(st);
    struct h2_session *s = x->session;

    if (!s) {
        h2_exchange_free(x);
        return;
    }
    forget_input(x);
    /* A client that closes has no use for the rest of the response; a server's answer must arrive. */
    bool stays = is_answered(x, why) && (s->role == H2_SERVER || x->recv == H2_RECV_ENDED);
    if (stays) {
        leave(x);
        return;
    }
    reset(x, code_for(x, why));
    (void)nghttp2_session_set_stream_user_data(s->ng, x->id, NULL); /* fails only without stream */
    h2_kick(s);
    h2_exchange_free(x);
}

static const struct stream_ops stream_ops = {
    .name = "h2 exchange",
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
    .name = "h2",
    .head = x_head,
    .send = x_send,
    .finish = x_finish,
    .transport = x_transport,
};

/* ---- memory: most exchanges are like the one before */

static void destroy(struct h2_exchange *x)
{
    bytes_fini(&x->in);
    bytes_fini(&x->out);
    stream_fini(&x->x.s);
    message_fini(&x->x.in);
    message_fini(&x->x.in_trailers);
    message_fini(&x->head);
    message_fini(&x->trailers);
    for (unsigned i = 0; i < x->interim_count; i++) {
        message_fini(&x->interim[i]);
    }
    mem_free(x->interim);
    mem_free(x);
}

void h2_exchange_drop_spare(struct h2_session *s, unsigned count)
{
    for (; count > 0; count--, s->spare_count--) {
        destroy(container_of(list_take_first(&s->spare), struct h2_exchange, in_streams));
        if (s->spare_count == 1) {
            loop_rest_stop(&s->rest);
        }
    }
    s->spare_least = s->spare_count;
}

static void rest(struct loop_rest *r)
{
    struct h2_session *s = container_of(r, struct h2_session, rest);
    struct loop *l = s->task.loop;

    h2_exchange_drop_spare(s, s->spare_least);
    if (s->spare_count > 0) {
        loop_stir(l);
    }
}

static void clear_bytes(struct bytes *b)
{
    bytes_skip(b, b->len);
    if (b->room > SPARE_BYTES) {
        bytes_shrink(b);
    }
}

/* The object as it was when it was made, but for the memory that it has. */
static void wipe(struct h2_exchange *x)
{
    clear_bytes(&x->in);
    clear_bytes(&x->out);
    message_shrink(&x->x.in);
    message_shrink(&x->x.in_trailers);
    message_shrink(&x->head);
    message_shrink(&x->trailers);
    stream_fini(&x->x.s);
    *x = (struct h2_exchange){.x = {.in = x->x.in, .in_trailers = x->x.in_trailers},
                              .in = x->in,
                              .out = x->out,
                              .head = x->head,
                              .trailers = x->trailers};
}

static void put_aside(struct h2_session *s, struct h2_exchange *x)
{
    wipe(x);
    list_prepend(&s->spare, &x->in_streams);
    if (s->spare_count++ == 0) {
        s->rest.rest = rest;
        loop_rest_start(s->task.loop, &s->rest);
        s->spare_least = 0;
    }
    loop_stir(s->task.loop);
}

static struct h2_exchange *take_spare(struct h2_session *s)
{
    struct list *n = list_take_first(&s->spare);

    if (!n) {
        return NULL;
    }
    if (--s->spare_count == 0) {
        loop_rest_stop(&s->rest);
    }
    s->spare_least = MIN_OF(s->spare_least, s->spare_count);
    return container_of(n, struct h2_exchange, in_streams);
}

static struct h2_exchange *make(struct h2_session *s)
{
    struct h2_exchange *x = mem_new(struct h2_exchange);

    /* The peer's credit is the window that was in force when it sent: ours may have shrunk since. */
    bytes_init(&x->in, MAX_OF(s->o.stream_window, (uint32_t)NGHTTP2_INITIAL_WINDOW_SIZE));
    bytes_init(&x->out, s->o.send_buffer_bytes);
    message_init(&x->x.in, s->o.header_list_bytes);
    message_init(&x->x.in_trailers,
                 MIN_OF(s->o.header_list_bytes, (uint32_t)H1_TRAILERS_BYTES_MAX));
    message_init(&x->head, s->o.header_list_bytes);
    message_init(&x->trailers, TRAILERS_BYTES_MAX);
    return x;
}

struct h2_exchange *h2_exchange_new(struct h2_session *s, enum h2_holder holder)
{
    struct h2_exchange *x = take_spare(s);

    x = x ? x : make(s);
    x->x.s.ops = &stream_ops;
    x->x.ops = &exchange_ops;
    x->x.version = EXCHANGE_HTTP2;
    x->session = s;
    x->holder = holder;
    list_init(&x->in_ready);
    list_init(&x->in_kicked);
    list_init(&x->in_given);
    list_append(&s->streams, &x->in_streams);
    s->stats.streams++;
    return x;
}

static void detach(struct h2_exchange *x)
{
    if (x->session) {
        if (x->session->role == H2_CLIENT) {
            h2_wake_owner(x->session); /* there is room for another one */
        }
        list_remove(&x->in_streams);
        list_remove(&x->in_ready);
        list_remove(&x->in_kicked);
        x->session->stats.streams--;
        x->session->stats.buffered -= x->in.len;
        x->session = NULL;
    }
}

void h2_exchange_free(struct h2_exchange *x)
{
    struct h2_session *s = x->session ? x->session : x->given_by;
    bool stays = s && s->step != H2_OVER && s->spare_count < SPARE_MAX && !x->interim;

    detach(x);
    take_back(x);
    if (stays) {
        put_aside(s, x);
    } else {
        destroy(x);
    }
}

void h2_exchange_orphan(struct h2_exchange *x, int why)
{
    if (x->holder != H2_HELD_OWNER) {
        h2_exchange_free(x);
        return;
    }
    detach(x);
    x->failure = why;
    h2_wake(x);
}
