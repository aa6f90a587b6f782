/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/bootstrap.h"

#include <string.h>

#include "apiserver/call_int.h"
#include "apiserver/change.h"
#include "apiserver/meta.h"
#include "apiserver/namespace.h"
#include "apiserver/store.h"
#include "codec/json.h"

static const char *const namespaces[] = {"default", "kube-node-lease", "kube-public",
                                         "kube-system"};

static void put_namespace(struct api *a, const char *name, int64_t now_s)
{
    const struct kind *kind = kind_named("", "Namespace");
    AUTO(json) struct json *body = json_new_object();

    if (store_find(a->store, kind, "", name)) {
        return;
    }
    struct json *meta = json_make_object(body, "metadata");
    struct json *labels = json_new_object();
    json_set_str(meta, "name", name);
    json_set_str(labels, "kubernetes.io/metadata.name", name); /* the key holds dots: not a path */
    json_set(meta, "labels", labels);
    json_append_str(json_make_array(body, "spec.finalizers"), "kubernetes");
    json_set_str(json_make_object(body, "status"), "phase", "Active");
    change_stamp(kind, body, now_s);
    (void)change_put(a, kind, body); /* nobody asked for the object */
}

static void add_condition(struct json *body, const char *type, const char *reason, int64_t now_s)
{
    struct json *c = json_new_object();
    char time[TIME_TEXT];

    meta_format_time(now_s, time, sizeof(time));
    json_set_str(c, "type", type);
    json_set_str(c, "status", "True");
    json_set_str(c, "reason", reason);
    json_set_str(c, "lastTransitionTime", time);
    json_append(json_make_array(body, "status.conditions"), c);
}

/* The schema says no more than that it is an object: the server checks by its own. */
static void add_versions(struct json *spec, const struct kind *k)
{
    for (size_t i = 0; k->versions[i]; i++) {
        struct json *v = json_new_object();
        struct json *schema = json_make_object(v, "schema.openAPIV3Schema");
        json_set_str(v, "name", k->versions[i]);
        json_set_bool(v, "served", true);
        json_set_bool(v, "storage", i == 0);
        json_set_str(schema, "type", "object");
        json_set_bool(schema, "x-kubernetes-preserve-unknown-fields", true);
        json_set(json_make_object(v, "subresources"), "status", json_new_object());
        json_append(json_make_array(spec, "versions"), v);
    }
}

static void put_definition(struct api *a, const struct kind *k, int64_t now_s)
{
    const struct kind *crds = kind_named("apiextensions.k8s.io", "CustomResourceDefinition");
    AUTO(strbuf) struct strbuf name = {0};
    AUTO(strbuf) struct strbuf list_kind = {0};
    AUTO(json) struct json *body = json_new_object();
    struct json *spec = json_make_object(body, "spec");

    kind_resource(k, &name);
    if (store_find(a->store, crds, "", strbuf_text(&name))) {
        return;
    }
    strbuf_printf(&list_kind, "%sList", k->name);
    struct json *meta = json_make_object(body, "metadata");
    json_set_str(meta, "name", strbuf_text(&name));
    if (strcmp(k->group, "gateway.networking.k8s.io") == 0) {
        struct json *annotations = json_new_object(); /* clients want to know which release */
        json_set_str(annotations, "gateway.networking.k8s.io/bundle-version", "v1.6.0");
        json_set_str(annotations, "gateway.networking.k8s.io/channel", "standard");
        json_set(meta, "annotations", annotations);
    }
    json_set_str(spec, "group", k->group);
    json_set_str(spec, "scope", kind_is(k, KIND_NAMESPACED) ? "Namespaced" : "Cluster");
    json_set_str(json_make_object(spec, "names"), "plural", k->plural);
    json_set_str(json_make_object(spec, "names"), "singular", k->singular);
    json_set_str(json_make_object(spec, "names"), "kind", k->name);
    json_set_str(json_make_object(spec, "names"), "listKind", strbuf_text(&list_kind));
    add_versions(spec, k);
    add_condition(body, "NamesAccepted", "NoConflicts", now_s);
    add_condition(body, "Established", "InitialNamesAccepted", now_s);
    change_stamp(crds, body, now_s);
    (void)change_put(a, crds, body); /* nobody asked for the object */
}

void bootstrap(struct api *a, int64_t now_s)
{
    for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
        put_namespace(a, namespaces[i], now_s);
        namespace_furnish(a, namespaces[i], now_s);
    }
    for (size_t i = 0; i < kind_count; i++) {
        if (kind_is(&kind_list[i], KIND_CUSTOM)) {
            put_definition(a, &kind_list[i], now_s);
        }
    }
}
