/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/loop_meter.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "t.h"

enum { MS = 1000000, BUSY_MS = 6, IDLE_MS = 20, TRIES = 20 };

struct rig {
    struct metrics *metrics;
    struct loop *loop;
    struct loop_meter meter;
    struct task task;
};

static const struct metric_set *const sets[] = {&loop_metrics};

static void busy(struct task *t, unsigned why)
{
    uint64_t end = clock_mono_ns() + (uint64_t)BUSY_MS * MS;

    (void)t;
    (void)why;
    while (clock_mono_ns() < end) {
    }
}

static void rig_start(struct rig *g)
{
    *g = (struct rig){.metrics = metrics_new(sets, 1), .loop = loop_new(NULL)};
    task_init(&g->task, g->loop, "busy", busy);
    loop_meter_start(&g->meter, g->loop, metrics_shard_new(g->metrics));
}

static void rig_stop(struct rig *g)
{
    task_fini(&g->task);
    loop_meter_stop(&g->meter);
    loop_free(g->loop);
    metrics_free(g->metrics);
}

/* What stands behind a word at the start of a line; -1: no such line. */
static long said(const struct rig *g, const char *word)
{
    AUTO(strbuf) struct strbuf out = {0};

    metrics_write(g->metrics, &out);
    const char *at = strstr(strbuf_text(&out), word);
    return at ? strtol(at + strlen(word), NULL, 10) : -1;
}

TEST(every_turn_but_the_last_is_counted_by_its_length)
{
    struct rig g;

    rig_start(&g);
    for (int i = 0; i < 4; i++) {
        (void)loop_turn(g.loop, 0);
    }
    CHECK_INT(said(&g, "ambit_loop_turn_seconds_count "), 3);
    long long_ones = 3 - said(&g, "ambit_loop_turn_seconds_bucket{le=\"0.005\"} ");
    task_wake(&g.task, WAKE_START);
    (void)loop_turn(g.loop, 0);
    (void)loop_turn(g.loop, 0); /* sees the one before */
    long now = 5 - said(&g, "ambit_loop_turn_seconds_bucket{le=\"0.005\"} ");
    CHECK_INT(said(&g, "ambit_loop_turn_seconds_count "), 5);
    CHECK(now > long_ones);
    rig_stop(&g);
}

TEST(the_wait_for_something_to_do_is_no_part_of_a_turn)
{
    struct rig g;
    uint64_t least = UINT64_MAX;

    rig_start(&g);
    for (int i = 0; i < TRIES; i++) { /* somebody else may have the processor for a while, once */
        (void)loop_turn(g.loop, IDLE_MS);
        least = i > 0 ? MIN_OF(least, loop_last_turn_ns(g.loop)) : least;
    }
    CHECK(least > 0);
    CHECK(least < (uint64_t)IDLE_MS * MS);
    rig_stop(&g);
}
