/* SPDX-License-Identifier: Apache-2.0 */
/* The receiving half of the record layer. */
#include <openssl/ssl.h>

#include "base/num.h"
#include "tls/record_int.h"

struct opened {
    enum content_type type;
    uint8_t *p;
    size_t len;
};

/* The connection is lost; alert is what the peer is to be told. */
static int refuse(struct record *r, enum tls_alert alert, const char *what, struct diag *why)
{
    r->in = RECORD_IN_FAILED;
    r->alert = alert;
    return FAIL(why, -ERR_TLS_RECORD, "open a record: %s", what);
}

enum tls_alert record_alert_due(const struct record *r)
{
    return r->alert;
}

size_t record_need(const uint8_t *buf, size_t len)
{
    return len < RECORD_HEAD ? 0 : (size_t)RECORD_HEAD + be16_get(buf + 3);
}

static int check_header(struct record *r, const uint8_t *buf, struct diag *why)
{
    size_t len = be16_get(buf + 3);

    if (buf[0] != CONTENT_DATA) {
        return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "not encrypted", why);
    }
    if (len > RECORD_WIRE_MAX - RECORD_HEAD) {
        return refuse(r, TLS_ALERT_RECORD_OVERFLOW, "too long", why);
    }
    if (len < RECORD_TAIL) {
        return refuse(r, TLS_ALERT_BAD_RECORD_MAC, "too short", why);
    }
    return 0;
}

/* What stands in front of the padding ends with the type (RFC 8446 5.4). */
static int strip_padding(struct record *r, struct opened *o, struct diag *why)
{
    if (o->len > RECORD_PLAIN_MAX + 1) {
        return refuse(r, TLS_ALERT_RECORD_OVERFLOW, "plaintext too long", why);
    }
    while (o->len > 0 && o->p[o->len - 1] == 0) {
        o->len--;
    }
    if (o->len == 0) {
        return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "nothing but padding", why);
    }
    o->len--;
    o->type = (enum content_type)o->p[o->len];
    return 0;
}

static int decrypt(struct record *r, uint8_t *buf, size_t wire, struct opened *o, struct diag *why)
{
    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t *sealed = buf + RECORD_HEAD;
    uint8_t *tag = buf + wire - AEAD_TAG_BYTES;

    if (r->open.seq == UINT64_MAX) {
        return refuse(r, TLS_ALERT_INTERNAL_ERROR, "sequence numbers are used up", why);
    }
    if (record_half_wake(r, &r->open, why) < 0) {
        return refuse(r, TLS_ALERT_INTERNAL_ERROR, "its key cannot be made", why);
    }
    record_nonce(&r->open, nonce);
    const struct aead_text text = {nonce, buf,    RECORD_HEAD,
                                   o->p,  o->len, o->p == sealed ? NULL : sealed};
    if (aead_open(r->open.aead, &text, tag) < 0) {
        return refuse(r, TLS_ALERT_BAD_RECORD_MAC, "not authentic", why);
    }
    r->open.seq++;
    return strip_padding(r, o, why);
}

static int on_alert(struct record *r, const struct opened *o, struct diag *why)
{
    if (o->len != 2) {
        return refuse(r, TLS_ALERT_DECODE_ERROR, "alert is not two bytes", why);
    }
    if (o->p[1] == TLS_ALERT_CLOSE_NOTIFY) {
        r->in = RECORD_IN_CLOSED;
        return 0;
    }
    if (o->p[1] == TLS_ALERT_USER_CANCELED) { /* a close_notify follows (RFC 8446 6.1) */
        return ++r->empties > RECORD_EMPTY_MAX
                   ? refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "too many alerts", why)
                   : 0;
    }
    r->in = RECORD_IN_FAILED;
    r->alert = TLS_ALERT_CLOSE_NOTIFY;
    return FAIL(why, -ERR_TLS_ALERT, "peer sent TLS alert %u (%s)", o->p[1],
                SSL_alert_desc_string_long(o->p[1]));
}

static int on_key_update(struct record *r, bool ends_record, struct diag *why)
{
    if (!ends_record) {
        return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "data behind a key update", why);
    }
    if (r->update_request > 1) {
        return refuse(r, TLS_ALERT_ILLEGAL_PARAMETER, "unknown kind of key update", why);
    }
    if (++r->updates > RECORD_KEY_UPDATES_MAX) {
        return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "too many key updates", why);
    }
    r->update_asked = r->update_asked || r->update_request == 1;
    r->updates_received++;
    return record_half_update(r, &r->open, why);
}

/* The head of a message is complete. */
static int on_message_head(struct record *r, struct diag *why)
{
    r->body_left = be24_get(r->head + 1);
    if (r->head[0] == MESSAGE_NEW_SESSION_TICKET) {
        bool fine = r->body_left <= RECORD_TICKET_BYTES_MAX && ++r->tickets <= RECORD_TICKETS_MAX;
        return fine ? 0 : refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "too many tickets", why);
    }
    if (r->head[0] == MESSAGE_KEY_UPDATE) {
        return r->body_left == 1
                   ? 0
                   : refuse(r, TLS_ALERT_DECODE_ERROR, "key update is not one byte", why);
    }
    return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "handshake message after the handshake", why);
}

/* Bytes of the body: a ticket's are dropped, a key update's is kept. Returns how many were used. */
static size_t take_body(struct record *r, const uint8_t *p, size_t len)
{
    size_t n = MIN_OF(len, (size_t)r->body_left);

    if (n > 0 && r->head[0] == MESSAGE_KEY_UPDATE) {
        r->update_request = p[0];
    }
    r->body_left -= (uint32_t)n;
    return n;
}

static int on_handshake(struct record *r, const struct opened *o, struct diag *why)
{
    size_t at = 0;
    int e = 0;

    if (o->len == 0) {
        return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "empty handshake record", why);
    }
    while (e == 0 && at < o->len) {
        if (r->head_len < MESSAGE_HEAD) {
            r->head[r->head_len++] = o->p[at++];
            e = r->head_len == MESSAGE_HEAD ? on_message_head(r, why) : 0;
        } else {
            at += take_body(r, o->p + at, o->len - at);
        }
        if (e == 0 && r->head_len == MESSAGE_HEAD && r->body_left == 0) {
            r->head_len = 0;
            e = r->head[0] == MESSAGE_KEY_UPDATE ? on_key_update(r, at == o->len, why) : 0;
        }
    }
    return e;
}

static void refund(unsigned *spent)
{
    *spent -= *spent > 0;
}

static void add_piece(struct record_run *run, const struct opened *o)
{
    if (run->into && run->iov_len > 0) {
        run->iov[0].iov_len += o->len;
    } else {
        run->iov[run->iov_len++] = (struct iovec){o->p, o->len};
    }
    run->bytes += o->len;
}

static int on_data(struct record *r, const struct opened *o, struct record_run *run,
                   struct diag *why)
{
    if (r->head_len > 0) {
        return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "data inside a handshake message", why);
    }
    if (o->len == 0) {
        return ++r->empties > RECORD_EMPTY_MAX
                   ? refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "too many empty records", why)
                   : 0;
    }
    refund(&r->empties);
    refund(&r->updates);
    r->open.bytes += o->len;
    add_piece(run, o);
    return 0;
}

/* Plaintext, type and padding. */
static size_t inner_bytes(size_t wire)
{
    return wire - RECORD_HEAD - AEAD_TAG_BYTES;
}

static bool has_room(const struct record_run *run, size_t wire)
{
    return run->into ? inner_bytes(wire) <= run->room - run->bytes : run->iov_len < run->iov_max;
}

static int open_one(struct record *r, uint8_t *buf, size_t wire, struct record_run *run,
                    struct diag *why)
{
    struct opened o = {.p = run->into ? run->into + run->bytes : buf + RECORD_HEAD,
                       .len = inner_bytes(wire)};
    int e = decrypt(r, buf, wire, &o, why);

    if (e < 0) {
        return e;
    }
    switch (o.type) {
    case CONTENT_DATA:
        return on_data(r, &o, run, why);
    case CONTENT_HANDSHAKE:
        return on_handshake(r, &o, why);
    case CONTENT_ALERT:
        return on_alert(r, &o, why);
    case CONTENT_CCS:
        break;
    }
    return refuse(r, TLS_ALERT_UNEXPECTED_MESSAGE, "unknown content type", why);
}

/* 1 when a whole record was opened, 0 when there is none or nothing more is wanted. */
static int open_next(struct record *r, uint8_t *buf, size_t len, struct record_run *run,
                     struct diag *why)
{
    if (r->in != RECORD_IN_OPEN || len < RECORD_HEAD) {
        return 0;
    }
    int e = check_header(r, buf, why);
    size_t wire = record_need(buf, len);
    if (e < 0 || wire > len || !has_room(run, wire)) {
        return e;
    }
    e = open_one(r, buf, wire, run, why);
    run->used += e == 0 ? wire : 0;
    return e == 0 ? 1 : e;
}

int record_open(struct record *r, uint8_t *buf, size_t len, struct record_run *run,
                struct diag *why)
{
    int e = 1;

    run->iov_len = 0;
    run->bytes = 0;
    run->used = 0;
    if (r->in == RECORD_IN_FAILED) {
        return FAIL(why, -ERR_TLS_RECORD, "open a record after a failure");
    }
    while (e > 0) {
        e = open_next(r, buf + run->used, len - run->used, run, why);
    }
    run->end = r->in == RECORD_IN_CLOSED ? RECORD_CLOSED : RECORD_OPEN;
    run->used = r->in == RECORD_IN_CLOSED ? len : run->used; /* whatever follows is ignored */
    return e;
}
