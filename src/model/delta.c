/* SPDX-License-Identifier: Apache-2.0 */
/* Making the next world: changes are gathered by key, then turned into edits of each table. */
#include "base/mem.h"
#include "model/changes_int.h"
#include "model/world_int.h"

enum kind { KIND_WORKLOAD = 0, KIND_SERVICE, KIND_POLICY };

struct world_delta {
    const struct world *base;
    struct changes changes;
};

/* ---- the three kinds alike */

static const char *key_of(unsigned kind, const void *v)
{
    switch ((enum kind)kind) {
    case KIND_WORKLOAD:
        return ((const struct workload *)v)->uid;
    case KIND_SERVICE:
        return ((const struct service *)v)->key;
    case KIND_POLICY:
        break;
    }
    return ((const struct policy *)v)->key;
}

static bool is_same(unsigned kind, const void *a, const void *b)
{
    switch ((enum kind)kind) {
    case KIND_WORKLOAD:
        return workload_equal(a, b);
    case KIND_SERVICE:
        return service_equal(a, b);
    case KIND_POLICY:
        break;
    }
    return policy_equal(a, b);
}

static const void *base_find(const void *base, unsigned kind, const char *key)
{
    switch ((enum kind)kind) {
    case KIND_WORKLOAD:
        return world_workload(base, key);
    case KIND_SERVICE:
        return world_service(base, key);
    case KIND_POLICY:
        break;
    }
    return world_policy(base, key);
}

static const struct table_owner *owner_of(unsigned kind)
{
    static const enum world_index owning[] = {
        [KIND_WORKLOAD] = INDEX_UID, [KIND_SERVICE] = INDEX_KEY, [KIND_POLICY] = INDEX_POLICY};

    return world_owner(owning[kind]);
}

static const struct change_ops ops = {
    .key = key_of, .is_same = is_same, .find = base_find, .owner = owner_of};

/* ---- gathering */

struct world_delta *world_delta_new(const struct world *base)
{
    struct world_delta *d = mem_new(struct world_delta);

    d->base = world_ref(base);
    changes_init(&d->changes, &ops, base);
    return d;
}

void world_delta_free(struct world_delta *d)
{
    if (d) {
        changes_fini(&d->changes);
        d->base = world_unref(d->base);
        mem_free(d);
    }
}

bool world_put_workload(struct world_delta *d, const struct workload *take_w)
{
    return changes_put(&d->changes, KIND_WORKLOAD, take_w);
}

bool world_put_service(struct world_delta *d, const struct service *take_s)
{
    return changes_put(&d->changes, KIND_SERVICE, take_s);
}

bool world_put_policy(struct world_delta *d, const struct policy *take_p)
{
    const struct policy *held = changes_held(&d->changes, KIND_POLICY, take_p->key);

    if (take_p->broken && held && !held->broken) {
        (void)policy_unref(take_p); /* NULL */
        return false;
    }
    return changes_put(&d->changes, KIND_POLICY, take_p);
}

bool world_remove_address(struct world_delta *d, const char *name)
{
    /* A uid and a service key may be spelled alike; the control plane's names are one space. */
    bool workload = changes_remove(&d->changes, KIND_WORKLOAD, name);
    bool service = changes_remove(&d->changes, KIND_SERVICE, name);

    return workload || service;
}

bool world_remove_policy(struct world_delta *d, const char *key)
{
    return changes_remove(&d->changes, KIND_POLICY, key);
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

static void edit(struct table_edits *e, unsigned kind, const void *v, bool in)
{
    if (!v) {
        return;
    }
    switch ((enum kind)kind) {
    case KIND_WORKLOAD:
        edit_workload(e, v, in);
        break;
    case KIND_SERVICE:
        edit_service(e, v, in);
        break;
    case KIND_POLICY:
        edit_policy(e, v, in);
        break;
    }
}

const struct world *world_next(struct world_delta *take_d)
{
    AUTO(world_delta) struct world_delta *d = take_d;
    struct table_edits edits[INDEX_COUNT] = {{.at = NULL}};
    struct world *w = world_alloc(d->base->snap.bin);

    list_for_each (at, &d->changes.in_order) {
        const struct change *c = container_of(at, struct change, in_order);
        edit(edits, c->kind, c->old, false);
        edit(edits, c->kind, c->now, true);
    }
    for (unsigned i = 0; i < INDEX_COUNT; i++) {
        table_next(&w->table[i], &d->base->table[i], &edits[i], world_owner((enum world_index)i));
    }
    w->generation = d->base->generation + 1;
    w->policy_generation = d->base->policy_generation + (d->changes.by_key[KIND_POLICY].count > 0);
    return w;
}
