/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings and traffic settings: flat messages. */
#include <string.h>

#include "base/arena.h"
#include "codec/http_path.h"
#include "waypoint.pb-c.h"
#include "xds/decode_int.h"
#include "xds/resource.h"
#include "xds/waypoint.h"

const char *xds_l7_path(const char *path, struct arena *a)
{
    AUTO(strbuf) struct strbuf text = {.p = NULL};

    http_path_respell(slice_of(path), &text);
    return arena_text(a, strbuf_text(&text), text.len);
}

const char *xds_l7_version(const char *version, struct slice bytes, struct arena *a)
{
    char buf[XDS_VERSION_TEXT];

    if (version && *version) {
        return version;
    }
    (void)xds_version(bytes, buf); /* buf */
    return arena_text(a, buf, strlen(buf));
}

/* A number of the wire as a port; 0 stays 0. */
static int port_decode(uint16_t *out, uint32_t port, struct diag *why)
{
    if (port > UINT16_MAX) {
        return FAIL(why, -ERR_RANGE, "port: %u is no port", port);
    }
    *out = (uint16_t)port;
    return 0;
}

static int bound_port_decode(struct l7_bound_port *out, const Ambit__Waypoint__V1__BoundPort *m,
                             struct diag *why)
{
    int r = port_decode(&out->port, m->port, why);

    if (r == 0 && ((int)m->protocol < 0 || (int)m->protocol >= L7_PROTOCOLS)) {
        r = FAIL(why, -ERR_RANGE, "protocol: %d is unknown", (int)m->protocol);
    }
    out->protocol = (enum l7_protocol)m->protocol;
    return r;
}

static int binding_make(const struct l7_binding **out, const Ambit__Waypoint__V1__Binding *m,
                        const char *name, const char *version, struct arena *a, struct diag *why)
{
    struct l7_bound_port *ports = arena_array(a, m->n_ports, sizeof(*ports));

    for (size_t i = 0; i < m->n_ports; i++) {
        struct diag inner = {.code = 0};
        int r = bound_port_decode(&ports[i], m->ports[i], &inner);
        if (r < 0) {
            return FAIL(why, r, "ports[%zu].%s", i, inner.text);
        }
    }
    struct l7_binding b = {.resource = name,
                           .version = version,
                           .ns = m->namespace_,
                           .hostname = m->hostname,
                           .ports = ports,
                           .port_count = m->n_ports};
    return l7_binding_new(out, &b, why);
}

int xds_l7_binding_decode(const struct l7_binding **out, struct slice bytes, const char *name,
                          const char *version, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    AUTO(xds_unpacked) ProtobufCMessage *raw = NULL;
    int r = xds_unpack(&raw, &ambit__waypoint__v1__binding__descriptor, bytes, why);

    return r < 0 ? r
                 : binding_make(out, (const Ambit__Waypoint__V1__Binding *)(const void *)raw, name,
                                xds_l7_version(version, bytes, &a), &a, why);
}

static struct l7_hash_key hash_decode(const Ambit__Waypoint__V1__HashKey *m)
{
    if (!m) {
        return (struct l7_hash_key){.header = ""};
    }
    return (struct l7_hash_key){.header = m->header,
                                .cookie = m->cookie,
                                .query = m->query,
                                .source_ip = m->source_ip,
                                .make_cookie = m->make_cookie,
                                .cookie_ttl_ms = m->cookie_ttl_ms,
                                .cookie_path = m->cookie_path};
}

static struct l7_outlier outlier_decode(const Ambit__Waypoint__V1__Outlier *m)
{
    if (!m) {
        return (struct l7_outlier){0};
    }
    return (struct l7_outlier){.consecutive_5xx = m->consecutive_5xx,
                               .consecutive_gateway = m->consecutive_gateway,
                               .interval_ms = m->interval_ms,
                               .base_ejection_ms = m->base_ejection_ms,
                               .max_ejection_percent = m->max_ejection_percent,
                               .min_health_percent = m->min_health_percent};
}

static struct l7_limits limits_decode(const Ambit__Waypoint__V1__Limits *m)
{
    if (!m) {
        return (struct l7_limits){0};
    }
    return (struct l7_limits){.connections = m->connections,
                              .connect_timeout_ms = m->connect_timeout_ms,
                              .pending_requests = m->pending_requests,
                              .requests = m->requests,
                              .requests_per_connection = m->requests_per_connection,
                              .retries = m->retries,
                              .idle_timeout_ms = m->idle_timeout_ms};
}

static int traffic_make(const struct l7_traffic **out, const Ambit__Waypoint__V1__Traffic *m,
                        const char *name, const char *version, struct diag *why)
{
    struct l7_traffic x = {.resource = name,
                           .version = version,
                           .ns = m->namespace_,
                           .hostname = m->hostname,
                           .balance = (enum l7_balance)m->balance,
                           .hash = hash_decode(m->hash),
                           .locality_failover = m->locality_failover,
                           .outlier = outlier_decode(m->outlier),
                           .limits = limits_decode(m->limits)};
    int r = port_decode(&x.port, m->port, why);

    if (r < 0) {
        return r;
    }
    if ((int)m->balance < 0 || (int)m->balance > L7_CONSISTENT_HASH) {
        return FAIL(why, -ERR_RANGE, "balance: %d is unknown", (int)m->balance);
    }
    return l7_traffic_new(out, &x, why);
}

int xds_l7_traffic_decode(const struct l7_traffic **out, struct slice bytes, const char *name,
                          const char *version, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    AUTO(xds_unpacked) ProtobufCMessage *raw = NULL;
    int r = xds_unpack(&raw, &ambit__waypoint__v1__traffic__descriptor, bytes, why);

    return r < 0 ? r
                 : traffic_make(out, (const Ambit__Waypoint__V1__Traffic *)(const void *)raw, name,
                                xds_l7_version(version, bytes, &a), why);
}

/* ---- whichever it is */

bool xds_l7_type_of(const char *type_url, enum l7_type *out)
{
    static const char *const types[L7_TYPES] = {[L7_TYPE_BINDING] = XDS_TYPE_L7_BINDING,
                                                [L7_TYPE_ROUTE] = XDS_TYPE_L7_ROUTE,
                                                [L7_TYPE_POLICY] = XDS_TYPE_L7_POLICY,
                                                [L7_TYPE_TRAFFIC] = XDS_TYPE_L7_TRAFFIC};

    for (unsigned i = 0; i < L7_TYPES; i++) {
        if (strcmp(type_url, types[i]) == 0) {
            *out = (enum l7_type)i;
            return true;
        }
    }
    return false;
}

static int put_policy(struct l7_delta *d, const char *name, struct slice bytes, struct diag *why)
{
    const struct l7_policy *p = NULL;
    int r = xds_l7_policy_decode(&p, bytes, name, "", why);

    if (p) {
        (void)l7_put_policy(d, p); /* a broken one never replaces a good one */
    }
    return r;
}

/* What a put answers (nothing changed) is of no interest here. */
int xds_l7_put(struct l7_delta *d, enum l7_type type, const char *name, struct slice bytes,
               struct diag *why)
{
    const struct l7_binding *binding = NULL;
    const struct l7_route *route = NULL;
    const struct l7_traffic *traffic = NULL;
    int r = -ERR_UNSUPPORTED;

    switch (type) {
    case L7_TYPE_BINDING:
        r = xds_l7_binding_decode(&binding, bytes, name, "", why);
        (void)(r == 0 && l7_put_binding(d, binding));
        break;
    case L7_TYPE_ROUTE:
        r = xds_l7_route_decode(&route, bytes, name, "", why);
        (void)(r == 0 && l7_put_route(d, route));
        break;
    case L7_TYPE_TRAFFIC:
        r = xds_l7_traffic_decode(&traffic, bytes, name, "", why);
        (void)(r == 0 && l7_put_traffic(d, traffic));
        break;
    case L7_TYPE_POLICY:
        r = put_policy(d, name, bytes, why);
        break;
    case L7_TYPES:
        break;
    }
    return r;
}
