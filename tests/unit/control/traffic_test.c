/* SPDX-License-Identifier: Apache-2.0 */
/* How traffic is to be handled: what a port speaks, and each field of a DestinationRule. */
#include "t.h"

#include <string.h>

#include "codec/yaml.h"
#include "control/service_facts.h"
#include "control/translate_l7.h"
#include "model/l7_binding.h"

TEST(app_protocol_says_what_a_port_speaks_then_its_name_then_nobody)
{
    static const struct {
        const char *app_protocol, *name;
        uint16_t port;
        enum l7_protocol want;
    } table[] = {
        {"kubernetes.io/h2c", "tcp-x", 80, L7_HTTP2},
        {"kubernetes.io/ws", "x", 80, L7_HTTP},
        {"kubernetes.io/wss", "x", 80, L7_TLS},
        {"http", "tcp-x", 80, L7_HTTP},
        {"HTTP2", "x", 80, L7_HTTP2},
        {"grpc", "x", 80, L7_GRPC},
        {"grpc-web", "x", 80, L7_HTTP},
        {"https", "x", 80, L7_TLS},
        {"tls", "x", 80, L7_TLS},
        {"tcp", "http", 80, L7_TCP},
        {"mysql", "x", 80, L7_TCP},
        {"redis", "x", 80, L7_TCP},
        {"mongo", "x", 80, L7_TCP},
        {"example.com/x", "http", 80, L7_UNKNOWN},
        {NULL, "http", 80, L7_HTTP},
        {NULL, "http2-a", 80, L7_HTTP2},
        {NULL, "grpc-a", 80, L7_GRPC},
        {NULL, "grpc-web-a", 80, L7_HTTP},
        {NULL, "https-a", 80, L7_TLS},
        {NULL, "tcp-a", 80, L7_TCP},
        {NULL, "postgres-a", 80, L7_TCP},
        {NULL, "a", 80, L7_UNKNOWN},
        {NULL, "", 80, L7_UNKNOWN},
        {NULL, "a", 3306, L7_TCP}, /* whose server speaks first */
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint8_t app = app_protocol_of("TCP", table[i].app_protocol, table[i].name, table[i].port);
        uint8_t got = l7_protocol_of(table[i].app_protocol, table[i].name, app);
        if (got != table[i].want) {
            printf("# row %zu\n", i);
        }
        CHECK_INT(got, table[i].want);
    }
}

/* Its texts are those of *out. */
static struct l7_traffic read(const char *text, struct json **out)
{
    struct l7_traffic t = {.port = 0};

    if (yaml_parse_all(out, text, strlen(text), NULL) == 0) {
        translate_traffic(&t, json_item(*out, 0));
    }
    return t;
}

TEST(each_field_of_a_destination_rule_arrives)
{
    AUTO(json) struct json *policy = NULL;
    struct l7_traffic x = read(
        "connectionPool:\n"
        "  tcp: {maxConnections: 1, connectTimeout: 2s}\n"
        "  http: {http1MaxPendingRequests: 3, http2MaxRequests: 4, maxRequestsPerConnection: 5,\n"
        "         maxRetries: 6, idleTimeout: 7s}\n"
        "outlierDetection: {consecutive5xxErrors: 8, consecutiveGatewayErrors: 9, interval: 10s,\n"
        "                   baseEjectionTime: 11s, maxEjectionPercent: 12, minHealthPercent: 13}\n"
        "loadBalancer: {consistentHash: {httpCookie: {name: c, path: /p, ttl: 14s}}}\n",
        &policy);

    CHECK_INT(x.limits.connections, 1);
    CHECK_INT(x.limits.connect_timeout_ms, 2000);
    CHECK_INT(x.limits.pending_requests, 3);
    CHECK_INT(x.limits.requests, 4);
    CHECK_INT(x.limits.requests_per_connection, 5);
    CHECK_INT(x.limits.retries, 6);
    CHECK_INT(x.limits.idle_timeout_ms, 7000);
    CHECK_INT(x.outlier.consecutive_5xx, 8);
    CHECK_INT(x.outlier.consecutive_gateway, 9);
    CHECK_INT(x.outlier.interval_ms, 10000);
    CHECK_INT(x.outlier.base_ejection_ms, 11000);
    CHECK_INT(x.outlier.max_ejection_percent, 12);
    CHECK_INT(x.outlier.min_health_percent, 13);
    CHECK_INT(x.balance, L7_CONSISTENT_HASH);
    CHECK_STR(x.hash.cookie, "c");
    CHECK_STR(x.hash.cookie_path, "/p");
    CHECK_INT(x.hash.cookie_ttl_ms, 14000);
    CHECK(x.hash.make_cookie && x.locality_failover);
}

TEST(endpoints_are_chosen_as_a_destination_rule_says)
{
    static const struct {
        const char *load_balancer;
        enum l7_balance balance;
        const char *header, *query;
        bool source_ip;
    } table[] = {
        {"{}", L7_LEAST_REQUEST, "", "", false},
        {"{simple: LEAST_REQUEST}", L7_LEAST_REQUEST, "", "", false},
        {"{simple: ROUND_ROBIN}", L7_ROUND_ROBIN, "", "", false},
        {"{simple: RANDOM}", L7_RANDOM, "", "", false},
        {"{consistentHash: {httpHeaderName: x-a}}", L7_CONSISTENT_HASH, "x-a", "", false},
        {"{consistentHash: {httpQueryParameterName: q}}", L7_CONSISTENT_HASH, "", "q", false},
        {"{consistentHash: {useSourceIp: true}}", L7_CONSISTENT_HASH, "", "", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        AUTO(json) struct json *policy = NULL;
        strbuf_printf(&text, "loadBalancer: %s\n", table[i].load_balancer);
        struct l7_traffic x = read(strbuf_text(&text), &policy);
        CHECK_INT(x.balance, table[i].balance);
        CHECK_STR(x.hash.header, table[i].header);
        CHECK_STR(x.hash.query, table[i].query);
        CHECK_INT(x.hash.source_ip, table[i].source_ip);
        CHECK(!x.locality_failover); /* who cannot be taken out fails over nowhere */
    }
    AUTO(json) struct json *off = NULL;
    CHECK(!read("{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}", &off)
               .locality_failover);
}
