/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of armed timers; each timer knows its place, so clearing is logarithmic too. */
#include "base/mem.h"
#include "io/loop_int.h"

static void place(struct timer_heap *h, unsigned i, struct timer *t)
{
    h->at[i] = t;
    t->slot = i + 1;
}

static void sift_up(struct timer_heap *h, unsigned i, struct timer *t)
{
    while (i > 0 && h->at[(i - 1) / 2]->due_ms > t->due_ms) {
        place(h, i, h->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, t);
}

static void sift_down(struct timer_heap *h, unsigned i, struct timer *t)
{
    for (;;) {
        unsigned child = 2 * i + 1;
        if (child + 1 < h->count && h->at[child + 1]->due_ms < h->at[child]->due_ms) {
            child++;
        }
        if (child >= h->count || h->at[child]->due_ms >= t->due_ms) {
            break;
        }
        place(h, i, h->at[child]);
        i = child;
    }
    place(h, i, t);
}

static void take_out(struct timer_heap *h, struct timer *t)
{
    unsigned i = t->slot - 1;
    struct timer *last = h->at[--h->count];

    t->slot = 0;
    if (last == t) {
        return;
    }
    if (i > 0 && h->at[(i - 1) / 2]->due_ms > last->due_ms) {
        sift_up(h, i, last);
    } else {
        sift_down(h, i, last);
    }
}

void timer_set(struct timer *t, struct task *task, uint64_t in_ms)
{
    struct loop *l = task->loop;
    struct timer_heap *h = &l->timers;

    timer_clear(t);
    if (h->count == h->room) {
        h->room = h->room > 0 ? h->room * 2 : 16;
        h->at = mem_resize(h->at, h->room * sizeof(struct timer *));
    }
    t->task = task;
    t->due_ms = in_ms < UINT64_MAX - l->now_ms ? l->now_ms + in_ms : UINT64_MAX;
    sift_up(h, h->count++, t);
}

void timer_clear(struct timer *t)
{
    if (t->slot > 0) {
        take_out(&t->task->loop->timers, t);
    }
    t->task = NULL;
}

bool timer_is_due(const struct timer *t)
{
    return t->slot == 0 && t->task != NULL;
}

void timer_heap_fire(struct timer_heap *h, uint64_t now_ms)
{
    while (h->count > 0 && h->at[0]->due_ms <= now_ms) {
        struct timer *t = h->at[0];
        take_out(h, t);
        task_wake(t->task, WAKE_TIMER);
    }
}

int64_t timer_heap_next_ms(const struct timer_heap *h, uint64_t now_ms)
{
    if (h->count == 0) {
        return -1;
    }
    return h->at[0]->due_ms > now_ms ? (int64_t)(h->at[0]->due_ms - now_ms) : 0;
}
