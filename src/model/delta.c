/* SPDX-License-Identifier: Apache-2.0 */
/* Making the next world: changes are gathered by key, then turned into edits of each table. */
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "model/world_int.h"

enum kind { KIND_WORKLOAD = 0, KIND_SERVICE, KIND_POLICY, KIND_COUNT };

/* What becomes of one key. */
struct change {
    struct map_node by_key;
    struct list in_order; /* of the last word about the key */
    enum kind kind;
    const void *old; /* base's; NULL: base has none */
    const void *now; /* one reference; NULL: it goes */
};

struct world_delta {
    const struct world *base;
    struct map by_key[KIND_COUNT];
    struct list in_order;
};

struct world_delta *world_delta_new(const struct world *base)
{
    struct world_delta *d = mem_new(struct world_delta);

    d->base = world_ref(base);
    list_init(&d->in_order);
    for (int k = 0; k < KIND_COUNT; k++) {
        map_init(&d->by_key[k]);
    }
    return d;
}

/* ---- the three kinds alike */

static const char *key_of(enum kind kind, const void *v)
{
    switch (kind) {
    case KIND_WORKLOAD:
        return ((const struct workload *)v)->uid;
    case KIND_SERVICE:
        return ((const struct service *)v)->key;
    case KIND_POLICY:
    case KIND_COUNT:
        break;
    }
    return ((const struct policy *)v)->key;
}

static void unref(enum kind kind, const void *v)
{
    static const enum world_index owning[] = {
        [KIND_WORKLOAD] = INDEX_UID, [KIND_SERVICE] = INDEX_KEY, [KIND_POLICY] = INDEX_POLICY};

    if (v) {
        world_owner(owning[kind])->unref(v);
    }
}

static bool is_equal(enum kind kind, const void *a, const void *b)
{
    switch (kind) {
    case KIND_WORKLOAD:
        return workload_equal(a, b);
    case KIND_SERVICE:
        return service_equal(a, b);
    case KIND_POLICY:
    case KIND_COUNT:
        break;
    }
    return policy_equal(a, b);
}

static const void *base_find(const struct world_delta *d, enum kind kind, const char *key)
{
    switch (kind) {
    case KIND_WORKLOAD:
        return world_workload(d->base, key);
    case KIND_SERVICE:
        return world_service(d->base, key);
    case KIND_POLICY:
    case KIND_COUNT:
        break;
    }
    return world_policy(d->base, key);
}

static struct change *find(const struct world_delta *d, enum kind kind, const char *key,
                           uint64_t hash)
{
    const struct map *m = &d->by_key[kind];

    for (struct map_node *n = map_find(m, hash); n; n = map_find_next(n)) {
        struct change *c = container_of(n, struct change, by_key);
        if (strcmp(key_of(kind, c->now ? c->now : c->old), key) == 0) {
            return c;
        }
    }
    return NULL;
}

static void forget(struct world_delta *d, struct change *c)
{
    map_remove(&d->by_key[c->kind], &c->by_key);
    list_remove(&c->in_order);
    unref(c->kind, c->now);
    mem_free(c);
}

void world_delta_free(struct world_delta *d)
{
    if (!d) {
        return;
    }
    list_for_each_safe (at, &d->in_order) {
        forget(d, container_of(at, struct change, in_order));
    }
    for (int k = 0; k < KIND_COUNT; k++) {
        map_fini(&d->by_key[k]);
    }
    d->base = world_unref(d->base);
    mem_free(d);
}

size_t world_delta_count(const struct world_delta *d)
{
    return d->by_key[KIND_WORKLOAD].count + d->by_key[KIND_SERVICE].count +
           d->by_key[KIND_POLICY].count;
}

/* ---- gathering */

static bool put(struct world_delta *d, enum kind kind, const void *take_v)
{
    const char *key = key_of(kind, take_v);
    uint64_t hash = map_hash_str(key);
    struct change *c = find(d, kind, key, hash);
    const void *old = c ? c->old : base_find(d, kind, key);
    const void *current = c ? c->now : old;

    if (current && is_equal(kind, current, take_v)) {
        unref(kind, take_v);
        return false;
    }
    if (c) {
        forget(d, c);
    }
    c = mem_new(struct change);
    *c = (struct change){.kind = kind, .old = old, .now = take_v};
    map_insert(&d->by_key[kind], &c->by_key, hash);
    list_append(&d->in_order, &c->in_order);
    return true;
}

static bool remove_key(struct world_delta *d, enum kind kind, const char *key)
{
    uint64_t hash = map_hash_str(key);
    struct change *c = find(d, kind, key, hash);
    const void *old = c ? c->old : base_find(d, kind, key);
    bool was_there = c ? c->now != NULL : old != NULL;

    if (!was_there) {
        return false;
    }
    if (c) {
        forget(d, c);
    }
    if (old) {
        c = mem_new(struct change);
        *c = (struct change){.kind = kind, .old = old};
        map_insert(&d->by_key[kind], &c->by_key, hash);
        list_append(&d->in_order, &c->in_order);
    }
    return true;
}

bool world_put_workload(struct world_delta *d, const struct workload *take_w)
{
    return put(d, KIND_WORKLOAD, take_w);
}

bool world_put_service(struct world_delta *d, const struct service *take_s)
{
    return put(d, KIND_SERVICE, take_s);
}

/* What is held now for a key, be it in the delta or in the base. */
static const struct policy *policy_now(const struct world_delta *d, const char *key)
{
    const struct change *c = find(d, KIND_POLICY, key, map_hash_str(key));

    return c ? c->now : base_find(d, KIND_POLICY, key);
}

bool world_put_policy(struct world_delta *d, const struct policy *take_p)
{
    const struct policy *held = policy_now(d, take_p->key);

    if (take_p->broken && held && !held->broken) {
        (void)policy_unref(take_p); /* NULL */
        return false;
    }
    return put(d, KIND_POLICY, take_p);
}

bool world_remove_address(struct world_delta *d, const char *name)
{
    /* A uid and a service key may be spelled alike; the control plane's names are one space. */
    bool workload = remove_key(d, KIND_WORKLOAD, name);
    bool service = remove_key(d, KIND_SERVICE, name);

    return workload || service;
}

bool world_remove_policy(struct world_delta *d, const char *key)
{
    return remove_key(d, KIND_POLICY, key);
}

/* ---- edits: under which hashes a value stands in each table */

static void edit_workload(struct table_edits *e, const struct workload *w, bool in)
{
    const struct identity *id = w->identity;

    table_edits_add(&e[INDEX_UID], map_hash_str(w->uid), w, in);
    table_edits_add(&e[INDEX_SELF], world_hash_self(w->name, id->ns, id->service_account), w, in);
    if (w->hostname[0] != '\0') {
        table_edits_add(&e[INDEX_NAMED], world_hash_two(id->ns, w->hostname), w, in);
    }
    for (unsigned i = 0; w->network_mode != NETWORK_HOST && i < w->ip_count; i++) {
        table_edits_add(&e[INDEX_IP], world_hash_at(w->network, &w->ips[i]), w, in);
    }
    for (unsigned i = 0; i < w->service_count; i++) {
        table_edits_add(&e[INDEX_BACKENDS], map_hash_str(w->services[i].key), w, in);
    }
}

static void edit_service(struct table_edits *e, const struct service *s, bool in)
{
    table_edits_add(&e[INDEX_KEY], map_hash_str(s->key), s, in);
    table_edits_add(&e[INDEX_HOSTNAME], map_hash_str(s->hostname), s, in);
    for (unsigned i = 0; i < s->vip_count; i++) {
        const struct service_vip *v = &s->vips[i];
        if (service_vip_is_cidr(v)) {
            table_edits_add(&e[INDEX_CIDR], map_hash_str(v->network), s, in);
        } else {
            table_edits_add(&e[INDEX_VIP], world_hash_at(v->network, &v->prefix.ip), s, in);
        }
    }
}

static void edit_policy(struct table_edits *e, const struct policy *p, bool in)
{
    table_edits_add(&e[INDEX_POLICY], map_hash_str(p->key), p, in);
    if (p->scope != SCOPED_WORKLOAD) {
        uint64_t hash = world_hash_scope(p->scope == SCOPED_NAMESPACE ? p->ns : NULL);
        table_edits_add(&e[INDEX_SCOPED], hash, p, in);
    }
}

static void edit(struct table_edits *e, enum kind kind, const void *v, bool in)
{
    if (!v) {
        return;
    }
    switch (kind) {
    case KIND_WORKLOAD:
        edit_workload(e, v, in);
        break;
    case KIND_SERVICE:
        edit_service(e, v, in);
        break;
    case KIND_POLICY:
        edit_policy(e, v, in);
        break;
    case KIND_COUNT:
        break;
    }
}

const struct world *world_next(struct world_delta *take_d)
{
    AUTO(world_delta) struct world_delta *d = take_d;
    struct table_edits edits[INDEX_COUNT] = {{.at = NULL}};
    struct world *w = world_alloc(d->base->snap.bin);

    list_for_each (at, &d->in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        edit(edits, c->kind, c->old, false);
        edit(edits, c->kind, c->now, true);
    }
    for (unsigned i = 0; i < INDEX_COUNT; i++) {
        table_next(&w->table[i], &d->base->table[i], &edits[i], world_owner((enum world_index)i));
    }
    w->generation = d->base->generation + 1;
    w->policy_generation = d->base->policy_generation + (d->by_key[KIND_POLICY].count > 0);
    return w;
}
