/* SPDX-License-Identifier: Apache-2.0 */
#include "io/jobs.h"

#include <sys/resource.h>

#include "base/map.h"
#include "base/mem.h"
#include "io/thread_int.h"

enum { BELOW_LOOPS = 5 }; /* nice: a third of a loop's share of a core that both want */

enum job_state { JOB_IDLE, JOB_QUEUED, JOB_RUNNING, JOB_DONE };

struct lane {
    struct list in_turn; /* lanes with work, in the order they are served */
    struct map_node by_key;
    uint64_t key;
    struct list jobs; /* oldest first */
    unsigned count;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct list turn;
    struct map lanes; /* only those with work */
    unsigned limit;
    unsigned lane_limit;
    struct jobs_stats stats;
    bool stop;
    unsigned thread_count;
    pthread_t threads[];
};

static struct lane *lane_find(struct jobs *p, uint64_t key, uint64_t hash)
{
    for (struct map_node *n = map_find(&p->lanes, hash); n; n = map_find_next(n)) {
        struct lane *l = container_of(n, struct lane, by_key);
        if (l->key == key) {
            return l;
        }
    }
    return NULL;
}

static struct lane *lane_make(struct jobs *p, uint64_t key, uint64_t hash)
{
    struct lane *l = mem_new(struct lane);

    l->key = key;
    list_init(&l->jobs);
    map_insert(&p->lanes, &l->by_key, hash);
    list_append(&p->turn, &l->in_turn);
    return l;
}

static void lane_drop(struct jobs *p, struct lane *l)
{
    list_remove(&l->in_turn);
    map_remove(&p->lanes, &l->by_key);
    mem_free(l);
}

static void unqueue(struct jobs *p, struct job *j)
{
    struct lane *l = j->lane;

    list_remove(&j->in_lane);
    j->lane = NULL;
    p->stats.queued--;
    if (--l->count == 0) {
        lane_drop(p, l);
    }
}

/* The first job of the lane whose turn it is; the lane goes to the end of the row. */
static struct job *take_next(struct jobs *p)
{
    struct lane *l = container_of(p->turn.next, struct lane, in_turn);
    struct job *j = container_of(l->jobs.next, struct job, in_lane);

    list_remove(&l->in_turn);
    list_append(&p->turn, &l->in_turn);
    unqueue(p, j);
    return j;
}

/* On the submitter's loop, after work() returned. */
static void deliver(struct mail *m)
{
    struct job *j = container_of(m, struct job, mail);

    atomic_store_explicit(&j->state, JOB_DONE, memory_order_relaxed); /* mail has ordered it */
    if (j->task) {
        task_wake(j->task, WAKE_JOB);
    } else {
        j->abandoned(j);
    }
}

/* A burst of handshakes must not make the connections that exist wait for a core. On Linux this is a
 * property of the calling thread. */
static void stand_back(void)
{
    int now = getpriority(PRIO_PROCESS, 0); /* an error looks like -1, which does here */

    (void)setpriority(PRIO_PROCESS, 0, now + BELOW_LOOPS); /* downward is always allowed */
}

static void *thread_main(void *arg)
{
    struct jobs *p = arg;

    stand_back();
    (void)pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (list_is_empty(&p->turn)) {
            (void)pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        struct job *j = take_next(p);
        atomic_store_explicit(&j->state, JOB_RUNNING, memory_order_relaxed);
        p->stats.running++;
        (void)pthread_mutex_unlock(&p->lock);
        j->work(j);
        loop_post(j->loop, &j->mail);
        (void)pthread_mutex_lock(&p->lock);
        p->stats.running--;
        p->stats.done++;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct jobs *jobs_new(unsigned threads, unsigned limit, unsigned lane_limit, struct diag *why)
{
    struct jobs *p = mem_alloc(sizeof(*p) + threads * sizeof(pthread_t));

    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->work, NULL);
    list_init(&p->turn);
    map_init(&p->lanes);
    p->limit = limit;
    p->lane_limit = lane_limit;
    for (; p->thread_count < threads; p->thread_count++) {
        if (thread_start(&p->threads[p->thread_count], "jobs", thread_main, p, why) < 0) {
            jobs_free(p);
            return NULL;
        }
    }
    return p;
}

void jobs_free(struct jobs *p)
{
    if (!p) {
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_cond_broadcast(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++) {
        (void)pthread_join(p->threads[i], NULL);
    }
    while (!list_is_empty(&p->turn)) {
        struct job *j = take_next(p);
        atomic_store_explicit(&j->state, JOB_DONE, memory_order_relaxed); /* never ran */
    }
    map_fini(&p->lanes);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* l: NULL for a lane that has nothing yet. */
static bool is_full(const struct jobs *p, const struct lane *l)
{
    unsigned count = l ? l->count : 0;
    unsigned share = jobs_share(p->limit, p->lanes.count + !l);

    return count >= p->lane_limit || (p->stats.queued >= p->limit && count >= share);
}

int jobs_submit(struct jobs *p, struct job *j, uint64_t lane, struct task *t)
{
    uint64_t hash = map_hash(&lane, sizeof(lane));
    int r = 0;

    *j = (struct job){.work = j->work, .abandoned = j->abandoned, .mail.deliver = deliver};
    j->task = t;
    j->loop = t->loop;
    j->pool = p;
    (void)pthread_mutex_lock(&p->lock);
    struct lane *l = lane_find(p, lane, hash);
    if (is_full(p, l)) {
        p->stats.refused++;
        r = -ERR_LIMIT;
    } else {
        l = l ? l : lane_make(p, lane, hash);
        atomic_store_explicit(&j->state, JOB_QUEUED, memory_order_relaxed);
        j->lane = l;
        list_append(&l->jobs, &j->in_lane);
        l->count++;
        p->stats.queued++;
        (void)pthread_cond_signal(&p->work);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

bool job_is_done(const struct job *j)
{
    return atomic_load_explicit(&j->state, memory_order_relaxed) == JOB_DONE;
}

/* Out of its lane, if it still waits there. */
static bool try_unqueue(struct jobs *p, struct job *j)
{
    (void)pthread_mutex_lock(&p->lock);
    bool waits = j->lane != NULL;
    if (waits) {
        unqueue(p, j);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return waits;
}

void job_abandon(struct job *j)
{
    int state = atomic_load_explicit(&j->state, memory_order_relaxed);

    j->task = NULL; /* read by deliver(), on this same thread */
    if (state == JOB_IDLE || state == JOB_DONE || try_unqueue(j->pool, j)) {
        j->abandoned(j);
    }
}

struct jobs_stats jobs_stats(struct jobs *p)
{
    (void)pthread_mutex_lock(&p->lock);
    struct jobs_stats s = p->stats;
    (void)pthread_mutex_unlock(&p->lock);
    return s;
}
