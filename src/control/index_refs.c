/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces, places and services: found by name, made at the first use, gone with the last. */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

/* ---- spaces */

struct space *space_find(const struct index *x, const char *name)
{
    for (struct map_node *n = map_find(&x->spaces, map_hash_str(name)); n; n = map_find_next(n)) {
        struct space *s = container_of(n, struct space, by_name);
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

struct space *space_use(struct index *x, const char *name)
{
    struct space *s = space_find(x, name);

    if (!s) {
        s = mem_new(struct space);
        s->name = intern_text(x->pool, name);
        list_init(&s->pods);
        list_init(&s->services);
        list_init(&s->policies);
        list_init(&s->peers);
        map_init(&s->selectors);
        wish_init(&s->wish);
        s->ingress = -1;
        map_insert(&x->spaces, &s->by_name, map_hash_str(name));
    }
    s->users++;
    return s;
}

void space_unuse(struct index *x, struct space *s)
{
    if (--s->users == 0) {
        map_remove(&x->spaces, &s->by_name);
        map_fini(&s->selectors);
        labels_fini(&s->labels);
        text_unref(s->name);
        mem_free(s);
    }
}

/* ---- places */

struct place *place_find(const struct index *x, const char *name)
{
    for (struct map_node *n = map_find(&x->places, map_hash_str(name)); n; n = map_find_next(n)) {
        struct place *p = container_of(n, struct place, by_name);
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

struct place *place_use(struct index *x, const char *name)
{
    struct place *p = place_find(x, name);

    if (!p) {
        p = mem_new(struct place);
        p->name = intern_text(x->pool, name);
        p->region = intern_text(x->pool, "");
        p->zone = intern_text(x->pool, "");
        p->subzone = intern_text(x->pool, "");
        list_init(&p->pods);
        map_insert(&x->places, &p->by_name, map_hash_str(name));
    }
    p->users++;
    return p;
}

void place_unuse(struct index *x, struct place *p)
{
    if (--p->users == 0) {
        map_remove(&x->places, &p->by_name);
        text_unref(p->name);
        text_unref(p->region);
        text_unref(p->zone);
        text_unref(p->subzone);
        mem_free(p);
    }
}

/* ---- services and pods */

struct service_item *service_find(const struct index *x, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&x->services, index_hash(ns, name)); n;
         n = map_find_next(n)) {
        struct service_item *s = container_of(n, struct service_item, by_name);
        if (strcmp(s->space->name, ns) == 0 && strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

struct service_item *service_use(struct index *x, const char *ns, const char *name)
{
    struct service_item *s = service_find(x, ns, name);

    if (!s) {
        s = mem_new(struct service_item);
        s->space = space_use(x, ns);
        s->name = intern_text(x->pool, name);
        list_init(&s->in_space);
        list_init(&s->dirty);
        list_init(&s->dirty_l7);
        list_init(&s->slices);
        list_init(&s->routes);
        list_init(&s->backed);
        list_init(&s->aims);
        wish_init(&s->wish);
        voice_init(&s->status);
        turn_init(&s->turn);
        map_insert(&x->services, &s->by_name, index_hash(ns, name));
    }
    s->users++;
    return s;
}

void service_unuse(struct index *x, struct service_item *s)
{
    if (--s->users == 0) {
        map_remove(&x->services, &s->by_name);
        if (s->is_filed) {
            map_remove(&s->space->selectors, &s->by_label);
        }
        list_remove(&s->in_space);
        list_remove(&s->dirty);
        list_remove(&s->dirty_l7);
        wish_fini(x, &s->wish);
        shelf_fini(&s->shelf);
        voice_fini(&s->status);
        json_unref(s->said);
        guarding_fini(x, &s->guarding);
        turn_fini(x, &s->turn);
        text_unref(s->name);
        space_unuse(x, s->space);
        mem_free(s);
    }
}

struct pod_item *pod_find(const struct index *x, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&x->pods, index_hash(ns, name)); n; n = map_find_next(n)) {
        struct pod_item *p = container_of(n, struct pod_item, by_name);
        if (strcmp(p->f.ns, ns) == 0 && strcmp(p->f.name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

/* ---- marking */

void mark_pod(struct index *x, struct pod_item *p)
{
    if (list_is_empty(&p->dirty)) {
        list_append(&x->dirty_pods, &p->dirty);
        p->space->dirty_pods++;
    }
}

void mark_service(struct index *x, struct service_item *s)
{
    if (list_is_empty(&s->dirty)) {
        list_append(&x->dirty_services, &s->dirty);
    }
}

void mark_slice(struct index *x, struct slice_item *s)
{
    if (list_is_empty(&s->dirty)) {
        list_append(&x->dirty_slices, &s->dirty);
    }
}

void mark_peer(struct index *x, struct peer_item *p)
{
    if (list_is_empty(&p->dirty)) {
        list_append(&x->dirty_peers, &p->dirty);
    }
}

void mark_matching(struct index *x, const struct space *s, const struct labels *selector)
{
    if (s->dirty_pods == s->pod_count) { /* as while everything is read for the first time */
        return;
    }
    list_for_each (n, &s->pods) {
        struct pod_item *p = container_of(n, struct pod_item, in_space);
        if (labels_match(selector, &p->f.labels)) {
            mark_pod(x, p);
        }
    }
}

static void mark_all_pods(struct index *x)
{
    map_for_each (n, &x->pods) {
        mark_pod(x, container_of(n, struct pod_item, by_name));
    }
}

void mark_everything(struct index *x)
{
    mark_all_pods(x);
    map_for_each (n, &x->services) {
        mark_service(x, container_of(n, struct service_item, by_name));
    }
    mark_all_gateways(x);
    map_for_each (n, &x->slices) {
        mark_slice(x, container_of(n, struct slice_item, by_name));
    }
}
