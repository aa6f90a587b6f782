/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/record.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "tls/key_schedule.h"
#include "tls/record_int.h"

static int expand(struct aead **out, const struct record *r, const struct record_half *h,
                  struct diag *why)
{
    uint8_t key[AEAD_KEY_MAX];
    int e = key_expand_label(r->kind, h->secret, "key", key, aead_key_bytes(r->kind));

    if (e == 0) {
        e = aead_new(out, r->kind, r->backend, key, why);
    } else {
        e = FAIL(why, e, "derive record keys");
    }
    mem_wipe(key, sizeof(key));
    return e;
}

int record_half_key(const struct record *r, struct record_half *h, struct diag *why)
{
    struct aead *a = NULL;

    int e = key_expand_label(r->kind, h->secret, "iv", h->iv, sizeof(h->iv));
    e = e == 0 ? expand(&a, r, h, why) : FAIL(why, e, "derive record keys");
    if (e < 0) {
        return e;
    }
    aead_free(h->aead);
    h->aead = a;
    h->seq = 0;
    h->bytes = 0;
    return 0;
}

int record_half_wake(const struct record *r, struct record_half *h, struct diag *why)
{
    return h->aead ? 0 : expand(&h->aead, r, h, why);
}

void record_rest(struct record *r)
{
    aead_free(MOVE(r->seal.aead));
    aead_free(MOVE(r->open.aead));
}

int record_half_update(const struct record *r, struct record_half *h, struct diag *why)
{
    int e = key_expand_label(r->kind, h->secret, "traffic upd", h->secret,
                             record_secret_bytes(r->kind));

    return e < 0 ? FAIL(why, e, "derive the next traffic secret") : record_half_key(r, h, why);
}

void record_limits_set(struct record *r, const struct record_limits *limits)
{
    uint64_t records = limits->update_records ? limits->update_records : RECORD_UPDATE_RECORDS;

    r->limits.update_records = MIN_OF(records, (uint64_t)RECORD_UPDATE_RECORDS);
    r->limits.update_bytes = limits->update_bytes ? limits->update_bytes : RECORD_UPDATE_BYTES;
}

int record_new(struct record **out, const struct record_setup *setup, struct diag *why)
{
    AUTO(record) struct record *r = mem_new(struct record);

    r->kind = setup->kind;
    r->backend = setup->backend;
    record_limits_set(r, &setup->limits);
    memcpy(r->seal.secret, setup->seal_secret, record_secret_bytes(r->kind));
    memcpy(r->open.secret, setup->open_secret, record_secret_bytes(r->kind));
    int e = record_half_key(r, &r->seal, why);
    if (e == 0) {
        e = record_half_key(r, &r->open, why);
    }
    if (e < 0) {
        return e;
    }
    *out = MOVE(r);
    return 0;
}

void record_free(struct record *r)
{
    if (r) {
        aead_free(r->seal.aead);
        aead_free(r->open.aead);
        mem_free_secret(r, sizeof(*r));
    }
}

const char *record_suite(const struct record *r)
{
    return r->kind == AEAD_AES_128_GCM ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384";
}

bool record_is_closed(const struct record *r)
{
    return r->in == RECORD_IN_CLOSED;
}

void record_stats(const struct record *r, struct record_stats *out)
{
    *out = (struct record_stats){
        .sealed_records = r->seal.seq,
        .opened_records = r->open.seq,
        .key_updates_sent = r->updates_sent,
        .key_updates_received = r->updates_received,
        .tickets = r->tickets,
    };
}
