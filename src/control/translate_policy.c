/* SPDX-License-Identifier: Apache-2.0 */
#include "control/translate_policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "control/policy_fields_int.h"

bool revision_is_ours(const struct json *object, const struct mesh *mesh)
{
    const struct json *labels = json_object_at(object, "metadata.labels");
    const char *revision = json_str(json_get(labels, "istio.io/rev"), NULL);

    return !revision || !*mesh->revision || strcmp(revision, mesh->revision) == 0;
}

/* ---- rules */

/* One clause: any of the entries. NULL where one of them is met by everything: then so is the clause,
 * and leaving it out says so. */
static const struct policy_clause *clause_of(struct policy_build *b, const struct policy_match *m,
                                             size_t count, bool is_open)
{
    if (is_open) {
        return NULL;
    }
    struct policy_clause *c = arena_alloc(b->arena, sizeof(*c));
    *c = (struct policy_clause){m, count};
    return c;
}

typedef bool entry_fn(struct policy_build *b, const struct json *entry, struct policy_match *out);

static const struct policy_clause *list_clause(struct policy_build *b, const struct json *rule,
                                               const char *name, entry_fn *read)
{
    const struct json *list = json_array_at(rule, name);
    struct policy_match *m = arena_array(b->arena, json_count(list), sizeof(*m));
    bool is_open = false;

    for (size_t i = 0; i < json_count(list); i++) {
        b->list = name;
        b->at = i;
        is_open |= read(b, json_item(list, i), &m[i]);
    }
    return clause_of(b, m, json_count(list), is_open);
}

static void add_clause(struct policy_rule *r, struct policy_clause *room,
                       const struct policy_clause *c)
{
    if (c) {
        room[r->clause_count++] = *c;
    }
}

/* False: the rule is not to be published. */
static bool read_rule(struct policy_build *b, const struct json *rule, struct policy_rule *out)
{
    const struct json *to = json_array_at(rule, "to");
    const struct json *from = json_array_at(rule, "from");
    const struct json *when = json_array_at(rule, "when");
    struct policy_clause *clauses = arena_array(b->arena, json_count(when) + 2, sizeof(*clauses));

    *out = (struct policy_rule){.clauses = clauses};
    b->rule_is_lossy = false;
    if (json_count(to) > 0) {
        add_clause(out, clauses, list_clause(b, rule, "to", policy_operation_read));
    }
    if (json_count(from) > 0) {
        add_clause(out, clauses, list_clause(b, rule, "from", policy_source_read));
    }
    for (size_t i = 0; i < json_count(when); i++) {
        struct policy_match *m = arena_alloc(b->arena, sizeof(*m));
        b->list = "when";
        b->at = i;
        bool is_open = policy_condition_read(b, json_item(when, i), m);
        add_clause(out, clauses, clause_of(b, m, 1, is_open));
    }
    return b->action == POLICY_DENY || !b->rule_is_lossy;
}

static void read_rules(struct policy_build *b, const struct json *spec, struct policy *out)
{
    const struct json *all = json_array_at(spec, "rules");
    struct policy_rule *rules = arena_array(b->arena, json_count(all), sizeof(*rules));

    out->rules = rules;
    for (size_t i = 0; i < json_count(all); i++) {
        b->rule = i;
        if (read_rule(b, json_item(all, i), &rules[out->rule_count])) {
            out->rule_count++;
        }
    }
}

/* ---- what is said about it */

static const char *text_keep(struct arena *a, struct strbuf *text)
{
    const char *kept = arena_text(a, strbuf_text(text), text->len);

    strbuf_clear(text);
    return kept;
}

static void say(struct policy_condition *c, bool status, const char *reason, const char *message)
{
    *c = (struct policy_condition){true, status, reason, message};
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

static void say_lossy(struct policy_build *b, struct policy_condition *c)
{
    AUTO(strbuf) struct strbuf text = {0};

    qsort(b->unknown, b->unknown_count, sizeof(*b->unknown), by_text);
    strbuf_puts(&text, "ztunnel does not support HTTP attributes (found: ");
    for (unsigned i = 0; i < b->unknown_count; i++) {
        strbuf_printf(&text, "%s%s", i > 0 ? ", " : "", b->unknown[i]);
    }
    strbuf_puts(&text, "). In ambient mode you must use a waypoint proxy to enforce HTTP rules. ");
    strbuf_puts(&text,
                b->action == POLICY_DENY
                    ? "DENY policy with HTTP attributes is enforced without the HTTP rules. "
                    : "Within an ALLOW policy, rules matching HTTP attributes are omitted. ");
    strbuf_puts(&text, "This will be more restrictive than requested.");
    say(c, true, "UnsupportedValue", text_keep(b->arena, &text));
}

static void say_bad_values(struct policy_build *b, struct policy_condition *c)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text,
                  "attached to ztunnel, but some values cannot be read (the first: %.200s). ",
                  b->bad_value);
    strbuf_puts(&text, b->action == POLICY_DENY ? "They are taken to match, so the policy may deny "
                                                  "more than requested."
                                                : "They are taken not to match, so the policy may "
                                                  "allow less than requested.");
    say(c, true, "UnsupportedValue", text_keep(b->arena, &text));
}

static void say_published(struct policy_build *b, struct policy_condition *c)
{
    if (b->unknown_count > 0) {
        say_lossy(b, c);
    } else if (b->bad_value) {
        say_bad_values(b, c);
    } else {
        say(c, true, "Accepted", "attached to ztunnel");
    }
}

/* ---- the whole */

bool policy_is_dry_run(const struct json *object)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    const struct json *annotations = json_object_at(object, "metadata.annotations");
    const char *text = json_str(json_get(annotations, "istio.io/dry-run"), "");

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_targets(const struct json *spec)
{
    return json_is_obj(json_get(spec, "targetRef")) || json_count(json_get(spec, "targetRefs")) > 0;
}

/* False: the condition says why not. */
static bool read_action(const struct json *object, struct policy *out, struct policy_condition *c,
                        struct arena *a)
{
    AUTO(strbuf) struct strbuf text = {0};
    const char *action = json_str_at(object, "spec.action", "ALLOW");

    if (policy_is_dry_run(object)) {
        strbuf_printf(&text,
                      "found policy \"%s/%s\" using dry-run annotation, but support for ambient "
                      "dry-run authorizationPolicies isn't enabled",
                      out->ns, out->name);
    } else if (strcmp(action, "DENY") == 0) {
        out->action = POLICY_DENY;
    } else if (strcmp(action, "ALLOW") != 0) {
        strbuf_printf(&text, "ztunnel does not support the %.40s action", action);
    }
    if (text.len > 0) {
        say(c, false, "UnsupportedValue", text_keep(a, &text));
        return false;
    }
    return true;
}

static enum policy_scope scope_of(const struct json *spec, const char *ns, const struct mesh *mesh)
{
    if (json_is_obj(json_get(spec, "selector"))) {
        return SCOPED_WORKLOAD;
    }
    return strcmp(ns, mesh->root_ns) == 0 ? SCOPED_GLOBAL : SCOPED_NAMESPACE;
}

bool translate_policy(struct policy *out, struct policy_condition *out_condition,
                      const struct json *object, const struct mesh *mesh, struct arena *a)
{
    const struct json *spec = json_object_at(object, "spec");
    struct policy p = {.ns = json_str_at(object, "metadata.namespace", ""),
                       .name = json_str_at(object, "metadata.name", "")};
    struct policy_condition c = {.is_set = false};
    bool is_published = !has_targets(spec) && read_action(object, &p, &c, a);

    if (is_published) {
        struct policy_build b = {.arena = a, .mesh = mesh, .action = p.action, .ns = p.ns};
        p.scope = scope_of(spec, p.ns, mesh);
        read_rules(&b, spec, &p);
        say_published(&b, &c);
    }
    *out = p;
    *out_condition = c;
    return is_published;
}
