/* SPDX-License-Identifier: Apache-2.0 */
/* HTTPRoutes, GRPCRoutes and TCPRoutes with Services as parents; ReferenceGrants. */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

enum { ATTACHMENTS_MAX = 1024 }; /* of one route; its lists are bounded by admission */

#define GATEWAY_API "gateway.networking.k8s.io"

const char *route_ns(const struct route_item *r)
{
    return meta_ns(r->object);
}

const char *route_name(const struct route_item *r)
{
    return meta_name(r->object);
}

const char *route_kind_name(enum l7_route_kind kind)
{
    static const char *const names[] = {
        [L7_HTTP_ROUTE] = "HTTPRoute", [L7_GRPC_ROUTE] = "GRPCRoute", [L7_TCP_ROUTE] = "TCPRoute"};

    return names[kind];
}

static uint64_t hash_of(enum l7_route_kind kind, const char *ns, const char *name)
{
    return index_hash(ns, name) * 31 + (uint64_t)kind;
}

static struct route_item *route_find(const struct index *x, enum l7_route_kind kind, const char *ns,
                                     const char *name)
{
    for (struct map_node *n = map_find(&x->routes, hash_of(kind, ns, name)); n;
         n = map_find_next(n)) {
        struct route_item *r = container_of(n, struct route_item, by_name);
        if (r->kind == kind && strcmp(route_ns(r), ns) == 0 && strcmp(route_name(r), name) == 0) {
            return r;
        }
    }
    return NULL;
}

/* ---- references */

static bool is_core(const struct json *ref, const char *group_otherwise)
{
    const char *group = json_str_at(ref, "group", group_otherwise);

    return !*group || strcmp(group, "core") == 0;
}

static bool is_service_parent(const struct json *ref)
{
    return strcmp(json_str_at(ref, "kind", "Gateway"), "Service") == 0 && is_core(ref, GATEWAY_API);
}

static bool is_service_backend(const struct json *ref)
{
    return strcmp(json_str_at(ref, "kind", "Service"), "Service") == 0 && is_core(ref, "");
}

/* A grant in the target's namespace lets routes of this kind and namespace refer to it. */
static bool grant_allows(const struct json *grant, const struct route_item *r, const char *name)
{
    const struct json *from = json_at(grant, "spec.from");
    const struct json *to = json_at(grant, "spec.to");
    bool may = false;

    for (size_t i = 0; i < json_count(from); i++) {
        const struct json *f = json_item(from, i);
        may |= strcmp(json_str_at(f, "group", ""), GATEWAY_API) == 0 &&
               strcmp(json_str_at(f, "kind", ""), route_kind_name(r->kind)) == 0 &&
               strcmp(json_str_at(f, "namespace", ""), route_ns(r)) == 0;
    }
    for (size_t i = 0; may && i < json_count(to); i++) {
        const struct json *t = json_item(to, i);
        const char *only = json_str_at(t, "name", "");
        if (strcmp(json_str_at(t, "kind", ""), "Service") == 0 && is_core(t, "") &&
            (!*only || strcmp(only, name) == 0)) {
            return true;
        }
    }
    return false;
}

/* The parent itself needs no grant: it is what the client asked for. */
static bool is_granted(const struct index *x, const struct attachment *parent, const char *ns,
                       const char *name)
{
    const struct route_item *r = parent->route;
    const struct service_item *s = parent->service;

    if (strcmp(ns, route_ns(r)) == 0 ||
        (strcmp(ns, s->space->name) == 0 && strcmp(name, s->name) == 0)) {
        return true;
    }
    for (struct json_iter it = {0}; json_each(x->grants, &it);) {
        if (strcmp(meta_ns(it.value), ns) == 0 && grant_allows(it.value, r, name)) {
            return true;
        }
    }
    return false;
}

static const struct service_port_facts *port_of(const struct service_item *s, int64_t port)
{
    for (unsigned i = 0; i < s->f.port_count; i++) {
        if (s->f.ports[i].port == port) {
            return &s->f.ports[i];
        }
    }
    return NULL;
}

struct service_item *route_backend(const struct index *x, const struct attachment *parent,
                                   const struct json *ref, const char **reason, struct strbuf *why)
{
    const struct route_item *r = parent->route;
    const char *ns = json_str_at(ref, "namespace", route_ns(r));
    const char *name = json_str_at(ref, "name", "");
    int64_t port = json_int_at(ref, "port", 0);

    if (!is_service_backend(ref)) {
        *reason = "InvalidKind";
        strbuf_printf(why, "backends of kind %s are not supported: name a Service",
                      json_str_at(ref, "kind", ""));
        return NULL;
    }
    if (!is_granted(x, parent, ns, name)) {
        *reason = "RefNotPermitted";
        strbuf_printf(why,
                      "backendRef %s/%s not accessible to a %s in namespace \"%s\" (missing a "
                      "ReferenceGrant?)",
                      name, ns, route_kind_name(r->kind), route_ns(r));
        return NULL;
    }
    struct service_item *s = service_find(x, ns, name);
    if (!s || !s->exists) {
        *reason = "BackendNotFound";
        strbuf_printf(why, "backend(%s.%s.svc.%s) not found", name, ns, x->mesh->domain);
        return NULL;
    }
    if (!s->f.is_published) { /* as istiod has it: the mesh knows no such service */
        *reason = "BackendNotFound";
        strbuf_printf(why, "backend(%s) is an ExternalName, or has a clusterIP that is none",
                      s->f.hostname);
        return NULL;
    }
    if (!port_of(s, port)) {
        *reason = "BackendNotFound";
        strbuf_printf(why, "backend(%s) has no port %lld", s->f.hostname, (long long)port);
        return NULL;
    }
    return s;
}

const char *route_parent_problem(const struct attachment *parent, struct strbuf *text)
{
    const struct service_item *s = parent->service;
    const struct json *ref =
        json_item(json_at(parent->route->object, "spec.parentRefs"), parent->parent);
    int64_t port = json_int_at(ref, "port", 0);

    if (!s->exists) {
        strbuf_printf(text, "parent service: \"%s\" not found", s->name);
        return "NoMatchingParent";
    }
    if (port != 0 && !port_of(s, port)) {
        strbuf_printf(text, "port %lld not found", (long long)port);
        return "NoMatchingParent";
    }
    return NULL;
}

const char *route_consumer(const struct index *x, const struct attachment *parent)
{
    const char *ns = route_ns(parent->route);
    struct waypoint_choice c = waypoint_of_service(x, parent->service);
    bool is_waypoints = c.gateway && strcmp(c.gateway->space->name, ns) == 0;

    return strcmp(parent->service->space->name, ns) == 0 || is_waypoints ? "" : ns;
}

/* ---- marking */

void mark_route(struct index *x, struct route_item *r)
{
    if (list_is_empty(&r->dirty)) {
        list_append(&x->dirty_routes, &r->dirty);
    }
}

static void mark_parents(struct index *x, struct route_item *r)
{
    mark_route(x, r);
    for (unsigned i = 0; i < r->parent_count; i++) {
        if (r->parents[i].service->exists) {
            mark_l7(x, r->parents[i].service);
        }
    }
}

void mark_routes_of(struct index *x, struct service_item *s)
{
    list_for_each (n, &s->routes) {
        mark_parents(x, container_of(n, struct attachment, in_service)->route);
    }
    list_for_each (n, &s->backed) {
        mark_parents(x, container_of(n, struct attachment, in_service)->route);
    }
}

static void mark_all_routes(struct index *x)
{
    map_for_each (n, &x->routes) {
        mark_parents(x, container_of(n, struct route_item, by_name));
    }
}

/* ---- attaching */

static void attach(struct route_item *r, struct attachment *at, struct list *to,
                   struct service_item *take_s)
{
    at->route = r;
    at->service = take_s;
    list_append(to, &at->in_service);
}

static void attach_parents(struct index *x, struct route_item *r)
{
    const struct json *refs = json_at(r->object, "spec.parentRefs");
    size_t count = json_count(refs) < ATTACHMENTS_MAX ? json_count(refs) : ATTACHMENTS_MAX;

    r->parents = count > 0 ? mem_array(count, sizeof(*r->parents)) : NULL;
    for (size_t i = 0; i < count; i++) {
        const struct json *ref = json_item(refs, i);
        if (is_service_parent(ref)) {
            struct service_item *s = service_use(x, json_str_at(ref, "namespace", route_ns(r)),
                                                 json_str_at(ref, "name", ""));
            r->parents[r->parent_count].parent = (unsigned)i;
            attach(r, &r->parents[r->parent_count++], &s->routes, s);
        }
    }
}

static void attach_backend(struct index *x, struct route_item *r, const struct json *ref)
{
    if (!ref || !is_service_backend(ref) || r->backend_count == ATTACHMENTS_MAX) {
        return;
    }
    if (!r->backends) {
        r->backend_count++; /* they are being counted */
    } else {
        struct service_item *s = service_use(x, json_str_at(ref, "namespace", route_ns(r)),
                                             json_str_at(ref, "name", ""));
        attach(r, &r->backends[r->backend_count++], &s->backed, s);
    }
}

static void attach_mirrors(struct index *x, struct route_item *r, const struct json *filters)
{
    for (size_t i = 0; i < json_count(filters); i++) {
        attach_backend(x, r, json_at(json_item(filters, i), "requestMirror.backendRef"));
    }
}

static void attach_rule(struct index *x, struct route_item *r, const struct json *rule)
{
    const struct json *refs = json_get(rule, "backendRefs");

    attach_mirrors(x, r, json_get(rule, "filters"));
    for (size_t i = 0; i < json_count(refs); i++) {
        attach_backend(x, r, json_item(refs, i));
        attach_mirrors(x, r, json_get(json_item(refs, i), "filters"));
    }
}

static void attach_backends(struct index *x, struct route_item *r)
{
    const struct json *rules = json_at(r->object, "spec.rules");

    for (size_t i = 0; i < json_count(rules); i++) {
        attach_rule(x, r, json_item(rules, i));
    }
    if (r->backend_count == 0) {
        return;
    }
    r->backends =
        mem_array(r->backend_count, sizeof(*r->backends)); /* nodes of lists: they stay put */
    r->backend_count = 0;
    for (size_t i = 0; i < json_count(rules); i++) {
        attach_rule(x, r, json_item(rules, i));
    }
}

static void detach_all(struct index *x, struct attachment *at, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        list_remove(&at[i].in_service);
        service_unuse(x, at[i].service);
    }
    mem_free(at);
}

static void detach(struct index *x, struct route_item *r)
{
    detach_all(x, r->parents, r->parent_count);
    detach_all(x, r->backends, r->backend_count);
    r->parents = NULL;
    r->backends = NULL;
    r->parent_count = 0;
    r->backend_count = 0;
}

/* ---- coming and going */

static struct route_item *item_new(struct index *x, enum l7_route_kind kind,
                                   const struct json *object)
{
    struct route_item *r = mem_new(struct route_item);

    r->kind = kind;
    r->object = json_ref(object);
    list_init(&r->dirty);
    voice_init(&r->status);
    map_insert(&x->routes, &r->by_name, hash_of(kind, meta_ns(object), meta_name(object)));
    return r;
}

void index_put_route(struct index *x, enum l7_route_kind kind, const struct json *object)
{
    struct route_item *r = route_find(x, kind, meta_ns(object), meta_name(object));

    if (!revision_is_ours(object, x->mesh)) {
        index_remove_route(x, kind, meta_ns(object), meta_name(object));
        return;
    }
    if (r) {
        mark_parents(x, r);
        detach(x, r);
        json_unref(r->object);
        r->object = json_ref(object);
    } else {
        r = item_new(x, kind, object);
    }
    attach_parents(x, r);
    attach_backends(x, r);
    mark_parents(x, r);
}

void route_item_free(struct index *x, struct route_item *r)
{
    detach(x, r);
    map_remove(&x->routes, &r->by_name);
    list_remove(&r->dirty);
    voice_fini(&r->status);
    json_unref(r->object);
    mem_free(r);
}

void index_remove_route(struct index *x, enum l7_route_kind kind, const char *ns, const char *name)
{
    struct route_item *r = route_find(x, kind, ns, name);

    if (r) {
        mark_parents(x, r);
        route_item_free(x, r);
    }
}

/* ---- grants */

static void grant_key(const char *ns, const char *name, struct strbuf *out)
{
    strbuf_printf(out, "%s/%s", ns, name);
}

void index_put_grant(struct index *x, const struct json *object)
{
    AUTO(strbuf) struct strbuf key = {0};

    grant_key(meta_ns(object), meta_name(object), &key);
    json_set(x->grants, strbuf_text(&key), json_ref(object));
    mark_all_routes(x);
}

void index_remove_grant(struct index *x, const char *ns, const char *name)
{
    AUTO(strbuf) struct strbuf key = {0};

    grant_key(ns, name, &key);
    if (json_remove(x->grants, strbuf_text(&key))) {
        mark_all_routes(x);
    }
}
