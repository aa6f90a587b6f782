/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

static struct slice_item *slice_find(const struct index *x, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&x->slices, index_hash(ns, name)); n; n = map_find_next(n)) {
        struct slice_item *s = container_of(n, struct slice_item, by_name);
        if (strcmp(s->f.ns, ns) == 0 && strcmp(s->f.name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

/* ---- targets */

static void mark_pod_of(struct index *x, const struct slice_endpoint *e)
{
    struct pod_item *p = e->pod_ns ? pod_find(x, e->pod_ns, e->pod_name) : NULL;

    if (p) {
        mark_pod(x, p);
    }
}

void slice_attach(struct index *x, struct slice_item *s)
{
    if (s->targets || s->f.endpoint_count == 0) {
        return;
    }
    s->targets = mem_array(s->f.endpoint_count, sizeof(*s->targets));
    for (unsigned i = 0; i < s->f.endpoint_count; i++) {
        const struct slice_endpoint *e = &s->f.endpoints[i];
        if (e->pod_ns) {
            s->targets[i] = (struct target){.slice = s, .endpoint = e};
            map_insert(&x->targets, &s->targets[i].by_pod, index_hash(e->pod_ns, e->pod_name));
            mark_pod_of(x, e);
        }
    }
}

void slice_detach(struct index *x, struct slice_item *s)
{
    for (unsigned i = 0; s->targets && i < s->f.endpoint_count; i++) {
        if (s->targets[i].endpoint) {
            map_remove(&x->targets, &s->targets[i].by_pod);
            mark_pod_of(x, s->targets[i].endpoint);
        }
    }
    mem_free(s->targets);
    s->targets = NULL;
}

/* ---- coming and going */

static void join_service(struct index *x, struct slice_item *s)
{
    if (*s->f.service) {
        s->service = service_use(x, s->f.ns, s->f.service);
        list_append(&s->service->slices, &s->in_service);
        if (service_is_selectorless(s->service)) {
            slice_attach(x, s);
        }
    }
}

static void leave_service(struct index *x, struct slice_item *s)
{
    slice_detach(x, s);
    list_remove(&s->in_service);
    if (s->service) {
        service_unuse(x, s->service);
        s->service = NULL;
    }
}

/* A gateway's status says whether its service has endpoints. */
static void mark_fronted(struct index *x, const struct slice_item *s)
{
    struct gateway_item *g = *s->f.service ? gateway_find(x, s->f.ns, s->f.service) : NULL;

    if (g) {
        mark_gateway(x, g);
    }
}

void index_put_slice(struct index *x, const struct json *object)
{
    struct slice_facts f;

    slice_facts_read(&f, object, x->pool);
    struct slice_item *s = slice_find(x, f.ns, f.name);
    if (!s) {
        s = mem_new(struct slice_item);
        list_init(&s->in_service);
        list_init(&s->dirty);
        map_insert(&x->slices, &s->by_name, index_hash(f.ns, f.name));
    }
    leave_service(x, s);
    slice_facts_fini(&s->f);
    s->f = f;
    join_service(x, s);
    mark_slice(x, s);
    mark_fronted(x, s);
}

static void forget_published(struct slice_item *s)
{
    for (unsigned i = 0; i < s->published_count; i++) {
        mem_free(s->published[i]);
    }
    mem_free(s->published);
    s->published = NULL;
    s->published_count = 0;
}

void slice_item_free(struct index *x, struct slice_item *s)
{
    leave_service(x, s);
    list_remove(&s->dirty);
    map_remove(&x->slices, &s->by_name);
    forget_published(s);
    slice_facts_fini(&s->f);
    mem_free(s);
}

void index_remove_slice(struct index *x, const char *ns, const char *name)
{
    struct slice_item *s = slice_find(x, ns, name);

    if (!s) {
        return;
    }
    for (unsigned i = 0; i < s->published_count; i++) {
        (void)catalog_remove(x->addresses, s->published[i]); /* an address named twice goes once */
    }
    mark_fronted(x, s);
    slice_item_free(x, s);
}

/* ---- settling */

static char *publish(struct index *x, const struct slice_item *s, const struct slice_endpoint *e)
{
    AUTO(arena) struct arena a = {0};
    AUTO(identity)
    const struct identity *id = intern_identity(x->pool, x->mesh->trust_domain, s->f.ns, "");
    struct pod_context c = {.mesh = x->mesh, .network = x->network, .identity = id};
    struct workload w;

    translate_endpoint(&w, &s->f, e, &s->service->f, &c, &a);
    strbuf_clear(&x->wire);
    xds_workload_encode(&x->wire, &w);
    (void)catalog_put(x->addresses, w.uid, (struct slice){x->wire.p, x->wire.len});
    return mem_strdup(w.uid);
}

static bool is_listed(const struct slice_item *s, const char *name)
{
    for (unsigned i = 0; i < s->published_count; i++) {
        if (strcmp(s->published[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void publish_all(struct index *x, struct slice_item *s)
{
    const struct service_item *service = s->service;

    if (!service || !service->exists || !service->f.is_published || s->f.endpoint_count == 0) {
        return;
    }
    s->published = mem_array(s->f.endpoint_count, sizeof(*s->published));
    for (unsigned i = 0; i < s->f.endpoint_count; i++) {
        if (!s->f.endpoints[i].pod_ns) {
            s->published[s->published_count++] = publish(x, s, &s->f.endpoints[i]);
        }
    }
}

void settle_slice(struct index *x, struct slice_item *s)
{
    char **old = s->published;
    unsigned old_count = s->published_count;

    s->published = NULL;
    s->published_count = 0;
    publish_all(x, s);
    for (unsigned i = 0; i < old_count; i++) {
        if (!is_listed(s, old[i])) {
            (void)catalog_remove(x->addresses, old[i]); /* an address named twice goes once */
        }
        mem_free(old[i]);
    }
    mem_free(old);
}
