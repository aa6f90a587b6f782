/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says of its node in the Node object: whether it runs waypoints (label
 * ambit.io/runs-waypoints=true, or away). Makes the object where there is none. Tried until it is
 * said. Lives on the client's loop.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"

struct kube_client;
struct loop;
struct node_note;

struct node_note *node_note_new(struct loop *l, struct kube_client *client, const char *node,
                                bool runs_waypoints);
void node_note_free(struct node_note *n);
AUTO_DEFINE(node_note, struct node_note *, node_note_free);
bool node_note_is_said(const struct node_note *n);
