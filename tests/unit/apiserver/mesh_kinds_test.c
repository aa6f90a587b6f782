/* SPDX-License-Identifier: Apache-2.0 */
/* Routes, grants, traffic rules and what else a waypoint is made of: defaults, refusals that name the
 * field, versions, status. */
#include <stdio.h>
#include <string.h>

#include "apiserver/change.h"
#include "apiserver/hostname.h"
#include "apiserver/kind.h"
#include "base/mem.h"
#include "codec/json.h"
#include "rig.h"
#include "t.h"

#define HTTP_ROUTES "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"
#define GRPC_ROUTES "/apis/gateway.networking.k8s.io/v1/namespaces/shop/grpcroutes"
#define GATEWAYS    "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways"
#define TCP_ROUTES  "/apis/gateway.networking.k8s.io/v1alpha2/namespaces/shop/tcproutes"
#define GRANTS      "/apis/gateway.networking.k8s.io/v1beta1/namespaces/shop/referencegrants"
#define RULES       "/apis/networking.istio.io/v1/namespaces/shop/destinationrules"
#define AUTHN       "/apis/security.istio.io/v1/namespaces/shop/requestauthentications"
#define DEPLOYMENTS "/apis/apps/v1/namespaces/shop/deployments"

static void start(struct rig *g)
{
    rig_start(g);
    rig_namespace(g, "shop");
}

/* An object of that name with this spec. */
static unsigned post(struct rig *g, const char *collection, const char *name, const char *spec)
{
    static const char *const kinds[][3] = {
        {HTTP_ROUTES, "gateway.networking.k8s.io/v1", "HTTPRoute"},
        {GRPC_ROUTES, "gateway.networking.k8s.io/v1", "GRPCRoute"},
        {GATEWAYS, "gateway.networking.k8s.io/v1", "Gateway"},
        {TCP_ROUTES, "gateway.networking.k8s.io/v1alpha2", "TCPRoute"},
        {GRANTS, "gateway.networking.k8s.io/v1beta1", "ReferenceGrant"},
        {RULES, "networking.istio.io/v1", "DestinationRule"},
        {AUTHN, "security.istio.io/v1", "RequestAuthentication"},
        {DEPLOYMENTS, "apps/v1", "Deployment"},
    };
    char request[160];
    char body[2048];

    snprintf(request, sizeof(request), "POST %s", collection);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i][0], collection) == 0) {
            snprintf(body, sizeof(body),
                     "{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\"},"
                     "\"spec\":%s}",
                     kinds[i][1], kinds[i][2], name, spec);
        }
    }
    return rig_call(g, request, NULL, body);
}

TEST(an_http_route_gets_the_defaults_of_the_standard)
{
    struct rig g;

    start(&g);
    CHECK_INT(post(&g, HTTP_ROUTES, "a",
                   "{\"parentRefs\":[{\"group\":\"\",\"kind\":\"Service\",\"name\":\"web\"}],"
                   "\"rules\":[{\"backendRefs\":[{\"name\":\"web\",\"port\":80}]}]}"),
              201);
    const struct json *rule = json_item(json_at(g.body, "spec.rules"), 0);
    const struct json *match = json_item(json_get(rule, "matches"), 0);
    const struct json *backend = json_item(json_get(rule, "backendRefs"), 0);
    CHECK_STR(json_str_at(match, "path.type", ""), "PathPrefix");
    CHECK_STR(json_str_at(match, "path.value", ""), "/");
    CHECK_STR(json_str_at(backend, "kind", ""), "Service");
    CHECK_STR(json_str_at(backend, "group", "?"), "");
    CHECK_INT(json_int_at(backend, "weight", 0), 1);
    CHECK_INT(post(&g, HTTP_ROUTES, "b", "{\"parentRefs\":[{\"name\":\"gw\"}]}"), 201);
    CHECK_INT(json_count(json_at(g.body, "spec.rules")), 1);
    const struct json *parent = json_item(json_at(g.body, "spec.parentRefs"), 0);
    CHECK_STR(json_str_at(parent, "kind", ""), "Gateway");
    CHECK_STR(json_str_at(parent, "group", ""), "gateway.networking.k8s.io");
    rig_stop(&g);
}

struct refusal {
    const char *collection;
    const char *spec;
    const char *field; /* NULL: it is accepted */
};

/* Every refusal names the field first. */
static void check_refusals(struct test *t, const struct refusal *rows, size_t n)
{
    struct rig g;

    start(&g);
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%zu", i);
        unsigned status = post(&g, rows[i].collection, name, rows[i].spec);
        if (rows[i].field) {
            const struct json *causes = json_at(g.body, "details.causes");
            const char *field = json_str_at(json_item(causes, 0), "field", "none");
            if (status != 422 || strcmp(field, rows[i].field) != 0) {
                CHECK_STR(rows[i].spec, field);
            }
        } else if (status != 201) {
            CHECK_STR(rows[i].spec, g.text);
        }
    }
    rig_stop(&g);
}

TEST(what_is_wrong_with_an_http_route_is_named)
{
#define MATCH(m)  "{\"rules\":[{\"matches\":[" m "]}]}"
#define FILTER(f) "{\"rules\":[{\"filters\":[" f "]}]}"
#define RULE(r)   "{\"rules\":[{" r "}]}"
    static const struct refusal rows[] = {
        {HTTP_ROUTES, MATCH("{\"path\":{\"value\":\"a\"}}"), "spec.rules[0].matches[0].path.value"},
        {HTTP_ROUTES, MATCH("{\"path\":{\"value\":\"/a//b\"}}"),
         "spec.rules[0].matches[0].path.value"},
        {HTTP_ROUTES, MATCH("{\"path\":{\"value\":\"/a/..\"}}"),
         "spec.rules[0].matches[0].path.value"},
        {HTTP_ROUTES, MATCH("{\"path\":{\"value\":\"/a b\"}}"),
         "spec.rules[0].matches[0].path.value"},
        {HTTP_ROUTES, MATCH("{\"path\":{\"value\":\"/a%2\"}}"),
         "spec.rules[0].matches[0].path.value"},
        {HTTP_ROUTES, MATCH("{\"path\":{\"value\":\"/a%20b/~c;d=e\"}}"), NULL},
        {HTTP_ROUTES, MATCH("{\"path\":{\"type\":\"RegularExpression\",\"value\":\"^/(a|b)$\"}}"),
         NULL},
        {HTTP_ROUTES, MATCH("{\"path\":{\"type\":\"Glob\",\"value\":\"/a\"}}"),
         "spec.rules[0].matches[0].path.type"},
        {HTTP_ROUTES, MATCH("{\"headers\":[{\"name\":\"a b\",\"value\":\"c\"}]}"),
         "spec.rules[0].matches[0].headers[0].name"},
        {HTTP_ROUTES, MATCH("{\"headers\":[{\"name\":\"a\"}]}"),
         "spec.rules[0].matches[0].headers[0].value"},
        {HTTP_ROUTES, MATCH("{\"method\":\"FETCH\"}"), "spec.rules[0].matches[0].method"},
        {HTTP_ROUTES, FILTER("{\"type\":\"URLRewrite\"}"), "spec.rules[0].filters[0].urlRewrite"},
        {HTTP_ROUTES, FILTER("{\"type\":\"URLRewrite\",\"urlRewrite\":{},\"requestRedirect\":{}}"),
         "spec.rules[0].filters[0].requestRedirect"},
        {HTTP_ROUTES,
         FILTER("{\"type\":\"URLRewrite\",\"urlRewrite\":{}},{\"type\":\"URLRewrite\","
                "\"urlRewrite\":{}}"),
         "spec.rules[0].filters"},
        {HTTP_ROUTES,
         FILTER("{\"type\":\"RequestRedirect\",\"requestRedirect\":{\"statusCode\":304}}"),
         "spec.rules[0].filters[0].requestRedirect.statusCode"},
        {HTTP_ROUTES,
         FILTER("{\"type\":\"RequestRedirect\",\"requestRedirect\":{\"path\":{\"type\":"
                "\"ReplaceFullPath\",\"replacePrefixMatch\":\"/\"}}}"),
         "spec.rules[0].filters[0].requestRedirect.path"},
        {HTTP_ROUTES,
         FILTER("{\"type\":\"RequestMirror\",\"requestMirror\":{\"backendRef\":{\"name\":\"a\"}}}"),
         "spec.rules[0].filters[0].requestMirror.backendRef.port"},
        {HTTP_ROUTES,
         RULE("\"matches\":[{},{}],\"filters\":[{\"type\":\"URLRewrite\",\"urlRewrite\":{\"path\":"
              "{\"type\":\"ReplacePrefixMatch\",\"replacePrefixMatch\":\"/\"}}}]"),
         "spec.rules[0].filters"},
        {HTTP_ROUTES, RULE("\"backendRefs\":[{\"name\":\"a\"}]"),
         "spec.rules[0].backendRefs[0].port"},
        {HTTP_ROUTES, RULE("\"backendRefs\":[{\"name\":\"a\",\"port\":80,\"weight\":-1}]"),
         "spec.rules[0].backendRefs[0].weight"},
        {HTTP_ROUTES,
         RULE("\"filters\":[{\"type\":\"RequestRedirect\",\"requestRedirect\":{}}],"
              "\"backendRefs\":[{\"name\":\"a\",\"port\":80}]"),
         "spec.rules[0].filters"},
        {HTTP_ROUTES, RULE("\"timeouts\":{\"request\":\"10\"}"), "spec.rules[0].timeouts.request"},
        {HTTP_ROUTES, RULE("\"timeouts\":{\"request\":\"1s\",\"backendRequest\":\"2s\"}"),
         "spec.rules[0].timeouts"},
        {HTTP_ROUTES, RULE("\"timeouts\":{\"request\":\"0s\",\"backendRequest\":\"1m2s\"}"), NULL},
        {HTTP_ROUTES, RULE("\"retry\":{\"codes\":[200]}"), "spec.rules[0].retry.codes[0]"},
        {HTTP_ROUTES, "{\"rules\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "spec.rules[1].name"},
    };

    check_refusals(t, rows, ARRAY_LEN(rows));
}

#define LISTENER(host)                                                                             \
    "{\"gatewayClassName\":\"c\",\"listeners\":[{\"name\":\"a\",\"port\":1,\"protocol\":"          \
    "\"HTTP\"},{\"name\":\"b\",\"port\":2,\"protocol\":\"HTTP\",\"hostname\":\"" host "\"}]}"
#define REDIRECT(host)                                                                             \
    RULE("\"filters\":[{\"type\":\"RequestRedirect\",\"requestRedirect\":{\"hostname\":\"" host    \
         "\"}}]")

TEST(host_names_follow_the_pattern_of_the_standard)
{
    static const struct refusal rows[] = {
        {HTTP_ROUTES, "{\"hostnames\":[\"a.example\",\"*.b-c.example\",\"x\",\"1.2.3.4\"]}", NULL},
        {HTTP_ROUTES, "{\"hostnames\":[\"a.example\",\"B.example\"]}", "spec.hostnames[1]"},
        {GRPC_ROUTES, "{\"hostnames\":[\"a.example:80\"]}", "spec.hostnames[0]"},
        {GRPC_ROUTES, "{\"hostnames\":[\"*.example\"]}", NULL},
        {GATEWAYS, LISTENER("*"), "spec.listeners[1].hostname"},
        {GATEWAYS, LISTENER(""), "spec.listeners[1].hostname"},
        {GATEWAYS, LISTENER("*.shop.example"), NULL},
        {HTTP_ROUTES, REDIRECT("*.example"), "spec.rules[0].filters[0].requestRedirect.hostname"},
        {HTTP_ROUTES, REDIRECT("to.example"), NULL},
        {HTTP_ROUTES,
         RULE("\"filters\":[{\"type\":\"URLRewrite\",\"urlRewrite\":{\"hostname\":\"a_b\"}}]"),
         "spec.rules[0].filters[0].urlRewrite.hostname"},
    };

    check_refusals(t, rows, ARRAY_LEN(rows));
}

TEST(a_host_name_that_is_none_is_told_what_helps)
{
    static const struct {
        const char *name;
        bool may_be_wildcard;
        const char *problem; /* a part of it; NULL: there is none */
    } rows[] = {
        {"a", true, NULL},
        {"a-b.c--d.0", true, NULL},
        {"*.a", true, NULL},
        {"*.a", false, "wildcard is not allowed here"},
        {"", true, "leave it out"},
        {"*", true, "leave it out to match every host"},
        {"*", false, "wildcard is not allowed here"},
        {"*.", true, "the whole first label"},
        {"*a.b", true, "the whole first label"},
        {"*.*.b", true, "the whole first label"},
        {"a.*.b", true, "the whole first label"},
        {"https://a", true, "without a scheme"},
        {"a/b", true, "a path"},
        {"a:80", true, "without a port"},
        {"fd00::1", true, "without a port"},
        {"Shop.example", true, "lower case"},
        {"-a", true, "not at either end"},
        {"a-", true, "not at either end"},
        {"a-.b", true, "not at either end"},
        {"a..b", true, "joined by dots"},
        {".a", true, "joined by dots"},
        {"a.", true, "joined by dots"},
        {"a_b", true, "joined by dots"},
        {"a b", true, "joined by dots"},
        {"\xc3\xa4.example", true, "joined by dots"},
    };
    char longest[255];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *problem = hostname_problem(rows[i].name, rows[i].may_be_wildcard);
        CHECK_INT(problem == NULL, rows[i].problem == NULL);
        CHECK(!problem || strstr(problem, rows[i].problem));
    }
    memset(longest, 'a', 254);
    longest[254] = '\0';
    CHECK_STR(hostname_problem(longest, true), "must be no longer than 253 bytes");
    longest[253] = '\0';
    CHECK(hostname_problem(longest, true) == NULL);
}

/* Stored before there was the check: whoever does not touch it is not stopped by it. */
TEST(a_host_name_that_was_taken_once_stays)
{
    static const char *const old =
        "{\"kind\":\"HTTPRoute\",\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"metadata\":{"
        "\"name\":\"old\",\"namespace\":\"shop\",\"uid\":\"u\"},\"spec\":{\"hostnames\":[\"*\"],"
        "\"rules\":[{\"matches\":[{\"path\":{\"type\":\"PathPrefix\",\"value\":\"/\"}}]}]}}";
    AUTO(json) struct json *body = NULL;
    struct rig g;

    start(&g);
    CHECK_INT(json_parse(&body, old, strlen(old), NULL, NULL), 0);
    (void)change_put(g.api, kind_named("gateway.networking.k8s.io", "HTTPRoute"), body);
    CHECK_INT(rig_call(&g, "PATCH " HTTP_ROUTES "/old", "application/merge-patch+json",
                       "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
              200);
    CHECK_INT(rig_call(&g, "PATCH " HTTP_ROUTES "/old/status", "application/merge-patch+json",
                       "{\"status\":{\"parents\":[]}}"),
              200);
    CHECK_INT(rig_call(&g, "PATCH " HTTP_ROUTES "/old", "application/merge-patch+json",
                       "{\"spec\":{\"hostnames\":[\"*\",\"a\"]}}"),
              422);
    CHECK(strstr(g.text, "spec.hostnames[0]: Invalid value: \\\"*\\\": must be a name"));
    rig_stop(&g);
}

TEST(what_is_wrong_with_others_is_named)
{
    static const struct refusal rows[] = {
        {GRPC_ROUTES, MATCH("{\"method\":{}}"), "spec.rules[0].matches[0].method"},
        {GRPC_ROUTES, MATCH("{\"method\":{\"service\":\"a/b\"}}"),
         "spec.rules[0].matches[0].method.service"},
        {GRPC_ROUTES, MATCH("{\"method\":{\"method\":\"a.b\"}}"),
         "spec.rules[0].matches[0].method.method"},
        {GRPC_ROUTES, MATCH("{\"method\":{\"service\":\"a.b.C_1\",\"method\":\"Get\"}}"), NULL},
        {GRPC_ROUTES, "{\"rules\":[{\"filters\":[{\"type\":\"URLRewrite\"}]}]}",
         "spec.rules[0].filters[0].type"},
        {TCP_ROUTES, "{}", "spec.rules"},
        {TCP_ROUTES, "{\"rules\":[{\"backendRefs\":[]}]}", "spec.rules[0].backendRefs"},
        {TCP_ROUTES, "{\"rules\":[{\"backendRefs\":[{\"name\":\"a\",\"port\":1}]}]}", NULL},
        {GRANTS, "{\"from\":[{\"group\":\"\",\"kind\":\"HTTPRoute\"}],\"to\":[]}",
         "spec.from[0].namespace"},
        {RULES, "{}", "spec.host"},
        {RULES, "{\"host\":\"a\",\"trafficPolicy\":{\"loadBalancer\":{\"simple\":\"BEST\"}}}",
         "spec.trafficPolicy.loadBalancer.simple"},
        {RULES, "{\"host\":\"a\",\"trafficPolicy\":{\"loadBalancer\":{\"consistentHash\":{}}}}",
         "spec.trafficPolicy.loadBalancer.consistentHash"},
        {RULES,
         "{\"host\":\"a\",\"trafficPolicy\":{\"connectionPool\":{\"tcp\":{\"connectTimeout\":\"x\"}"
         "}}}",
         "spec.trafficPolicy.connectionPool.tcp.connectTimeout"},
        {RULES, "{\"host\":\"a\",\"trafficPolicy\":{\"outlierDetection\":{\"interval\":\"0.5s\"}}}",
         NULL},
        {RULES,
         "{\"host\":\"a\",\"trafficPolicy\":{\"connectionPool\":{\"tcp\":{\"maxConnections\":-1}}}"
         "}",
         "spec.trafficPolicy.connectionPool.tcp.maxConnections"},
        {RULES,
         "{\"host\":\"a\",\"trafficPolicy\":{\"connectionPool\":{\"tcp\":{\"maxConnections\":0}}}}",
         NULL},
        {RULES,
         "{\"host\":\"a\",\"subsets\":[{\"name\":\"v\",\"trafficPolicy\":{\"connectionPool\":"
         "{\"http\":{\"maxRetries\":2147483648}}}}]}",
         "spec.subsets[0].trafficPolicy.connectionPool.http.maxRetries"},
        {RULES,
         "{\"host\":\"a\",\"trafficPolicy\":{\"portLevelSettings\":[{\"connectionPool\":{\"http\":"
         "{\"http1MaxPendingRequests\":-7}}}]}}",
         "spec.trafficPolicy.portLevelSettings[0].connectionPool.http.http1MaxPendingRequests"},
        {AUTHN, "{\"jwtRules\":[{}]}", "spec.jwtRules[0].issuer"},
        {AUTHN, "{\"jwtRules\":[{\"issuer\":\"i\",\"jwks\":\"{}\",\"jwksUri\":\"https://a\"}]}",
         "spec.jwtRules[0]"},
        {AUTHN, "{\"selector\":{},\"targetRefs\":[{\"kind\":\"Service\",\"name\":\"a\"}]}", "spec"},
        {DEPLOYMENTS, "{\"selector\":{}}", "spec.template"},
    };

    check_refusals(t, rows, ARRAY_LEN(rows));
}

TEST(the_group_has_the_versions_of_all_its_kinds)
{
    struct rig g;
    char all[128] = "";

    start(&g);
    CHECK_INT(rig_call(&g, "GET /apis/gateway.networking.k8s.io", NULL, NULL), 200);
    const struct json *versions = json_get(g.body, "versions");
    for (size_t i = 0; i < json_count(versions); i++) {
        strcat(all, json_str_at(json_item(versions, i), "version", ""));
        strcat(all, " ");
    }
    CHECK_STR(all, "v1 v1beta1 v1alpha2 ");
    CHECK_STR(rig_str(&g, "preferredVersion.version"), "v1");
    CHECK_INT(rig_call(&g, "GET /apis/gateway.networking.k8s.io/v1alpha2", NULL, NULL), 200);
    const struct json *first = json_item(json_get(g.body, "resources"), 0);
    CHECK_STR(json_str_at(first, "name", ""), "tcproutes");
    CHECK_STR(rig_str(&g, "groupVersion"), "gateway.networking.k8s.io/v1alpha2");
    CHECK_INT(rig_call(&g, "GET /apis/gateway.networking.k8s.io/v1alpha3", NULL, NULL), 404);
    CHECK_INT(
        post(&g, TCP_ROUTES, "t", "{\"rules\":[{\"backendRefs\":[{\"name\":\"a\",\"port\":1}]}]}"),
        201);
    CHECK_STR(rig_str(&g, "apiVersion"), "gateway.networking.k8s.io/v1alpha2");
    CHECK_INT(rig_call(&g, "GET /apis/gateway.networking.k8s.io/v1beta1/namespaces/shop/grpcroutes",
                       NULL, NULL),
              404);
    rig_stop(&g);
}

TEST(a_route_has_a_status_of_its_own)
{
    struct rig g;

    start(&g);
    CHECK_INT(post(&g, HTTP_ROUTES, "a", "{}"), 201);
    CHECK_INT(rig_call(&g, "PATCH " HTTP_ROUTES "/a/status", "application/merge-patch+json",
                       "{\"status\":{\"parents\":[{\"parentRef\":{\"name\":\"w\"},"
                       "\"controllerName\":\"c\",\"conditions\":[]}]},\"spec\":{\"rules\":[]}}"),
              200);
    CHECK_INT(json_count(json_at(g.body, "status.parents")), 1);
    CHECK_INT(json_count(json_at(g.body, "spec.rules")), 1); /* only the status was written */
    CHECK_INT(rig_int(&g, "metadata.generation"), 1);
    CHECK_INT(rig_call(&g, "GET " DEPLOYMENTS, NULL, NULL), 200);
    CHECK_INT(post(&g, DEPLOYMENTS, "w", "{\"selector\":{},\"template\":{}}"), 201);
    CHECK_INT(rig_int(&g, "spec.replicas"), 1);
    rig_stop(&g);
}

/* Nothing here makes pods of it: who waits for that must not wait in vain. */
TEST(a_deployment_says_that_nobody_rolls_it_out)
{
    static const char *const merge = "application/merge-patch+json";
    struct rig g;

    start(&g);
    CHECK_INT(post(&g, DEPLOYMENTS, "w", "{\"selector\":{},\"template\":{}}"), 201);
    CHECK_INT(g.out.warning_count, 1);
    CHECK(strstr(g.out.warnings[0], "nothing here makes pods of a Deployment"));
    CHECK_INT(rig_int(&g, "status.observedGeneration"), 1);
    CHECK_STR(json_str_at(json_item(json_at(g.body, "status.conditions"), 0), "reason", ""),
              "ProgressDeadlineExceeded");
    CHECK_INT(
        rig_call(&g, "PATCH " DEPLOYMENTS "/w", merge, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
        200);
    CHECK_INT(rig_int(&g, "status.observedGeneration"), 1);
    CHECK_INT(rig_call(&g, "PATCH " DEPLOYMENTS "/w", merge, "{\"spec\":{\"replicas\":2}}"), 200);
    CHECK_INT(g.out.warning_count, 0);
    CHECK_INT(rig_int(&g, "metadata.generation"), 2);
    CHECK_INT(rig_int(&g, "status.observedGeneration"), 2);
    /* somebody does after all */
    CHECK_INT(
        rig_call(&g, "PATCH " DEPLOYMENTS "/w/status", merge,
                 "{\"status\":{\"conditions\":[{\"type\":\"Progressing\",\"status\":\"True\"}]}}"),
        200);
    CHECK_INT(rig_call(&g, "PATCH " DEPLOYMENTS "/w", merge, "{\"spec\":{\"replicas\":3}}"), 200);
    CHECK_INT(rig_int(&g, "metadata.generation"), 3);
    CHECK_INT(rig_int(&g, "status.observedGeneration"), 2);
    CHECK_INT(rig_call(&g, "GET " DEPLOYMENTS "/w/scale", NULL, NULL), 404);
    CHECK(strstr(g.text, "deployments/scale is not served here"));
    rig_stop(&g);
}

/* Times that only some kinds' conditions have. */
TEST(conditions_keep_the_times_of_their_kind)
{
    static const struct {
        const char *path;
        const char *body;
        const char *time;
    } rows[] = {
        {"/api/v1/nodes", "{\"metadata\":{\"name\":\"a\"}}", "lastHeartbeatTime"},
        {"/api/v1/namespaces/shop/pods",
         "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\"}"
         "]}}",
         "lastProbeTime"},
        {DEPLOYMENTS, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"selector\":{},\"template\":{}}}",
         "lastUpdateTime"},
    };
    struct rig g;

    start(&g);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char request[160];
        char body[160];
        snprintf(request, sizeof(request), "POST %s", rows[i].path);
        CHECK_INT(rig_call(&g, request, NULL, rows[i].body), 201);
        snprintf(request, sizeof(request), "PATCH %s/a/status", rows[i].path);
        snprintf(body, sizeof(body),
                 "{\"status\":{\"conditions\":[{\"type\":\"X\",\"status\":\"True\",\"%s\":"
                 "\"2026-11-26T00:00:00Z\"}]}}",
                 rows[i].time);
        CHECK_INT(rig_call(&g, request, "application/merge-patch+json", body), 200);
        CHECK_INT(g.out.warning_count, 0);
        CHECK_STR(json_str_at(json_item(json_at(g.body, "status.conditions"), 0), rows[i].time, ""),
                  "2026-11-26T00:00:00Z");
    }
    rig_stop(&g);
}
