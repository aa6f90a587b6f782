/* SPDX-License-Identifier: Apache-2.0 */
/* Changes are gathered by resource name, turned into edits of the tables of resources, and then every
 * service that one of them belonged to, before or after, is compiled again. */
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "model/l7_int.h"

struct change {
    struct map_node by_name;
    struct list in_order;
    enum l7_type type;
    const void *old; /* base's; NULL: base has none */
    const void *now; /* one reference; NULL: it goes */
};

struct l7_delta {
    const struct l7 *base;
    struct map by_name[L7_TYPES];
    struct list in_order;
};

struct l7_delta *l7_delta_new(const struct l7 *base)
{
    struct l7_delta *d = mem_new(struct l7_delta);

    d->base = l7_ref(base);
    list_init(&d->in_order);
    for (unsigned i = 0; i < L7_TYPES; i++) {
        map_init(&d->by_name[i]);
    }
    return d;
}

static void unref(enum l7_type type, const void *v)
{
    if (v) {
        l7_resource_owner(type)->unref(v);
    }
}

static struct change *find(const struct l7_delta *d, enum l7_type type, const char *name,
                           uint64_t hash)
{
    for (struct map_node *n = map_find(&d->by_name[type], hash); n; n = map_find_next(n)) {
        struct change *c = container_of(n, struct change, by_name);
        if (strcmp(l7_resource_name(type, c->now ? c->now : c->old), name) == 0) {
            return c;
        }
    }
    return NULL;
}

static void forget(struct l7_delta *d, struct change *c)
{
    map_remove(&d->by_name[c->type], &c->by_name);
    list_remove(&c->in_order);
    unref(c->type, c->now);
    mem_free(c);
}

static void add(struct l7_delta *d, enum l7_type type, uint64_t hash, const void *old,
                const void *now)
{
    struct change *c = mem_new(struct change);

    *c = (struct change){.type = type, .old = old, .now = now};
    map_insert(&d->by_name[type], &c->by_name, hash);
    list_append(&d->in_order, &c->in_order);
}

void l7_delta_free(struct l7_delta *d)
{
    if (!d) {
        return;
    }
    list_for_each_safe (at, &d->in_order) {
        forget(d, container_of(at, struct change, in_order));
    }
    for (unsigned i = 0; i < L7_TYPES; i++) {
        map_fini(&d->by_name[i]);
    }
    d->base = l7_unref(d->base);
    mem_free(d);
}

size_t l7_delta_count(const struct l7_delta *d)
{
    size_t n = 0;

    for (unsigned i = 0; i < L7_TYPES; i++) {
        n += d->by_name[i].count;
    }
    return n;
}

/* What is held now for a name, be it in the delta or in the base. */
static const void *held(const struct l7_delta *d, enum l7_type type, const char *name)
{
    const struct change *c = find(d, type, name, map_hash_str(name));

    return c ? c->now : l7_find(d->base, type, name);
}

/* The control plane's word; without one nobody knows. */
static bool is_same(enum l7_type type, const void *a, const void *b)
{
    const char *version = l7_resource_version(type, a);

    return *version != '\0' && strcmp(version, l7_resource_version(type, b)) == 0;
}

static bool put(struct l7_delta *d, enum l7_type type, const void *take_v)
{
    const char *name = l7_resource_name(type, take_v);
    uint64_t hash = map_hash_str(name);
    const void *now = held(d, type, name);

    if (now && is_same(type, now, take_v)) {
        unref(type, take_v);
        return false;
    }
    struct change *c = find(d, type, name, hash);
    const void *old = c ? c->old : l7_find(d->base, type, name);
    if (c) {
        forget(d, c);
    }
    add(d, type, hash, old, take_v);
    return true;
}

bool l7_put_binding(struct l7_delta *d, const struct l7_binding *take_b)
{
    return put(d, L7_TYPE_BINDING, take_b);
}

bool l7_put_route(struct l7_delta *d, const struct l7_route *take_r)
{
    return put(d, L7_TYPE_ROUTE, take_r);
}

bool l7_put_policy(struct l7_delta *d, const struct l7_policy *take_p)
{
    const struct l7_policy *now = held(d, L7_TYPE_POLICY, take_p->resource);

    if (take_p->broken && now && !now->broken) {
        (void)l7_policy_unref(take_p); /* NULL */
        return false;
    }
    return put(d, L7_TYPE_POLICY, take_p);
}

bool l7_put_traffic(struct l7_delta *d, const struct l7_traffic *take_t)
{
    return put(d, L7_TYPE_TRAFFIC, take_t);
}

bool l7_remove(struct l7_delta *d, enum l7_type type, const char *resource)
{
    uint64_t hash = map_hash_str(resource);
    struct change *c = find(d, type, resource, hash);
    const void *old = c ? c->old : l7_find(d->base, type, resource);
    bool was_there = c ? c->now != NULL : old != NULL;

    if (!was_there) {
        return false;
    }
    if (c) {
        forget(d, c);
    }
    if (old) {
        add(d, type, hash, old, NULL);
    }
    return true;
}

/* ---- the next one */

/* Service keys that a change touches, each once. */
struct touched_key {
    struct map_node node;
    const char *key; /* of a resource that outlives this */
};

static void touch(struct map *m, enum l7_type type, const void *resource)
{
    const char *key = resource ? l7_resource_service(type, resource) : NULL;
    uint64_t hash = key ? map_hash_str(key) : 0;

    if (!key) {
        return;
    }
    for (struct map_node *n = map_find(m, hash); n; n = map_find_next(n)) {
        if (strcmp(container_of(n, struct touched_key, node)->key, key) == 0) {
            return;
        }
    }
    struct touched_key *t = mem_new(struct touched_key);
    t->key = key;
    map_insert(m, &t->node, hash);
}

static void edit(struct table_edits *by_name, struct table_edits *by_service, enum l7_type type,
                 const void *resource, bool in)
{
    if (resource) {
        table_edits_add(by_name, map_hash_str(l7_resource_name(type, resource)), resource, in);
        table_edits_add(by_service, map_hash_str(l7_resource_service(type, resource)), resource,
                        in);
    }
}

static void next_resources(struct l7 *w, const struct l7_delta *d)
{
    struct table_edits by_name[L7_TYPES] = {{.at = NULL}};
    struct table_edits by_service[L7_TYPES] = {{.at = NULL}};

    list_for_each (at, &d->in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        edit(&by_name[c->type], &by_service[c->type], c->type, c->old, false);
        edit(&by_name[c->type], &by_service[c->type], c->type, c->now, true);
    }
    for (unsigned i = 0; i < L7_TYPES; i++) {
        table_next(&w->by_name[i], &d->base->by_name[i], &by_name[i],
                   l7_resource_owner((enum l7_type)i));
        table_next(&w->by_service[i], &d->base->by_service[i], &by_service[i], NULL);
    }
}

static void next_service(struct l7 *w, const struct l7 *base, const char *key,
                         struct table_edits *edits)
{
    const struct l7_service *old = l7_service_find(base, key);
    struct l7_service *now = l7_service_compile(w, key, old);

    if (old) {
        table_edits_add(edits, map_hash_str(key), old, false);
    }
    if (now) {
        table_edits_add(edits, map_hash_str(key), now, true);
    }
}

static void next_services(struct l7 *w, const struct l7 *base, struct map *touched)
{
    struct table_edits edits = {.at = NULL};
    struct table_edits fresh = {.at = NULL};

    w->waypoint = base->waypoint;
    (void)l7_service_ref(w->waypoint); /* the same pointer */
    map_for_each (n, touched) {
        struct touched_key *t = container_of(n, struct touched_key, node);
        if (*t->key == '\0') {
            (void)l7_service_unref(w->waypoint); /* NULL */
            w->waypoint = l7_service_compile(w, t->key, base->waypoint);
        } else {
            next_service(w, base, t->key, &edits);
        }
        map_remove(touched, n);
        mem_free(t);
    }
    for (size_t i = 0; i < edits.count; i++) {
        if (edits.at[i].in) {
            table_edits_add(&fresh, edits.at[i].hash, edits.at[i].value, true);
        }
    }
    table_next(&w->services, &base->services, &edits, &l7_service_owner);
    /* The table has its own references now. */
    for (size_t i = 0; i < fresh.count; i++) {
        (void)l7_service_unref(fresh.at[i].value); /* NULL */
    }
    table_edits_fini(&fresh);
}

const struct l7 *l7_next(struct l7_delta *take_d)
{
    AUTO(l7_delta) struct l7_delta *d = take_d;
    struct l7 *w = l7_alloc(d->base->snap.bin, d->base->maker);
    struct map touched;

    map_init(&touched);
    next_resources(w, d);
    list_for_each (at, &d->in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        touch(&touched, c->type, c->old);
        touch(&touched, c->type, c->now);
    }
    next_services(w, d->base, &touched);
    map_fini(&touched);
    w->generation = d->base->generation + 1;
    w->policy_generation = d->base->policy_generation + (d->by_name[L7_TYPE_POLICY].count > 0);
    return w;
}
