/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/why.h"

#include <string.h>

#include "base/num.h"
#include "codec/json.h"
#include "codec/url.h"
#include "model/balance.h"
#include "model/rbac.h"
#include "model/route.h"

enum { CLIENT_PORT = 40000 };

struct ask {
    const struct world *world;
    const char *network;
    struct strbuf from;
    struct strbuf to;
    struct strbuf ns;
    uint16_t port; /* 0: not said */
    /* found */
    const struct workload *source;   /* NULL: only an identity */
    const struct identity *identity; /* of whoever asks; NULL: it has none. Owned. */
    const struct service *service;   /* one of these two */
    const struct workload *workload;
    struct route route;
    bool is_routed;
};

static void ask_fini(struct ask *q)
{
    strbuf_fini(&q->from);
    strbuf_fini(&q->to);
    strbuf_fini(&q->ns);
    (void)identity_unref(q->identity); /* returns NULL */
    if (q->is_routed) {
        route_fini(&q->route);
    }
}

/* ---- finding */

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* "ns/name", or a name in the namespace that was said. */
static bool split_name(const struct ask *q, const char *text, struct strbuf *ns,
                       struct strbuf *name)
{
    struct slice head;
    struct slice tail;

    if (slice_cut(slice_of(text), '/', &head, &tail)) {
        strbuf_add(ns, head.p, head.len);
        strbuf_add(name, tail.p, tail.len);
    } else {
        strbuf_puts(ns, strbuf_text(&q->ns));
        strbuf_puts(name, text);
    }
    return ns->len > 0 && name->len > 0;
}

/* A workload of this name, else one of those that a controller of this name made. */
static const struct workload *find_workload(const struct ask *q, const char *text)
{
    AUTO(strbuf) struct strbuf ns = {0};
    AUTO(strbuf) struct strbuf name = {0};
    const struct workload *second = NULL;
    struct world_cursor c = {0};
    const struct workload *w;
    struct ip ip;

    if (ip_parse(&ip, text, strlen(text)) == 0) {
        return world_workload_at(q->world, q->network, &ip);
    }
    if (!split_name(q, text, &ns, &name)) {
        return NULL;
    }
    while ((w = world_each_workload(q->world, &c)) != NULL) {
        if (!is(w->identity->ns, strbuf_text(&ns))) {
            continue;
        }
        if (is(w->name, strbuf_text(&name))) {
            return w;
        }
        if (!second && is(w->workload_name, strbuf_text(&name))) {
            second = w;
        }
    }
    return second;
}

static const struct service *find_named_service(const struct ask *q, const char *text)
{
    AUTO(strbuf) struct strbuf ns = {0};
    AUTO(strbuf) struct strbuf name = {0};
    struct world_cursor c = {0};
    const struct service *s;

    if (!split_name(q, text, &ns, &name)) {
        return NULL;
    }
    while ((s = world_each_service(q->world, &c)) != NULL) {
        if (is(s->ns, strbuf_text(&ns)) &&
            (is(s->name, strbuf_text(&name)) || is(s->hostname, strbuf_text(&name)))) {
            return s;
        }
    }
    return NULL;
}

static const struct service *find_host(const struct ask *q, const char *host)
{
    static const char *const endings[] = {"", ".svc.cluster.local", ".cluster.local"};
    struct host_query h = {.client_ns = strbuf_text(&q->ns)};
    const struct service *s = NULL;

    for (size_t i = 0; !s && i < ARRAY_LEN(endings); i++) {
        AUTO(strbuf) struct strbuf whole = {0};
        strbuf_printf(&whole, "%s%s", host, endings[i]);
        s = world_service_for_host(q->world, strbuf_text(&whole), &h);
    }
    return s;
}

static int find_destination(struct ask *q, struct diag *why)
{
    const char *text = strbuf_text(&q->to);
    struct ip ip;

    if (ip_parse(&ip, text, strlen(text)) == 0) {
        q->service = world_service_at(q->world, q->network, &ip, strbuf_text(&q->ns));
    } else {
        q->service = find_named_service(q, text);
        if (!q->service && !strchr(text, '/') && strchr(text, '.')) {
            q->service = find_host(q, text);
        }
    }
    q->workload = q->service ? NULL : find_workload(q, text);
    if (!q->service && !q->workload) {
        return FAIL(why, -ERR_NOT_FOUND, "no service and no workload %.200s is known", text);
    }
    return 0;
}

static int find_source(struct ask *q, struct diag *why)
{
    const char *text = strbuf_text(&q->from);

    if (slice_has_prefix(slice_of(text), "spiffe://")) {
        return identity_parse(&q->identity, text, strlen(text), why);
    }
    q->source = find_workload(q, text);
    if (!q->source) {
        return FAIL(why, -ERR_NOT_FOUND, "no workload %.90s is known%s", text,
                    strpbrk(text, "/.:") || q->ns.len > 0 ? "" : "; say NAMESPACE/NAME");
    }
    if (q->source->tunnel_protocol == TUNNEL_HBONE) {
        q->identity = identity_ref(q->source->identity);
    }
    return 0;
}

/* The only port of a service need not be said. */
static int find_port(struct ask *q, struct diag *why)
{
    if (q->port > 0 && q->service && !service_port(q->service, q->port)) {
        const struct service *s = q->service;
        return s->port_count == 0
                   ? FAIL(why, -ERR_NOT_FOUND, "service %s/%s has no port %u", s->ns, s->name,
                          q->port)
                   : FAIL(why, -ERR_NOT_FOUND, "service %s/%s has no port %u; it has %u%s", s->ns,
                          s->name, q->port, s->ports[0].service_port,
                          s->port_count > 1 ? " and more" : "");
    }
    if (q->port == 0 && q->service && q->service->port_count == 1) {
        q->port = q->service->ports[0].service_port;
    }
    if (q->port == 0) {
        const char *to = strbuf_text(&q->to);
        bool is_v6 = strchr(to, ':') != NULL;
        return FAIL(why, -ERR_RANGE, "say which port is meant: %s%.80s%s:PORT", is_v6 ? "[" : "",
                    to, is_v6 ? "]" : "");
    }
    return 0;
}

/* ---- deciding */

static struct ip address_of(const struct workload *w)
{
    return w && w->ip_count > 0 ? w->ips[0] : (struct ip){.family = IP_V4};
}

static const struct service_vip *vip_of(const struct ask *q)
{
    const struct service_vip *any = NULL;

    for (unsigned i = 0; q->service && i < q->service->vip_count; i++) {
        const struct service_vip *v = &q->service->vips[i];
        if (service_vip_is_cidr(v) || !is(v->network, q->network)) {
            continue;
        }
        if (q->source && v->prefix.ip.family == address_of(q->source).family) {
            return v;
        }
        any = any ? any : v;
    }
    return any;
}

/* Without an address of its own a service is reached at its endpoints. */
static bool find_target(const struct ask *q, struct endpoint *out)
{
    const struct service_vip *vip = vip_of(q);
    struct world_cursor c = {0};
    struct backend b;

    if (vip) {
        *out = (struct endpoint){vip->prefix.ip, q->port};
        return true;
    }
    if (q->workload) {
        *out = (struct endpoint){address_of(q->workload), q->port};
        return q->workload->ip_count > 0;
    }
    if (!world_each_backend(q->world, q->service->key, &c, &b)) {
        return false;
    }
    *out = (struct endpoint){address_of(b.workload), balance_target_port(q->service, &b, q->port)};
    return true;
}

/* Whose way is asked for. Of an identity: a workload's that has it, else it goes from the place of any
 * member, the first by name: the way hardly depends on the place. */
static bool find_walker(const struct ask *q, struct workload *out)
{
    struct world_cursor c = {0};
    const struct workload *w;
    const struct workload *any = NULL;

    if (q->source) {
        *out = *q->source;
        return out->tunnel_protocol == TUNNEL_HBONE;
    }
    while ((w = world_each_workload(q->world, &c)) != NULL) {
        if (w->tunnel_protocol != TUNNEL_HBONE) {
            continue;
        }
        if (is(w->identity->uri, q->identity->uri)) {
            *out = *w;
            return true;
        }
        any = !any || strcmp(w->uid, any->uid) < 0 ? w : any;
    }
    if (any) {
        *out = *any;
        out->identity = q->identity; /* it may be a waypoint's place, but never a waypoint */
    }
    return any != NULL;
}

static void decide_route(struct ask *q)
{
    struct workload walker;
    struct endpoint target;

    if (!find_walker(q, &walker) || !find_target(q, &target)) {
        return;
    }
    struct route_query r = {.source = &walker,
                            .network = q->network,
                            .src = {address_of(&walker), CLIENT_PORT},
                            .dst = target};
    route_decide(&q->route, q->world, &r);
    q->is_routed = true;
}

static bool is_by_waypoint(const struct ask *q)
{
    return q->is_routed && q->route.kind == ROUTE_WAYPOINT;
}

/* Who the endpoint sees: behind a waypoint that one, not the client. */
static struct rbac_conn conn_of(const struct ask *q, const struct workload *w, uint16_t port)
{
    bool waypoint = is_by_waypoint(q) && q->route.next;
    const struct workload *client = waypoint ? q->route.next : q->source;

    return (struct rbac_conn){.src = {address_of(client), CLIENT_PORT},
                              .dst = {address_of(w), port},
                              .peer = waypoint ? q->route.next->identity : q->identity};
}

/* ---- saying */

static void set_ip(struct json *o, const char *key, const struct ip *ip)
{
    char text[IP_TEXT];

    json_set_str(o, key, ip_format(ip, text));
}

static void add_checked(struct json *list, const struct policy *p, const struct rbac_conn *conn)
{
    struct json *one = json_new_object();

    if (json_count(list) >= WHY_POLICIES_MAX) {
        json_unref(one);
        return;
    }
    json_set_str(one, "policy", p->key);
    json_set_str(one, "action", p->action == POLICY_DENY ? "DENY" : "ALLOW");
    json_set_bool(one, "matches", rbac_policy_matches(p, conn));
    json_set_bool(one, "dry_run", p->dry_run);
    json_append(list, one);
}

/* Those that apply to the workload: everybody's, its namespace's, its own (contract 4.4). */
static struct json *checked(const struct ask *q, const struct workload *w,
                            const struct rbac_conn *conn)
{
    struct json *list = json_new_array();
    const char *const scopes[] = {NULL, w->identity->ns};
    const struct policy *p;

    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct world_cursor c = {0};
        while ((p = world_each_scoped(q->world, scopes[i], &c)) != NULL) {
            add_checked(list, p, conn);
        }
    }
    for (unsigned i = 0; i < w->policy_count; i++) {
        p = world_policy(q->world, w->policies[i]);
        if (p) {
            add_checked(list, p, conn);
        }
    }
    return list;
}

static const char *outcome_name(enum rbac_outcome o)
{
    return o == RBAC_ALLOW ? "allow" : o == RBAC_HOLD ? "hold" : "deny";
}

/* What no proxy stands before, nobody judges. */
static void judge(const struct ask *q, const struct workload *w, uint16_t port, struct json *o)
{
    struct rbac_conn conn = conn_of(q, w, port);
    char text[RBAC_TEXT];

    if (w->tunnel_protocol != TUNNEL_HBONE) {
        json_set_str(o, "outcome", "unjudged");
        json_set_str(o, "reason", "it is not in the mesh");
        return;
    }
    struct rbac_verdict v = rbac_decide(q->world, w, &conn);
    json_set_str(o, "peer", conn.peer ? conn.peer->uri : "");
    json_set_str(o, "outcome", outcome_name(v.outcome));
    json_set_str(o, "reason",
                 v.outcome == RBAC_ALLOW
                     ? (v.policy ? "an ALLOW policy matches" : "no policy asks for less")
                     : rbac_verdict_text(&v, text));
    json_set_str(o, "policy", v.policy ? v.policy->key : v.missing ? v.missing : "");
    json_set(o, "checked", checked(q, w, &conn));
}

static struct json *endpoint_of(const struct ask *q, const struct workload *w, uint16_t port)
{
    struct json *o = json_new_object();
    struct ip ip = address_of(w);

    json_set_str(o, "namespace", w->identity->ns);
    json_set_str(o, "name", w->name);
    set_ip(o, "address", &ip);
    json_set_int(o, "port", port);
    json_set_str(o, "node", w->node);
    json_set_bool(o, "healthy", w->status == WORKLOAD_HEALTHY);
    json_set_bool(o, "mesh", w->tunnel_protocol == TUNNEL_HBONE);
    judge(q, w, port, o);
    return o;
}

static struct json *endpoints_of(const struct ask *q)
{
    struct json *list = json_new_array();
    struct world_cursor c = {0};
    struct backend b;

    if (q->workload) {
        json_append(list, endpoint_of(q, q->workload, q->port));
        return list;
    }
    while (json_count(list) < WHY_ENDPOINTS_MAX &&
           world_each_backend(q->world, q->service->key, &c, &b)) {
        json_append(list, endpoint_of(q, b.workload, balance_target_port(q->service, &b, q->port)));
    }
    return list;
}

static struct json *from_json(const struct ask *q)
{
    struct json *o = json_new_object();

    if (q->source) {
        struct ip ip = address_of(q->source);
        json_set_str(o, "namespace", q->source->identity->ns);
        json_set_str(o, "name", q->source->name);
        json_set_str(o, "node", q->source->node);
        set_ip(o, "address", &ip);
    }
    json_set_str(o, "identity", q->identity ? q->identity->uri : "");
    json_set_bool(o, "mesh", q->identity != NULL);
    return o;
}

/* By its service's name, where it has one. */
static void set_waypoint(const struct ask *q, struct json *o, const struct gateway *g)
{
    AUTO(strbuf) struct strbuf b = {0};
    char text[IP_TEXT];

    if (gateway_is_set(g)) {
        const struct service *s =
            g->kind == GATEWAY_ADDRESS ? world_service_at(q->world, g->network, &g->ip, "") : NULL;
        if (s) {
            strbuf_puts(&b, s->key);
        } else if (g->kind == GATEWAY_HOSTNAME) {
            strbuf_printf(&b, "%s/%s", g->ns, g->hostname);
        } else {
            strbuf_puts(&b, ip_format(&g->ip, text));
        }
    }
    json_set_str(o, "waypoint", strbuf_text(&b));
}

static struct json *to_json(const struct ask *q)
{
    struct json *o = json_new_object();

    json_set_str(o, "kind", q->service ? "service" : "workload");
    json_set_str(o, "namespace", q->service ? q->service->ns : q->workload->identity->ns);
    json_set_str(o, "name", q->service ? q->service->name : q->workload->name);
    json_set_str(o, "hostname", q->service ? q->service->hostname : q->workload->hostname);
    json_set_int(o, "port", q->port);
    set_waypoint(q, o, q->service ? q->service->waypoint : q->workload->waypoint);
    return o;
}

static struct json *route_json(const struct ask *q)
{
    static const char *const kinds[] = {
        [ROUTE_DENY] = "denied", [ROUTE_PASSTHROUGH] = "plain", [ROUTE_TCP] = "plain",
        [ROUTE_HBONE] = "hbone", [ROUTE_WAYPOINT] = "waypoint", [ROUTE_DOUBLE] = "double",
    };
    struct json *o = json_new_object();
    AUTO(strbuf) struct strbuf next = {0};

    if (!q->is_routed) {
        json_set_str(o, "kind", q->source ? "plain" : "unknown");
        json_set_str(o, "reason",
                     q->source ? "the client is not in the mesh" : "only an identity is known");
        return o;
    }
    if (q->route.next) {
        strbuf_printf(&next, "%s/%s", q->route.next->identity->ns, q->route.next->name);
    }
    json_set_str(o, "kind", kinds[q->route.kind]);
    json_set_str(o, "reason",
                 q->route.kind == ROUTE_DENY ? route_reason_text(q->route.reason) : "");
    json_set_str(o, "detail", q->route.kind == ROUTE_DENY ? q->route.detail.text : "");
    json_set_str(o, "next", strbuf_text(&next));
    return o;
}

struct tally {
    unsigned all;
    unsigned allowed;
    unsigned held;
    const struct json *worst;
};

static struct tally count(const struct json *endpoints)
{
    struct tally t = {0};

    for (size_t i = 0; i < json_count(endpoints); i++) {
        const struct json *e = json_item(endpoints, i);
        const char *outcome = json_str_at(e, "outcome", "");
        if (!json_bool_at(e, "healthy", false)) {
            continue;
        }
        t.all++;
        if (is(outcome, "allow") || is(outcome, "unjudged")) {
            t.allowed++;
        } else {
            t.held += is(outcome, "hold");
            t.worst = t.worst ? t.worst : e;
        }
    }
    return t;
}

static void conclude(const struct ask *q, struct json *o)
{
    struct tally t = count(json_get(o, "endpoints"));
    const char *verdict = "allow";
    const char *text = "";

    if (q->is_routed && q->route.kind == ROUTE_DENY) {
        verdict = "deny";
        text = route_reason_text(q->route.reason);
    } else if (t.all == 0) {
        verdict = "deny";
        text = "no endpoint is healthy";
    } else if (t.allowed < t.all) {
        verdict = t.allowed > 0 ? "partly" : t.held == t.all ? "hold" : "deny";
        text = json_str_at(t.worst, "reason", "");
    }
    json_set_str(o, "verdict", verdict);
    json_set_str(o, "text", text);
}

/* ---- the whole */

static int read_query(struct ask *q, struct slice query, struct diag *why)
{
    AUTO(strbuf) struct strbuf port = {0};
    uint32_t number = 0;
    int r = url_query_get(query, "from", &q->from);

    r = r < 0 ? r : url_query_get(query, "to", &q->to);
    r = r < 0 ? r : url_query_get(query, "ns", &q->ns);
    r = r < 0 ? r : url_query_get(query, "port", &port);
    if (r < 0 || q->from.len == 0 || q->to.len == 0) {
        return FAIL(why, -ERR_SYNTAX, "ask with ?from=NS/WORKLOAD&to=NS/SERVICE&port=PORT");
    }
    if (port.len > 0 && num_parse_u32(port.p, port.len, UINT16_MAX, &number) < 0) {
        return FAIL(why, -ERR_SYNTAX, "port: a number up to 65535 is needed");
    }
    q->port = (uint16_t)number;
    return 0;
}

static int find_all(struct ask *q, struct diag *why)
{
    int r = find_source(q, why);

    if (r == 0 && q->ns.len == 0 && q->source) {
        strbuf_puts(&q->ns, q->source->identity->ns);
    }
    if (r == 0) {
        r = find_destination(q, why);
    }
    return r < 0 ? r : find_port(q, why);
}

struct json *why_answer(const struct world *w, const char *network, struct slice query,
                        struct diag *why)
{
    struct ask q = {.world = w, .network = network};
    struct json *o = NULL;
    int r = read_query(&q, query, why);

    if (r == 0) {
        r = find_all(&q, why);
    }
    if (r == 0) {
        decide_route(&q);
        o = json_new_object();
        json_set(o, "from", from_json(&q));
        json_set(o, "to", to_json(&q));
        json_set(o, "route", route_json(&q));
        json_set(o, "endpoints", endpoints_of(&q));
        conclude(&q, o);
    }
    ask_fini(&q);
    return o;
}

void why_render(const struct world *w, const char *network, struct slice query, unsigned *status,
                struct strbuf *out)
{
    struct diag why = {0};
    AUTO(json) struct json *o = why_answer(w, network, query, &why);

    if (!o) {
        *status = why.code == -ERR_NOT_FOUND ? 404 : 400;
        o = json_new_object();
        json_set_str(o, "error", why.text);
    }
    json_print(o, JSON_PRINT_INDENT, out);
}
