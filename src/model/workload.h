/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One workload as the control plane describes it (contract 5.7, Workload). Immutable, counted
 * across threads, one allocation beside the strings it shares with others; a node may hold 100,000.
 *
 * To make one, fill a struct workload on the stack with borrowed pointers and give it to
 * workload_new, which copies everything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/ref.h"
#include "model/gateway.h"
#include "model/identity.h"

struct intern;

enum tunnel_protocol { TUNNEL_NONE = 0, TUNNEL_HBONE = 1 };
enum workload_type { WORKLOAD_DEPLOYMENT = 0, WORKLOAD_CRONJOB, WORKLOAD_POD, WORKLOAD_JOB };
enum workload_status { WORKLOAD_HEALTHY = 0, WORKLOAD_UNHEALTHY };
enum network_mode { NETWORK_STANDARD = 0, NETWORK_HOST };
enum app_tunnel { APP_TUNNEL_ABSENT = 0, APP_TUNNEL_NONE, APP_TUNNEL_PROXY };

struct port_pair {
    uint16_t service_port;
    uint16_t target_port; /* 0: a named port, each endpoint has its own number */
};

/* Membership in a service, with this workload's own port numbers. */
struct workload_service {
    const char *key; /* "namespace/hostname" */
    const struct port_pair *ports;
    unsigned port_count;
};

struct workload {
    struct aref refs;  /* left alone by whoever fills a template */
    uint32_t capacity; /* weight in load balancing; 0 is never picked (1 when the wire has none) */
    uint8_t tunnel_protocol; /* enum tunnel_protocol; the other enums likewise */
    uint8_t type;
    uint8_t status;
    uint8_t network_mode;
    uint8_t app_tunnel;
    bool native_tunnel;
    uint16_t app_tunnel_port; /* 0: not set */
    uint16_t ip_count;
    uint16_t service_count;
    uint16_t policy_count;
    const struct identity *identity; /* namespace and service account are in here; never NULL */
    /* Never NULL in a made workload, "" where absent; NULL is allowed in a template. */
    const char *uid;
    const char *version; /* the control plane's version of the resource, opaque */
    const char *name;
    const char *hostname;
    const char *network;
    const char *node;
    const char *cluster_id;
    const char *canonical_name;
    const char *canonical_revision;
    const char *workload_name;
    const char *region;
    const char *zone;
    const char *subzone;
    const struct gateway *waypoint;        /* NULL: none */
    const struct gateway *network_gateway; /* NULL: none */
    const struct ip *ips;
    const struct workload_service *services;
    const char *const *policies; /* "namespace/name" each (contract 4.4) */
};

enum {
    WORKLOAD_IPS_MAX = 64,
    WORKLOAD_SERVICES_MAX = 4096,
    WORKLOAD_POLICIES_MAX = 4096,
    WORKLOAD_PORTS_MAX = 4096, /* of one service */
    WORKLOAD_BYTES_MAX = 4 << 20
};

/* The caller's on success. -ERR_LIMIT or -ERR_TOO_LARGE beyond the limits above, -ERR_SYNTAX for an
 * empty uid or a service key without '/'. */
MUST_USE int workload_new(const struct workload **out, const struct workload *from,
                          struct intern *pool, struct diag *why);
const struct workload *workload_ref(const struct workload *w);   /* NULL stays NULL */
const struct workload *workload_unref(const struct workload *w); /* returns NULL */
AUTO_DEFINE(workload, const struct workload *, workload_unref);

/* Everything but the count is equal, version included. */
bool workload_equal(const struct workload *a, const struct workload *b);
bool workload_has_ip(const struct workload *w, const struct ip *ip);
/* NULL: not a member. */
const struct workload_service *workload_member_of(const struct workload *w, const char *key);
/* The control plane closed this port, by a policy of its own making, for all but the waypoint of a
 * service that has policy of layer 7: whoever addresses the pod itself would get around that. */
bool workload_is_guarded(const struct workload *w, uint16_t port);
/* What service_port means at this endpoint: 0 when its own map does not say. */
uint16_t workload_service_port(const struct workload_service *s, uint16_t service_port);
/* "deployment", "cronjob", "pod", "job": as in baggage and labels. */
const char *workload_type_name(const struct workload *w);
