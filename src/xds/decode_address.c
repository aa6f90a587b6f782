/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "workload.pb-c.h"
#include "xds/decode_int.h"
#include "xds/resource.h"

static int ip_decode(struct ip *out, const ProtobufCBinaryData *bytes, struct diag *why)
{
    int r = ip_from_bytes(out, bytes->data, bytes->len);

    return r < 0 ? FAIL(why, r, "failed to parse address, had %zu bytes", bytes->len) : 0;
}

/* *out stays NULL where the message has none. */
static int gateway_decode(const struct gateway **out, const Workload__GatewayAddress *m,
                          struct arena *a, struct diag *why)
{
    if (!m) {
        return 0;
    }
    struct gateway *g = arena_alloc(a, sizeof(*g));
    g->hbone_mtls_port = (uint16_t)m->hbone_mtls_port;
    switch (m->destination_case) {
    case WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME:
        g->kind = GATEWAY_HOSTNAME;
        g->ns = m->hostname->namespace_;
        g->hostname = m->hostname->hostname;
        break;
    case WORKLOAD__GATEWAY_ADDRESS__DESTINATION_ADDRESS: {
        g->kind = GATEWAY_ADDRESS;
        g->network = m->address->network;
        int r = ip_decode(&g->ip, &m->address->address, why);
        if (r < 0) {
            return r;
        }
        break;
    }
    case WORKLOAD__GATEWAY_ADDRESS__DESTINATION__NOT_SET:
    case _WORKLOAD__GATEWAY_ADDRESS__DESTINATION__CASE_IS_INT_SIZE:
        return FAIL(why, -ERR_SYNTAX, "nonempty gateway address is missing address");
    }
    *out = g;
    return 0;
}

static struct port_pair *ports_decode(Workload__Port *const *from, size_t count, struct arena *a)
{
    struct port_pair *ports = arena_array(a, count, sizeof(*ports));

    for (size_t i = 0; i < count; i++) { /* truncated to 16 bits: contract 5.7 */
        ports[i].service_port = (uint16_t)from[i]->service_port;
        ports[i].target_port = (uint16_t)from[i]->target_port;
    }
    return ports;
}

static int members_decode(struct workload *w, const Workload__Workload *m, struct arena *a,
                          struct diag *why)
{
    struct workload_service *all = arena_array(a, m->n_services, sizeof(*all));

    if (m->n_services > WORKLOAD_SERVICES_MAX) {
        return FAIL(why, -ERR_LIMIT, "services: %zu entries, at most %d", m->n_services,
                    WORKLOAD_SERVICES_MAX);
    }
    for (size_t i = 0; i < m->n_services; i++) {
        const Workload__Workload__ServicesEntry *e = m->services[i];
        if (!strchr(e->key, '/')) {
            return FAIL(why, -ERR_SYNTAX, "failed to parse namespaced hostname: %.80s", e->key);
        }
        all[i].key = e->key;
        if (e->value) {
            all[i].ports = ports_decode(e->value->ports, e->value->n_ports, a);
            all[i].port_count = (unsigned)e->value->n_ports;
        }
    }
    w->services = all;
    w->service_count = (uint16_t)m->n_services;
    return 0;
}

static int ips_decode(struct workload *w, const Workload__Workload *m, struct arena *a,
                      struct diag *why)
{
    struct ip *ips = arena_array(a, m->n_addresses, sizeof(*ips));

    if (m->n_addresses > WORKLOAD_IPS_MAX) {
        return FAIL(why, -ERR_LIMIT, "addresses: %zu entries, at most %d", m->n_addresses,
                    WORKLOAD_IPS_MAX);
    }
    for (size_t i = 0; i < m->n_addresses; i++) {
        int r = ip_decode(&ips[i], &m->addresses[i], why);
        if (r < 0) {
            return r;
        }
    }
    w->ips = ips;
    w->ip_count = (uint16_t)m->n_addresses;
    return 0;
}

/* The enumerations that change behaviour; an unknown workload_type does not (contract 5.4). */
static int enums_decode(struct workload *w, const Workload__Workload *m, struct diag *why)
{
    if (m->tunnel_protocol == 2) {
        return FAIL(why, -ERR_UNSUPPORTED,
                    "unknown enum: unsupported tunnel protocol: legacy istio mtls");
    }
    int r = xds_enum(m->tunnel_protocol, TUNNEL_HBONE, why);
    if (r == 0) {
        r = xds_enum(m->status, WORKLOAD_UNHEALTHY, why);
    }
    if (r == 0) {
        r = xds_enum(m->network_mode, NETWORK_HOST, why);
    }
    if (r == 0 && m->application_tunnel) {
        r = xds_enum(m->application_tunnel->protocol <= 1 ? 0
                                                          : (int)m->application_tunnel->protocol,
                     1, why);
    }
    if (r < 0) {
        return r;
    }
    w->tunnel_protocol = (uint8_t)m->tunnel_protocol;
    w->status = (uint8_t)m->status;
    w->network_mode = (uint8_t)m->network_mode;
    w->type = m->workload_type >= 0 && m->workload_type <= WORKLOAD_JOB ? (uint8_t)m->workload_type
                                                                        : WORKLOAD_DEPLOYMENT;
    if (m->application_tunnel) {
        w->app_tunnel = m->application_tunnel->protocol == 1 ? APP_TUNNEL_PROXY : APP_TUNNEL_NONE;
        w->app_tunnel_port = (uint16_t)m->application_tunnel->port;
    }
    return 0;
}

static const char *or_default(const char *text, const char *otherwise)
{
    return text && *text ? text : otherwise;
}

static void texts_decode(struct workload *w, const Workload__Workload *m)
{
    w->uid = m->uid;
    w->name = m->name;
    w->hostname = m->hostname;
    w->network = m->network;
    w->node = m->node;
    w->cluster_id = or_default(m->cluster_id, "Kubernetes");
    w->canonical_name = m->canonical_name;
    w->canonical_revision = m->canonical_revision;
    w->workload_name = m->workload_name;
    if (m->locality) {
        w->region = m->locality->region;
        w->zone = m->locality->zone;
        w->subzone = m->locality->subzone;
    }
    w->native_tunnel = m->native_tunnel;
    w->capacity = m->capacity ? m->capacity->value : 1;
    w->policies = (const char *const *)m->authorization_policies;
}

static int workload_decode(const struct workload **out, const Workload__Workload *m,
                           const char *version, struct intern *pool, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    struct workload w = {.version = version};

    texts_decode(&w, m);
    int r = enums_decode(&w, m, why);
    if (r == 0) {
        r = ips_decode(&w, m, &a, why);
    }
    if (r == 0) {
        r = members_decode(&w, m, &a, why);
    }
    if (r == 0) {
        r = gateway_decode(&w.waypoint, m->waypoint, &a, why);
    }
    if (r == 0) {
        r = gateway_decode(&w.network_gateway, m->network_gateway, &a, why);
    }
    if (r == 0 && m->n_authorization_policies > WORKLOAD_POLICIES_MAX) {
        r = FAIL(why, -ERR_LIMIT, "authorization_policies: %zu entries, at most %d",
                 m->n_authorization_policies, WORKLOAD_POLICIES_MAX);
    }
    if (r < 0) {
        return r;
    }
    w.policy_count = (uint16_t)m->n_authorization_policies;
    AUTO(identity)
    const struct identity *id =
        intern_identity(pool, or_default(m->trust_domain, "cluster.local"), m->namespace_,
                        or_default(m->service_account, "default"));
    w.identity = id;
    return workload_new(out, &w, pool, why);
}

static int vips_decode(struct service *s, const Workload__Service *m, struct arena *a,
                       struct diag *why)
{
    struct service_vip *vips = arena_array(a, m->n_addresses, sizeof(*vips));

    if (m->n_addresses > SERVICE_VIPS_MAX) {
        return FAIL(why, -ERR_LIMIT, "addresses: %zu entries, at most %d", m->n_addresses,
                    SERVICE_VIPS_MAX);
    }
    for (size_t i = 0; i < m->n_addresses; i++) {
        const Workload__NetworkAddress *from = m->addresses[i];
        struct ip ip;
        int r = ip_decode(&ip, &from->address, why);
        if (r < 0) {
            return r;
        }
        bool has = from->has_length_case == WORKLOAD__NETWORK_ADDRESS__HAS_LENGTH_LENGTH;
        r = ip_prefix_make(&vips[i].prefix, &ip, has ? from->length : (unsigned)ip_size(&ip) * 8);
        if (r < 0) {
            return FAIL(why, r, "invalid cidr: invalid IP prefix length");
        }
        vips[i].network = from->network;
    }
    s->vips = vips;
    s->vip_count = (uint16_t)m->n_addresses;
    return 0;
}

static int balancing_decode(struct service *s, const Workload__LoadBalancing *m, struct diag *why)
{
    if (!m) {
        return 0;
    }
    if (m->n_routing_preference > ARRAY_LEN(s->scopes)) {
        return FAIL(why, -ERR_LIMIT, "routing_preference: %zu entries, at most %zu",
                    m->n_routing_preference, ARRAY_LEN(s->scopes));
    }
    for (size_t i = 0; i < m->n_routing_preference; i++) {
        int32_t scope = m->routing_preference[i];
        int r = scope == SCOPE_UNSPECIFIED ? FAIL(why, -ERR_RANGE, "unknown enum: invalid target")
                                           : xds_enum(scope, SCOPE_NETWORK, why);
        if (r < 0) {
            return r;
        }
        s->scopes[i] = (uint8_t)scope;
    }
    int r = xds_enum(m->mode, BALANCE_PASSTHROUGH, why);
    if (r == 0) {
        r = xds_enum(m->health_policy, HEALTH_ALLOW_ALL, why);
    }
    if (r < 0) {
        return r;
    }
    s->has_load_balancing = true;
    s->scope_count = (uint8_t)m->n_routing_preference;
    s->mode = (uint8_t)m->mode;
    s->health = (uint8_t)m->health_policy;
    return 0;
}

static int weighted_decode(struct service *s, const Workload__Service *m, struct arena *a,
                           struct diag *why)
{
    struct weighted_gateway *all = arena_array(a, m->n_weighted_waypoints, sizeof(*all));

    if (m->n_weighted_waypoints > SERVICE_WEIGHTED_MAX) {
        return FAIL(why, -ERR_LIMIT, "weighted_waypoints: %zu entries, at most %d",
                    m->n_weighted_waypoints, SERVICE_WEIGHTED_MAX);
    }
    for (size_t i = 0; i < m->n_weighted_waypoints; i++) {
        const struct gateway *g = NULL;
        if (!m->weighted_waypoints[i]->destination) {
            return FAIL(why, -ERR_SYNTAX, "weighted waypoint is missing destination");
        }
        int r = gateway_decode(&g, m->weighted_waypoints[i]->destination, a, why);
        if (r < 0) {
            return r;
        }
        all[i] =
            (struct weighted_gateway){.gateway = *g, .weight = m->weighted_waypoints[i]->weight};
    }
    s->weighted = all;
    s->weighted_count = (uint16_t)m->n_weighted_waypoints;
    return 0;
}

static int service_decode(const struct service **out, const Workload__Service *m,
                          const char *version, struct intern *pool, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    struct service s = {.version = version,
                        .ns = m->namespace_,
                        .hostname = m->hostname,
                        .name = m->name,
                        .canonical = m->canonical,
                        .visibility = m->visibility == 1 ? VISIBLE_NAMESPACE : VISIBLE_PUBLIC,
                        .sans = (const char *const *)m->subject_alt_names};

    int r = vips_decode(&s, m, &a, why);
    if (r == 0) {
        r = balancing_decode(&s, m->load_balancing, why);
    }
    if (r == 0) {
        r = xds_enum(m->ip_families, FAMILIES_DUAL, why);
    }
    if (r == 0) {
        r = gateway_decode(&s.waypoint, m->waypoint, &a, why);
    }
    if (r == 0) {
        r = weighted_decode(&s, m, &a, why);
    }
    if (r == 0 && (m->n_subject_alt_names > SERVICE_SANS_MAX || m->n_ports > SERVICE_PORTS_MAX)) {
        r = FAIL(why, -ERR_LIMIT, "too many ports or subject_alt_names");
    }
    if (r < 0) {
        return r;
    }
    s.ip_families = (uint8_t)m->ip_families;
    s.san_count = (uint16_t)m->n_subject_alt_names;
    s.ports = ports_decode(m->ports, m->n_ports, &a);
    s.port_count = (uint16_t)m->n_ports;
    return service_new(out, &s, pool, why);
}

int xds_address_decode(struct xds_address *out, struct slice bytes, const char *version,
                       struct intern *pool, struct diag *why)
{
    AUTO(xds_unpacked) ProtobufCMessage *raw = NULL;
    struct xds_address result = {0};
    int r = xds_unpack(&raw, &workload__address__descriptor, bytes, why);

    if (r < 0) {
        return r;
    }
    const Workload__Address *m = (const Workload__Address *)(const void *)raw;
    switch (m->type_case) {
    case WORKLOAD__ADDRESS__TYPE_WORKLOAD:
        r = workload_decode(&result.workload, m->workload, version, pool, why);
        break;
    case WORKLOAD__ADDRESS__TYPE_SERVICE:
        r = service_decode(&result.service, m->service, version, pool, why);
        break;
    case WORKLOAD__ADDRESS__TYPE__NOT_SET:
    case _WORKLOAD__ADDRESS__TYPE__CASE_IS_INT_SIZE:
        return FAIL(why, -ERR_SYNTAX, "unknown address type");
    }
    if (r == 0) {
        *out = result;
    }
    return r;
}
