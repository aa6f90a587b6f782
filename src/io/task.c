/* SPDX-License-Identifier: Apache-2.0 */
#include "io/task.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop_int.h"

static struct log_scope scope = LOG_SCOPE("loop");

void task_queue_init(struct task_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static struct task_queue *queue_of(const struct task *t)
{
    return t->late ? &t->loop->late : &t->loop->soon;
}

static void enqueue(struct task_queue *q, struct task *t)
{
    t->next = NULL;
    t->link = q->tail;
    *q->tail = t;
    q->tail = &t->next;
}

static void dequeue(struct task_queue *q, struct task *t)
{
    *t->link = t->next;
    if (t->next) {
        t->next->link = t->link;
    } else {
        q->tail = t->link;
    }
    t->link = NULL;
    t->next = NULL;
}

void task_init(struct task *t, struct loop *l, const char *name, task_fn *run)
{
    *t = (struct task){.run = run, .loop = l, .name = name};
}

static void wake(struct task *t, unsigned why, bool late)
{
    if (!t->run) {
        return; /* finished: late wakes are nobody's business */
    }
    t->why |= why;
    if (!t->link) {
        t->late = late;
        enqueue(queue_of(t), t);
    }
}

void task_wake(struct task *t, unsigned why)
{
    wake(t, why, false);
}

void task_wake_late(struct task *t, unsigned why)
{
    wake(t, why, true);
}

void task_fini(struct task *t)
{
    if (t->link) {
        dequeue(queue_of(t), t);
    }
    t->run = NULL;
}

/* One clock reading a task: the end of one is the start of the next. */
static uint64_t run_timed(struct task *t, unsigned why, uint64_t start)
{
    const char *name = t->name;

    t->run(t, why); /* t may be gone after this */
    uint64_t now = clock_mono_ns();
    if (now - start > LOOP_SLOW_TASK_MS * 1000000u) {
        log_debug(&scope, "slow task", F_STR("task", name), F_U64("us", (now - start) / 1000));
    }
    return now;
}

unsigned task_queue_round(struct task_queue *q)
{
    unsigned ran = 0;
    uint64_t now = clock_mono_ns();

    enqueue(q, &q->end); /* what is woken from now on stands behind it */
    while (q->head != &q->end) {
        struct task *t = q->head;
        unsigned why = t->why;

        t->why = 0;
        dequeue(q, t);
        now = run_timed(t, why, now);
        ran++;
    }
    dequeue(q, &q->end);
    return ran;
}
