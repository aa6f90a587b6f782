/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics that both proxies have, whatever they carry: what was built, and how discovery goes (contract
 * 9.2). A proxy's metrics know the sets; the functions belong to the shard's own thread.
 */
#pragma once

#include "obs/metrics.h"
#include "xds/ads_client.h"

extern const struct metric_set build_metrics;
extern const struct metric_set discovery_end_metrics;
extern const struct metric_set discovery_message_metrics;

/* component: "ztunnel" or "proxy"; tag: the version that it stands for. */
void build_metrics_say(struct metrics_shard *shard, const char *component, const char *tag);
/* What has come since *before, which becomes now; nothing appears before there is something. */
void discovery_metrics_say(struct metrics_shard *shard, const struct ads_client *c,
                           struct ads_stats *before);
