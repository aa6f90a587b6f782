/* SPDX-License-Identifier: Apache-2.0 */
/* The sending half of the record layer. */
#include <string.h>

#include "base/num.h"
#include "tls/record_int.h"

/* Payload of len bytes stands at slot + RECORD_HEAD. The header is the additional data (RFC 8446
 * 5.2). */
static int seal_one(struct record *r, uint8_t *slot, size_t len, enum content_type type,
                    struct diag *why)
{
    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t *payload = slot + RECORD_HEAD;

    if (r->seal.seq >= RECORD_SEAL_HARD_MAX) {
        return FAIL(why, -ERR_LIMIT, "seal more records than one key may");
    }
    int e = record_half_wake(r, &r->seal, why);
    if (e < 0) {
        return e;
    }
    slot[0] = CONTENT_DATA;
    be16_put(slot + 1, 0x0303);
    be16_put(slot + 3, (uint16_t)(len + RECORD_TAIL));
    payload[len] = (uint8_t)type;
    record_nonce(&r->seal, nonce);
    const struct aead_text text = {nonce, slot, RECORD_HEAD, payload, len + 1};
    e = aead_seal(r->seal.aead, &text, payload + len + 1);
    if (e < 0) {
        return FAIL(why, e, "seal a record");
    }
    r->seal.seq++;
    r->seal.bytes += len;
    return 0;
}

static int may_seal(const struct record *r, struct diag *why)
{
    return r->out == RECORD_OUT_OPEN ? 0 : FAIL(why, -EPIPE, "seal a record after an alert");
}

int record_seal(struct record *r, uint8_t *run, size_t len, struct diag *why)
{
    int e = may_seal(r, why);

    while (e == 0 && len > 0) {
        size_t part = MIN_OF(len, (size_t)RECORD_PLAIN_MAX);
        e = seal_one(r, run, part, CONTENT_DATA, why);
        run += RECORD_SLOT;
        len -= part;
    }
    return e;
}

bool record_wants_control(const struct record *r)
{
    return r->out == RECORD_OUT_OPEN &&
           (r->update_asked || r->seal.seq >= r->limits.update_records ||
            r->seal.bytes >= r->limits.update_bytes);
}

ssize_t record_control(struct record *r, uint8_t out[static RECORD_CONTROL_MAX], struct diag *why)
{
    /* update_not_requested: each side counts its own keys. */
    static const uint8_t message[] = {MESSAGE_KEY_UPDATE, 0, 0, 1, 0};

    if (!record_wants_control(r)) {
        return 0;
    }
    memcpy(out + RECORD_HEAD, message, sizeof(message));
    int e = seal_one(r, out, sizeof(message), CONTENT_HANDSHAKE, why);
    if (e == 0) {
        e = record_half_update(r, &r->seal, why);
    }
    if (e < 0) {
        return e;
    }
    r->update_asked = false;
    r->updates_sent++;
    return RECORD_HEAD + (ssize_t)sizeof(message) + RECORD_TAIL;
}

ssize_t record_alert(struct record *r, enum tls_alert alert, uint8_t out[static RECORD_CONTROL_MAX],
                     struct diag *why)
{
    bool warning = alert == TLS_ALERT_CLOSE_NOTIFY || alert == TLS_ALERT_USER_CANCELED;
    int e = may_seal(r, why);

    if (e < 0) {
        return e;
    }
    out[RECORD_HEAD] = warning ? 1 : 2;
    out[RECORD_HEAD + 1] = (uint8_t)alert;
    e = seal_one(r, out, 2, CONTENT_ALERT, why);
    r->out = RECORD_OUT_ENDED;
    return e < 0 ? e : RECORD_HEAD + 2 + RECORD_TAIL;
}
