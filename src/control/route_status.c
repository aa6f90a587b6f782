/* SPDX-License-Identifier: Apache-2.0 */
/* What is said in the status of routes: one entry a parent that is a Service (Gateway API). */
#include "control/route_status.h"

#include <string.h>

#include "control/index_int.h"

static const char controller[] = "istio.io/gateway-controller"; /* as istiod signs mesh parents */

/* The conditions that we gave for that parent before; NULL: none. */
static const struct json *former(const struct json *object, const struct json *ref)
{
    const struct json *all = json_array_at(object, "status.parents");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *p = json_item(all, i);
        if (strcmp(json_str_at(p, "controllerName", ""), controller) == 0 &&
            json_same(json_get(p, "parentRef"), ref)) {
            return json_get(p, "conditions");
        }
    }
    return NULL;
}

static void add(struct json *list, const struct json *had, struct condition c)
{
    json_append(list, condition_new(&c, had));
}

/* The first backend of that rule that there is not: its reason, and why. */
static const char *check_refs(const struct index *x, const struct attachment *at, size_t rule,
                              const struct json *refs, struct strbuf *why)
{
    for (size_t i = 0; i < json_count(refs); i++) {
        const char *reason = NULL;
        if (!route_backend(x, at, json_item(refs, i), &reason, why)) {
            strbuf_printf(why, "; spec.rules[%zu].backendRefs[%zu]", rule, i);
            return reason;
        }
    }
    return NULL;
}

static const char *check_mirrors(const struct index *x, const struct attachment *at, size_t rule,
                                 const struct json *filters, struct strbuf *why)
{
    for (size_t i = 0; i < json_count(filters); i++) {
        const struct json *ref = json_at(json_item(filters, i), "requestMirror.backendRef");
        const char *reason = NULL;
        if (ref && !route_backend(x, at, ref, &reason, why)) {
            strbuf_printf(why, "; spec.rules[%zu].filters[%zu].requestMirror.backendRef", rule, i);
            return reason;
        }
    }
    return NULL;
}

static const char *check_rules(const struct index *x, const struct attachment *at,
                               struct strbuf *why)
{
    const struct json *rules = json_at(at->route->object, "spec.rules");
    const char *reason = NULL;

    for (size_t i = 0; !reason && i < json_count(rules); i++) {
        const struct json *rule = json_item(rules, i);
        reason = check_refs(x, at, i, json_get(rule, "backendRefs"), why);
        if (!reason) {
            reason = check_mirrors(x, at, i, json_get(rule, "filters"), why);
        }
    }
    return reason;
}

/* Which rules are left out: none is left of `count` when all are. */
static size_t count_bad(const struct index *x, const struct attachment *at, size_t count,
                        struct strbuf *text)
{
    size_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        struct diag why = {.code = 0};
        if (!route_rule_is_good(x, at, i, &why)) {
            strbuf_printf(text, "%sDropped Rule: spec.rules[%zu].", bad > 0 ? "; " : "", i);
            route_field_write(at->route->kind,
                              json_item(json_at(at->route->object, "spec.rules"), i), why.text,
                              text);
            bad++;
        }
    }
    return bad;
}

static struct json *entry(const struct index *x, const struct attachment *at)
{
    const struct route_item *r = at->route;
    const struct json *ref = json_item(json_at(r->object, "spec.parentRefs"), at->parent);
    const struct json *had = former(r->object, ref);
    int64_t generation = json_int_at(r->object, "metadata.generation", 0);
    struct waypoint_choice c = waypoint_of_service(x, at->service);
    AUTO(strbuf) struct strbuf accepted = {0};
    AUTO(strbuf) struct strbuf resolved = {0};
    struct json *e = json_new_object();
    struct json *list = json_new_array();
    AUTO(strbuf) struct strbuf dropped = {0};
    size_t rules = json_count(json_at(r->object, "spec.rules"));
    size_t bad = count_bad(x, at, rules, &dropped);
    const char *problem = route_parent_problem(at, &accepted);
    if (!problem && rules > 0 && bad == rules) {
        problem = "UnsupportedValue";
        strbuf_puts(&accepted, strbuf_text(&dropped));
    }
    const char *missing = check_rules(x, at, &resolved);

    add(list, had,
        (struct condition){"Accepted", !problem, problem ? problem : "Accepted",
                           problem ? strbuf_text(&accepted) : "Route was valid", generation,
                           false});
    add(list, had,
        (struct condition){"ResolvedRefs", !missing, missing ? missing : "ResolvedRefs",
                           missing ? strbuf_text(&resolved) : "All references resolved", generation,
                           false});
    add(list, had,
        (struct condition){"ResolvedWaypoints", c.state == WAYPOINT_BOUND, "ResolvedWaypoints",
                           c.state == WAYPOINT_BOUND
                               ? "All waypoints resolved"
                               : "the parent has no waypoint: label istio.io/use-waypoint is "
                                 "missing, or names one that it cannot have",
                           generation, false});
    if (bad > 0 && bad < rules) {
        add(list, had,
            (struct condition){"PartiallyInvalid", true, "UnsupportedValue", strbuf_text(&dropped),
                               generation, false});
    }
    json_set(e, "parentRef", json_ref(ref));
    json_set_str(e, "controllerName", controller);
    json_set(e, "conditions", list);
    return e;
}

/* The list belongs to all controllers: what others said stays. */
static struct json *parents(const struct index *x, const struct route_item *r)
{
    const struct json *all = json_array_at(r->object, "status.parents");
    struct json *list = json_new_array();

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "controllerName", ""), controller) != 0) {
            json_append(list, json_ref(json_item(all, i)));
        }
    }
    for (unsigned i = 0; i < r->parent_count; i++) {
        json_append(list, entry(x, &r->parents[i]));
    }
    return list;
}

void settle_route(struct index *x, struct route_item *r)
{
    static const enum index_resource resources[] = {[L7_HTTP_ROUTE] = WRITE_HTTP_ROUTE,
                                                    [L7_GRPC_ROUTE] = WRITE_GRPC_ROUTE,
                                                    [L7_TCP_ROUTE] = WRITE_TCP_ROUTE};
    struct json *list = parents(x, r);

    if (json_covers(json_at(r->object, "status.parents"), list) ||
        (json_count(list) == 0 && !json_at(r->object, "status.parents"))) {
        voice_hush(&r->status);
        json_unref(list);
        return;
    }
    struct json *body = written_object(json_str_at(r->object, "apiVersion", ""),
                                       route_kind_name(r->kind), route_ns(r), route_name(r));
    json_set_str(json_get(body, "metadata"), "resourceVersion",
                 json_str_at(r->object, "metadata.resourceVersion", ""));
    json_set(json_make_object(body, "status"), "parents", list);
    voice_say(&x->words, &r->status,
              (struct index_write){.resource = resources[r->kind],
                                   .verb = VERB_MERGE,
                                   .manager = "istio.io/gateway-controller",
                                   .sub = "status",
                                   .body = body});
}
