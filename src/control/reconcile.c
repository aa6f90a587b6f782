/* SPDX-License-Identifier: Apache-2.0 */
#include "control/reconcile.h"

#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"

static const char manager[] = "istio.io/gateway-controller";

/* ---- what it becomes */

static struct index_write apply(enum index_resource resource, struct json *take_body)
{
    return (struct index_write){
        .resource = resource, .verb = VERB_APPLY, .manager = manager, .body = take_body};
}

/* The user brings what spec.addresses names (contract 7.2). */
static bool is_managed(const struct json *gateway)
{
    const struct json *at = json_array_at(gateway, "spec.addresses");

    return json_count(at) == 0 ||
           (json_count(at) == 1 &&
            strcmp(json_str_at(json_item(at, 0), "type", "IPAddress"), "IPAddress") == 0);
}

/* The form of the object that its children follow: not its status. */
static char *form_of(const struct json *gateway)
{
    AUTO(json) struct json *j = json_new_object();
    AUTO(strbuf) struct strbuf text = {0};
    const struct json *meta = json_get(gateway, "metadata");

    json_set(j, "spec", json_ref(json_get(gateway, "spec")));
    json_set(j, "labels", json_ref(json_get(meta, "labels")));
    json_set(j, "annotations", json_ref(json_get(meta, "annotations")));
    json_set_str(j, "uid", json_str_at(meta, "uid", ""));
    json_print(j, JSON_PRINT_SORTED, &text);
    return strbuf_take(&text);
}

static void say_deployment(struct index *x, struct gateway_item *g)
{
    struct waypoint_image image = {.image = x->mesh->waypoint_image,
                                   .discovery = x->mesh->discovery,
                                   .cluster_id = x->mesh->cluster_id,
                                   .trust_domain = x->mesh->trust_domain,
                                   .network = x->network};

    if (image.image) {
        voice_say(&x->words, &g->children[CHILD_DEPLOYMENT],
                  apply(WRITE_DEPLOYMENT, gateway_deployment(g->object, &image)));
    }
}

/* Something of that name that is not ours is left alone. */
static void write_children(struct index *x, struct gateway_item *g)
{
    const struct service_item *s = service_find(x, g->space->name, g->name);
    bool is_there = s && s->exists;
    bool is_foreign = is_there && !s->f.is_waypoint;
    AUTO(text) char *form = form_of(g->object);

    if (!is_managed(g->object) || (is_there && g->rendered && strcmp(form, g->rendered) == 0)) {
        return;
    }
    if (!g->rendered || strcmp(form, g->rendered) != 0) {
        if (!*meta_annotation(g->object, "gateway.istio.io/service-account")) {
            voice_say(&x->words, &g->children[CHILD_ACCOUNT],
                      apply(WRITE_ACCOUNT, gateway_account(g->object)));
        }
        say_deployment(x, g);
    }
    if (!is_foreign) {
        voice_say(&x->words, &g->children[CHILD_SERVICE],
                  apply(WRITE_SERVICE, gateway_service(g->object)));
    }
    mem_free(g->rendered);
    g->rendered = MOVE(form);
}

/* ---- what is said about it */

static bool has_ready(const struct service_item *s)
{
    list_for_each (n, &s->slices) {
        const struct slice_facts *f = &container_of(n, struct slice_item, in_service)->f;
        for (unsigned i = 0; i < f->endpoint_count; i++) {
            if (f->endpoints[i].is_ready) {
                return true;
            }
        }
    }
    return false;
}

static void say_status(struct index *x, struct gateway_item *g)
{
    const struct service_item *s = service_find(x, g->space->name, g->name);
    AUTO(strbuf) struct strbuf host = {0};
    struct gateway_view v = {.exists = s && s->exists};

    strbuf_printf(&host, "%s.%s.svc.%s", g->name, g->space->name, x->mesh->domain);
    v.hostname = strbuf_text(&host);
    if (v.exists) {
        v.vips = s->f.vips;
        v.vip_count = s->f.vip_count;
        v.ports = s->f.ports;
        v.port_count = s->f.port_count;
        v.has_endpoints = has_ready(s);
    }
    struct json *status = gateway_status(g->object, &v);
    if (json_covers(json_get(g->object, "status"), status)) {
        voice_hush(&g->status);
        json_unref(status);
        return;
    }
    struct json *body =
        written_object("gateway.networking.k8s.io/v1", "Gateway", g->space->name, g->name);
    json_set(body, "status", status);
    voice_say(&x->words, &g->status,
              (struct index_write){.resource = WRITE_GATEWAY,
                                   .verb = VERB_APPLY,
                                   .manager = manager,
                                   .sub = "status",
                                   .body = body});
}

void reconcile_gateway(struct index *x, struct gateway_item *g)
{
    if (!g->f.is_ours || json_at(g->object, "metadata.deletionTimestamp")) {
        voice_hush(&g->status);
        return;
    }
    write_children(x, g);
    say_status(x, g);
}

/* On a cluster the owner's garbage is collected; without one nobody does. An account stays: whoever
 * else uses it would lose it. */
void reconcile_remove(struct index *x, struct gateway_item *g)
{
    const struct service_item *s = service_find(x, g->space->name, g->name);

    for (unsigned i = 0; i < CHILDREN; i++) {
        voice_hush(&g->children[i]);
    }
    mem_free(g->rendered);
    g->rendered = NULL;
    if (g->f.is_ours && s && s->exists && s->f.is_waypoint && is_managed(g->object)) {
        voice_once(&x->words, (struct index_write){.resource = WRITE_SERVICE,
                                                   .verb = VERB_DELETE,
                                                   .manager = manager,
                                                   .body = written_object(
                                                       "v1", "Service", g->space->name, g->name)});
    }
}

/* ---- classes */

void reconcile_class(struct index *x, const struct json *object)
{
    struct json *status;

    if (strcmp(meta_name(object), WAYPOINT_CLASS) != 0 ||
        strcmp(json_str_at(object, "spec.controllerName", ""), WAYPOINT_CONTROLLER) != 0) {
        return;
    }
    voice_hush(&x->class_voice);
    status = class_status(object);
    if (json_covers(json_get(object, "status"), status)) {
        voice_hush(&x->class_status);
        json_unref(status);
        return;
    }
    struct json *body =
        written_object("gateway.networking.k8s.io/v1", "GatewayClass", "", WAYPOINT_CLASS);
    json_set(body, "status", status);
    voice_say(&x->words, &x->class_status,
              (struct index_write){.resource = WRITE_CLASS,
                                   .verb = VERB_APPLY,
                                   .manager = manager,
                                   .sub = "status",
                                   .body = body});
}

void reconcile_class_missing(struct index *x)
{
    struct json *body =
        written_object("gateway.networking.k8s.io/v1", "GatewayClass", "", WAYPOINT_CLASS);
    struct json *spec = json_make_object(body, "spec");

    json_set_str(spec, "controllerName", WAYPOINT_CONTROLLER);
    json_set_str(spec, "description", "The default waypoint GatewayClass");
    voice_say(&x->words, &x->class_voice,
              (struct index_write){
                  .resource = WRITE_CLASS, .verb = VERB_CREATE, .manager = manager, .body = body});
}
