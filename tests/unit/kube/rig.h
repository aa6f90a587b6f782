/* SPDX-License-Identifier: Apache-2.0 */
/* An API server and a client of it, on one loop, over loopback in the clear. */
#pragma once

#include "kube/client.h"
#include "kube/kube_watch.h"
#include "kube/resource.h"

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct store *store;
    struct api *api;
    struct serve *serve;
    struct kube_client *client;
    unsigned port;
};

extern const struct kube_resource rig_config_maps;
extern const struct kube_resource rig_namespaces;

void rig_start(struct rig *g);
void rig_stop(struct rig *g);
/* The network side goes and comes back, on the same port; the store stays. */
void rig_stop_serving(struct rig *g);
void rig_serve(struct rig *g);
/* A request to the server past the network. The status. */
unsigned rig_call(struct rig *g, const char *method, const char *target, const char *body);
void rig_put(struct rig *g, const char *name, const char *value);
void rig_drop(struct rig *g, const char *name);
