/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics that every proxy has, whatever it carries: what was built, and how discovery goes (contract
 * 9.2). The caller's metrics know the sets; the functions belong to the shard's own thread.
 */
#pragma once

#include "obs/metrics.h"

extern const struct metric_set build_metrics;
extern const struct metric_set discovery_end_metrics;
extern const struct metric_set discovery_message_metrics;

/* component: "ztunnel" or "proxy"; tag: the version that it stands for. */
void build_metrics_say(struct metrics_shard *shard, const char *component, const char *tag);
/* What has come since the last call; nothing appears before there is something. */
void discovery_metrics_ended(struct metrics_shard *shard, const char *reason, uint64_t times);
void discovery_metrics_received(struct metrics_shard *shard, const char *url, uint64_t messages,
                                uint64_t bytes);
