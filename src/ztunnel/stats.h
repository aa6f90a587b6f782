/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the node proxy beside its traffic (contract 9.2). */
#pragma once

#include "obs/metrics.h"
#include "xds/ads_client.h"
#include "ztunnel/pods.h"

struct stats;

/* Makes metrics that know all families. The control loop's shard is its own. */
struct stats *stats_new(const char *istio_version);
void stats_free(struct stats *s); /* after every thread has ended */
AUTO_DEFINE(stats, struct stats *, stats_free);
struct metrics *stats_metrics(struct stats *s);

/* On the control loop: brings the series up to what the sources say now. */
void stats_xds(struct stats *s, const struct ads_stats *now);
void stats_pods(struct stats *s, const struct pods_counts *now);
