/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "mempipe.h"
#include "relay_task.h"
#include "t.h"

enum { MESSAGE = 20000 };

/* What an application does: sends, half-closes, reads until the end. */
struct app {
    struct task task;
    struct stream *s;
    size_t to_send;
    size_t sent;
    size_t got;
    int result;     /* 0 busy, 1 both halves done, < 0 failed */
    bool hold_open; /* says its piece and waits for an answer */
    bool shut;
    bool ended;
};

static char byte_at(size_t i)
{
    return (char)(i * 31 + i / 251);
}

static void app_send(struct app *a)
{
    char chunk[97];

    while (a->sent < a->to_send && a->result == 0) {
        size_t n = a->to_send - a->sent < sizeof(chunk) ? a->to_send - a->sent : sizeof(chunk);
        for (size_t i = 0; i < n; i++) {
            chunk[i] = byte_at(a->sent + i);
        }
        ssize_t w = stream_write(a->s, chunk, n);
        if (w == -EAGAIN) {
            return;
        }
        if (w < 0 || stream_flush(a->s) < 0) {
            a->result = w < 0 ? (int)w : -EIO;
            return;
        }
        a->sent += (size_t)w;
    }
    if (a->result == 0 && !a->shut && !a->hold_open && stream_shut(a->s) == 0) {
        a->shut = true;
    }
}

static void app_receive(struct app *a)
{
    char chunk[61];

    while (!a->ended && a->result == 0) {
        ssize_t n = stream_read(a->s, chunk, sizeof(chunk));
        if (n == -EAGAIN) {
            return;
        }
        if (n < 0) {
            a->result = (int)n;
            return;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] != byte_at(a->got + (size_t)i)) {
                a->result = -EBADMSG;
                return;
            }
        }
        a->got += (size_t)n;
        a->ended = n == 0;
    }
}

static void app_run(struct task *t, unsigned why)
{
    struct app *a = container_of(t, struct app, task);

    (void)why;
    app_send(a);
    app_receive(a);
    if (a->result == 0 && a->shut && a->ended) {
        a->result = 1;
    }
}

struct rig {
    struct loop *loop;
    struct app app[2];
    struct mempipe_fault fault;
    struct relay_task *relay;
    int done_calls;
    int result;
    struct relay_stats stats;
    struct diag diag;
};

static void note_done(void *arg, int result, struct relay_stats stats, const struct diag *diag)
{
    struct rig *g = arg;

    g->done_calls++;
    g->result = result;
    g->stats = stats;
    g->diag = *diag;
}

enum lending { LENDING_NEITHER, LENDING_NEAR, LENDING_FAR, LENDING_BOTH, LENDING_END };

static void pair(struct stream *out[2], bool lends, size_t capacity, struct mempipe_fault *fault)
{
    if (lends) {
        mempipe_pair_lending(out, capacity, fault);
    } else {
        mempipe_pair(out, capacity, fault);
    }
}

/* The far pipe is narrower than the near one, so that writes are cut short. */
static void rig_start_lending(struct rig *g, size_t capacity, int fail_at, enum lending lending)
{
    struct stream *a[2];
    struct stream *b[2];

    *g = (struct rig){.fault = {.countdown = fail_at, .code = -ERR_TRUNCATED}};
    g->loop = loop_new(NULL);
    pair(a, lending == LENDING_NEAR || lending == LENDING_BOTH, capacity, &g->fault);
    pair(b, lending == LENDING_FAR || lending == LENDING_BOTH, capacity / 2 + 1, &g->fault);
    g->app[0].s = a[0];
    g->app[1].s = b[0];
    for (int i = 0; i < 2; i++) {
        g->app[i].to_send = MESSAGE;
        task_init(&g->app[i].task, g->loop, "app", app_run);
        stream_own(g->app[i].s, &g->app[i].task);
        task_wake(&g->app[i].task, WAKE_START);
    }
    g->relay = relay_task_new(g->loop, a[1], b[1], note_done, g);
}

static void rig_start(struct rig *g, size_t capacity, int fail_at)
{
    rig_start_lending(g, capacity, fail_at, LENDING_NEITHER);
}

/* Turns until nothing is left to do. Bounded: a lost wake is a failed test, not a hang. */
static bool rig_settle(struct rig *g)
{
    for (int i = 0; i < 200000; i++) {
        if (loop_turn(g->loop, 0) == 0) {
            return true;
        }
    }
    return false;
}

static void rig_stop(struct rig *g)
{
    for (int i = 0; i < 2; i++) {
        task_fini(&g->app[i].task);
        stream_close(g->app[i].s, 0);
    }
    loop_free(g->loop);
}

static void arrives_whole(struct test *t, size_t capacity, enum lending lending)
{
    struct rig g;

    rig_start_lending(&g, capacity, -1, lending);
    bool settled = rig_settle(&g);
    rig_stop(&g);
    CHECK(settled);
    CHECK_INT(g.done_calls, 1);
    CHECK_INT(g.result, 0);
    CHECK_INT(g.stats.sent, MESSAGE);
    CHECK_INT(g.stats.received, MESSAGE);
    CHECK_INT(g.app[0].result, 1);
    CHECK_INT(g.app[1].result, 1);
    CHECK_INT(mempipe_live(), 0);
}

TEST(both_directions_arrive_whole_through_a_narrow_pipe)
{
    for (size_t capacity = 1; capacity <= 100000; capacity = capacity * 5 + 1) {
        for (int lending = 0; lending < LENDING_END && !t->failed; lending++) {
            arrives_whole(t, capacity, (enum lending)lending);
        }
    }
}

static void fails_at(struct test *t, int at, enum lending lending)
{
    struct rig g;

    rig_start_lending(&g, 640, at, lending);
    bool settled = rig_settle(&g);
    rig_stop(&g);
    CHECK(settled);
    CHECK_INT(g.done_calls, 1);
    CHECK_INT(g.result, -ERR_TRUNCATED);
    CHECK_STR(g.diag.text, "injected");
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_fault_at_any_call_ends_once_and_frees_everything)
{
    for (int lending = 0; lending < LENDING_END && !t->failed; lending++) {
        struct rig g;
        rig_start_lending(&g, 640, -1, (enum lending)lending);
        CHECK(rig_settle(&g));
        int calls = g.fault.calls;
        rig_stop(&g);
        CHECK(calls > 50);
        for (int at = 0; at < calls && !t->failed; at++) {
            fails_at(t, at, (enum lending)lending);
        }
        printf("# %d fault points\n", calls);
    }
}

TEST(memory_that_is_short_ends_the_connection_and_nothing_else)
{
    struct rig g;
    int failed = 0;

    for (int at = 0; at < 200 && !t->failed; at++) {
        rig_start(&g, 640, -1);
        (void)mem_fault_set(at);
        bool settled = rig_settle(&g);
        (void)mem_fault_set(-1);
        rig_stop(&g);
        CHECK(settled);
        CHECK_INT(g.done_calls, 1);
        CHECK(g.result == 0 || g.result == -ERR_TOO_LARGE);
        CHECK_INT(mempipe_live(), 0);
        failed += g.result < 0;
    }
    CHECK(failed > 10);
}

TEST(a_reset_on_one_leg_is_a_reset_on_the_other)
{
    struct rig g;

    rig_start(&g, 64, -1);
    g.app[1].hold_open = true;
    g.app[0].to_send = 10;
    g.app[0].hold_open = true;
    g.app[1].to_send = 10;
    CHECK(rig_settle(&g));
    task_fini(&g.app[0].task);
    stream_close(g.app[0].s, -ECONNRESET);
    g.app[0].s = NULL;
    bool settled = rig_settle(&g);
    rig_stop(&g);
    CHECK(settled);
    CHECK_INT(g.result, -ECONNRESET);
    CHECK_INT(g.app[1].result, -ECONNRESET);
    CHECK_INT(mempipe_live(), 0);
}

TEST(an_abort_ends_an_idle_relay)
{
    struct rig g;

    rig_start(&g, 8, -1);
    task_fini(&g.app[0].task); /* silent applications: nothing ever happens on its own */
    task_fini(&g.app[1].task);
    CHECK(rig_settle(&g));
    CHECK_INT(g.done_calls, 0);
    relay_task_abort(g.relay, -ERR_DRAINED);
    bool settled = rig_settle(&g);
    rig_stop(&g);
    CHECK(settled);
    CHECK_INT(g.result, -ERR_DRAINED);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_reader_that_stops_stops_the_writer)
{
    struct rig g;

    rig_start(&g, 16, -1);
    g.app[0].to_send = 10 << 20;
    task_fini(&g.app[1].task); /* never reads */
    CHECK(rig_settle(&g));
    /* the near pipe (16), what the pump holds (at most one batch) and the far pipe (9) */
    bool bounded = g.app[0].sent <= 16 + PUMP_BATCH_MIN + 9;
    relay_task_abort(g.relay, -ERR_DRAINED);
    CHECK(rig_settle(&g));
    rig_stop(&g);
    CHECK(bounded);
}

TEST(one_side_ending_early_leaves_the_other_flowing)
{
    struct rig g;

    for (int quiet = 0; quiet < 2; quiet++) {
        rig_start(&g, 50, -1);
        g.app[quiet].to_send = 0;
        bool settled = rig_settle(&g);
        rig_stop(&g);
        CHECK(settled);
        CHECK_INT(g.result, 0);
        CHECK_INT(g.stats.sent + g.stats.received, MESSAGE);
        CHECK_INT(g.app[0].result, 1);
        CHECK_INT(g.app[1].result, 1);
    }
}

TEST(what_was_sent_arrives_before_more_is_asked_for)
{
    struct rig g;

    rig_start(&g, 1000, -1);
    g.app[0].to_send = 10;
    g.app[0].hold_open = true;
    g.app[1].to_send = 0;
    g.app[1].hold_open = true;
    CHECK(rig_settle(&g));
    size_t got = g.app[1].got;
    relay_task_abort(g.relay, -ERR_DRAINED);
    CHECK(rig_settle(&g));
    rig_stop(&g);
    CHECK_INT(got, 10);
}

TEST(a_relay_taken_apart_and_assembled_loses_nothing)
{
    struct rig g;

    rig_start(&g, 700, -1);
    for (int i = 0; i < 40; i++) {
        struct relay_parts parts;
        (void)loop_turn(g.loop, 0);
        if (g.done_calls > 0) {
            break;
        }
        relay_task_take_apart(g.relay, &parts);
        g.relay = relay_task_assemble(g.loop, &parts, note_done, &g);
    }
    bool settled = rig_settle(&g);
    rig_stop(&g);
    CHECK(settled);
    CHECK_INT(g.result, 0);
    CHECK_INT(g.app[0].result, 1);
    CHECK_INT(g.app[1].result, 1);
    CHECK_INT(mempipe_live(), 0);
}
