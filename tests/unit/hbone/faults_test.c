/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transfer in both directions over a narrow pipe, repeated with each call on the pipe failing once,
 * then with each allocation that a peer can cause failing once. Whatever fails: both ends learn of it
 * or are done, nothing hangs, nothing is left.
 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "mempipe.h"
#include "t.h"
#include "tunnel_pair.h"

enum { MESSAGE = 60000, PIPE = 401, TURNS_MAX = 4000 };

struct talker {
    struct task task;
    struct stream *s;
    size_t sent;
    size_t got;
    bool shut;
    bool ended;
    bool wrong;
    int failure;
};

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 13 + i / 255);
}

static bool went(struct talker *a, ssize_t r)
{
    if (r < 0 && r != -EAGAIN && a->failure == 0) {
        a->failure = (int)r;
    }
    return r >= 0;
}

static void talk(struct task *task, unsigned why)
{
    struct talker *a = container_of(task, struct talker, task);
    uint8_t piece[1500];
    ssize_t r = 0;

    (void)why;
    while (a->s && a->failure == 0 && a->sent < MESSAGE && r >= 0) {
        for (size_t i = 0; i < sizeof(piece); i++) {
            piece[i] = byte_at(a->sent + i);
        }
        r = stream_write(a->s, piece, sizeof(piece));
        a->sent += went(a, r) ? (size_t)r : 0;
    }
    if (a->s && a->failure == 0 && a->sent >= MESSAGE && !a->shut) {
        a->shut = went(a, stream_shut(a->s));
    }
    for (r = 1; a->s && a->failure == 0 && !a->ended && r > 0;) {
        r = stream_read(a->s, piece, sizeof(piece));
        for (ssize_t i = 0; i < r; i++) {
            a->wrong |= piece[i] != byte_at(a->got + (size_t)i);
        }
        a->got += went(a, r) ? (size_t)r : 0;
        a->ended = r == 0;
    }
}

struct rig {
    struct loop *loop;
    struct tunnel_pair pair;
    struct talker talkers[2];
    struct mempipe_fault fault;
    struct budget budget; /* of both ends */
    size_t most_used;
    int calls;
};

static bool is_done(const struct talker *a)
{
    return a->failure < 0 || (a->shut && a->ended);
}

static void start_talker(struct rig *g, struct talker *a, struct stream *s)
{
    a->s = s;
    task_init(&a->task, g->loop, "talker", talk);
    stream_own(s, &a->task);
    task_wake(&a->task, WAKE_START);
}

static bool rig_is_done(struct rig *g)
{
    if (!g->talkers[1].s && g->pair.accepted_count > 0) {
        start_talker(g, &g->talkers[1], g->pair.accepted[0]);
    }
    bool server_done = g->talkers[1].s ? is_done(&g->talkers[1]) : g->pair.server_end != -EAGAIN;
    return is_done(&g->talkers[0]) && server_done;
}

/* Runs the scenario; true if both ends came to an end of some kind. */
static bool run(struct rig *g, int fail_call, int code)
{
    struct stream *below[2];
    bool done = false;

    memset(g, 0, sizeof(*g));
    g->fault = (struct mempipe_fault){.countdown = fail_call, .code = code};
    budget_init(&g->budget, 1 << 30, NULL);
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    tunnel_pair_init(&g->pair, g->loop, NULL);
    mempipe_pair(below, PIPE, &g->fault);
    tunnel_pair_serve(&g->pair, below[1], &g->budget);
    start_talker(g, &g->talkers[0],
                 hbone_dial_once(g->pair.home, below[0], &tunnel_pair_head, &g->budget));
    for (int i = 0; i < TURNS_MAX && !done; i++) {
        loop_turn(g->loop, 0);
        done = rig_is_done(g);
        g->most_used = MAX_OF(g->most_used, g->budget.used_bytes);
    }
    g->calls = g->fault.calls;
    for (int i = 0; i < 2; i++) {
        if (g->talkers[i].s) {
            task_fini(&g->talkers[i].task);
            stream_close(g->talkers[i].s, 0);
        }
    }
    for (unsigned i = g->talkers[1].s ? 1 : 0; i < g->pair.accepted_count; i++) {
        stream_close(g->pair.accepted[i], 0);
    }
    tunnel_pair_fini(&g->pair);
    loop_free(g->loop);
    return done;
}

static bool is_exact(const struct talker *a)
{
    return a->failure == 0 && a->got == MESSAGE && !a->wrong;
}

TEST(without_a_fault_every_byte_arrives)
{
    struct rig g;

    CHECK(run(&g, -1, 0));
    CHECK(is_exact(&g.talkers[0]));
    CHECK(is_exact(&g.talkers[1]));
    CHECK(g.most_used > PIPE); /* what waits for room is counted ... */
    CHECK_INT(g.budget.used_bytes, 0);
    CHECK_INT(mempipe_live(), 0);
}

TEST(each_call_on_the_secure_stream_may_fail_once)
{
    static struct rig g;

    CHECK(run(&g, -1, 0));
    int calls = g.calls;
    CHECK(calls > 100);
    for (int i = 0; i < calls; i++) {
        CHECK(run(&g, i, -ECONNRESET));
        CHECK_INT(mempipe_live(), 0);
        CHECK_INT(g.budget.used_bytes, 0); /* ... and given back, whatever happens */
        for (int k = 0; k < 2; k++) {
            const struct talker *a = &g.talkers[k];
            CHECK(!a->wrong);
            CHECK(a->failure < 0 || !a->s || a->got == MESSAGE); /* no clean end too early */
        }
    }
}

TEST(the_served_end_hears_what_failed)
{
    static struct rig g;

    CHECK(run(&g, 60, -EHOSTUNREACH));
    CHECK_INT(g.talkers[1].failure, -EHOSTUNREACH);
    CHECK_INT(g.pair.server_end, -EHOSTUNREACH);
    CHECK_INT(g.talkers[0].failure, -ECONNRESET); /* the pipe was aborted */
}

TEST(each_allocation_may_fail_once)
{
    static struct rig g;

    (void)mem_fault_set(-1);
    CHECK(run(&g, -1, 0));
    unsigned allocations = mem_fault_set(-1);
    CHECK(allocations > 50);
    unsigned failed = 0;
    for (unsigned i = 0; i < allocations; i++) {
        (void)mem_fault_set((int)i);
        bool done = run(&g, -1, 0);
        (void)mem_fault_set(-1);
        CHECK(done);
        CHECK_INT(mempipe_live(), 0);
        CHECK_INT(g.budget.used_bytes, 0); /* ... and given back, whatever happens */
        for (int k = 0; k < 2; k++) {
            const struct talker *a = &g.talkers[k];
            CHECK(!a->wrong);
            CHECK(a->failure < 0 || !a->s || a->got == MESSAGE);
            failed += a->failure < 0;
        }
    }
    CHECK(failed > 10);
}
