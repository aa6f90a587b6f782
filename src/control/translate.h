/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what Kubernetes says to what the mesh is told (contract 3.2, 3.3): pure functions that fill
 * templates of the model. What they put into a template is borrowed from the facts, the context and
 * the arena.
 */
#pragma once

#include "base/arena.h"
#include "control/mesh.h"
#include "control/pod_facts.h"
#include "control/service_facts.h"
#include "model/service.h"
#include "model/workload.h"
#include "xds/resource.h"

struct locality {
    const char *region; /* "" where absent */
    const char *zone;
    const char *subzone;
};

struct pod_context {
    const struct mesh *mesh;
    const char *network;             /* of the cluster */
    const struct identity *identity; /* of the pod's account, in the mesh's trust domain */
    const struct locality *locality; /* NULL: the node is not known */
    const struct service_facts *const *services; /* that the pod belongs to, each once */
    const char *const *policies;                 /* that it has to name, in order */
    unsigned service_count;
    unsigned policy_count;
    const struct gateway *waypoint; /* NULL: none */
};

/* f->is_published is the caller's to ask. */
void translate_pod(struct workload *out, const struct pod_facts *f, const struct pod_context *c,
                   struct arena *a);

/* An endpoint that is no pod; identity has the slice's namespace and no account. */
void translate_endpoint(struct workload *out, const struct slice_facts *slice,
                        const struct slice_endpoint *e, const struct service_facts *service,
                        const struct pod_context *c, struct arena *a);

struct service_context {
    const char *network;
    enum distribution of_namespace; /* what the namespace says about traffic distribution */
    const struct gateway *waypoint; /* NULL: none */
    bool ingress_use_waypoint;
};

void translate_service(struct service *out, struct xds_service_more *more,
                       const struct service_facts *f, const struct service_context *c,
                       struct arena *a);
