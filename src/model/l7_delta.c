/* SPDX-License-Identifier: Apache-2.0 */
/* Changes are gathered by resource name, turned into edits of the tables of resources, and then every
 * service that one of them belonged to, before or after, is compiled again. */
#include <string.h>

#include "base/mem.h"
#include "model/changes_int.h"
#include "model/l7_int.h"

struct l7_delta {
    const struct l7 *base;
    struct changes changes;
};

_Static_assert((int)L7_TYPES <= (int)CHANGE_KINDS_MAX, "a map for each type");

static const char *key_of(unsigned type, const void *v)
{
    return l7_resource_name((enum l7_type)type, v);
}

/* By the control plane's word; without one nobody knows. */
static bool is_same(unsigned type, const void *a, const void *b)
{
    const char *version = l7_resource_version((enum l7_type)type, a);

    return *version != '\0' && strcmp(version, l7_resource_version((enum l7_type)type, b)) == 0;
}

static const void *base_find(const void *base, unsigned type, const char *name)
{
    return l7_find(base, (enum l7_type)type, name);
}

static const struct table_owner *owner_of(unsigned type)
{
    return l7_resource_owner((enum l7_type)type);
}

static const struct change_ops ops = {
    .key = key_of, .is_same = is_same, .find = base_find, .owner = owner_of};

/* ---- gathering */

struct l7_delta *l7_delta_new(const struct l7 *base)
{
    struct l7_delta *d = mem_new(struct l7_delta);

    d->base = l7_ref(base);
    changes_init(&d->changes, &ops, base);
    return d;
}

void l7_delta_free(struct l7_delta *d)
{
    if (d) {
        changes_fini(&d->changes);
        d->base = l7_unref(d->base);
        mem_free(d);
    }
}

size_t l7_delta_count(const struct l7_delta *d)
{
    return changes_count(&d->changes);
}

bool l7_put_binding(struct l7_delta *d, const struct l7_binding *take_b)
{
    return changes_put(&d->changes, L7_TYPE_BINDING, take_b);
}

bool l7_put_route(struct l7_delta *d, const struct l7_route *take_r)
{
    return changes_put(&d->changes, L7_TYPE_ROUTE, take_r);
}

bool l7_put_policy(struct l7_delta *d, const struct l7_policy *take_p)
{
    const struct l7_policy *held = changes_held(&d->changes, L7_TYPE_POLICY, take_p->resource);

    if (take_p->broken && held && !held->broken) {
        (void)l7_policy_unref(take_p); /* NULL */
        return false;
    }
    return changes_put(&d->changes, L7_TYPE_POLICY, take_p);
}

bool l7_put_traffic(struct l7_delta *d, const struct l7_traffic *take_t)
{
    return changes_put(&d->changes, L7_TYPE_TRAFFIC, take_t);
}

bool l7_remove(struct l7_delta *d, enum l7_type type, const char *resource)
{
    return changes_remove(&d->changes, type, resource);
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

    list_for_each (at, &d->changes.in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        edit(&by_name[c->kind], &by_service[c->kind], (enum l7_type)c->kind, c->old, false);
        edit(&by_name[c->kind], &by_service[c->kind], (enum l7_type)c->kind, c->now, true);
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

static bool changes_judgements(const struct l7_delta *d)
{
    list_for_each (at, &d->changes.in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        if (c->kind == L7_TYPE_POLICY || (c->kind == L7_TYPE_BINDING && !c->old != !c->now)) {
            return true;
        }
    }
    return false;
}

const struct l7 *l7_next(struct l7_delta *take_d)
{
    AUTO(l7_delta) struct l7_delta *d = take_d;
    struct l7 *w = l7_alloc(d->base->snap.bin, d->base->maker);
    struct map touched;

    map_init(&touched);
    next_resources(w, d);
    list_for_each (at, &d->changes.in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        touch(&touched, (enum l7_type)c->kind, c->old);
        touch(&touched, (enum l7_type)c->kind, c->now);
    }
    next_services(w, d->base, &touched);
    map_fini(&touched);
    w->generation = d->base->generation + 1;
    w->policy_generation = d->base->policy_generation + changes_judgements(d);
    return w;
}
