/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels over TLS whose peers do not read, or read slowly: what waits for them is in the budget, and
 * whoever takes something keeps its tunnel. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "mempipe.h"
#include "pki.h"
#include "t.h"
#include "tls/tls_stream.h"
#include "tunnel_pair.h"

enum {
    PIPE = 4096,
    PATIENCE_MS = 30000,
    LINKS_MAX = 24,
    PIECE = 12000,
    TUNNEL_MOST = 1 << 20,
    RECORD = 17000,
    ROUNDS = 50,
    NEVER_MS = 100000000
};

/* A stream that shows no more than was let through. */
struct gate {
    struct stream s;
    struct stream *below;
    size_t left;
    bool waits;
};

static struct gate *gate_of(struct stream *s)
{
    return container_of(s, struct gate, s);
}

static ssize_t gate_read(struct stream *s, void *into, size_t room)
{
    struct gate *g = gate_of(s);

    if (g->left == 0) {
        g->waits = true;
        return -EAGAIN;
    }
    ssize_t n = stream_read(g->below, into, room < g->left ? room : g->left);
    g->left -= n > 0 ? (size_t)n : 0;
    return n;
}

static ssize_t gate_write(struct stream *s, const void *from, size_t len)
{
    return stream_write(gate_of(s)->below, from, len);
}

static int gate_flush(struct stream *s)
{
    return stream_flush(gate_of(s)->below);
}

static int gate_shut(struct stream *s)
{
    return stream_shut(gate_of(s)->below);
}

static void gate_close(struct stream *s, int why)
{
    stream_close(gate_of(s)->below, why);
    stream_fini(s);
    mem_free(gate_of(s));
}

static void gate_owned(struct stream *s)
{
    stream_own(gate_of(s)->below, s->owner);
}

static const struct stream_ops gate_ops = {.name = "gate",
                                           .read = gate_read,
                                           .write = gate_write,
                                           .flush = gate_flush,
                                           .shut = gate_shut,
                                           .close = gate_close,
                                           .owned = gate_owned};

static void let(struct gate *g, size_t bytes)
{
    g->left = bytes;
    if (g->waits) {
        g->waits = false;
        stream_wake(&g->s);
    }
}

struct link {
    struct gate *gate; /* of the client, whose end goes with the tunnel */
    struct tunnel_pair pair;
    struct task writer;
    struct stream *client, *server;
    size_t accepted, got, most;
    bool refused;
};

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct tls_ctx *ctx;
    struct tls_loop *tls;
    struct budget budget;
    struct link links[LINKS_MAX];
    unsigned count;
};

static struct rig g;

static void write_some(struct task *task, unsigned why)
{
    struct link *k = container_of(task, struct link, writer);
    static const uint8_t piece[PIECE];
    ssize_t r = 1;

    (void)why;
    while (r > 0 && k->accepted < k->most) {
        size_t n = k->most - k->accepted < PIECE ? k->most - k->accepted : PIECE;

        r = stream_write(k->server, piece, n);
        k->accepted += r > 0 ? (size_t)r : 0;
    }
    k->refused = r < 0;
}

/* A peer that has read nothing since its stream was opened. */
static bool start_link(struct link *k, const struct hbone_limits *limits)
{
    struct handshake_spec client = pki_handshake(true);
    struct handshake_spec server = pki_handshake(false);
    struct stream *ends[2];
    int r = -EAGAIN;

    mempipe_pair(ends, PIPE, NULL);
    k->gate = mem_new(struct gate);
    *k->gate = (struct gate){.s = {.ops = &gate_ops}, .below = ends[0], .left = SIZE_MAX};
    tunnel_pair_init(&k->pair, g.loop, limits);
    tunnel_pair_serve(&k->pair, tls_stream_new(g.tls, ends[1], &server, 2), &g.budget);
    k->client = hbone_dial_once(k->pair.home, tls_stream_new(g.tls, &k->gate->s, &client, 1),
                                &tunnel_pair_head, NULL);
    task_init(&k->writer, g.loop, "writer", write_some);
    if (!tunnel_pair_wait(&k->pair, 1)) {
        return false;
    }
    k->server = k->pair.accepted[0];
    stream_own(k->server, &k->writer);
    for (uint64_t end = clock_mono_ms() + PATIENCE_MS; r == -EAGAIN && clock_mono_ms() < end;) {
        r = hbone_dial_ready(k->client);
        loop_turn(g.loop, r == -EAGAIN ? 1 : 0);
    }
    while (loop_turn(g.loop, 0) > 0) {
    }
    let(k->gate, 0);
    return r == 0;
}

static bool rig_start(unsigned count, size_t budget_bytes, const struct hbone_limits *limits)
{
    bool good = true;

    memset(&g, 0, sizeof(g));
    g.loop = loop_new(NULL);
    loop_stop_clock(g.loop);
    g.jobs = jobs_new(1, 100, 100, NULL);
    if (tls_ctx_new(&g.ctx, NULL, NULL) < 0) {
        return false;
    }
    g.tls = tls_loop_new(g.loop, g.jobs, g.ctx, NULL);
    budget_init(&g.budget, budget_bytes, NULL);
    for (g.count = 0; g.count < count && good;) {
        good = start_link(&g.links[g.count++], limits);
    }
    return good;
}

static void rig_stop(void)
{
    for (unsigned i = 0; i < g.count; i++) {
        struct link *k = &g.links[i];

        task_fini(&k->writer);
        stream_close(k->client, -ERR_CANCELLED);
        stream_close(k->server, -ERR_CANCELLED);
        tunnel_pair_fini(&k->pair);
    }
    tls_loop_free(g.tls);
    jobs_free(g.jobs);
    tls_ctx_free(g.ctx);
    loop_free(g.loop);
}

static void turn(void)
{
    for (int i = 0; i < 10000 && loop_turn(g.loop, 0) > 0; i++) {
    }
}

/* As much as is taken while nobody reads. */
static void fill(size_t most)
{
    for (unsigned i = 0; i < g.count; i++) {
        g.links[i].most = most;
        task_wake(&g.links[i].writer, WAKE_START);
        turn();
    }
}

static size_t accepted(void)
{
    size_t sum = 0;

    for (unsigned i = 0; i < g.count; i++) {
        sum += g.links[i].accepted;
    }
    return sum;
}

TEST(what_waits_for_a_peer_that_does_not_read_is_in_the_budget)
{
    enum { LINKS = 6 };
    bool good = rig_start(LINKS, 1 << 30, NULL);

    fill(SIZE_MAX);
    size_t taken = accepted();
    size_t used = g.budget.used_bytes;
    unsigned refused = 0;
    for (unsigned i = 0; i < LINKS; i++) {
        refused += g.links[i].refused;
    }
    rig_stop();
    CHECK(good);
    CHECK_INT(refused, LINKS);
    CHECK(taken > (size_t)LINKS * 2 * PIPE);
    CHECK(used >= taken - (size_t)LINKS * PIPE);
    CHECK(used <= (size_t)LINKS * TUNNEL_MOST);
    CHECK_INT(g.budget.used_bytes, 0);
    CHECK_INT(mempipe_live(), 0);
}

static bool all_read(void)
{
    static char waste[65536];
    bool all = true;

    for (unsigned i = 0; i < g.count; i++) {
        struct link *k = &g.links[i];
        ssize_t r = 1;

        while (r > 0) {
            r = stream_read(k->client, waste, sizeof(waste));
            k->got += r > 0 ? (size_t)r : 0;
        }
        all = all && k->got == k->most;
    }
    return all;
}

TEST(they_do_not_pile_up_when_memory_is_short_and_go_on_when_they_read)
{
    enum { LINKS = 24, LIMIT = 2 << 20, MUCH = 1 << 20 };
    bool good = rig_start(LINKS, LIMIT, NULL);

    fill(MUCH);
    size_t taken = accepted();
    size_t used = g.budget.used_bytes;
    for (unsigned i = 0; i < LINKS; i++) {
        let(g.links[i].gate, SIZE_MAX);
    }
    bool all = false;
    for (int i = 0; i < 100000 && !all; i++) {
        turn();
        all = all_read();
    }
    turn();
    size_t left = g.budget.used_bytes;
    rig_stop();
    CHECK(good);
    CHECK(taken < (size_t)LIMIT * 2); /* 24 times 0.6 MB is 14 MB */
    CHECK(used >= taken - (size_t)LINKS * PIPE);
    CHECK(all);
    CHECK_INT(left, 0);
    CHECK_INT(g.budget.used_bytes, 0);
}

static int how_it_ended(void)
{
    return g.links[0].pair.server_end;
}

/* A record in ten seconds: less than the 0.6 MB that wait in any deadline's time. How many of these it
 * lasted. */
static int trickle(int rounds)
{
    int i = 0;

    for (; i < rounds && how_it_ended() == -EAGAIN; i++) {
        let(g.links[0].gate, RECORD);
        turn();
        loop_advance(g.loop, 10000);
        turn();
    }
    return i;
}

static const struct hbone_limits no_ping = {.ping_ms = NEVER_MS};
static const struct hbone_limits no_stall = {.stall_ms = NEVER_MS};

TEST(who_takes_something_keeps_its_tunnel)
{
    const struct hbone_limits *limits[] = {&no_ping, &no_stall, NULL};

    for (unsigned i = 0; i < 3; i++) {
        bool good = rig_start(1, 1 << 30, limits[i]);

        fill(SIZE_MAX);
        size_t before = g.links[0].accepted;
        int rounds = trickle(ROUNDS);
        int end = how_it_ended();
        size_t after = g.links[0].accepted;
        rig_stop();
        CHECK(good);
        CHECK_INT(rounds, ROUNDS);
        CHECK_INT(end, -EAGAIN);
        CHECK(after > before); /* nor was it held up for ever */
        CHECK_INT(g.budget.used_bytes, 0);
    }
}

TEST(who_takes_nothing_does_not)
{
    bool good = rig_start(1, 1 << 30, &no_ping);

    fill(SIZE_MAX);
    (void)trickle(ROUNDS);
    int before = how_it_ended();
    for (int i = 0; i < 7; i++) { /* twice the deadline and a little */
        loop_advance(g.loop, 10000);
        turn();
    }
    int after = how_it_ended();
    size_t left = g.budget.used_bytes;
    rig_stop();
    CHECK(good);
    CHECK_INT(before, -EAGAIN);
    CHECK_INT(after, -ERR_DEADLINE);
    CHECK_INT(left, 0); /* at once, although its streams are not closed yet */
}

TEST(nor_who_takes_little_when_memory_is_short)
{
    bool good = rig_start(1, 1 << 20, &no_ping);

    fill(SIZE_MAX);
    int rounds = trickle(ROUNDS);
    int end = how_it_ended();
    rig_stop();
    CHECK(good);
    CHECK(rounds < ROUNDS);
    CHECK_INT(end, -ERR_DEADLINE);
    CHECK_INT(g.budget.used_bytes, 0);
}
