/* SPDX-License-Identifier: Apache-2.0 */
/* What we send: heads, and bodies in their framing. Every name and value is checked again here, whoever
 * made it: a line end in one of them would be a message of somebody else's making. */
#include "base/ascii.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/rand.h"
#include "codec/base64.h"
#include "http/h1_int.h"
#include "http/status.h"
#include "tls/websocket.h"

enum { DIRECT_BYTES = 8 << 10, PIECES = 34, HEAD_ROOM = 4096 };

static bool is_lower_case(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (ascii_is_upper(s.p[i])) {
            return false;
        }
    }
    return true;
}

static bool is_clean(struct message_field f)
{
    bool edged = f.value.len > 0 && (slice_trim(f.value).len != f.value.len);

    return h1_is_token(f.name) && is_lower_case(f.name) && h1_is_value(f.value) && !edged;
}

static int put_field(struct h1_exchange *x, struct message_field f, struct bytes *out)
{
    size_t len = f.name.len + f.value.len + 4;
    uint8_t *p;

    if (h1_is_hop_field(f.name) || !is_clean(f)) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "field that cannot be sent: %.*s",
                    (int)MIN_OF(f.name.len, (size_t)40), f.name.p);
    }
    p = bytes_reserve(out, len);
    if (!p) {
        return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "head is too large");
    }
    memcpy(p, f.name.p, f.name.len);
    memcpy(p + f.name.len, ": ", 2);
    if (f.value.len > 0) {
        memcpy(p + f.name.len + 2, f.value.p, f.value.len);
    }
    memcpy(p + len - 2, "\r\n", 2);
    bytes_commit(out, len);
    return 0;
}

static int put_fields(struct h1_exchange *x, const struct message *m, struct bytes *out)
{
    /* A status that has no body has no length either (RFC 9110 8.6). */
    bool no_length = m->status == 204 || (m->status > 0 && m->status < 200);
    int r = 0;

    for (unsigned i = 0; i < m->count && r == 0; i++) {
        struct message_field f = message_field(m, i);
        if (no_length && slice_is(f.name, "content-length")) {
            continue;
        }
        r = put_field(x, f, out);
    }
    return r;
}

static int put_text(struct h1_exchange *x, struct bytes *out, struct slice text)
{
    return bytes_add(out, text.p, text.len) == 0
               ? 0
               : FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "head is too large");
}

/* Memory at once for a head and a small body, not step by step. Short of it, the writing fails. */
static void make_room(struct bytes *out)
{
    if (!out->p) {
        (void)bytes_reserve(out, HEAD_ROOM);
    }
}

/* A head that could not be written in full leaves no trace. */
static int undo(struct bytes *out, size_t len, int r)
{
    if (r < 0) {
        out->len = len;
    }
    return r;
}

/* content-length: at most one, a number. False: there is none. */
static int given_length(struct h1_exchange *x, const struct message *m, bool *has)
{
    struct slice text;
    int at = message_find_next(m, "content-length", 0);

    *has = at >= 0;
    if (!*has) {
        return 0;
    }
    text = message_field(m, (unsigned)at).value;
    if (num_parse_u64(text.p, text.len, INT64_MAX, &x->out_left) < 0 ||
        message_find_next(m, "content-length", (unsigned)at + 1) >= 0) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "content-length is not one number");
    }
    return 0;
}

/* Responses */

/* How the end of the body will be known (RFC 9112 6.3); may refuse a bad content-length. */
static int choose_framing(struct h1_exchange *x, const struct message *m, enum h1_out *out)
{
    bool counted = false;
    int r = given_length(x, m, &counted);

    if (r < 0) {
        return r;
    }
    if (x->to_head || m->status == 204 || m->status == 304) {
        *out = H1_OUT_SILENT;
    } else if (counted) {
        *out = H1_OUT_COUNTED;
    } else {
        *out = x->x.version == EXCHANGE_HTTP11 ? H1_OUT_CHUNKED : H1_OUT_TO_CLOSE;
    }
    return 0;
}

static int put_date(struct h1_exchange *x, struct bytes *out)
{
    char date[HTTP_DATE_TEXT];

    http_date(clock_wall_s(), date);
    int r = put_text(x, out, slice_of("date: "));
    r = r < 0 ? r : put_text(x, out, slice_of(date));
    return r < 0 ? r : put_text(x, out, slice_of("\r\n"));
}

static int put_own_fields(struct h1_exchange *x, const struct message *m, enum h1_out framing,
                          struct bytes *out)
{
    int r = 0;

    if (framing == H1_OUT_CHUNKED) {
        r = put_text(x, out, slice_of("transfer-encoding: chunked\r\n"));
    }
    if (r == 0 && message_find_next(m, "date", 0) < 0) {
        r = put_date(x, out);
    }
    if (r == 0 && x->conn->last) {
        r = put_text(x, out, slice_of("connection: close\r\n"));
    }
    return r < 0 ? r : put_text(x, out, slice_of("\r\n"));
}

static int put_status_line(struct h1_exchange *x, unsigned status, struct bytes *out)
{
    char text[] = "HTTP/1.1 000 ";

    text[9] = (char)('0' + status / 100);
    text[10] = (char)('0' + status / 10 % 10);
    text[11] = (char)('0' + status % 10);
    int r = put_text(x, out, slice_of(text));
    r = r < 0 ? r : put_text(x, out, slice_of(http_reason(status)));
    return r < 0 ? r : put_text(x, out, slice_of("\r\n"));
}

/* The client may have left already, and may still hold a body back: no telling what comes next. */
static bool must_be_last(const struct h1_exchange *x, enum h1_out framing)
{
    bool held_back = x->owes_continue && x->in_taken == 0 && x->conn->in.len == 0;

    return framing == H1_OUT_TO_CLOSE || held_back;
}

static int send_final(struct h1_exchange *x, const struct message *m)
{
    struct bytes *out = &x->conn->out;
    enum h1_out framing = H1_OUT_ENDED;
    size_t before = out->len;
    int r = choose_framing(x, m, &framing);

    if (r < 0) {
        return r;
    }
    make_room(out);
    x->conn->last |= must_be_last(x, framing);
    r = put_status_line(x, m->status, out);
    r = r < 0 ? r : put_fields(x, m, out);
    r = r < 0 ? r : put_own_fields(x, m, framing, out);
    if (r == 0) {
        x->out = framing;
        h1_kick(x->conn);
    }
    return undo(out, before, r);
}

static int send_interim(struct h1_exchange *x, const struct message *m)
{
    struct bytes *out = &x->conn->out;
    size_t before = out->len;

    if (x->interims == EXCHANGE_INTERIM_MAX) {
        return FAIL(stream_why(&x->x.s), -ERR_LIMIT, "too many interim responses");
    }
    if (x->x.version == EXCHANGE_HTTP10 || (m->status == 100 && !x->owes_continue)) {
        return 0;
    }
    int r = put_status_line(x, m->status, out);
    r = r < 0 ? r : put_fields(x, m, out);
    r = r < 0 ? r : put_text(x, out, slice_of("\r\n"));
    if (r == 0) {
        x->interims++;
        x->owes_continue &= m->status != 100;
        h1_kick(x->conn);
    }
    return undo(out, before, r);
}

/* What a server says that took the request over HTTP/2 lacks the proof of having read it (RFC 8441 5). */
static int put_websocket_accept(struct h1_exchange *x, const struct message *m, struct bytes *out)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct slice key;

    if (message_find_next(m, "sec-websocket-accept", 0) >= 0 ||
        !message_find(&x->x.in, "sec-websocket-key", &key)) {
        return 0;
    }
    strbuf_puts(&text, "sec-websocket-accept: ");
    if (websocket_accept(key, &text) < 0) {
        return FAIL(stream_why(&x->x.s), -ENOMEM, "no memory for a hash");
    }
    strbuf_puts(&text, "\r\n");
    return put_text(x, out, (struct slice){text.p, text.len});
}

/* From here on the connection is the new protocol's. */
static int send_switch(struct h1_exchange *x, const struct message *m)
{
    struct bytes *out = &x->conn->out;
    size_t before = out->len;

    if (x->upgrade.len == 0) {
        return FAIL(stream_why(&x->x.s), -EINVAL,
                    "status 101 for a request that asks for no protocol");
    }
    int r = put_status_line(x, m->status, out);
    r = r < 0 ? r : put_fields(x, m, out);
    r = r < 0 ? r : put_websocket_accept(x, m, out);
    r = r < 0 ? r : put_text(x, out, slice_of("connection: upgrade\r\nupgrade: "));
    r = r < 0 ? r : put_text(x, out, x->upgrade);
    r = r < 0 ? r : put_text(x, out, slice_of("\r\n\r\n"));
    if (r == 0) {
        x->out = H1_OUT_TO_CLOSE;
        x->in = H1_IN_TO_CLOSE;
        x->x.in_over = false;
        x->conn->last = true;
        h1_kick(x->conn);
    }
    return undo(out, before, r);
}

int h1_send_head(struct h1_exchange *x, const struct message *m)
{
    if (x->conn->client || x->out != H1_OUT_HEAD || m->status < 100 || m->status > 599) {
        return FAIL(stream_why(&x->x.s), -EINVAL, "not the time for a head with status %u",
                    m->status);
    }
    if (!message_is_whole(m)) {
        return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "response head is too large");
    }
    return m->status >= 200   ? send_final(x, m)
           : m->status == 101 ? send_switch(x, m)
                              : send_interim(x, m);
}

/* Requests */

static int check_request(struct h1_exchange *x, const struct message *m)
{
    struct slice method = message_get(m, MESSAGE_METHOD);
    struct slice path = message_get(m, MESSAGE_PATH);
    bool rooted = path.len > 0 && path.p[0] == '/';

    if (!message_is_whole(m)) {
        return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "request head is too large");
    }
    if (!h1_is_token(method) || method.len > H1_METHOD_MAX || slice_is(method, "CONNECT")) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "method that cannot be sent");
    }
    if (!h1_is_target(path) || !(rooted || (slice_is(path, "*") && slice_is(method, "OPTIONS")))) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "path that cannot be sent");
    }
    if (!h1_is_host(message_get(m, MESSAGE_AUTHORITY)) || message_find_next(m, "host", 0) >= 0) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "authority that cannot be sent");
    }
    struct slice protocol = message_get(m, MESSAGE_PROTOCOL);
    if (protocol.len > 0 && !slice_is(protocol, "websocket")) {
        return FAIL(stream_why(&x->x.s), -ERR_UNSUPPORTED,
                    "upgrade to another protocol than websocket");
    }
    return 0;
}

static int put_request_line(struct h1_exchange *x, const struct message *m, struct bytes *out)
{
    int r = put_text(x, out, message_get(m, MESSAGE_METHOD));

    r = r < 0 ? r : put_text(x, out, slice_of(" "));
    r = r < 0 ? r : put_text(x, out, message_get(m, MESSAGE_PATH));
    r = r < 0 ? r : put_text(x, out, slice_of(" HTTP/1.1\r\nhost: "));
    r = r < 0 ? r : put_text(x, out, message_get(m, MESSAGE_AUTHORITY));
    return r < 0 ? r : put_text(x, out, slice_of("\r\n"));
}

/* A method for which no body is a statement of its own (RFC 9110 8.6). */
static bool wants_length(const struct message *m)
{
    return message_is_method(m, "POST") || message_is_method(m, "PUT") ||
           message_is_method(m, "PATCH");
}

static int request_framing(struct h1_exchange *x, const struct message *m, bool end,
                           const char **field)
{
    bool counted = false;
    int r = given_length(x, m, &counted);

    if (r < 0) {
        return r;
    }
    if (end && counted && x->out_left > 0) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "a content-length and no body");
    }
    if (x->upgrade.len > 0 && (counted || !end)) {
        return FAIL(stream_why(&x->x.s), -ERR_SYNTAX, "a body before the change of protocol");
    }
    *field = end && !counted && wants_length(m) ? "content-length: 0\r\n"
             : !end && !counted                 ? "transfer-encoding: chunked\r\n"
                                                : "";
    x->out = end ? H1_OUT_ENDED : counted ? H1_OUT_COUNTED : H1_OUT_CHUNKED;
    return 0;
}

/* A request that came as extended CONNECT (RFC 8441) has none. */
static int put_websocket_key(struct h1_exchange *x, const struct message *m, struct bytes *out)
{
    uint8_t nonce[16];
    AUTO(strbuf) struct strbuf text = {0};

    if (message_find_next(m, "sec-websocket-key", 0) >= 0) {
        return 0;
    }
    rand_bytes(nonce, sizeof(nonce));
    strbuf_puts(&text, "sec-websocket-key: ");
    base64_encode(&text, nonce, sizeof(nonce));
    strbuf_puts(&text, "\r\n");
    return put_text(x, out, (struct slice){text.p, text.len});
}

static int put_request_fields(struct h1_exchange *x, const struct message *m, const char *framing,
                              struct bytes *out)
{
    bool te = message_find_next(m, "te", 0) >= 0;
    int r = put_fields(x, m, out);

    r = r < 0 ? r : put_text(x, out, slice_of(framing));
    if (r == 0 && x->upgrade.len > 0) {
        r = put_websocket_key(x, m, out);
        r = r < 0 ? r : put_text(x, out, slice_of("upgrade: websocket\r\n"));
    }
    if (r == 0 && (te || x->upgrade.len > 0)) {
        r = put_text(x, out,
                     slice_of(x->upgrade.len == 0 ? "connection: te\r\n"
                              : te                ? "connection: upgrade, te\r\n"
                                                  : "connection: upgrade\r\n"));
    }
    return r < 0 ? r : put_text(x, out, slice_of("\r\n"));
}

int h1_send_request(struct h1_exchange *x, const struct message *m, bool end)
{
    struct bytes *out = &x->conn->out;
    size_t before = out->len;
    const char *framing = "";
    int r = check_request(x, m);

    if (r == 0 && message_get(m, MESSAGE_PROTOCOL).len > 0) {
        x->upgrade = slice_of("websocket");
    }
    make_room(out);
    r = r < 0 ? r : request_framing(x, m, end, &framing);
    r = r < 0 ? r : put_request_line(x, m, out);
    r = r < 0 ? r : put_request_fields(x, m, framing, out);
    if (r == 0) {
        x->to_head = message_is_method(m, "HEAD");
        x->takes_trailers = true;
        h1_kick(x->conn);
    }
    return undo(out, before, r);
}

/* Bodies */

static size_t output_room(const struct h1_conn *c)
{
    size_t limit = (size_t)c->limits.output_bytes;

    return c->out.len + H1_FRAMING_ROOM < limit ? limit - c->out.len - H1_FRAMING_ROOM : 0;
}

/* The frame of one chunk. */
struct frame {
    char head[20];
    size_t head_len;
    size_t tail_len;
};

static struct frame frame_of(const struct h1_exchange *x, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    struct frame f = {.head_len = 0};
    unsigned n = 1;

    if (x->out == H1_OUT_CHUNKED) {
        for (size_t rest = len >> 4; rest > 0; rest >>= 4) {
            n++;
        }
        f.head_len = n + 2;
        f.tail_len = 2;
        f.head[n] = '\r';
        f.head[n + 1] = '\n';
        for (; n > 0; n--, len >>= 4) {
            f.head[n - 1] = digits[len & 15];
        }
    }
    return f;
}

/* The pieces cut to n octets, in v. */
static int cut_pieces(const struct iovec *from, int count, size_t n, struct iovec *v)
{
    int used = 0;

    for (int i = 0; i < count && n > 0 && used < PIECES - 3; i++) {
        size_t len = MIN_OF(from[i].iov_len, n);
        if (len > 0) {
            v[used++] = (struct iovec){from[i].iov_base, len};
        }
        n -= len;
    }
    return used;
}

static size_t sum_of(const struct iovec *v, int count)
{
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        n += v[i].iov_len;
    }
    return n;
}

/* Everything at once, past our buffer: what waits in it, and the pieces in their frame. What the
 * transport leaves of that is kept; there is room for all of it. */
static ssize_t write_through(struct h1_exchange *x, struct iovec *v, int count, size_t n)
{
    struct h1_conn *c = x->conn;
    struct frame f = frame_of(x, n);
    static char crlf[] = "\r\n";
    UNINITIALIZED struct iovec all[PIECES];
    size_t pending = c->out.len;
    int k = 0;

    if (pending > 0) {
        all[k++] = (struct iovec){c->out.p + c->out.head, pending};
    }
    if (f.head_len > 0) {
        all[k++] = (struct iovec){f.head, f.head_len};
    }
    memcpy(all + k, v, (size_t)count * sizeof(*v));
    k += count;
    if (f.tail_len > 0) {
        all[k++] = (struct iovec){crlf, f.tail_len};
    }
    ssize_t w = c->below->ops->writev(c->below, all, k);
    if (w < 0 && w != -EAGAIN && c->client) {
        h1_stop_sending(c);
        return (ssize_t)n;
    }
    if (w < 0 && w != -EAGAIN) {
        return w;
    }
    size_t taken = w > 0 ? (size_t)w : 0;
    c->touched = true;
    c->refused = taken < pending + f.head_len + n + f.tail_len;
    c->sent += taken;
    bytes_skip(&c->out, MIN_OF(taken, pending));
    size_t of_new = taken > pending ? taken - pending : 0;
    int first = pending > 0 ? 1 : 0;
    return bytes_add_pieces(&c->out, all + first, k - first, of_new) < 0 ? -ERR_LIMIT : (ssize_t)n;
}

static int buffer_all(struct h1_exchange *x, const struct iovec *v, int count, size_t n)
{
    struct bytes *out = &x->conn->out;
    struct frame f = frame_of(x, n);
    int r = f.head_len > 0 ? bytes_add(out, f.head, f.head_len) : 0;

    r = r < 0 ? r : bytes_add_pieces(out, v, count, 0);
    return r < 0 || f.tail_len == 0 ? r : bytes_add(out, "\r\n", f.tail_len);
}

static ssize_t put_body(struct h1_exchange *x, const struct iovec *from, int count)
{
    struct h1_conn *c = x->conn;
    UNINITIALIZED struct iovec v[PIECES];
    uint64_t most = output_room(c);

    if (most == 0 || (c->refused && c->out.len > 0)) {
        return -EAGAIN; /* sending wakes us when the peer has taken something */
    }
    int pieces = cut_pieces(from, count, (size_t)most, v);
    size_t n = sum_of(v, pieces);
    ssize_t r = 0;
    if (n >= DIRECT_BYTES && c->below->ops->writev && !c->refused) {
        r = write_through(x, v, pieces, n);
    } else {
        r = buffer_all(x, v, pieces, n);
    }
    if (r < 0) {
        return FAIL(stream_why(&x->x.s), (int)r, "cannot send a body: %s", err_text((int)r));
    }
    x->out_left -= x->out == H1_OUT_COUNTED ? n : 0;
    h1_kick(c);
    return (ssize_t)n;
}

ssize_t h1_send_body(struct h1_exchange *x, const struct iovec *from, int count)
{
    size_t len = sum_of(from, count);

    switch (x->out) {
    case H1_OUT_SILENT:
        return (ssize_t)len;
    case H1_OUT_COUNTED:
        if (len > x->out_left) {
            return FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "more body than content-length said");
        }
        return put_body(x, from, count);
    case H1_OUT_CHUNKED:
    case H1_OUT_TO_CLOSE:
        return put_body(x, from, count);
    case H1_OUT_HEAD:
    case H1_OUT_ENDED:
        break;
    }
    return FAIL(stream_why(&x->x.s), -EINVAL, "not the time for a body");
}

static int end_chunks(struct h1_exchange *x, const struct message *trailers)
{
    struct bytes *out = &x->conn->out;
    size_t before = out->len;
    int r = put_text(x, out, slice_of("0\r\n"));

    for (unsigned i = 0; trailers && x->takes_trailers && i < trailers->count && r == 0; i++) {
        if (!h1_is_bad_trailer(message_field(trailers, i).name)) {
            r = put_field(x, message_field(trailers, i), out);
        }
    }
    if (r == 0 && out->len - before > H1_TRAILERS_BYTES_MAX) {
        r = FAIL(stream_why(&x->x.s), -ERR_TOO_LARGE, "trailers are too large");
    }
    r = r < 0 ? r : put_text(x, out, slice_of("\r\n"));
    return undo(out, before, r);
}

int h1_send_end(struct h1_exchange *x, const struct message *trailers)
{
    int r = 0;

    if (x->out == H1_OUT_HEAD || (x->out == H1_OUT_COUNTED && x->out_left > 0)) {
        return FAIL(stream_why(&x->x.s), -EINVAL, "the message is not complete");
    }
    if (x->out == H1_OUT_CHUNKED) {
        r = end_chunks(x, trailers);
    }
    if (r == 0) {
        x->conn->ending |= x->out == H1_OUT_TO_CLOSE && x->upgrade.len > 0;
        x->out = H1_OUT_ENDED;
        h1_kick(x->conn);
    }
    return r;
}
