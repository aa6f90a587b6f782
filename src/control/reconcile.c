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

static struct json *deployment_of(const struct index *x, const struct gateway_item *g)
{
    struct waypoint_image image = {.image = x->mesh->waypoint_image,
                                   .discovery = x->mesh->discovery,
                                   .cluster_id = x->mesh->cluster_id,
                                   .trust_domain = x->mesh->trust_domain,
                                   .network = x->network};

    return image.image ? gateway_deployment(g->object, &image) : NULL;
}

/* Without a cluster we make the waypoint's pods: no node is to make one of that account by itself
 * (apiserver/account_owner.h), unless the Gateway's own annotation says so. */
static struct json *account_of(const struct index *x, const struct gateway_item *g)
{
    struct json *account = gateway_account(g->object);
    struct json *notes = json_at(account, "metadata.annotations");

    if (x->mesh->is_standalone && !json_get(notes, "ambit.io/allowed-nodes")) {
        json_set_str(notes, "ambit.io/allowed-nodes", "");
    }
    return account;
}

/* NULL: it needs none. */
static struct json *wanted(const struct index *x, const struct gateway_item *g,
                           enum gateway_child which)
{
    switch (which) {
    case CHILD_SERVICE:
        return gateway_service(g->object);
    case CHILD_ACCOUNT:
        return *meta_annotation(g->object, "gateway.istio.io/service-account") ? NULL
                                                                               : account_of(x, g);
    case CHILD_DEPLOYMENT:
        return deployment_of(x, g);
    case CHILDREN:
        break;
    }
    return NULL;
}

static const enum index_resource child_resources[CHILDREN] = {[CHILD_SERVICE] = WRITE_SERVICE,
                                                              [CHILD_ACCOUNT] = WRITE_ACCOUNT,
                                                              [CHILD_DEPLOYMENT] =
                                                                  WRITE_DEPLOYMENT};

static void write_child(struct index *x, struct gateway_item *g, enum gateway_child which)
{
    AUTO(json) struct json *want = wanted(x, g, which);

    g->is_due[which] = false;
    if (!want || (g->have[which] && json_covers(g->have[which], want))) {
        voice_hush(&g->children[which]);
        return;
    }
    struct index_write w = apply(child_resources[which], MOVE(want));
    w.label = MANAGED_LABEL;
    voice_say(&x->words, &g->children[which], w);
}

/* Something of that name that is not ours is left alone. */
static void write_children(struct index *x, struct gateway_item *g)
{
    const struct service_item *s = service_find(x, g->space->name, g->name);
    AUTO(text) char *form = form_of(g->object);
    bool is_other = !g->rendered || strcmp(form, g->rendered) != 0;

    if (!gateway_is_managed(g->object)) {
        return;
    }
    g->is_due[CHILD_SERVICE] |= !s || !s->exists;
    for (unsigned i = 0; i < CHILDREN; i++) {
        if (is_other || g->is_due[i]) {
            write_child(x, g, (enum gateway_child)i);
        }
    }
    mem_free(g->rendered);
    g->rendered = MOVE(form);
}

/* ---- what has become of it */

/* Its status and its versions are not what was made. */
static bool same_child(const struct json *a, const struct json *b)
{
    static const char *const parts[] = {"labels", "annotations", "ownerReferences"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!json_same(json_get(json_get(a, "metadata"), parts[i]),
                       json_get(json_get(b, "metadata"), parts[i]))) {
            return false;
        }
    }
    return json_same(json_get(a, "spec"), json_get(b, "spec"));
}

/* What the gateway of that identity made, and nobody else's. */
static void delete_child(struct index *x, const struct gateway_item *g, enum gateway_child which,
                         const char *uid)
{
    struct json *body = written_object("v1", "", g->space->name, g->name);
    struct json *owner = json_new_object();

    json_set_str(owner, "uid", uid);
    json_append(json_make_array(body, "metadata.ownerReferences"), owner);
    voice_once(&x->words, (struct index_write){.resource = child_resources[which],
                                               .verb = VERB_DELETE,
                                               .manager = manager,
                                               .label = MANAGED_LABEL,
                                               .body = body});
}

static const char *owner_uid(const struct json *child)
{
    const struct json *all = json_array_at(child, "metadata.ownerReferences");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "kind", ""), "Gateway") == 0) {
            return json_str_at(json_item(all, i), "uid", "");
        }
    }
    return "";
}

static void drop_orphan(struct index *x, const struct gateway_item *g, enum gateway_child which)
{
    const char *uid = owner_uid(g->have[which]);

    if (x->is_live && x->mesh->is_standalone && !g->object && *uid) {
        delete_child(x, g, which, uid);
    }
}

void reconcile_child(struct index *x, enum gateway_child which, const struct json *object)
{
    const char *ns = meta_ns(object);

    if (strcmp(meta_label(object, MANAGED_LABEL), WAYPOINT_MANAGED) != 0) {
        reconcile_child_gone(x, which, ns, meta_name(object));
        return;
    }
    struct gateway_item *g = gateway_use(x, ns, meta_name(object));
    bool is_same = g->have[which] && same_child(g->have[which], object);
    if (g->have[which]) {
        gateway_unuse(x, g); /* it has its use already */
    }
    json_unref(g->have[which]);
    g->have[which] = json_ref(object);
    if (!is_same) {
        g->is_due[which] = true;
        mark_gateway(x, g);
        drop_orphan(x, g, which);
    }
}

void reconcile_child_gone(struct index *x, enum gateway_child which, const char *ns,
                          const char *name)
{
    struct gateway_item *g = gateway_find(x, ns, name);

    if (g && g->have[which]) {
        g->have[which] = json_unref(g->have[which]);
        g->is_due[which] = true;
        mark_gateway(x, g);
        gateway_unuse(x, g);
    }
}

void reconcile_orphans(struct index *x)
{
    map_for_each (n, &x->gateways) {
        const struct gateway_item *g = container_of(n, struct gateway_item, by_name);
        for (unsigned i = 0; i < CHILDREN; i++) {
            if (g->have[i]) {
                drop_orphan(x, g, (enum gateway_child)i);
            }
        }
    }
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

static struct json *status_of(const struct index *x, const struct gateway_item *g)
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
    return gateway_status(g->object, &v);
}

static void say_status(struct index *x, struct gateway_item *g, struct json *take_status)
{
    if (json_covers(json_get(g->object, "status"), take_status)) {
        voice_hush(&g->status);
        json_unref(take_status);
        return;
    }
    struct json *body =
        written_object("gateway.networking.k8s.io/v1", "Gateway", g->space->name, g->name);
    json_set(body, "status", take_status);
    json_set_str(json_make_object(body, "metadata.annotations"), VERSION_ANNOTATION,
                 CONTROLLER_VERSION);
    voice_say(&x->words, &g->status,
              (struct index_write){.resource = WRITE_GATEWAY,
                                   .verb = VERB_APPLY,
                                   .manager = manager,
                                   .sub = "status",
                                   .body = body});
}

/* On a cluster another controller may bring the class, and then speaks about its gateways. */
static bool is_nobodys(const struct index *x, const struct gateway_item *g)
{
    const char *class = json_str_at(g->object, "spec.gatewayClassName", "");

    return x->is_live && x->mesh->is_standalone && strcmp(class, WAYPOINT_CLASS) != 0 &&
           !json_get(x->classes, class);
}

void reconcile_gateway(struct index *x, struct gateway_item *g)
{
    bool is_going = json_at(g->object, "metadata.deletionTimestamp") != NULL;

    if (g->f.is_ours && !is_going) {
        write_children(x, g);
        say_status(x, g, status_of(x, g));
    } else if (!g->f.is_ours && !is_going && is_nobodys(x, g)) {
        say_status(x, g, gateway_status_of_no_class(g->object));
    } else {
        voice_hush(&g->status);
    }
}

/* On a cluster the owner's garbage is collected, too; without one nobody else does. */
void reconcile_remove(struct index *x, struct gateway_item *g)
{
    bool is_made = g->f.is_ours && gateway_is_managed(g->object);

    for (unsigned i = 0; i < CHILDREN; i++) {
        AUTO(json) struct json *want = is_made ? wanted(x, g, (enum gateway_child)i) : NULL;
        voice_hush(&g->children[i]);
        g->is_due[i] = false;
        if (want) {
            delete_child(x, g, (enum gateway_child)i, json_str_at(g->object, "metadata.uid", ""));
        }
    }
    mem_free(g->rendered);
    g->rendered = NULL;
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
