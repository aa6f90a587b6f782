/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "mesh.h"
#include "t.h"

static void add_policy(struct mesh *m, const char *name, enum policy_action action,
                       const char *principal)
{
    struct str_match match = {MATCH_EXACT, principal};
    struct policy_match pm = {.principals = {&match, 1}};
    struct policy_clause clause = {&pm, 1};
    struct policy_rule rule = {&clause, 1};
    struct policy p = {.ns = "shop",
                       .name = name,
                       .scope = SCOPED_WORKLOAD,
                       .action = action,
                       .rules = &rule,
                       .rule_count = 1};
    const struct policy *made = NULL;

    if (policy_new(&made, &p, NULL) < 0) {
        exit(1);
    }
    mesh_policy(m, made);
}

/* web (in the mesh) and batch (too) call service cart; old is outside. cart-1 takes web alone; db
 * denies batch; api is behind a waypoint, whose identity api-1 takes alone. */
static void build(struct mesh *m)
{
    mesh_init(m);
    add_policy(m, "allow-web", POLICY_ALLOW, "cluster.local/ns/shop/sa/web-sa");
    add_policy(m, "deny-batch", POLICY_DENY, "cluster.local/ns/shop/sa/batch-sa");
    add_policy(m, "allow-way", POLICY_ALLOW, "cluster.local/ns/shop/sa/way-1-sa");
    mesh_pod(m, &(struct pod){.name = "web", .ips = "10.0.0.1", .hbone = true, .node = "n1"});
    mesh_pod(m, &(struct pod){.name = "batch", .ips = "10.0.0.2", .hbone = true});
    mesh_pod(m, &(struct pod){.name = "old", .ips = "10.0.0.3"});
    mesh_pod(m, &(struct pod){.name = "cart-1",
                              .ips = "10.0.1.1",
                              .hbone = true,
                              .node = "n2",
                              .services = "shop/cart.shop.svc.cluster.local=80:8080",
                              .policies = "shop/allow-web"});
    mesh_pod(m, &(struct pod){.name = "db-1",
                              .ips = "10.0.1.2",
                              .hbone = true,
                              .services = "shop/db.shop.svc.cluster.local=5432:5432",
                              .policies = "shop/deny-batch"});
    mesh_pod(m, &(struct pod){.name = "db-2",
                              .ips = "10.0.1.3",
                              .hbone = true,
                              .services = "shop/db.shop.svc.cluster.local=5432:5432"});
    mesh_pod(m, &(struct pod){.name = "api-1",
                              .ips = "10.0.1.4",
                              .hbone = true,
                              .services = "shop/api.shop.svc.cluster.local=80:8080",
                              .policies = "shop/allow-way"});
    mesh_pod(m, &(struct pod){.name = "way-1",
                              .ips = "10.0.2.1",
                              .hbone = true,
                              .services = "shop/way.shop.svc.cluster.local=15008:15008"});
    mesh_pod(m, &(struct pod){.name = "gone-1",
                              .ips = "10.0.1.5",
                              .hbone = true,
                              .unhealthy = true,
                              .services = "shop/gone.shop.svc.cluster.local=80:80"});
    mesh_svc(m, &(struct svc){.host = "cart.shop.svc.cluster.local",
                              .vips = "|10.96.0.1",
                              .ports = "80:8080"});
    mesh_svc(m, &(struct svc){.host = "db.shop.svc.cluster.local",
                              .vips = "|10.96.0.2",
                              .ports = "5432:5432"});
    mesh_svc(m, &(struct svc){
                    .host = "gone.shop.svc.cluster.local", .vips = "|10.96.0.5", .ports = "80:80"});
    mesh_svc(m, &(struct svc){.host = "way.shop.svc.cluster.local",
                              .vips = "|10.96.0.4",
                              .ports = "15008:15008"});
    mesh_svc(m, &(struct svc){.host = "api.shop.svc.cluster.local",
                              .vips = "|10.96.0.3",
                              .ports = "80:8080,81:8081",
                              .waypoint = "shop/way.shop.svc.cluster.local:15008"});
    mesh_commit(m);
}

static struct json *ask(const struct mesh *m, const char *query, struct diag *why)
{
    return why_answer(m->world, "", slice_of(query), why);
}

TEST(who_would_reach_whom_and_who_decides)
{
    static const struct {
        const char *query;
        const char *verdict;
        const char *route;
        const char *policy; /* of the first endpoint */
        const char *text;   /* part of it */
    } rows[] = {
        {"from=shop/web&to=shop/cart.shop.svc.cluster.local&port=80", "allow", "hbone",
         "shop/allow-web", ""},
        {"from=web&to=cart.shop&ns=shop", "allow", "hbone", "shop/allow-web", ""},
        {"from=10.0.0.1&to=10.96.0.1&port=80", "allow", "hbone", "shop/allow-web", ""},
        {"from=shop/batch&to=cart.shop", "deny", "hbone", "", "none allowed"},
        {"from=shop/batch&to=10.0.1.2&port=5432", "deny", "hbone", "shop/deny-batch",
         "shop/deny-batch"},
        {"from=shop/web&to=shop/db-1&port=5432", "allow", "hbone", "", ""},
        {"from=shop/old&to=cart.shop", "deny", "plain", "", "none allowed"},
        {"from=shop/web&to=shop/old&port=9", "allow", "plain", "", ""},
        {"from=spiffe://cluster.local/ns/shop/sa/web-sa&to=cart.shop&ns=shop", "allow", "hbone",
         "shop/allow-web", ""},
        {"from=spiffe://cluster.local/ns/x/sa/y&to=cart.shop&ns=shop", "deny", "hbone", "",
         "none allowed"},
        {"from=shop/web&to=gone.shop", "deny", "denied", "", "no healthy upstream"},
        {"from=shop/web&to=api.shop&port=80", "allow", "waypoint", "shop/allow-way", ""},
        {"from=spiffe://cluster.local/ns/shop/sa/web-sa&to=api.shop&port=80", "allow", "waypoint",
         "shop/allow-way", ""},
        {"from=spiffe://cluster.local/ns/x/sa/y&to=api.shop&port=80", "allow", "waypoint",
         "shop/allow-way", ""},
    };
    struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct diag why = {0};
        AUTO(json) struct json *o = ask(&m, rows[i].query, &why);
        const struct json *first = json_item(json_get(o, "endpoints"), 0);
        CHECK(o);
        CHECK_STR(json_str_at(o, "verdict", ""), rows[i].verdict);
        CHECK_STR(json_str_at(o, "route.kind", ""), rows[i].route);
        CHECK_STR(json_str_at(first, "policy", ""), rows[i].policy);
        CHECK(strstr(json_str_at(o, "text", ""), rows[i].text));
    }
    mesh_fini(&m);
}

TEST(endpoints_that_differ_are_told_apart)
{
    struct mesh m;
    struct diag why = {0};

    build(&m);
    AUTO(json) struct json *o = ask(&m, "from=shop/batch&to=db.shop", &why);
    const struct json *all = json_get(o, "endpoints");
    mesh_fini(&m);
    CHECK_STR(json_str_at(o, "verdict", ""), "partly");
    CHECK_INT(json_count(all), 2);
    bool first = strcmp(json_str_at(json_item(all, 0), "name", ""), "db-1") == 0;
    CHECK_STR(json_str_at(json_item(all, first ? 0 : 1), "outcome", ""), "deny");
    CHECK_STR(json_str_at(json_item(all, first ? 1 : 0), "outcome", ""), "allow");
}

TEST(what_was_checked_is_listed_with_whether_it_matched)
{
    struct mesh m;
    struct diag why = {0};

    build(&m);
    AUTO(json) struct json *o = ask(&m, "from=shop/batch&to=cart.shop", &why);
    mesh_fini(&m);
    const struct json *list = json_get(json_item(json_get(o, "endpoints"), 0), "checked");
    CHECK_INT(json_count(list), 1);
    CHECK_STR(json_str_at(json_item(list, 0), "policy", ""), "shop/allow-web");
    CHECK_STR(json_str_at(json_item(list, 0), "action", ""), "ALLOW");
    CHECK(!json_bool_at(json_item(list, 0), "matches", true));
    CHECK_STR(json_str_at(o, "from.identity", ""), "spiffe://cluster.local/ns/shop/sa/batch-sa");
}

/* The endpoint sees the waypoint, whoever called it. */
TEST(behind_a_waypoint_its_identity_counts)
{
    struct mesh m;
    struct diag why = {0};

    build(&m);
    AUTO(json) struct json *o = ask(&m, "from=shop/batch&to=api.shop&port=80", &why);
    mesh_fini(&m);
    CHECK_STR(json_str_at(o, "to.waypoint", ""), "shop/way.shop.svc.cluster.local");
    CHECK_STR(json_str_at(o, "route.next", ""), "shop/way-1");
    CHECK_STR(json_str_at(json_item(json_get(o, "endpoints"), 0), "peer", ""),
              "spiffe://cluster.local/ns/shop/sa/way-1-sa");
    CHECK_STR(json_str_at(o, "verdict", ""), "allow");
}

TEST(questions_without_sense_say_what_is_missing)
{
    static const struct {
        const char *query;
        unsigned status;
        const char *said;
    } rows[] = {
        {"", 400, "ask with"},
        {"from=shop/web", 400, "ask with"},
        {"from=shop/web&to=shop/cart&port=80", 404, "no service and no workload shop/cart"},
        {"from=shop/nobody&to=cart.shop", 404, "no workload shop/nobody"},
        {"from=web&to=cart.shop", 404, "no workload web"},
        {"from=shop/web&to=api.shop", 400, "which port is meant: api.shop:PORT"},
        {"from=shop/web&to=api.shop&port=90000", 400, "port:"},
        {"from=shop/web&to=api.shop&port=9", 404, "has no port 9; it has "},
        {"from=spiffe://x&to=cart.shop", 400, ""},
        {"from=%zz&to=x", 400, "ask with"},
    };
    struct mesh m;

    build(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        unsigned status = 200;
        why_render(m.world, "", slice_of(rows[i].query), &status, &b);
        CHECK_INT(status, rows[i].status);
        CHECK(strstr(strbuf_text(&b), rows[i].said));
    }
    mesh_fini(&m);
}
