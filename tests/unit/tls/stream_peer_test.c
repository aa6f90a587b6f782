/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions whose peer or whose loop is not as it should be. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stream_rig.h"
#include "t.h"
#include "tls/key_schedule.h"

/* What half_rig puts between TLS and the pipe; NULL: nothing. */
static struct stream *(*half_wrap)(struct stream *take_end);

/* Streams below TLS, to cut or fill by hand. */
static void half_rig(struct tls_rig *g, bool client, struct stream **out_peer,
                     const struct tls_loop_options *limits)
{
    struct stream *ends[2];
    struct handshake_spec spec = tls_spec_of(client);

    tls_rig_base(g, NULL, limits);
    mempipe_pair(ends, 20000, NULL);
    ends[0] = half_wrap ? half_wrap(ends[0]) : ends[0];
    tls_rig_talk(g, &g->e[0], tls_stream_new(g->tls, ends[0], &spec, 1), 0);
    *out_peer = ends[1];
}

static bool say(struct stream *s, const void *text, size_t len)
{
    return stream_write(s, text, len) == (ssize_t)len && stream_flush(s) == 0;
}

static bool half_settle(struct tls_rig *g)
{
    for (int i = 0; i < TURNS_MAX && g->e[0].error == 0; i++) {
        (void)loop_turn(g->l, WAIT_MS);
    }
    return g->e[0].error < 0;
}

TEST(a_silent_peer_runs_into_the_deadline)
{
    for (int client = 0; client < 2; client++) {
        struct tls_loop_options limits = {.handshake_ms = 1000};
        struct stream *peer;
        struct tls_rig g;
        half_rig(&g, client, &peer, &limits);
        for (int i = 0; i < 5; i++) {
            (void)loop_turn(g.l, WAIT_MS);
        }
        CHECK_INT(g.e[0].error, 0);
        loop_advance(g.l, 1001);
        CHECK(half_settle(&g));
        CHECK_INT(g.e[0].error, -ERR_DEADLINE);
        CHECK_STR(stream_diag(g.e[0].s)->text, "TLS handshake took too long");
        stream_close(peer, 0);
        tls_rig_stop(&g);
    }
}

TEST(a_peer_that_leaves_in_the_handshake_is_a_truncation)
{
    struct stream *peer;
    struct tls_rig g;

    half_rig(&g, false, &peer, NULL);
    CHECK(say(peer, "\26\3\1", 3));
    (void)loop_turn(g.l, 0);
    stream_close(peer, 0);
    CHECK(half_settle(&g));
    CHECK_INT(g.e[0].error, -ERR_TRUNCATED);
    tls_rig_stop(&g);
}

TEST(another_protocol_is_answered_with_an_alert)
{
    static const uint8_t want[] = {21, 3, 3, 0, 2, 2, 50};
    struct stream *peer;
    uint8_t got[64];
    struct tls_rig g;

    half_rig(&g, false, &peer, NULL);
    CHECK(say(peer, "GET / HTTP/1.1\r\n\r\n", 18));
    CHECK(half_settle(&g));
    CHECK_INT(g.e[0].error, -ERR_TLS);
    CHECK_INT(stream_read(peer, got, sizeof(got)), sizeof(want));
    CHECK_MEM(got, want, sizeof(want));
    stream_close(peer, 0);
    tls_rig_stop(&g);
}

/* --- a client made by hand, which puts on the wire what a test wants --- */

struct hand {
    struct handshake *h;
    struct record *r;
    struct stream *s;
    struct tls_ctx *ctx;
};

static bool hand_step(struct tls_rig *g, struct hand *p)
{
    uint8_t buf[4096];
    struct diag why;

    for (int i = 0; i < TURNS_MAX; i++) {
        ssize_t n = stream_read(p->s, buf, sizeof(buf));
        if (n > 0 && handshake_step_blocking(p->h, buf, (size_t)n, &why) != HANDSHAKE_WANTS_INPUT) {
            return true;
        }
        (void)loop_turn(g->l, WAIT_MS);
    }
    return false;
}

/* Everything but the client's last flight, which stays in the handshake's output. */
static bool hand_start(struct tls_rig *g, struct hand *p)
{
    struct handshake_spec spec = tls_spec_of(true);

    *p = (struct hand){0};
    half_rig(g, false, &p->s, NULL);
    if (handshake_new(&p->h, g->ctx, &spec, NULL) < 0 ||
        handshake_step_blocking(p->h, NULL, 0, NULL) != HANDSHAKE_WANTS_INPUT) {
        return false;
    }
    struct slice hello = handshake_output(p->h);
    return say(p->s, hello.p, hello.len) && hand_step(g, p) &&
           handshake_take_record(p->h, &p->r, NULL) == 0;
}

static void hand_stop(struct tls_rig *g, struct hand *p)
{
    stream_close(p->s, 0);
    record_free(p->r);
    handshake_free(p->h);
    tls_rig_stop(g);
}

/* A data record of len bytes of the client's pattern, from the first on. */
static size_t hand_data(struct hand *p, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[RECORD_HEAD + i] = talk_pattern(1, i);
    }
    return record_seal(p->r, out, len, NULL) == 0 ? record_run_bytes(len) : 0;
}

TEST(data_that_comes_with_the_last_flight_is_not_lost)
{
    for (int cut = 0; cut < 40; cut += 13) {
        uint8_t wire[4096];
        struct hand p;
        struct tls_rig g;

        CHECK(hand_start(&g, &p));
        struct slice last = handshake_output(p.h);
        memcpy(wire, last.p, last.len);
        size_t len = last.len + hand_data(&p, wire + last.len, 100);
        CHECK(say(p.s, wire, len - (size_t)cut)); /* the data record may be incomplete */
        for (int i = 0; i < TURNS_MAX && !tls_stream_peer(g.e[0].s); i++) {
            (void)loop_turn(g.l, WAIT_MS);
        }
        CHECK(cut == 0 || say(p.s, wire + len - (size_t)cut, (size_t)cut));
        for (int i = 0; i < 20; i++) {
            (void)loop_turn(g.l, 0);
        }
        CHECK_INT(g.e[0].error, 0);
        CHECK_INT(g.e[0].received, 100);
        CHECK(!g.e[0].wrong);
        hand_stop(&g, &p);
    }
}

/* A key update that asks for one, forged from the keys in the exported state; p goes on under the
 * next key. */
static size_t hand_ask(struct hand *p, uint8_t out[64])
{
    enum { SEQ_AT = 5, SECRET_AT = 5 + 16 };
    static const struct record_limits limits = {0};
    uint8_t state[RECORD_BLOB_BYTES];
    uint8_t key[32];
    uint8_t nonce[12];
    struct aead *a = NULL;
    struct bytes blob;

    bytes_init(&blob, 4096);
    if (record_export(p->r, &blob, NULL) < 0) {
        abort();
    }
    memcpy(state, bytes_peek(&blob), sizeof(state));
    bytes_fini(&blob);
    uint8_t *secret = state + SECRET_AT;
    if (key_expand_label(AEAD_AES_256_GCM, secret, "key", key, 32) < 0 ||
        key_expand_label(AEAD_AES_256_GCM, secret, "iv", nonce, 12) < 0 ||
        aead_new(&a, AEAD_AES_256_GCM, AEAD_EVP, key, NULL) < 0) {
        abort();
    }
    for (int i = 0; i < 8; i++) {
        nonce[4 + i] ^= state[SEQ_AT + i];
    }
    memcpy(out, "\x17\3\3\0\x16\x18\0\0\1\1\x16", 11);
    struct aead_text text = {nonce, out, 5, out + 5, 6};
    if (aead_seal(a, &text, out + 11) < 0 ||
        key_expand_label(AEAD_AES_256_GCM, secret, "traffic upd", secret, 48) < 0) {
        abort();
    }
    aead_free(a);
    memset(state + SEQ_AT, 0, 16);
    record_free(p->r);
    if (record_import(&p->r, state, sizeof(state), &limits, AEAD_AUTO, NULL) < 0) {
        abort();
    }
    return 27;
}

/* Reads all that the stream under test sent; how much data it was. */
static size_t hand_read(struct hand *p)
{
    static uint8_t buf[20000];
    struct iovec iov[16];
    struct record_run run = {.iov = iov, .iov_max = 16};
    ssize_t n = stream_read(p->s, buf, sizeof(buf));

    if (n <= 0 || record_open(p->r, buf, (size_t)n, &run, NULL) < 0) {
        return 0;
    }
    return run.bytes;
}

TEST(a_stream_answers_a_key_request_whether_it_writes_or_only_reads)
{
    for (int writes = 0; writes < 2; writes++) {
        struct record_stats stats;
        uint8_t wire[64];
        struct hand p;
        struct tls_rig g;

        CHECK(hand_start(&g, &p));
        g.e[0].to_send = 0;
        g.e[0].shut_done = true;
        struct slice last = handshake_output(p.h);
        CHECK(say(p.s, last.p, last.len));
        for (int i = 0; i < TURNS_MAX && !tls_stream_peer(g.e[0].s); i++) {
            (void)loop_turn(g.l, WAIT_MS);
        }
        (void)loop_turn(g.l, 0);
        CHECK(say(p.s, wire, hand_ask(&p, wire)));
        if (writes) { /* not yet sealed when the request is read */
            CHECK_INT(stream_write(g.e[0].s, "hello", 5), 5);
            uint8_t byte;
            CHECK_INT(stream_read(g.e[0].s, &byte, 1), -EAGAIN);
        }
        (void)loop_turn(g.l, 0);
        CHECK_INT(hand_read(&p), writes ? 5 : 0);
        record_stats(p.r, &stats);
        CHECK_INT(stats.key_updates_received, 1);
        tls_stream_stats(g.e[0].s, &stats);
        CHECK_INT(stats.key_updates_sent, 1);
        (void)loop_turn(g.l, 0);
        (void)loop_turn(g.l, 0); /* the pipe's last wakes */
        /* Both go on under their new keys. */
        CHECK_INT(stream_write(g.e[0].s, "again", 5), 5);
        (void)loop_turn(g.l, 0); /* nobody flushes: the end of the turn does */
        CHECK_INT(hand_read(&p), 5);
        CHECK(say(p.s, wire, hand_data(&p, wire, 20)));
        (void)loop_turn(g.l, 0);
        CHECK_INT(g.e[0].received, 20);
        CHECK(!g.e[0].wrong);
        hand_stop(&g, &p);
    }
}

/* --- a peer that never stops sending, one byte of a session ticket a record --- */

enum { TICKET_BYTES = 4 + 65535, CRUMB = 5 + 1 + 1 + 16, FLOOD_READS = 50 };

static struct flood {
    struct stream s;
    struct stream *below;
    struct aead *a; /* NULL: what comes through the pipe */
    uint8_t iv[12];
    uint64_t seq;
    unsigned reads;
} flood;

static void put_crumb(uint8_t *out)
{
    static const uint8_t head[4] = {4, 0, 0xff, 0xff};
    size_t at = flood.seq % TICKET_BYTES;
    uint8_t nonce[12];

    memcpy(nonce, flood.iv, sizeof(nonce));
    for (unsigned i = 0; i < 8; i++) {
        nonce[11 - i] ^= (uint8_t)(flood.seq >> (8 * i));
    }
    memcpy(out, "\x17\3\3\0\x12", 5);
    out[5] = at < sizeof(head) ? head[at] : 0;
    out[6] = 22;
    struct aead_text text = {nonce, out, 5, out + 5, 2};
    if (aead_seal(flood.a, &text, out + 7) < 0) {
        abort();
    }
    flood.seq++;
}

static ssize_t flood_read(struct stream *s, void *into, size_t room)
{
    uint8_t *out = into;
    size_t n = 0;

    (void)s;
    if (!flood.a) {
        return stream_read(flood.below, into, room);
    }
    if (flood.reads == FLOOD_READS) {
        return -EAGAIN;
    }
    flood.reads++;
    for (; n + CRUMB <= room; n += CRUMB) {
        put_crumb(out + n);
    }
    return (ssize_t)n;
}

static ssize_t flood_write(struct stream *s, const void *from, size_t len)
{
    (void)s;
    return stream_write(flood.below, from, len);
}

static int flood_flush(struct stream *s)
{
    (void)s;
    return stream_flush(flood.below);
}

static int flood_shut(struct stream *s)
{
    (void)s;
    return stream_shut(flood.below);
}

static void flood_close(struct stream *s, int why)
{
    stream_close(flood.below, why);
    stream_fini(s);
}

static void flood_owned(struct stream *s)
{
    stream_own(flood.below, s->owner);
}

static struct stream *flood_wrap(struct stream *take_end)
{
    static const struct stream_ops ops = {.name = "flood",
                                          .read = flood_read,
                                          .write = flood_write,
                                          .flush = flood_flush,
                                          .shut = flood_shut,
                                          .close = flood_close,
                                          .owned = flood_owned};

    flood = (struct flood){.s.ops = &ops, .below = take_end};
    return &flood.s;
}

/* From now on, under the client's first key. */
static bool flood_begin(struct hand *p)
{
    enum { SECRET_AT = 5 + 16 };
    uint8_t key[32];
    struct bytes blob;

    bytes_init(&blob, 4096);
    bool ok = record_export(p->r, &blob, NULL) == 0;
    const uint8_t *secret = ok ? bytes_peek(&blob) + SECRET_AT : NULL;
    ok = ok && key_expand_label(AEAD_AES_256_GCM, secret, "key", key, 32) == 0 &&
         key_expand_label(AEAD_AES_256_GCM, secret, "iv", flood.iv, 12) == 0 &&
         aead_new(&flood.a, AEAD_AES_256_GCM, AEAD_EVP, key, NULL) == 0;
    bytes_fini(&blob);
    return ok;
}

TEST(a_peer_that_sends_everything_but_data_leaves_others_their_turn)
{
    struct record_stats stats;
    uint8_t byte;
    struct hand p;
    struct tls_rig g;

    half_wrap = flood_wrap;
    CHECK(hand_start(&g, &p));
    half_wrap = NULL;
    struct slice last = handshake_output(p.h);
    CHECK(say(p.s, last.p, last.len));
    for (int i = 0; i < TURNS_MAX && !tls_stream_peer(g.e[0].s); i++) {
        (void)loop_turn(g.l, WAIT_MS);
    }
    (void)loop_turn(g.l, 0);
    CHECK(flood_begin(&p));
    CHECK_INT(stream_read(g.e[0].s, &byte, 1), -EAGAIN);
    CHECK(flood.reads > 0 && flood.reads < 10);
    for (int i = 0; i < TURNS_MAX && flood.reads < FLOOD_READS; i++) {
        (void)loop_turn(g.l, 0); /* each -EAGAIN has brought its wake */
    }
    CHECK_INT(flood.reads, FLOOD_READS);
    CHECK_INT(g.e[0].error, 0);
    tls_stream_stats(g.e[0].s, &stats);
    CHECK_INT(stats.opened_records, flood.seq);
    aead_free(MOVE(flood.a));
    hand_stop(&g, &p);
}

TEST(the_end_of_our_half_reaches_the_layer_below)
{
    struct hand p;
    struct tls_rig g;
    uint8_t byte;

    CHECK(hand_start(&g, &p));
    g.e[0].to_send = 0;
    struct slice last = handshake_output(p.h);
    CHECK(say(p.s, last.p, last.len));
    for (int i = 0; i < TURNS_MAX && !g.e[0].shut_done; i++) {
        (void)loop_turn(g.l, WAIT_MS);
    }
    CHECK(g.e[0].shut_done);
    CHECK_INT(hand_read(&p), 0);
    CHECK(record_is_closed(p.r));
    CHECK_INT(stream_read(p.s, &byte, 1), 0);
    hand_stop(&g, &p);
}

TEST(a_full_job_pool_delays_handshakes)
{
    static struct plug plugs[2];
    struct stream *ends[2];
    struct handshake_spec spec = tls_spec_of(true);
    struct hand p;
    struct tls_rig g;
    uint8_t byte;

    tls_rig_pool_limit = 1;
    CHECK(hand_start(&g, &p));
    tls_rig_pool_limit = 100;
    for (int i = 0; i < 2; i++) { /* one runs, one fills the queue */
        plug_submit(&plugs[i], &g, &g.e[0].task);
    }
    mempipe_pair(ends, 1000, NULL);
    struct stream *late = tls_stream_new(g.tls, ends[0], &spec, 2);
    CHECK_INT(stream_read(late, &byte, 1), -EAGAIN);
    stream_close(late, 0);
    stream_close(ends[1], 0);
    struct slice last = handshake_output(p.h);
    CHECK(say(p.s, last.p, last.len));
    for (int i = 0; i < 5; i++) {
        (void)loop_turn(g.l, 0);
        loop_advance(g.l, LONGER_THAN_A_RETRY_MS);
    }
    CHECK_INT(g.e[0].error, 0);
    CHECK(!tls_stream_peer(g.e[0].s));
    plug_release(&plugs[0]);
    plug_release(&plugs[1]);
    for (struct jobs_stats s = {.running = 1}; s.queued + s.running > 0; s = jobs_stats(g.pool)) {
        (void)loop_turn(g.l, WAIT_MS);
    }
    loop_advance(g.l, LONGER_THAN_A_RETRY_MS);
    for (int i = 0; i < TURNS_MAX && !tls_stream_peer(g.e[0].s); i++) {
        (void)loop_turn(g.l, WAIT_MS);
    }
    CHECK(tls_stream_peer(g.e[0].s) != NULL);
    tls_rig_drain(&g);
    hand_stop(&g, &p);
}

/* The inner session of a tunnel in a tunnel: both use the same two batches. */
TEST(a_session_runs_inside_another)
{
    static const size_t widths[] = {100, 30000};

    for (unsigned n = 0; n < ARRAY_LEN(widths); n++) {
        struct stream *ends[2];
        struct tls_rig g;

        tls_rig_base(&g, NULL, NULL);
        mempipe_pair(ends, widths[n], NULL);
        for (int i = 0; i < 2; i++) {
            struct handshake_spec spec = tls_spec_of(i == 1);
            struct stream *outer = tls_stream_new(g.tls, ends[i], &spec, 1);
            tls_rig_talk(&g, &g.e[i], tls_stream_new(g.tls, outer, &spec, 1), i);
        }
        CHECK(tls_rig_settle(&g));
        CHECK(tls_rig_arrived(&g));
        tls_rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

/* What the bytes below look like decides; a cut there is never a clean end. */
TEST(the_end_of_tcp_without_close_notify_is_a_truncation)
{
    struct tls_rig g;

    tls_rig_start(&g, 5000, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 0;
    g.e[0].shut_done = g.e[1].shut_done = true; /* neither says close_notify */
    CHECK(tls_rig_open(&g));
    CHECK_INT(stream_shut(tls_stream_below(g.e[1].s)), 0);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.l, 0);
    }
    CHECK_INT(g.e[0].error, -ERR_TRUNCATED);
    tls_rig_stop(&g);
}

TEST(a_forged_record_ends_the_session_and_the_peer_is_told)
{
    struct tls_rig g;
    static const uint8_t forged[] = {23, 3,  3,  0,  20, 1,  2,  3,  4,  5,  6,  7, 8,
                                     9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};

    tls_rig_start(&g, 5000, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 0;
    g.e[0].shut_done = g.e[1].shut_done = true;
    CHECK(tls_rig_open(&g));
    CHECK(say(tls_stream_below(g.e[1].s), forged, sizeof(forged)));
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.l, 0);
    }
    CHECK_INT(g.e[0].error, -ERR_TLS_RECORD);
    CHECK_INT(g.e[1].error, -ERR_TLS_ALERT);
    CHECK_STR(stream_diag(g.e[1].s)->text, "peer sent TLS alert 20 (bad record mac)");
    tls_rig_stop(&g);
}
