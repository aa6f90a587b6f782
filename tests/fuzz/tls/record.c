/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz: the opening half of the record layer. The input is a script of inner records: types, contents,
 * padding, damage. They are sealed by EVP, glued together and fed in pieces. The oracle is a reference
 * that looks at one inner record at a time and knows nothing of batches, cuts and in-place opening.
 */
#include "tls/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "tls/key_schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WIRE_MAX = 1 << 17, DATA_MAX = 1 << 17, RECORDS_MAX = 200 };

/* --- sealing and the reference's keys --- */

struct key {
    struct aead *aead;
    uint8_t secret[48], iv[12];
    uint64_t seq;
};

static void key_make(struct key *k)
{
    uint8_t raw[32];

    aead_free(k->aead);
    if (key_expand_label(AEAD_AES_128_GCM, k->secret, "key", raw, 16) < 0 ||
        key_expand_label(AEAD_AES_128_GCM, k->secret, "iv", k->iv, 12) < 0 ||
        aead_new(&k->aead, AEAD_AES_128_GCM, AEAD_EVP, raw, NULL) < 0) {
        abort();
    }
    k->seq = 0;
}

static void key_update(struct key *k)
{
    if (key_expand_label(AEAD_AES_128_GCM, k->secret, "traffic upd", k->secret, 32) < 0) {
        abort();
    }
    key_make(k);
}

static void nonce_of(const struct key *k, uint8_t nonce[12])
{
    memcpy(nonce, k->iv, 12);
    for (int i = 0; i < 8; i++) {
        nonce[11 - i] ^= (uint8_t)(k->seq >> 8 * i);
    }
}

/* --- the reference: what one record at a time should lead to --- */

struct reference {
    struct key key;
    uint8_t data[DATA_MAX];
    size_t data_len;
    unsigned empties, updates, tickets;
    uint8_t message[70000]; /* the handshake message that is being collected */
    size_t message_len;
    bool closed, failed;
};

static void on_whole_message(struct reference *f, bool ends_record)
{
    switch (f->message[0]) {
    case 4:
        break;
    case 24:
        if (!ends_record || f->message[4] > 1 || ++f->updates > RECORD_KEY_UPDATES_MAX) {
            f->failed = true;
            return;
        }
        key_update(&f->key);
        break;
    default:
        abort(); /* refused at its head */
    }
    f->message_len = 0;
}

static void on_message_byte(struct reference *f, uint8_t b, bool last)
{
    f->message[f->message_len++] = b;
    if (f->message_len < 4) {
        return;
    }
    size_t body = be24_get(f->message + 1);
    if (f->message_len == 4) {
        bool ticket = f->message[0] == 4 && body <= RECORD_TICKET_BYTES_MAX &&
                      ++f->tickets <= RECORD_TICKETS_MAX;
        bool update = f->message[0] == 24 && body == 1;
        f->failed = !ticket && !update;
    }
    if (!f->failed && f->message_len == 4 + body) {
        on_whole_message(f, last);
    }
}

static void on_inner(struct reference *f, const uint8_t *p, size_t len)
{
    while (len > 0 && p[len - 1] == 0) {
        len--;
    }
    if (len == 0) {
        f->failed = true;
        return;
    }
    uint8_t type = p[--len];
    if (type == 23 && f->message_len == 0 && len > 0) {
        memcpy(f->data + f->data_len, p, len);
        f->data_len += len;
        f->empties -= f->empties > 0;
        f->updates -= f->updates > 0;
    } else if (type == 23 && f->message_len == 0) {
        f->failed = ++f->empties > RECORD_EMPTY_MAX;
    } else if (type == 22 && len > 0) {
        for (size_t i = 0; i < len && !f->failed; i++) {
            on_message_byte(f, p[i], i + 1 == len);
        }
    } else if (type == 21 && len == 2 && p[1] == 0) {
        f->closed = true;
    } else if (type == 21 && len == 2 && p[1] == 90) {
        f->failed = ++f->empties > RECORD_EMPTY_MAX;
    } else {
        f->failed = true;
    }
}

/* Decrypts one record into scratch with EVP and judges it. */
static void judge(struct reference *f, const uint8_t *wire, size_t len)
{
    static uint8_t copy[RECORD_WIRE_MAX + 1024];
    uint8_t nonce[12];

    if (f->failed || f->closed) {
        return;
    }
    if (wire[0] != 23 || len > RECORD_WIRE_MAX || len < 5 + 17) {
        f->failed = true;
        return;
    }
    memcpy(copy, wire, len);
    nonce_of(&f->key, nonce);
    struct aead_text text = {nonce, copy, 5, copy + 5, len - 21};
    if (aead_open(f->key.aead, &text, copy + len - 16) < 0 || text.len > 16385) {
        f->failed = true;
        return;
    }
    f->key.seq++;
    on_inner(f, copy + 5, text.len);
}

/* --- the script --- */

struct script {
    const uint8_t *p;
    size_t left;
};

static uint8_t next(struct script *s)
{
    if (s->left == 0) {
        return 0;
    }
    s->left--;
    return *s->p++;
}

/* One record from the script; its length. */
static size_t write_record(struct script *s, struct key *k, uint8_t *out)
{
    static const uint8_t types[] = {23, 23, 23, 22, 22, 21, 20, 0};
    uint8_t op = next(s);
    size_t len = next(s);
    size_t padding = op & 8 ? next(s) : 0;
    uint8_t nonce[12];

    if (op & 16) {
        len *= 64; /* up to what fits a record, and a little more */
    }
    if (op & 32) {
        padding *= 65;
    }
    out[0] = 23;
    be16_put(out + 1, 0x0303);
    be16_put(out + 3, (uint16_t)(len + 1 + padding + 16));
    for (size_t i = 0; i < len; i++) {
        out[5 + i] = next(s);
    }
    out[5 + len] = types[op & 7];
    memset(out + 6 + len, 0, padding);
    nonce_of(k, nonce);
    struct aead_text text = {nonce, out, 5, out + 5, len + 1 + padding};
    if (aead_seal(k->aead, &text, out + 5 + text.len) < 0) {
        abort();
    }
    k->seq++;
    if (op & 64) { /* damage */
        uint8_t at = next(s);
        out[at % (5 + text.len + 16)] ^= next(s);
        if (be16_get(out + 3) != text.len + 16) {
            be16_put(out + 3, (uint16_t)(text.len + 16));
        }
    }
    /* The sealer follows the key updates that it sends whole and last, as the reference does. */
    if ((op & 7) >= 3 && (op & 7) <= 4 && len >= 5 && op & 128) {
        key_update(k);
    }
    return 5 + text.len + 16;
}

static size_t room(void)
{
    return RECORD_WIRE_MAX + 40000;
}

/* --- the code under test --- */

struct seen {
    uint8_t data[DATA_MAX];
    size_t len;
    bool closed, failed;
};

static void collect(struct seen *s, const struct record_run *run)
{
    size_t sum = 0;

    for (size_t i = 0; i < run->iov_len; i++) {
        memcpy(s->data + s->len, run->iov[i].iov_base, run->iov[i].iov_len);
        s->len += run->iov[i].iov_len;
        sum += run->iov[i].iov_len;
    }
    assert(sum == run->bytes);
    assert(!run->into || run->iov_len <= 1);
    s->closed = s->closed || run->end == RECORD_CLOSED;
}

/* Feeds wire in pieces of piece bytes, keeping what was not used, as a stream does. */
static void feed(struct record *r, uint8_t *wire, size_t len, size_t piece, size_t iov_max,
                 bool elsewhere, struct seen *s)
{
    static uint8_t into[RECORD_ROOM_MAX];
    struct iovec iov[16];
    size_t from = 0;
    size_t to = 0;
    bool stuck = false;

    while ((to < len || !stuck) && !s->failed && !s->closed) {
        struct record_run run = {
            .iov = iov, .iov_max = iov_max, .into = elsewhere ? into : NULL, .room = sizeof(into)};
        to = stuck || to == 0 ? MIN_OF(to + piece, len) : to;
        s->failed = record_open(r, wire + from, to - from, &run, NULL) < 0;
        collect(s, &run);
        assert(run.used <= to - from);
        from += run.used;
        stuck = run.used == 0;
    }
}

static void compare(const struct seen *s, const struct reference *f)
{
    assert(s->failed == f->failed);
    assert(s->closed == f->closed);
    assert(s->len == f->data_len);
    assert(memcmp(s->data, f->data, s->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t wire[WIRE_MAX];
    static struct reference ref;
    static struct seen seen;
    struct script script = {data, size};
    struct key sealer = {.secret = {1, 2, 3}};
    struct record *r = NULL;
    size_t len = 0;

    ref = (struct reference){.key.secret = {1, 2, 3}};
    seen.len = 0;
    seen.closed = seen.failed = false;
    key_make(&sealer);
    key_make(&ref.key);
    size_t piece = 1u + next(&script) * 9u;
    uint8_t way = next(&script);
    size_t iov_max = 1u + way % 16u;
    for (int n = 0; n < RECORDS_MAX && script.left > 0 && len + room() < WIRE_MAX; n++) {
        size_t one = write_record(&script, &sealer, wire + len);
        judge(&ref, wire + len, one);
        len += one;
    }
    struct record_setup setup = {.kind = AEAD_AES_128_GCM,
                                 .seal_secret = sealer.secret,
                                 .open_secret = (uint8_t[48]){1, 2, 3}};
    if (record_new(&r, &setup, NULL) < 0) {
        abort();
    }
    feed(r, wire, len, piece, iov_max, way >= 128, &seen);
    compare(&seen, &ref);
    record_free(r);
    aead_free(sealer.aead);
    aead_free(ref.key.aead);
    return 0;
}
