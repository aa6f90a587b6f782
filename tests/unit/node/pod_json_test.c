/* SPDX-License-Identifier: Apache-2.0 */
#include "node/pod_json.h"

#include <string.h>

#include "t.h"

static const struct pod_json_options options = {.dns = true, .mesh_namespace = "istio-system"};

static struct json *parse(const char *text)
{
    struct json *j = NULL;

    return json_parse(&j, text, strlen(text), NULL, NULL) == 0 ? j : NULL;
}

static struct pod *read_pod(const char *text)
{
    AUTO(json) struct json *j = parse(text);
    struct pod *p = NULL;

    return pod_from_json(j, &options, &p) == 0 ? p : NULL;
}

#define METADATA(more)                                                                             \
    "{\"metadata\":{\"uid\":\"u1\",\"name\":\"cart-1\",\"namespace\":\"shop\"" more "}"

TEST(a_pod_is_read_with_all_that_matters)
{
    AUTO(pod)
    struct pod *p =
        read_pod(METADATA(",\"labels\":{\"app\":\"cart\",\"istio.io/dataplane-mode\":\"ambient\"},"
                          "\"annotations\":{\"ambient.istio.io/redirection\":\"enabled\","
                          "\"ambient.istio.io/bypass-inbound-capture\":\"true\","
                          "\"ambient.istio.io/dns-capture\":\"false\","
                          "\"istio.io/reroute-virtual-interfaces\":\"a,b\"}") //
                 ",\"spec\":{\"serviceAccountName\":\"cart\",\"hostNetwork\":true},"
                 "\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.5\",\"podIPs\":[{\"ip\":"
                 "\"10.0.0.5\"},"
                 "{\"ip\":\"fd00::5\"},{\"ip\":\"nonsense\"}]}}");

    CHECK(p);
    CHECK_STR(p->uid, "u1");
    CHECK_STR(p->service_account, "cart");
    CHECK_STR(p->dataplane_mode, "ambient");
    CHECK_STR(p->virtual_interfaces, "a,b");
    CHECK(p->host_network);
    CHECK(p->bypass_inbound);
    CHECK(!p->dns);
    CHECK(p->is_announced);
    CHECK(!p->is_terminal);
    CHECK(!p->has_sidecar);
    CHECK_INT(p->ip_count, 2);
    CHECK_INT(p->ips[1].family, IP_V6);
}

TEST(what_is_absent_has_its_default)
{
    AUTO(pod) struct pod *p = read_pod(METADATA("") ",\"status\":{\"podIP\":\"10.0.0.5\"}}");

    CHECK(p);
    CHECK_STR(p->service_account, "default");
    CHECK(!p->dataplane_mode);
    CHECK(p->dns);
    CHECK(!p->is_announced);
    CHECK_INT(p->ip_count, 1);
}

TEST(states_other_than_enabled_announce_nothing)
{
    AUTO(pod)
    struct pod *p =
        read_pod(METADATA(",\"annotations\":{\"ambient.istio.io/redirection\":\"pending\"}") "}");

    CHECK(p);
    CHECK(!p->is_announced);
}

TEST(ended_pods_sidecars_and_node_proxies_are_known_by_their_marks)
{
    AUTO(pod) struct pod *done = read_pod(METADATA("") ",\"status\":{\"phase\":\"Succeeded\"}}");
    AUTO(pod) struct pod *failed = read_pod(METADATA("") ",\"status\":{\"phase\":\"Failed\"}}");
    AUTO(pod)
    struct pod *sidecar =
        read_pod(METADATA(",\"annotations\":{\"sidecar.istio.io/status\":\"{}\"}") "}");
    AUTO(pod)
    struct pod *proxy = read_pod("{\"metadata\":{\"uid\":\"u\",\"name\":\"z\",\"namespace\":"
                                 "\"istio-system\",\"labels\":{\"app\":\"ztunnel\"}}}");
    AUTO(pod) struct pod *namesake = read_pod(METADATA(",\"labels\":{\"app\":\"ztunnel\"}") "}");

    CHECK(done && done->is_terminal);
    CHECK(failed && failed->is_terminal);
    CHECK(sidecar && sidecar->has_sidecar);
    CHECK(proxy && proxy->is_node_proxy);
    CHECK(namesake && !namesake->is_node_proxy);
}

#define GATEWAY "\"labels\":{\"gateway.networking.k8s.io/gateway-name\":\"way\"}"

TEST(a_replica_of_a_waypoint_is_known_by_the_note_of_the_control_plane_alone)
{
    AUTO(pod)
    struct pod *ours =
        read_pod(METADATA("," GATEWAY ",\"annotations\":{\"ambit.io/program\":\"waypoint\"}") "}");
    AUTO(pod) struct pod *of_a_deployment = read_pod(METADATA("," GATEWAY) "}");
    AUTO(pod)
    struct pod *other =
        read_pod(METADATA("," GATEWAY ",\"annotations\":{\"ambit.io/program\":\"else\"}") "}");
    AUTO(pod)
    struct pod *ending =
        read_pod(METADATA("," GATEWAY ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                          "\"annotations\":{\"ambit.io/program\":\"waypoint\"}") "}");

    CHECK(ours && of_a_deployment && other && ending);
    CHECK_STR(ours->gateway, "way");
    CHECK(!ours->is_ending);
    CHECK(!of_a_deployment->gateway);
    CHECK(!other->gateway);
    CHECK(ending->is_ending);
    AUTO(pod) struct pod *copy = pod_dup(ours);
    CHECK_STR(copy->gateway, "way");
}

TEST(a_pod_without_a_name_is_none)
{
    CHECK(!read_pod("{}"));
    CHECK(!read_pod("[]"));
    CHECK(!read_pod("{\"metadata\":{\"uid\":\"u\",\"name\":\"z\"}}"));
    CHECK(!read_pod("{\"metadata\":{\"uid\":7,\"name\":\"z\",\"namespace\":\"n\"}}"));
}

TEST(a_namespace_has_a_name_and_perhaps_a_mode)
{
    static const struct {
        const char *text;
        int result;
        const char *mode;
    } cases[] = {
        {"{\"metadata\":{\"name\":\"shop\",\"labels\":{\"istio.io/dataplane-mode\":\"ambient\"}}}",
         0, "ambient"},
        {"{\"metadata\":{\"name\":\"shop\"}}", 0, ""},
        {"{\"metadata\":{}}", -ERR_SYNTAX, ""},
        {"{\"metadata\":{\"name\":"
         "\"0123456789012345678901234567890123456789012345678901234567890123\"}}",
         -ERR_SYNTAX, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(json) struct json *j = parse(cases[i].text);
        struct pod_event e = {0};
        CHECK_INT(pod_namespace_from_json(j, &e), cases[i].result);
        CHECK_STR(e.mode, cases[i].mode);
    }
}

static bool prints_as(struct json *take, const char *want)
{
    AUTO(json) struct json *got = take;
    AUTO(json) struct json *expected = parse(want);

    return json_same(got, expected);
}

TEST(requests_are_what_the_api_takes)
{
    static const char *const labels[] = {"app", "cart", "a.b/c", "d", NULL};
    struct ip ips[2];
    CHECK_INT(ip_parse(&ips[0], "10.0.0.5", 8), 0);
    CHECK_INT(ip_parse(&ips[1], "fd00::5", 7), 0);
    struct pod_spec spec = {.namespace = "shop",
                            .name = "cart-1",
                            .service_account = "cart",
                            .node = "a",
                            .labels = labels,
                            .ips = ips,
                            .ip_count = 2};

    CHECK(
        prints_as(pod_create_body(&spec),
                  "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"shop\","
                  "\"name\":\"cart-1\",\"labels\":{\"app\":\"cart\",\"a.b/c\":\"d\"},"
                  "\"annotations\":{\"ambit.io/local-workload\":\"true\"}},\"spec\":{\"nodeName\":"
                  "\"a\",\"serviceAccountName\":\"cart\",\"automountServiceAccountToken\":false,"
                  "\"containers\":[{\"name\":\"command\",\"image\":\"local\"}]}}"));
    CHECK(prints_as(pod_status_patch(&spec, POD_RUNNING, true),
                    "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.5\",\"podIPs\":[{\"ip\":"
                    "\"10.0.0.5\"},{\"ip\":\"fd00::5\"}],\"conditions\":[{\"type\":\"Ready\","
                    "\"status\":\"True\"}]}}"));
    CHECK(prints_as(pod_announce_patch("u1", true),
                    "{\"metadata\":{\"annotations\":{\"ambient.istio.io/"
                    "redirection\":\"enabled\"},\"uid\":\"u1\"}}"));
    CHECK(prints_as(
        pod_announce_patch("u1", false),
        "{\"metadata\":{\"annotations\":{\"ambient.istio.io/redirection\":null},\"uid\":\"u1\"}}"));
    CHECK(prints_as(pod_token_body(&spec, "u1"),
                    "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\","
                    "\"spec\":{\"audiences\":[\"istio-ca\"],\"expirationSeconds\":43200,"
                    "\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
                    "\"name\":\"cart-1\",\"uid\":\"u1\"}}}"));
    CHECK(prints_as(pod_delete_body(), "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\","
                                       "\"gracePeriodSeconds\":0}"));
}
