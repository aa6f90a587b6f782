/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the turns of a loop take, as a histogram: what a turn takes, every connection of the loop
 * waits for. Time on the processor and time spent waiting for one both count, the wait for something to
 * do does not. A turn is counted at the start of the next one.
 */
#pragma once

#include "io/loop.h"
#include "obs/metrics.h"

extern const struct metric_set loop_metrics; /* the caller's metrics know it */

struct loop_meter { /* embedded */
    struct loop_hook hook;
    struct loop *loop;
    struct series *turns;
};

/* shard is the one of the loop's thread. */
void loop_meter_start(struct loop_meter *m, struct loop *l, struct metrics_shard *shard);
/* Fine on a meter that never started (zeroed). */
void loop_meter_stop(struct loop_meter *m);
