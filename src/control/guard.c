/* SPDX-License-Identifier: Apache-2.0 */
#include "control/guard.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

enum { GATEWAYS_MAX = 4 }; /* that guard one port; beyond, the port is closed for the others */

struct guard {
    struct map_node by_key;
    unsigned users;
    char *key; /* "ns/name" */
};

struct admitted {
    const struct gateway_item *gateway;
    const char *account;
};

/* A port of a pod, and who may come there. */
struct guarded {
    uint16_t port; /* 0: all */
    bool is_open;
    struct admitted by[GATEWAYS_MAX];
    unsigned count;
};

struct guarded_ports {
    struct guarded at[GUARDS_MAX];
    unsigned count;
    bool is_full; /* there were more */
};

const char *guard_key(const struct guard *g)
{
    return g->key;
}

/* ---- the authorization */

static const char *principal_of(const struct index *x, const struct admitted *w, struct arena *a)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text, "%s/ns/%s/sa/%s", x->mesh->trust_domain, w->gateway->space->name,
                  w->account);
    return arena_text(a, strbuf_text(&text), text.len);
}

/* One match: not one of these, and on this port (contract 4.2: both have to hold). */
static void publish(struct index *x, const struct guard *guard, const struct guarded *w)
{
    AUTO(arena) struct arena a = {0};
    struct str_match *names = arena_array(&a, w->count, sizeof(*names));
    const char *slash = strchr(guard->key, '/');
    struct policy_match match = {.not_principals = {names, w->count},
                                 .destination_ports = {&w->port, w->port > 0 ? 1 : 0}};
    struct policy_clause clause = {&match, 1};
    struct policy_rule rule = {&clause, 1};
    struct policy p = {.ns = arena_text(&a, guard->key, (size_t)(slash - guard->key)),
                       .name = slash + 1,
                       .scope = SCOPED_WORKLOAD,
                       .action = POLICY_DENY,
                       .rules = &rule,
                       .rule_count = 1};

    for (unsigned i = 0; i < w->count; i++) {
        names[i] = (struct str_match){.kind = MATCH_EXACT, .text = principal_of(x, &w->by[i], &a)};
    }
    strbuf_clear(&x->wire);
    xds_policy_encode(&x->wire, &p);
    (void)catalog_put(x->policies, guard->key, (struct slice){x->wire.p, x->wire.len});
}

/* What it says follows from its name. Kubernetes allows no '_' in names: no policy of a user has it. */
static void write_key(const struct guarded *w, struct strbuf *out)
{
    strbuf_printf(out, "%s/ambit_only", w->by[0].gateway->space->name);
    for (unsigned i = 0; i < w->count; i++) {
        strbuf_printf(out, "_%s_%s", w->by[i].gateway->space->name, w->by[i].account);
    }
    strbuf_printf(out, "_%u", w->port);
}

static struct guard *guard_use(struct index *x, const struct guarded *w)
{
    AUTO(strbuf) struct strbuf key = {0};

    write_key(w, &key);
    uint64_t hash = map_hash_str(strbuf_text(&key));
    for (struct map_node *n = map_find(&x->guards, hash); n; n = map_find_next(n)) {
        struct guard *g = container_of(n, struct guard, by_key);
        if (strcmp(g->key, strbuf_text(&key)) == 0) {
            g->users++;
            return g;
        }
    }
    struct guard *g = mem_new(struct guard);
    g->users = 1;
    g->key = strbuf_take(&key);
    map_insert(&x->guards, &g->by_key, hash);
    publish(x, g, w);
    return g;
}

static void guard_unuse(struct index *x, struct guard *g)
{
    if (--g->users == 0) {
        (void)catalog_remove(x->policies, g->key); /* it was put when it was made */
        map_remove(&x->guards, &g->by_key);
        mem_free(g->key);
        mem_free(g);
    }
}

/* ---- what a pod's ports ask for */

static struct guarded *port_at(struct guarded_ports *all, uint16_t port)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (all->at[i].port == port) {
            return &all->at[i];
        }
    }
    if (all->count == GUARDS_MAX) {
        all->is_full = true;
        return NULL;
    }
    all->at[all->count] = (struct guarded){.port = port};
    return &all->at[all->count++];
}

static void admit(struct guarded *w, const struct gateway_item *g, const char *account)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (w->by[i].gateway == g) {
            return;
        }
    }
    if (w->count < GATEWAYS_MAX) {
        w->by[w->count++] = (struct admitted){g, account};
    }
}

/* The waypoints that take a service's traffic there. */
static void add_gateways(struct guarded *w, const struct guarding *g)
{
    admit(w, g->by ? g->by : g->bound, g->account);
    if (g->other) {
        admit(w, g->other, g->other_account);
    }
}

static uint16_t target_of(const struct service_port_facts *f, const struct pod_item *p)
{
    return f->target > 0 ? f->target : pod_facts_port(&p->f, f->target_name);
}

static void add_guarded(struct guarded_ports *all, const struct pod_item *p,
                        const struct service_item *service)
{
    const struct service_facts *s = &service->f;

    for (unsigned i = 0; i < s->port_count; i++) {
        uint16_t target = s->ports[i].is_tcp ? target_of(&s->ports[i], p) : 0;
        struct guarded *w = target > 0 ? port_at(all, target) : NULL;
        if (w) {
            add_gateways(w, &service->guarding);
        }
    }
}

/* Others come to a port directly, and closing it would break them, or by a waypoint of their own. */
static void open_shared(struct guarded_ports *all, const struct pod_item *p,
                        const struct service_item *service)
{
    const struct service_facts *s = &service->f;

    for (unsigned i = 0; i < s->port_count; i++) {
        uint16_t target = target_of(&s->ports[i], p);
        for (unsigned k = 0; k < all->count; k++) {
            if (all->at[k].port != target) {
                continue;
            }
            if (service->guarding.bound && !service->guarding.is_turning) {
                add_gateways(&all->at[k], &service->guarding);
            } else {
                all->at[k].is_open = true;
            }
        }
    }
}

/* Whoever may write EndpointSlices makes a service of another namespace out of any pod: such a service
 * says nothing about who may come to it. */
static bool is_asked(const struct pod_item *p, const struct service_item *service)
{
    return service->space == p->space;
}

/* More ports than are counted: none of them may stay open for that. */
static void close_all(const struct pod_item *p, const struct service_item *const *services,
                      unsigned count, struct guarded_ports *out)
{
    *out = (struct guarded_ports){.count = 1};
    for (unsigned i = 0; i < count; i++) {
        if (is_asked(p, services[i]) && services[i]->guarding.by) {
            add_gateways(&out->at[0], &services[i]->guarding);
        }
    }
}

static void find_ports(const struct pod_item *p, const struct service_item *const *services,
                       unsigned count, struct guarded_ports *out)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_asked(p, services[i]) && services[i]->guarding.by) {
            add_guarded(out, p, services[i]);
        }
    }
    if (out->is_full) {
        close_all(p, services, count, out);
        return;
    }
    for (unsigned i = 0; i < count && out->count > 0; i++) {
        if (is_asked(p, services[i]) && !services[i]->guarding.by) {
            open_shared(out, p, services[i]);
        }
    }
}

static int by_name(const void *a, const void *b)
{
    const struct admitted *x = a;
    const struct admitted *y = b;
    int r = strcmp(x->gateway->space->name, y->gateway->space->name);

    return r != 0 ? r : strcmp(x->gateway->name, y->gateway->name);
}

static int by_key(const void *a, const void *b)
{
    const struct guard *const *x = a;
    const struct guard *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

void guards_take(struct index *x, struct pod_item *p, const struct service_item *const *services,
                 unsigned count)
{
    struct guarded_ports ports = {.count = 0};
    struct guard *next[GUARDS_MAX];
    unsigned n = 0;

    if (!is_waypoint_pod(x, p)) {
        find_ports(p, services, count, &ports);
    }
    for (unsigned i = 0; i < ports.count; i++) {
        if (!ports.at[i].is_open) {
            qsort(ports.at[i].by, ports.at[i].count, sizeof(ports.at[i].by[0]), by_name);
            next[n++] = guard_use(x, &ports.at[i]);
        }
    }
    guards_drop(x, p);
    if (n > 0) {
        qsort(next, n, sizeof(struct guard *), by_key);
        p->guards = mem_array(n, sizeof(struct guard *));
        memcpy(p->guards, next, n * sizeof(struct guard *));
        p->guard_count = n;
    }
}

void guards_drop(struct index *x, struct pod_item *p)
{
    for (unsigned i = 0; i < p->guard_count; i++) {
        guard_unuse(x, p->guards[i]);
    }
    mem_free(p->guards);
    p->guards = NULL;
    p->guard_count = 0;
}
