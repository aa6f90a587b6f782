/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS 1.3 record layer after the handshake (RFC 8446 5, 4.6, 6), without I/O: it seals records
 * where they lie in the caller's buffers, and opens them there or into other memory of the caller's.
 * It does key updates both ways, alerts, foreign session tickets (ignored), padding and every limit;
 * it never holds application bytes, so an idle connection costs its keys only. State is plain data and
 * can be exported and imported.
 *
 * Sending: the caller lays payload out in slots, RECORD_HEAD bytes in front and RECORD_TAIL behind
 * each piece of at most RECORD_PLAIN_MAX; only the last piece of a run may be shorter. Before each
 * run it asks record_control for what has to go out first.
 *
 * One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tls/aead.h"

enum {
    RECORD_HEAD = 5,
    RECORD_TAIL = 1 + AEAD_TAG_BYTES, /* content type and tag */
    RECORD_PLAIN_MAX = 16384,
    RECORD_SLOT = RECORD_HEAD + RECORD_PLAIN_MAX + RECORD_TAIL,
    /* The longest record a peer may send: 256 bytes of expansion (RFC 8446 5.2). */
    RECORD_WIRE_MAX = RECORD_HEAD + RECORD_PLAIN_MAX + 256,
    /* The room that opening any record elsewhere takes: type and padding stand there for a moment. */
    RECORD_ROOM_MAX = RECORD_WIRE_MAX - RECORD_HEAD - AEAD_TAG_BYTES,
    RECORD_SECRET_MAX = 48,
    RECORD_CONTROL_MAX = 64, /* room for one key update and one alert */
};

/* Budgets against a peer that only makes work. Each real data record gives one unit back. */
enum {
    RECORD_EMPTY_MAX = 32,           /* data records without a byte */
    RECORD_KEY_UPDATES_MAX = 32,     /* key updates */
    RECORD_TICKETS_MAX = 64,         /* session tickets, over the whole connection */
    RECORD_TICKET_BYTES_MAX = 65536, /* of one ticket message */
};

/* RFC 8446 6 and B.2: the alerts that this layer sends. */
enum tls_alert {
    TLS_ALERT_CLOSE_NOTIFY = 0,
    TLS_ALERT_UNEXPECTED_MESSAGE = 10,
    TLS_ALERT_BAD_RECORD_MAC = 20,
    TLS_ALERT_RECORD_OVERFLOW = 22,
    TLS_ALERT_ILLEGAL_PARAMETER = 47,
    TLS_ALERT_DECODE_ERROR = 50,
    TLS_ALERT_INTERNAL_ERROR = 80,
    TLS_ALERT_USER_CANCELED = 90,
};

struct record_limits {
    /* When this much was sealed under one key, a key update goes first. 0 = the default, far below
     * the 2^24.5 records that RFC 8446 5.5 allows AES-GCM. */
    uint64_t update_records;
    uint64_t update_bytes;
};

struct record_setup {
    enum aead_kind kind; /* also says the hash: SHA-256 with AES-128, SHA-384 with AES-256 */
    enum aead_backend backend;
    const uint8_t *seal_secret; /* application traffic secrets, 32 or 48 bytes by kind */
    const uint8_t *open_secret;
    struct record_limits limits;
};

struct record;

MUST_USE int record_new(struct record **out, const struct record_setup *setup, struct diag *why);
/* Wipes all keys. */
void record_free(struct record *r);
AUTO_DEFINE(record, struct record *, record_free);

/* Lets go of the expanded keys, which are most of an idle connection; the next record makes them anew
 * from the secrets. */
void record_rest(struct record *r);

static inline size_t record_secret_bytes(enum aead_kind kind)
{
    return kind == AEAD_AES_128_GCM ? 32 : 48;
}

/* Wire bytes that a run of len payload bytes takes; the payload of byte i of the run lies at
 * (i / RECORD_PLAIN_MAX) * RECORD_SLOT + RECORD_HEAD + i % RECORD_PLAIN_MAX. */
static inline size_t record_run_bytes(size_t len)
{
    size_t count = (len + RECORD_PLAIN_MAX - 1) / RECORD_PLAIN_MAX;

    return len + count * (RECORD_HEAD + RECORD_TAIL);
}

/* A key update that is due (asked for by the peer, or our own limit), sealed into out. Returns its
 * length, 0 when nothing is due, negative on failure. To be sent before anything sealed later. */
MUST_USE ssize_t record_control(struct record *r, uint8_t out[static RECORD_CONTROL_MAX],
                                struct diag *why);
bool record_wants_control(const struct record *r);
/* Seals a run of len > 0 payload bytes laid out as said above. 0 or negative. */
MUST_USE int record_seal(struct record *r, uint8_t *run, size_t len, struct diag *why);
/* An alert, sealed. Nothing can be sealed after it. Returns its length. */
MUST_USE ssize_t record_alert(struct record *r, enum tls_alert alert,
                              uint8_t out[static RECORD_CONTROL_MAX], struct diag *why);

enum record_end {
    RECORD_OPEN,
    RECORD_CLOSED, /* the peer said close_notify: its clean end */
};

struct record_run {
    struct iovec *iov; /* in: the caller's array; out: plaintext pieces inside buf */
    size_t iov_max;    /* at least 1 */
    uint8_t *into; /* in: NULL, or memory apart from buf where all plaintext becomes one piece */
    size_t room;   /* of into; what lies behind the piece afterwards means nothing */
    size_t iov_len;
    size_t bytes; /* sum of the pieces */
    size_t used;  /* wire bytes consumed; what is left is a partial record or did not fit */
    enum record_end end;
};

/* Opens the whole records at the start of buf, up to iov_max pieces or what room allows. 0 with the run
 * filled, or negative: -ERR_TLS_RECORD (record_alert_due says what to send), -ERR_TLS_ALERT (the
 * peer's fatal alert). The pieces before a failed record are valid and counted. After RECORD_CLOSED everything
 * that follows is ignored. */
MUST_USE int record_open(struct record *r, uint8_t *buf, size_t len, struct record_run *run,
                         struct diag *why);
/* How many bytes the record at the start of buf has, 0 while its header is incomplete. */
size_t record_need(const uint8_t *buf, size_t len);
enum tls_alert record_alert_due(const struct record *r);

struct record_stats {
    uint64_t sealed_records, opened_records;         /* under the present keys */
    uint64_t key_updates_sent, key_updates_received; /* over the connection */
    uint64_t tickets;
};
void record_stats(const struct record *r, struct record_stats *out);
/* The suite's name (RFC 8446 B.4); static text. */
const char *record_suite(const struct record *r);
/* close_notify came. */
bool record_is_closed(const struct record *r);

enum { RECORD_BLOB_BYTES = 171 };

/* The whole state as a versioned blob for live hand-over; it holds keys. The layer must not be used
 * any more afterwards. import refuses a newer version with -ERR_VERSION and anything malformed with
 * -ERR_SYNTAX; limits and back end come from the importing side. */
MUST_USE int record_export(const struct record *r, struct bytes *out, struct diag *why);
MUST_USE int record_import(struct record **out, const void *blob, size_t len,
                           const struct record_limits *limits, enum aead_backend backend,
                           struct diag *why);
