/* SPDX-License-Identifier: Apache-2.0 */
/* Services, and the slices of those whose endpoints are no pods. */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"
#include "control/reconcile.h"

bool service_is_selectorless(const struct service_item *s)
{
    return s->exists && s->f.selector.count == 0;
}

/* ---- coming and going */

static void file_selector(struct service_item *s)
{
    if (s->is_filed) {
        map_remove(&s->space->selectors, &s->by_label);
        s->is_filed = false;
    }
    if (s->exists && s->f.selector.count > 0) {
        const struct label *first = &s->f.selector.at[0];
        map_insert(&s->space->selectors, &s->by_label, index_hash(first->key, first->value));
        s->is_filed = true;
    }
}

static bool same_ports(const struct service_facts *a, const struct service_facts *b)
{
    bool same = a->port_count == b->port_count;

    for (unsigned i = 0; same && i < a->port_count; i++) {
        const struct service_port_facts *p = &a->ports[i];
        const struct service_port_facts *q = &b->ports[i];
        same = p->port == q->port && p->target == q->target && p->name == q->name &&
               p->target_name == q->target_name;
    }
    return same;
}

static void mark_selected(struct index *x, const struct service_item *s,
                          const struct service_facts *f)
{
    if (f->selector.count > 0) { /* an empty one selects nothing here */
        mark_matching(x, s->space, &f->selector);
    }
}

static void mark_targets(struct index *x, const struct slice_item *slice)
{
    for (unsigned i = 0; slice->targets && i < slice->f.endpoint_count; i++) {
        const struct slice_endpoint *e = slice->targets[i].endpoint;
        struct pod_item *p = e && e->pod_ns ? pod_find(x, e->pod_ns, e->pod_name) : NULL;
        if (p) {
            mark_pod(x, p);
        }
    }
}

static void mark_slices(struct index *x, const struct service_item *s)
{
    list_for_each (n, &s->slices) {
        struct slice_item *slice = container_of(n, struct slice_item, in_service);
        mark_targets(x, slice);
        mark_slice(x, slice);
    }
}

/* Slices follow whether their service has a selector. */
static void reattach(struct index *x, const struct service_item *s)
{
    list_for_each (n, &s->slices) {
        struct slice_item *slice = container_of(n, struct slice_item, in_service);
        if (service_is_selectorless(s)) {
            slice_attach(x, slice);
        } else {
            slice_detach(x, slice);
        }
    }
}

static void adopt(struct index *x, struct service_item *s, struct service_facts *take_f)
{
    struct service_facts old = s->f;
    bool was = s->exists;
    bool members_change = !was || old.is_published != take_f->is_published ||
                          !labels_equal(&old.selector, &take_f->selector) ||
                          !same_ports(&old, take_f);

    if (members_change) {
        mark_slices(x, s);
        mark_selected(x, s, &old);
    }
    s->f = *take_f;
    s->exists = true;
    file_selector(s);
    reattach(x, s);
    if (members_change) {
        mark_selected(x, s, &s->f);
    }
    service_facts_fini(&old);
}

static void note_said(struct service_item *s, const struct json *object)
{
    const struct json *all = json_array_at(object, "status.conditions");

    s->said = json_unref(s->said);
    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), "istio.io/WaypointBound") == 0) {
            s->said = json_ref(json_item(all, i));
        }
    }
}

/* A gateway's status says what its service is; and what is refused goes by a name that nobody has. */
static void mark_own_gateway(struct index *x, const struct service_item *s, bool came_or_went)
{
    struct gateway_item *g = gateway_find(x, s->space->name, s->name);

    if (g) {
        mark_gateway(x, g);
    }
    if (g && came_or_went) {
        mark_gateway_users(x, g);
    }
}

void mark_l7(struct index *x, struct service_item *s)
{
    if (list_is_empty(&s->dirty_l7)) {
        list_append(&x->dirty_l7, &s->dirty_l7);
    }
}

void mark_binding(struct index *x, struct service_item *s)
{
    if (s->exists) {
        mark_service(x, s);
        mark_l7(x, s);
        mark_aims(x, &s->aims);
        list_for_each (n, &s->routes) {
            mark_route(x, container_of(n, struct attachment, in_service)->route);
        }
    }
}

void index_put_service(struct index *x, const struct json *object)
{
    struct service_facts f;

    const struct json *labels = json_object_at(object, "metadata.labels");

    service_facts_read(&f, object, x->mesh, x->pool);
    struct service_item *s = service_use(x, f.ns, f.name);
    bool is_new = !s->exists;
    if (s->exists) {
        service_unuse(x, s); /* it has its use already */
    } else {
        list_append(&s->space->services, &s->in_space);
        x->existing_services++;
    }
    adopt(x, s, &f);
    (void)wish_read(x, &s->wish, WISHER_SERVICE, labels, f.ns); /* all that follows is marked */
    note_said(s, object);
    reconcile_child(x, CHILD_SERVICE, object);
    mark_binding(x, s);
    mark_routes_of(x, s);
    mark_aims(x, &s->aims);
    mark_own_gateway(x, s, is_new);
}

void index_remove_service(struct index *x, const char *ns, const char *name)
{
    struct service_item *s = service_find(x, ns, name);

    if (!s || !s->exists) {
        return;
    }
    (void)catalog_remove(x->addresses, s->f.key); /* an ExternalName was never published */
    mark_slices(x, s);
    mark_selected(x, s, &s->f);
    mark_routes_of(x, s);
    mark_aims(x, &s->aims);
    reconcile_child_gone(x, CHILD_SERVICE, ns, name);
    mark_own_gateway(x, s, true);
    shelf_clear(&s->shelf, x->catalogs);
    voice_hush(&s->status);
    s->said = json_unref(s->said);
    if (s->guarding.bound) {
        mark_gateway(x, s->guarding.bound);
    }
    guarding_fini(x, &s->guarding);
    turn_fini(x, &s->turn);
    wish_fini(x, &s->wish);
    s->exists = false;
    x->existing_services--;
    file_selector(s);
    reattach(x, s);
    list_remove(&s->dirty);
    list_remove(&s->dirty_l7);
    list_remove(&s->in_space);
    service_facts_fini(&s->f);
    service_unuse(x, s);
}

/* ---- settling */

void mark_members(struct index *x, const struct service_item *s)
{
    list_for_each (n, &s->slices) {
        mark_targets(x, container_of(n, struct slice_item, in_service));
    }
    mark_selected(x, s, &s->f);
}

static void touch_pod(struct index *x, const struct pod_item *p)
{
    AUTO(strbuf) struct strbuf resource = {0};

    pod_resource_name(x, p->f.ns, p->f.name, &resource);
    catalog_touch(x->addresses, strbuf_text(&resource));
}

static void touch_slice(struct index *x, const struct slice_item *slice)
{
    for (unsigned i = 0; i < slice->published_count; i++) {
        catalog_touch(x->addresses, slice->published[i]);
    }
    for (unsigned i = 0; slice->targets && i < slice->f.endpoint_count; i++) {
        const struct slice_endpoint *e = slice->targets[i].endpoint;
        const struct pod_item *p = e && e->pod_ns ? pod_find(x, e->pod_ns, e->pod_name) : NULL;
        if (p) {
            touch_pod(x, p);
        }
    }
}

/* A proxy drops endpoints that are not healthy or whose service went; after a change of the service
 * it needs them again (contract 5.4). */
static void touch_members(struct index *x, const struct service_item *s)
{
    list_for_each (n, &s->slices) {
        touch_slice(x, container_of(n, struct slice_item, in_service));
    }
    if (s->f.selector.count == 0) {
        return;
    }
    list_for_each (n, &s->space->pods) {
        const struct pod_item *p = container_of(n, struct pod_item, in_space);
        /* Those that are due are sent anyway if they have changed, and at first all are due. */
        if (labels_match(&s->f.selector, &p->f.labels)) {
            touch_pod(x, p);
        }
    }
}

void settle_service(struct index *x, struct service_item *s)
{
    AUTO(arena) struct arena a = {0};
    struct service service;
    struct xds_service_more more;

    if (!s->exists) {
        return;
    }
    if (!s->f.is_published) {
        (void)catalog_remove(x->addresses, s->f.key); /* it may never have been */
        return;
    }
    turn_follow(x, s);
    struct gateway room;
    struct service_context c = {.network = x->network,
                                .of_namespace = (enum distribution)s->space->distribution,
                                .waypoint = waypoint_for_service(x, s, &room, &a)};
    int8_t ingress = s->f.ingress >= 0 ? s->f.ingress : s->space->ingress;
    c.ingress_use_waypoint = ingress == 1 && waypoint_of_service(x, s).state == WAYPOINT_BOUND;
    translate_service(&service, &more, &s->f, &c, &a);
    strbuf_clear(&x->wire);
    xds_service_encode(&x->wire, &service, &more);
    if (catalog_put(x->addresses, s->f.key, (struct slice){x->wire.p, x->wire.len}) &&
        s->space->settled_pods > 0) { /* not while everything is read for the first time */
        touch_members(x, s);
    }
}
