/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One service (contract 5.7, Service). Immutable and counted like struct workload, and made the
 * same way. Its endpoints are not in here: the world knows them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/ref.h"
#include "model/gateway.h"
#include "model/identity.h"
#include "model/workload.h"

enum balance_scope {
    SCOPE_UNSPECIFIED = 0, /* not accepted */
    SCOPE_REGION,
    SCOPE_ZONE,
    SCOPE_SUBZONE,
    SCOPE_NODE,
    SCOPE_CLUSTER,
    SCOPE_NETWORK
};
enum balance_mode { BALANCE_ANY = 0, BALANCE_STRICT, BALANCE_FAILOVER, BALANCE_PASSTHROUGH };
enum health_policy { HEALTH_ONLY_HEALTHY = 0, HEALTH_ALLOW_ALL };
enum ip_families { FAMILIES_AUTOMATIC = 0, FAMILIES_IPV4, FAMILIES_IPV6, FAMILIES_DUAL };
enum visibility { VISIBLE_PUBLIC = 0, VISIBLE_NAMESPACE };

struct service_vip {
    const char *network;
    struct ip_prefix prefix; /* full length: one address; shorter: a CIDR VIP */
};

struct weighted_gateway {
    struct gateway gateway;
    uint32_t weight;
};

struct service {
    struct aref refs;    /* left alone by whoever fills a template */
    uint8_t mode;        /* enum balance_mode; the other enums likewise */
    uint8_t health;      /* enum health_policy */
    uint8_t ip_families; /* enum ip_families */
    uint8_t visibility;
    bool canonical;
    bool has_load_balancing; /* the message was there; shown in dumps only */
    uint8_t scope_count;
    uint8_t scopes[8]; /* enum balance_scope: the routing preference, most important first */
    uint16_t vip_count;
    uint16_t port_count;
    uint16_t san_count;
    uint16_t identity_count;
    uint16_t weighted_count;
    /* Never NULL in a made service; NULL is allowed in a template. */
    const char *key; /* "ns/hostname"; made by service_new */
    const char *ns;
    const char *hostname; /* may be a wildcard "*.x" */
    const char *name;
    const char *version; /* the control plane's version of the resource, opaque */
    const struct service_vip *vips;
    const struct port_pair *ports;
    const char *const *sans; /* as received */
    /* The SANs that parse, in order; made by service_new. */
    const struct identity *const *identities;
    const struct gateway *waypoint; /* NULL: none */
    const struct weighted_gateway *weighted;
};

enum {
    SERVICE_VIPS_MAX = 4096,
    SERVICE_PORTS_MAX = 65535,
    SERVICE_SANS_MAX = 4096,
    SERVICE_WEIGHTED_MAX = 256,
    SERVICE_BYTES_MAX = 4 << 20
};

/* The caller's on success. -ERR_LIMIT, -ERR_TOO_LARGE, or -ERR_SYNTAX for an empty hostname. */
MUST_USE int service_new(const struct service **out, const struct service *from,
                         struct intern *pool, struct diag *why);
const struct service *service_ref(const struct service *s);   /* NULL stays NULL */
const struct service *service_unref(const struct service *s); /* returns NULL */
AUTO_DEFINE(service, const struct service *, service_unref);

bool service_equal(const struct service *a, const struct service *b);
bool service_vip_is_cidr(const struct service_vip *v);
/* True when the service has an exact VIP {network, ip}. */
bool service_has_vip(const struct service *s, const char *network, const struct ip *ip);
/* NULL: the service has no such port. */
const struct port_pair *service_port(const struct service *s, uint16_t port);
/* Public, or in the client's own namespace. */
bool service_is_visible(const struct service *s, const char *client_ns);
bool service_allows_family(const struct service *s, enum ip_family family);
