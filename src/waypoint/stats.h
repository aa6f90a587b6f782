/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of a waypoint beside its traffic. */
#pragma once

#include "obs/metrics.h"

/* All families that there are. */
enum { STATS_SETS = 19 };
extern const struct metric_set *const stats_sets[STATS_SETS];

/* On the control loop: resources refused so far. */
void stats_rejected(struct metrics_shard *shard, uint64_t now, uint64_t *before);

/* What one engine counts; brought up on its own loop. */
struct engine_counts {
    uint64_t retries, retry_overflows, mirrors, mirrors_dropped, overloaded, ejections, policy_cuts;
    uint64_t token_hits, token_misses;
    uint64_t connects, connect_failures, overflows, reuses;
    uint64_t entries, upstream_connections, upstream_idle, upstream_waiting;
};
void stats_engine(struct metrics_shard *shard, const struct engine_counts *now,
                  struct engine_counts *before);
