/* SPDX-License-Identifier: Apache-2.0 */
/* Pools over pipes: which dials share a tunnel, and what becomes of those that find none. */
#include "hbone/pool.h"

#include <string.h>

#include "base/mem.h"
#include "hbone/pool_int.h"
#include "hbone/server.h"
#include "io/loop.h"
#include "mempipe.h"
#include "t.h"

enum { TUNNELS = 40, STREAMS = 300, PIPE = 100000 };

struct far { /* a served tunnel */
    struct task task;
    struct rig *rig;
    struct hbone_server *server;
    unsigned requests;
};

struct rig {
    struct loop *loop;
    struct hbone_loop *home;
    struct hbone_pool *pool;
    struct task owner; /* of all dialled streams */
    struct far far[TUNNELS];
    unsigned opened;
    struct stream *held[TUNNELS]; /* servers' ends that are not served yet */
    bool hold;                    /* leave new tunnels without an answer */
    struct stream *accepted[STREAMS];
    unsigned accepted_count;
    unsigned wakes;
};

static const char *const web[] = {"spiffe://cluster.local/ns/shop/sa/web",
                                  "spiffe://cluster.local/ns/shop/sa/gate"};
static const char *const turned[] = {"spiffe://cluster.local/ns/shop/sa/gate",
                                     "spiffe://cluster.local/ns/shop/sa/web"};

static void run_far(struct task *task, unsigned why)
{
    struct far *f = container_of(task, struct far, task);
    struct hbone_request *r = NULL;

    (void)why;
    while (f->server && hbone_server_next(f->server, &r) == 1) {
        f->requests++;
        f->rig->accepted[f->rig->accepted_count++] =
            hbone_request_accept(r, slice_of("service.name=web"));
    }
}

static void count_wake(struct task *task, unsigned why)
{
    (void)why;
    container_of(task, struct rig, owner)->wakes++;
}

static void serve(struct rig *g, unsigned i)
{
    struct far *f = &g->far[i];

    f->rig = g;
    task_init(&f->task, g->loop, "far", run_far);
    f->server = hbone_server_new(g->home, g->held[i], &f->task, NULL);
    g->held[i] = NULL;
    task_wake(&f->task, WAKE_START);
}

/* A pipe that is being opened takes nothing: its room is taken by what nobody reads. */
static struct stream *open_pipe(void *arg, const struct hbone_target *target)
{
    struct rig *g = arg;
    struct stream *ends[2];
    unsigned i = g->opened++;

    (void)target;
    mempipe_pair(ends, g->hold ? 1 : PIPE, NULL);
    if (g->hold) { /* even a narrow pipe takes one byte: fill it */
        (void)!stream_write(ends[0], "x", 1);
    }
    g->held[i] = ends[1];
    if (!g->hold) {
        serve(g, i);
    }
    return ends[0];
}

static void rig_start(struct rig *g, const struct hbone_limits *limits, struct budget *budget)
{
    struct hbone_dialer dialer = {.open = open_pipe, .arg = g};

    memset(g, 0, sizeof(*g));
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    g->home = hbone_loop_new(g->loop, limits, NULL);
    g->pool = hbone_pool_new(g->home, &dialer, budget);
    task_init(&g->owner, g->loop, "owner", count_wake);
}

static void turns(struct rig *g)
{
    while (loop_turn(g->loop, 0) > 0) {
    }
}

static void rig_stop(struct rig *g)
{
    hbone_pool_free(g->pool);
    for (unsigned i = 0; i < g->accepted_count; i++) {
        stream_close(g->accepted[i], 0);
    }
    for (unsigned i = 0; i < g->opened; i++) {
        stream_close(g->held[i], 0);
        if (g->far[i].server) {
            hbone_server_close(g->far[i].server, 0);
            task_fini(&g->far[i].task);
        }
    }
    for (int i = 0; i < 10; i++) {
        turns(g);
        loop_advance(g->loop, 1000);
    }
    task_fini(&g->owner);
    hbone_loop_free(g->home);
    loop_free(g->loop);
}

static struct hbone_target target(void)
{
    return (struct hbone_target){
        .gateway = {.ip = {.family = IP_V4, .bytes = {10, 0, 0, 2}}, .port = 15008},
        .local = "spiffe://cluster.local/ns/shop/sa/client",
        .expect = web,
        .expect_count = 2,
        .source = {.family = IP_V4, .bytes = {10, 0, 0, 1}},
        .head = {.authority = {"10.0.0.2:8080", 13}}};
}

static struct stream *dial(struct rig *g, const struct hbone_target *t)
{
    struct stream *s = hbone_dial(g->pool, t);

    stream_own(s, &g->owner);
    (void)!hbone_dial_ready(s); /* so that the owner is owed a wake */
    return s;
}

TEST(only_dials_of_one_key_share_a_tunnel)
{
    static struct rig g;
    struct hbone_target to[7];
    struct stream *s[14];
    int ready = 0;

    rig_start(&g, NULL, NULL);
    for (int i = 0; i < 7; i++) {
        to[i] = target();
    }
    to[1].local = "spiffe://cluster.local/ns/shop/sa/clien";
    to[2].expect = turned;
    to[3].expect_count = 1;
    to[4].gateway.port = 15009;
    to[5].gateway.ip.bytes[3] = 3;
    to[6].source.bytes[3] = 2;
    for (int i = 0; i < 14; i++) {
        s[i] = dial(&g, &to[i % 7]);
    }
    turns(&g);
    for (int i = 0; i < 14; i++) {
        ready += hbone_dial_ready(s[i]) == 0;
        stream_close(s[i], 0);
    }
    unsigned opened = g.opened;
    unsigned tunnels = hbone_pool_tunnels(g.pool);
    rig_stop(&g);
    CHECK_INT(ready, 14);
    CHECK_INT(opened, 7);
    CHECK_INT(tunnels, 7);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_dial_is_ready_with_its_answer)
{
    static struct rig g;
    struct hbone_target to = target();

    rig_start(&g, NULL, NULL);
    struct stream *s = dial(&g, &to);
    int early = hbone_dial_ready(s);
    turns(&g);
    int ready = hbone_dial_ready(s);
    unsigned wakes = g.wakes;
    stream_close(s, 0);
    rig_stop(&g);
    CHECK_INT(early, -EAGAIN);
    CHECK_INT(ready, 0);
    CHECK_INT(wakes, 1);
}

TEST(one_tunnel_of_a_key_is_made_at_a_time_and_the_others_wait)
{
    static struct rig g;
    static struct stream *s[250];
    struct hbone_target to = target();
    unsigned opened[3];

    rig_start(&g, NULL, NULL);
    g.hold = true;
    for (int i = 0; i < 250; i++) {
        s[i] = dial(&g, &to);
    }
    turns(&g);
    opened[0] = g.opened; /* the first carries 100, the rest waits for it */
    char x;
    (void)!stream_read(g.held[0], &x, 1); /* what had filled the pipe */
    serve(&g, 0);
    g.hold = false;
    turns(&g);
    opened[1] = g.opened;
    int ready = 0;
    for (int i = 0; i < 250; i++) {
        ready += hbone_dial_ready(s[i]) == 0;
        stream_close(s[i], 0);
    }
    opened[2] = g.far[0].requests;
    rig_stop(&g);
    CHECK_INT(opened[0], 1);
    CHECK_INT(opened[1], 3);
    CHECK_INT(opened[2], 100);
    CHECK_INT(ready, 250);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_full_pool_lets_idle_tunnels_go_and_makes_the_rest_wait)
{
    static struct rig g;
    struct hbone_limits limits = {.pool_tunnels = 2, .pool_waiting = 2, .response_ms = 5000};
    struct hbone_target to[5];
    struct stream *s[5];
    int r[5];

    rig_start(&g, &limits, NULL);
    for (unsigned i = 0; i < 5; i++) {
        to[i] = target();
        to[i].gateway.port = (uint16_t)(1000 + i);
    }
    s[0] = dial(&g, &to[0]);
    s[1] = dial(&g, &to[1]);
    turns(&g);
    s[2] = dial(&g, &to[2]);
    s[3] = dial(&g, &to[3]);
    s[4] = dial(&g, &to[4]); /* two wait already */
    turns(&g);
    r[4] = hbone_dial_ready(s[4]);
    r[2] = hbone_dial_ready(s[2]);
    stream_close(s[0], 0); /* its tunnel is idle, and goes for s[2] */
    turns(&g);
    r[0] = hbone_dial_ready(s[2]);
    loop_advance(g.loop, 6000); /* nothing comes free for s[3] */
    turns(&g);
    r[3] = hbone_dial_ready(s[3]);
    unsigned tunnels = hbone_pool_tunnels(g.pool);
    for (int i = 1; i < 5; i++) {
        stream_close(s[i], 0);
    }
    rig_stop(&g);
    CHECK_INT(r[4], -ERR_LIMIT);
    CHECK_INT(r[2], -EAGAIN);
    CHECK_INT(r[0], 0);
    CHECK_INT(r[3], -ERR_DEADLINE);
    CHECK_INT(tunnels, 2);
    CHECK_INT(mempipe_live(), 0);
}

static unsigned pool_runs;
static task_fn *pool_run;

static void count_pool_run(struct task *task, unsigned why)
{
    pool_runs++;
    pool_run(task, why);
}

/* How often a stream's end has the pool look at all of its tunnels. */
static unsigned runs_of_close(struct rig *g, struct stream *s)
{
    pool_runs = 0;
    stream_close(s, 0);
    turns(g);
    return pool_runs;
}

TEST(the_ends_of_streams_are_news_only_while_a_dial_waits_for_an_idle_tunnel)
{
    static struct rig g;
    struct hbone_limits limits = {.pool_tunnels = 1, .response_ms = 5000};
    struct hbone_target here = target();
    struct hbone_target there = target();
    struct stream *s[6];
    unsigned runs[5];
    int r[2];

    rig_start(&g, &limits, NULL);
    pool_run = g.pool->task.run;
    g.pool->task.run = count_pool_run;
    there.gateway.port = 1;
    for (int i = 0; i < 5; i++) {
        s[i] = dial(&g, &here);
    }
    turns(&g);
    runs[0] = runs_of_close(&g, s[0]);
    s[5] = dial(&g, &there);
    turns(&g);
    runs[1] = runs_of_close(&g, s[1]);
    runs[2] = runs_of_close(&g, s[2]);
    r[0] = hbone_dial_ready(s[5]);
    (void)runs_of_close(&g, s[5]); /* gives up, which the pool hears with the next end */
    (void)runs_of_close(&g, s[3]);
    s[3] = dial(&g, &here);
    turns(&g);
    runs[3] = runs_of_close(&g, s[3]);
    s[5] = dial(&g, &there);
    turns(&g);
    runs[4] = runs_of_close(&g, s[4]); /* the last one: its tunnel goes */
    r[1] = hbone_dial_ready(s[5]);
    stream_close(s[5], 0);
    rig_stop(&g);
    CHECK_INT(runs[0], 0);
    CHECK(runs[1] > 0);
    CHECK(runs[2] > 0);
    CHECK_INT(r[0], -EAGAIN);
    CHECK_INT(runs[3], 0);
    CHECK(runs[4] > 0);
    CHECK_INT(r[1], 0);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_pool_that_goes_takes_its_dials_along_but_not_their_streams)
{
    static struct rig g;
    struct hbone_target to = target();
    char buf[10];

    rig_start(&g, NULL, NULL);
    struct stream *open = dial(&g, &to);
    turns(&g);
    g.hold = true;
    to.gateway.port = 1;
    struct stream *asked = dial(&g, &to);
    turns(&g);
    to.gateway.port = 2;
    struct stream *queued = dial(&g, &to);
    ssize_t before = stream_read(open, buf, sizeof(buf));
    hbone_pool_free(g.pool);
    g.pool = NULL;
    turns(&g);
    int r[3] = {(int)stream_read(open, buf, sizeof(buf)), hbone_dial_ready(asked),
                hbone_dial_ready(queued)};
    int far = (int)stream_read(g.accepted[0], buf, sizeof(buf));
    stream_close(open, 0);
    stream_close(asked, 0);
    stream_close(queued, 0);
    rig_stop(&g);
    CHECK_INT(before, -EAGAIN);
    CHECK_INT(r[0], -ERR_CANCELLED);
    CHECK_INT(r[1], -ERR_CANCELLED);
    CHECK_INT(r[2], -ERR_CANCELLED);
    CHECK_INT(far, -ERR_H2_RESET);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_draining_pool_ends_with_its_streams_and_who_still_dials_finds_another_tunnel)
{
    static struct rig g;
    struct hbone_target to = target();

    rig_start(&g, NULL, NULL);
    struct stream *s = dial(&g, &to);
    turns(&g);
    struct hbone_target other = target();
    other.gateway.port++;
    struct stream *waiting = dial(&g, &other);
    hbone_pool_drain(g.pool);
    struct stream *late = dial(&g, &to);
    turns(&g);
    int ready[2] = {hbone_dial_ready(waiting), hbone_dial_ready(late)};
    unsigned with = hbone_pool_tunnels(g.pool);
    ssize_t n = stream_write(s, "still", 5);
    stream_close(s, 0);
    turns(&g);
    unsigned without = hbone_pool_tunnels(g.pool);
    stream_close(waiting, 0);
    stream_close(late, 0);
    rig_stop(&g);
    CHECK_INT(ready[0], 0);
    CHECK_INT(ready[1], 0);
    CHECK_INT(with, 3);
    CHECK_INT(n, 5);
    CHECK_INT(without, 2);
    CHECK_INT(mempipe_live(), 0);
}

TEST(what_cannot_be_asked_fails_at_the_first_call)
{
    static struct rig g;
    struct budget full;
    static char longest[20000];
    struct hbone_target to = target();

    budget_init(&full, 10, NULL);
    rig_start(&g, NULL, &full);
    memset(longest, 'x', sizeof(longest));
    to.head.baggage = (struct slice){longest, sizeof(longest)};
    struct stream *much = dial(&g, &to);
    to = target();
    to.expect_count = 0;
    struct stream *anybody = dial(&g, &to);
    turns(&g);
    to = target();
    budget_charge(&full, 11);
    struct stream *poor = dial(&g, &to);
    budget_release(&full, 11);
    int r[3] = {hbone_dial_ready(much), hbone_dial_ready(anybody), hbone_dial_ready(poor)};
    stream_close(much, 0);
    stream_close(anybody, 0);
    stream_close(poor, 0);
    rig_stop(&g);
    CHECK_INT(r[0], -ERR_TOO_LARGE);
    CHECK_INT(r[1], -ERR_IDENTITY);
    CHECK_INT(r[2], -ERR_LIMIT);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_dial_may_be_closed_at_any_step)
{
    static struct rig g;
    struct hbone_target to = target();

    rig_start(&g, NULL, NULL);
    for (int steps = 0; steps < 12; steps++) {
        for (int why = -ERR_CANCELLED; why <= 0; why += ERR_CANCELLED) {
            struct stream *s = dial(&g, &to);

            for (int i = 0; i < steps; i++) {
                loop_turn(g.loop, 0);
            }
            stream_close(s, why);
            turns(&g);
        }
    }
    unsigned opened = g.opened;
    size_t streams = hbone_loop_stats(g.home)->streams;
    for (unsigned i = 0; i < g.accepted_count; i++) {
        stream_close(g.accepted[i], 0);
    }
    g.accepted_count = 0;
    turns(&g);
    size_t after = hbone_loop_stats(g.home)->streams;
    rig_stop(&g);
    CHECK_INT(opened, 1);
    CHECK(streams <= 24);
    CHECK_INT(after, 0);
    CHECK_INT(mempipe_live(), 0);
}
