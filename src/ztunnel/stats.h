/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the node proxy beside its traffic (contract 9.2). */
#pragma once

#include "obs/metrics.h"
#include "ztunnel/pods.h"

/* All families that there are. */
enum { STATS_SETS = 16 };
extern const struct metric_set *const stats_sets[STATS_SETS];

enum dns_count {
    DNS_COUNT_REQUEST,
    DNS_COUNT_UPSTREAM,
    DNS_COUNT_FAILURE,
    DNS_COUNT_DURATION,
    DNS_COUNT_CACHED /* would have gone upstream, but was known */
};

struct dns_counted {
    uint16_t query_type;
    bool tcp;
    const struct workload *client; /* NULL: not known */
    enum dns_count what;
    uint64_t us; /* DNS_COUNT_DURATION */
};
/* On the shard's own loop. */
void stats_dns(struct metrics_shard *shard, const struct dns_counted *c);

/* A name of a workload that is known by nothing else was needed (contract 3.2.4), kept answers
 * included. On the shard's own loop. */
void stats_on_demand_dns(struct metrics_shard *shard, const struct workload *client,
                         const char *hostname);

/* Sockets accepted and not closed yet: by is 1 or -1. */
void stats_sockets(struct metrics_shard *shard, bool outbound, int by);

/* A connection that found no room in its pod (POD_CONNECTIONS_MAX). */
void stats_refused(struct metrics_shard *shard, bool outbound);

/* On the control loop: brings the series up to now. */
void stats_pods(struct metrics_shard *shard, const struct pods_counts *now,
                struct pods_counts *before);
