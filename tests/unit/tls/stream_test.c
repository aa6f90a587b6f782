/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "mempipe.h"
#include "pki.h"
#include "t.h"
#include "tls/key_schedule.h"
#include "tls/tls_stream.h"

static const char SERVER[] = "spiffe://cluster.local/ns/shop/sa/server";
static const char *const expect_server[] = {SERVER};
static const char *const alpn_h2[] = {"h2"};

enum { TURNS_MAX = 20000, WAIT_MS = 20, LONGER_THAN_A_RETRY_MS = 50 };

/* --- what all tests share --- */

static struct {
    struct pki_cert root;
    struct credential *server;
    struct credential *client;
} mesh;

__attribute__((destructor)) static void free_mesh(void)
{
    pki_free(&mesh.root);
    mesh.server = credential_unref(mesh.server);
    mesh.client = credential_unref(mesh.client);
}

static void need_mesh(void)
{
    if (!mesh.server) {
        mesh.root = pki_root(PKI_P256);
        mesh.server = pki_credential(&mesh.root, "server");
        mesh.client = pki_credential(&mesh.root, "client");
    }
}

static struct handshake_spec spec_of(bool client)
{
    need_mesh();
    return (struct handshake_spec){.role = client ? TLS_MESH_CLIENT : TLS_MESH_SERVER,
                                   .credential = client ? mesh.client : mesh.server,
                                   .expect = expect_server,
                                   .expect_count = client,
                                   .alpn = alpn_h2,
                                   .alpn_count = 1};
}

/* --- one end: sends a pattern, checks the peer's --- */

/* read and write, peek and reserve, or now with little room, now with much, now peek */
enum talk { TALK_COPY, TALK_LEND, TALK_MIXED };

struct talker {
    struct task task;
    struct stream *s;
    enum talk way;
    uint8_t seed; /* of what it sends; the peer's is the other one's */
    uint8_t peer_seed;
    size_t to_send, sent;
    size_t received;
    size_t chunk;
    unsigned reads;
    size_t turn_bytes; /* at most this much a run; 0: no limit */
    bool deaf;         /* does not read */
    bool shut_done, eof;
    bool wrong; /* received something else than the pattern */
    int error;
};

static uint8_t pattern(uint8_t seed, size_t at)
{
    return (uint8_t)(seed + at * 31 + (at >> 8));
}

static void check_bytes(struct talker *e, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        e->wrong = e->wrong || p[i] != pattern(e->peer_seed, e->received + i);
    }
    e->received += len;
}

static ssize_t receive_copy(struct talker *e)
{
    uint8_t buf[3000];
    ssize_t n = stream_read(e->s, buf, MIN_OF(e->chunk, sizeof(buf)));

    if (n > 0) {
        check_bytes(e, buf, (size_t)n);
    }
    return n;
}

/* Records are opened straight into so much room. */
static ssize_t receive_wide(struct talker *e)
{
    static uint8_t buf[50000];
    ssize_t n = stream_read(e->s, buf, sizeof(buf));

    if (n > 0) {
        check_bytes(e, buf, (size_t)n);
    }
    return n;
}

/* Takes all but the last byte of the first two pieces, so that remainders occur. */
static ssize_t receive_lent(struct talker *e)
{
    struct iovec v[2];
    int count = stream_peek(e->s, v, 2);
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        size_t part = i + 1 == count && v[i].iov_len > 1 ? v[i].iov_len - 1 : v[i].iov_len;
        check_bytes(e, v[i].iov_base, part);
        n += part;
    }
    if (count > 0) {
        stream_skip(e->s, n);
    }
    return count > 0 ? (ssize_t)n : count;
}

static ssize_t receive(struct talker *e)
{
    static ssize_t (*const ways[])(struct talker *) = {receive_wide, receive_copy, receive_wide,
                                                       receive_lent};

    if (e->way == TALK_MIXED) {
        return ways[e->reads++ % ARRAY_LEN(ways)](e);
    }
    return e->way == TALK_COPY ? receive_copy(e) : receive_lent(e);
}

static ssize_t send_copy(struct talker *e)
{
    uint8_t buf[3000];
    size_t n = MIN_OF(MIN_OF(e->chunk, sizeof(buf)), e->to_send - e->sent);

    for (size_t i = 0; i < n; i++) {
        buf[i] = pattern(e->seed, e->sent + i);
    }
    return stream_write(e->s, buf, n);
}

static ssize_t send_lent(struct talker *e)
{
    struct iovec v[4];
    size_t n = 0;
    int count = stream_reserve(e->s, v, 4, MIN_OF(e->chunk, e->to_send - e->sent));

    for (int i = 0; i < count; i++) {
        for (size_t b = 0; b < v[i].iov_len; b++, n++) {
            ((uint8_t *)v[i].iov_base)[b] = pattern(e->seed, e->sent + n);
        }
    }
    if (count > 0) {
        stream_commit(e->s, n);
    }
    return count > 0 ? (ssize_t)n : count;
}

static int receive_all(struct talker *e)
{
    ssize_t n = 1;

    while (n > 0 && !e->eof && !e->deaf) {
        n = receive(e);
        e->eof = n == 0;
    }
    return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static int send_all(struct talker *e)
{
    ssize_t n = 1;
    size_t stop = e->turn_bytes ? MIN_OF(e->sent + e->turn_bytes, e->to_send) : e->to_send;

    while (n > 0 && e->sent < stop) {
        n = e->way == TALK_LEND ? send_lent(e) : send_copy(e);
        e->sent += n > 0 ? (size_t)n : 0;
    }
    if (n > 0 && e->sent < e->to_send) {
        task_wake(&e->task, WAKE_IO);
    }
    if (n > 0 && e->sent == e->to_send && !e->shut_done) {
        n = stream_shut(e->s);
        e->shut_done = n == 0;
    } else if (n == -EAGAIN) {
        n = stream_flush(e->s);
    }
    return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static void talk(struct task *t, unsigned why UNUSED)
{
    struct talker *e = container_of(t, struct talker, task);

    if (e->error == 0 && e->s) {
        int in = receive_all(e);
        int out = send_all(e);
        e->error = in < 0 ? in : out;
    }
}

/* --- two ends over a pipe --- */

struct rig {
    struct loop *l;
    struct jobs *pool;
    struct tls_ctx *ctx;
    struct tls_loop *tls;
    struct talker e[2]; /* 0 server, 1 client */
    struct mempipe_fault fault;
};

static unsigned pool_limit = 100;

static void rig_base(struct rig *g, const struct tls_options *options,
                     const struct tls_loop_options *limits)
{
    *g = (struct rig){.fault = {.countdown = -1, .code = -EIO}};
    g->l = loop_new(NULL);
    g->pool = jobs_new(1, pool_limit, 100, NULL);
    if (!g->l || !g->pool || tls_ctx_new(&g->ctx, options, NULL) < 0) {
        abort();
    }
    g->tls = tls_loop_new(g->l, g->pool, g->ctx, limits);
}

static void talker_start(struct rig *g, struct talker *e, struct stream *s, int which)
{
    *e = (struct talker){.s = s,
                         .way = which ? TALK_LEND : TALK_COPY,
                         .seed = (uint8_t)which,
                         .peer_seed = (uint8_t)!which,
                         .to_send = 100000,
                         .chunk = 70000};
    task_init(&e->task, g->l, "talk", talk);
    stream_own(s, &e->task);
    task_wake(&e->task, WAKE_START);
}

static void rig_start(struct rig *g, size_t capacity, const struct tls_options *options,
                      const struct tls_loop_options *limits)
{
    struct stream *ends[2];

    rig_base(g, options, limits);
    mempipe_pair(ends, capacity, &g->fault);
    for (int i = 0; i < 2; i++) {
        struct handshake_spec spec = spec_of(i == 1);
        talker_start(g, &g->e[i], tls_stream_new(g->tls, ends[i], &spec, 1), i);
    }
}

static bool ended(const struct talker *e)
{
    return e->error < 0 || (e->eof && e->shut_done);
}

/* Bounded turns: a lost wake is a failure, not a hang. */
static bool rig_settle(struct rig *g)
{
    for (int i = 0; i < TURNS_MAX && !(ended(&g->e[0]) && ended(&g->e[1])); i++) {
        struct jobs_stats busy = jobs_stats(g->pool);
        bool idle = loop_turn(g->l, 0) == 0;
        if (idle && busy.queued + busy.running > 0) {
            (void)loop_turn(g->l, WAIT_MS);
        } else if (idle && loop_turn(g->l, WAIT_MS) == 0) {
            return false;
        }
    }
    return ended(&g->e[0]) && ended(&g->e[1]);
}

static void drain(struct rig *g)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        struct jobs_stats busy = jobs_stats(g->pool);
        if (loop_turn(g->l, 0) == 0 && busy.queued + busy.running == 0) {
            break;
        }
    }
    (void)loop_turn(g->l, 0);
}

static void talker_close(struct talker *e, int why)
{
    stream_close(e->s, why);
    e->s = NULL;
    task_fini(&e->task);
}

static void rig_stop(struct rig *g)
{
    for (int i = 0; i < 2; i++) {
        talker_close(&g->e[i], g->e[i].error);
    }
    drain(g);
    tls_loop_free(g->tls);
    jobs_free(g->pool);
    tls_ctx_free(g->ctx);
    loop_free(g->l);
}

/* Until both handshakes are done, with nothing to say. */
static bool rig_open(struct rig *g)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        if (tls_stream_peer(g->e[0].s) && tls_stream_peer(g->e[1].s)) {
            return true;
        }
        (void)loop_turn(g->l, WAIT_MS);
    }
    return false;
}

static bool all_arrived(const struct rig *g)
{
    for (int i = 0; i < 2; i++) {
        const struct talker *e = &g->e[i];
        if (e->error != 0 || e->wrong || e->received != g->e[1 - i].to_send) {
            return false;
        }
    }
    return true;
}

/* --- tests --- */

TEST(bytes_arrive_both_ways_through_pipes_of_any_width)
{
    static const size_t widths[] = {23, 500, 20000, 1000000};

    for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
        struct rig g;
        rig_start(&g, widths[i], NULL, NULL);
        CHECK(rig_settle(&g));
        CHECK(all_arrived(&g));
        CHECK_STR(tls_stream_peer(g.e[1].s)->identity, SERVER);
        CHECK_STR(tls_stream_peer(g.e[0].s)->alpn, "h2");
        rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

TEST(readers_may_have_little_room_and_much_in_turn)
{
    static const size_t widths[] = {23, 500, 20000, 1000000};

    for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
        struct tls_options options = {.limits = {.update_records = 2}};
        struct rig g;
        rig_start(&g, widths[i], &options, NULL);
        g.e[0].way = g.e[1].way = TALK_MIXED;
        g.e[1].chunk = 1000;
        g.e[0].to_send = 300000;
        CHECK(rig_settle(&g));
        CHECK(all_arrived(&g));
        rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

TEST(one_side_may_end_early_or_say_nothing)
{
    for (int quiet = 0; quiet < 2; quiet++) {
        struct rig g;
        rig_start(&g, 3000, NULL, NULL);
        g.e[quiet].to_send = 0;
        CHECK(rig_settle(&g));
        CHECK(all_arrived(&g));
        rig_stop(&g);
    }
}

TEST(keys_are_updated_every_few_records_in_both_directions)
{
    struct tls_options options = {.limits = {.update_records = 2}};
    struct record_stats stats[2];
    struct rig g;

    rig_start(&g, 30000, &options, NULL);
    g.e[0].to_send = g.e[1].to_send = 9 * TLS_BATCH_RECORDS * RECORD_PLAIN_MAX;
    CHECK(rig_settle(&g));
    CHECK(all_arrived(&g));
    for (int i = 0; i < 2; i++) {
        tls_stream_stats(g.e[i].s, &stats[i]);
    }
    CHECK(stats[0].key_updates_sent >= 8);
    CHECK(stats[1].key_updates_sent >= 8);
    CHECK_INT(stats[0].key_updates_sent, stats[1].key_updates_received);
    CHECK_INT(stats[1].key_updates_sent, stats[0].key_updates_received);
    rig_stop(&g);
}

TEST(small_writes_of_one_turn_become_one_record)
{
    struct record_stats stats;
    struct rig g;

    rig_start(&g, 30000, NULL, NULL);
    g.e[0].to_send = 0;
    g.e[1].way = TALK_COPY;
    g.e[1].chunk = 10;
    g.e[1].to_send = 10000;
    CHECK(rig_settle(&g));
    CHECK(all_arrived(&g));
    tls_stream_stats(g.e[1].s, &stats);
    CHECK_INT(stats.sealed_records, 2); /* the data and close_notify */
    rig_stop(&g);
}

/* Many sessions of one loop use its two batches in turn. */
TEST(sessions_that_share_a_loop_do_not_mix)
{
    enum { PAIRS = 12 };
    struct rig g;
    static struct talker e[PAIRS][2];
    bool done = false;

    rig_base(&g, NULL, NULL);
    for (int p = 0; p < PAIRS; p++) {
        struct stream *ends[2];
        mempipe_pair(ends, 700u + 5000u * (unsigned)p, NULL);
        for (int i = 0; i < 2; i++) {
            struct handshake_spec spec = spec_of(i == 1);
            talker_start(&g, &e[p][i], tls_stream_new(g.tls, ends[i], &spec, (uint64_t)p), i);
            e[p][i].seed = (uint8_t)(p * 2 + i);
            e[p][i].peer_seed = (uint8_t)(p * 2 + !i);
            e[p][i].way = (enum talk)(p % 3);
            e[p][i].turn_bytes = 5000;
        }
    }
    for (int i = 0; i < TURNS_MAX && !done; i++) {
        (void)loop_turn(g.l, WAIT_MS);
        done = true;
        for (int p = 0; p < PAIRS; p++) {
            done = done && ended(&e[p][0]) && ended(&e[p][1]);
        }
    }
    CHECK(done);
    for (int p = 0; p < PAIRS; p++) {
        for (int i = 0; i < 2; i++) {
            CHECK_INT(e[p][i].error, 0);
            CHECK(!e[p][i].wrong);
            CHECK_INT(e[p][i].received, 100000);
            talker_close(&e[p][i], 0);
        }
    }
    CHECK_INT(tls_loop_stats(g.tls).done, 2 * PAIRS);
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 0);
    drain(&g);
    tls_loop_free(g.tls);
    jobs_free(g.pool);
    tls_ctx_free(g.ctx);
    loop_free(g.l);
    CHECK_INT(mempipe_live(), 0);
}

/* A reader that stops holds the writer to what one pipe and one batch hold. */
TEST(a_reader_that_stops_stops_the_writer)
{
    struct rig g;

    rig_start(&g, 10000, NULL, NULL);
    CHECK(rig_open(&g));
    g.e[0].deaf = true;
    g.e[1].to_send = 10000000;
    (void)rig_settle(&g);
    CHECK_INT(g.e[1].error, 0);
    CHECK(g.e[1].sent <= 10000 + 3 * TLS_BATCH_RECORDS * RECORD_PLAIN_MAX);
    g.e[1].to_send = g.e[1].sent;
    g.e[0].deaf = false;
    task_wake(&g.e[0].task, WAKE_IO);
    task_wake(&g.e[1].task, WAKE_IO);
    CHECK(rig_settle(&g));
    CHECK(all_arrived(&g));
    rig_stop(&g);
}

TEST(every_failing_call_below_ends_both_sides_once)
{
    int points = 0;

    for (int at = 0;; at++) {
        struct rig g;
        rig_start(&g, 100, NULL, NULL);
        g.e[0].to_send = g.e[1].to_send = 3000;
        g.fault.countdown = at;
        bool settled = false;
        for (int i = 0; i < TURNS_MAX && !settled; i++) {
            (void)loop_turn(g.l, WAIT_MS);
            /* The side that fails is closed, as its owner would; the other one then has to end. */
            for (int k = 0; k < 2; k++) {
                if (g.e[k].error < 0 && g.e[k].s) {
                    talker_close(&g.e[k], g.e[k].error);
                }
            }
            settled = (ended(&g.e[0]) || !g.e[0].s) && (ended(&g.e[1]) || !g.e[1].s);
        }
        bool hit = g.fault.countdown < 0;
        bool good = hit ? g.e[1].error == -EIO : all_arrived(&g);
        /* After both ends are clean a late failure concerns nobody. */
        good = good || (hit && all_arrived(&g));
        if (!settled || !good) {
            printf("# call %d: server %d, client %d\n", at, g.e[0].error, g.e[1].error);
        }
        rig_stop(&g);
        CHECK(settled);
        CHECK(good);
        CHECK_INT(mempipe_live(), 0);
        if (!hit) {
            break;
        }
        points++;
    }
    printf("# %d fault points\n", points);
    CHECK(points > 40);
}

/* Runs a small transfer with the nth allocation failing; how many there were. */
static bool short_of_memory(int nth, unsigned *out_calls)
{
    struct rig g;

    rig_start(&g, 300, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 40000;
    (void)mem_fault_set(nth);
    for (int i = 0; i < TURNS_MAX && !(ended(&g.e[0]) && ended(&g.e[1])); i++) {
        (void)loop_turn(g.l, WAIT_MS);
        for (int k = 0; k < 2; k++) {
            if (g.e[k].error < 0 && g.e[k].s) {
                talker_close(&g.e[k], g.e[k].error);
            }
        }
    }
    *out_calls = mem_fault_set(-1);
    bool over = ended(&g.e[0]) && ended(&g.e[1]);
    bool fine = all_arrived(&g) || g.e[0].error == -ENOMEM || g.e[1].error == -ENOMEM ||
                g.e[0].error == -ERR_TOO_LARGE || g.e[1].error == -ERR_TOO_LARGE;
    rig_stop(&g);
    return over && fine && mempipe_live() == 0;
}

TEST(memory_that_is_short_once_ends_a_session_cleanly)
{
    unsigned calls = 0;
    unsigned made = 0;

    CHECK(short_of_memory(-1, &calls));
    printf("# %u allocations\n", calls);
    CHECK(calls > 10);
    for (unsigned at = 0; at < calls && at < 60; at++) {
        CHECK(short_of_memory((int)at, &made));
    }
}

TEST(closing_at_any_moment_leaves_nothing_behind)
{
    for (int turns = 0; turns < 60; turns++) {
        struct rig g;
        rig_start(&g, 2000, NULL, NULL);
        for (int i = 0; i < turns; i++) {
            (void)loop_turn(g.l, i < 12 ? 2 : 0);
        }
        talker_close(&g.e[turns % 2], turns % 3 ? 0 : -ERR_CANCELLED);
        (void)loop_turn(g.l, 0);
        rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

TEST(what_was_accepted_before_a_clean_close_still_arrives)
{
    struct rig g;

    rig_start(&g, 500, NULL, NULL);
    g.e[0].to_send = 0;
    g.e[1].to_send = 0;
    g.e[1].shut_done = true;
    CHECK(rig_open(&g));
    (void)loop_turn(g.l, 0);
    static uint8_t text[20000];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = pattern(1, i);
    }
    CHECK_INT(stream_write(g.e[1].s, text, sizeof(text)), sizeof(text));
    talker_close(&g.e[1], 0);
    for (int i = 0; i < TURNS_MAX && !ended(&g.e[0]); i++) {
        (void)loop_turn(g.l, 0);
    }
    CHECK_INT(g.e[0].error, 0);
    CHECK(!g.e[0].wrong);
    CHECK_INT(g.e[0].received, sizeof(text));
    CHECK(g.e[0].eof);
    rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_close_that_cannot_finish_has_a_deadline)
{
    struct rig g;
    static uint8_t text[20000];

    rig_start(&g, 500, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 0;
    g.e[0].deaf = true;
    g.e[0].shut_done = g.e[1].shut_done = true;
    CHECK(rig_open(&g));
    CHECK_INT(stream_write(g.e[1].s, text, sizeof(text)), sizeof(text));
    talker_close(&g.e[1], 0);
    (void)loop_turn(g.l, 0);
    CHECK_INT(mempipe_live(), 2);
    loop_advance(g.l, TLS_LINGER_MS + 1);
    (void)loop_turn(g.l, 0);
    (void)loop_turn(g.l, 0);
    CHECK_INT(mempipe_live(), 1);
    rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}

/* Streams below TLS, to cut or fill by hand. */
static void half_rig(struct rig *g, bool client, struct stream **out_peer,
                     const struct tls_loop_options *limits)
{
    struct stream *ends[2];
    struct handshake_spec spec = spec_of(client);

    rig_base(g, NULL, limits);
    mempipe_pair(ends, 20000, NULL);
    talker_start(g, &g->e[0], tls_stream_new(g->tls, ends[0], &spec, 1), 0);
    *out_peer = ends[1];
}

static bool say(struct stream *s, const void *text, size_t len)
{
    return stream_write(s, text, len) == (ssize_t)len && stream_flush(s) == 0;
}

static bool half_settle(struct rig *g)
{
    for (int i = 0; i < 200 && g->e[0].error == 0; i++) {
        (void)loop_turn(g->l, WAIT_MS);
    }
    return g->e[0].error < 0;
}

TEST(a_silent_peer_runs_into_the_deadline)
{
    for (int client = 0; client < 2; client++) {
        struct tls_loop_options limits = {.handshake_ms = 1000};
        struct stream *peer;
        struct rig g;
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
        rig_stop(&g);
    }
}

TEST(a_peer_that_leaves_in_the_handshake_is_a_truncation)
{
    struct stream *peer;
    struct rig g;

    half_rig(&g, false, &peer, NULL);
    CHECK(say(peer, "\26\3\1", 3));
    (void)loop_turn(g.l, 0);
    stream_close(peer, 0);
    CHECK(half_settle(&g));
    CHECK_INT(g.e[0].error, -ERR_TRUNCATED);
    rig_stop(&g);
}

TEST(another_protocol_is_answered_with_an_alert)
{
    static const uint8_t want[] = {21, 3, 3, 0, 2, 2, 50};
    struct stream *peer;
    uint8_t got[64];
    struct rig g;

    half_rig(&g, false, &peer, NULL);
    CHECK(say(peer, "GET / HTTP/1.1\r\n\r\n", 18));
    CHECK(half_settle(&g));
    CHECK_INT(g.e[0].error, -ERR_TLS);
    CHECK_INT(stream_read(peer, got, sizeof(got)), sizeof(want));
    CHECK_MEM(got, want, sizeof(want));
    stream_close(peer, 0);
    rig_stop(&g);
}

/* --- a client made by hand, which puts on the wire what a test wants --- */

struct hand {
    struct handshake *h;
    struct record *r;
    struct stream *s;
    struct tls_ctx *ctx;
};

static bool hand_step(struct rig *g, struct hand *p)
{
    uint8_t buf[4096];
    struct diag why;

    for (int i = 0; i < 200; i++) {
        ssize_t n = stream_read(p->s, buf, sizeof(buf));
        if (n > 0 && handshake_step_blocking(p->h, buf, (size_t)n, &why) != HANDSHAKE_WANTS_INPUT) {
            return true;
        }
        (void)loop_turn(g->l, WAIT_MS);
    }
    return false;
}

/* Everything but the client's last flight, which stays in the handshake's output. */
static bool hand_start(struct rig *g, struct hand *p)
{
    struct handshake_spec spec = spec_of(true);

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

static void hand_stop(struct rig *g, struct hand *p)
{
    stream_close(p->s, 0);
    record_free(p->r);
    handshake_free(p->h);
    rig_stop(g);
}

/* A data record of len bytes of the client's pattern, from the first on. */
static size_t hand_data(struct hand *p, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[RECORD_HEAD + i] = pattern(1, i);
    }
    return record_seal(p->r, out, len, NULL) == 0 ? record_run_bytes(len) : 0;
}

TEST(data_that_comes_with_the_last_flight_is_not_lost)
{
    for (int cut = 0; cut < 40; cut += 13) {
        uint8_t wire[4096];
        struct hand p;
        struct rig g;

        CHECK(hand_start(&g, &p));
        struct slice last = handshake_output(p.h);
        memcpy(wire, last.p, last.len);
        size_t len = last.len + hand_data(&p, wire + last.len, 100);
        CHECK(say(p.s, wire, len - (size_t)cut)); /* the data record may be incomplete */
        for (int i = 0; i < 50 && !tls_stream_peer(g.e[0].s); i++) {
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
        struct rig g;

        CHECK(hand_start(&g, &p));
        g.e[0].to_send = 0;
        g.e[0].shut_done = true;
        struct slice last = handshake_output(p.h);
        CHECK(say(p.s, last.p, last.len));
        for (int i = 0; i < 50 && !tls_stream_peer(g.e[0].s); i++) {
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

TEST(the_end_of_our_half_reaches_the_layer_below)
{
    struct hand p;
    struct rig g;
    uint8_t byte;

    CHECK(hand_start(&g, &p));
    g.e[0].to_send = 0;
    struct slice last = handshake_output(p.h);
    CHECK(say(p.s, last.p, last.len));
    for (int i = 0; i < 50 && !g.e[0].shut_done; i++) {
        (void)loop_turn(g.l, WAIT_MS);
    }
    CHECK(g.e[0].shut_done);
    CHECK_INT(hand_read(&p), 0);
    CHECK(record_is_closed(p.r));
    CHECK_INT(stream_read(p.s, &byte, 1), 0);
    hand_stop(&g, &p);
}

/* A job that lasts until it is released. */
struct plug {
    struct job job;
    atomic_bool released;
};

static void plug_work(struct job *j)
{
    struct plug *p = container_of(j, struct plug, job);

    while (!atomic_load(&p->released)) {
        (void)sched_yield();
    }
}

static void plug_gone(struct job *j)
{
    (void)j;
}

TEST(a_full_job_pool_refuses_new_handshakes_and_delays_those_under_way)
{
    static struct plug plugs[2];
    struct stream *ends[2];
    struct handshake_spec spec = spec_of(true);
    struct hand p;
    struct rig g;
    uint8_t byte;

    pool_limit = 1;
    CHECK(hand_start(&g, &p));
    pool_limit = 100;
    for (int i = 0; i < 2; i++) { /* one runs, one fills the queue */
        plugs[i].job.work = plug_work;
        plugs[i].job.abandoned = plug_gone;
        atomic_store(&plugs[i].released, false);
        while (jobs_submit(g.pool, &plugs[i].job, 9, &g.e[0].task) < 0) {
            (void)sched_yield(); /* the first one has not been taken from the queue yet */
        }
    }
    mempipe_pair(ends, 1000, NULL);
    struct stream *late = tls_stream_new(g.tls, ends[0], &spec, 2);
    CHECK_INT(stream_read(late, &byte, 1), -ERR_LIMIT);
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
    atomic_store(&plugs[0].released, true);
    atomic_store(&plugs[1].released, true);
    for (int i = 0; i < 100 && !tls_stream_peer(g.e[0].s); i++) {
        (void)loop_turn(g.l, WAIT_MS);
    }
    CHECK(tls_stream_peer(g.e[0].s) != NULL);
    drain(&g);
    hand_stop(&g, &p);
}

/* The inner session of a tunnel in a tunnel: both use the same two batches. */
TEST(a_session_runs_inside_another)
{
    static const size_t widths[] = {100, 30000};

    for (unsigned n = 0; n < ARRAY_LEN(widths); n++) {
        struct stream *ends[2];
        struct rig g;

        rig_base(&g, NULL, NULL);
        mempipe_pair(ends, widths[n], NULL);
        for (int i = 0; i < 2; i++) {
            struct handshake_spec spec = spec_of(i == 1);
            struct stream *outer = tls_stream_new(g.tls, ends[i], &spec, 1);
            talker_start(&g, &g.e[i], tls_stream_new(g.tls, outer, &spec, 1), i);
        }
        CHECK(rig_settle(&g));
        CHECK(all_arrived(&g));
        rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

/* What the bytes below look like decides; a cut there is never a clean end. */
TEST(the_end_of_tcp_without_close_notify_is_a_truncation)
{
    struct rig g;

    rig_start(&g, 5000, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 0;
    g.e[0].shut_done = g.e[1].shut_done = true; /* neither says close_notify */
    CHECK(rig_open(&g));
    CHECK_INT(stream_shut(tls_stream_below(g.e[1].s)), 0);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.l, 0);
    }
    CHECK_INT(g.e[0].error, -ERR_TRUNCATED);
    rig_stop(&g);
}

TEST(a_forged_record_ends_the_session_and_the_peer_is_told)
{
    struct rig g;
    static const uint8_t forged[] = {23, 3,  3,  0,  20, 1,  2,  3,  4,  5,  6,  7, 8,
                                     9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};

    rig_start(&g, 5000, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 0;
    g.e[0].shut_done = g.e[1].shut_done = true;
    CHECK(rig_open(&g));
    CHECK(say(tls_stream_below(g.e[1].s), forged, sizeof(forged)));
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.l, 0);
    }
    CHECK_INT(g.e[0].error, -ERR_TLS_RECORD);
    CHECK_INT(g.e[1].error, -ERR_TLS_ALERT);
    CHECK_STR(stream_diag(g.e[1].s)->text, "peer sent TLS alert 20 (bad record mac)");
    rig_stop(&g);
}

TEST(handshakes_are_capped_per_loop_and_per_lane)
{
    struct tls_loop_options limits = {.handshakes_max = 3, .lane_max = 2};
    struct stream *s[5];
    struct stream *peer[5];
    static const uint64_t lanes[] = {1, 1, 1, 2, 3};
    struct rig g;
    uint8_t byte;

    rig_base(&g, NULL, &limits);
    for (int i = 0; i < 5; i++) {
        struct stream *ends[2];
        struct handshake_spec spec = spec_of(false);
        mempipe_pair(ends, 1000, NULL);
        s[i] = tls_stream_new(g.tls, ends[0], &spec, lanes[i]);
        peer[i] = ends[1];
    }
    CHECK_INT(stream_read(s[0], &byte, 1), -EAGAIN);
    CHECK_INT(stream_read(s[1], &byte, 1), -EAGAIN);
    CHECK_INT(stream_read(s[2], &byte, 1), -ERR_LIMIT); /* its lane is full */
    CHECK_INT(stream_read(s[3], &byte, 1), -EAGAIN);
    CHECK_INT(stream_read(s[4], &byte, 1), -ERR_LIMIT); /* the loop is full */
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 3);
    CHECK_INT(tls_loop_stats(g.tls).refused, 2);
    stream_close(s[0], 0);
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 2);
    s[0] = NULL;
    for (int i = 0; i < 5; i++) {
        stream_close(s[i], 0);
        stream_close(peer[i], 0);
    }
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 0);
    drain(&g);
    tls_loop_free(g.tls);
    jobs_free(g.pool);
    tls_ctx_free(g.ctx);
    loop_free(g.l);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_full_loop_keeps_a_share_for_every_lane)
{
    enum { FULL = 12, ALL = FULL + 3 };
    struct tls_loop_options limits = {.handshakes_max = FULL, .lane_max = FULL / 2};
    struct stream *s[ALL];
    struct stream *peer[ALL];
    struct rig g;
    uint8_t byte;

    rig_base(&g, NULL, &limits);
    for (int i = 0; i < ALL;
         i++) { /* two lanes fill the loop; then the third comes, and the first */
        struct stream *ends[2];
        struct handshake_spec spec = spec_of(false);
        mempipe_pair(ends, 1000, NULL);
        s[i] = tls_stream_new(g.tls, ends[0], &spec,
                              i < FULL      ? (uint64_t)i % 2
                              : i < ALL - 1 ? 2
                                            : 0);
        peer[i] = ends[1];
        CHECK_INT(stream_read(s[i], &byte, 1), i <= FULL ? -EAGAIN : -ERR_LIMIT);
    }
    for (int i = 0; i < ALL; i++) {
        stream_close(s[i], 0);
        stream_close(peer[i], 0);
    }
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 0);
    drain(&g);
    tls_loop_free(g.tls);
    jobs_free(g.pool);
    tls_ctx_free(g.ctx);
    loop_free(g.l);
    CHECK_INT(mempipe_live(), 0);
}

/* Both ends change hands in mid-transfer, again and again. */
static bool hand_over(struct rig *g, int which)
{
    struct talker *e = &g->e[which];
    struct stream *below = NULL;
    struct stream *again = NULL;
    struct bytes blob;

    bytes_init(&blob, 4 << 20);
    int r = tls_stream_export(e->s, &blob, &below);
    if (r == 0) {
        r = tls_stream_import(g->tls, below, bytes_peek(&blob), blob.len, &again, NULL);
    }
    bytes_fini(&blob);
    if (r < 0) {
        return false;
    }
    e->s = again;
    stream_own(again, &e->task);
    task_wake(&e->task, WAKE_IO);
    return true;
}

TEST(a_session_is_handed_over_in_mid_transfer_and_every_byte_arrives)
{
    struct rig g;
    int moved = 0;

    rig_start(&g, 7000, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 3000000;
    g.e[0].turn_bytes = g.e[1].turn_bytes = 9000;
    CHECK(rig_open(&g));
    for (int i = 0; i < TURNS_MAX && !(ended(&g.e[0]) && ended(&g.e[1])); i++) {
        (void)loop_turn(g.l, 0);
        CHECK(hand_over(&g, i % 2));
        moved++;
    }
    CHECK(all_arrived(&g));
    CHECK(moved > 10);
    CHECK_STR(tls_stream_peer(g.e[1].s)->identity, SERVER);
    CHECK_STR(tls_stream_peer(g.e[1].s)->alpn, "h2");
    CHECK_STR(tls_stream_peer(g.e[1].s)->suite, "TLS_AES_256_GCM_SHA384");
    rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_session_in_its_handshake_is_not_handed_over)
{
    struct stream *below = NULL;
    struct bytes blob;
    struct rig g;

    rig_start(&g, 7000, NULL, NULL);
    bytes_init(&blob, 1 << 20);
    CHECK_INT(tls_stream_export(g.e[0].s, &blob, &below), -EAGAIN);
    CHECK(below == NULL);
    bytes_fini(&blob);
    CHECK(rig_settle(&g));
    CHECK(all_arrived(&g));
    rig_stop(&g);
}

/* The blob with so many bytes as its only content, sealed and not yet opened; then they are opened. */
static int take_over_sealed(struct rig *g, const uint8_t *from, size_t len, size_t sealed)
{
    enum { PLAIN_AT = 4 + 4 + RECORD_BLOB_BYTES };
    uint8_t *blob = mem_alloc(len + sealed);
    struct stream *ends[2];
    struct stream *s = NULL;
    size_t rest = PLAIN_AT;
    uint8_t byte;

    for (int i = 0; i < 3; i++) { /* plaintext, sealed, to be sent */
        rest += 4 + be32_get(from + rest);
    }
    memcpy(blob, from, PLAIN_AT);
    be32_put(blob + PLAIN_AT + 4, (uint32_t)sealed);
    memcpy(blob + PLAIN_AT + 12 + sealed, from + rest, len - rest);
    mempipe_pair(ends, 100, NULL);
    int r = tls_stream_import(g->tls, ends[0], blob, PLAIN_AT + 12 + sealed + len - rest, &s, NULL);
    mem_free(blob);
    if (r == 0) {
        r = (int)stream_read(s, &byte, 1);
        stream_close(s, r);
    }
    stream_close(ends[1], 0);
    return r;
}

TEST(a_newer_or_damaged_hand_over_is_refused)
{
    struct stream *below = NULL;
    struct stream *ends[2];
    struct stream *again = NULL;
    struct bytes blob;
    struct rig g;

    rig_start(&g, 7000, NULL, NULL);
    CHECK(rig_open(&g));
    bytes_init(&blob, 4 << 20);
    CHECK_INT(tls_stream_export(g.e[0].s, &blob, &below), 0);
    stream_close(below, 0);
    g.e[0].s = NULL;
    g.e[0].error = -EIO;
    size_t len = blob.len;
    uint8_t *copy = mem_dup(bytes_peek(&blob), len);
    bytes_fini(&blob);
    for (size_t cut = 0; cut < len; cut++) {
        mempipe_pair(ends, 100, NULL);
        int r = tls_stream_import(g.tls, ends[0], copy, cut, &again, NULL);
        stream_close(ends[1], 0);
        CHECK_INT(r, -ERR_SYNTAX);
    }
    CHECK_INT(take_over_sealed(&g, copy, len, TLS_BATCH_RECORDS * RECORD_SLOT), -ERR_TLS_RECORD);
    CHECK_INT(take_over_sealed(&g, copy, len, TLS_BATCH_RECORDS * RECORD_SLOT + 1), -ERR_SYNTAX);
    copy[2]++;
    mempipe_pair(ends, 100, NULL);
    CHECK_INT(tls_stream_import(g.tls, ends[0], copy, len, &again, NULL), -ERR_VERSION);
    stream_close(ends[1], 0);
    CHECK(again == NULL);
    mem_free(copy);
    rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}
