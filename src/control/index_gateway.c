/* SPDX-License-Identifier: Apache-2.0 */
/* Gateways and their classes, and who asks for them by label (contract 3.4). */
#include <string.h>

#include "base/mem.h"
#include "codec/name.h"
#include "control/index_int.h"
#include "control/linger.h"
#include "control/reconcile.h"

enum { HBONE_PORT = 15008 };

/* ---- found by name, made at the first use, gone with the last */

struct gateway_item *gateway_find(const struct index *x, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&x->gateways, index_hash(ns, name)); n;
         n = map_find_next(n)) {
        struct gateway_item *g = container_of(n, struct gateway_item, by_name);
        if (strcmp(g->space->name, ns) == 0 && strcmp(g->name, name) == 0) {
            return g;
        }
    }
    return NULL;
}

static struct gateway_item *item_new(struct index *x, const char *ns, const char *name)
{
    struct gateway_item *g = mem_new(struct gateway_item);

    g->space = space_use(x, ns);
    g->name = intern_text(x->pool, name);
    list_init(&g->dirty);
    list_init(&g->aims);
    for (unsigned i = 0; i < WISHERS; i++) {
        list_init(&g->wishing[i]);
    }
    voice_init(&g->status);
    for (unsigned i = 0; i < CHILDREN; i++) {
        voice_init(&g->children[i]);
    }
    map_insert(&x->gateways, &g->by_name, index_hash(ns, name));
    return g;
}

struct gateway_item *gateway_use(struct index *x, const char *ns, const char *name)
{
    struct gateway_item *g = gateway_find(x, ns, name);

    if (!g) {
        g = item_new(x, ns, name);
    }
    g->users++;
    return g;
}

static void gateway_item_free(struct index *x, struct gateway_item *g)
{
    map_remove(&x->gateways, &g->by_name);
    list_remove(&g->dirty);
    shelf_fini(&g->shelf);
    voice_fini(&g->status);
    for (unsigned i = 0; i < CHILDREN; i++) {
        voice_fini(&g->children[i]);
    }
    for (unsigned i = 0; i < CHILDREN; i++) {
        json_unref(g->have[i]);
    }
    json_unref(g->object);
    mem_free(g->rendered);
    text_unref(g->name);
    space_unuse(x, g->space);
    mem_free(g);
}

/* What is still to be deleted of its children holds it too: their voices end with it. */
void gateway_unuse(struct index *x, struct gateway_item *g)
{
    if (--g->users == 0) {
        gateway_item_free(x, g);
    }
}

void gateways_drop(struct index *x)
{
    map_for_each (n, &x->gateways) {
        container_of(n, struct gateway_item, by_name)->users++; /* until nobody wishes for it */
    }
    map_for_each (n, &x->spaces) {
        wish_fini(x, &container_of(n, struct space, by_name)->wish);
    }
    map_for_each (n, &x->gateways) {
        struct gateway_item *g = container_of(n, struct gateway_item, by_name);
        g->users -= g->object != NULL;
        for (unsigned i = 0; i < CHILDREN; i++) {
            g->users -= g->have[i] != NULL;
        }
        gateway_unuse(x, g);
    }
}

/* ---- wishes */

void wish_init(struct waypoint_wish *w)
{
    *w = (struct waypoint_wish){.is_set = false};
    list_init(&w->in_gateway);
}

void wish_fini(struct index *x, struct waypoint_wish *w)
{
    list_remove(&w->in_gateway);
    if (w->gateway) {
        gateway_unuse(x, w->gateway);
        w->gateway = NULL;
    }
    w->is_set = false;
}

static bool wish_set(struct index *x, struct waypoint_wish *w, enum wisher who, const char *name,
                     const char *ns, const char *own_ns)
{
    struct waypoint_wish next = {.is_set = name && *name};

    if (next.is_set && strcmp(name, "none") != 0) {
        next.gateway = gateway_use(x, ns && *ns ? ns : own_ns, name);
    }
    bool is_other = next.is_set != w->is_set || next.gateway != w->gateway;
    if (is_other && w->gateway) {
        mark_gateway(x, w->gateway); /* it has one less to serve */
    }
    wish_fini(x, w);
    w->is_set = next.is_set;
    w->gateway = next.gateway;
    if (w->gateway) {
        list_append(&w->gateway->wishing[who], &w->in_gateway);
    }
    return is_other;
}

bool wish_read(struct index *x, struct waypoint_wish *w, enum wisher who, const struct json *labels,
               const char *own_ns)
{
    return wish_set(x, w, who, json_str(json_get(labels, "istio.io/use-waypoint"), NULL),
                    json_str(json_get(labels, "istio.io/use-waypoint-namespace"), NULL), own_ns);
}

/* ---- what a gateway is */

static const struct json *class_of(const struct index *x, const struct json *gateway)
{
    return json_get(x->classes, json_str_at(gateway, "spec.gatewayClassName", ""));
}

static enum gateway_traffic read_traffic(const struct index *x, const struct json *gateway)
{
    static const char *const names[] = {[TRAFFIC_NONE] = "none",
                                        [TRAFFIC_SERVICE] = "service",
                                        [TRAFFIC_WORKLOAD] = "workload",
                                        [TRAFFIC_ALL] = "all"};
    const char *text = meta_label(gateway, "istio.io/waypoint-for");

    if (!*text) {
        text = meta_label(class_of(x, gateway), "istio.io/waypoint-for");
    }
    if (!*text) {
        return TRAFFIC_SERVICE;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum gateway_traffic)i;
        }
    }
    return TRAFFIC_NONE; /* as an unknown word is read */
}

/* The first host name, else the first address that parses (contract 3.4.1). */
static void read_address(struct gateway_facts *f, const struct json *gateway, const char *ns)
{
    const struct json *all = json_array_at(gateway, "status.addresses");
    struct ip ip;

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *a = json_item(all, i);
        const char *value = json_str_at(a, "value", "");
        if (strcmp(json_str_at(a, "type", "IPAddress"), "Hostname") == 0) {
            f->address = (struct gateway){.kind = GATEWAY_HOSTNAME, .ns = ns, .hostname = value};
            break;
        }
        if (f->address.kind == GATEWAY_NONE && ip_parse(&ip, value, strlen(value)) == 0) {
            f->address = (struct gateway){.kind = GATEWAY_ADDRESS, .ip = ip, .network = ""};
        }
    }
    f->address.hbone_mtls_port = HBONE_PORT;
}

static const struct json *hbone_listener(const struct json *gateway)
{
    const struct json *all = json_array_at(gateway, "spec.listeners");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *l = json_item(all, i);
        if (strcmp(json_str_at(l, "protocol", ""), "HBONE") == 0 &&
            json_int_at(l, "port", 0) == HBONE_PORT) {
            return l;
        }
    }
    return NULL;
}

static void read_allowed(struct gateway_facts *f, const struct json *gateway)
{
    static const char *const names[] = {[ALLOWS_SAME] = "Same",
                                        [ALLOWS_ALL] = "All",
                                        [ALLOWS_SELECTOR] = "Selector",
                                        [ALLOWS_NONE] = "None"};
    const struct json *of = json_at(hbone_listener(gateway), "allowedRoutes.namespaces");
    const char *from = json_str_at(of, "from", "Same");

    f->allows = ALLOWS_NONE; /* for a word from the future */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(from, names[i]) == 0) {
            f->allows = (enum gateway_allows)i;
        }
    }
    f->selector = json_get(of, "selector");
}

static bool is_ours(const struct index *x, const struct json *gateway)
{
    const char *class = json_str_at(gateway, "spec.gatewayClassName", "");
    const struct json *object = class_of(x, gateway);
    const char *standard = strcmp(class, WAYPOINT_CLASS) == 0 ? WAYPOINT_CONTROLLER : "";

    return strcmp(json_str_at(object, "spec.controllerName", standard), WAYPOINT_CONTROLLER) == 0;
}

static void read_facts(struct index *x, struct gateway_item *g)
{
    const struct json *o = g->object;
    const char *account = meta_annotation(o, "gateway.istio.io/service-account");
    /* Anything else could pass for something else in what is made of it. */
    bool is_name = name_problem(NAME_SUBDOMAIN, account) == NULL;
    struct gateway_facts f = {.account = is_name ? account : g->name};

    read_address(&f, o, g->space->name);
    f.traffic = read_traffic(x, o);
    read_allowed(&f, o);
    f.is_ours = is_ours(x, o) && revision_is_ours(o, x->mesh);
    f.allows_bypass = bypass_is_allowed(o);
    g->f = f;
}

/* Nobody else has to know of the change. */
static bool same_facts(const struct gateway_facts *a, const struct gateway_facts *b)
{
    return gateway_equal(&a->address, &b->address) && a->traffic == b->traffic &&
           a->allows == b->allows && json_same(a->selector, b->selector) &&
           strcmp(a->account, b->account) == 0 && a->is_ours == b->is_ours &&
           a->allows_bypass == b->allows_bypass;
}

/* ---- marking */

void mark_gateway(struct index *x, struct gateway_item *g)
{
    if (g->object && list_is_empty(&g->dirty)) {
        list_append(&x->dirty_gateways, &g->dirty);
    }
}

void mark_all_gateways(struct index *x)
{
    map_for_each (n, &x->gateways) {
        mark_gateway(x, container_of(n, struct gateway_item, by_name));
    }
}

static void mark_inheriting(struct index *x, const struct space *s)
{
    list_for_each (n, &s->services) {
        struct service_item *service = container_of(n, struct service_item, in_space);
        if (!service->wish.is_set) {
            mark_binding(x, service);
        }
    }
    list_for_each (n, &s->pods) {
        struct pod_item *p = container_of(n, struct pod_item, in_space);
        if (!p->wish.is_set) {
            mark_pod(x, p);
        }
    }
}

void mark_gateway_users(struct index *x, const struct gateway_item *g)
{
    list_for_each (n, &g->wishing[WISHER_SERVICE]) {
        mark_binding(x, container_of(n, struct service_item, wish.in_gateway));
    }
    list_for_each (n, &g->wishing[WISHER_POD]) {
        mark_pod(x, container_of(n, struct pod_item, wish.in_gateway));
    }
    list_for_each (n, &g->wishing[WISHER_SPACE]) {
        mark_inheriting(x, container_of(n, struct space, wish.in_gateway));
    }
}

static void mark_around(struct index *x, struct gateway_item *g)
{
    mark_gateway(x, g);
    mark_gateway_users(x, g);
    mark_aims(x, &g->aims);
}

/* Its pods have no waypoint themselves, while it is there. */
static void mark_instances(struct index *x, const struct gateway_item *g)
{
    struct label label = {intern_text(x->pool, GATEWAY_LABEL), g->name};
    const struct labels selector = {&label, 1};

    mark_matching(x, g->space, &selector);
    text_unref(label.key);
}

/* ---- coming and going */

void index_put_gateway(struct index *x, const struct json *object)
{
    struct gateway_item *g = gateway_use(x, meta_ns(object), meta_name(object));

    if (g->object) {
        gateway_unuse(x, g); /* it has its use already */
    } else {
        linger_end_gateway(x, g);
        mark_instances(x, g);
    }
    AUTO(json) struct json *old = g->object; /* its facts borrow from it */
    struct gateway_facts was = g->f;
    g->object = json_ref(object);
    read_facts(x, g);
    if (old && same_facts(&was, &g->f)) {
        mark_gateway(x, g);
    } else {
        mark_around(x, g);
    }
}

void index_remove_gateway(struct index *x, const char *ns, const char *name)
{
    struct gateway_item *g = gateway_find(x, ns, name);

    if (!g || !g->object) {
        return;
    }
    linger_begin_gateway(x, g);
    voice_hush(&g->status);
    reconcile_remove(x, g);
    list_remove(&g->dirty);
    g->object = json_unref(g->object);
    g->f = (struct gateway_facts){.traffic = TRAFFIC_NONE};
    mark_around(x, g);
    mark_instances(x, g);
    turn_gateway_gone(x, g);
    gateway_unuse(x, g);
}

/* Gateways of the class are read anew. */
static void class_changed(struct index *x, const char *name)
{
    map_for_each (n, &x->gateways) {
        struct gateway_item *g = container_of(n, struct gateway_item, by_name);
        if (g->object && strcmp(json_str_at(g->object, "spec.gatewayClassName", ""), name) == 0) {
            read_facts(x, g);
            mark_around(x, g);
        }
    }
    mark_aims(x, &x->class_aims);
}

void index_put_class(struct index *x, const struct json *object)
{
    json_set(x->classes, meta_name(object), json_ref(object));
    class_changed(x, meta_name(object));
    reconcile_class(x, object);
}

void index_remove_class(struct index *x, const char *name)
{
    if (json_remove(x->classes, name)) {
        class_changed(x, name);
    }
    if (strcmp(name, WAYPOINT_CLASS) == 0) {
        reconcile_class_missing(x);
    }
}
