/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that was told about one service, put together. Made anew when any of it changes; what
 * costs most, key sets and route tables of many ports, is shared where it can be. */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/const_int.h"
#include "model/l7_int.h"
#include "model/l7_table.h"

/* The resources of one type, sorted by name. */
struct gathered {
    const void **at;
    size_t count;
};

struct parts {
    struct gathered of[L7_TYPES];
};

/* ---- gathering */

static int by_binding_name(const void *a, const void *b)
{
    return strcmp(l7_resource_name(L7_TYPE_BINDING, *(const void *const *)a),
                  l7_resource_name(L7_TYPE_BINDING, *(const void *const *)b));
}

/* Rules for everybody first, then those of each consumer. */
static int by_consumer(const void *a, const void *b)
{
    const struct l7_route *x = *(const struct l7_route *const *)a;
    const struct l7_route *y = *(const struct l7_route *const *)b;
    int c = strcmp(x->consumer, y->consumer);

    return c != 0 ? c : strcmp(x->resource, y->resource);
}

static int by_policy_name(const void *a, const void *b)
{
    return strcmp(l7_resource_name(L7_TYPE_POLICY, *(const void *const *)a),
                  l7_resource_name(L7_TYPE_POLICY, *(const void *const *)b));
}

static int by_traffic_name(const void *a, const void *b)
{
    return strcmp(l7_resource_name(L7_TYPE_TRAFFIC, *(const void *const *)a),
                  l7_resource_name(L7_TYPE_TRAFFIC, *(const void *const *)b));
}

static struct gathered gather(const struct l7 *w, enum l7_type type, const char *key)
{
    static int (*const order[L7_TYPES])(const void *, const void *) = {
        by_binding_name, by_consumer, by_policy_name, by_traffic_name};
    struct table_seek s = table_seek(&w->by_service[type], map_hash_str(key));
    struct gathered g = {.at = NULL};
    size_t room = 0;

    for (const void *v; (v = table_seek_next(&s));) {
        if (strcmp(l7_resource_service(type, v), key) != 0) {
            continue;
        }
        if (g.count == room) {
            room = room > 0 ? room * 2 : 8;
            g.at = mem_resize(g.at, room * sizeof(*g.at));
        }
        g.at[g.count++] = v;
    }
    if (g.count > 1) {
        qsort(g.at, g.count, sizeof(*g.at), order[type]);
    }
    return g;
}

/* ---- policies with their keys */

static struct l7_jwks *jwks_ref(struct l7_jwks *k)
{
    if (k) {
        aref_get(&k->refs);
    }
    return k;
}

static void jwks_unref(struct l7_jwks *k)
{
    if (k && aref_put(&k->refs)) {
        k->free(k);
    }
}

static const struct l7_placed *placed_before(const struct l7_service *old,
                                             const struct l7_policy *p)
{
    for (size_t i = 0; old && i < old->authentication.count; i++) {
        if (old->authentication.at[i].policy == p) {
            return &old->authentication.at[i];
        }
    }
    return NULL;
}

static struct l7_placed place(const struct l7 *w, const struct l7_policy *p,
                              const struct l7_service *old)
{
    const struct l7_placed *before = placed_before(old, p);
    struct l7_jwks **keys = NULL;

    if (p->jwt_rule_count > 0) {
        keys = mem_array(p->jwt_rule_count, sizeof(struct l7_jwks *));
    }
    for (size_t i = 0; i < p->jwt_rule_count; i++) {
        if (before) {
            keys[i] = jwks_ref(before->keys[i]);
        } else if (w->maker && p->jwt_rules[i].jwks[0] != '\0') {
            keys[i] = w->maker->make(p->jwt_rules[i].jwks);
        }
    }
    return (struct l7_placed){l7_policy_ref(p), keys};
}

static struct l7_policies place_all(const struct l7 *w, const struct gathered *g,
                                    enum l7_policy_kind kind, const struct l7_service *old)
{
    struct l7_placed *all = mem_array(g->count + 1, sizeof(*all));
    size_t n = 0;

    for (size_t i = 0; i < g->count; i++) {
        const struct l7_policy *p = g->at[i];
        if (p->kind == kind) {
            all[n++] = place(w, p, old);
        }
    }
    return (struct l7_policies){all, n};
}

static void policies_fini(struct l7_policies *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct l7_placed *p = &all->at[i];
        for (size_t k = 0; k < p->policy->jwt_rule_count; k++) {
            jwks_unref(p->keys[k]);
        }
        mem_free(unconst(p->keys));
        (void)l7_policy_unref(p->policy); /* NULL */
    }
    mem_free(unconst(all->at));
}

/* ---- ports */

/* The routes of one kind for one port, in the order of their names. */
static size_t select_routes(const struct gathered *g, uint16_t port, enum l7_route_kind kind,
                            const struct l7_route **out)
{
    size_t n = 0;

    for (size_t i = 0; i < g->count; i++) {
        const struct l7_route *r = g->at[i];
        if (r->kind == kind && (r->port == port || r->port == 0)) {
            out[n++] = r;
        }
    }
    return n;
}

/* Of several TCPRoutes the oldest counts, of one route its first rule. */
static const struct l7_route *first_route(const struct l7_route *const *routes, size_t n)
{
    const struct l7_table *t = n > 0 ? l7_table_new(routes, n) : NULL;
    const struct l7_route *first = t ? l7_table_entry(t, 0)->route : NULL;

    (void)l7_table_unref(t); /* NULL */
    return first;
}

struct selection { /* what the last table was made of */
    const struct l7_route **routes;
    size_t count;
    const struct l7_table *table; /* borrowed from the port that has it */
};

static const struct l7_table *table_for(struct selection *last, const struct l7_route **routes,
                                        size_t n)
{
    if (last->table && last->count == n && memcmp(last->routes, routes, n * sizeof(*routes)) == 0) {
        return l7_table_ref(last->table);
    }
    memcpy(last->routes, routes, n * sizeof(*routes));
    last->count = n;
    last->table = l7_table_new(routes, n);
    return last->table;
}

/* GRPCRoutes hide HTTPRoutes, and these TCPRoutes: kinds are not mixed on a port. */
static struct l7_rules compile_rules(uint16_t port, const struct gathered *set,
                                     const struct l7_route **scratch, struct selection *last)
{
    size_t n = select_routes(set, port, L7_GRPC_ROUTE, scratch);

    if (n == 0) {
        n = select_routes(set, port, L7_HTTP_ROUTE, scratch);
    }
    if (n > 0) {
        return (struct l7_rules){.table = table_for(last, scratch, n)};
    }
    n = select_routes(set, port, L7_TCP_ROUTE, scratch);
    return (struct l7_rules){.tcp = l7_route_ref(first_route(scratch, n))};
}

/* The rules from first on that are for the same clients. */
static struct gathered set_at(const struct gathered *g, size_t first)
{
    const struct l7_route *r = first < g->count ? g->at[first] : NULL;
    struct gathered set = {.at = g->at + first};

    for (size_t i = first; i < g->count; i++) {
        const struct l7_route *other = g->at[i];
        if (strcmp(other->consumer, r->consumer) != 0) {
            break;
        }
        set.count++;
    }
    return set;
}

static void add_consumer(struct l7_port *p, struct l7_rules rules)
{
    struct l7_consumer *all = unconst(p->consumers);

    if (rules.table || rules.tcp) {
        /* Of one that is held with the rules: others of the set may be hidden, and go. */
        const char *ns =
            rules.table ? l7_table_entry(rules.table, 0)->route->consumer : rules.tcp->consumer;
        all = mem_resize(all, (p->consumer_count + 1) * sizeof(*all));
        all[p->consumer_count++] = (struct l7_consumer){ns, rules};
        p->consumers = all;
    }
}

static void compile_consumers(struct l7_port *ports, size_t count, const struct gathered *g,
                              size_t first, const struct l7_route **scratch)
{
    struct gathered set = {.count = 0};

    for (; first < g->count; first += set.count) {
        struct selection last = {.routes = scratch + g->count};
        set = set_at(g, first);
        for (size_t i = 0; i < count; i++) {
            add_consumer(&ports[i], compile_rules(ports[i].port, &set, scratch, &last));
        }
    }
}

static void compile_ports(struct l7_service *s, const struct gathered *g)
{
    size_t count = s->binding->port_count;
    struct l7_port *ports = mem_array(count + 1, sizeof(*ports));
    const struct l7_route **scratch = mem_array(2 * g->count + 1, sizeof(struct l7_route *));
    struct selection last = {.routes = scratch + g->count};
    struct gathered everybody = set_at(g, 0);

    if (everybody.count > 0 && *((const struct l7_route *)everybody.at[0])->consumer) {
        everybody.count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        ports[i] = (struct l7_port){.port = s->binding->ports[i].port,
                                    .protocol = s->binding->ports[i].protocol};
        ports[i].traffic = l7_service_traffic(s, ports[i].port);
        ports[i].rules = compile_rules(ports[i].port, &everybody, scratch, &last);
    }
    compile_consumers(ports, count, g, everybody.count, scratch);
    mem_free(scratch);
    s->ports = ports;
    s->port_count = count;
}

static void rules_fini(const struct l7_rules *r)
{
    (void)l7_table_unref(r->table); /* NULL, as below */
    (void)l7_route_unref(r->tcp);
}

static void port_fini(const struct l7_port *p)
{
    rules_fini(&p->rules);
    for (size_t i = 0; i < p->consumer_count; i++) {
        rules_fini(&p->consumers[i].rules);
    }
    mem_free(unconst(p->consumers));
}

static int by_namespace(const void *key, const void *element)
{
    const struct l7_consumer *c = element;

    return strcmp(key, c->ns);
}

struct l7_rules l7_port_rules(const struct l7_port *p, const struct identity *peer)
{
    const struct l7_consumer *own = NULL;

    if (peer && p->consumer_count > 0) {
        own = bsearch(peer->ns, p->consumers, p->consumer_count, sizeof(*own), by_namespace);
    }
    return own ? own->rules : p->rules;
}

/* ---- the whole */

static void keep_traffic(struct l7_service *s, const struct gathered *g)
{
    const struct l7_traffic **all = mem_array(g->count + 1, sizeof(struct l7_traffic *));

    for (size_t i = 0; i < g->count; i++) {
        all[i] = l7_traffic_ref(g->at[i]);
    }
    s->traffic = all;
    s->traffic_count = g->count;
}

static struct l7_service *compile(const struct l7 *w, const char *key, const struct parts *p,
                                  const struct l7_service *old)
{
    struct l7_service *s = mem_new(struct l7_service);

    aref_init(&s->refs);
    s->key = mem_strdup(key);
    s->authorization = place_all(w, &p->of[L7_TYPE_POLICY], L7_AUTHORIZATION, old);
    s->authentication = place_all(w, &p->of[L7_TYPE_POLICY], L7_REQUEST_AUTHENTICATION, old);
    keep_traffic(s, &p->of[L7_TYPE_TRAFFIC]);
    if (p->of[L7_TYPE_BINDING].count > 0) {
        s->binding = l7_binding_ref(p->of[L7_TYPE_BINDING].at[0]);
        compile_ports(s, &p->of[L7_TYPE_ROUTE]);
    }
    return s;
}

struct l7_service *l7_service_compile(const struct l7 *w, const char *key,
                                      const struct l7_service *old)
{
    struct parts p;
    struct l7_service *s = NULL;
    size_t all = 0;

    for (unsigned i = 0; i < L7_TYPES; i++) {
        p.of[i] = gather(w, (enum l7_type)i, key);
        all += p.of[i].count;
    }
    if (all > 0) {
        s = compile(w, key, &p, old);
    }
    for (unsigned i = 0; i < L7_TYPES; i++) {
        mem_free(p.of[i].at);
    }
    return s;
}

const struct l7_service *l7_service_ref(const struct l7_service *s)
{
    if (s) {
        aref_get(&((struct l7_service *)unconst(s))->refs);
    }
    return s;
}

const struct l7_service *l7_service_unref(const struct l7_service *s)
{
    struct l7_service *mine = unconst(s);

    if (!mine || !aref_put(&mine->refs)) {
        return NULL;
    }
    for (size_t i = 0; i < mine->port_count; i++) {
        port_fini(&mine->ports[i]);
    }
    for (size_t i = 0; i < mine->traffic_count; i++) {
        (void)l7_traffic_unref(mine->traffic[i]); /* NULL, as below */
    }
    policies_fini(&mine->authorization);
    policies_fini(&mine->authentication);
    (void)l7_binding_unref(mine->binding);
    mem_free(unconst(mine->traffic));
    mem_free(unconst(mine->ports));
    mem_free(unconst(mine->key));
    mem_free(mine);
    return NULL;
}
