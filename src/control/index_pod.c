/* SPDX-License-Identifier: Apache-2.0 */
/* Pods become workloads. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "control/guard.h"
#include "control/index_int.h"

static void place_pod(struct index *x, struct pod_item *p)
{
    if (*p->f.node) {
        p->place = place_use(x, p->f.node);
        list_append(&p->place->pods, &p->in_place);
    }
}

static void unplace_pod(struct index *x, struct pod_item *p)
{
    if (p->place) {
        list_remove(&p->in_place);
        place_unuse(x, p->place);
        p->place = NULL;
    }
}

static struct pod_item *item_new(struct index *x, const char *ns, const char *name)
{
    struct pod_item *p = mem_new(struct pod_item);

    list_init(&p->in_place);
    list_init(&p->dirty);
    wish_init(&p->wish);
    p->space = space_use(x, ns);
    p->space->pod_count++;
    list_append(&p->space->pods, &p->in_space);
    map_insert(&x->pods, &p->by_name, index_hash(ns, name));
    return p;
}

void index_put_pod(struct index *x, const struct json *object)
{
    struct pod_facts f;

    pod_facts_read(&f, object, x->pool);
    struct pod_item *p = pod_find(x, f.ns, f.name);
    if (!p) {
        p = item_new(x, f.ns, f.name);
    }
    unplace_pod(x, p);
    pod_facts_fini(&p->f);
    p->f = f;
    (void)wish_read(x, &p->wish, WISHER_POD, json_object_at(object, "metadata.labels"), f.ns);
    place_pod(x, p);
    mark_pod(x, p);
}

void pod_item_free(struct index *x, struct pod_item *p)
{
    if (!list_is_empty(&p->dirty)) {
        p->space->dirty_pods--;
    }
    list_remove(&p->dirty);
    list_remove(&p->in_space);
    p->space->pod_count--;
    p->space->settled_pods -= p->was_settled;
    unplace_pod(x, p);
    wish_fini(x, &p->wish);
    guards_drop(x, p);
    map_remove(&x->pods, &p->by_name);
    space_unuse(x, p->space);
    pod_facts_fini(&p->f);
    mem_free(p);
}

void index_remove_pod(struct index *x, const char *ns, const char *name)
{
    AUTO(strbuf) struct strbuf resource = {0};
    struct pod_item *p = pod_find(x, ns, name);

    if (p) {
        pod_resource_name(x, ns, name, &resource);
        (void)catalog_remove(x->addresses, strbuf_text(&resource)); /* it may not be published */
        pod_item_free(x, p);
    }
}

void pod_resource_name(const struct index *x, const char *ns, const char *name, struct strbuf *out)
{
    strbuf_printf(out, "%s//Pod/%s/%s", x->mesh->cluster_id, ns, name);
}

/* ---- what a workload belongs to */

/* The services of one pod; grown as they are found. */
struct found {
    struct arena *arena;
    const struct service_facts **at;
    const struct service_item **items; /* the same */
    unsigned count;
    unsigned room;
};

static void found_grow(struct found *f)
{
    unsigned room = f->room * 2 + 8;
    const struct service_facts **at = arena_array(f->arena, room, sizeof(void *));
    const struct service_item **items = arena_array(f->arena, room, sizeof(void *));

    if (f->count > 0) {
        memcpy(at, f->at, f->count * sizeof(void *));
        memcpy(items, f->items, f->count * sizeof(void *));
    }
    f->at = at;
    f->items = items;
    f->room = room;
}

static void add_service(struct found *f, const struct service_item *s)
{
    if (!s->exists || !s->f.is_published || f->count == WORKLOAD_SERVICES_MAX) {
        return;
    }
    for (unsigned i = 0; i < f->count; i++) {
        if (f->at[i] == &s->f) {
            return;
        }
    }
    if (f->count == f->room) {
        found_grow(f);
    }
    f->items[f->count] = s;
    f->at[f->count++] = &s->f;
}

static uint64_t label_hash(const struct label *l)
{
    return index_hash(l->key, l->value);
}

static void find_selecting(struct found *out, const struct pod_item *p)
{
    for (unsigned i = 0; i < p->f.labels.count; i++) {
        struct map_node *n = map_find(&p->space->selectors, label_hash(&p->f.labels.at[i]));
        for (; n; n = map_find_next(n)) {
            const struct service_item *s = container_of(n, struct service_item, by_label);
            if (labels_match(&s->f.selector, &p->f.labels)) {
                add_service(out, s);
            }
        }
    }
}

/* Selectorless services by their slices. A target with another UID is another pod of that name. */
static void find_targeting(struct found *out, const struct index *x, const struct pod_item *p)
{
    struct map_node *n = map_find(&x->targets, index_hash(p->f.ns, p->f.name));

    for (; n; n = map_find_next(n)) {
        const struct target *t = container_of(n, struct target, by_pod);
        if (strcmp(t->endpoint->pod_ns, p->f.ns) == 0 &&
            strcmp(t->endpoint->pod_name, p->f.name) == 0 &&
            strcmp(t->endpoint->pod_uid, p->f.uid) == 0) {
            add_service(out, t->slice->service);
        }
    }
}

/* ---- what a workload has to name */

struct names {
    const char **at;
    unsigned count;
};

static void add_policies(struct names *out, const struct space *s, const struct pod_item *p)
{
    list_for_each (n, &s->policies) {
        const struct policy_item *policy = container_of(n, struct policy_item, in_space);
        if (policy->is_named && labels_match(&policy->selector, &p->f.labels) &&
            out->count < WORKLOAD_POLICIES_MAX) {
            out->at[out->count++] = policy->key;
        }
    }
}

static const struct peer_facts *own_peer(const struct pod_item *p)
{
    const struct peer_facts *found = NULL;

    list_for_each (n, &p->space->peers) {
        const struct peer_facts *f = &container_of(n, struct peer_item, in_space)->f;
        if (f->level == PEER_WORKLOAD && labels_match(&f->selector, &p->f.labels) &&
            (!found || peer_facts_before(f, found))) {
            found = f;
        }
    }
    return found;
}

static const char *join_key(struct arena *a, const char *ns, const char *name)
{
    size_t n = strlen(ns);
    char *key = arena_alloc(a, n + strlen(name) + 2);

    memcpy(key, ns, n);
    key[n] = '/';
    memcpy(key + n + 1, name, strlen(name) + 1);
    return key;
}

static void add_peer(struct names *out, const struct index *x, const struct pod_item *p,
                     struct arena *a)
{
    const struct peer_facts *own = own_peer(p);

    switch (peer_binding_of(own, index_inherited(x, p->space))) {
    case PEER_BIND_NOTHING:
        break;
    case PEER_BIND_STATIC:
        out->at[out->count++] = join_key(a, x->mesh->root_ns, PEER_STATIC_NAME);
        break;
    case PEER_BIND_CONVERTED:
        out->at[out->count++] = join_key(a, own->ns, peer_converted_name(own, a));
        break;
    }
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

static struct names find_policies(struct index *x, struct pod_item *p, const struct found *services,
                                  struct arena *a)
{
    const struct space *root = space_find(x, x->mesh->root_ns);
    struct names names = {
        .at = arena_array(a, WORKLOAD_POLICIES_MAX + 1 + GUARDS_MAX, sizeof(char *))};

    add_policies(&names, p->space, p);
    if (root && root != p->space) {
        add_policies(&names, root, p);
    }
    qsort(names.at, names.count, sizeof(*names.at), by_text);
    add_peer(&names, x, p, a);
    guards_take(x, p, services->items, services->count);
    for (unsigned i = 0; i < p->guard_count; i++) {
        names.at[names.count++] = guard_key(p->guards[i]);
    }
    return names;
}

/* ---- the whole */

static void publish(struct index *x, struct pod_item *p, struct arena *a)
{
    struct found services = {.arena = a};
    AUTO(identity)
    const struct identity *id =
        intern_identity(x->pool, x->mesh->trust_domain, p->f.ns, p->f.account);
    struct locality here = {"", "", ""};
    struct gateway waypoint;
    struct workload w;

    find_selecting(&services, p);
    find_targeting(&services, x, p);
    struct names policies = find_policies(x, p, &services, a);
    if (p->place) {
        here = (struct locality){p->place->region, p->place->zone, p->place->subzone};
    }
    struct pod_context c = {.mesh = x->mesh,
                            .network = x->network,
                            .identity = id,
                            .locality = &here,
                            .services = services.at,
                            .service_count = services.count,
                            .policies = policies.at,
                            .policy_count = policies.count,
                            .waypoint = waypoint_for_pod(x, p, &waypoint, a)};
    translate_pod(&w, &p->f, &c, a);
    strbuf_clear(&x->wire);
    xds_workload_encode(&x->wire, &w);
    (void)catalog_put(x->addresses, w.uid, (struct slice){x->wire.p, x->wire.len});
}

void settle_pod(struct index *x, struct pod_item *p)
{
    AUTO(arena) struct arena a = {0};
    AUTO(strbuf) struct strbuf resource = {0};

    p->space->settled_pods += !p->was_settled;
    p->was_settled = true;
    if (p->f.is_published) {
        publish(x, p, &a);
    } else {
        guards_drop(x, p);
        pod_resource_name(x, p->f.ns, p->f.name, &resource);
        (void)catalog_remove(x->addresses, strbuf_text(&resource)); /* it may never have been */
    }
}
