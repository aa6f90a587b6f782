/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One data-plane loop and what its connections share: sockets, handshakes, tunnels, records, the
 * adopted world. A pod belongs to one plane for its whole life; planes share nothing but immutable
 * configuration, snapshots and the certificate manager.
 */
#pragma once

#include "base/list.h"
#include "base/rand.h"
#include "ca/cert_manager.h"
#include "hbone/hbone_loop.h"
#include "io/dns_upstream.h"
#include "io/host_names.h"
#include "io/jobs.h"
#include "io/loop.h"
#include "io/resolv_conf.h"
#include "io/sock_factory.h"
#include "model/snap.h"
#include "model/world.h"
#include "obs/access.h"
#include "obs/loop_meter.h"
#include "obs/part_meter.h"
#include "tls/tls_stream.h"
#include "ztunnel/config.h"
#include "ztunnel/dns_cache.h"

struct plane {
    struct loop *loop;
    const struct config *config;
    struct cert_manager *certs; /* lives on the control loop; asked by mail */
    struct jobs *jobs;
    struct tls_loop *tls;
    struct hbone_loop *hbone;
    struct sock_factory *sockets;
    struct recorder *recorder;
    struct metrics_shard *shard;
    struct dns_upstream *names; /* the host's name servers; NULL: none are known */
    struct resolver *resolver;  /* of hosts */
    struct host_names *hosts;   /* workloads that are known by name only */
    struct dns_cache_share answers;
    struct snap_slot *worlds;
    struct loop_hook adopt;
    struct loop_meter meter;
    struct part_meter parts;
    struct budget budget; /* this loop's share of the memory for received bytes */
    struct list pods;
    unsigned pod_count; /* written by this loop, read by control for placement */
    struct rand_seq random;
};

struct plane_options {
    struct loop *loop;
    const struct config *config;
    struct cert_manager *certs;
    struct jobs *jobs;
    struct tls_ctx *tls;
    struct metrics_shard *shard;
    struct snap_slot *worlds;
    const struct resolv_conf *resolv; /* the host's */
    size_t budget_bytes;
};

/* Before the loop runs. Everything in options is borrowed and outlives the plane. */
MUST_USE int plane_new(struct plane **out, const struct plane_options *options, struct diag *why);
/* After the loop has ended; pods that are left are cut. */
void plane_free(struct plane *p);
AUTO_DEFINE(plane, struct plane *, plane_free);

static inline const struct world *plane_world(const struct plane *p)
{
    return world_now(p->worlds);
}
