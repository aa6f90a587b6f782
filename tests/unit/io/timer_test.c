/* SPDX-License-Identifier: Apache-2.0 */
#include "t.h"

#include "base/rand.h"
#include "io/loop.h"

enum { TIMERS = 300, STEPS = 20000 };

struct alarm {
    struct task task;
    struct timer timer;
    unsigned fired;
    /* the model: plain facts, no heap */
    bool set;
    uint64_t due_ms;
    unsigned want;
};

static void run(struct task *t, unsigned why)
{
    struct alarm *a = container_of(t, struct alarm, task);

    a->fired += (why & WAKE_TIMER) != 0;
}

static void model_time(struct alarm *a, uint64_t now)
{
    for (int i = 0; i < TIMERS; i++) {
        if (a[i].set && a[i].due_ms <= now) {
            a[i].set = false;
            a[i].want++;
        }
    }
}

static void check_model(struct test *t, const struct alarm *a)
{
    for (int i = 0; i < TIMERS; i++) {
        CHECK_INT(a[i].fired, a[i].want);
        CHECK_INT(timer_is_armed(&a[i].timer), a[i].set);
    }
}

static void one_step(struct loop *l, struct alarm *a, struct rand_seq *r)
{
    uint64_t what = rand_seq_below(r, 10);
    uint64_t in_ms = rand_seq_below(r, 8) == 0 ? rand_seq_below(r, 5) : rand_seq_below(r, 5000);

    if (what < 5) {
        timer_set(&a->timer, &a->task, in_ms);
        a->set = true;
        a->due_ms = loop_now_ms(l) + in_ms;
    } else if (what < 7) {
        timer_clear(&a->timer);
        a->set = false;
    } else {
        loop_advance(l, rand_seq_below(r, 40));
    }
}

TEST(any_history_of_timers_fires_as_a_plain_model_says)
{
    static struct alarm a[TIMERS];
    AUTO(loop) struct loop *l = loop_new(NULL);

    loop_stop_clock(l);
    for (uint64_t seed = 1; seed <= 5 && !t->failed; seed++) {
        struct rand_seq r;
        rand_seq_init(&r, seed);
        for (int i = 0; i < TIMERS; i++) {
            a[i] = (struct alarm){.fired = 0};
            task_init(&a[i].task, l, "alarm", run);
        }
        for (int n = 0; n < STEPS && !t->failed; n++) {
            one_step(l, &a[rand_seq_below(&r, TIMERS)], &r);
            if (n % 16 == 0) {
                (void)loop_turn(l, 0);
                model_time(a, loop_now_ms(l));
                check_model(t, a);
            }
        }
        for (int i = 0; i < TIMERS; i++) {
            timer_clear(&a[i].timer);
            task_fini(&a[i].task);
        }
    }
}

TEST(due_means_set_and_over_until_set_or_cleared)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct alarm a = {.fired = 0};

    loop_stop_clock(l);
    task_init(&a.task, l, "alarm", run);
    CHECK(!timer_is_due(&a.timer));
    timer_set(&a.timer, &a.task, 50);
    CHECK(!timer_is_due(&a.timer));
    loop_advance(l, 50);
    (void)loop_turn(l, 0);
    CHECK(timer_is_due(&a.timer));
    timer_clear(&a.timer);
    CHECK(!timer_is_due(&a.timer));
    timer_set(&a.timer, &a.task, UINT64_MAX); /* "never" is no overflow */
    (void)loop_turn(l, 0);
    CHECK(timer_is_armed(&a.timer));
    timer_clear(&a.timer);
}

TEST(a_loop_sleeps_until_the_next_timer_and_not_longer)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct alarm a = {.fired = 0};

    task_init(&a.task, l, "alarm", run);
    timer_set(&a.timer, &a.task, 20);
    uint64_t start = loop_now_ms(l);
    for (int i = 0; i < 100 && a.fired == 0; i++) {
        (void)loop_turn(l, 10000);
    }
    CHECK_INT(a.fired, 1);
    CHECK(loop_now_ms(l) - start < 5000);
    CHECK(loop_turns(l) <= 4); /* it slept */
}
