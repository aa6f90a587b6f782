/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a loop have counted, as metrics: its sockets, looked-up names, handshakes, tunnels.
 * The parts count plain numbers; what has come since is added to the loop's shard now and then, so that
 * a connection pays nothing for it.
 */
#pragma once

#include "hbone/hbone_loop.h"
#include "io/dns_upstream.h"
#include "io/host_names.h"
#include "io/loop.h"
#include "obs/metrics.h"
#include "tls/tls_stream.h"

enum { PART_METER_MS = 2000 };

extern const struct metric_set socket_metrics; /* the caller's metrics know these */
extern const struct metric_set host_name_metrics;
extern const struct metric_set dns_upstream_metrics;
extern const struct metric_set handshake_metrics;
extern const struct metric_set tunnel_metrics;

struct part_meter { /* embedded; the caller sets the parts, of which only the loop must be */
    struct loop *loop;
    const struct host_names *hosts;
    const struct dns_upstream *upstream;
    const struct tls_loop *tls;
    struct hbone_loop *hbone;
    /* private */
    struct metrics_shard *shard;
    struct task task;
    struct timer next;
    struct loop_counts sockets; /* as last told; likewise the others */
    struct host_names_stats names;
    struct dns_upstream_stats forwarded;
    struct tls_loop_stats handshakes;
    struct hbone_stats tunnels;
};

/* shard is the one of the loop's thread. */
void part_meter_start(struct part_meter *m, struct metrics_shard *shard);
/* Before the parts go. Fine on a meter that never started (zeroed). */
void part_meter_stop(struct part_meter *m);
