/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever happened before, the index publishes what an index publishes that is told only of the
 * objects there are now: random histories, compared again and again with a new index.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "case_rig.h"
#include "t.h"
#include "xds/waypoint.h"

struct history {
    struct rand_seq seq;
    struct case_rig live;
    unsigned seen[ADS_TYPES]; /* resources of each type */
    unsigned turns;           /* services that came to waypoints or left them, and waited */
};

static unsigned below(struct history *h, unsigned bound)
{
    return (unsigned)rand_seq_below(&h->seq, bound);
}

static const char *pick(struct history *h, const char *const *from, unsigned count)
{
    return from[below(h, count)];
}

#define PICK(h, ...)                                                                               \
    pick((h), (const char *const[]){__VA_ARGS__},                                                  \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static const char *any_ns(struct history *h)
{
    return PICK(h, "istio-system", "a", "b");
}

static struct json *labels(struct history *h, bool may_be_empty)
{
    struct json *l = json_new_object();

    if (!may_be_empty || below(h, 4) > 0) {
        json_set_str(l, "app", PICK(h, "x", "y", "z"));
    }
    if (below(h, 3) == 0) {
        json_set_str(l, "tier", PICK(h, "1", "2"));
    }
    return l;
}

static struct json *object(struct history *h, const char *kind, const char *ns, const char *name)
{
    struct json *o = json_new_object();
    struct json *meta = json_make_object(o, "metadata");

    (void)h;
    json_set_str(o, "kind", kind);
    json_set_str(meta, "name", name);
    if (ns) {
        json_set_str(meta, "namespace", ns);
    }
    return o;
}

/* ---- one of each kind */

static void set_targets(struct history *h, struct json *spec);
static void maybe_wish(struct history *h, struct json *o);

static struct json *make_namespace(struct history *h)
{
    struct json *o = object(h, "Namespace", NULL, any_ns(h));

    if (below(h, 2)) {
        json_set_str(json_make_object(o, "metadata.annotations"),
                     "networking.istio.io/traffic-distribution",
                     PICK(h, "PreferClose", "PreferSameNode", "?", ""));
    }
    if (below(h, 3) == 0) {
        json_set_str(json_make_object(o, "metadata.labels"), "topology.istio.io/network",
                     PICK(h, "net1", "net2"));
    }
    if (below(h, 2)) {
        json_set_str(json_make_object(o, "metadata.labels"), "team", PICK(h, "x", "y"));
    }
    maybe_wish(h, o);
    return o;
}

static struct json *make_node(struct history *h)
{
    struct json *o = object(h, "Node", NULL, PICK(h, "n1", "n2", "n3"));

    json_set_str(json_make_object(o, "metadata.labels"), "topology.kubernetes.io/zone",
                 PICK(h, "za", "zb"));
    return o;
}

static struct json *make_pod(struct history *h)
{
    struct json *o = object(h, "Pod", any_ns(h), PICK(h, "p1", "p2", "p3", "p4"));
    struct json *container = json_new_object();
    struct json *port = json_new_object();
    char ip[32];

    json_set(json_at(o, "metadata"), "labels", labels(h, true));
    maybe_wish(h, o);
    if (below(h, 8) == 0) {
        json_set_str(json_at(o, "metadata.labels"), "gateway.networking.k8s.io/gateway-name", "w1");
    }
    json_set_str(json_at(o, "metadata"), "uid", PICK(h, "u1", "u2"));
    json_set_str(json_make_object(o, "spec"), "nodeName", PICK(h, "", "n1", "n2", "n3"));
    json_set_str(json_at(o, "spec"), "serviceAccountName", PICK(h, "s1", "s2"));
    json_set_str(port, "name", PICK(h, "http", "admin"));
    json_set_int(port, "containerPort", 8000 + below(h, 3));
    json_append(json_make_array(container, "ports"), port);
    json_append(json_make_array(o, "spec.containers"), container);
    json_set_str(json_make_object(o, "status"), "phase",
                 PICK(h, "Running", "Running", "Running", "Pending", "Succeeded", "Failed"));
    (void)snprintf(ip, sizeof(ip), "10.0.0.%u", below(h, 9));
    json_set_str(json_at(o, "status"), "podIP", below(h, 8) ? ip : "");
    return o;
}

static struct json *make_service(struct history *h)
{
    struct json *o = object(h, "Service", any_ns(h), PICK(h, "v1", "v2", "v3", "w1"));
    struct json *spec = json_make_object(o, "spec");
    struct json *port = json_new_object();

    if (below(h, 3)) {
        json_set(spec, "selector", labels(h, false));
    }
    json_set_str(spec, "clusterIP", PICK(h, "10.96.0.1", "10.96.0.2", "None"));
    json_set_str(spec, "type", PICK(h, "ClusterIP", "ClusterIP", "ClusterIP", "ExternalName"));
    json_set_int(port, "port", 80 + below(h, 2));
    json_set_str(port, "name", PICK(h, "http", "tcp"));
    if (below(h, 2)) {
        json_set_str(port, "targetPort", PICK(h, "http", "admin"));
    } else {
        json_set_int(port, "targetPort", 8080);
    }
    json_append(json_make_array(spec, "ports"), port);
    json_set_bool(spec, "publishNotReadyAddresses", below(h, 4) == 0);
    maybe_wish(h, o);
    return o;
}

static struct json *make_slice(struct history *h)
{
    const char *ns = any_ns(h);
    struct json *o = object(h, "EndpointSlice", ns, PICK(h, "e1", "e2"));
    struct json *port = json_new_object();

    json_set_str(json_make_object(o, "metadata.labels"), "kubernetes.io/service-name",
                 PICK(h, "v1", "v2", "v3", "v4"));
    json_set_str(o, "addressType", PICK(h, "IPv4", "IPv4", "FQDN"));
    for (unsigned i = below(h, 4); i > 0; i--) {
        struct json *e = json_new_object();
        json_append_str(json_make_array(e, "addresses"), PICK(h, "10.9.0.1", "10.9.0.2"));
        json_set_bool(json_make_object(e, "conditions"), "ready", below(h, 2));
        if (below(h, 2)) {
            struct json *target = json_make_object(e, "targetRef");
            json_set_str(target, "kind", "Pod");
            json_set_str(target, "namespace", ns);
            json_set_str(target, "name", PICK(h, "p1", "p2", "p3"));
            json_set_str(target, "uid", PICK(h, "u1", "u2"));
        }
        json_append(json_make_array(o, "endpoints"), e);
    }
    json_set_str(port, "name", PICK(h, "http", "tcp"));
    json_set_int(port, "port", 9000);
    json_append(json_make_array(o, "ports"), port);
    return o;
}

static void maybe_foreign(struct history *h, struct json *o)
{
    if (below(h, 6) == 0) {
        json_set_str(json_make_object(o, "metadata.labels"), "istio.io/rev",
                     PICK(h, "default", "other"));
    }
}

static struct json *make_authorization(struct history *h)
{
    struct json *o = object(h, "AuthorizationPolicy", any_ns(h), PICK(h, "q1", "q2", "q3"));
    struct json *rule = json_new_object();
    struct json *from = json_new_object();

    if (below(h, 2)) {
        json_set(json_make_object(o, "spec.selector"), "matchLabels", labels(h, true));
    }
    json_set_str(json_make_object(o, "spec"), "action", PICK(h, "ALLOW", "DENY", "AUDIT"));
    json_append_str(json_make_array(from, "source.namespaces"), any_ns(h));
    json_append(json_make_array(rule, "from"), from);
    json_append(json_make_array(o, "spec.rules"), rule);
    if (below(h, 2)) {
        set_targets(h, json_get(o, "spec"));
    }
    maybe_foreign(h, o);
    return o;
}

static struct json *make_peer(struct history *h)
{
    struct json *o = object(h, "PeerAuthentication", any_ns(h), PICK(h, "r1", "r2", "r3"));
    struct json *spec = json_make_object(o, "spec");
    static const char *const modes[] = {"STRICT", "PERMISSIVE", "DISABLE", "UNSET"};

    json_set_str(json_make_object(spec, "mtls"), "mode", pick(h, modes, 4));
    json_set_str(json_at(o, "metadata"), "creationTimestamp",
                 PICK(h, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"));
    if (below(h, 2)) {
        json_set(json_make_object(spec, "selector"), "matchLabels", labels(h, false));
        for (unsigned i = below(h, 3); i > 0; i--) {
            struct json *port = json_new_object();
            json_set_str(port, "mode", pick(h, modes, 4));
            json_set(json_make_object(spec, "portLevelMtls"), PICK(h, "80", "8080", "9090"), port);
        }
    }
    maybe_foreign(h, o);
    return o;
}

/* ---- waypoints */

static void maybe_wish(struct history *h, struct json *o)
{
    struct json *into = json_make_object(o, "metadata.labels");

    if (below(h, 3) == 0) {
        json_set_str(into, "istio.io/use-waypoint", PICK(h, "w1", "w2", "none"));
    }
    if (below(h, 6) == 0) {
        json_set_str(into, "istio.io/use-waypoint-namespace", any_ns(h));
    }
    if (below(h, 8) == 0) {
        json_set_str(json_make_object(o, "metadata.annotations"), "ambit.io/waypoint-bypass",
                     "allow");
    }
}

static struct json *make_class(struct history *h)
{
    struct json *o = object(h, "GatewayClass", NULL, PICK(h, "istio-waypoint", "other"));

    json_set_str(json_make_object(o, "spec"), "controllerName",
                 PICK(h, "istio.io/mesh-controller", "example.com/x"));
    if (below(h, 3) == 0) {
        json_set_str(json_make_object(o, "metadata.labels"), "istio.io/waypoint-for", "all");
    }
    return o;
}

static struct json *make_gateway(struct history *h)
{
    struct json *o = object(h, "Gateway", any_ns(h), PICK(h, "w1", "w2"));
    struct json *listener = json_new_object();

    json_set_str(json_make_object(o, "spec"), "gatewayClassName",
                 PICK(h, "istio-waypoint", "istio-waypoint", "other"));
    json_set_str(listener, "name", "mesh");
    json_set_int(listener, "port", 15008);
    json_set_str(listener, "protocol", "HBONE");
    json_set_str(json_make_object(listener, "allowedRoutes.namespaces"), "from",
                 PICK(h, "Same", "All", "Selector"));
    json_set_str(json_make_object(listener, "allowedRoutes.namespaces.selector.matchLabels"),
                 "team", "x");
    json_append(json_make_array(o, "spec.listeners"), listener);
    if (below(h, 4)) {
        struct json *address = json_new_object();
        json_set_str(address, "type", "IPAddress");
        json_set_str(address, "value", PICK(h, "10.96.0.7", "10.96.0.8"));
        json_append(json_make_array(o, "status.addresses"), address);
    }
    if (below(h, 3) == 0) {
        json_set_str(json_make_object(o, "metadata.labels"), "istio.io/waypoint-for",
                     PICK(h, "all", "workload", "none"));
    }
    if (below(h, 4) == 0) {
        json_set_str(json_make_object(o, "metadata.annotations"),
                     "gateway.istio.io/service-account", PICK(h, "s1", "s2"));
    }
    return o;
}

static struct json *backend_ref(struct history *h)
{
    struct json *r = json_new_object();

    json_set_str(r, "group", "");
    json_set_str(r, "kind", PICK(h, "Service", "Service", "Service", "Other"));
    json_set_str(r, "name", PICK(h, "v1", "v2", "v3", "v4"));
    if (below(h, 3) == 0) {
        json_set_str(r, "namespace", any_ns(h));
    }
    if (below(h, 2)) {
        json_set_int(r, "port", 80 + below(h, 3));
    }
    return r;
}

static struct json *make_route(struct history *h, const char *kind)
{
    struct json *o = object(h, kind, any_ns(h), PICK(h, "t1", "t2"));
    struct json *rule = json_new_object();

    json_set_str(json_get(o, "metadata"), "creationTimestamp", "2026-01-01T00:00:00Z");
    for (unsigned i = below(h, 3); i > 0; i--) {
        json_append(json_make_array(o, "spec.parentRefs"), backend_ref(h));
    }
    for (unsigned i = below(h, 3); i > 0; i--) {
        json_append(json_make_array(rule, "backendRefs"), backend_ref(h));
    }
    json_append(json_make_array(o, "spec.rules"), rule);
    maybe_foreign(h, o);
    return o;
}

static struct json *make_http_route(struct history *h)
{
    return make_route(h, "HTTPRoute");
}

static struct json *make_grpc_route(struct history *h)
{
    return make_route(h, "GRPCRoute");
}

static struct json *make_tcp_route(struct history *h)
{
    return make_route(h, "TCPRoute");
}

static struct json *make_grant(struct history *h)
{
    struct json *o = object(h, "ReferenceGrant", any_ns(h), PICK(h, "g1", "g2"));
    struct json *from = json_new_object();
    struct json *to = json_new_object();

    json_set_str(from, "group", "gateway.networking.k8s.io");
    json_set_str(from, "kind", PICK(h, "HTTPRoute", "TCPRoute"));
    json_set_str(from, "namespace", any_ns(h));
    json_set_str(to, "group", "");
    json_set_str(to, "kind", "Service");
    json_append(json_make_array(o, "spec.from"), from);
    json_append(json_make_array(o, "spec.to"), to);
    return o;
}

/* In place of a selector. */
static void set_targets(struct history *h, struct json *spec)
{
    static const char *const kinds[] = {"Service", "Gateway", "GatewayClass"};

    (void)json_remove(spec, "selector"); /* there may be none */
    for (unsigned i = 1 + below(h, 2); i > 0; i--) {
        struct json *t = json_new_object();
        unsigned kind = below(h, 3);
        json_set_str(t, "group", kind == 0 ? "" : "gateway.networking.k8s.io");
        json_set_str(t, "kind", kinds[kind]);
        json_set_str(t, "name",
                     kind == 0   ? PICK(h, "v1", "v2", "v3")
                     : kind == 1 ? PICK(h, "w1", "w2")
                                 : "istio-waypoint");
        json_append(json_make_array(spec, "targetRefs"), t);
    }
}

static struct json *make_authentication(struct history *h)
{
    struct json *o = object(h, "RequestAuthentication", any_ns(h), PICK(h, "q1", "q2"));
    struct json *rule = json_new_object();

    json_set_str(rule, "issuer", PICK(h, "i1", "i2"));
    json_append(json_make_array(o, "spec.jwtRules"), rule);
    if (below(h, 4)) {
        set_targets(h, json_get(o, "spec"));
    }
    return o;
}

static struct json *make_rule(struct history *h)
{
    struct json *o = object(h, "DestinationRule", any_ns(h), PICK(h, "d1", "d2", "d3"));

    json_set_str(json_get(o, "metadata"), "creationTimestamp",
                 PICK(h, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"));
    json_set_str(json_make_object(o, "spec"), "host",
                 PICK(h, "v1", "v2", "v3.a.svc.cluster.local"));
    json_set_str(json_make_object(o, "spec.trafficPolicy.loadBalancer"), "simple",
                 PICK(h, "RANDOM", "ROUND_ROBIN"));
    return o;
}

/* Something of a gateway's name, made for it or not. */
static struct json *make_child(struct history *h, const char *kind)
{
    struct json *o = object(h, kind, any_ns(h), PICK(h, "w1", "w2"));
    struct json *owner = json_new_object();

    if (below(h, 4)) {
        json_set_str(json_make_object(o, "metadata.labels"), "gateway.istio.io/managed",
                     "istio.io-mesh-controller");
    }
    json_set_str(owner, "kind", "Gateway");
    json_set_str(owner, "uid", PICK(h, "u1", "u2"));
    json_append(json_make_array(o, "metadata.ownerReferences"), owner);
    return o;
}

static struct json *make_account(struct history *h)
{
    return make_child(h, "ServiceAccount");
}

static struct json *make_deployment(struct history *h)
{
    return make_child(h, "Deployment");
}

/* ---- histories */

static void change(struct history *h)
{
    static struct json *(*const make[INDEX_KINDS])(struct history * h) = {
        make_namespace,     make_node,      make_pod,   make_service,        make_slice,
        make_authorization, make_peer,      make_class, make_gateway,        make_http_route,
        make_grpc_route,    make_tcp_route, make_grant, make_authentication, make_rule,
        make_account,       make_deployment};
    enum index_kind kind = (enum index_kind)below(h, INDEX_KINDS);
    struct json *o = make[kind](h);
    const char *ns = json_str_at(o, "metadata.namespace", "");
    const char *name = json_str_at(o, "metadata.name", "");
    char key[256];

    (void)snprintf(key, sizeof(key), "%c/%s/%s", (char)('a' + kind), ns, name);
    if (below(h, 3)) {
        index_put(h->live.index, kind, o);
        json_set(h->live.objects, key, o);
    } else {
        index_remove(h->live.index, kind, ns, name);
        (void)json_remove(h->live.objects, key);
        json_unref(o);
    }
    if (below(h, 2)) {
        (void)index_settle(h->live.index, below(h, 5)); /* more may be due: that is the point */
    }
}

static void settle(struct index *x)
{
    while (index_settle(x, 7)) {
    }
}

static bool is_in(const struct catalog *c, const struct catalog *in)
{
    bool good = true;

    for (const struct catalog_entry *e = catalog_after(c, 0); e; e = catalog_next(c, e)) {
        const struct catalog_entry *f = catalog_find(in, slice_of(e->name));
        if (catalog_is_gone(e)) {
            continue;
        }
        if (!f || catalog_is_gone(f) || !slice_equal(catalog_value(e), catalog_value(f))) {
            printf("# %s is %s\n", e->name, f && !catalog_is_gone(f) ? "different" : "missing");
            good = false;
        }
    }
    return good;
}

/* The waypoint's own reader takes all that it is told. */
static bool is_readable(const struct catalog_entry *e, unsigned type)
{
    AUTO(l7_binding) const struct l7_binding *b = NULL;
    AUTO(l7_route) const struct l7_route *r = NULL;
    AUTO(l7_policy) const struct l7_policy *p = NULL;
    AUTO(l7_traffic) const struct l7_traffic *t = NULL;
    struct slice value = catalog_value(e);
    struct diag why = {.code = 0};
    int result = type == ADS_L7_BINDING  ? xds_l7_binding_decode(&b, value, e->name, "v", &why)
                 : type == ADS_L7_ROUTE  ? xds_l7_route_decode(&r, value, e->name, "v", &why)
                 : type == ADS_L7_POLICY ? xds_l7_policy_decode(&p, value, e->name, "v", &why)
                                         : xds_l7_traffic_decode(&t, value, e->name, "v", &why);

    if (result < 0) {
        printf("# %s: %s\n", e->name, why.text);
    }
    return result == 0;
}

static bool are_readable(const struct case_rig *r, unsigned *count)
{
    bool good = true;

    for (unsigned t = ADS_L7_POLICY; t < ADS_TYPES; t++) {
        for (const struct catalog_entry *e = catalog_after(r->catalogs[t], 0); e;
             e = catalog_next(r->catalogs[t], e)) {
            good &= catalog_is_gone(e) || is_readable(e, t);
            count[t] += !catalog_is_gone(e);
        }
    }
    return good;
}

static bool is_same_as_new(struct history *h)
{
    struct case_rig fresh;

    case_rig_open(&fresh, NULL, "cluster.local");
    for (struct json_iter it = {0}; json_each(h->live.objects, &it);) {
        index_put(fresh.index, (enum index_kind)(it.key[0] - 'a'), it.value);
    }
    settle(fresh.index);
    bool good = are_readable(&fresh, h->seen);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        good &= is_in(fresh.catalogs[t], h->live.catalogs[t]) &
                is_in(h->live.catalogs[t], fresh.catalogs[t]);
    }
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        good &= index_count(fresh.index, (enum index_kind)k) ==
                index_count(h->live.index, (enum index_kind)k);
    }
    case_rig_close(&fresh);
    return good;
}

/* Node proxies have heard of everything. */
static void end_turns(struct history *h)
{
    struct index_heard all = {UINT64_MAX, UINT64_MAX};

    h->turns += index_is_turning(h->live.index);
    while (index_is_turning(h->live.index)) { /* some have two steps */
        index_hear(h->live.index, &all, 0);
        settle(h->live.index);
    }
}

static bool run_history(uint64_t seed, unsigned *seen, unsigned *turns)
{
    struct history h = {.seen = {0}};
    bool good = true;

    rand_seq_init(&h.seq, seed);
    case_rig_open(&h.live, NULL, "cluster.local");
    index_live(h.live.index);
    for (unsigned i = 0; good && i < 40; i++) {
        for (unsigned k = 0; k < 20; k++) {
            change(&h);
        }
        settle(h.live.index);
        end_turns(&h);
        index_tick(h.live.index, UINT64_MAX); /* nothing lingers for ever */
        settle(h.live.index);
        good = is_same_as_new(&h);
    }
    case_rig_close(&h.live);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        seen[t] += h.seen[t];
    }
    *turns += h.turns;
    if (!good) {
        printf("# seed %llu\n", (unsigned long long)seed);
    }
    return good;
}

TEST(any_history_ends_where_a_new_index_begins)
{
    unsigned seen[ADS_TYPES] = {0};
    unsigned turns = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        CHECK(run_history(seed, seen, &turns));
    }
    CHECK(turns > 100);
    for (unsigned k = ADS_L7_POLICY; k < ADS_TYPES; k++) {
        printf("# %s: %u\n", ads_type_urls[k], seen[k]);
        CHECK(seen[k] > 100); /* or the histories say nothing about it */
    }
}

/* The comparison itself: one object that only one side knows is noticed. */
TEST(a_history_that_forgot_something_is_noticed)
{
    struct history h = {.seen = {0}};

    rand_seq_init(&h.seq, 7);
    case_rig_open(&h.live, NULL, "cluster.local");
    AUTO(json) struct json *node = make_node(&h);
    struct json *service = make_service(&h);
    json_set_str(json_at(service, "spec"), "type", "ClusterIP");
    index_put(h.live.index, INDEX_NODE, node);
    json_set(h.live.objects, "d/x/y", service);
    settle(h.live.index);
    bool same = is_same_as_new(&h);
    case_rig_close(&h.live);
    CHECK(!same);
}
