/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/loop_meter.h"

static const uint64_t bounds_us[] = {100, 250, 500, 1000, 2500, 5000, 10000, 50000, 250000};
static const struct metric_family families[] = {{.name = "ambit_loop_turn_seconds",
                                                 .help = "How long the turns of data loops took.",
                                                 .unit = "seconds",
                                                 .type = METRIC_HISTOGRAM,
                                                 .bounds_us = bounds_us,
                                                 .bound_count = ARRAY_LEN(bounds_us)}};
const struct metric_set loop_metrics = {.families = families, .family_count = 1};

static void turn(struct loop_hook *h)
{
    struct loop_meter *m = container_of(h, struct loop_meter, hook);
    uint64_t ns = loop_last_turn_ns(m->loop);

    if (ns > 0) {
        series_observe_us(m->turns, 0, ns / 1000);
    }
}

void loop_meter_start(struct loop_meter *m, struct loop *l, struct metrics_shard *shard)
{
    m->loop = l;
    m->turns = metrics_series(shard, &loop_metrics, NULL);
    m->hook.turn = turn;
    loop_hook_start(l, &m->hook);
}

void loop_meter_stop(struct loop_meter *m)
{
    loop_hook_stop(&m->hook);
}
