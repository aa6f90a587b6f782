/* SPDX-License-Identifier: Apache-2.0 */
/* What the mesh is called: settings that every translation needs. Borrowed texts, immutable. */
#pragma once

#include <stdbool.h>

struct mesh {
    const char *cluster_id;     /* "Kubernetes" */
    const char *trust_domain;   /* "cluster.local" */
    const char *const *aliases; /* of it, in policies; NULL at the end; NULL: none */
    const char *root_ns;        /* policies here are for everyone: "istio-system" */
    const char *system_ns;      /* its label names the network; usually the root namespace */
    const char *domain;         /* of service host names: "cluster.local" */
    const char *revision;       /* policies with another istio.io/rev are not ours; "": all are */
    const char *waypoint_image; /* of the Deployments of waypoints; NULL: there are none to write */
    const char *discovery;      /* "https://host:port" as pods reach us; with waypoint_image */
    bool is_standalone;         /* nobody else deletes what belongs to an object that is gone */
};
