/* SPDX-License-Identifier: Apache-2.0 */
#include "model/rbac.h"

#include <string.h>

#include "base/mem.h"
#include "mesh.h"
#include "t.h"

#define LIST(type, ...)                                                                            \
    {                                                                                              \
        (const type[]){__VA_ARGS__}, sizeof((const type[]){__VA_ARGS__}) / sizeof(type)            \
    }
#define STRS(...)     LIST(struct str_match, __VA_ARGS__)
#define PORTS(...)    LIST(uint16_t, __VA_ARGS__)
#define ACCOUNTS(...) LIST(struct account_match, __VA_ARGS__)
#define IPS(...)      LIST(struct ip_prefix, __VA_ARGS__)
#define EXACT(s)                                                                                   \
    {                                                                                              \
        MATCH_EXACT, s                                                                             \
    }
#define PREFIX(s)                                                                                  \
    {                                                                                              \
        MATCH_PREFIX, s                                                                            \
    }
#define SUFFIX(s)                                                                                  \
    {                                                                                              \
        MATCH_SUFFIX, s                                                                            \
    }
#define PRESENCE                                                                                   \
    {                                                                                              \
        MATCH_PRESENCE, NULL                                                                       \
    }
#define V4(a, b, c, d, len)                                                                        \
    {                                                                                              \
        {IP_V4, {a, b, c, d}}, len                                                                 \
    }

/* 10.0.0.1:40000 -> 10.0.0.2:8080 from td/ns/shop/sa/web, or from nobody. */
static struct rbac_conn conn(const struct identity *peer)
{
    struct rbac_conn c = {.peer = peer};

    c.src = (struct endpoint){mesh_ip("10.0.0.1"), 40000};
    c.dst = (struct endpoint){mesh_ip("10.0.0.2"), 8080};
    return c;
}

static bool matches(const struct policy_match *m, const struct identity *peer)
{
    struct policy_clause clause = {m, 1};
    struct policy_rule rule = {&clause, 1};
    struct policy p = {.ns = "n", .name = "p", .rules = &rule, .rule_count = 1};
    struct rbac_conn c = conn(peer);
    AUTO(policy) const struct policy *made = NULL;

    return policy_new(&made, &p, NULL) == 0 && rbac_policy_matches(made, &c);
}

/* Contract 4.3, every kind: with an identity and without. */
static const struct {
    const char *what;
    struct policy_match m;
    bool web, nobody;
} kinds[] = {
    {"empty", {.namespaces = {NULL, 0}}, false, false},
    {"principal exact", {.principals = STRS(EXACT("td/ns/shop/sa/web"))}, true, false},
    {"principal with scheme",
     {.principals = STRS(EXACT("spiffe://td/ns/shop/sa/web"))},
     false,
     false},
    {"principal prefix", {.principals = STRS(PREFIX("td/ns/shop"))}, true, false},
    {"principal suffix", {.principals = STRS(SUFFIX("/sa/web"))}, true, false},
    {"principal presence", {.principals = STRS(PRESENCE)}, true, false},
    {"principal empty prefix", {.principals = STRS(PREFIX(""))}, true, false},
    {"not principal presence", {.not_principals = STRS(PRESENCE)}, false, true},
    {"not principal exact", {.not_principals = STRS(EXACT("td/ns/shop/sa/web"))}, false, true},
    {"not principal other", {.not_principals = STRS(EXACT("td/ns/x/sa/web"))}, true, true},
    {"namespace exact", {.namespaces = STRS(EXACT("shop"))}, true, false},
    {"namespace empty exact", {.namespaces = STRS(EXACT(""))}, false, true},
    {"namespace prefix", {.namespaces = STRS(PREFIX("sh"))}, true, false},
    {"namespace empty prefix", {.namespaces = STRS(PREFIX(""))}, true, true},
    {"namespace empty suffix", {.namespaces = STRS(SUFFIX(""))}, true, true},
    {"namespace presence", {.namespaces = STRS(PRESENCE)}, true, false},
    {"not namespace presence", {.not_namespaces = STRS(PRESENCE)}, false, true},
    {"not namespace", {.not_namespaces = STRS(EXACT("shop"))}, false, true},
    {"one of two namespaces", {.namespaces = STRS(EXACT("x"), EXACT("shop"))}, true, false},
    {"longer than the value",
     {.namespaces = STRS(PREFIX("shopping"), SUFFIX("the-shop"))},
     false,
     false},
    {"account", {.service_accounts = ACCOUNTS({"shop", "web"})}, true, false},
    {"account elsewhere", {.service_accounts = ACCOUNTS({"prod", "web"})}, false, false},
    {"not account", {.not_service_accounts = ACCOUNTS({"shop", "web"})}, false, true},
    {"source", {.source_ips = IPS(V4(10, 0, 0, 0, 24))}, true, true},
    {"source elsewhere", {.source_ips = IPS(V4(10, 1, 0, 0, 16))}, false, false},
    {"source of the other family", {.source_ips = IPS({{IP_V6, {0}}, 0})}, false, false},
    {"not source", {.not_source_ips = IPS(V4(10, 0, 0, 1, 32))}, false, false},
    {"destination", {.destination_ips = IPS(V4(10, 0, 0, 2, 32))}, true, true},
    {"not destination", {.not_destination_ips = IPS(V4(10, 0, 0, 1, 32))}, true, true},
    {"port", {.destination_ports = PORTS(80, 8080)}, true, true},
    {"not port", {.not_destination_ports = PORTS(8080)}, false, false},
    {"not another port", {.not_destination_ports = PORTS(80)}, true, true},
    {"kinds AND",
     {.namespaces = STRS(EXACT("shop")), .destination_ports = PORTS(80)},
     false,
     false},
    {"positive and negative",
     {.namespaces = STRS(PREFIX("sh")), .not_namespaces = STRS(EXACT("shop"))},
     false,
     false},
};

TEST(each_kind_of_match)
{
    AUTO(identity) const struct identity *web = identity_new("td", "shop", "web");

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        printf("# %s\n", kinds[i].what);
        CHECK_INT(matches(&kinds[i].m, web), kinds[i].web);
        CHECK_INT(matches(&kinds[i].m, NULL), kinds[i].nobody);
    }
}

static const struct policy_match hit = {.destination_ports = PORTS(8080)};
static const struct policy_match miss = {.destination_ports = PORTS(1)};
static const struct policy_match both[] = {{.destination_ports = PORTS(1)},
                                           {.destination_ports = PORTS(8080)}};

static const struct policy_clause c_hit = {&hit, 1}, c_any = {both, 2}, c_none = {NULL, 0};
static const struct policy_clause hit_and_miss[] = {{&hit, 1}, {&miss, 1}};
static const struct policy_clause hit_and_hit[] = {{&hit, 1}, {both, 2}};
static const struct policy_rule miss_or_hit[] = {{hit_and_miss, 2}, {&c_hit, 1}};
static const struct {
    const char *what;
    struct policy p;
    bool want;
} combinations[] = {
    {"no rules", {.rule_count = 0}, false},
    {"rule without clauses", {.rules = &(struct policy_rule){NULL, 0}, .rule_count = 1}, true},
    {"clause without matches", {.rules = &(struct policy_rule){&c_none, 1}, .rule_count = 1}, true},
    {"matches OR", {.rules = &(struct policy_rule){&c_any, 1}, .rule_count = 1}, true},
    {"clauses AND", {.rules = &(struct policy_rule){hit_and_miss, 2}, .rule_count = 1}, false},
    {"clauses both", {.rules = &(struct policy_rule){hit_and_hit, 2}, .rule_count = 1}, true},
    {"rules OR", {.rules = miss_or_hit, .rule_count = 2}, true},
    {"broken", {.rules = miss_or_hit, .rule_count = 2, .broken = true}, false},
};

TEST(how_rules_clauses_and_matches_combine)
{
    struct rbac_conn c = conn(NULL);

    for (size_t i = 0; i < ARRAY_LEN(combinations); i++) {
        printf("# %s\n", combinations[i].what);
        CHECK_INT(rbac_policy_matches(&combinations[i].p, &c), combinations[i].want);
    }
}

/* A policy as its row says it: where it reaches, what it does, whether it hits. */
struct row_policy {
    const char *key; /* "ns/name" */
    enum policy_scope scope;
    enum policy_action action;
    bool hits, dry_run, broken;
};

static void put_policy(struct mesh *m, const struct row_policy *r)
{
    struct policy_clause clause = {r->hits ? &hit : &miss, 1};
    struct policy_rule rule = {&clause, 1};
    const char *slash = strchr(r->key, '/');
    AUTO(text) char *ns = mem_dup(r->key, (size_t)(slash - r->key));
    struct policy p = {.ns = ns,
                       .name = slash + 1,
                       .scope = r->scope,
                       .action = r->action,
                       .dry_run = r->dry_run,
                       .broken = r->broken,
                       .rules = &rule,
                       .rule_count = 1};
    const struct policy *made = NULL;

    if (policy_new(&made, &p, NULL) == 0) {
        mesh_policy(m, made);
    }
}

#define G SCOPED_GLOBAL
#define N SCOPED_NAMESPACE
#define W SCOPED_WORKLOAD
#define A POLICY_ALLOW
#define D POLICY_DENY

/* Contract 4.4 and 4.5, and what fails closed here. */
TEST(which_policies_apply_and_what_they_decide)
{
    static const struct {
        const char *what;
        struct row_policy policies[4];
        const char *named;
        enum rbac_outcome outcome;
        const char *text;
    } rows[] = {
        {"none", {{NULL}}, "", RBAC_ALLOW, "allowed: no allow policies exist"},
        {"namespace allow",
         {{"shop/a", N, A, true}},
         "",
         RBAC_ALLOW,
         "explicitly allowed by: shop/a"},
        {"namespace allow misses",
         {{"shop/a", N, A}},
         "",
         RBAC_DENY,
         "allow policies exist, but none allowed"},
        {"other namespace",
         {{"prod/a", N, D, true}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
        {"global deny", {{"root/d", G, D, true}}, "", RBAC_DENY, "explicitly denied by: root/d"},
        {"deny beats allow",
         {{"shop/a", N, A, true}, {"shop/d", N, D, true}},
         "",
         RBAC_DENY,
         "explicitly denied by: shop/d"},
        {"deny that misses",
         {{"shop/d", N, D}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
        {"selector not named",
         {{"shop/w", W, D, true}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
        {"selector named",
         {{"shop/w", W, D, true}},
         "shop/w",
         RBAC_DENY,
         "explicitly denied by: shop/w"},
        {"named from elsewhere",
         {{"root/w", W, A, true}},
         "root/w",
         RBAC_ALLOW,
         "explicitly allowed by: root/w"},
        {"one of two allows",
         {{"shop/a", N, A}, {"root/b", G, A, true}},
         "",
         RBAC_ALLOW,
         "explicitly allowed by: root/b"},
        {"dry-run deny",
         {{"shop/d", N, D, true, true}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
        {"dry-run allow is no allow",
         {{"shop/a", N, A, false, true}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
        {"dry-run allow does not allow",
         {{"shop/a", N, A, true, true}, {"shop/b", N, A}},
         "",
         RBAC_DENY,
         "allow policies exist, but none allowed"},
        {"named and unknown",
         {{"shop/a", N, A, true}},
         "shop/x",
         RBAC_HOLD,
         "denied: policy is not known: shop/x"},
        {"unknown, but denied anyway",
         {{"shop/d", N, D, true}},
         "shop/x",
         RBAC_DENY,
         "explicitly denied by: shop/d"},
        {"broken",
         {{"shop/b", N, A, true, false, true}},
         "",
         RBAC_DENY,
         "denied: policy could not be decoded: shop/b"},
        {"broken beside an allow",
         {{"shop/b", N, D, false, false, true}, {"shop/a", N, A, true}},
         "",
         RBAC_DENY,
         "denied: policy could not be decoded: shop/b"},
        {"broken of others",
         {{"prod/b", N, A, true, false, true}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
        {"broken and named",
         {{"shop/b", W, A, true, false, true}},
         "shop/b",
         RBAC_DENY,
         "denied: policy could not be decoded: shop/b"},
        {"broken but dry-run",
         {{"shop/b", N, A, true, true, true}},
         "",
         RBAC_ALLOW,
         "allowed: no allow policies exist"},
    };
    struct rbac_conn c = conn(NULL);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(mesh) struct mesh m;
        char text[RBAC_TEXT];
        mesh_init(&m);
        for (int k = 0; k < 4 && rows[i].policies[k].key; k++) {
            put_policy(&m, &rows[i].policies[k]);
        }
        mesh_pod(&m, &(struct pod){.name = "a", .policies = rows[i].named});
        mesh_commit(&m);
        struct rbac_verdict v = rbac_decide(m.world, world_workload(m.world, "c//Pod/shop/a"), &c);
        printf("# %s\n", rows[i].what);
        CHECK_INT(v.outcome, rows[i].outcome);
        CHECK_STR(rbac_verdict_text(&v, text), rows[i].text);
    }
}

TEST(a_dry_run_is_reported_beside_the_verdict)
{
    AUTO(mesh) struct mesh m;
    struct rbac_conn c = conn(NULL);

    mesh_init(&m);
    put_policy(&m, &(struct row_policy){"shop/d", N, D, true, true, false});
    put_policy(&m, &(struct row_policy){"shop/a", N, A, false, true, false});
    mesh_pod(&m, &(struct pod){.name = "a"});
    mesh_commit(&m);
    const struct workload *w = world_workload(m.world, "c//Pod/shop/a");
    struct rbac_verdict v = rbac_decide(m.world, w, &c);
    CHECK(v.outcome == RBAC_ALLOW && v.dry_not_allowed && !v.dry_allow);
    CHECK_STR(v.dry_deny->key, "shop/d");
    put_policy(&m, &(struct row_policy){"shop/a2", N, A, true, true, false});
    mesh_commit(&m);
    v = rbac_decide(m.world, w, &c);
    CHECK(!v.dry_not_allowed);
    CHECK_STR(v.dry_allow->key, "shop/a2");
}

TEST(a_zeroed_verdict_denies)
{
    struct rbac_verdict v = {0};
    char text[RBAC_TEXT];

    CHECK_INT(v.outcome, RBAC_DENY);
    CHECK_STR(rbac_verdict_text(&v, text), "not decided");
}

/* Each differs from `hit` in one place. */
static const struct policy_match others[] = {
    {.destination_ports = PORTS(8081)},
    {.destination_ports = PORTS(8080), .not_destination_ports = PORTS(1)},
    {.destination_ports = PORTS(8080), .principals = STRS(EXACT("x"))},
    {.destination_ports = PORTS(8080), .not_principals = STRS(EXACT("x"))},
    {.destination_ports = PORTS(8080), .namespaces = STRS(PRESENCE)},
    {.destination_ports = PORTS(8080), .not_namespaces = STRS(PRESENCE)},
    {.destination_ports = PORTS(8080), .source_ips = IPS(V4(1, 2, 3, 4, 32))},
    {.destination_ports = PORTS(8080), .not_source_ips = IPS(V4(1, 2, 3, 4, 32))},
    {.destination_ports = PORTS(8080), .destination_ips = IPS(V4(1, 2, 3, 4, 32))},
    {.destination_ports = PORTS(8080), .not_destination_ips = IPS(V4(1, 2, 3, 4, 32))},
    {.destination_ports = PORTS(8080), .service_accounts = ACCOUNTS({"a", "b"})},
    {.destination_ports = PORTS(8080), .not_service_accounts = ACCOUNTS({"a", "b"})},
};

static const struct policy *of_match(const struct policy_match *m)
{
    struct policy_clause clause = {m, 1};
    struct policy_rule rule = {&clause, 1};
    struct policy p = {.ns = "n", .name = "p", .rules = &rule, .rule_count = 1};
    const struct policy *made = NULL;

    return policy_new(&made, &p, NULL) == 0 ? made : NULL;
}

TEST(policies_are_equal_down_to_their_last_value)
{
    AUTO(policy) const struct policy *a = of_match(&hit);
    AUTO(policy) const struct policy *same = of_match(&hit);

    CHECK(policy_equal(a, same));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        AUTO(policy) const struct policy *b = of_match(&others[i]);
        AUTO(policy) const struct policy *c = of_match(&others[i]);
        CHECK(!policy_equal(a, b) && policy_equal(b, c));
    }
}
