/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without a cluster nobody makes Pods out of a waypoint's Gateway: this does, in place of a
 * Deployment. It watches Gateways, their classes, Nodes and the pods it made, and writes pods that name
 * the node which is to run them (waypoint_plan.h says which); the node's agent does the rest. What a
 * Gateway can say about it, in annotations:
 *
 *     ambit.io/replicas                 how many, default 1, at most PLAN_REPLICAS_MAX
 *     ambit.io/restarted-at             another value: all are replaced, one after the other
 *     gateway.istio.io/service-account  whose identity it has; default: the Gateway's name
 *
 * A node takes part when its object has the label ambit.io/runs-waypoints=true (its agent sees to it)
 * and is not unschedulable. Its agent renews the Lease kube-node-lease/NODE; when that has not changed
 * for WAYPOINT_NODE_MS and another node can take over, its replicas are taken from it. A node without
 * a Lease counts as alive, and nothing is taken from anybody while Leases cannot be read. When none has
 * changed for that long, all who were alive before count as heard with the first who is heard again.
 * The control loop.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"

struct json;
struct kube_client;
struct loop;
struct waypoint_pods;

enum { WAYPOINT_WRITES_MAX = 16, WAYPOINT_NODE_MS = 20000 };

struct waypoint_pods *waypoint_pods_new(struct loop *l, struct kube_client *client);
void waypoint_pods_free(struct waypoint_pods *w);
AUTO_DEFINE(waypoint_pods, struct waypoint_pods *, waypoint_pods_free);

struct waypoint_pods_stats {
    unsigned gateways; /* that are waypoints of ours */
    unsigned pods;
    uint64_t made;
    uint64_t ended;
    uint64_t failed; /* writes */
};
const struct waypoint_pods_stats *waypoint_pods_stats(const struct waypoint_pods *w);

/* The pod of a replica, but for its node; pure. The caller's. */
struct json *waypoint_pod_of(const struct json *gateway);
/* How many the Gateway wants; pure. */
unsigned waypoint_replicas_of(const struct json *gateway);
