/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of a waypoint beside its traffic. */
#pragma once

#include "obs/metrics.h"
#include "xds/ads_client.h"

struct stats;

/* Makes metrics that know all families. The control loop's shard is its own. */
struct stats *stats_new(const char *istio_version, const struct ads_interest *interest);
void stats_free(struct stats *s); /* after every thread has ended */
AUTO_DEFINE(stats, struct stats *, stats_free);
struct metrics *stats_metrics(struct stats *s);

/* On the control loop: brings the series up to what the client says now. */
void stats_xds(struct stats *s, const struct ads_stats *now);

/* What one engine counts; brought up on its own loop. */
struct engine_counts {
    uint64_t requests, retries, mirrors, mirrors_dropped, ejections;
    uint64_t connects, connect_failures, overflows, reuses;
    uint64_t entries, tunnels, upstream_connections, upstream_idle, upstream_waiting;
};
void stats_engine(struct metrics_shard *shard, const struct engine_counts *now,
                  struct engine_counts *before);
