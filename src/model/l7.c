/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/const_int.h"
#include "model/l7_int.h"

/* ---- the four types alike */

const char *l7_resource_name(enum l7_type type, const void *resource)
{
    switch (type) {
    case L7_TYPE_BINDING:
        return ((const struct l7_binding *)resource)->resource;
    case L7_TYPE_ROUTE:
        return ((const struct l7_route *)resource)->resource;
    case L7_TYPE_POLICY:
        return ((const struct l7_policy *)resource)->resource;
    case L7_TYPE_TRAFFIC:
    case L7_TYPES:
        break;
    }
    return ((const struct l7_traffic *)resource)->resource;
}

const char *l7_resource_service(enum l7_type type, const void *resource)
{
    switch (type) {
    case L7_TYPE_BINDING:
        return ((const struct l7_binding *)resource)->key;
    case L7_TYPE_ROUTE:
        return ((const struct l7_route *)resource)->service;
    case L7_TYPE_POLICY:
        return ((const struct l7_policy *)resource)->service;
    case L7_TYPE_TRAFFIC:
    case L7_TYPES:
        break;
    }
    return ((const struct l7_traffic *)resource)->service;
}

const char *l7_resource_version(enum l7_type type, const void *resource)
{
    switch (type) {
    case L7_TYPE_BINDING:
        return ((const struct l7_binding *)resource)->version;
    case L7_TYPE_ROUTE:
        return ((const struct l7_route *)resource)->version;
    case L7_TYPE_POLICY:
        return ((const struct l7_policy *)resource)->version;
    case L7_TYPE_TRAFFIC:
    case L7_TYPES:
        break;
    }
    return ((const struct l7_traffic *)resource)->version;
}

static void ref_binding(const void *v)
{
    (void)l7_binding_ref(v); /* the same pointer, as below */
}

static void unref_binding(const void *v)
{
    (void)l7_binding_unref(v);
}

static void ref_route(const void *v)
{
    (void)l7_route_ref(v);
}

static void unref_route(const void *v)
{
    (void)l7_route_unref(v);
}

static void ref_policy(const void *v)
{
    (void)l7_policy_ref(v);
}

static void unref_policy(const void *v)
{
    (void)l7_policy_unref(v);
}

static void ref_traffic(const void *v)
{
    (void)l7_traffic_ref(v);
}

static void unref_traffic(const void *v)
{
    (void)l7_traffic_unref(v);
}

static void ref_service(const void *v)
{
    (void)l7_service_ref(v);
}

static void unref_service(const void *v)
{
    (void)l7_service_unref(v);
}

const struct table_owner *l7_resource_owner(enum l7_type type)
{
    static const struct table_owner owners[L7_TYPES] = {
        [L7_TYPE_BINDING] = {ref_binding, unref_binding},
        [L7_TYPE_ROUTE] = {ref_route, unref_route},
        [L7_TYPE_POLICY] = {ref_policy, unref_policy},
        [L7_TYPE_TRAFFIC] = {ref_traffic, unref_traffic},
    };

    return &owners[type];
}

const struct table_owner l7_service_owner = {ref_service, unref_service};

/* ---- life */

static void free_snap(struct snap *s)
{
    struct l7 *w = container_of(s, struct l7, snap);

    table_fini(&w->services, &l7_service_owner);
    for (unsigned i = 0; i < L7_TYPES; i++) {
        table_fini(&w->by_service[i], NULL);
        table_fini(&w->by_name[i], l7_resource_owner((enum l7_type)i));
    }
    (void)l7_service_unref(w->waypoint); /* NULL */
    mem_free(w);
}

struct l7 *l7_alloc(struct snap_bin *bin, const struct l7_jwks_maker *maker)
{
    struct l7 *w = mem_new(struct l7);

    snap_init(&w->snap, bin, free_snap);
    w->maker = maker;
    return w;
}

const struct l7 *l7_new(struct snap_bin *bin, const struct l7_jwks_maker *maker)
{
    return l7_alloc(bin, maker);
}

const struct l7 *l7_ref(const struct l7 *w)
{
    (void)snap_ref(l7_snap(w)); /* the same pointer */
    return w;
}

const struct l7 *l7_unref(const struct l7 *w)
{
    (void)snap_unref(w ? l7_snap(w) : NULL); /* NULL */
    return NULL;
}

struct snap *l7_snap(const struct l7 *w)
{
    return &((struct l7 *)unconst(w))->snap;
}

const struct l7 *l7_of_snap(struct snap *s)
{
    return s ? container_of(s, struct l7, snap) : NULL;
}

/* ---- reading */

uint64_t l7_generation(const struct l7 *w)
{
    return w->generation;
}

uint64_t l7_policy_generation(const struct l7 *w)
{
    return w->policy_generation;
}

const void *l7_find(const struct l7 *w, enum l7_type type, const char *name)
{
    struct table_seek s = table_seek(&w->by_name[type], map_hash_str(name));

    for (const void *v; (v = table_seek_next(&s));) {
        if (strcmp(l7_resource_name(type, v), name) == 0) {
            return v;
        }
    }
    return NULL;
}

const struct l7_service *l7_service_find(const struct l7 *w, const char *key)
{
    struct table_seek s = table_seek(&w->services, map_hash_str(key));

    for (const struct l7_service *v; (v = table_seek_next(&s));) {
        if (strcmp(v->key, key) == 0) {
            return v;
        }
    }
    return NULL;
}

const struct l7_port *l7_service_port(const struct l7_service *s, uint16_t port)
{
    size_t low = 0;
    size_t high = s->port_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->ports[mid].port < port) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < s->port_count && s->ports[low].port == port ? &s->ports[low] : NULL;
}

const struct l7_traffic *l7_service_traffic(const struct l7_service *s, uint16_t port)
{
    const struct l7_traffic *general = NULL;

    for (size_t i = 0; s && i < s->traffic_count; i++) {
        if (s->traffic[i]->port == port) {
            return s->traffic[i];
        }
        if (s->traffic[i]->port == 0 && !general) {
            general = s->traffic[i];
        }
    }
    return general;
}

struct l7_policies l7_authorization(const struct l7 *w)
{
    return w->waypoint ? w->waypoint->authorization : (struct l7_policies){NULL, 0};
}

struct l7_policies l7_authentication(const struct l7 *w)
{
    return w->waypoint ? w->waypoint->authentication : (struct l7_policies){NULL, 0};
}

bool l7_asks_for_tokens(const struct l7 *w, const struct l7_service *s)
{
    return (w && l7_authentication(w).count > 0) || (s && s->authentication.count > 0);
}

size_t l7_count(const struct l7 *w, enum l7_type type)
{
    return w->by_name[type].count;
}

const struct l7_service *l7_each_service(const struct l7 *w, struct l7_cursor *c)
{
    return table_each(&w->services, &c->shard, &c->at);
}
