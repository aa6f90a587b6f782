/* SPDX-License-Identifier: Apache-2.0 */
#include "control/waypoint_pods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/store.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "io/loop.h"
#include "rig.h"
#include "t.h"

static struct json *read_yaml(const char *text)
{
    AUTO(json) struct json *all = NULL;

    return yaml_parse_all(&all, text, strlen(text), NULL) == 0 ? json_ref(json_item(all, 0)) : NULL;
}

#define GATEWAY(metadata, spec)                                                                    \
    "{metadata: {name: way, namespace: shop, uid: u1" metadata "}, spec: {gatewayClassName: "      \
    "istio-waypoint" spec "}}"

static const char *mark(const struct json *o, const char *which, const char *key)
{
    return json_str(json_get(json_get(json_get(o, "metadata"), which), key), "");
}

TEST(how_many_is_an_annotation_and_one_otherwise)
{
    static const struct {
        const char *text;
        unsigned n;
    } rows[] = {{GATEWAY("", ""), 1},
                {GATEWAY(", annotations: {ambit.io/replicas: '3'}", ""), 3},
                {GATEWAY(", annotations: {ambit.io/replicas: '0'}", ""), 0},
                {GATEWAY(", annotations: {ambit.io/replicas: many}", ""), 1},
                {GATEWAY(", annotations: {ambit.io/replicas: '-1'}", ""), 1},
                {GATEWAY(", annotations: {ambit.io/replicas: '65'}", ""), 1}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *g = read_yaml(rows[i].text);
        CHECK_INT(waypoint_replicas_of(g), rows[i].n);
    }
}

TEST(a_pod_has_what_the_agent_the_index_and_the_mesh_look_for)
{
    AUTO(json) struct json *g = read_yaml(GATEWAY(", labels: {team: a}", ""));
    AUTO(json) struct json *pod = waypoint_pod_of(g);
    const struct json *owner = json_item(json_at(pod, "metadata.ownerReferences"), 0);

    CHECK_STR(json_str_at(pod, "metadata.namespace", ""), "shop");
    CHECK_STR(json_str_at(pod, "metadata.generateName", ""), "way-");
    CHECK_STR(mark(pod, "labels", "gateway.networking.k8s.io/gateway-name"), "way");
    CHECK_STR(mark(pod, "labels", "gateway.istio.io/managed"), "istio.io-mesh-controller");
    CHECK_STR(mark(pod, "labels", "istio.io/dataplane-mode"), "none");
    CHECK_STR(mark(pod, "labels", "team"), "a");
    CHECK_STR(mark(pod, "annotations", "ambit.io/program"), "waypoint");
    CHECK_STR(json_str_at(pod, "spec.serviceAccountName", ""), "way");
    CHECK_STR(json_str_at(owner, "uid", ""), "u1");
}

TEST(infrastructure_says_what_pods_carry_and_an_annotation_whose_they_are)
{
    AUTO(json)
    struct json *g = read_yaml(GATEWAY(
        ", labels: {team: a}, annotations: {gateway.istio.io/service-account: other, key: value}",
        ", infrastructure: {labels: {tier: b, gateway.networking.k8s.io/gateway-name: no}, "
        "annotations: {note: m}}"));
    AUTO(json) struct json *pod = waypoint_pod_of(g);

    CHECK_STR(mark(pod, "labels", "team"), "");
    CHECK_STR(mark(pod, "labels", "tier"), "b");
    CHECK_STR(mark(pod, "labels", "gateway.networking.k8s.io/gateway-name"), "way");
    CHECK_STR(mark(pod, "annotations", "key"), "");
    CHECK_STR(mark(pod, "annotations", "note"), "m");
    CHECK_STR(json_str_at(pod, "spec.serviceAccountName", ""), "other");
}

/* What makes pods differ replaces them; how many there are does not. */
TEST(the_template_changes_with_what_the_pod_is_made_of)
{
    static const struct {
        const char *text;
        bool same;
    } rows[] = {
        {GATEWAY("", ""), true},
        {GATEWAY(", annotations: {ambit.io/replicas: '3'}", ""), true},
        {GATEWAY(", resourceVersion: '7', generation: 9", ", listeners: [{name: mesh}]"), true},
        {GATEWAY(", annotations: {ambit.io/waypoint-bypass: allow}", ""), true},
        {GATEWAY(", annotations: {gateway.istio.io/service-account: ''}", ""), true},
        {GATEWAY(", annotations: {ambit.io/restarted-at: now}", ""), false},
        {GATEWAY(", labels: {a: b}", ""), false},
        {GATEWAY(", annotations: {gateway.istio.io/service-account: other}", ""), false},
    };
    AUTO(json) struct json *g = read_yaml(rows[0].text);
    AUTO(json) struct json *first = waypoint_pod_of(g);

    CHECK_INT(strlen(mark(first, "annotations", "ambit.io/template")), 16);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *other = read_yaml(rows[i].text);
        AUTO(json) struct json *pod = waypoint_pod_of(other);
        CHECK_INT(strcmp(mark(pod, "annotations", "ambit.io/template"),
                         mark(first, "annotations", "ambit.io/template")) == 0,
                  rows[i].same);
    }
}

/* ---- nodes that are not heard of */

static void post(struct rig *g, const char *target, const char *body)
{
    unsigned status = rig_call(g, "POST", target, body);
    if (status != 201) {
        printf("Bail out! %u for %s\n", status, target);
        exit(1);
    }
}

/* The agent of a node renews its lease. */
static void beat(struct rig *g, const char *node, unsigned second)
{
    static const char leases[] = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    char target[160];
    char body[200];

    (void)snprintf(target, sizeof(target), "%s/%s", leases, node);
    (void)snprintf(body, sizeof(body),
                   "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"holderIdentity\":\"%s\","
                   "\"renewTime\":\"2026-01-01T00:%02u:%02u.000000Z\"}}",
                   node, node, second / 60, second % 60);
    if (rig_call(g, "PUT", target, body) == 404) {
        post(g, leases, body);
    }
}

static void settle(struct rig *g)
{
    for (int i = 0; i < 100; i++) {
        store_set_durable(g->store, store_rv(g->store));
        (void)loop_turn(g->loop, 5);
    }
}

static void furnish(struct rig *g)
{
    static const char node[] =
        "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"ambit.io/runs-waypoints\":\"true\"}}}";
    static const char *const names[] = {"a", "b"};
    char body[160];

    post(g, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"kube-node-lease\"}}");
    post(g, "/api/v1/namespaces/n/serviceaccounts", "{\"metadata\":{\"name\":\"way\"}}");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(body, sizeof(body), node, names[i]);
        post(g, "/api/v1/nodes", body);
        beat(g, names[i], 0);
    }
    post(g, "/apis/gateway.networking.k8s.io/v1/namespaces/n/gateways",
         "{\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"kind\":\"Gateway\",\"metadata\":{"
         "\"name\":\"way\",\"annotations\":{\"ambit.io/replicas\":\"2\"}},\"spec\":{"
         "\"gatewayClassName\":\"istio-waypoint\",\"listeners\":[{\"name\":\"mesh\",\"port\":15008,"
         "\"protocol\":\"HBONE\"}]}}");
}

/* The control plane was stopped, or its disk full: the first node to be heard does not cost the others
 * their replicas; one that stays silent loses them. */
TEST(after_a_time_without_any_word_all_nodes_are_as_alive_as_before_it)
{
    struct rig g;

    rig_start(&g);
    furnish(&g);
    AUTO(waypoint_pods) struct waypoint_pods *w = waypoint_pods_new(g.loop, g.client);
    const struct waypoint_pods_stats *stats = waypoint_pods_stats(w);
    for (int i = 0; i < 40 && stats->made < 2; i++) {
        settle(&g);
    }
    CHECK_INT(stats->made, 2);
    loop_advance(g.loop, 3 * WAYPOINT_NODE_MS);
    settle(&g);
    beat(&g, "a", 1);
    settle(&g);
    CHECK_INT(stats->ended, 0);
    beat(&g, "b", 1);
    settle(&g);
    CHECK_INT(stats->ended, 0);
    for (unsigned i = 2; i < 40 && stats->made < 3; i++) {
        loop_advance(g.loop, WAYPOINT_NODE_MS / 4);
        beat(&g, "a", i);
        settle(&g);
    }
    CHECK_INT(stats->ended, 1);
    CHECK_INT(stats->made, 3); /* on a, in place of b's */
    waypoint_pods_free(MOVE(w));
    rig_stop(&g);
}
