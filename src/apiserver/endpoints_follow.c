/* SPDX-License-Identifier: Apache-2.0 */
/* The controller around endpoints_of: which services a change touches, and what to write. */
#include <string.h>

#include "apiserver/api.h"
#include "apiserver/change.h"
#include "apiserver/endpoints.h"
#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "io/loop.h"

static const char managed_by[] = "ambit.io/endpoints";
static const char service_label[] = "kubernetes.io/service-name";

struct dirty { /* a service to look at */
    struct map_node node;
    char *ns;
    char *name;
};

struct endpoints {
    struct task task;
    struct api *api;
    struct store_waiter waiter;
    struct map dirty;
    uint64_t at; /* the last change looked at */
    const struct kind *services;
    const struct kind *pods;
    const struct kind *slices;
};

static uint64_t hash_of(const char *ns, const char *name)
{
    return map_hash_str(ns) * 31 + map_hash_str(name);
}

static void mark(struct endpoints *e, const char *ns, const char *name)
{
    uint64_t h = hash_of(ns, name);

    for (struct map_node *n = map_find(&e->dirty, h); n; n = map_find_next(n)) {
        const struct dirty *d = container_of(n, struct dirty, node);
        if (strcmp(d->ns, ns) == 0 && strcmp(d->name, name) == 0) {
            return;
        }
    }
    struct dirty *d = mem_new(struct dirty);
    d->ns = mem_strdup(ns);
    d->name = mem_strdup(name);
    map_insert(&e->dirty, &d->node, h);
}

static void dirty_free(struct dirty *d)
{
    mem_free(d->ns);
    mem_free(d->name);
    mem_free(d);
}

/* ---- which services does a pod belong to */

static bool selects(const struct json *selector, const struct object *pod)
{
    for (struct json_iter it = {0}; json_each(selector, &it);) {
        bool found = false;
        for (size_t i = 0; i < pod->label_count && !found; i++) {
            found = strcmp(pod->labels[i].key, it.key) == 0 &&
                    strcmp(pod->labels[i].value, json_str(it.value, "")) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return json_count(selector) > 0;
}

static void mark_services_of(struct endpoints *e, const struct object *pod)
{
    struct cursor at;
    struct object *o = NULL;

    if (cursor_init(&at, api_store(e->api), e->services, pod->ns, 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        AUTO(json) struct json *service = object_parse(o, "v1");
        if (selects(json_at(service, "spec.selector"), pod)) {
            mark(e, o->ns, o->name);
        }
    }
    cursor_fini(&at);
}

static bool same_labels(const struct object *a, const struct object *b)
{
    bool same = a->label_count == b->label_count;

    for (size_t i = 0; same && i < a->label_count; i++) {
        same = strcmp(a->labels[i].key, b->labels[i].key) == 0 &&
               strcmp(a->labels[i].value, b->labels[i].value) == 0;
    }
    return same;
}

static void on_change(struct endpoints *e, const struct store_change *c)
{
    if (c->now->kind == e->services) {
        mark(e, c->now->ns, c->now->name);
    } else if (c->now->kind == e->pods) {
        mark_services_of(e, c->now);
        if (c->was && !same_labels(c->was, c->now)) {
            mark_services_of(e, c->was);
        }
    } else if (c->now->kind == e->slices) { /* somebody may have spoiled one of ours */
        mark(e, c->now->ns, object_label(c->now, service_label));
    }
}

static void mark_all(struct endpoints *e)
{
    struct cursor at;
    struct object *o = NULL;

    if (cursor_init(&at, api_store(e->api), e->services, "", 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        mark(e, o->ns, o->name);
    }
    cursor_fini(&at);
    e->at = store_rv(api_store(e->api));
}

/* ---- bringing one service up to date */

static struct json *selected_pods(struct endpoints *e, const char *ns, const struct json *selector)
{
    struct json *pods = json_new_array();
    struct cursor at;
    struct object *o = NULL;

    if (cursor_init(&at, api_store(e->api), e->pods, ns, 0) < 0) {
        return pods; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        struct json *pod = selects(selector, o) ? object_parse(o, "v1") : NULL;
        if (pod) {
            json_append(pods, pod);
        }
    }
    cursor_fini(&at);
    return pods;
}

static const struct json *find_named(const struct json *slices, const char *name)
{
    for (size_t i = 0; i < json_count(slices); i++) {
        if (strcmp(json_str_at(json_item(slices, i), "metadata.name", ""), name) == 0) {
            return json_item(slices, i);
        }
    }
    return NULL;
}

static bool is_ours(const struct object *o, const char *service)
{
    return strcmp(object_label(o, service_label), service) == 0 &&
           strcmp(object_label(o, "endpointslice.kubernetes.io/managed-by"), managed_by) == 0;
}

static void write_slice(struct endpoints *e, const struct json *wanted)
{
    struct store *store = api_store(e->api);
    const char *ns = json_str_at(wanted, "metadata.namespace", "");
    const char *name = json_str_at(wanted, "metadata.name", "");
    const struct object *o = store_find(store, e->slices, ns, name);
    AUTO(json) struct json *is = o ? object_parse(o, "v1") : NULL;
    AUTO(json) struct json *body = json_clone(wanted);
    struct json *meta = json_get(body, "metadata");
    static const char *const kept[] = {"uid", "creationTimestamp", "generation", "resourceVersion"};

    if (o && !is_ours(o, object_label(o, service_label))) {
        return; /* the name is taken by somebody else's */
    }
    for (size_t i = 0; is && i < ARRAY_LEN(kept); i++) {
        json_set(meta, kept[i], json_clone(json_get(json_get(is, "metadata"), kept[i])));
    }
    if (is && json_same(is, body)) {
        return;
    }
    if (is) {
        json_set_int(meta, "generation", json_int_at(is, "metadata.generation", 0) + 1);
    } else {
        change_stamp(e->slices, body, clock_wall_s());
    }
    (void)change_put(e->api, e->slices, body); /* nobody asked for the object */
}

static size_t unwanted(struct endpoints *e, const struct dirty *d, const struct json *wanted,
                       struct object **found, size_t room)
{
    struct cursor at;
    struct object *o = NULL;
    size_t n = 0;

    if (cursor_init(&at, api_store(e->api), e->slices, d->ns, 0) < 0) {
        return 0; /* the newest state is always there */
    }
    while (n < room && (o = cursor_next(&at)) != NULL) {
        if (is_ours(o, d->name) && !find_named(wanted, o->name)) {
            found[n++] = object_ref(o);
        }
    }
    cursor_fini(&at);
    return n;
}

static void drop_others(struct endpoints *e, const struct dirty *d, const struct json *wanted)
{
    struct object *found[16];
    size_t n = unwanted(e, d, wanted, found, ARRAY_LEN(found));

    for (size_t i = 0; i < n; i++) {
        AUTO(json) struct json *body = object_parse(found[i], "v1");
        if (body) {
            object_unref(change_remove(e->api, e->slices, body));
        }
        object_unref(found[i]);
    }
}

static void update(struct endpoints *e, const struct dirty *d)
{
    const struct object *o = store_find(api_store(e->api), e->services, d->ns, d->name);
    AUTO(json) struct json *service = o ? object_parse(o, "v1") : NULL;
    const struct json *selector = json_at(service, "spec.selector");
    AUTO(json) struct json *pods = NULL;
    AUTO(json) struct json *wanted = NULL;

    if (json_count(selector) > 0) {
        pods = selected_pods(e, d->ns, selector);
        wanted = endpoints_of(service, pods);
    }
    for (size_t i = 0; i < json_count(wanted); i++) {
        write_slice(e, json_item(wanted, i));
    }
    drop_others(e, d, wanted);
}

static void look_at_changes(struct endpoints *e)
{
    struct store *store = api_store(e->api);

    if (e->at < store_floor(store)) {
        mark_all(e); /* too far behind to know what changed */
        return;
    }
    for (unsigned n = 0; n < ENDPOINTS_CHANGES && e->at < store_rv(store); n++) {
        on_change(e, store_change(store, ++e->at));
    }
}

static void run(struct task *t, unsigned why)
{
    struct endpoints *e = container_of(t, struct endpoints, task);
    unsigned budget = ENDPOINTS_SERVICES;

    (void)why; /* the store tells what there is to do */
    look_at_changes(e);
    while (e->dirty.count > 0 && budget-- > 0 && store_accepts(api_store(e->api))) {
        struct dirty *d = container_of(map_first(&e->dirty), struct dirty, node);
        map_remove(&e->dirty, &d->node);
        update(e, d);
        dirty_free(d);
    }
    bool behind = e->dirty.count > 0 || e->at < store_rv(api_store(e->api));
    if (behind && store_accepts(api_store(e->api))) { /* else the store wakes us */
        task_wake(t, WAKE_IO);
    }
}

struct endpoints *endpoints_new(struct api *api, struct loop *l)
{
    struct endpoints *e = mem_new(struct endpoints);

    e->api = api;
    e->services = kind_named("", "Service");
    e->pods = kind_named("", "Pod");
    e->slices = kind_named("discovery.k8s.io", "EndpointSlice");
    map_init(&e->dirty);
    task_init(&e->task, l, "endpoints", run);
    store_wait(api_store(api), &e->waiter, &e->task);
    mark_all(e);
    task_wake(&e->task, WAKE_START);
    return e;
}

void endpoints_free(struct endpoints *e)
{
    if (!e) {
        return;
    }
    store_unwait(&e->waiter);
    task_fini(&e->task);
    map_for_each (n, &e->dirty) {
        map_remove(&e->dirty, n);
        dirty_free(container_of(n, struct dirty, node));
    }
    map_fini(&e->dirty);
    mem_free(e);
}
