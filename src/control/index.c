/* SPDX-License-Identifier: Apache-2.0 */
#include "control/index.h"

#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

struct index *index_new(const struct mesh *mesh, struct catalog *addresses,
                        struct catalog *policies)
{
    struct index *x = mem_new(struct index);
    struct map *maps[] = {&x->spaces, &x->places,         &x->pods,  &x->services,
                          &x->slices, &x->authorizations, &x->peers, &x->targets};
    struct list *lists[] = {&x->dirty_pods, &x->dirty_services, &x->dirty_slices, &x->dirty_peers,
                            &x->unsaid};

    x->mesh = mesh;
    x->addresses = addresses;
    x->policies = policies;
    x->pool = intern_new();
    x->network = intern_text(x->pool, "");
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        map_init(maps[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_init(lists[i]);
    }
    return x;
}

static void drop_objects(struct index *x)
{
    map_for_each (n, &x->peers) {
        peer_item_free(x, container_of(n, struct peer_item, by_name));
    }
    map_for_each (n, &x->authorizations) {
        policy_item_free(x, container_of(n, struct policy_item, by_name));
    }
    map_for_each (n, &x->slices) {
        slice_item_free(x, container_of(n, struct slice_item, by_name));
    }
    map_for_each (n, &x->pods) {
        pod_item_free(x, container_of(n, struct pod_item, by_name));
    }
}

/* What is left once nobody refers to them: those that have an object. */
static void drop_named(struct index *x)
{
    map_for_each (n, &x->services) {
        struct service_item *s = container_of(n, struct service_item, by_name);
        service_facts_fini(&s->f);
        service_unuse(x, s);
    }
    map_for_each (n, &x->places) {
        place_unuse(x, container_of(n, struct place, by_name));
    }
    map_for_each (n, &x->spaces) {
        space_unuse(x, container_of(n, struct space, by_name));
    }
}

void index_free(struct index *x)
{
    if (!x) {
        return;
    }
    drop_objects(x);
    drop_named(x);
    struct map *maps[] = {&x->spaces, &x->places,         &x->pods,  &x->services,
                          &x->slices, &x->authorizations, &x->peers, &x->targets};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        map_fini(maps[i]);
    }
    text_unref(x->network);
    intern_free(x->pool);
    strbuf_fini(&x->wire);
    mem_free(x);
}

uint64_t index_hash(const char *ns, const char *name)
{
    return map_hash_str(ns) * 31 + map_hash_str(name);
}

/* ---- dispatch */

void index_put(struct index *x, enum index_kind kind, const struct json *object)
{
    switch (kind) {
    case INDEX_NAMESPACE:
        index_put_namespace(x, object);
        break;
    case INDEX_NODE:
        index_put_node(x, object);
        break;
    case INDEX_POD:
        index_put_pod(x, object);
        break;
    case INDEX_SERVICE:
        index_put_service(x, object);
        break;
    case INDEX_SLICE:
        index_put_slice(x, object);
        break;
    case INDEX_AUTHORIZATION:
        index_put_authorization(x, object);
        break;
    case INDEX_PEER:
        index_put_peer(x, object);
        break;
    case INDEX_KINDS:
        break;
    }
}

void index_remove(struct index *x, enum index_kind kind, const char *ns, const char *name)
{
    switch (kind) {
    case INDEX_NAMESPACE:
        index_remove_namespace(x, name);
        break;
    case INDEX_NODE:
        index_remove_node(x, name);
        break;
    case INDEX_POD:
        index_remove_pod(x, ns, name);
        break;
    case INDEX_SERVICE:
        index_remove_service(x, ns, name);
        break;
    case INDEX_SLICE:
        index_remove_slice(x, ns, name);
        break;
    case INDEX_AUTHORIZATION:
        index_remove_authorization(x, ns, name);
        break;
    case INDEX_PEER:
        index_remove_peer(x, ns, name);
        break;
    case INDEX_KINDS:
        break;
    }
}

size_t index_count(const struct index *x, enum index_kind kind)
{
    switch (kind) {
    case INDEX_NAMESPACE:
        return x->existing_namespaces;
    case INDEX_NODE:
        return x->existing_nodes;
    case INDEX_POD:
        return x->pods.count;
    case INDEX_SERVICE:
        return x->existing_services;
    case INDEX_SLICE:
        return x->slices.count;
    case INDEX_AUTHORIZATION:
        return x->authorizations.count;
    case INDEX_PEER:
        return x->peers.count;
    case INDEX_KINDS:
        break;
    }
    return 0;
}

/* ---- settling */

/* One item, services first: what rests on them is then sent after them. False: nothing is due. */
static bool settle_one(struct index *x)
{
    struct list *n;

    if ((n = list_take_first(&x->dirty_services))) {
        settle_service(x, container_of(n, struct service_item, dirty));
    } else if ((n = list_take_first(&x->dirty_slices))) {
        settle_slice(x, container_of(n, struct slice_item, dirty));
    } else if ((n = list_take_first(&x->dirty_peers))) {
        settle_peer(x, container_of(n, struct peer_item, dirty));
    } else if ((n = list_take_first(&x->dirty_pods))) {
        struct pod_item *p = container_of(n, struct pod_item, dirty);
        p->space->dirty_pods--;
        settle_pod(x, p);
    } else {
        return false;
    }
    return true;
}

bool index_is_settled(const struct index *x)
{
    return list_is_empty(&x->dirty_services) && list_is_empty(&x->dirty_slices) &&
           list_is_empty(&x->dirty_peers) && list_is_empty(&x->dirty_pods);
}

bool index_settle(struct index *x, unsigned units)
{
    for (unsigned i = 0; i < units && settle_one(x); i++) {
    }
    return !index_is_settled(x);
}

/* ---- asking */

bool index_find_pod(const struct index *x, const char *ns, const char *name, struct index_pod *out)
{
    const struct pod_item *p = pod_find(x, ns, name);

    if (!p || p->f.is_failed) {
        return false;
    }
    *out = (struct index_pod){p->f.uid, p->f.account, p->f.node};
    return true;
}

bool index_runs_on(const struct index *x, const char *node, const char *ns, const char *account)
{
    const struct place *place = place_find(x, node);

    if (!place) {
        return false;
    }
    list_for_each (n, &place->pods) {
        const struct pod_item *p = container_of(n, struct pod_item, in_place);
        if (!p->f.is_failed && strcmp(p->f.ns, ns) == 0 && strcmp(p->f.account, account) == 0) {
            return true;
        }
    }
    return false;
}

bool index_next_status(struct index *x, struct index_status *out)
{
    struct list *n = list_take_first(&x->unsaid);

    if (!n) {
        return false;
    }
    const struct policy_item *p = container_of(n, struct policy_item, unsaid);
    *out = (struct index_status){.ns = p->space->name,
                                 .name = p->name,
                                 .generation = p->generation,
                                 .status = p->status,
                                 .reason = p->reason,
                                 .message = p->message};
    return true;
}
