/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of one port of one service, or one workload, as a loop uses them: brought up to what
 * the world says when a request asks, with connections and health kept across. Chosen by
 * model/l7_choose.h.
 */
#pragma once

#include "model/l7_choose.h"
#include "waypoint/engine.h"
#include "waypoint/upstream.h"

struct cluster;
struct clusters;

enum {
    CLUSTER_UNUSED_MS = 600 * 1000,
    CLUSTER_TRIED_MAX = 8,
    CLUSTERS_OWN_MAX = 4096 /* ports of workloads that are asked for by their own address */
};

struct clusters *clusters_new(struct engine *e);
void clusters_free(struct clusters *c);
AUTO_DEFINE(clusters, struct clusters *, clusters_free);
/* Now and then: those that nobody has asked for in CLUSTER_UNUSED_MS go. */
void clusters_sweep(struct clusters *c);

/* The port of a service; NULL: the world has no such service. Borrowed until the turn ends. */
struct cluster *cluster_of_service(struct clusters *c, const char *key, uint16_t port,
                                   enum upstream_protocol protocol);
/* One workload, addressed by itself; other such clusters may go for it. */
struct cluster *cluster_of_workload(struct clusters *c, const struct workload *w,
                                    const struct ip *ip, uint16_t port,
                                    enum upstream_protocol protocol);

struct cluster_ask {
    uint64_t seed; /* of the draw */
    bool has_hash; /* of a header or cookie, where the service asks for it */
    uint64_t hash;
    struct upstream *const *tried; /* borrowed: endpoints this request has had already */
    unsigned tried_count;
};
/* NULL: nobody is left. The caller is a user of the endpoint until upstream_unuse; the limits of this
 * service hold for the lease that it takes now. */
struct upstream *cluster_pick(struct cluster *c, const struct cluster_ask *ask);
const struct l7_traffic *cluster_traffic(const struct cluster *c); /* NULL: defaults */
/* What came of a request: may eject the endpoint. status 0: no answer. */
void cluster_result(struct cluster *c, struct upstream *u, unsigned status);
uint64_t clusters_ejections(const struct clusters *c);
/* A request is about to be tried again. False: as many are as its traffic's limits.retries allow. True:
 * c stays until cluster_retry_end, which is due when that try has its answer or is given up. */
MUST_USE bool cluster_retry_begin(struct cluster *c);
void cluster_retry_end(struct cluster *c);
uint64_t clusters_retry_overflows(const struct clusters *c);
