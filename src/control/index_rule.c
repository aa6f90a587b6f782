/* SPDX-License-Identifier: Apache-2.0 */
/* DestinationRules, by the host they are for. */
#include <string.h>

#include "apiserver/fault.h"
#include "apiserver/traffic_rule.h"
#include "base/mem.h"
#include "control/index_int.h"

#define CONDITION "WaypointAccepted"

static struct rule_item *find(const struct index *x, const char *ns, const char *name)
{
    for (struct map_node *n = map_find(&x->rules, index_hash(ns, name)); n; n = map_find_next(n)) {
        struct rule_item *r = container_of(n, struct rule_item, by_name);
        if (strcmp(meta_ns(r->object), ns) == 0 && strcmp(meta_name(r->object), name) == 0) {
            return r;
        }
    }
    return NULL;
}

/* A name without dots is a service of the rule's namespace. */
static const char *host_of(struct index *x, const struct json *object)
{
    const char *host = json_str_at(object, "spec.host", "");
    AUTO(strbuf) struct strbuf text = {0};

    if (strchr(host, '.')) {
        return intern_text(x->pool, host);
    }
    strbuf_printf(&text, "%s.%s.svc.%s", host, meta_ns(object), x->mesh->domain);
    return intern_text(x->pool, strbuf_text(&text));
}

/* ---- what is said */

static bool said_no(const struct json *object)
{
    const struct json *all = json_array_at(object, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *c = json_item(all, i);
        if (strcmp(json_str_at(c, "type", ""), CONDITION) == 0) {
            return strcmp(json_str_at(c, "status", ""), "False") == 0;
        }
    }
    return false;
}

/* Nothing is said of a rule that was always good: Istio has no such condition. */
static void say(struct index *x, struct rule_item *r, const char *message)
{
    struct condition c = {.type = CONDITION,
                          .status = !r->is_refused,
                          .reason = r->is_refused ? "Invalid" : "Accepted",
                          .message = message,
                          .generation = json_int_at(r->object, "metadata.generation", 0),
                          .as_text = true};

    if (!r->is_refused && !said_no(r->object)) {
        return;
    }
    struct json *body = written_object("networking.istio.io/v1", "DestinationRule",
                                       meta_ns(r->object), meta_name(r->object));
    json_append(json_make_array(body, "status.conditions"),
                condition_new(&c, json_array_at(r->object, "status.conditions")));
    if (json_covers(json_get(r->object, "status"), json_get(body, "status"))) {
        json_unref(body);
        return;
    }
    voice_say(&x->words, &r->status,
              (struct index_write){.resource = WRITE_RULE,
                                   .verb = VERB_APPLY,
                                   .manager = "istio-ambient-waypoint-policy",
                                   .sub = "status",
                                   .body = body});
}

/* On a cluster nobody else has looked at it. */
static void judge(struct index *x, struct rule_item *r)
{
    struct faults f = {.count = 0};
    AUTO(strbuf) struct strbuf message = {0};

    traffic_rule_check(&f, json_get(r->object, "spec"));
    r->is_refused = f.count > 0;
    for (size_t i = 0; i < f.count; i++) {
        strbuf_printf(&message, "%s%s: %s", i > 0 ? "; " : "", f.at[i].field, f.at[i].message);
    }
    if (r->is_refused) {
        strbuf_puts(&message, "; the rule is not used");
    }
    say(x, r, strbuf_text(&message));
    faults_fini(&f);
}

void index_put_rule(struct index *x, const struct json *object)
{
    if (!revision_is_ours(object, x->mesh)) {
        index_remove_rule(x, meta_ns(object), meta_name(object));
        return;
    }
    struct rule_item *old = find(x, meta_ns(object), meta_name(object));
    if (old) {
        rule_item_free(x, old);
    }
    struct rule_item *r = mem_new(struct rule_item);
    r->object = json_ref(object);
    r->host = host_of(x, object);
    voice_init(&r->status);
    judge(x, r);
    map_insert(&x->rules, &r->by_name, index_hash(meta_ns(object), meta_name(object)));
    map_insert(&x->rules_by_host, &r->by_host, map_hash_str(r->host));
    mark_all_gateways(x);
}

void rule_item_free(struct index *x, struct rule_item *r)
{
    map_remove(&x->rules, &r->by_name);
    map_remove(&x->rules_by_host, &r->by_host);
    text_unref(r->host);
    voice_fini(&r->status);
    json_unref(r->object);
    mem_free(r);
}

void index_remove_rule(struct index *x, const char *ns, const char *name)
{
    struct rule_item *r = find(x, ns, name);

    if (r) {
        rule_item_free(x, r);
        mark_all_gateways(x);
    }
}

static bool is_exported(const struct json *rule, const char *to)
{
    const struct json *list = json_at(rule, "spec.exportTo");
    bool is_own = strcmp(meta_ns(rule), to) == 0;

    for (size_t i = 0; i < json_count(list); i++) {
        const char *ns = json_str(json_item(list, i), "");
        if (strcmp(ns, "*") == 0 || strcmp(ns, to) == 0 || (is_own && strcmp(ns, ".") == 0)) {
            return true;
        }
    }
    return json_count(list) == 0;
}

/* Whose rule counts: of the waypoint's namespace, else of the service's, else of everyone. */
static int rank_of(const struct index *x, const struct json *rule, const char *waypoint_ns,
                   const struct service_item *s)
{
    const char *ns = meta_ns(rule);

    if (strcmp(ns, waypoint_ns) == 0) {
        return 3;
    }
    if (strcmp(ns, s->space->name) == 0) {
        return 2;
    }
    return strcmp(ns, x->mesh->root_ns) == 0;
}

/* The oldest of a rank; of the same age the first by name. */
static bool is_before(const struct json *a, const struct json *b)
{
    int64_t x = meta_created_s(a);
    int64_t y = meta_created_s(b);

    return x != y ? x < y : strcmp(meta_name(a), meta_name(b)) < 0;
}

const struct json *rule_for(const struct index *x, const char *waypoint_ns,
                            const struct service_item *s)
{
    const struct json *best = NULL;
    int best_rank = 0;

    for (struct map_node *n = map_find(&x->rules_by_host, map_hash_str(s->f.hostname)); n;
         n = map_find_next(n)) {
        const struct rule_item *r = container_of(n, struct rule_item, by_host);
        int rank = rank_of(x, r->object, waypoint_ns, s);
        if (r->is_refused || strcmp(r->host, s->f.hostname) != 0 || rank == 0 ||
            !is_exported(r->object, waypoint_ns)) {
            continue;
        }
        if (rank > best_rank || (rank == best_rank && is_before(r->object, best))) {
            best = r->object;
            best_rank = rank;
        }
    }
    return best;
}
