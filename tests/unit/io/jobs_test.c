/* SPDX-License-Identifier: Apache-2.0 */
#include "io/jobs.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rand.h"
#include "t.h"

/* A gate that job threads wait at, so that the test decides when work goes on. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool open;
    int waiting;
    char order[256]; /* lanes in the order in which their jobs ran */
    size_t done;
};

static void gate_init(struct gate *g)
{
    *g = (struct gate){.open = true};
    (void)pthread_mutex_init(&g->lock, NULL);
    (void)pthread_cond_init(&g->change, NULL);
}

static void gate_set(struct gate *g, bool open)
{
    (void)pthread_mutex_lock(&g->lock);
    g->open = open;
    (void)pthread_cond_broadcast(&g->change);
    (void)pthread_mutex_unlock(&g->lock);
}

static void gate_await(struct gate *g, int waiting)
{
    (void)pthread_mutex_lock(&g->lock);
    while (g->waiting < waiting) {
        (void)pthread_cond_wait(&g->change, &g->lock);
    }
    (void)pthread_mutex_unlock(&g->lock);
}

static int live;

struct work {
    struct job job;
    struct gate *gate;
    char lane;
};

static void do_work(struct job *j)
{
    struct work *w = container_of(j, struct work, job);
    struct gate *g = w->gate;

    (void)pthread_mutex_lock(&g->lock);
    g->waiting++;
    (void)pthread_cond_broadcast(&g->change);
    while (!g->open) {
        (void)pthread_cond_wait(&g->change, &g->lock);
    }
    g->waiting--;
    g->order[g->done++ % sizeof(g->order)] = w->lane;
    (void)pthread_mutex_unlock(&g->lock);
}

static void work_free(struct work *w)
{
    mem_free(w);
    live--;
}

static void abandoned(struct job *j)
{
    work_free(container_of(j, struct work, job));
}

static struct work *work_new(struct gate *g, char lane)
{
    struct work *w = mem_new(struct work);

    w->job.work = do_work;
    w->job.abandoned = abandoned;
    w->gate = g;
    w->lane = lane;
    live++;
    return w;
}

struct owner {
    struct task task;
    unsigned wakes;
};

static void run(struct task *t, unsigned why)
{
    container_of(t, struct owner, task)->wakes += (why & WAKE_JOB) != 0;
}

static void turn_until_done(struct loop *l, struct work *const *w, int count)
{
    for (int i = 0; i < count; i++) {
        while (!job_is_done(&w[i]->job)) {
            (void)loop_turn(l, 1000);
        }
    }
}

struct rank {
    struct job job;
    int nice;
};

static void do_rank(struct job *j)
{
    container_of(j, struct rank, job)->nice = getpriority(PRIO_PROCESS, 0);
}

static void rank_abandoned(struct job *j)
{
    (void)j; /* stands on the test's stack */
}

TEST(a_loop_that_wants_the_processor_of_a_job_gets_most_of_it)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(jobs) struct jobs *p = jobs_new(1, 10, 10, NULL);
    struct rank k = {.job = {.work = do_rank, .abandoned = rank_abandoned}};
    struct owner o = {.wakes = 0};
    int ours = getpriority(PRIO_PROCESS, 0);

    task_init(&o.task, l, "owner", run);
    CHECK_INT(jobs_submit(p, &k.job, 1, &o.task), 0);
    while (!job_is_done(&k.job)) {
        (void)loop_turn(l, 1000);
    }
    CHECK_INT(k.nice, MIN_OF(ours + 5, 19));
    CHECK_INT(getpriority(PRIO_PROCESS, 0), ours);
}

TEST(a_job_runs_elsewhere_and_wakes_its_owner)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(jobs) struct jobs *p = jobs_new(2, 10, 10, NULL);
    struct owner o = {.wakes = 0};
    struct gate g;

    gate_init(&g);
    task_init(&o.task, l, "owner", run);
    struct work *w = work_new(&g, 'a');
    CHECK(!job_is_done(&w->job));
    for (int round = 1; round <= 3; round++) { /* a finished job may be submitted again */
        CHECK_INT(jobs_submit(p, &w->job, 1, &o.task), 0);
        turn_until_done(l, &w, 1);
        (void)loop_turn(l, 0);
        CHECK_INT(o.wakes, round);
    }
    struct jobs_stats s = jobs_stats(p); /* the last one may be about to be counted as done */
    CHECK_INT(s.done + s.running, 3);
    work_free(w);
}

TEST(lanes_take_turns_however_long_one_of_them_is)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(jobs) struct jobs *p = jobs_new(1, 100, 100, NULL);
    static const char submitted[] = "xaaaaaaaabbc";
    struct work *w[sizeof(submitted) - 1];
    struct owner o = {.wakes = 0};
    struct gate g;

    gate_init(&g);
    gate_set(&g, false);
    task_init(&o.task, l, "owner", run);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        w[i] = work_new(&g, submitted[i]);
        CHECK_INT(jobs_submit(p, &w[i]->job, (uint64_t)submitted[i], &o.task), 0);
        gate_await(&g, 1); /* the first one holds the only thread */
    }
    CHECK_INT(jobs_stats(p).queued, 11);
    gate_set(&g, true);
    turn_until_done(l, w, (int)ARRAY_LEN(w));
    CHECK_MEM(g.order, "xabcabaaaaaa", 12);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        work_free(w[i]);
    }
}

TEST(a_full_lane_and_a_full_pool_refuse)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(jobs) struct jobs *p = jobs_new(1, 5, 3, NULL);
    struct work *w[9];
    int result[9];
    struct owner o = {.wakes = 0};
    struct gate g;

    gate_init(&g);
    gate_set(&g, false);
    task_init(&o.task, l, "owner", run);
    for (int i = 0; i < 9;
         i++) { /* one runs; of lane 1 three wait; of lane 2 two more fill the pool */
        w[i] = work_new(&g, 'a');
        result[i] = jobs_submit(p, &w[i]->job, i < 6 ? 1 : 2, &o.task);
        gate_await(&g, 1);
    }
    gate_set(&g, true);
    for (int i = 0; i < 9; i++) {
        bool refused = i == 4 || i == 5 || i == 8;
        CHECK_INT(result[i], refused ? -ERR_LIMIT : 0);
        if (!refused) {
            turn_until_done(l, &w[i], 1);
        }
        work_free(w[i]);
    }
    CHECK_INT(jobs_stats(p).refused, 3);
}

TEST(a_full_pool_keeps_a_share_for_every_lane)
{
    static const char lanes[] = "xaaaaaaaaaaaaaaaabbbc"; /* the first one runs; 16 fill the pool */
    static const char taken[] = "yyyyyyyyyyyyyyyyyyyny"; /* a share of two lanes is 2, of three 1 */
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(jobs) struct jobs *p = jobs_new(1, 16, 16, NULL);
    struct work *w[sizeof(lanes) - 1];
    int result[sizeof(lanes) - 1];
    struct owner o = {.wakes = 0};
    struct gate g;

    gate_init(&g);
    gate_set(&g, false);
    task_init(&o.task, l, "owner", run);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        w[i] = work_new(&g, lanes[i]);
        result[i] = jobs_submit(p, &w[i]->job, (uint64_t)lanes[i], &o.task);
        gate_await(&g, 1);
    }
    gate_set(&g, true);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        CHECK_INT(result[i], taken[i] == 'y' ? 0 : -ERR_LIMIT);
        if (result[i] == 0) {
            turn_until_done(l, &w[i], 1);
        }
        work_free(w[i]);
    }
}

TEST(a_job_can_be_abandoned_queued_running_done_or_never_submitted)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(jobs) struct jobs *p = jobs_new(1, 10, 10, NULL);
    struct work *w[4];
    struct owner o = {.wakes = 0};
    struct gate g;

    gate_init(&g);
    task_init(&o.task, l, "owner", run);
    for (int i = 0; i < 4; i++) {
        w[i] = work_new(&g, 'a');
    }
    job_abandon(&w[3]->job);
    CHECK_INT(live, 3);
    CHECK_INT(jobs_submit(p, &w[0]->job, 1, &o.task), 0);
    turn_until_done(l, w, 1);
    job_abandon(&w[0]->job);
    CHECK_INT(live, 2);
    gate_set(&g, false);
    CHECK_INT(jobs_submit(p, &w[1]->job, 1, &o.task), 0);
    gate_await(&g, 1);
    CHECK_INT(jobs_submit(p, &w[2]->job, 1, &o.task), 0);
    job_abandon(&w[2]->job); /* queued: at once */
    CHECK_INT(live, 1);
    CHECK_INT(jobs_stats(p).queued, 0);
    job_abandon(&w[1]->job); /* running: when it comes back */
    CHECK_INT(live, 1);
    (void)loop_turn(l, 0);
    unsigned wakes = o.wakes;
    gate_set(&g, true);
    while (live > 0) {
        (void)loop_turn(l, 1000);
    }
    CHECK_INT(o.wakes, wakes);
}

/* Owners come and go at random moments while the pool works; then everything goes, in the order that
 * the header names. */
TEST(a_random_history_leaves_no_job_behind)
{
    enum { OWNERS = 40, STEPS = 4000 };
    struct loop *l = loop_new(NULL);
    struct jobs *p = jobs_new(2, 30, 10, NULL);
    struct work *w[OWNERS] = {NULL};
    struct owner o = {.wakes = 0};
    struct rand_seq r;
    struct gate g;

    gate_init(&g);
    rand_seq_init(&r, 7);
    task_init(&o.task, l, "owner", run);
    for (int n = 0; n < STEPS; n++) {
        size_t i = (size_t)rand_seq_below(&r, OWNERS);
        if (w[i]) {
            job_abandon(&w[i]->job);
            w[i] = NULL;
        } else {
            w[i] = work_new(&g, 'a');
            if (jobs_submit(p, &w[i]->job, i % 4, &o.task) < 0) {
                work_free(w[i]);
                w[i] = NULL;
            }
        }
        if (n % 3 == 0) {
            (void)loop_turn(l, 0);
        }
    }
    for (int i = 0; i < OWNERS; i++) {
        if (w[i]) {
            job_abandon(&w[i]->job);
        }
    }
    task_fini(&o.task);
    jobs_free(p);
    loop_free(l);
    CHECK_INT(live, 0);
}
