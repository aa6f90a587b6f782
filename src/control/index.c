/* SPDX-License-Identifier: Apache-2.0 */
#include "control/index.h"

#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"
#include "control/linger.h"
#include "control/reconcile.h"

enum { MAPS = 14, LISTS = 14 };

static void maps_of(struct index *x, struct map *out[static MAPS])
{
    struct map *all[MAPS] = {&x->spaces,        &x->places,         &x->pods,        &x->services,
                             &x->slices,        &x->authorizations, &x->peers,       &x->targets,
                             &x->gateways,      &x->routes,         &x->l7_policies, &x->rules,
                             &x->rules_by_host, &x->guards};

    memcpy(out, all, sizeof(all));
}

struct index *index_new(const struct mesh *mesh, struct catalog *const *catalogs)
{
    struct index *x = mem_new(struct index);
    struct map *maps[MAPS];
    struct list *lists[LISTS] = {&x->dirty_pods,
                                 &x->dirty_services,
                                 &x->dirty_slices,
                                 &x->dirty_peers,
                                 &x->unsaid,
                                 &x->class_aims,
                                 &x->words,
                                 &x->dirty_l7,
                                 &x->dirty_gateways,
                                 &x->dirty_routes,
                                 &x->dirty_l7_policies,
                                 &x->lingering,
                                 &x->turns,
                                 &x->resting};

    x->mesh = mesh;
    x->catalogs = catalogs;
    x->addresses = catalogs[ADS_ADDRESS];
    x->policies = catalogs[ADS_AUTHORIZATION];
    x->pool = intern_new();
    x->network = intern_text(x->pool, "");
    x->classes = json_new_object();
    x->grants = json_new_object();
    voice_init(&x->class_voice);
    voice_init(&x->class_status);
    maps_of(x, maps);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        map_init(maps[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_init(lists[i]);
    }
    reconcile_class_missing(x); /* until it is seen */
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
    map_for_each (n, &x->routes) {
        route_item_free(x, container_of(n, struct route_item, by_name));
    }
    map_for_each (n, &x->l7_policies) {
        l7_policy_item_free(x, container_of(n, struct l7_policy_item, by_name));
    }
    map_for_each (n, &x->rules) {
        rule_item_free(x, container_of(n, struct rule_item, by_name));
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
    gateways_drop(x);
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
    voices_drop(&x->words);
    linger_drop(x);
    struct map *maps[MAPS];
    maps_of(x, maps);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        map_fini(maps[i]);
    }
    json_unref(x->classes);
    json_unref(x->grants);
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
    case INDEX_CLASS:
        index_put_class(x, object);
        break;
    case INDEX_GATEWAY:
        index_put_gateway(x, object);
        break;
    case INDEX_HTTP_ROUTE:
        index_put_route(x, L7_HTTP_ROUTE, object);
        break;
    case INDEX_GRPC_ROUTE:
        index_put_route(x, L7_GRPC_ROUTE, object);
        break;
    case INDEX_TCP_ROUTE:
        index_put_route(x, L7_TCP_ROUTE, object);
        break;
    case INDEX_GRANT:
        index_put_grant(x, object);
        break;
    case INDEX_AUTHENTICATION:
        l7_policy_put(x, L7_REQUEST_AUTHENTICATION, object);
        break;
    case INDEX_RULE:
        index_put_rule(x, object);
        break;
    case INDEX_ACCOUNT:
        reconcile_child(x, CHILD_ACCOUNT, object);
        break;
    case INDEX_DEPLOYMENT:
        reconcile_child(x, CHILD_DEPLOYMENT, object);
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
    case INDEX_CLASS:
        index_remove_class(x, name);
        break;
    case INDEX_GATEWAY:
        index_remove_gateway(x, ns, name);
        break;
    case INDEX_HTTP_ROUTE:
        index_remove_route(x, L7_HTTP_ROUTE, ns, name);
        break;
    case INDEX_GRPC_ROUTE:
        index_remove_route(x, L7_GRPC_ROUTE, ns, name);
        break;
    case INDEX_TCP_ROUTE:
        index_remove_route(x, L7_TCP_ROUTE, ns, name);
        break;
    case INDEX_GRANT:
        index_remove_grant(x, ns, name);
        break;
    case INDEX_AUTHENTICATION:
        l7_policy_remove(x, L7_REQUEST_AUTHENTICATION, ns, name);
        break;
    case INDEX_RULE:
        index_remove_rule(x, ns, name);
        break;
    case INDEX_ACCOUNT:
        reconcile_child_gone(x, CHILD_ACCOUNT, ns, name);
        break;
    case INDEX_DEPLOYMENT:
        reconcile_child_gone(x, CHILD_DEPLOYMENT, ns, name);
        break;
    case INDEX_KINDS:
        break;
    }
}

void index_tick(struct index *x, uint64_t now_ms)
{
    x->now_ms = now_ms;
    linger_expire(x, now_ms);
    turn_tick(x, now_ms);
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
    case INDEX_RULE:
        return x->rules.count;
    case INDEX_CLASS:
        return json_count(x->classes);
    case INDEX_GRANT:
        return json_count(x->grants);
    case INDEX_GATEWAY:
        return x->gateways.count;
    case INDEX_HTTP_ROUTE:
    case INDEX_GRPC_ROUTE:
    case INDEX_TCP_ROUTE:
        return x->routes.count; /* of all three */
    case INDEX_AUTHENTICATION:
        return x->l7_policies.count; /* with targets, AuthorizationPolicies too */
    case INDEX_ACCOUNT:
    case INDEX_DEPLOYMENT:
    case INDEX_KINDS:
        break;
    }
    return 0;
}

/* ---- settling */

/* Services before gateways, which may become due by them; what is said comes last. */
static bool settle_one_l7(struct index *x)
{
    struct list *n;

    if ((n = list_take_first(&x->dirty_l7))) {
        settle_l7_service(x, container_of(n, struct service_item, dirty_l7));
    } else if ((n = list_take_first(&x->dirty_gateways))) {
        settle_gateway(x, container_of(n, struct gateway_item, dirty));
    } else if ((n = list_take_first(&x->dirty_routes))) {
        settle_route(x, container_of(n, struct route_item, dirty));
    } else if ((n = list_take_first(&x->dirty_l7_policies))) {
        settle_l7_policy(x, container_of(n, struct l7_policy_item, dirty));
    } else {
        return false;
    }
    return true;
}

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
        return settle_one_l7(x);
    }
    return true;
}

bool index_is_settled(const struct index *x)
{
    return list_is_empty(&x->dirty_services) && list_is_empty(&x->dirty_slices) &&
           list_is_empty(&x->dirty_peers) && list_is_empty(&x->dirty_pods) &&
           list_is_empty(&x->dirty_l7) && list_is_empty(&x->dirty_gateways) &&
           list_is_empty(&x->dirty_routes) && list_is_empty(&x->dirty_l7_policies);
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

bool index_next_write(struct index *x, struct index_write *out)
{
    return voice_take(&x->words, out);
}

bool index_is_gateway(const struct index *x, const char *ns, const char *gateway,
                      const char *account)
{
    const struct gateway_item *g = gateway_find(x, ns, gateway);

    return strcmp(account, g && g->f.account ? g->f.account : gateway) == 0;
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
