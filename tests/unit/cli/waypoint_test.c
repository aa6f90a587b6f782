/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/str.h"
#include "cli/waypoint_effect.h"
#include "cli/waypoint_object.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "t.h"

static struct json *read_yaml(const char *text)
{
    AUTO(json) struct json *all = NULL;

    return yaml_parse_all(&all, text, strlen(text), NULL) == 0 ? json_ref(json_item(all, 0)) : NULL;
}

TEST(a_gateway_says_what_was_wished_and_no_more)
{
    struct waypoint_wish plain = {.ns = "shop", .name = "w"};
    struct waypoint_wish full = {
        .ns = "shop", .name = "w", .traffic = "all", .revision = "r1", .replicas = "3"};
    AUTO(json) struct json *a = waypoint_gateway(&plain);
    AUTO(json) struct json *b = waypoint_gateway(&full);
    AUTO(json)
    struct json *want_a =
        read_yaml("{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w, "
                  "namespace: shop}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: "
                  "mesh, port: 15008, protocol: HBONE}]}}");
    AUTO(json)
    struct json *want_b = read_yaml(
        "{name: w, namespace: shop, labels: {istio.io/waypoint-for: all, istio.io/rev: r1}, "
        "annotations: {ambit.io/replicas: '3'}}");

    CHECK(json_same(a, want_a));
    CHECK(json_same(json_get(b, "metadata"), want_b));
    CHECK(waypoint_is_one(a));
    json_set_str(json_get(a, "spec"), "gatewayClassName", "istio");
    CHECK(!waypoint_is_one(a));
}

#define GATEWAY(conditions)                                                                        \
    "{metadata: {name: w, namespace: shop}, spec: {gatewayClassName: istio-waypoint}, status: "    \
    "{addresses: [{value: 10.96.0.9}], conditions: [" conditions "]}}"
#define PROGRAMMED(status, reason)                                                                 \
    "{type: Accepted, status: 'True'}, {type: Programmed, status: '" status "', reason: " reason   \
    ", message: why}"
#define POD(ns, gateway, ready)                                                                    \
    "{metadata: {namespace: " ns ", labels: {gateway.networking.k8s.io/gateway-name: " gateway     \
    "}}, status: {conditions: [{type: Ready, status: '" ready "'}]}}"

TEST(a_waypoint_is_ready_when_it_is_programmed_and_a_replica_is_there)
{
    static const struct {
        const char *gateway;
        const char *pods;
        const char *verdict;
        const char *replicas;
        const char *explained;
    } rows[] = {
        {GATEWAY(PROGRAMMED("True", "Programmed")), "[" POD("shop", "w", "True") "]", "ready",
         "1/1", ""},
        {GATEWAY(PROGRAMMED("True", "Programmed")),
         "[" POD("shop", "w", "False") ", " POD("other", "w", "True") ", " POD("shop", "v",
                                                                               "True") "]",
         "not ready", "0/1",
         "shop/w: no replica is ready (0/1)\n"
         "  fix: ambit get pods -n shop -l gateway.networking.k8s.io/gateway-name=w -o yaml\n"},
        {GATEWAY(PROGRAMMED("False", "AddressNotAssigned")), "[" POD("shop", "w", "True") "]",
         "not ready", "1/1",
         "shop/w: AddressNotAssigned: why\n"
         "  fix: ambit get pods -n shop -l gateway.networking.k8s.io/gateway-name=w -o yaml\n"},
        {GATEWAY(PROGRAMMED("True", "Programmed")),
         "[{metadata: {namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: w}}, "
         "status: "
         "{conditions: [{type: Ready, status: 'False', message: 'start x: no such file'}]}}]",
         "not ready", "0/1",
         "shop/w: no replica is ready (0/1): start x: no such file\n"
         "  fix: ambit get pods -n shop -l gateway.networking.k8s.io/gateway-name=w -o yaml\n"},
        {"{metadata: {name: w, namespace: shop}}", "[]", "not ready", "0/0",
         "shop/w: the control plane has not seen it yet\n"
         "  fix: ambit get pods -n shop -l gateway.networking.k8s.io/gateway-name=w -o yaml\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *gateway = read_yaml(rows[i].gateway);
        AUTO(json) struct json *pods = read_yaml(rows[i].pods);
        AUTO(json) struct json *row = waypoint_row(gateway, pods);
        AUTO(json) struct json *list = json_new_array();
        AUTO(strbuf) struct strbuf b = {0};
        json_append(list, json_ref(row));
        waypoint_explain(list, &b);
        CHECK_STR(json_str_at(row, "verdict", ""), rows[i].verdict);
        CHECK_STR(json_str_at(row, "replicas", ""), rows[i].replicas);
        CHECK_STR(json_str_at(row, "traffic", ""), "service");
        CHECK_STR(strbuf_text(&b), rows[i].explained);
    }
}

#define FORGET                                                                                     \
    "existing connections stay as they are; pods see the waypoint's identity from then on, so "    \
    "policies by client belong to the service (targetRefs)\n"
#define MESH "istio.io/dataplane-mode: ambient"
#define USE  "istio.io/use-waypoint: w"
#define ROW(traffic, verdict)                                                                      \
    "{namespace: shop, name: w, traffic: " traffic ", verdict: " verdict ", reason: Pending}"
#define SERVICES                                                                                   \
    "[{metadata: {name: cart}}, {metadata: {name: own, labels: {istio.io/use-waypoint: none}}}, "  \
    "{metadata: {name: w, labels: {gateway.istio.io/managed: x}}}, {metadata: {name: web}}]"

TEST(labelling_says_whose_traffic_goes_where)
{
    static const struct {
        const char *kind;
        const char *before;
        const char *after;
        const char *waypoint; /* NULL: there is none */
        const char *said;
    } rows[] = {
        {"Namespace", "{" MESH "}", "{" MESH ", " USE "}", ROW("service", "ready"),
         "traffic of 2 services will go through waypoint shop/w: cart, web\n" FORGET},
        {"Namespace", "{}", "{" USE "}", ROW("service", "ready"),
         "traffic of 2 services will go through waypoint shop/w: cart, web\n" FORGET
         "the namespace is not in the mesh: its own clients do not reach waypoints\n"
         "  fix: ambit label ns shop istio.io/dataplane-mode=ambient\n"},
        {"Service", "{}", "{" USE "}", ROW("service", "not ready"),
         "its traffic will go through waypoint shop/w\n"
         "waypoint shop/w is not ready yet (Pending)\n"
         "  fix: ambit waypoint status w -n shop --wait\n" FORGET},
        {"Service", "{}", "{" USE ", istio.io/use-waypoint-namespace: infra}", NULL,
         "its traffic will go through waypoint infra/w\n"
         "there is no waypoint infra/w: until it is ready, services that layer-7 policies protect "
         "are refused, others are reached directly\n"
         "  fix: ambit waypoint apply -n infra --name w --wait\n" FORGET},
        {"Service", "{}", "{" USE "}", ROW("workload", "ready"),
         "waypoint shop/w is for traffic to workloads: this label has no effect here\n"
         "  fix: ambit waypoint apply -n shop --name w --for all\n"},
        {"Pod", "{}", "{" USE "}", ROW("workload", "ready"),
         "its traffic will go through waypoint shop/w\n" FORGET},
        {"Pod", "{}", "{" USE "}", ROW("service", "ready"),
         "waypoint shop/w is for traffic to services: this label has no effect here\n"
         "  fix: ambit waypoint apply -n shop --name w --for all\n"},
        {"Service", "{" USE "}", "{}", NULL,
         "its traffic no longer goes through waypoint shop/w\n"
         "routes and layer-7 policies of services without a waypoint route nothing; those policies "
         "deny\n"},
        {"Service", "{" USE "}", "{" USE ", x: y}", NULL, ""},
        {"Service", "{}", "{istio.io/use-waypoint: none}", NULL, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *before = read_yaml(rows[i].before);
        AUTO(json) struct json *after = read_yaml(rows[i].after);
        AUTO(json) struct json *waypoint = rows[i].waypoint ? read_yaml(rows[i].waypoint) : NULL;
        AUTO(json) struct json *services = read_yaml(SERVICES);
        AUTO(strbuf) struct strbuf b = {0};
        struct waypoint_effect e = {.kind = rows[i].kind,
                                    .ns = "shop",
                                    .before = before,
                                    .after = after,
                                    .waypoint = waypoint,
                                    .services = services};
        waypoint_effect_say(&e, &b);
        CHECK_STR(strbuf_text(&b), rows[i].said);
    }
}
