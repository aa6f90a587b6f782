/* SPDX-License-Identifier: Apache-2.0 */
/* What a waypoint is told: of each service that is bound to it, and of itself. */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"
#include "control/linger.h"
#include "control/reconcile.h"
#include "control/translate_l7.h"
#include "xds/waypoint.h"

/* ---- names of resources (proto/waypoint.proto) */

static void name_gateway(struct strbuf *out, const struct gateway_item *g)
{
    strbuf_clear(out);
    strbuf_printf(out, "%s/%s/", g->space->name, g->name);
}

static void put(struct index *x, struct shelf_fill *fill, enum ads_type type,
                const struct strbuf *name)
{
    shelf_put(fill, type, strbuf_text(name), (struct slice){x->wire.p, x->wire.len});
}

/* ---- bindings */

static void put_binding(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                        const struct service_item *s)
{
    AUTO(arena) struct arena a = {0};
    AUTO(strbuf) struct strbuf name = {0};
    struct l7_bound_port *ports = arena_array(&a, s->f.port_count, sizeof(*ports));
    struct l7_binding b = {.ns = s->f.ns, .hostname = s->f.hostname, .ports = ports};

    for (unsigned i = 0; i < s->f.port_count; i++) {
        if (s->f.ports[i].is_tcp) {
            ports[b.port_count++] =
                (struct l7_bound_port){s->f.ports[i].port, (enum l7_protocol)s->f.ports[i].l7};
        }
    }
    name_gateway(&name, g);
    strbuf_puts(&name, s->f.key);
    strbuf_clear(&x->wire);
    xds_l7_binding_encode(&x->wire, &b);
    put(x, fill, ADS_L7_BINDING, &name);
}

/* ---- routes */

struct finding {
    const struct index *x;
    const struct attachment *parent;
};

static enum l7_protocol protocol_at(const struct service_facts *f, uint16_t port)
{
    for (unsigned i = 0; i < f->port_count; i++) {
        if (f->ports[i].port == port && f->ports[i].is_tcp) {
            return (enum l7_protocol)f->ports[i].l7;
        }
    }
    return L7_UNKNOWN;
}

static void find_backend(void *arg, const struct json *ref, struct l7_backend *out, struct arena *a)
{
    const struct finding *f = arg;
    AUTO(strbuf) struct strbuf why = {0};
    const char *reason = NULL;
    const struct service_item *s = route_backend(f->x, f->parent, ref, &reason, &why);

    if (s) {
        out->ns = s->f.ns;
        out->hostname = s->f.hostname;
        out->port = (uint16_t)json_int_at(ref, "port", 0);
        out->protocol = protocol_at(&s->f, out->port);
    } else {
        out->invalid = arena_text(a, strbuf_text(&why), why.len);
    }
}

static void translate(struct l7_route *out, const struct index *x, const struct attachment *at,
                      size_t rule, struct arena *a)
{
    const struct service_item *s = at->service;
    const struct route_item *r = at->route;
    struct finding finding = {x, at};
    struct backend_finder finder = {find_backend, &finding};

    translate_route_rule(out, r->kind, json_item(json_at(r->object, "spec.rules"), rule), &finder,
                         a);
    out->ns = s->f.ns;
    out->hostname = s->f.hostname;
    out->created_s = meta_created_s(r->object);
    out->route_ns = route_ns(r);
    out->route_name = route_name(r);
    out->rule = (uint32_t)rule;
    out->consumer = route_consumer(x, at);
}

/* Whether a waypoint can read it: of what it could not, it would say no more than that. */
static bool is_readable(const struct l7_route *from, struct diag *why)
{
    AUTO(l7_route) const struct l7_route *made = NULL;

    return l7_route_new(&made, from, why) == 0;
}

bool route_rule_is_good(const struct index *x, const struct attachment *parent, size_t rule,
                        struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    struct l7_route out;

    if (!parent->service->exists) {
        return true; /* nothing is known about it */
    }
    translate(&out, x, parent, rule, &a);
    return is_readable(&out, why);
}

static void put_rule(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                     const struct attachment *at, size_t rule, uint16_t port)
{
    AUTO(arena) struct arena a = {0};
    AUTO(strbuf) struct strbuf name = {0};
    struct diag why = {.code = 0};
    struct l7_route out;

    translate(&out, x, at, rule, &a);
    out.port = port;
    if (!is_readable(&out, &why)) {
        return; /* its status says so */
    }
    name_gateway(&name, g);
    strbuf_printf(&name, "%s/%u/%s/%s/%s/%zu", at->service->f.key, port,
                  route_kind_name(at->route->kind), out.route_ns, out.route_name, rule);
    strbuf_clear(&x->wire);
    xds_l7_route_encode(&x->wire, &out);
    put(x, fill, ADS_L7_ROUTE, &name);
}

static int64_t port_of(const struct attachment *at)
{
    const struct json *ref = json_item(json_at(at->route->object, "spec.parentRefs"), at->parent);

    return json_int_at(ref, "port", 0);
}

static bool is_followed(const struct attachment *at)
{
    AUTO(strbuf) struct strbuf why = {0};

    return route_parent_problem(at, &why) == NULL;
}

/* Kinds are not mixed on a port: gRPC goes before HTTP, HTTP before TCP (waypoint contract A9). */
static bool is_above(enum l7_route_kind a, enum l7_route_kind b)
{
    static const int rank[] = {[L7_GRPC_ROUTE] = 2, [L7_HTTP_ROUTE] = 1, [L7_TCP_ROUTE] = 0};

    return rank[a] > rank[b];
}

/* By a rule for the same clients; port 0: any of its ports. */
static bool is_taken(const struct index *x, const struct attachment *from, int64_t port)
{
    const char *consumer = route_consumer(x, from);

    list_for_each (n, &from->service->routes) {
        const struct attachment *at = container_of(n, struct attachment, in_service);
        int64_t its = port_of(at);
        if (is_above(at->route->kind, from->route->kind) &&
            (its == 0 || port == 0 || its == port) && is_followed(at) &&
            strcmp(route_consumer(x, at), consumer) == 0) {
            return true;
        }
    }
    return false;
}

static void put_rules(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                      const struct attachment *at, uint16_t port)
{
    size_t count = json_count(json_at(at->route->object, "spec.rules"));

    for (size_t i = 0; i < count; i++) {
        put_rule(x, fill, g, at, i, port);
    }
}

static void put_route(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                      const struct attachment *at)
{
    const struct service_item *s = at->service;
    int64_t port = port_of(at);

    if (port != 0 || !is_taken(x, at, 0)) {
        if (port == 0 || !is_taken(x, at, port)) {
            put_rules(x, fill, g, at, (uint16_t)port);
        }
        return;
    }
    for (unsigned i = 0; i < s->f.port_count; i++) { /* those that are left to it */
        if (s->f.ports[i].is_tcp && !is_taken(x, at, s->f.ports[i].port)) {
            put_rules(x, fill, g, at, s->f.ports[i].port);
        }
    }
}

/* ---- policies */

static void put_policy(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                       const struct service_item *s, const struct l7_policy_item *p)
{
    AUTO(arena) struct arena a = {0};
    AUTO(strbuf) struct strbuf name = {0};
    struct l7_policy out;

    translate_l7_policy(&out, p->kind, p->object, x->mesh, &a);
    out.service_ns = s ? s->f.ns : "";
    out.service_hostname = s ? s->f.hostname : "";
    name_gateway(&name, g);
    strbuf_printf(&name, "%s%s%s/%s/%s", s ? s->f.key : "", s ? "/" : "", policy_kind_name(p->kind),
                  out.ns, out.name);
    strbuf_clear(&x->wire);
    xds_l7_policy_encode(&x->wire, &out);
    put(x, fill, ADS_L7_POLICY, &name);
}

static void put_policies(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                         const struct service_item *s, const struct list *aims)
{
    list_for_each (n, aims) {
        const struct aim *aim = container_of(n, struct aim, in_target);
        if (aim->binds) {
            put_policy(x, fill, g, s, aim->policy);
        }
    }
}

/* ---- services */

static const char *trouble_of(enum waypoint_state state)
{
    static const char *const names[] = {[WAYPOINT_NONE] = "",
                                        [WAYPOINT_BOUND] = "WaypointAccepted",
                                        [WAYPOINT_NOT_READY] = "WaypointIsNotReady",
                                        [WAYPOINT_DENIED] = "AttachmentDenied",
                                        [WAYPOINT_UNSUPPORTED] = "UnsupportedTrafficType"};

    return names[state];
}

static void describe(const struct waypoint_choice *c, const struct service_item *s,
                     struct strbuf *out)
{
    const char *ns = c->gateway->space->name;
    const char *name = c->gateway->name;
    int8_t ingress = s->f.ingress >= 0 ? s->f.ingress : s->space->ingress;

    switch (c->state) {
    case WAYPOINT_NONE:
        break;
    case WAYPOINT_BOUND:
        strbuf_printf(out, "Successfully attached to waypoint %s/%s", ns, name);
        if (ingress == 1) {
            strbuf_puts(out, ". Ingress traffic will traverse the waypoint");
        } else if (ingress == 0) {
            strbuf_puts(out, ". Ingress traffic is not using the waypoint, set the "
                             "istio.io/ingress-use-waypoint label to true if desired.");
        }
        break;
    case WAYPOINT_NOT_READY:
        strbuf_printf(out, "waypoint \"%s/%s\" is not ready", ns, name);
        break;
    case WAYPOINT_DENIED:
        strbuf_printf(out,
                      "we are not permitted to attach to waypoint \"%s/%s\" (missing "
                      "allowedRoutes?)",
                      ns, name);
        break;
    case WAYPOINT_UNSUPPORTED:
        strbuf_printf(out,
                      "attempting to bind to traffic type \"service\" which the waypoint "
                      "\"%s/%s\" does not support",
                      ns, name);
        break;
    }
}

/* Our own addition to Istio's words. */
static void describe_refusal(const struct index *x, const struct service_item *s,
                             const struct waypoint_choice *c, struct strbuf *out)
{
    AUTO(arena) struct arena a = {0};
    struct gateway room;

    if (c->state != WAYPOINT_BOUND && waypoint_for_service(x, s, &room, &a)) {
        strbuf_puts(out, "; connections to the service are refused meanwhile (annotation "
                         "ambit.io/waypoint-bypass: allow lets them pass)");
    }
}

static void say_bound(struct index *x, struct service_item *s, const struct waypoint_choice *c)
{
    AUTO(strbuf) struct strbuf message = {0};
    struct json *body = written_object("v1", "Service", s->f.ns, s->f.name);
    struct json *list = json_make_array(body, "status.conditions");
    AUTO(json) struct json *had = json_new_array();

    if (s->said) {
        json_append(had, json_ref(s->said));
    }
    if (c->state != WAYPOINT_NONE) {
        describe(c, s, &message);
        describe_refusal(x, s, c, &message);
        struct condition condition = {.type = "istio.io/WaypointBound",
                                      .status = c->state == WAYPOINT_BOUND,
                                      .reason = trouble_of(c->state),
                                      .message = strbuf_text(&message)};
        json_append(list, condition_new(&condition, had));
    }
    if (json_count(list) == 0 ? !s->said : json_covers(s->said, json_item(list, 0))) {
        voice_hush(&s->status);
        json_unref(body);
        return;
    }
    voice_say(&x->words, &s->status,
              (struct index_write){.resource = WRITE_SERVICE,
                                   .verb = VERB_APPLY,
                                   .manager = "istio-ambient-service",
                                   .sub = "status",
                                   .body = body});
}

void guarding_fini(struct index *x, struct guarding *g)
{
    struct guarding old = *g;

    *g = (struct guarding){.by = NULL};
    if (old.by) {
        gateway_unuse(x, old.by);
    }
    if (old.bound) {
        gateway_unuse(x, old.bound);
    }
    if (old.other) {
        gateway_unuse(x, old.other);
    }
    text_unref(old.account);
    text_unref(old.other_account);
}

static struct gateway_item *use(struct index *x, const struct gateway_item *g)
{
    return g ? gateway_use(x, g->space->name, g->name) : NULL;
}

static const char *account_of(struct index *x, const struct gateway_item *g)
{
    return g ? intern_text(x->pool, g->f.account ? g->f.account : g->name) : NULL;
}

/* Whose identity alone its pods take, and whom else they know: where that changes, so do they. */
static void follow_guard(struct index *x, struct service_item *s, const struct waypoint_choice *c)
{
    bool is_turning = s->turn.kind == TURN_ATTACH || s->turn.kind == TURN_DETACH;
    const struct gateway_item *by = is_turning ? NULL : waypoint_guard(x, s);
    AUTO(arena) struct arena a = {0};
    struct gateway room;
    bool is_ours = c->gateway && (c->gateway->f.is_ours || !c->gateway->object);
    bool goes_there =
        is_ours && (waypoint_for_service(x, s, &room, &a) || waypoint_is_awaited(s, c));
    struct guarding next = {.by = use(x, by),
                            .bound = use(x, goes_there ? c->gateway : NULL),
                            .other = use(x, turn_other(&s->turn)),
                            .is_known = true,
                            .is_turning = is_turning};

    next.account = account_of(x, by ? by : next.bound);
    next.other_account = account_of(x, next.other);
    if (s->guarding.bound && s->guarding.bound != next.bound) {
        mark_gateway(x, s->guarding.bound); /* it has one less to serve */
    }
    bool is_same = next.by == s->guarding.by && next.bound == s->guarding.bound &&
                   next.account == s->guarding.account && next.other == s->guarding.other &&
                   next.other_account == s->guarding.other_account &&
                   is_turning == s->guarding.is_turning;
    guarding_fini(x, &s->guarding);
    s->guarding = next;
    if (!is_same) {
        mark_members(x, s);
    }
}

void settle_l7_service(struct index *x, struct service_item *s)
{
    turn_follow(x, s);
    struct waypoint_choice c = waypoint_of_service(x, s);
    bool is_served = c.state == WAYPOINT_BOUND && c.gateway->f.is_ours && s->f.is_published;
    struct shelf_fill fill;

    if (s->guarding.bound && s->guarding.bound->object &&
        (c.state != WAYPOINT_BOUND || s->guarding.bound != c.gateway)) {
        linger_begin(x, s, s->guarding.bound);
    }
    shelf_begin(&fill, &s->shelf, x->catalogs);
    if (is_served) {
        put_policies(x, &fill, c.gateway, s, &s->aims);
        list_for_each (n, &s->routes) {
            const struct attachment *at = container_of(n, struct attachment, in_service);
            if (is_followed(at)) {
                put_route(x, &fill, c.gateway, at);
            }
        }
        put_binding(x, &fill, c.gateway, s);
    }
    shelf_end(&fill);
    if (is_served) {
        linger_end(x, s, c.gateway);
    }
    if (s->exists) {
        say_bound(x, s, &c);
        follow_guard(x, s, &c);
    }
    if (c.gateway) {
        mark_gateway(x, c.gateway); /* traffic settings of what it and its routes name */
    }
}

/* ---- traffic settings */

static void put_traffic(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                        const struct service_item *s, const struct json *policy, uint16_t port)
{
    AUTO(strbuf) struct strbuf name = {0};
    struct l7_traffic out;

    translate_traffic(&out, policy);
    out.ns = s->f.ns;
    out.hostname = s->f.hostname;
    out.port = port;
    name_gateway(&name, g);
    strbuf_puts(&name, s->f.key);
    if (port > 0) {
        strbuf_printf(&name, "/%u", port);
    }
    strbuf_clear(&x->wire);
    xds_l7_traffic_encode(&x->wire, &out);
    put(x, fill, ADS_L7_TRAFFIC, &name);
}

/* What a port says nothing about stays as it is for the others: each part is taken as a whole. */
static struct json *port_policy(const struct json *policy, const struct json *port)
{
    static const char *const parts[] = {"loadBalancer", "connectionPool", "outlierDetection"};
    struct json *both = json_new_object();

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const struct json *own = json_get(port, parts[i]);
        const struct json *part = own ? own : json_get(policy, parts[i]);
        if (part) {
            json_set(both, parts[i], json_ref(part));
        }
    }
    return both;
}

static void put_traffic_of(struct index *x, struct shelf_fill *fill, const struct gateway_item *g,
                           const struct service_item *s)
{
    const struct json *rule = s->exists ? rule_for(x, g->space->name, s) : NULL;
    const struct json *policy = json_at(rule, "spec.trafficPolicy");
    const struct json *ports = json_get(policy, "portLevelSettings");

    if (!policy) {
        return;
    }
    put_traffic(x, fill, g, s, policy, 0);
    for (size_t i = 0; i < json_count(ports); i++) {
        AUTO(json) struct json *both = port_policy(policy, json_item(ports, i));
        int64_t number = json_int_at(json_item(ports, i), "port.number", 0);
        if (number > 0 && number <= UINT16_MAX) {
            put_traffic(x, fill, g, s, both, (uint16_t)number);
        }
    }
}

/* Of a service that the gateway serves, and of what its routes send to. */
static void put_traffic_around(struct index *x, struct shelf_fill *fill,
                               const struct gateway_item *g, const struct service_item *s)
{
    struct waypoint_choice c = waypoint_of_service(x, s);

    if (c.state != WAYPOINT_BOUND || c.gateway != g) {
        return;
    }
    put_traffic_of(x, fill, g, s);
    list_for_each (n, &s->routes) {
        const struct route_item *r = container_of(n, struct attachment, in_service)->route;
        for (unsigned i = 0; i < r->backend_count; i++) {
            put_traffic_of(x, fill, g, r->backends[i].service);
        }
    }
}

/* Those that ask for another one by now, or for none, and still have this one (turn.h). */
static void put_traffic_leaving(struct index *x, struct shelf_fill *fill,
                                const struct gateway_item *g)
{
    list_for_each (n, &x->turns) {
        const struct service_item *s = container_of(n, struct service_item, turn.in_index);
        if (waypoint_asked(s).gateway != g) {
            put_traffic_around(x, fill, g, s);
        }
    }
}

static void put_all_traffic(struct index *x, struct shelf_fill *fill, const struct gateway_item *g)
{
    if (x->rules.count == 0) {
        return;
    }
    put_traffic_leaving(x, fill, g);
    list_for_each (n, &g->wishing[WISHER_SERVICE]) {
        put_traffic_around(x, fill, g, container_of(n, struct service_item, wish.in_gateway));
    }
    list_for_each (n, &g->wishing[WISHER_SPACE]) {
        const struct space *space = container_of(n, struct space, wish.in_gateway);
        list_for_each (k, &space->services) {
            const struct service_item *s = container_of(k, struct service_item, in_space);
            if (!s->wish.is_set) {
                put_traffic_around(x, fill, g, s);
            }
        }
    }
}

/* ---- gateways */

void settle_gateway(struct index *x, struct gateway_item *g)
{
    struct shelf_fill fill;

    if (!g->object) {
        return;
    }
    shelf_begin(&fill, &g->shelf, x->catalogs);
    if (g->f.is_ours) {
        put_policies(x, &fill, g, NULL, &g->aims);
        put_policies(x, &fill, g, NULL, &x->class_aims);
        put_all_traffic(x, &fill, g);
    }
    shelf_end(&fill);
    reconcile_gateway(x, g);
}
