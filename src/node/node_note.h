/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says of its node to the API server: in the Node object of which ranges its pods'
 * addresses are (spec.podCIDRs; apiserver/node_range.h takes no others), whether it runs waypoints
 * (label ambit.io/runs-waypoints=true, or away) and what the machine is like, until it is said; and in
 * the Lease kube-node-lease/NODE, as kubelets do, again and again that it lives. Who sees the Lease
 * grow old gives the node's waypoints to others (control/waypoint_pods.h) or says that nobody knows
 * whether the node is ready (apiserver/node_ready.h). An object that is not there is made;
 * what fails is logged once and tried again. Lives on the client's loop.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/ip.h"

struct json;
struct kube_client;
struct node_note;
struct task;

enum { NODE_LEASE_RENEW_MS = 5000, NODE_LEASE_S = 20 };

struct node_note_words {
    const struct ip_prefix *ranges; /* outlive the note; one at least */
    unsigned range_count;
    bool runs_waypoints;
    struct json *facts; /* taken: the status of the Node object (node_facts.h) */
    struct task *owner; /* woken with WAKE_CHILD once the Node object was tried */
};

/* node is copied. */
struct node_note *node_note_new(struct kube_client *client, const char *node,
                                const struct node_note_words *words);
/* Whether the API has answered about the Node object, yes or no (or could not be asked): a pod that is
 * started before may find its address refused. */
bool node_note_was_tried(const struct node_note *n);
/* Before the client. */
void node_note_free(struct node_note *n);
AUTO_DEFINE(node_note, struct node_note *, node_note_free);
