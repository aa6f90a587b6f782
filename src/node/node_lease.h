/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says again and again that this node's agent lives: renews the Lease kube-node-lease/NODE, as
 * kubelets do. Who sees it grow old (control/waypoint_pods.h) gives the node's waypoints to others.
 * What fails is tried again at the next turn. Lives on the client's loop.
 */
#pragma once

#include "base/auto.h"

struct kube_client;
struct loop;
struct node_lease;

enum { NODE_LEASE_RENEW_MS = 5000, NODE_LEASE_S = 20 };

struct node_lease *node_lease_new(struct loop *l, struct kube_client *client, const char *node);
void node_lease_free(struct node_lease *n);
AUTO_DEFINE(node_lease, struct node_lease *, node_lease_free);
