/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh needs to know of a Kubernetes Service and of an EndpointSlice (contract 1.2): read
 * once, texts interned, the objects then let go. The control loop only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "codec/json.h"
#include "control/labels.h"
#include "control/mesh.h"

struct service_port_facts {
    const char *name;        /* "" where it has none */
    const char *target_name; /* "": the target is a number */
    uint16_t port;
    uint16_t target; /* 0: named */
    uint8_t app;     /* enum xds_app_protocol */
    uint8_t l7;      /* enum l7_protocol */
    bool is_tcp;
};

enum distribution {
    DISTRIBUTION_UNSET = 0, /* says nothing: what is above it decides */
    DISTRIBUTION_ANY,
    DISTRIBUTION_SAME_ZONE,
    DISTRIBUTION_SAME_NODE
};

struct service_facts {
    const char *ns;
    const char *name;
    const char *hostname;
    const char *key;        /* "ns/hostname": the resource's name */
    struct labels selector; /* empty: selects nothing */
    struct ip *vips;
    struct service_port_facts *ports;
    unsigned vip_count;
    unsigned port_count;
    uint8_t families;     /* enum ip_families */
    uint8_t distribution; /* of the service itself: enum distribution */
    bool is_published;    /* no ExternalName, all addresses parse */
    bool is_local;        /* internalTrafficPolicy: Local */
    bool wants_not_ready; /* publishNotReadyAddresses */
    bool is_waypoint;     /* made for one: it never has one itself */
    bool allows_bypass;   /* of its waypoint, see docs/compatibility.md */
    int8_t ingress;       /* label ingress-use-waypoint: 1 true, 0 false, -1 absent */
};

enum { SERVICE_FACT_VIPS_MAX = 16, SERVICE_FACT_PORTS_MAX = 4096 };

void service_facts_read(struct service_facts *out, const struct json *service,
                        const struct mesh *mesh, struct intern *pool);
void service_facts_fini(struct service_facts *f);

/* Of an annotation or field; NULL and "" are UNSET, unknown values ANY (contract 3.3.3). */
enum distribution distribution_read(const char *text);
/* Of the label ingress-use-waypoint. */
int8_t ingress_read(const struct json *object);
/* What a waypoint makes of a port: enum l7_protocol (waypoint contract 3.4). */
uint8_t l7_protocol_of(const char *app_protocol, const char *name, uint8_t app);
/* enum xds_app_protocol, by contract 3.3.1. app_protocol NULL: absent. */
uint8_t app_protocol_of(const char *protocol, const char *app_protocol, const char *name,
                        uint16_t port);

struct slice_endpoint {
    const char *address; /* as written */
    const char *pod_ns;  /* of a target that is a pod; NULL: no pod */
    const char *pod_name;
    const char *pod_uid;
    struct ip ip;
    bool is_ready;
};

struct slice_port {
    const char *name;
    uint16_t port;
};

struct slice_facts {
    const char *ns;
    const char *name;
    const char *service; /* in the same namespace; "": belongs to none */
    struct slice_endpoint *endpoints;
    struct slice_port *ports; /* TCP, with a number */
    unsigned endpoint_count;
    unsigned port_count;
};

enum { SLICE_ENDPOINTS_MAX = 4096, SLICE_PORTS_MAX = 1024 };

void slice_facts_read(struct slice_facts *out, const struct json *slice, struct intern *pool);
void slice_facts_fini(struct slice_facts *f);
