/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop_int.h"
#include "io/splice_int.h"

enum { EVENTS_A_TURN = 256 };

/* Nanoseconds, without the skew. */
static uint64_t clock_update(struct loop *l)
{
    uint64_t ns = clock_mono_ns();

    if (!l->clock_stands) {
        l->now_ms = ns / 1000000u + l->skew_ms;
    }
    return ns;
}

static int wakeup_watch(struct loop *l)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wakeup, &e) < 0 ? neg_errno() : 0;
}

struct loop *loop_new(struct diag *why)
{
    struct loop *l = mem_new(struct loop);

    task_queue_init(&l->soon);
    task_queue_init(&l->late);
    list_init(&l->hooks);
    list_init(&l->orphans);
    list_init(&l->rests);
    list_init(&l->idle_pipes);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll < 0 || l->wakeup < 0 || wakeup_watch(l) < 0) {
        (void)FAIL(why, neg_errno(), "make an event loop");
        loop_free(l);
        return NULL;
    }
    (void)clock_update(l); /* sets now_ms */
    return l;
}

static void deliver_mail(struct loop *l)
{
    struct mail *newest = atomic_exchange_explicit(&l->mail, NULL, memory_order_acquire);
    struct mail *oldest = NULL;

    while (newest) { /* the stack gives the last letter first */
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct mail *next = oldest->next;
        oldest->deliver(oldest);
        oldest = next;
    }
}

void loop_orphan_add(struct loop *l, struct loop_orphan *o)
{
    list_append(&l->orphans, &o->in_loop);
}

void loop_orphan_remove(struct loop_orphan *o)
{
    list_remove(&o->in_loop);
}

void loop_end_orphans(struct loop *l)
{
    for (struct list *n; (n = list_take_first(&l->orphans));) {
        struct loop_orphan *o = container_of(n, struct loop_orphan, in_loop);
        o->end(o);
    }
}

void loop_free(struct loop *l)
{
    if (l) {
        deliver_mail(l);
        loop_end_orphans(l);
        splice_pipes_fini(l);
        if (l->epoll >= 0) {
            (void)close(l->epoll); /* nothing to do about a failure here */
        }
        if (l->wakeup >= 0) {
            (void)close(l->wakeup); /* as above */
        }
        mem_free(l->timers.at);
        mem_pages_free(l->scratch, LOOP_SCRATCH_BYTES);
        mem_free(l);
    }
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

void loop_advance(struct loop *l, uint64_t ms)
{
    l->skew_ms += ms;
    l->now_ms += ms;
    (void)clock_update(l); /* sets now_ms, if it runs */
}

void loop_stop_clock(struct loop *l)
{
    l->clock_stands = true;
}

void *loop_scratch(struct loop *l)
{
    if (!l->scratch) {
        l->scratch = mem_pages(LOOP_SCRATCH_BYTES);
    }
    l->scratch_used = true;
    loop_stir(l);
    return l->scratch;
}

void loop_rest_start(struct loop *l, struct loop_rest *r)
{
    list_append(&l->rests, &r->in_loop);
}

void loop_rest_stop(struct loop_rest *r)
{
    list_remove(&r->in_loop);
}

void loop_stir(struct loop *l)
{
    if (l->rest_at_ms == 0) {
        l->rest_at_ms = l->now_ms + LOOP_REST_MS;
    }
}

static void rest_scratch(struct loop *l)
{
    if (l->scratch_used) {
        l->scratch_used = false;
        loop_stir(l);
    } else {
        mem_pages_free(l->scratch, LOOP_SCRATCH_BYTES);
        l->scratch = NULL;
    }
}

static void rest(struct loop *l)
{
    l->rest_at_ms = 0;
    rest_scratch(l);
    list_for_each_safe (n, &l->rests) {
        struct loop_rest *r = container_of(n, struct loop_rest, in_loop);
        r->rest(r);
    }
}

uint64_t loop_last_turn_ns(const struct loop *l)
{
    return l->last_turn_ns;
}

struct loop_counts *loop_counts(struct loop *l)
{
    return &l->counts;
}

uint64_t loop_turns(const struct loop *l)
{
    return atomic_load_explicit(&l->turns, memory_order_relaxed);
}

void loop_poke(struct loop *l)
{
    uint64_t one = 1;

    if (!atomic_exchange(&l->poked, true)) {
        ssize_t n = write(l->wakeup, &one, sizeof(one));
        (void)n; /* fails only when the counter is full, and then the loop is awake */
    }
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    loop_poke(l);
}

void loop_post(struct loop *l, struct mail *m)
{
    struct mail *head = atomic_load_explicit(&l->mail, memory_order_relaxed);

    do {
        m->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&l->mail, &head, m, memory_order_release,
                                                    memory_order_relaxed));
    loop_poke(l);
}

void loop_hook_start(struct loop *l, struct loop_hook *h)
{
    list_append(&l->hooks, &h->in_loop);
}

void loop_hook_stop(struct loop_hook *h)
{
    if (h->in_loop.next) {
        list_remove(&h->in_loop);
    }
}

static void run_hooks(struct loop *l)
{
    list_for_each_safe (n, &l->hooks) {
        struct loop_hook *h = container_of(n, struct loop_hook, in_loop);
        h->turn(h);
    }
}

int fd_watch_start(struct fd_watch *w, struct loop *l, struct task *t, int fd)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = w};

    *w = (struct fd_watch){.task = t, .loop = l, .fd = fd, .ready = FD_READABLE | FD_WRITABLE};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
        int r = neg_errno();
        w->loop = NULL;
        return r;
    }
    return 0;
}

void fd_watch_blocked(struct fd_watch *w, unsigned what)
{
    w->ready &= ~what;
}

void fd_watch_stop(struct fd_watch *w)
{
    if (w->loop) {
        (void)epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->fd, NULL); /* the fd is still open */
        w->loop = NULL;
    }
}

static void note_ready(const struct epoll_event *e)
{
    struct fd_watch *w = e->data.ptr;

    if (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        w->ready |= FD_READABLE;
    }
    if (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        w->ready |= FD_WRITABLE;
    }
    if (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        w->ready |= FD_ENDED;
    }
    if (w->task) {
        task_wake(w->task, WAKE_IO);
    }
}

static void wakeup_clear(struct loop *l)
{
    uint64_t count;
    ssize_t n = read(l->wakeup, &count, sizeof(count));

    (void)n; /* EAGAIN: already cleared */
    /* An exchange, not a store: it reads what the last poke wrote, and so sees all that was posted
     * before that poke. */
    (void)atomic_exchange(&l->poked, false);
}

static void gather(struct loop *l, int wait_ms)
{
    struct epoll_event events[EVENTS_A_TURN];
    int n = epoll_wait(l->epoll, events, EVENTS_A_TURN, wait_ms);

    l->woke_ns = clock_update(l);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr) {
            note_ready(&events[i]);
        } else {
            wakeup_clear(l);
        }
    }
}

static int patience(const struct loop *l, int wait_ms)
{
    int64_t timer = timer_heap_next_ms(&l->timers, l->now_ms);

    if (l->soon.head || l->late.head || atomic_load_explicit(&l->mail, memory_order_relaxed)) {
        return 0;
    }
    if (l->rest_at_ms > 0) {
        int64_t in_ms = l->rest_at_ms > l->now_ms ? (int64_t)(l->rest_at_ms - l->now_ms) : 0;
        timer = timer < 0 || in_ms < timer ? in_ms : timer;
    }
    if (timer >= 0 && (wait_ms < 0 || timer < wait_ms)) {
        return (int)(timer < 3600000 ? timer : 3600000);
    }
    return wait_ms;
}

unsigned loop_turn(struct loop *l, int wait_ms)
{
    unsigned ran = 0;

    /* The last turn's tasks took their time; do not add it to the next wait. */
    uint64_t ended_ns = clock_update(l);
    l->last_turn_ns = l->woke_ns > 0 ? ended_ns - l->woke_ns : 0;
    gather(l, patience(l, wait_ms));
    if (l->rest_at_ms > 0 && l->now_ms >= l->rest_at_ms) {
        rest(l);
    }
    run_hooks(l);
    deliver_mail(l);
    timer_heap_fire(&l->timers, l->now_ms);
    for (int round = 0; round < LOOP_ROUNDS && l->soon.head; round++) {
        ran += task_queue_round(&l->soon);
    }
    if (l->late.head) {
        ran += task_queue_round(&l->late);
    }
    loop_count(&l->turns, 1);
    return ran;
}

void loop_run(struct loop *l)
{
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        (void)loop_turn(l, -1); /* the count is for tests */
    }
}
