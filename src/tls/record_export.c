/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record layer's state as bytes. One layout, version 1, integers big-endian:
 *     "TR" version kind flags | half seal | half open | updates sent, received | budgets (3) |
 *     head_len head body_left update_request
 *     half: seq bytes secret (48, padded with zeroes)
 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "tls/record_int.h"

enum { VERSION = 1, HALF_BYTES = 8 + 8 + RECORD_SECRET_MAX };
_Static_assert(RECORD_BLOB_BYTES ==
                   2 + 3 + 2 * HALF_BYTES + 2 * 8 + 3 * 4 + 1 + MESSAGE_HEAD + 4 + 1,
               "the layout above");
enum { FLAG_UPDATE_ASKED = 1, FLAG_OUT_ENDED = 2, FLAG_IN_CLOSED = 4, FLAGS_ALL = 7 };

struct cursor { /* over a buffer of RECORD_BLOB_BYTES */
    uint8_t *p;
};

static void put_u8(struct cursor *c, unsigned v)
{
    *c->p++ = (uint8_t)v;
}

static void put_u32(struct cursor *c, uint32_t v)
{
    be32_put(c->p, v);
    c->p += 4;
}

static void put_u64(struct cursor *c, uint64_t v)
{
    be64_put(c->p, v);
    c->p += 8;
}

static void put_raw(struct cursor *c, const uint8_t *from, size_t len)
{
    memcpy(c->p, from, len);
    c->p += len;
}

static void put_half(struct cursor *c, const struct record_half *h)
{
    put_u64(c, h->seq);
    put_u64(c, h->bytes);
    put_raw(c, h->secret, RECORD_SECRET_MAX);
}

static unsigned flags_of(const struct record *r)
{
    return (r->update_asked ? FLAG_UPDATE_ASKED : 0u) |
           (r->out == RECORD_OUT_ENDED ? FLAG_OUT_ENDED : 0u) |
           (r->in == RECORD_IN_CLOSED ? FLAG_IN_CLOSED : 0u);
}

int record_export(const struct record *r, struct bytes *out, struct diag *why)
{
    uint8_t blob[RECORD_BLOB_BYTES];
    struct cursor c = {blob};

    if (r->in == RECORD_IN_FAILED) {
        return FAIL(why, -ERR_UNAVAILABLE, "hand over a failed session");
    }
    put_raw(&c, (const uint8_t *)"TR", 2);
    put_u8(&c, VERSION);
    put_u8(&c, r->kind);
    put_u8(&c, flags_of(r));
    put_half(&c, &r->seal);
    put_half(&c, &r->open);
    put_u64(&c, r->updates_sent);
    put_u64(&c, r->updates_received);
    put_u32(&c, r->empties);
    put_u32(&c, r->updates);
    put_u32(&c, r->tickets);
    put_u8(&c, r->head_len);
    put_raw(&c, r->head, MESSAGE_HEAD);
    put_u32(&c, r->body_left);
    put_u8(&c, r->update_request);
    int e = bytes_add(out, blob, sizeof(blob));
    mem_wipe(blob, sizeof(blob));
    return e < 0 ? FAIL(why, e, "hand over TLS keys") : 0;
}

struct reader { /* the blob's length was checked before */
    const uint8_t *p;
};

static unsigned get_u8(struct reader *c)
{
    return *c->p++;
}

static uint32_t get_u32(struct reader *c)
{
    c->p += 4;
    return be32_get(c->p - 4);
}

static uint64_t get_u64(struct reader *c)
{
    c->p += 8;
    return be64_get(c->p - 8);
}

static void get_raw(struct reader *c, uint8_t *into, size_t len)
{
    memcpy(into, c->p, len);
    c->p += len;
}

/* The key is made from the secret, then the counters continue. */
static int get_half(struct reader *c, const struct record *r, struct record_half *h,
                    struct diag *why)
{
    uint64_t seq = get_u64(c);
    uint64_t bytes = get_u64(c);

    get_raw(c, h->secret, RECORD_SECRET_MAX);
    int e = record_half_key(r, h, why);
    h->seq = seq;
    h->bytes = bytes;
    return e;
}

static bool get_counters(struct reader *c, struct record *r)
{
    r->updates_sent = get_u64(c);
    r->updates_received = get_u64(c);
    r->empties = get_u32(c);
    r->updates = get_u32(c);
    r->tickets = get_u32(c);
    r->head_len = get_u8(c);
    get_raw(c, r->head, MESSAGE_HEAD);
    r->body_left = get_u32(c);
    r->update_request = (uint8_t)get_u8(c);
    return r->head_len <= MESSAGE_HEAD && r->empties <= RECORD_EMPTY_MAX &&
           r->updates <= RECORD_KEY_UPDATES_MAX && r->tickets <= RECORD_TICKETS_MAX &&
           r->body_left <= RECORD_TICKET_BYTES_MAX &&
           (r->head_len < MESSAGE_HEAD) == (r->body_left == 0);
}

static int check_blob(const uint8_t *p, size_t len, struct diag *why)
{
    if (len < 3 || memcmp(p, "TR", 2) != 0) {
        return FAIL(why, -ERR_SYNTAX, "take over TLS keys: not a session");
    }
    if (p[2] > VERSION) {
        return FAIL(why, -ERR_VERSION, "take over TLS keys of version %u", p[2]);
    }
    if (len != RECORD_BLOB_BYTES || p[2] != VERSION || p[3] > AEAD_AES_256_GCM ||
        p[4] > FLAGS_ALL) {
        return FAIL(why, -ERR_SYNTAX, "take over TLS keys: malformed session");
    }
    return 0;
}

int record_import(struct record **out, const void *blob, size_t len,
                  const struct record_limits *limits, enum aead_backend backend, struct diag *why)
{
    struct reader c = {blob};
    int e = check_blob(blob, len, why);

    if (e < 0) {
        return e;
    }
    AUTO(record) struct record *r = mem_new(struct record);
    c.p += 3;
    r->kind = (enum aead_kind)get_u8(&c);
    unsigned flags = get_u8(&c);
    r->backend = backend;
    r->update_asked = flags & FLAG_UPDATE_ASKED;
    r->out = flags & FLAG_OUT_ENDED ? RECORD_OUT_ENDED : RECORD_OUT_OPEN;
    r->in = flags & FLAG_IN_CLOSED ? RECORD_IN_CLOSED : RECORD_IN_OPEN;
    record_limits_set(r, limits);
    e = get_half(&c, r, &r->seal, why);
    if (e == 0) {
        e = get_half(&c, r, &r->open, why);
    }
    if (e < 0) {
        return e;
    }
    if (!get_counters(&c, r)) {
        return FAIL(why, -ERR_SYNTAX, "take over TLS keys: malformed session");
    }
    *out = MOVE(r);
    return 0;
}
