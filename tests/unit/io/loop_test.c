/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/jobs.h"
#include "io/worker.h"
#include "t.h"

struct note {
    struct task task;
    unsigned runs;
    unsigned why;
    int order;
    int wakes_left; /* how often it wakes itself again */
    struct note *also;
    bool ends_itself;
};

static int clock_order;

static void run(struct task *t, unsigned why)
{
    struct note *n = container_of(t, struct note, task);

    n->runs++;
    n->why |= why;
    n->order = ++clock_order;
    if (n->wakes_left > 0) {
        n->wakes_left--;
        task_wake(t, WAKE_START);
    }
    if (n->also) {
        task_wake(&n->also->task, WAKE_CHILD);
    }
    if (n->ends_itself) {
        task_fini(t);
    }
}

static void init(struct note *n, struct loop *l)
{
    *n = (struct note){.runs = 0};
    task_init(&n->task, l, "note", run);
}

TEST(wakes_merge_and_run_once_in_order)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct note a;
    struct note b;

    init(&a, l);
    init(&b, l);
    task_wake(&b.task, WAKE_IO);
    task_wake(&a.task, WAKE_IO);
    task_wake(&b.task, WAKE_DRAIN);
    CHECK_INT(loop_turn(l, 0), 2);
    CHECK_INT(b.runs, 1);
    CHECK_INT(b.why, WAKE_IO | WAKE_DRAIN);
    CHECK(b.order < a.order);
    CHECK_INT(loop_turn(l, 0), 0);
}

TEST(a_late_task_runs_once_behind_everything_of_its_turn)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct note late;
    struct note chain[5];

    init(&late, l);
    task_wake_late(&late.task, WAKE_IO);
    for (int i = 0; i < 5; i++) {
        init(&chain[i], l);
        chain[i].also = i > 0 ? &chain[i - 1] : &late; /* a plain wake does not hurry it */
    }
    task_wake(&chain[4].task, WAKE_START);
    CHECK_INT(loop_turn(l, 0), 6);
    CHECK_INT(late.runs, 1);
    CHECK(late.order > chain[0].order);
}

TEST(a_task_that_wakes_itself_leaves_the_turn_to_end)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct note busy;
    struct note other;

    init(&busy, l);
    init(&other, l);
    busy.wakes_left = 1000000;
    task_wake(&busy.task, WAKE_START);
    CHECK_INT(loop_turn(l, 1000), LOOP_ROUNDS);
    task_wake(&other.task, WAKE_START);
    (void)loop_turn(l, 1000);
    CHECK_INT(other.runs, 1);
    task_fini(&busy.task);
    CHECK_INT(loop_turn(l, 0), 0);
}

TEST(a_finished_task_is_never_run_and_may_finish_others)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct note a;
    struct note b;

    init(&a, l);
    init(&b, l);
    a.ends_itself = true;
    a.wakes_left = 1;
    task_wake(&a.task, WAKE_IO);
    task_wake(&b.task, WAKE_IO);
    task_fini(&b.task);
    CHECK_INT(loop_turn(l, 0), 1);
    task_wake(&a.task, WAKE_IO);
    CHECK_INT(loop_turn(l, 0), 0);
    CHECK_INT(a.runs, 1);
    CHECK_INT(b.runs, 0);
}

struct hook {
    struct loop_hook h;
    struct note *note;
    int order;
};

static void on_turn(struct loop_hook *h)
{
    container_of(h, struct hook, h)->order = ++clock_order;
}

TEST(hooks_come_before_every_task_of_a_turn)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct hook h = {.h.turn = on_turn};
    struct note n;

    init(&n, l);
    loop_hook_stop(&h.h); /* fine before it started */
    loop_hook_start(l, &h.h);
    task_wake(&n.task, WAKE_START);
    (void)loop_turn(l, 0);
    CHECK(h.order > 0 && h.order < n.order);
    loop_hook_stop(&h.h);
    int before = h.order;
    (void)loop_turn(l, 0);
    CHECK_INT(h.order, before);
}

TEST(readiness_stays_until_eagain_and_comes_back_with_an_edge)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct note n;
    struct fd_watch w;
    char buf[4];
    int fds[2];

    init(&n, l);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    CHECK_INT(fd_watch_start(&w, l, &n.task, fds[0]), 0);
    CHECK_INT(w.ready, FD_READABLE | FD_WRITABLE);
    fd_watch_blocked(&w, FD_READABLE);
    (void)loop_turn(l, 0);
    n.runs = 0;
    CHECK_INT(write(fds[1], "abc", 3), 3);
    (void)loop_turn(l, 100);
    CHECK_INT(n.runs, 1);
    CHECK(w.ready & FD_READABLE);
    CHECK(!(w.ready & FD_ENDED));
    CHECK_INT(read(fds[0], buf, 1), 1);
    CHECK_INT(loop_turn(l, 0), 0); /* no second edge, but the bit is still there */
    CHECK(w.ready & FD_READABLE);
    (void)close(fds[1]);
    (void)loop_turn(l, 100);
    CHECK(w.ready & FD_ENDED);
    fd_watch_stop(&w);
    fd_watch_stop(&w);
    (void)close(fds[0]);
}

TEST(a_descriptor_that_cannot_be_watched_says_so)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct fd_watch w;

    CHECK_INT(fd_watch_start(&w, l, NULL, -1), -EBADF);
    fd_watch_stop(&w); /* fine: it never started */
}

enum { SENDERS = 3, LETTERS = 5000 };

struct letter {
    struct mail mail;
    int sender;
    int number;
    struct inbox *inbox;
};

struct inbox {
    struct loop *loop;
    int last[SENDERS];
    int wrong;
    int count;
};

static void deliver(struct mail *m)
{
    struct letter *n = container_of(m, struct letter, mail);
    struct inbox *b = n->inbox;

    b->wrong += n->number != b->last[n->sender] + 1;
    b->last[n->sender] = n->number;
    b->count++;
    mem_free(n);
}

struct sender {
    struct inbox *inbox;
    int id;
};

static void *send_letters(void *arg)
{
    struct sender *s = arg;

    for (int i = 1; i <= LETTERS; i++) {
        struct letter *n = mem_new(struct letter);
        n->mail.deliver = deliver;
        n->inbox = s->inbox;
        n->sender = s->id;
        n->number = i;
        loop_post(s->inbox->loop, &n->mail);
    }
    return NULL;
}

struct resting {
    struct loop_rest rest;
    struct loop *loop;
    unsigned rests;
    bool used;
};

static void note_rest(struct loop_rest *r)
{
    struct resting *x = container_of(r, struct resting, rest);

    x->rests++;
    if (x->used) {
        x->used = false;
        loop_stir(x->loop);
    }
}

TEST(rest_comes_once_for_what_was_stirred_and_ends_a_wait)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct resting x = {.rest.rest = note_rest, .loop = l, .used = true};

    loop_stop_clock(l);
    loop_rest_start(l, &x.rest);
    loop_advance(l, 10 * LOOP_REST_MS);
    (void)loop_turn(l, 0);
    CHECK_INT(x.rests, 0); /* nothing was stirred */
    memset(loop_scratch(l), 1, LOOP_SCRATCH_BYTES);
    loop_advance(l, LOOP_REST_MS - 10);
    (void)loop_turn(l, 0);
    CHECK_INT(x.rests, 0);
    (void)loop_turn(l, 60000); /* does not wait for a minute */
    loop_advance(l, 10);
    (void)loop_turn(l, 0);
    CHECK_INT(x.rests, 1);
    for (int i = 0; i < 3; i++) {
        loop_advance(l, LOOP_REST_MS);
        (void)loop_turn(l, 0);
    }
    CHECK_INT(x.rests, 2);                         /* because x had been used */
    CHECK_INT(((uint8_t *)loop_scratch(l))[0], 0); /* fresh memory */
    loop_rest_stop(&x.rest);
}

TEST(mail_of_many_threads_arrives_complete_and_in_each_senders_order)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct inbox inbox = {.loop = l};
    struct sender s[SENDERS];
    pthread_t threads[SENDERS];

    for (int i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){&inbox, i};
        CHECK_INT(pthread_create(&threads[i], NULL, send_letters, &s[i]), 0);
    }
    while (inbox.count < SENDERS * LETTERS) {
        (void)loop_turn(l, -1); /* for ever, if a poke is lost */
    }
    for (int i = 0; i < SENDERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    CHECK_INT(inbox.count, SENDERS * LETTERS);
    CHECK_INT(inbox.wrong, 0);
}

TEST(mail_left_at_the_end_is_delivered_by_free)
{
    struct loop *l = loop_new(NULL);
    struct inbox inbox = {.loop = l};
    struct sender s = {&inbox, 0};

    (void)send_letters(&s);
    loop_free(l);
    CHECK_INT(inbox.count, LETTERS); /* and the leak checker agrees */
}

TEST(a_worker_runs_what_was_set_up_and_gives_its_loop_back)
{
    AUTO(worker) struct worker *w = worker_new("test-worker-with-a-long-name", NULL);
    struct inbox inbox = {.loop = worker_loop(w)};
    struct sender s = {&inbox, 0};
    struct note n;

    init(&n, worker_loop(w));
    task_wake(&n.task, WAKE_START);
    CHECK_INT(worker_start(w, 0, NULL), 0);
    (void)send_letters(&s);
    worker_stop(w);
    worker_stop(w);
    (void)loop_turn(worker_loop(w), 0); /* ours again: what came in during the stop */
    CHECK_INT(n.runs, 1);
    CHECK_INT(inbox.count, LETTERS);
    CHECK_INT(inbox.wrong, 0);
    CHECK(loop_turns(worker_loop(w)) >= 1);
}

struct ball {
    struct mail mail;
    struct loop *at[2];
    int side;
    int hits;
};

static void hit(struct mail *m)
{
    struct ball *b = container_of(m, struct ball, mail);

    b->hits++;
    b->side = !b->side;
    if (b->hits < 1000) {
        loop_post(b->at[b->side], &b->mail);
    } else {
        loop_stop(b->at[0]);
    }
}

TEST(a_sleeping_loop_is_woken_by_every_letter)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(worker) struct worker *w = worker_new("far", NULL);
    struct ball b = {.mail.deliver = hit, .at = {l, worker_loop(w)}};

    CHECK_INT(worker_start(w, WORKER_ANY_CPU, NULL), 0);
    loop_post(l, &b.mail);
    loop_run(l); /* for ever, if a letter is slept through */
    worker_stop(w);
    CHECK_INT(b.hits, 1000);
}

TEST(a_worker_on_no_such_processor_does_not_start)
{
    AUTO(worker) struct worker *w = worker_new("nowhere", NULL);
    struct diag why;

    CHECK_INT(worker_start(w, 1023, &why), -EINVAL);
    CHECK_INT(worker_start(w, 100000, &why), -EINVAL);
    CHECK_STR(why.text, "run nowhere on processor 100000");
}

TEST(a_process_counts_the_processors_that_it_may_use)
{
    cpu_set_t before;
    cpu_set_t one;
    int cpu = sched_getcpu();

    CHECK_INT(sched_getaffinity(0, sizeof(before), &before), 0);
    CHECK(worker_cpus() >= 1);
    CHECK(worker_cpus() <= (unsigned)CPU_COUNT(&before));
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    CHECK_INT(sched_setaffinity(0, sizeof(one), &one), 0);
    CHECK_INT(worker_cpus(), 1);
    CHECK_INT(sched_setaffinity(0, sizeof(before), &before), 0);
}
