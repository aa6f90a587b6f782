/* SPDX-License-Identifier: Apache-2.0 */
/* While a trust domain is being renamed, policies that name callers by its old name hold. */
#include <string.h>

#include "codec/yaml.h"
#include "control/translate_l7.h"
#include "control/translate_policy.h"
#include "model/rbac.h"
#include "t.h"

static const char *const aliases[] = {"old.example", "older.example", NULL};
static const struct mesh mesh = {.cluster_id = "c",
                                 .trust_domain = "new.example",
                                 .aliases = aliases,
                                 .root_ns = "istio-system",
                                 .system_ns = "istio-system",
                                 .domain = "cluster.local",
                                 .revision = ""};

static struct json *policy_of(const char *rules)
{
    AUTO(json) struct json *all = NULL;
    struct json *o = json_new_object();

    json_set_str(json_make_object(o, "metadata"), "name", "p");
    json_set_str(json_get(o, "metadata"), "namespace", "shop");
    if (yaml_parse_all(&all, rules, strlen(rules), NULL) == 0) {
        json_set(json_make_object(o, "spec"), "rules", json_ref(json_item(all, 0)));
    }
    return o;
}

static const struct {
    const char *rules;
    const char *domain; /* of the caller, ns "a", account "b" */
    bool layer4;        /* ALLOW matches */
    const char *layer7; /* what the list becomes */
} cases[] = {
    {"[{from: [{source: {principals: [old.example/ns/a/sa/b]}}]}]", "new.example", true,
     "old.example/ns/a/sa/b new.example/ns/a/sa/b older.example/ns/a/sa/b"},
    {"[{from: [{source: {principals: [new.example/ns/a/sa/b]}}]}]", "older.example", true,
     "new.example/ns/a/sa/b old.example/ns/a/sa/b older.example/ns/a/sa/b"},
    {"[{from: [{source: {principals: [older.example/ns/a/*]}}]}]", "new.example", true,
     "older.example/ns/a/* new.example/ns/a/* old.example/ns/a/*"},
    {"[{from: [{source: {principals: [old.example/ns/a/sa/c]}}]}]", "new.example", false,
     "old.example/ns/a/sa/c new.example/ns/a/sa/c older.example/ns/a/sa/c"},
    {"[{from: [{source: {principals: [foreign/ns/a/sa/b]}}]}]", "new.example", false,
     "foreign/ns/a/sa/b"},
    {"[{from: [{source: {principals: ['*']}}]}]", "foreign", true, "*"},
    {"[{from: [{source: {principals: ['*/sa/b', old.example/ns/x/sa/y]}}]}]", "new.example", true,
     "*/sa/b old.example/ns/x/sa/y new.example/ns/x/sa/y older.example/ns/x/sa/y"},
};

TEST(at_layer_four_a_principal_holds_in_every_domain)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(arena) struct arena a = {0};
        AUTO(json) struct json *o = policy_of(cases[i].rules);
        AUTO(identity) const struct identity *peer = identity_new(cases[i].domain, "a", "b");
        struct rbac_conn conn = {.peer = peer};
        struct policy_condition condition;
        struct policy p;
        CHECK(translate_policy(&p, &condition, o, &mesh, &a));
        if (rbac_policy_matches(&p, &conn) != cases[i].layer4) {
            test_fail(t, __FILE__, __LINE__, cases[i].rules);
        }
    }
}

TEST(exclusions_and_conditions_do_too)
{
    static const char *const not_matched[] = {
        "[{from: [{source: {notPrincipals: [old.example/ns/a/sa/b]}}]}]",
        "[{when: [{key: source.principal, notValues: [old.example/ns/a/sa/b]}]}]",
        "[{when: [{key: source.principal, values: [old.example/ns/a/sa/c]}]}]"};

    for (size_t i = 0; i < ARRAY_LEN(not_matched); i++) {
        AUTO(arena) struct arena a = {0};
        AUTO(json) struct json *o = policy_of(not_matched[i]);
        AUTO(identity) const struct identity *peer = identity_new("new.example", "a", "b");
        struct rbac_conn conn = {.peer = peer};
        struct policy_condition condition;
        struct policy p;
        CHECK(translate_policy(&p, &condition, o, &mesh, &a));
        CHECK(!rbac_policy_matches(&p, &conn));
    }
}

static void join(struct l7_texts all, struct strbuf *out)
{
    for (size_t i = 0; i < all.count; i++) {
        strbuf_printf(out, "%s%s", i > 0 ? " " : "", all.at[i]);
    }
}

TEST(at_layer_seven_the_lists_name_every_domain)
{
    static const char both[] =
        "[{from: [{source: {notPrincipals: [old.example/ns/a/sa/b]}}],\n"
        "  when: [{key: source.principal, values: [old.example/ns/c/sa/d]},\n"
        "         {key: source.namespace, values: [old.example/ns]}]}]";
    AUTO(arena) struct arena a = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(json) struct json *o = policy_of(cases[i].rules);
        AUTO(strbuf) struct strbuf text = {0};
        struct l7_policy p;
        translate_l7_policy(&p, L7_AUTHORIZATION, o, &mesh, &a);
        join(p.rules[0].from[0].principals, &text);
        CHECK_STR(strbuf_text(&text), cases[i].layer7);
    }
    AUTO(json) struct json *o = policy_of(both);
    AUTO(strbuf) struct strbuf text = {0};
    struct l7_policy p;
    translate_l7_policy(&p, L7_AUTHORIZATION, o, &mesh, &a);
    CHECK_INT(p.rules[0].from[0].not_principals.count, 3);
    CHECK_INT(p.rules[0].when[0].values.count, 3);
    join(p.rules[0].when[1].values, &text);
    CHECK_STR(strbuf_text(&text), "old.example/ns");
}
