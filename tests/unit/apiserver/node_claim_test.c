/* SPDX-License-Identifier: Apache-2.0 */
/* What a node's credential gets, and what it does not: identities of other nodes, their addresses. */
#include <stdio.h>
#include <string.h>

#include "apiserver/api.h"
#include "base/mem.h"
#include "codec/json.h"
#include "rig.h"
#include "t.h"

#define MERGE "application/merge-patch+json"

static const struct api_user admin = {.name = "admin", .is_admin = true};
static const struct api_user node_a = {.name = "system:node:a", .node = "a"};
static const struct api_user node_b = {.name = "system:node:b", .node = "b"};

static void make_account(struct rig *g, const char *name, const char *annotations)
{
    char body[256];

    snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\",\"annotations\":{%s}}}", name,
             annotations);
    rig_call(g, "POST /api/v1/namespaces/shop/serviceaccounts", NULL, body);
}

static void start(struct rig *g)
{
    rig_start(g);
    rig_namespace(g, "shop");
    g->user = admin;
    make_account(g, "web", "");
}

/* As that user, on the node of that name. The status. */
static unsigned run_pod(struct rig *g, struct api_user user, const char *node, const char *name,
                        const char *account)
{
    char body[256];

    snprintf(body, sizeof(body),
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"nodeName\":\"%s\","
             "\"serviceAccountName\":\"%s\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}",
             name, node, account);
    g->user = user;
    unsigned status = rig_call(g, "POST /api/v1/namespaces/shop/pods", NULL, body);
    g->user = admin;
    return status;
}

static bool says(const struct rig *g, const char *words)
{
    const char *message = rig_str(g, "message");
    bool has = strstr(message, words) != NULL;

    if (!has) {
        printf("# message: %s\n", message);
    }
    return has;
}

static const char *holders_of(struct rig *g, const char *account)
{
    char request[96];

    snprintf(request, sizeof(request), "GET /api/v1/namespaces/shop/serviceaccounts/%s", account);
    rig_call(g, request, NULL, NULL);
    return json_str(json_get(json_at(g->body, "metadata.annotations"), "ambit.io/allowed-nodes"),
                    "(none)");
}

static void allow(struct rig *g, const char *what, const char *nodes)
{
    char request[96];
    char body[128];

    snprintf(request, sizeof(request), "PATCH /api/v1/namespaces/%s", what);
    snprintf(body, sizeof(body), "{\"metadata\":{\"annotations\":{\"ambit.io/allowed-nodes\":%s}}}",
             nodes);
    g->user = admin;
    rig_call(g, request, MERGE, body);
}

static unsigned set_ranges(struct rig *g, struct api_user user, const char *spec)
{
    char request[64];
    char body[256];

    snprintf(request, sizeof(request), "PATCH /api/v1/nodes/%s", user.node ? user.node : "a");
    snprintf(body, sizeof(body), "{\"spec\":{%s}}", spec);
    g->user = user;
    unsigned status = rig_call(g, request, MERGE, body);
    g->user = admin;
    return status;
}

static void make_nodes(struct rig *g)
{
    g->user = admin;
    rig_call(g, "POST /api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"a\"}}");
    rig_call(g, "POST /api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"b\"}}");
    set_ranges(g, node_a, "\"podCIDRs\":[\"10.244.1.0/24\",\"fd44:1::/64\"]");
}

/* ---- accounts */

TEST(an_account_goes_to_the_node_that_first_runs_it)
{
    struct rig g;

    start(&g);
    CHECK_STR(holders_of(&g, "web"), "(none)");
    CHECK_INT(run_pod(&g, node_a, "a", "one", "web"), 201);
    CHECK_STR(holders_of(&g, "web"), "a");
    CHECK_INT(run_pod(&g, node_b, "b", "two", "web"), 403);
    CHECK_STR(rig_str(&g, "reason"), "Forbidden");
    CHECK_STR(rig_str(&g, "message"), "node b may not run account shop/web, only a may: "
                                      "ambit allow-node b web -n shop");
    CHECK_INT(run_pod(&g, node_a, "a", "three", "web"), 201);

    /* also when nothing of it runs any more */
    CHECK_INT(
        rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/one?gracePeriodSeconds=0", NULL, NULL),
        200);
    CHECK_INT(
        rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/three?gracePeriodSeconds=0", NULL, NULL),
        200);
    CHECK_INT(run_pod(&g, node_b, "b", "two", "web"), 403);
    allow(&g, "shop/serviceaccounts/web", "\"a,b\"");
    CHECK_INT(run_pod(&g, node_b, "b", "two", "web"), 201);
    CHECK_STR(holders_of(&g, "web"), "a,b");
    rig_stop(&g);
}

TEST(a_pod_that_is_not_stored_gives_no_account_away)
{
    struct rig g;
    static const char pod[] =
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"a\",\"serviceAccountName\":"
        "\"web\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}";

    start(&g);
    g.user = node_a;
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods?dryRun=All", NULL, pod), 201);
    CHECK_INT(run_pod(&g, node_a, "b", "p", "web"), 403); /* on another node */
    CHECK_INT(run_pod(&g, admin, "", "p", "default"), 201);
    CHECK_INT(run_pod(&g, node_a, "a", "p", "web"), 409);
    CHECK_STR(holders_of(&g, "web"), "(none)");
    CHECK_INT(run_pod(&g, node_a, "a", "q", "gone"), 403);
    CHECK(says(&g, "serviceaccount \"gone\" not found"));
    rig_stop(&g);
}

TEST(every_way_to_make_a_pod_asks_whose_the_account_is)
{
    struct rig g;
    static const char older_field[] =
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"b\",\"serviceAccount\":"
        "\"web\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}";
    static const char applied[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{"
        "\"nodeName\":\"b\",\"serviceAccountName\":\"web\",\"containers\":[{\"name\":\"c\","
        "\"image\":\"x\"}]}}";

    start(&g);
    CHECK_INT(run_pod(&g, node_a, "a", "one", "web"), 201);
    CHECK_INT(run_pod(&g, node_b, "b", "mine", "default"), 201);
    g.user = node_b;
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, older_field), 403);
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop/pods/p?fieldManager=m",
                       "application/apply-patch+yaml", applied),
              403);
    CHECK(says(&g, "may not run account shop/web"));
    /* nor does a pod change its account, or a node the account */
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop/pods/mine", MERGE,
                       "{\"spec\":{\"serviceAccountName\":\"web\",\"serviceAccount\":\"web\"}}"),
              422);
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop/serviceaccounts/web", MERGE,
                       "{\"metadata\":{\"annotations\":{\"ambit.io/allowed-nodes\":\"*\"}}}"),
              403);
    CHECK_INT(rig_call(&g, "DELETE /api/v1/namespaces/shop/serviceaccounts/web", NULL, NULL), 403);
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/serviceaccounts", NULL,
                       "{\"metadata\":{\"name\":\"mine\"}}"),
              403);
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop", MERGE,
                       "{\"metadata\":{\"annotations\":{\"ambit.io/allowed-nodes\":\"*\"}}}"),
              403);
    CHECK_INT(rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/one", NULL, NULL), 403);
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/serviceaccounts/web/token", NULL,
                       "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"one\"}}}"),
              403);
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/serviceaccounts/web/token", NULL,
                       "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"mine\"}}}"),
              422);
    rig_stop(&g);
}

TEST(an_administrator_says_whose_an_account_is)
{
    struct rig g;

    start(&g);
    make_account(&g, "any", "\"ambit.io/allowed-nodes\":\"*\"");
    make_account(&g, "none", "\"ambit.io/allowed-nodes\":\"\"");
    make_account(&g, "some", "\"ambit.io/allowed-nodes\":\" b , c\"");
    CHECK_INT(run_pod(&g, node_a, "a", "p1", "any"), 201);
    CHECK_INT(run_pod(&g, node_b, "b", "p2", "any"), 201);
    CHECK_STR(holders_of(&g, "any"), "*");
    CHECK_INT(run_pod(&g, node_a, "a", "p3", "none"), 403);
    CHECK(says(&g, "only an administrator may"));
    CHECK_INT(run_pod(&g, node_a, "a", "p4", "some"), 403);
    CHECK(says(&g, "only  b , c may"));
    CHECK_INT(run_pod(&g, node_b, "b", "p5", "some"), 201);
    CHECK_STR(holders_of(&g, "some"), " b , c");

    /* and is not limited, nor does what he does give an account away */
    CHECK_INT(run_pod(&g, admin, "a", "p6", "none"), 201);
    CHECK_INT(run_pod(&g, admin, "a", "p7", "web"), 201);
    CHECK_STR(holders_of(&g, "web"), "(none)");
    rig_stop(&g);
}

/* Pods that an administrator made, or that were there before accounts had owners. */
TEST(an_account_without_owner_is_of_those_that_run_it)
{
    struct rig g;

    start(&g);
    CHECK_INT(run_pod(&g, admin, "a", "p1", "web"), 201);
    CHECK_INT(run_pod(&g, admin, "c", "p2", "web"), 201);
    CHECK_INT(run_pod(&g, node_b, "b", "p3", "web"), 403);
    CHECK(says(&g, "only a,c may"));
    CHECK_INT(run_pod(&g, node_a, "a", "p4", "web"), 201);
    CHECK_STR(holders_of(&g, "web"), "a,c");
    rig_stop(&g);
}

TEST(the_account_default_is_free_until_somebody_says_otherwise)
{
    struct rig g;

    start(&g);
    CHECK_INT(run_pod(&g, node_a, "a", "p1", "default"), 201);
    CHECK_INT(run_pod(&g, node_b, "b", "p2", "default"), 201);
    CHECK_STR(holders_of(&g, "default"), "(none)");
    allow(&g, "shop/serviceaccounts/default", "\"a\"");
    CHECK_INT(run_pod(&g, node_b, "b", "p3", "default"), 403);
    CHECK_INT(run_pod(&g, node_a, "a", "p3", "default"), 201);
    rig_stop(&g);
}

TEST(a_namespace_says_it_for_its_accounts)
{
    struct rig g;

    start(&g);
    allow(&g, "shop", "\"a\"");
    CHECK_INT(run_pod(&g, node_b, "b", "p1", "default"), 403);
    CHECK_INT(run_pod(&g, node_b, "b", "p1", "web"), 403);
    CHECK_INT(run_pod(&g, node_a, "a", "p1", "web"), 201);
    CHECK_STR(holders_of(&g, "web"), "(none)"); /* the namespace has said it */
    allow(&g, "shop/serviceaccounts/web", "\"b\"");
    CHECK_INT(run_pod(&g, node_a, "a", "p2", "web"), 403); /* the account knows better */
    CHECK_INT(run_pod(&g, node_b, "b", "p2", "web"), 201);
    allow(&g, "shop/serviceaccounts/web", "null");
    allow(&g, "shop", "\"*\"");
    CHECK_INT(run_pod(&g, node_b, "b", "p3", "web"), 201);
    CHECK_STR(holders_of(&g, "web"), "(none)");
    rig_stop(&g);
}

/* As many warnings as the policy's one source earns. */
static size_t warnings_of(struct rig *g, const char *action, const char *source)
{
    char body[512];

    snprintf(body, sizeof(body),
             "{\"apiVersion\":\"security.istio.io/v1\",\"kind\":\"AuthorizationPolicy\","
             "\"metadata\":{\"name\":\"p\"},\"spec\":{\"action\":\"%s\",\"rules\":[{},{"
             "\"from\":[{\"source\":{%s}}]}]}}",
             action, source);
    unsigned status = rig_call(
        g, "POST /apis/security.istio.io/v1/namespaces/shop/authorizationpolicies?dryRun=All", NULL,
        body);
    return status == 201 ? g->out.warning_count : 99;
}

TEST(a_policy_that_lets_the_account_default_in_is_warned_about)
{
    struct rig g;

    start(&g);
    rig_namespace(&g, "other");
    CHECK_INT(warnings_of(&g, "ALLOW", "\"principals\":[\"cluster.local/ns/shop/sa/default\"]"), 1);
    CHECK_STR(
        g.out.warnings[0],
        "spec.rules[1].from[0].source.principals[0]: every node may run pods of account "
        "shop/default, unless ambit.io/allowed-nodes of the account or its namespace says which");
    CHECK_INT(
        warnings_of(&g, "ALLOW", "\"serviceAccounts\":[\"web\",\"default\",\"other/default\"]"), 2);
    CHECK(strstr(g.out.warnings[0],
                 "serviceAccounts[1]: every node may run pods of account shop/default"));
    CHECK(strstr(g.out.warnings[1],
                 "serviceAccounts[2]: every node may run pods of account other/default"));
    CHECK_INT(
        warnings_of(&g, "ALLOW", "\"principals\":[\"cluster.local/ns/default/sa/web\",\"*\"]"), 0);
    CHECK_INT(warnings_of(&g, "ALLOW", "\"notPrincipals\":[\"cluster.local/ns/shop/sa/default\"]"),
              0);
    CHECK_INT(warnings_of(&g, "DENY", "\"principals\":[\"cluster.local/ns/shop/sa/default\"]"), 0);
    CHECK_INT(warnings_of(&g, "ALLOW", "\"namespaces\":[\"shop\",\"gone\",\"*\"]"), 0);
    make_nodes(&g);
    CHECK_INT(warnings_of(&g, "ALLOW", "\"namespaces\":[\"shop\",\"gone\",\"*\"]"), 1);
    CHECK(strstr(g.out.warnings[0],
                 "source.namespaces[0]: every node may run pods of account shop/default"));
    allow(&g, "other", "\"a\"");
    CHECK_INT(warnings_of(&g, "ALLOW", "\"serviceAccounts\":[\"other/default\"]"), 0);
    rig_stop(&g);
}

/* ---- marks */

TEST(a_node_holds_nothing_back_by_a_finalizer)
{
    struct rig g;
    static const char held[] =
        "{\"metadata\":{\"name\":\"q\",\"finalizers\":[\"x/y\"]},\"spec\":{\"nodeName\":\"a\","
        "\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}";
    static const char mine[] = "{\"metadata\":{\"finalizers\":[\"x/y\"]}}";
    static const char both[] = "{\"metadata\":{\"finalizers\":[\"x/y\",\"z/z\"]}}";
    static const char *const paths[] = {"PATCH /api/v1/namespaces/shop/pods/p",
                                        "PATCH /api/v1/namespaces/shop/pods/p/status",
                                        "PATCH /api/v1/nodes/a"};

    start(&g);
    make_nodes(&g);
    CHECK_INT(run_pod(&g, node_a, "a", "p", "default"), 201);
    g.user = node_a;
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, held), 422);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        CHECK_INT(rig_call(&g, paths[i], MERGE, mine), 422);
        CHECK(says(&g, "metadata.finalizers: Forbidden: \"x/y\": only an administrator adds one"));
    }
    /* it may take away what others added */
    g.user = admin;
    CHECK_INT(rig_call(&g, paths[0], MERGE, mine), 200);
    g.user = node_a;
    CHECK_INT(rig_call(&g, paths[0], MERGE, both), 422);
    CHECK_INT(rig_call(&g, paths[0], MERGE, "{\"metadata\":{\"labels\":{\"k\":\"v\"}}}"), 200);
    CHECK_INT(rig_call(&g, paths[0], MERGE, "{\"metadata\":{\"finalizers\":null}}"), 200);
    rig_stop(&g);
}

static unsigned mark_pod(struct rig *g, struct api_user user, const char *sub, const char *metadata)
{
    char request[96];
    char body[256];

    snprintf(request, sizeof(request), "PATCH /api/v1/namespaces/shop/pods/p%s", sub);
    snprintf(body, sizeof(body), "{\"metadata\":{%s}}", metadata);
    g->user = user;
    unsigned status = rig_call(g, request, MERGE, body);
    g->user = admin;
    return status;
}

TEST(a_node_makes_no_replica_of_a_waypoint)
{
    struct rig g;
    static const char replica[] = "\"labels\":{\"gateway.networking.k8s.io/gateway-name\":\"w\"},"
                                  "\"annotations\":{\"ambit.io/program\":\"waypoint\","
                                  "\"ambit.io/template\":\"1\"}";
    static const char *const changes[] = {
        "\"labels\":{\"gateway.networking.k8s.io/gateway-name\":\"other\"}",
        "\"labels\":null",
        "\"annotations\":{\"ambit.io/template\":\"2\"}",
        "\"annotations\":{\"ambit.io/program\":null}",
    };
    char made[512];

    start(&g);
    snprintf(made, sizeof(made),
             "{\"metadata\":{\"name\":\"q\",%s},\"spec\":{\"nodeName\":\"a\",\"containers\":[{"
             "\"name\":\"c\",\"image\":\"x\"}]}}",
             replica);
    g.user = node_a;
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, made), 422);
    CHECK(says(&g, "metadata.annotations[ambit.io/program]: Forbidden: only the control plane"));
    CHECK_INT(run_pod(&g, node_a, "a", "p", "default"), 201);
    CHECK_INT(mark_pod(&g, node_a, "", replica), 422);
    CHECK_INT(mark_pod(&g, node_a, "/status", replica), 422);
    CHECK_INT(mark_pod(&g, admin, "", replica), 200);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        CHECK_INT(mark_pod(&g, node_a, "", changes[i]), 422);
        CHECK_INT(mark_pod(&g, node_a, "/status", changes[i]), 422);
    }
    /* what its agent writes */
    CHECK_INT(mark_pod(&g, node_a, "", "\"annotations\":{\"ambient.istio.io/redirection\":null}"),
              200);
    rig_stop(&g);
}

/* ---- ranges */

TEST(a_node_takes_its_range_once)
{
    struct rig g;
    static const char *const changes[] = {
        "\"podCIDRs\":[\"10.244.0.0/16\",\"fd44:1::/64\"]",
        "\"podCIDRs\":[\"10.244.1.0/24\",\"fd44:1::/64\",\"10.9.0.0/24\"]",
        "\"podCIDRs\":[\"10.244.1.0/25\"]",
        "\"podCIDRs\":null",
        "\"podCIDR\":\"10.9.0.0/24\"",
        "\"podCIDRs\":[\"10.244.1.0/24\",\"fd44:1::/64\",\"rubbish\"]",
    };

    start(&g);
    make_nodes(&g);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        CHECK_INT(set_ranges(&g, node_a, changes[i]), 422);
        CHECK(says(&g, "spec.podCIDRs"));
        CHECK(says(&g, "stays 10.244.1.0/24, fd44:1::/64"));
        CHECK(says(&g, "ambit delete node a"));
    }
    /* the same again, and what has nothing to do with it */
    CHECK_INT(set_ranges(&g, node_a,
                         "\"podCIDR\":\"10.244.1.0/24\",\"podCIDRs\":[\"fd44:1::/64\",\"10.244."
                         "1.7/24\"]"),
              200);
    g.user = node_a;
    CHECK_INT(
        rig_call(&g, "PATCH /api/v1/nodes/a", MERGE, "{\"metadata\":{\"labels\":{\"k\":\"v\"}}}"),
        200);
    CHECK_INT(rig_call(&g, "PUT /api/v1/nodes/a", NULL, "{\"metadata\":{\"name\":\"a\"}}"), 422);
    CHECK_INT(rig_call(&g, "DELETE /api/v1/nodes/a", NULL, NULL), 403);
    CHECK_INT(set_ranges(&g, admin, "\"podCIDR\":null,\"podCIDRs\":[\"10.0.0.0/8\"]"), 200);
    rig_stop(&g);
}

TEST(a_range_is_apart_from_those_of_others)
{
    struct rig g;
    static const struct {
        const char *range;
        const char *why;
    } rows[] = {
        {"10.244.1.0/24", "10.244.1.0/24 overlaps 10.244.1.0/24 of node a"},
        {"10.244.1.128/25", "10.244.1.128/25 overlaps 10.244.1.0/24 of node a"},
        {"10.244.0.0/16",
         "give another --pod-cidr: 10.244.0.0/16 overlaps 10.244.1.0/24 of node a"},
        {"fd44:1::/48", "fd44:1::/48 overlaps fd44:1::/64 of node a"},
        {"10.96.3.0/24", "overlaps 10.96.0.0/16 of services"},
        {"10.0.0.0/15", "10.0.0.0/15: a node may take a /16 at most"},
        {"0.0.0.0/0", "a node may take a /16 at most"},
        {"fd45::/47", "a node may take a /48 at most"},
        {"::/0", "a node may take a /48 at most"},
        {"127.0.0.0/24", "pods cannot be in 127.0.0.0/8"},
        {"169.254.1.0/24", "pods cannot be in 169.254.0.0/16"},
        {"239.1.0.0/16", "pods cannot be in 224.0.0.0/3"},
        {"fe80:1::/64", "pods cannot be in fe80::/10"},
        {"rubbish", "\"rubbish\": a node has at most 8 ranges like 10.244.1.0/24"},
    };

    start(&g);
    make_nodes(&g);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char spec[96];
        snprintf(spec, sizeof(spec), "\"podCIDRs\":[\"%s\"]", rows[i].range);
        CHECK_INT(set_ranges(&g, node_b, spec), 422);
        CHECK(says(&g, rows[i].why));
        snprintf(spec, sizeof(spec), "\"podCIDR\":\"%s\"", rows[i].range);
        CHECK_INT(set_ranges(&g, node_b, spec), 422);
    }
    CHECK_INT(set_ranges(&g, node_b, "\"podCIDRs\":[\"10.244.2.0/24\",\"fd44:2::/64\"]"), 200);
    rig_stop(&g);
}

TEST(a_node_comes_with_its_range)
{
    struct rig g;

    start(&g);
    make_nodes(&g);
    CHECK_INT(rig_call(&g, "DELETE /api/v1/nodes/b", NULL, NULL), 200);
    g.user = node_b;
    CHECK_INT(
        rig_call(&g, "POST /api/v1/nodes", NULL,
                 "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"podCIDRs\":[\"10.244.1.0/28\"]}}"),
        422);
    CHECK_INT(
        rig_call(&g, "POST /api/v1/nodes", NULL,
                 "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"podCIDRs\":[\"10.244.2.0/24\"]}}"),
        201);
    rig_stop(&g);
}

/* ---- addresses */

static unsigned set_status(struct rig *g, struct api_user user, const char *pod, const char *status)
{
    char request[96];
    char body[256];

    snprintf(request, sizeof(request), "PATCH /api/v1/namespaces/shop/pods/%s/status", pod);
    snprintf(body, sizeof(body), "{\"status\":{%s}}", status);
    g->user = user;
    unsigned code = rig_call(g, request, MERGE, body);
    g->user = admin;
    return code;
}

TEST(addresses_of_a_pod_are_in_the_range_of_its_node)
{
    struct rig g;
    static const struct {
        const char *status;
        const char *why;
    } rows[] = {
        {"\"podIP\":\"10.244.1.5\"", "10.244.1.5 is not in node b's 10.244.2.0/24, fd44:2::/64"},
        {"\"podIP\":\"192.0.2.1\"", "192.0.2.1 is not in node b's"},
        {"\"podIP\":\"10.244.2.5\",\"podIPs\":[{\"ip\":\"10.244.2.5\"},{\"ip\":\"fd44:1::5\"}]",
         "status.podIPs[1].ip: Forbidden: fd44:1::5 is not in node b's"},
        {"\"podIP\":\"10.244.1.5\",\"podIPs\":[{\"ip\":\"10.244.2.5\"}]",
         "status.podIP: Forbidden: 10.244.1.5 is not in node b's"},
        {"\"podIP\":\"::ffff:10.244.1.5\"", "is not in node b's"},
        {"\"podIP\":\"rubbish\"", "must be a valid IP address"},
    };

    start(&g);
    make_nodes(&g);
    CHECK_INT(run_pod(&g, node_b, "b", "p", "default"), 201);
    CHECK_INT(set_status(&g, node_b, "p", "\"podIP\":\"10.244.2.5\""), 422);
    CHECK(says(&g, "node b has no range yet: give its agent a --pod-cidr of its own"));
    CHECK_INT(set_ranges(&g, node_b, "\"podCIDRs\":[\"10.244.2.0/24\",\"fd44:2::/64\"]"), 200);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_INT(set_status(&g, node_b, "p", rows[i].status), 422);
        CHECK(says(&g, rows[i].why));
    }
    CHECK_INT(set_status(&g, node_b, "p",
                         "\"podIP\":\"10.244.2.5\",\"podIPs\":[{\"ip\":\"10.244.2.5\"},{\"ip\":"
                         "\"fd44:2::5\"}]"),
              200);
    /* what it has it keeps, whatever becomes of the range, and an administrator may do anything */
    g.user = admin;
    CHECK_INT(
        rig_call(&g, "PATCH /api/v1/nodes/b", MERGE, "{\"spec\":{\"podCIDRs\":[\"10.7.0.0/24\"]}}"),
        200);
    CHECK_INT(set_status(&g, node_b, "p", "\"phase\":\"Running\""), 200);
    CHECK_INT(set_status(&g, node_b, "p", "\"podIPs\":[{\"ip\":\"10.244.2.5\"}]"), 200);
    CHECK_INT(set_status(&g, node_b, "p", "\"podIPs\":[{\"ip\":\"10.244.2.6\"}]"), 422);
    CHECK_INT(set_status(&g, admin, "p", "\"podIP\":\"192.0.2.1\",\"podIPs\":null"), 200);
    rig_stop(&g);
}

TEST(an_address_is_not_of_two_nodes)
{
    struct rig g;
    static const char in_use[] = "\"podIPs\":[{\"ip\":\"192.0.2.1\"},{\"ip\":\"10.244.2.9\"}]";

    start(&g);
    make_nodes(&g);
    CHECK_INT(set_ranges(&g, node_b, "\"podCIDRs\":[\"10.244.2.0/24\"]"), 200);
    CHECK_INT(run_pod(&g, admin, "a", "theirs", "default"), 201);
    CHECK_INT(set_status(&g, admin, "theirs", in_use), 200);
    CHECK_INT(run_pod(&g, node_b, "b", "mine", "default"), 201);
    CHECK_INT(set_status(&g, node_b, "mine", "\"podIP\":\"10.244.2.9\""), 422);
    CHECK(says(&g, "10.244.2.9 is pod shop/theirs's on node a: take another"));
    CHECK_INT(set_status(&g, node_b, "mine", "\"podIP\":\"10.244.2.90\""), 200);
    /* one that has ended has none */
    CHECK_INT(set_status(&g, admin, "theirs", "\"phase\":\"Failed\""), 200);
    CHECK_INT(set_status(&g, node_b, "mine",
                         "\"podIP\":\"10.244.2.9\",\"podIPs\":[{\"ip\":\"10.244.2.9\"}]"),
              200);
    /* its own pods are its own affair */
    CHECK_INT(run_pod(&g, node_b, "b", "other", "default"), 201);
    CHECK_INT(set_status(&g, node_b, "other", "\"podIP\":\"10.244.2.9\""), 200);
    rig_stop(&g);
}

/* Two nodes had one range once, before ranges had owners. */
TEST(a_pod_that_comes_back_has_no_address_of_another_one)
{
    struct rig g;

    start(&g);
    make_nodes(&g);
    CHECK_INT(set_ranges(&g, node_b, "\"podCIDRs\":[\"10.244.2.0/24\"]"), 200);
    CHECK_INT(run_pod(&g, node_b, "b", "p", "default"), 201);
    CHECK_INT(set_status(&g, admin, "p", "\"phase\":\"Failed\",\"podIP\":\"10.244.1.5\""), 200);
    CHECK_INT(set_status(&g, node_b, "p", "\"message\":\"over\""), 200);
    CHECK_INT(set_status(&g, node_b, "p", "\"phase\":\"Running\""), 422);
    CHECK(says(&g, "10.244.1.5 is not in node b's 10.244.2.0/24"));
    CHECK_INT(set_status(&g, node_b, "p",
                         "\"phase\":\"Running\",\"podIP\":\"10.244.2.5\",\"podIPs\":null"),
              200);
    rig_stop(&g);
}

TEST(who_has_an_address_is_found_by_every_list_and_spelling)
{
    struct rig g;
    static const char *const theirs[] = {
        "\"podIP\":\"192.0.2.1\",\"podIPs\":[{\"ip\":\"192.0.2.1\"},{\"ip\":\"10.244.1.7\"}]",
        "\"podIP\":\"10.244.1.7\",\"podIPs\":[{\"ip\":\"10.244.1.77\"}]",
        "\"podIP\":\"::FFFF:10.244.1.7\",\"podIPs\":null",
        "\"podIP\":null,\"podIPs\":[{\"ip\":\"192.0.2.1\"},{\"ip\":\"::ffff:af4:107\"}]",
    };

    start(&g);
    make_nodes(&g);
    CHECK_INT(run_pod(&g, admin, "c", "theirs", "default"), 201);
    CHECK_INT(run_pod(&g, node_a, "a", "mine", "default"), 201);
    for (size_t i = 0; i < ARRAY_LEN(theirs); i++) {
        CHECK_INT(set_status(&g, admin, "theirs", theirs[i]), 200);
        CHECK_INT(set_status(&g, node_a, "mine", "\"podIP\":\"10.244.1.7\""), 422);
        CHECK(says(&g, "10.244.1.7 is pod shop/theirs's on node c: take another"));
    }
    rig_stop(&g);
}

TEST(a_pod_has_few_addresses)
{
    struct rig g;
    AUTO(strbuf) struct strbuf status = {0};

    start(&g);
    make_nodes(&g);
    CHECK_INT(run_pod(&g, node_a, "a", "p", "default"), 201);
    strbuf_puts(&status, "\"podIPs\":[");
    for (int i = 1; i <= 9; i++) {
        strbuf_printf(&status, "%s{\"ip\":\"10.244.1.%d\"}", i > 1 ? "," : "", i);
    }
    strbuf_puts(&status, "]");
    CHECK_INT(set_status(&g, node_a, "p", strbuf_text(&status)), 422);
    CHECK(says(&g, "must have at most 8 items"));
    rig_stop(&g);
}
