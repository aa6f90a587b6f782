/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces and nodes: what others take from them. */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

/* True: it has changed. */
static bool set_text(struct index *x, const char **at, const char *text)
{
    if (strcmp(*at, text) == 0) {
        return false;
    }
    text_unref(*at);
    *at = intern_text(x->pool, text);
    return true;
}

static const char *label_of(const struct json *object, const char *key)
{
    return json_str(json_get(json_object_at(object, "metadata.labels"), key), "");
}

/* ---- namespaces */

static void set_distribution(struct index *x, struct space *s, enum distribution d)
{
    if (s->distribution == (uint8_t)d) {
        return;
    }
    s->distribution = (uint8_t)d;
    list_for_each (n, &s->services) {
        mark_service(x, container_of(n, struct service_item, in_space));
    }
}

/* The system namespace's label is the network of the whole cluster. */
static void set_network(struct index *x, const struct space *s, const char *network)
{
    if (strcmp(s->name, x->mesh->system_ns) == 0 && set_text(x, &x->network, network)) {
        mark_everything(x);
    }
}

/* Its labels say which waypoint its services have, and whose they may have. */
static void set_attachment(struct index *x, struct space *s, const struct json *object)
{
    const struct json *from = json_object_at(object, "metadata.labels");
    int8_t ingress = ingress_read(object);
    struct labels labels;

    labels_read(&labels, from, x->pool);
    bool is_other = !labels_equal(&labels, &s->labels) || ingress != s->ingress;
    labels_fini(&s->labels);
    s->labels = labels;
    s->ingress = ingress;
    is_other |= wish_read(x, &s->wish, WISHER_SPACE, from, s->name);
    if (!is_other) {
        return;
    }
    list_for_each (n, &s->services) {
        mark_binding(x, container_of(n, struct service_item, in_space));
    }
    list_for_each (n, &s->pods) {
        mark_pod(x, container_of(n, struct pod_item, in_space));
    }
}

void index_put_namespace(struct index *x, const struct json *object)
{
    struct space *s = space_use(x, json_str_at(object, "metadata.name", ""));
    const struct json *annotations = json_object_at(object, "metadata.annotations");

    if (s->exists) {
        space_unuse(x, s); /* it has its use already */
    } else {
        s->exists = true;
        x->existing_namespaces++;
    }
    set_distribution(x, s,
                     distribution_read(json_str(
                         json_get(annotations, "networking.istio.io/traffic-distribution"), NULL)));
    set_attachment(x, s, object);
    set_network(x, s, label_of(object, "topology.istio.io/network"));
}

void index_remove_namespace(struct index *x, const char *name)
{
    struct space *s = space_find(x, name);

    if (s && s->exists) {
        s->exists = false;
        x->existing_namespaces--;
        set_distribution(x, s, DISTRIBUTION_UNSET);
        set_network(x, s, "");
        set_attachment(x, s, NULL);
        space_unuse(x, s);
    }
}

/* ---- nodes */

static void set_locality(struct index *x, struct place *p, const struct locality *l)
{
    bool changed = set_text(x, &p->region, l->region);

    changed |= set_text(x, &p->zone, l->zone);
    changed |= set_text(x, &p->subzone, l->subzone);
    if (!changed) {
        return;
    }
    list_for_each (n, &p->pods) {
        mark_pod(x, container_of(n, struct pod_item, in_place));
    }
}

void index_put_node(struct index *x, const struct json *object)
{
    struct place *p = place_use(x, json_str_at(object, "metadata.name", ""));
    struct locality l = {.region = label_of(object, "topology.kubernetes.io/region"),
                         .zone = label_of(object, "topology.kubernetes.io/zone"),
                         .subzone = label_of(object, "topology.istio.io/subzone")};

    if (p->exists) {
        place_unuse(x, p); /* it has its use already */
    } else {
        p->exists = true;
        x->existing_nodes++;
    }
    set_locality(x, p, &l);
}

void index_remove_node(struct index *x, const char *name)
{
    struct place *p = place_find(x, name);

    if (p && p->exists) {
        const struct locality none = {"", "", ""};
        p->exists = false;
        x->existing_nodes--;
        set_locality(x, p, &none);
        place_unuse(x, p);
    }
}
