/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A waypoint's Gateway made real (contract 7.1-7.3): the Service and ServiceAccount that it needs, on a
 * cluster the Deployment too, and its status. Without a cluster its pods are made elsewhere.
 */
#pragma once

#include <stdbool.h>

#include "control/index_gateway_int.h"

struct gateway_item;
struct index;
struct json;

#define WAYPOINT_CLASS      "istio-waypoint"
#define WAYPOINT_CONTROLLER "istio.io/mesh-controller"
#define WAYPOINT_MANAGED    "istio.io-mesh-controller"
#define MANAGED_LABEL       "gateway.istio.io/managed"
#define GATEWAY_LABEL       "gateway.networking.k8s.io/gateway-name"
#define VERSION_ANNOTATION  "gateway.istio.io/controller-version"
#define CONTROLLER_VERSION  "5" /* likewise OUR_VERSION */

enum { OUR_VERSION = 5 };

void reconcile_gateway(struct index *x, struct gateway_item *g);
/* Its object is about to go: so does what was made for it, where nobody else sees to that. */
void reconcile_remove(struct index *x, struct gateway_item *g);
/* What was made for a gateway, or something of the same name: it is put right again. */
void reconcile_child(struct index *x, enum gateway_child which, const struct json *object);
void reconcile_child_gone(struct index *x, enum gateway_child which, const char *ns,
                          const char *name);
/* Everything is known: without a cluster, what belongs to no gateway any more goes. */
void reconcile_orphans(struct index *x);
/* A class came or changed. */
void reconcile_class(struct index *x, const struct json *object);
/* The class that waypoints have is not there. */
void reconcile_class_missing(struct index *x);

/* ---- pure: what is written; each the caller's */

/* Its objects are ours to make: it names no others, and no newer controller has taken it (contract 7.2). */
bool gateway_is_managed(const struct json *gateway);
/* What its children and pods carry of "labels" or "annotations": those of spec.infrastructure if that
 * says any, else its own; what says how the Gateway itself is to be treated is left out. */
void gateway_pass_on(const struct json *gateway, const char *which, struct json *into);
/* These labels, and whose they are. */
void gateway_mark(const struct json *gateway, struct json *labels);
struct json *gateway_owner_reference(const struct json *gateway);
const char *gateway_account_name(const struct json *gateway); /* borrowed */
struct json *gateway_service(const struct json *gateway);
struct json *gateway_account(const struct json *gateway);
struct waypoint_image {
    const char *image;
    const char *discovery; /* "https://host:port" */
    const char *cluster_id;
    const char *trust_domain;
    const char *network;
};
struct json *gateway_deployment(const struct json *gateway, const struct waypoint_image *image);

struct gateway_view { /* what is known of its Service */
    const char *hostname;
    const struct ip *vips;
    unsigned vip_count;
    const struct service_port_facts *ports;
    unsigned port_count;
    bool exists;
    bool has_endpoints; /* one that is ready */
};
struct json *gateway_status(const struct json *gateway, const struct gateway_view *v);
/* Where nobody else could be waited for: its class does not exist. */
struct json *gateway_status_of_no_class(const struct json *gateway);
struct json *class_status(const struct json *class);
