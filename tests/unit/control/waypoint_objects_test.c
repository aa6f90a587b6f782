/* SPDX-License-Identifier: Apache-2.0 */
/* What a Gateway becomes: the parts of the objects that others rely on (contract 7.2). */
#include <string.h>

#include "codec/yaml.h"
#include "control/reconcile.h"
#include "t.h"

static const char gateway[] = "apiVersion: gateway.networking.k8s.io/v1\n"
                              "kind: Gateway\n"
                              "metadata: {name: wp, namespace: shop, uid: u-1, labels: {team: a, "
                              "gateway.networking.k8s.io/x: y},\n"
                              "  annotations: {note: \"n\", ambit.io/replicas: \"3\",\n"
                              "    kubectl.kubernetes.io/last-applied-configuration: long}}\n"
                              "spec: {gatewayClassName: istio-waypoint, listeners: [\n"
                              "  {name: mesh.one, port: 15008, protocol: HBONE}, {name: again, "
                              "port: 15008, protocol: HBONE},\n"
                              "  {name: mesh-one, port: 80, protocol: HTTP}]}\n";

static struct json *read(const char *text)
{
    AUTO(json) struct json *all = NULL;

    return yaml_parse_all(&all, text, strlen(text), NULL) < 0 ? NULL : json_ref(json_item(all, 0));
}

static const char *label(const struct json *o, const char *path, const char *key)
{
    return json_str(json_get(json_at(o, path), key), "");
}

TEST(every_child_says_whose_it_is)
{
    static const struct waypoint_image image = {"img", "https://d:1", "c", "td", ""};
    AUTO(json) struct json *g = read(gateway);
    struct json *children[] = {gateway_service(g), gateway_account(g),
                               gateway_deployment(g, &image)};

    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        AUTO(json) struct json *o = children[i];
        CHECK_STR(json_str_at(o, "metadata.name", ""), "wp");
        CHECK_STR(json_str_at(o, "metadata.namespace", ""), "shop");
        CHECK_STR(label(o, "metadata.labels", "gateway.istio.io/managed"),
                  "istio.io-mesh-controller");
        CHECK_STR(label(o, "metadata.labels", "gateway.networking.k8s.io/gateway-name"), "wp");
        CHECK_STR(label(o, "metadata.labels", "gateway.networking.k8s.io/gateway-class-name"),
                  "istio-waypoint");
        CHECK_STR(label(o, "metadata.labels", "team"), "a");
        CHECK_STR(label(o, "metadata.labels", "gateway.networking.k8s.io/x"), "");
        CHECK_STR(label(o, "metadata.annotations", "note"), "n");
        CHECK_STR(label(o, "metadata.annotations", "ambit.io/replicas"), "");
        CHECK_STR(
            label(o, "metadata.annotations", "kubectl.kubernetes.io/last-applied-configuration"),
            "");
        const struct json *owner = json_item(json_at(o, "metadata.ownerReferences"), 0);
        CHECK_STR(json_str_at(owner, "uid", ""), "u-1");
        CHECK_STR(json_str_at(owner, "kind", ""), "Gateway");
    }
}

TEST(a_service_has_one_port_a_listener)
{
    AUTO(json) struct json *g = read(gateway);
    AUTO(json) struct json *o = gateway_service(g);
    const struct json *ports = json_at(o, "spec.ports");

    CHECK_INT(json_count(ports), 3);
    CHECK_STR(json_str_at(json_item(ports, 0), "name", ""), "status-port");
    CHECK_STR(json_str_at(json_item(ports, 1), "name", ""), "mesh-one");
    CHECK_STR(json_str_at(json_item(ports, 1), "appProtocol", ""), "hbone");
    CHECK_STR(json_str_at(json_item(ports, 2), "name", ""), "mesh-one-80");
    CHECK_STR(json_str_at(o, "spec.type", ""), "ClusterIP");
    CHECK_STR(label(o, "metadata.annotations", "networking.istio.io/traffic-distribution"),
              "PreferClose");
    CHECK_STR(label(o, "spec.selector", "gateway.networking.k8s.io/gateway-name"), "wp");
}

TEST(a_deployment_runs_a_waypoint_without_rights)
{
    static const struct waypoint_image image = {"img:1", "https://d:1", "c", "td", "net"};
    AUTO(json) struct json *g = read(gateway);
    AUTO(json) struct json *o = gateway_deployment(g, &image);
    const struct json *pod = json_at(o, "spec.template");
    const struct json *c = json_item(json_at(pod, "spec.containers"), 0);

    CHECK_INT(json_int_at(o, "spec.replicas", 0), 3);
    CHECK_STR(label(o, "spec.selector.matchLabels", "gateway.networking.k8s.io/gateway-name"),
              "wp");
    CHECK_STR(label(pod, "metadata.labels", "gateway.networking.k8s.io/gateway-name"), "wp");
    CHECK_STR(label(pod, "metadata.labels", "istio.io/dataplane-mode"), "none");
    CHECK_STR(label(pod, "metadata.labels", "sidecar.istio.io/inject"), "false");
    CHECK_STR(json_str_at(pod, "spec.serviceAccountName", ""), "wp");
    CHECK_STR(json_str_at(c, "image", ""), "img:1");
    CHECK_INT(json_int_at(c, "securityContext.runAsUser", 0), 1337);
    CHECK(json_bool_at(c, "securityContext.readOnlyRootFilesystem", false));
    CHECK(!json_bool_at(c, "securityContext.privileged", true));
    CHECK_STR(json_str(json_item(json_at(c, "securityContext.capabilities.drop"), 0), ""), "ALL");
    CHECK_INT(json_int_at(c, "readinessProbe.httpGet.port", 0), 15021);
    CHECK_INT(json_int_at(c, "startupProbe.failureThreshold", 0), 30);
    bool found = false;
    for (size_t i = 0; i < json_count(json_get(c, "env")); i++) {
        const struct json *e = json_item(json_get(c, "env"), i);
        found |= strcmp(json_str_at(e, "name", ""), "GATEWAY") == 0 &&
                 strcmp(json_str_at(e, "value", ""), "wp") == 0;
    }
    CHECK(found);
}

TEST(who_scales_decides_where_nothing_is_said)
{
    static const struct waypoint_image image = {"img", "https://d:1", "c", "td", ""};
    AUTO(json) struct json *g = read(gateway);

    json_set_str(json_at(g, "metadata.annotations"), "ambit.io/replicas", "many");
    json_set_str(json_at(g, "metadata.annotations"), "gateway.istio.io/service-account", "sa");
    AUTO(json) struct json *o = gateway_deployment(g, &image);
    CHECK(!json_at(o, "spec.replicas"));
    CHECK_STR(json_str_at(o, "spec.template.spec.serviceAccountName", ""), "sa");
}
