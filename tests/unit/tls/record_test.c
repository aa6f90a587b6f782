/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "t.h"
#include "tls/key_schedule.h"

enum { DATA = 23, HANDSHAKE = 22, ALERT = 21, CCS = 20 };

static const uint8_t secret_a[48] = {1, 2, 3};
static const uint8_t secret_b[48] = {4, 5, 6};

/* A peer made by hand: seals any content type with any padding, right or wrong. */
struct forger {
    struct aead *aead;
    enum aead_kind kind;
    uint8_t secret[48];
    uint8_t iv[12];
    uint64_t seq;
    uint8_t *wire; /* one at a time: all share it */
};

static uint8_t shared_wire[RECORD_WIRE_MAX + 64];

static void forger_key(struct forger *f)
{
    uint8_t key[32];

    aead_free(f->aead);
    f->aead = NULL;
    if (key_expand_label(f->kind, f->secret, "key", key, aead_key_bytes(f->kind)) < 0 ||
        key_expand_label(f->kind, f->secret, "iv", f->iv, 12) < 0 ||
        aead_new(&f->aead, f->kind, AEAD_EVP, key, NULL) < 0) {
        abort();
    }
    f->seq = 0;
}

static void forger_init(struct forger *f, enum aead_kind kind, const uint8_t *secret)
{
    *f = (struct forger){.kind = kind, .wire = shared_wire};
    memcpy(f->secret, secret, 48);
    forger_key(f);
}

static void forger_update(struct forger *f)
{
    if (key_expand_label(f->kind, f->secret, "traffic upd", f->secret,
                         record_secret_bytes(f->kind)) < 0) {
        abort();
    }
    forger_key(f);
}

/* Returns the record's length; it stands in f->wire. */
static size_t forge(struct forger *f, int type, const void *content, size_t len, size_t padding)
{
    uint8_t nonce[12];
    size_t inner = len + 1 + padding;

    f->wire[0] = DATA;
    be16_put(f->wire + 1, 0x0303);
    be16_put(f->wire + 3, (uint16_t)(inner + 16));
    memcpy(f->wire + 5, content, len);
    f->wire[5 + len] = (uint8_t)type;
    memset(f->wire + 6 + len, 0, padding);
    memcpy(nonce, f->iv, 12);
    for (int i = 0; i < 8; i++) {
        nonce[11 - i] ^= (uint8_t)(f->seq >> 8 * i);
    }
    struct aead_text text = {nonce, f->wire, 5, f->wire + 5, inner};
    if (aead_seal(f->aead, &text, f->wire + 5 + inner) < 0) {
        abort();
    }
    f->seq++;
    return 5 + inner + 16;
}

static struct record *make(enum aead_kind kind, const uint8_t *seal, const uint8_t *open,
                           uint64_t update_records)
{
    struct record_setup setup = {.kind = kind,
                                 .seal_secret = seal,
                                 .open_secret = open,
                                 .limits = {.update_records = update_records}};
    struct record *r = NULL;

    if (record_new(&r, &setup, NULL) < 0) {
        abort();
    }
    return r;
}

/* A record layer and a hand-made peer that talks to it. */
struct rig {
    struct record *r;
    struct forger peer;
    struct iovec iov[8];
    struct record_run run;
    struct diag why;
};

static void rig_start(struct rig *g)
{
    *g = (struct rig){0};
    g->r = make(AEAD_AES_128_GCM, secret_a, secret_b, 0);
    forger_init(&g->peer, AEAD_AES_128_GCM, secret_b);
}

static void rig_stop(struct rig *g)
{
    record_free(g->r);
    aead_free(g->peer.aead);
}

static int feed(struct rig *g, size_t len)
{
    g->run = (struct record_run){.iov = g->iov, .iov_max = ARRAY_LEN(g->iov)};
    return record_open(g->r, g->peer.wire, len, &g->run, &g->why);
}

static int tell(struct rig *g, int type, const void *content, size_t len)
{
    return feed(g, forge(&g->peer, type, content, len, 0));
}

TEST(a_published_trace_is_reproduced)
{
    /* RFC 8448 section 3: client_application_traffic_secret_0 and the first record under it. */
    static const uint8_t secret[32] = {0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d,
                                       0xc0, 0x5a, 0xf8, 0x88, 0x9b, 0xce, 0x65, 0x52,
                                       0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf, 0x00, 0x87,
                                       0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5};
    static const uint8_t want[72] = {
        0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf, 0xfa,
        0xfe, 0x82, 0x28, 0xba, 0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9, 0x14, 0xaa, 0x66, 0xbc,
        0xab, 0x3f, 0x2b, 0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b, 0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20,
        0x44, 0x1e, 0x2b, 0x62, 0x97, 0x4e, 0x1f, 0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd,
        0x1e, 0x3d, 0xea, 0xe6, 0x3a, 0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4};
    uint8_t buf[72];
    struct record *r = make(AEAD_AES_128_GCM, secret, secret_b, 0);

    for (uint8_t i = 0; i < 50; i++) {
        buf[RECORD_HEAD + i] = i;
    }
    int e = record_seal(r, buf, 50, NULL);
    record_free(r);
    CHECK_INT(e, 0);
    CHECK_INT(record_run_bytes(50), 72);
    CHECK_MEM(buf, want, 72);
}

/* Seals len bytes of pattern as a run and opens them on the other side. */
static bool passes(struct record *from, struct record *to, size_t len)
{
    static uint8_t run[5 * RECORD_SLOT];
    struct iovec iov[8];
    struct record_run got = {.iov = iov, .iov_max = 8};
    size_t seen = 0;

    for (size_t i = 0; i < len; i++) {
        run[i / RECORD_PLAIN_MAX * RECORD_SLOT + RECORD_HEAD + i % RECORD_PLAIN_MAX] =
            (uint8_t)(i * 7);
    }
    if (record_seal(from, run, len, NULL) < 0 ||
        record_open(to, run, record_run_bytes(len), &got, NULL) < 0 || got.bytes != len ||
        got.used != record_run_bytes(len)) {
        return false;
    }
    for (size_t p = 0; p < got.iov_len; p++) {
        const uint8_t *bytes = iov[p].iov_base;
        for (size_t i = 0; i < iov[p].iov_len; i++, seen++) {
            if (bytes[i] != (uint8_t)(seen * 7)) {
                return false;
            }
        }
    }
    return seen == len;
}

TEST(keys_at_rest_are_made_again_and_counting_goes_on)
{
    for (int k = 0; k < 2; k++) {
        enum aead_kind kind = k ? AEAD_AES_256_GCM : AEAD_AES_128_GCM;
        AUTO(record) struct record *a = make(kind, secret_a, secret_b, 3);
        AUTO(record) struct record *b = make(kind, secret_b, secret_a, 3);
        uint8_t control[RECORD_CONTROL_MAX];

        for (unsigned i = 0; i < 20; i++) {
            ssize_t n = record_control(a, control, NULL); /* every third: another key */
            struct record_run run = {.iov = &(struct iovec){NULL, 0}, .iov_max = 1};
            CHECK(n >= 0 && record_open(b, control, (size_t)n, &run, NULL) == 0);
            CHECK(passes(a, b, 100) && passes(b, a, 100));
            record_rest(i % 2 ? a : b);
            record_rest(i % 3 ? a : b);
        }
        struct record_stats stats;
        record_stats(b, &stats);
        CHECK(stats.key_updates_received > 3);
    }
}

TEST(runs_of_any_length_arrive_whole_in_both_suites)
{
    static const size_t lengths[] = {1, 2, 100, 16383, 16384, 16385, 32768, 40000, 65536, 70000};

    for (int k = 0; k < 2; k++) {
        enum aead_kind kind = k ? AEAD_AES_256_GCM : AEAD_AES_128_GCM;
        AUTO(record) struct record *a = make(kind, secret_a, secret_b, 0);
        AUTO(record) struct record *b = make(kind, secret_b, secret_a, 0);
        for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
            CHECK(passes(a, b, lengths[i]));
            CHECK(passes(b, a, lengths[i]));
        }
    }
}

TEST(own_key_updates_go_out_at_the_limit_and_are_understood)
{
    AUTO(record) struct record *a = make(AEAD_AES_256_GCM, secret_a, secret_b, 3);
    AUTO(record) struct record *b = make(AEAD_AES_256_GCM, secret_b, secret_a, 5);
    uint8_t control[RECORD_CONTROL_MAX];
    struct record_stats sa, sb;

    for (int i = 0; i < 300; i++) {
        struct record *from = i % 2 ? a : b;
        struct record *to = i % 2 ? b : a;
        struct iovec iov[1];
        struct record_run run = {.iov = iov, .iov_max = 1};
        ssize_t n = record_control(from, control, NULL);
        CHECK(n >= 0);
        CHECK_INT(record_open(to, control, (size_t)n, &run, NULL), 0);
        CHECK_INT(run.used, (size_t)n);
        CHECK(passes(from, to, 10));
    }
    record_stats(a, &sa);
    record_stats(b, &sb);
    CHECK_INT(sa.key_updates_sent, 49);
    CHECK_INT(sb.key_updates_sent, 29);
    CHECK_INT(sa.key_updates_received, sb.key_updates_sent);
    CHECK_INT(sb.key_updates_received, sa.key_updates_sent);
}

TEST(a_byte_limit_updates_the_key_too)
{
    struct record_setup setup = {.kind = AEAD_AES_128_GCM,
                                 .seal_secret = secret_a,
                                 .open_secret = secret_b,
                                 .limits = {.update_bytes = 1000}};
    AUTO(record) struct record *r = NULL;
    static uint8_t run[RECORD_SLOT];

    CHECK_INT(record_new(&r, &setup, NULL), 0);
    CHECK_INT(record_seal(r, run, 999, NULL), 0);
    CHECK(!record_wants_control(r));
    CHECK_INT(record_seal(r, run, 1, NULL), 0);
    CHECK(record_wants_control(r));
}

TEST(a_requested_key_update_is_answered_once)
{
    struct rig g;
    static const uint8_t ask[] = {24, 0, 0, 1, 1};
    uint8_t control[RECORD_CONTROL_MAX];

    rig_start(&g);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(tell(&g, HANDSHAKE, ask, sizeof(ask)), 0);
        forger_update(&g.peer);
    }
    CHECK_INT(tell(&g, DATA, "hello", 5), 0);
    CHECK_INT(g.run.bytes, 5);
    CHECK(record_wants_control(g.r));
    CHECK_INT(record_control(g.r, control, NULL), 27);
    CHECK_INT(record_control(g.r, control, NULL), 0);
    rig_stop(&g);
}

TEST(padding_and_foreign_tickets_are_dropped)
{
    struct rig g;
    uint8_t ticket[200] = {4, 0, 0, 196};

    rig_start(&g);
    CHECK_INT(feed(&g, forge(&g.peer, DATA, "abc", 3, 1000)), 0);
    CHECK_INT(g.run.bytes, 3);
    CHECK_MEM(g.iov[0].iov_base, "abc", 3);
    CHECK_INT(tell(&g, HANDSHAKE, ticket, sizeof(ticket)), 0);
    CHECK_INT(g.run.bytes, 0);
    /* A ticket cut into records of one byte each. */
    for (size_t i = 0; i < sizeof(ticket); i++) {
        CHECK_INT(tell(&g, HANDSHAKE, ticket + i, 1), 0);
    }
    /* Two tickets and a key update in one record. */
    uint8_t many[13] = {4, 0, 0, 0, 4, 0, 0, 0, 24, 0, 0, 1, 0};
    CHECK_INT(tell(&g, HANDSHAKE, many, sizeof(many)), 0);
    forger_update(&g.peer);
    CHECK_INT(tell(&g, DATA, "x", 1), 0);
    CHECK_INT(g.run.bytes, 1);
    struct record_stats stats;
    record_stats(g.r, &stats);
    CHECK_INT(stats.tickets, 4);
    rig_stop(&g);
}

struct refusal {
    const char *what;
    int type;
    const char *content;
    size_t len;
    size_t padding;
    enum tls_alert alert;
};

static const struct refusal refusals[] = {
    {"unknown type", 99, "x", 1, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"type zero", 0, "", 0, 20, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"change cipher spec", CCS, "\1", 1, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"empty handshake", HANDSHAKE, "", 0, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"client hello", HANDSHAKE, "\1\0\0\1\0", 5, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"certificate request", HANDSHAKE, "\15\0\0\1\0", 5, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"update of two", HANDSHAKE, "\30\0\0\1\2", 5, 0, TLS_ALERT_ILLEGAL_PARAMETER},
    {"update of no byte", HANDSHAKE, "\30\0\0\0", 4, 0, TLS_ALERT_DECODE_ERROR},
    {"update of two bytes", HANDSHAKE, "\30\0\0\2\0\0", 6, 0, TLS_ALERT_DECODE_ERROR},
    {"data behind an update", HANDSHAKE, "\30\0\0\1\0\4\0\0\0", 9, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"huge ticket", HANDSHAKE, "\4\1\0\1", 4, 0, TLS_ALERT_UNEXPECTED_MESSAGE},
    {"alert of one byte", ALERT, "\1", 1, 0, TLS_ALERT_DECODE_ERROR},
    {"alert of three bytes", ALERT, "\1\0\0", 3, 0, TLS_ALERT_DECODE_ERROR},
    {"too much padding", DATA, "x", 1, RECORD_PLAIN_MAX, TLS_ALERT_RECORD_OVERFLOW},
};

TEST(what_a_peer_may_not_send_is_refused_with_the_right_alert)
{
    for (unsigned i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *c = &refusals[i];
        struct rig g;
        rig_start(&g);
        int r = feed(&g, forge(&g.peer, c->type, c->content, c->len, c->padding));
        enum tls_alert alert = record_alert_due(g.r);
        int again = tell(&g, DATA, "x", 1);
        rig_stop(&g);
        printf("# %s\n", c->what);
        CHECK_INT(r, -ERR_TLS_RECORD);
        CHECK_INT(alert, c->alert);
        CHECK_INT(again, -ERR_TLS_RECORD);
    }
}

TEST(the_largest_padding_that_fits_is_fine)
{
    struct rig g;

    rig_start(&g);
    CHECK_INT(feed(&g, forge(&g.peer, DATA, "x", 1, RECORD_PLAIN_MAX - 1)), 0);
    CHECK_INT(g.run.bytes, 1);
    rig_stop(&g);
}

TEST(headers_that_cannot_be_are_refused_before_the_record_is_complete)
{
    static const struct {
        uint8_t head[5];
        enum tls_alert alert;
    } cases[] = {
        {{22, 3, 3, 0, 100}, TLS_ALERT_UNEXPECTED_MESSAGE},
        {{20, 3, 3, 0, 1}, TLS_ALERT_UNEXPECTED_MESSAGE},
        {{21, 3, 3, 0, 2}, TLS_ALERT_UNEXPECTED_MESSAGE},
        {{23, 3, 3, 0x41, 1}, TLS_ALERT_RECORD_OVERFLOW},
        {{23, 3, 3, 0, 16}, TLS_ALERT_BAD_RECORD_MAC},
        {{23, 3, 3, 0, 0}, TLS_ALERT_BAD_RECORD_MAC},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig g;
        rig_start(&g);
        memcpy(g.peer.wire, cases[i].head, 5);
        int r = feed(&g, 5);
        enum tls_alert alert = record_alert_due(g.r);
        rig_stop(&g);
        CHECK_INT(r, -ERR_TLS_RECORD);
        CHECK_INT(alert, cases[i].alert);
    }
}

/* How many records of this kind are taken before one is refused. */
static int endure(int type, const void *content, size_t len, bool updates, const char *between)
{
    struct rig g;
    int n = 0;

    rig_start(&g);
    for (; n < 1000; n++) {
        if (tell(&g, type, content, len) < 0) {
            break;
        }
        if (updates) {
            forger_update(&g.peer);
        }
        if (between && tell(&g, DATA, between, strlen(between)) < 0) {
            break;
        }
    }
    rig_stop(&g);
    return n;
}

TEST(a_peer_that_only_makes_work_runs_out_of_budget)
{
    static const uint8_t update[] = {24, 0, 0, 1, 1};
    static const uint8_t ticket[] = {4, 0, 0, 1, 0};

    CHECK_INT(endure(DATA, "", 0, false, NULL), RECORD_EMPTY_MAX);
    CHECK_INT(endure(HANDSHAKE, update, sizeof(update), true, NULL), RECORD_KEY_UPDATES_MAX);
    CHECK_INT(endure(HANDSHAKE, ticket, sizeof(ticket), false, NULL), RECORD_TICKETS_MAX);
    CHECK_INT(endure(HANDSHAKE, ticket, sizeof(ticket), false, "x"), RECORD_TICKETS_MAX);
    CHECK_INT(endure(ALERT, "\1\132", 2, false, NULL), RECORD_EMPTY_MAX); /* user_canceled */
    /* ... but one that also sends data does not. */
    CHECK_INT(endure(DATA, "", 0, false, "x"), 1000);
    CHECK_INT(endure(HANDSHAKE, update, sizeof(update), true, "x"), 1000);
}

TEST(data_may_not_cut_a_handshake_message)
{
    struct rig g;

    rig_start(&g);
    CHECK_INT(tell(&g, HANDSHAKE, "\4\0", 2), 0);
    CHECK_INT(tell(&g, DATA, "x", 1), -ERR_TLS_RECORD);
    CHECK_INT(record_alert_due(g.r), TLS_ALERT_UNEXPECTED_MESSAGE);
    rig_stop(&g);
}

TEST(a_flipped_bit_anywhere_is_refused)
{
    for (size_t bit = 0; bit < (5 + 10 + 1 + 16) * 8; bit++) {
        struct rig g;
        rig_start(&g);
        size_t len = forge(&g.peer, DATA, "0123456789", 10, 0);
        g.peer.wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int r = feed(&g, len);
        size_t shown = g.run.bytes;
        bool waits = r == 0 && g.run.used == 0; /* a longer length: more is awaited */
        rig_stop(&g);
        CHECK(waits || r == -ERR_TLS_RECORD);
        CHECK_INT(shown, 0);
    }
}

TEST(replayed_and_swapped_records_are_refused)
{
    struct rig g;
    uint8_t first[64];

    rig_start(&g);
    size_t len = forge(&g.peer, DATA, "one", 3, 0);
    memcpy(first, g.peer.wire, len);
    CHECK_INT(feed(&g, len), 0);
    memcpy(g.peer.wire, first, len);
    CHECK_INT(feed(&g, len), -ERR_TLS_RECORD);
    rig_stop(&g);
    rig_start(&g);
    (void)forge(&g.peer, DATA, "one", 3, 0);
    CHECK_INT(tell(&g, DATA, "two", 3), -ERR_TLS_RECORD);
    CHECK_INT(record_alert_due(g.r), TLS_ALERT_BAD_RECORD_MAC);
    rig_stop(&g);
}

TEST(pieces_before_a_bad_record_are_given_out)
{
    struct rig g;
    uint8_t both[128];

    rig_start(&g);
    size_t a = forge(&g.peer, DATA, "good", 4, 0);
    memcpy(both, g.peer.wire, a);
    size_t b = forge(&g.peer, DATA, "bad", 3, 0);
    memcpy(both + a, g.peer.wire, b);
    both[a + 7] ^= 1;
    memcpy(g.peer.wire, both, a + b);
    CHECK_INT(feed(&g, a + b), -ERR_TLS_RECORD);
    CHECK_INT(g.run.bytes, 4);
    CHECK_INT(g.run.used, a);
    CHECK_MEM(g.iov[0].iov_base, "good", 4);
    rig_stop(&g);
}

TEST(bytes_may_arrive_in_any_cuts)
{
    AUTO(record) struct record *a = make(AEAD_AES_128_GCM, secret_a, secret_b, 0);
    uint8_t wire[3 * 64];
    size_t len = 0;

    for (int i = 0; i < 3; i++) {
        uint8_t run[64];
        memset(run, 'a' + i, sizeof(run));
        CHECK_INT(record_seal(a, run, 20, NULL), 0);
        memcpy(wire + len, run, record_run_bytes(20));
        len += record_run_bytes(20);
    }
    for (size_t cut = 0; cut <= len; cut++) {
        AUTO(record) struct record *b = make(AEAD_AES_128_GCM, secret_b, secret_a, 0);
        uint8_t copy[sizeof(wire)];
        struct iovec iov[4];
        struct record_run run = {.iov = iov, .iov_max = 4};
        memcpy(copy, wire, len);
        CHECK_INT(record_open(b, copy, cut, &run, NULL), 0);
        size_t got = run.bytes;
        size_t at = run.used;
        CHECK_INT(record_open(b, copy + at, len - at, &run, NULL), 0);
        CHECK_INT(got + run.bytes, 60);
    }
}

/* Data records, a key request and padding between them, of which the last record is cut off. */
static size_t forge_many(struct rig *g, uint8_t *all, size_t *out_cut)
{
    static const uint8_t request[] = {24, 0, 0, 1, 1};
    size_t len = 0;

    for (int i = 0; i < 6; i++) {
        size_t n = i == 2 ? forge(&g->peer, HANDSHAKE, request, sizeof(request), 0)
                          : forge(&g->peer, DATA, "abcdefgh", 8, i == 4 ? 30 : 0);
        memcpy(all + len, g->peer.wire, n);
        len += n;
        if (i == 2) {
            forger_update(&g->peer);
        }
        *out_cut = n;
    }
    *out_cut = len - *out_cut;
    return len;
}

TEST(records_opened_into_other_memory_become_one_piece)
{
    static const char want[] = "abcdefghabcdefghabcdefghabcdefghabcdefgh";
    /* The fourth data record needs 39 bytes for a moment, which are missing behind 24. */
    static const struct {
        size_t room, bytes;
    } cases[] = {{8, 0}, {9, 8}, {62, 24}, {63, 40}, {1000, 40}};

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t all[1024], before[1024], into[1000];
        size_t cut = 0;
        struct rig g;

        rig_start(&g);
        size_t len = forge_many(&g, all, &cut);
        memcpy(before, all, len);
        memset(into, 0xee, sizeof(into));
        g.run =
            (struct record_run){.iov = g.iov, .iov_max = 1, .into = into, .room = cases[i].room};
        CHECK_INT(record_open(g.r, all, len, &g.run, &g.why), 0);
        CHECK_INT(g.run.bytes, cases[i].bytes);
        CHECK_INT(g.run.iov_len, cases[i].bytes > 0);
        CHECK_MEM(into, want, cases[i].bytes);
        CHECK_MEM(all, before, len);
        CHECK(cases[i].room == sizeof(into) || into[cases[i].room] == 0xee);
        if (cases[i].bytes == 40) {
            CHECK_INT(g.run.used, len);
            CHECK_INT(g.iov[0].iov_len, 40);
        } else { /* what had no room is opened later, where it stands */
            size_t at = g.run.used;
            g.run = (struct record_run){.iov = g.iov, .iov_max = ARRAY_LEN(g.iov)};
            CHECK_INT(record_open(g.r, all + at, len - at, &g.run, &g.why), 0);
            CHECK_INT(g.run.bytes + cases[i].bytes, 40);
        }
        rig_stop(&g);
    }
}

TEST(nothing_of_a_forged_record_reaches_other_memory)
{
    uint8_t all[1024], into[1000];
    uint8_t zero[8] = {0};
    size_t cut = 0;
    struct rig g;

    rig_start(&g);
    size_t len = forge_many(&g, all, &cut);
    all[len - 1] ^= 1;
    memset(into, 0xee, sizeof(into));
    g.run = (struct record_run){.iov = g.iov, .iov_max = 1, .into = into, .room = sizeof(into)};
    CHECK_INT(record_open(g.r, all, len, &g.run, &g.why), -ERR_TLS_RECORD);
    CHECK_INT(g.run.bytes, 32);
    CHECK_INT(g.run.used, cut);
    CHECK_MEM(into, "abcdefghabcdefghabcdefghabcdefgh", 32);
    CHECK_MEM(into + 32, zero, 8);
    rig_stop(&g);
}

TEST(a_full_array_of_pieces_stops_the_run)
{
    struct rig g;
    uint8_t all[1024];
    size_t len = 0;

    rig_start(&g);
    for (int i = 0; i < 20; i++) {
        size_t n = forge(&g.peer, DATA, "x", 1, 0);
        memcpy(all + len, g.peer.wire, n);
        len += n;
    }
    memcpy(g.peer.wire, all, len);
    CHECK_INT(feed(&g, len), 0);
    CHECK_INT(g.run.iov_len, 8);
    CHECK_INT(g.run.used, len / 20 * 8);
    rig_stop(&g);
}

TEST(close_notify_ends_reading_and_what_follows_is_ignored)
{
    struct rig g;
    uint8_t all[256];

    rig_start(&g);
    size_t a = forge(&g.peer, DATA, "last", 4, 0);
    memcpy(all, g.peer.wire, a);
    size_t b = forge(&g.peer, ALERT, "\1\0", 2, 0);
    memcpy(all + a, g.peer.wire, b);
    memcpy(all + a + b, "garbage", 7);
    memcpy(g.peer.wire, all, a + b + 7);
    CHECK_INT(feed(&g, a + b + 7), 0);
    CHECK_INT(g.run.bytes, 4);
    CHECK_INT(g.run.end, RECORD_CLOSED);
    CHECK_INT(g.run.used, a + b + 7);
    CHECK(record_is_closed(g.r));
    rig_stop(&g);
}

TEST(a_fatal_alert_is_the_peers_error)
{
    struct rig g;

    rig_start(&g);
    CHECK_INT(tell(&g, ALERT, "\2\56", 2), -ERR_TLS_ALERT);
    CHECK_STR(g.why.text, "peer sent TLS alert 46 (certificate unknown)");
    rig_stop(&g);
}

TEST(nothing_is_sealed_behind_an_alert)
{
    AUTO(record) struct record *a = make(AEAD_AES_128_GCM, secret_a, secret_b, 1);
    AUTO(record) struct record *b = make(AEAD_AES_128_GCM, secret_b, secret_a, 0);
    uint8_t out[RECORD_CONTROL_MAX];
    static uint8_t run[RECORD_SLOT];
    struct iovec iov[1];
    struct record_run got = {.iov = iov, .iov_max = 1};

    CHECK_INT(record_alert(a, TLS_ALERT_CLOSE_NOTIFY, out, NULL), 24);
    CHECK_INT(record_open(b, out, 24, &got, NULL), 0);
    CHECK_INT(got.end, RECORD_CLOSED);
    CHECK_INT(record_seal(a, run, 5, NULL), -EPIPE);
    CHECK_INT(record_alert(a, TLS_ALERT_CLOSE_NOTIFY, out, NULL), -EPIPE);
    CHECK(!record_wants_control(a));
}

static int reborn(struct record **r, size_t patch_at, const uint8_t *patch, size_t patch_len)
{
    struct record_limits none = {0};
    struct record *twin = NULL;
    struct bytes blob;

    bytes_init(&blob, 4096);
    int e = record_export(*r, &blob, NULL);
    if (e == 0) {
        uint8_t copy[RECORD_BLOB_BYTES];
        memcpy(copy, bytes_peek(&blob), sizeof(copy));
        if (patch) {
            memcpy(copy + patch_at, patch, patch_len);
        }
        e = record_import(&twin, copy, sizeof(copy), &none, AEAD_EVP, NULL);
    }
    bytes_fini(&blob);
    if (e == 0) {
        record_free(*r);
        *r = twin;
    }
    return e;
}

TEST(a_session_goes_on_after_hand_over_at_any_record)
{
    AUTO(record) struct record *a = make(AEAD_AES_256_GCM, secret_a, secret_b, 0);
    AUTO(record) struct record *b = make(AEAD_AES_256_GCM, secret_b, secret_a, 0);

    for (int i = 0; i < 20; i++) {
        CHECK(passes(a, b, 1000));
        CHECK(passes(b, a, 20000));
        CHECK_INT(reborn(i % 2 ? &a : &b, 0, NULL, 0), 0);
    }
}

TEST(a_hand_over_inside_a_handshake_message_keeps_its_place)
{
    struct rig g;
    uint8_t all[10] = {4, 0, 0, 6, 1, 2, 3, 4, 5, 6};

    rig_start(&g);
    for (size_t i = 0; i < sizeof(all); i++) {
        CHECK_INT(tell(&g, HANDSHAKE, all + i, 1), 0);
        CHECK_INT(reborn(&g.r, 0, NULL, 0), 0);
    }
    static const uint8_t ask[] = {24, 0, 0, 1, 1};
    CHECK_INT(tell(&g, HANDSHAKE, ask, sizeof(ask)), 0);
    forger_update(&g.peer);
    CHECK_INT(reborn(&g.r, 0, NULL, 0), 0);
    CHECK(record_wants_control(g.r));
    CHECK_INT(tell(&g, DATA, "x", 1), 0);
    rig_stop(&g);
}

TEST(a_newer_or_malformed_session_is_refused)
{
    AUTO(record) struct record *r = make(AEAD_AES_128_GCM, secret_a, secret_b, 0);
    struct record *none = NULL;
    struct record_limits limits = {0};
    uint8_t junk[RECORD_BLOB_BYTES] = {0};

    CHECK_INT(reborn(&r, 2, (const uint8_t *)"\2", 1), -ERR_VERSION);
    CHECK_INT(reborn(&r, 2, (const uint8_t *)"\0", 1), -ERR_SYNTAX);
    CHECK_INT(reborn(&r, 3, (const uint8_t *)"\2", 1), -ERR_SYNTAX);  /* suite */
    CHECK_INT(reborn(&r, 4, (const uint8_t *)"\10", 1), -ERR_SYNTAX); /* flags */
    CHECK_INT(reborn(&r, 161, (const uint8_t *)"\5", 1),
              -ERR_SYNTAX); /* length of a message head */
    CHECK_INT(reborn(&r, 166, (const uint8_t *)"\1", 1), -ERR_SYNTAX); /* body without a head */
    CHECK_INT(record_import(&none, junk, sizeof(junk), &limits, AEAD_AUTO, NULL), -ERR_SYNTAX);
    CHECK_INT(record_import(&none, "TR\1", 3, &limits, AEAD_AUTO, NULL), -ERR_SYNTAX);
    CHECK_INT(record_import(&none, "TR\2", 3, &limits, AEAD_AUTO, NULL), -ERR_VERSION);
    CHECK_INT(record_import(&none, "T", 1, &limits, AEAD_AUTO, NULL), -ERR_SYNTAX);
    CHECK(none == NULL);
    CHECK_INT(reborn(&r, 0, NULL, 0), 0);
}

TEST(sequence_numbers_never_wrap)
{
    AUTO(record) struct record *r = make(AEAD_AES_128_GCM, secret_a, secret_b, 0);
    static uint8_t run[RECORD_SLOT];
    struct rig g;
    static const uint8_t last[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t hard[8] = {0, 0, 0, 0, 1, 0, 0, 0};

    CHECK_INT(reborn(&r, 5, hard, 8), 0); /* the sealing half's number: 2^24 */
    CHECK_INT(record_seal(r, run, 1, NULL), -ERR_LIMIT);
    CHECK(record_wants_control(r));
    rig_start(&g);
    CHECK_INT(reborn(&g.r, 5 + 64, last, 8), 0); /* the opening half's */
    g.peer.seq = UINT64_MAX;
    CHECK_INT(tell(&g, DATA, "x", 1), -ERR_TLS_RECORD);
    CHECK_INT(record_alert_due(g.r), TLS_ALERT_INTERNAL_ERROR);
    rig_stop(&g);
}

TEST(all_eight_bytes_of_the_sequence_number_count)
{
    static const uint8_t high[8] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0};
    struct rig g;

    rig_start(&g);
    CHECK_INT(reborn(&g.r, 5 + 64, high, 8), 0);
    g.peer.seq = 0x123456789abcdef0;
    CHECK_INT(tell(&g, DATA, "x", 1), 0);
    CHECK_INT(tell(&g, DATA, "x", 1), 0);
    rig_stop(&g);
}

TEST(a_hand_over_without_room_fails_and_changes_nothing)
{
    AUTO(record) struct record *a = make(AEAD_AES_128_GCM, secret_a, secret_b, 0);
    AUTO(record) struct record *b = make(AEAD_AES_128_GCM, secret_b, secret_a, 0);
    struct bytes small;

    bytes_init(&small, 100);
    CHECK_INT(record_export(a, &small, NULL), -ERR_TOO_LARGE);
    bytes_fini(&small);
    bytes_init(&small, 1000);
    (void)mem_fault_set(0);
    CHECK(record_export(a, &small, NULL) < 0);
    (void)mem_fault_set(-1);
    bytes_fini(&small);
    CHECK(passes(a, b, 100));
}
