/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The condition Ready of Nodes, as Kubernetes' node lifecycle controller keeps it: True while the
 * node's agent renews the Lease kube-node-lease/NODE, Unknown once that has not changed for a while.
 * When it changed is told by this process's clock alone: those of the nodes may be wrong. A node
 * without a Lease is left as it is, and so is one that somebody says is not ready.
 *
 * A write per transition, and one in NODE_READY_BEAT_MS beside.
 */
#pragma once

#include <stdint.h>

struct api;
struct loop;
struct node_ready;

enum {
    NODE_READY_GRACE_MS = 40000, /* as long as Kubernetes waits */
    NODE_READY_BEAT_MS = 300000, /* how old lastHeartbeatTime becomes */
    NODE_READY_LOOK_MS = 1000,
    NODE_READY_CHANGES = 64, /* writes at once: the rest at the next look */
};

/* Looks again and again, on l. Nobody is silent before grace_ms from now. api must outlive it. */
struct node_ready *node_ready_new(struct api *api, struct loop *l, uint64_t grace_ms);
void node_ready_free(struct node_ready *n);
/* One look, at a time that the caller says (monotonic, and the wall clock's). */
void node_ready_look(struct node_ready *n, uint64_t now_ms, int64_t now_s);
