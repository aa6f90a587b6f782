/* SPDX-License-Identifier: Apache-2.0 */
/* The state that sealing, opening and hand-over of records share. */
#pragma once

#include "tls/record.h"

/* RFC 8446 B.1, B.3 */
enum content_type {
    CONTENT_CCS = 20,
    CONTENT_ALERT = 21,
    CONTENT_HANDSHAKE = 22,
    CONTENT_DATA = 23
};
enum { MESSAGE_NEW_SESSION_TICKET = 4, MESSAGE_KEY_UPDATE = 24, MESSAGE_HEAD = 4 };

enum {
    RECORD_UPDATE_RECORDS = 1 << 23, /* default limits of one key */
    /* Beyond this nothing is sealed: below the 2^24.5 records of RFC 8446 5.5. */
    RECORD_SEAL_HARD_MAX = 1 << 24,
};
#define RECORD_UPDATE_BYTES ((uint64_t)RECORD_UPDATE_RECORDS * RECORD_PLAIN_MAX)

struct record_half {
    struct aead *aead; /* NULL at rest */
    uint64_t seq;      /* of the next record under this key */
    uint64_t bytes;    /* payload under this key */
    uint8_t iv[AEAD_NONCE_BYTES];
    uint8_t secret[RECORD_SECRET_MAX];
};

enum record_out { RECORD_OUT_OPEN, RECORD_OUT_ENDED /* an alert was the last thing sealed */ };
enum record_in {
    RECORD_IN_OPEN,
    RECORD_IN_CLOSED, /* close_notify came */
    RECORD_IN_FAILED, /* a record was refused; alert says how to answer */
};

struct record {
    struct record_half seal;
    struct record_half open;
    struct record_limits limits;
    uint64_t updates_sent, updates_received;
    enum aead_kind kind;
    enum aead_backend backend;
    enum record_out out;
    enum record_in in;
    enum tls_alert alert;
    bool update_asked; /* the peer wants us to change our key */
    /* Spent budgets. */
    unsigned empties, updates, tickets;
    /* The post-handshake message that is being read, which may be cut anywhere by records. */
    uint8_t head[MESSAGE_HEAD];
    unsigned head_len;      /* MESSAGE_HEAD while its body is read */
    uint32_t body_left;     /* of the body */
    uint8_t update_request; /* the body of a key update */
};

static inline void record_nonce(const struct record_half *h, uint8_t nonce[AEAD_NONCE_BYTES])
{
    for (unsigned i = 0; i < AEAD_NONCE_BYTES; i++) {
        unsigned shift = 8 * (AEAD_NONCE_BYTES - 1 - i);
        nonce[i] = (uint8_t)(h->iv[i] ^ (shift < 64 ? h->seq >> shift : 0));
    }
}

/* Makes key and nonce from the half's secret and starts counting anew. */
MUST_USE int record_half_key(const struct record *r, struct record_half *h, struct diag *why);
/* The expanded key is there. */
MUST_USE int record_half_wake(const struct record *r, struct record_half *h, struct diag *why);
/* The next generation of the half's secret (RFC 8446 7.2). */
MUST_USE int record_half_update(const struct record *r, struct record_half *h, struct diag *why);
/* Zero means the default; more than the hard limit is cut. */
void record_limits_set(struct record *r, const struct record_limits *limits);
