/* SPDX-License-Identifier: Apache-2.0 */
/* AuthorizationPolicies and RequestAuthentications that name targets: which they bind, and what is
 * said about it (contract 4.6, 4.7). */
#include <string.h>

#include "base/mem.h"
#include "control/index_int.h"
#include "control/reconcile.h"
#include "control/translate_l7.h"
#include "control/translate_policy.h"

enum { TARGETS_MAX = 64 }; /* admission allows 16 */

const char *policy_kind_name(enum l7_policy_kind kind)
{
    return kind == L7_AUTHORIZATION ? "AuthorizationPolicy" : "RequestAuthentication";
}

bool l7_policy_is_enforced(const struct l7_policy_item *p)
{
    return p->kind == L7_REQUEST_AUTHENTICATION ||
           (strcmp(json_str_at(p->object, "spec.action", "ALLOW"), "AUDIT") != 0 &&
            !policy_is_dry_run(p->object));
}

/* The targetRefs of a spec, targetRef among them. */
static size_t target_count(const struct json *spec)
{
    size_t n = json_count(json_get(spec, "targetRefs"));

    return n > TARGETS_MAX ? TARGETS_MAX : n > 0 ? n : json_is_obj(json_get(spec, "targetRef"));
}

static const struct json *target_at(const struct json *spec, size_t i)
{
    const struct json *list = json_get(spec, "targetRefs");

    return json_count(list) > 0 ? json_item(list, i) : json_get(spec, "targetRef");
}

static uint64_t hash_of(enum l7_policy_kind kind, const char *ns, const char *name)
{
    return index_hash(ns, name) * 31 + (uint64_t)kind;
}

static struct l7_policy_item *find(const struct index *x, enum l7_policy_kind kind, const char *ns,
                                   const char *name)
{
    for (struct map_node *n = map_find(&x->l7_policies, hash_of(kind, ns, name)); n;
         n = map_find_next(n)) {
        struct l7_policy_item *p = container_of(n, struct l7_policy_item, by_name);
        if (p->kind == kind && strcmp(meta_ns(p->object), ns) == 0 &&
            strcmp(meta_name(p->object), name) == 0) {
            return p;
        }
    }
    return NULL;
}

/* ---- aims */

enum target_kind { TARGET_OTHER, TARGET_SERVICE, TARGET_GATEWAY, TARGET_CLASS };

static enum target_kind kind_of(const struct json *ref)
{
    const char *kind = json_str_at(ref, "kind", "");
    const char *group = json_str_at(ref, "group", "");
    bool is_api = strcmp(group, "gateway.networking.k8s.io") == 0;

    if (strcmp(kind, "Service") == 0 && (!*group || strcmp(group, "core") == 0)) {
        return TARGET_SERVICE;
    }
    if (is_api && strcmp(kind, "Gateway") == 0) {
        return TARGET_GATEWAY;
    }
    return is_api && strcmp(kind, "GatewayClass") == 0 ? TARGET_CLASS : TARGET_OTHER;
}

/* binds: the target is in the policy's namespace, or the policy is for all waypoints. */
static void aim_at(struct index *x, struct aim *aim, const struct json *ref)
{
    const char *own = meta_ns(aim->policy->object);
    const char *ns = json_str_at(ref, "namespace", own);
    const char *name = json_str_at(ref, "name", "");
    struct list *in = &x->class_aims;

    aim->binds = strcmp(ns, own) == 0;
    switch (kind_of(ref)) {
    case TARGET_SERVICE:
        aim->service = service_use(x, ns, name);
        in = &aim->service->aims;
        break;
    case TARGET_GATEWAY:
        aim->gateway = gateway_use(x, ns, name);
        in = &aim->gateway->aims;
        break;
    case TARGET_CLASS:
        aim->binds = strcmp(own, x->mesh->root_ns) == 0 && strcmp(name, WAYPOINT_CLASS) == 0;
        break;
    case TARGET_OTHER:
        aim->binds = false;
        break;
    }
    list_append(in, &aim->in_target);
}

static void take_aims(struct index *x, struct l7_policy_item *p)
{
    const struct json *spec = json_get(p->object, "spec");

    p->aim_count = (unsigned)target_count(spec);
    p->aims = p->aim_count > 0 ? mem_array(p->aim_count, sizeof(*p->aims)) : NULL;
    for (unsigned i = 0; i < p->aim_count; i++) {
        p->aims[i] = (struct aim){.policy = p};
        aim_at(x, &p->aims[i], target_at(spec, i));
    }
}

static void drop_aims(struct index *x, struct l7_policy_item *p)
{
    for (unsigned i = 0; i < p->aim_count; i++) {
        list_remove(&p->aims[i].in_target);
        if (p->aims[i].service) {
            service_unuse(x, p->aims[i].service);
        } else if (p->aims[i].gateway) {
            gateway_unuse(x, p->aims[i].gateway);
        }
    }
    mem_free(p->aims);
    p->aims = NULL;
    p->aim_count = 0;
}

/* ---- marking */

static void mark_l7_policy(struct index *x, struct l7_policy_item *p)
{
    if (list_is_empty(&p->dirty)) {
        list_append(&x->dirty_l7_policies, &p->dirty);
    }
}

void mark_aims(struct index *x, struct list *aims)
{
    list_for_each (n, aims) {
        mark_l7_policy(x, container_of(n, struct aim, in_target)->policy);
    }
}

static void mark_class(struct index *x)
{
    map_for_each (n, &x->gateways) {
        struct gateway_item *g = container_of(n, struct gateway_item, by_name);
        mark_gateway(x, g);
        mark_gateway_users(x, g);
    }
}

static void mark_targets(struct index *x, struct l7_policy_item *p)
{
    mark_l7_policy(x, p);
    for (unsigned i = 0; i < p->aim_count; i++) {
        const struct aim *aim = &p->aims[i];
        if (aim->service) {
            mark_binding(x, aim->service);
        } else if (aim->gateway) {
            mark_gateway(x, aim->gateway);
            mark_gateway_users(x, aim->gateway);
        } else if (aim->binds) {
            mark_class(x);
        }
    }
}

/* Called for what a policy says alone: the marks are set by a change of its status, too. */
static void note_change(struct index *x, const struct l7_policy_item *p)
{
    for (unsigned i = 0; i < p->aim_count; i++) {
        turn_policies_changed(x, p->aims[i].service, p->aims[i].gateway);
    }
}

static bool says_the_same(const struct json *a, const struct json *b)
{
    return json_same(json_get(a, "spec"), json_get(b, "spec")) &&
           json_same(json_at(a, "metadata.annotations"), json_at(b, "metadata.annotations"));
}

/* ---- coming and going */

void l7_policy_put(struct index *x, enum l7_policy_kind kind, const struct json *object)
{
    struct l7_policy_item *p = find(x, kind, meta_ns(object), meta_name(object));

    if (!revision_is_ours(object, x->mesh) || target_count(json_get(object, "spec")) == 0) {
        l7_policy_remove(x, kind, meta_ns(object), meta_name(object));
        return;
    }
    bool is_new = !p || !says_the_same(p->object, object);
    if (p) {
        mark_targets(x, p);
        if (is_new) {
            note_change(x, p);
        }
        drop_aims(x, p);
        json_unref(p->object);
        p->object = json_ref(object);
    } else {
        p = mem_new(struct l7_policy_item);
        p->kind = kind;
        p->object = json_ref(object);
        list_init(&p->dirty);
        voice_init(&p->status);
        map_insert(&x->l7_policies, &p->by_name, hash_of(kind, meta_ns(object), meta_name(object)));
    }
    take_aims(x, p);
    mark_targets(x, p);
    if (is_new) {
        note_change(x, p);
    }
}

void l7_policy_item_free(struct index *x, struct l7_policy_item *p)
{
    drop_aims(x, p);
    map_remove(&x->l7_policies, &p->by_name);
    list_remove(&p->dirty);
    voice_fini(&p->status);
    json_unref(p->object);
    mem_free(p);
}

void l7_policy_remove(struct index *x, enum l7_policy_kind kind, const char *ns, const char *name)
{
    struct l7_policy_item *p = find(x, kind, ns, name);

    if (p) {
        mark_targets(x, p);
        note_change(x, p);
        l7_policy_item_free(x, p);
    }
}

/* ---- what is said */

struct verdict {
    bool is_bound;
    const char *reason;
    struct strbuf message;
};

static void judge_service(const struct index *x, const struct aim *aim, struct verdict *v)
{
    const struct service_item *s = aim->service;
    struct waypoint_choice c = waypoint_of_service(x, s);

    if (!s->exists) {
        v->reason = "TargetNotFound";
        strbuf_printf(&v->message, "Service %s/%s was not found", s->space->name, s->name);
    } else if (c.state != WAYPOINT_BOUND) {
        v->reason = "AncestorNotBound";
        strbuf_printf(&v->message, "Service %s/%s is not bound to a waypoint", s->space->name,
                      s->name);
    } else {
        v->is_bound = true;
        strbuf_printf(&v->message, "bound to %s/%s", c.gateway->space->name, c.gateway->name);
    }
}

static void judge_gateway(const struct aim *aim, struct verdict *v)
{
    const struct gateway_item *g = aim->gateway;

    v->is_bound = g->object && g->f.address.kind != GATEWAY_NONE;
    if (v->is_bound) {
        strbuf_printf(&v->message, "bound to %s/%s", g->space->name, g->name);
    } else {
        v->reason = "TargetNotFound";
        strbuf_puts(&v->message, "not bound");
    }
}

static void judge_class(const struct index *x, const struct aim *aim, const struct json *ref,
                        struct verdict *v)
{
    const char *name = json_str_at(ref, "name", "");
    const struct json *class = json_get(x->classes, name);
    bool is_root = strcmp(meta_ns(aim->policy->object), x->mesh->root_ns) == 0;
    const char *controller = json_str_at(class, "spec.controllerName", "");

    if (!is_root) {
        v->reason = "Invalid";
        strbuf_printf(&v->message,
                      "%s must be in the root namespace `%s` when referencing a GatewayClass",
                      policy_kind_name(aim->policy->kind), x->mesh->root_ns);
    } else if (!class) {
        v->reason = "TargetNotFound";
        strbuf_puts(&v->message, "not bound");
    } else if (strcmp(controller, WAYPOINT_CONTROLLER) != 0) {
        v->reason = "Invalid";
        strbuf_puts(&v->message, "GatewayClass must use controller name `" WAYPOINT_CONTROLLER
                                 "` for waypoints");
    } else {
        v->is_bound = true;
        strbuf_printf(&v->message, "bound to %s", name);
    }
}

static void judge(const struct index *x, const struct aim *aim, const struct json *ref,
                  struct verdict *v)
{
    bool is_far = !aim->binds && (aim->service || aim->gateway);

    v->reason = "Accepted";
    if (is_far) {
        v->reason = "Invalid";
        strbuf_puts(&v->message, "a policy is enforced only for what is in its own namespace");
        return;
    }
    switch (kind_of(ref)) {
    case TARGET_SERVICE:
        judge_service(x, aim, v);
        break;
    case TARGET_GATEWAY:
        judge_gateway(aim, v);
        break;
    case TARGET_CLASS:
        judge_class(x, aim, ref, v);
        break;
    case TARGET_OTHER:
        v->reason = "TargetNotFound";
        strbuf_printf(&v->message, "%s %s was not found", json_str_at(ref, "kind", ""),
                      json_str_at(ref, "name", ""));
        break;
    }
}

/* "Service.core:ns/name" */
static void name_target(const struct l7_policy_item *p, const struct json *ref, struct strbuf *out)
{
    const char *group = json_str_at(ref, "group", "");

    strbuf_printf(out, "%s%s.%s:%s/%s",
                  out->len > 0 ? ", " : "Invalid targetRefs: ", json_str_at(ref, "kind", ""),
                  *group ? group : "core", json_str_at(ref, "namespace", meta_ns(p->object)),
                  json_str_at(ref, "name", ""));
}

static void judge_many(const struct index *x, const struct l7_policy_item *p, struct verdict *v)
{
    const struct json *spec = json_get(p->object, "spec");
    unsigned bound = 0;

    for (unsigned i = 0; i < p->aim_count; i++) {
        struct verdict one = {.is_bound = false};
        judge(x, &p->aims[i], target_at(spec, i), &one);
        bound += one.is_bound;
        if (!one.is_bound) {
            name_target(p, target_at(spec, i), &v->message);
        }
        strbuf_fini(&one.message);
    }
    v->is_bound = bound > 0;
    v->reason = bound == p->aim_count ? "Accepted" : bound > 0 ? "PartiallyInvalid" : "Invalid";
}

/* The first value that means nothing: an ALLOW does without it, a DENY takes it to be met. */
static void add_flaw(const struct mesh *mesh, const struct l7_policy_item *p,
                     struct strbuf *message)
{
    AUTO(arena) struct arena a = {0};
    AUTO(l7_policy) const struct l7_policy *made = NULL;
    struct l7_policy said;

    translate_l7_policy(&said, p->kind, p->object, mesh, &a);
    if (l7_policy_new(&made, &said, NULL) == 0 && made->flaw[0]) {
        strbuf_printf(message, "%sspec.%s: an ALLOW rule matches nothing by it, a DENY rule all",
                      message->len > 0 ? "; " : "", made->flaw);
    }
}

static bool is_key_set(const char *text)
{
    AUTO(json) struct json *j = NULL;

    return json_parse(&j, text, strlen(text), NULL, NULL) == 0 && json_is_arr(json_get(j, "keys"));
}

/* What a waypoint cannot do with it, whatever its targets. */
static void add_limits(const struct mesh *mesh, const struct l7_policy_item *p, struct verdict *v)
{
    const struct json *rules = json_at(p->object, "spec.jwtRules");

    for (size_t i = 0; i < json_count(rules); i++) {
        const struct json *rule = json_item(rules, i);
        const char *keys = json_str_at(rule, "jwks", NULL);
        if (keys && !is_key_set(keys)) {
            strbuf_printf(&v->message,
                          "%sspec.jwtRules[%zu].jwks: no token of %s verifies, for it is no JSON "
                          "object with a list \"keys\"",
                          v->message.len > 0 ? "; " : "", i, json_str_at(rule, "issuer", ""));
        }
        if (!keys) {
            strbuf_printf(&v->message,
                          "%sspec.jwtRules[%zu]: no token of %s verifies, for jwksUri is not "
                          "fetched: give jwks",
                          v->message.len > 0 ? "; " : "", i, json_str_at(rule, "issuer", ""));
        }
    }
    add_flaw(mesh, p, &v->message);
    if (strcmp(json_str_at(p->object, "spec.action", ""), "CUSTOM") == 0) {
        strbuf_printf(&v->message, "%sthere are no providers: what it matches is denied",
                      v->message.len > 0 ? "; " : "");
    }
}

void settle_l7_policy(struct index *x, struct l7_policy_item *p)
{
    const struct json *spec = json_get(p->object, "spec");
    const struct json *had = json_array_at(p->object, "status.conditions");
    struct verdict v = {.is_bound = false};

    if (p->aim_count == 1) {
        judge(x, &p->aims[0], target_at(spec, 0), &v);
    } else {
        judge_many(x, p, &v);
    }
    add_limits(x->mesh, p, &v);
    struct condition c = {.type = "WaypointAccepted",
                          .status = v.is_bound,
                          .reason = v.reason,
                          .message = strbuf_text(&v.message),
                          .generation = json_int_at(p->object, "metadata.generation", 0),
                          .as_text = true};
    struct json *body = written_object("security.istio.io/v1", policy_kind_name(p->kind),
                                       meta_ns(p->object), meta_name(p->object));
    json_append(json_make_array(body, "status.conditions"), condition_new(&c, had));
    strbuf_fini(&v.message);
    if (json_covers(json_get(p->object, "status"), json_get(body, "status"))) {
        voice_hush(&p->status);
        json_unref(body);
        return;
    }
    voice_say(&x->words, &p->status,
              (struct index_write){.resource = p->kind == L7_AUTHORIZATION ? WRITE_POLICY
                                                                           : WRITE_AUTHENTICATION,
                                   .verb = VERB_APPLY,
                                   .manager = "istio-ambient-waypoint-policy",
                                   .sub = "status",
                                   .body = body});
}
