/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/traffic_rule.h"

#include <string.h>

#include "apiserver/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"

static const char *const hash_keys[] = {"httpHeaderName", "httpCookie", "useSourceIp",
                                        "httpQueryParameterName"};

static void check_balancer(struct faults *f, const struct json *policy, const char *at)
{
    const struct json *lb = json_get(policy, "loadBalancer");
    const struct json *hash = json_get(lb, "consistentHash");
    AUTO(strbuf) struct strbuf path = {0};
    size_t keys = 0;

    for (size_t i = 0; i < ARRAY_LEN(hash_keys); i++) {
        keys += json_get(hash, hash_keys[i]) != NULL;
    }
    strbuf_printf(&path, "%s.loadBalancer", at);
    if (hash && json_get(lb, "simple")) {
        faults_add(f, FAULT_INVALID, strbuf_text(&path),
                   "only one of simple or consistentHash can be set");
    }
    if (hash && keys != 1) {
        strbuf_puts(&path, ".consistentHash");
        faults_add(f, FAULT_INVALID, strbuf_text(&path),
                   "exactly one of httpHeaderName, httpCookie, useSourceIp, "
                   "httpQueryParameterName must be set");
    }
}

static void check_times(struct faults *f, const struct json *policy, const char *at)
{
    static const char *const times[] = {
        "connectionPool.tcp.connectTimeout", "connectionPool.tcp.idleTimeout",
        "connectionPool.http.idleTimeout",   "outlierDetection.interval",
        "outlierDetection.baseEjectionTime", "loadBalancer.consistentHash.httpCookie.ttl",
    };

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        const char *text = json_str_at(policy, times[i], NULL);
        uint64_t ms = 0;
        if (text && num_parse_duration_ms(text, strlen(text), &ms) < 0) {
            AUTO(strbuf) struct strbuf path = {0};
            strbuf_printf(&path, "%s.%s", at, times[i]);
            faults_add(f, FAULT_INVALID, strbuf_text(&path),
                       "must be a duration such as 10s, 1m30s or 250ms");
        }
    }
}

/* Numbers that Istio takes for what they are not when they are negative or too large: "no limit". */
static const struct number {
    const char *path;
    int64_t most;
} numbers[] = {
    {"connectionPool.tcp.maxConnections", INT32_MAX},
    {"connectionPool.http.http1MaxPendingRequests", INT32_MAX},
    {"connectionPool.http.http2MaxRequests", INT32_MAX},
    {"connectionPool.http.maxRequestsPerConnection", INT32_MAX},
    {"connectionPool.http.maxRetries", INT32_MAX},
    {"connectionPool.http.maxConcurrentStreams", INT32_MAX},
    {"outlierDetection.consecutiveErrors", INT32_MAX},
    {"outlierDetection.consecutive5xxErrors", UINT32_MAX},
    {"outlierDetection.consecutiveGatewayErrors", UINT32_MAX},
    {"outlierDetection.consecutiveLocalOriginFailures", UINT32_MAX},
    {"outlierDetection.maxEjectionPercent", 100},
    {"outlierDetection.minHealthPercent", 100},
};

static void check_numbers(struct faults *f, const struct json *policy, const char *at)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const struct json *value = json_at(policy, numbers[i].path);
        int64_t n = json_int(value, -1);
        if (value && (n < 0 || n > numbers[i].most)) {
            AUTO(strbuf) struct strbuf path = {0};
            AUTO(strbuf) struct strbuf given = {0};
            json_print(value, 0, &given);
            strbuf_printf(&path, "%s.%s", at, numbers[i].path);
            faults_addf(f, FAULT_INVALID, strbuf_text(&path),
                        "%.40s: must be a number between 0 and %lld", strbuf_text(&given),
                        (long long)numbers[i].most);
        }
    }
}

static void check_part(struct faults *f, const struct json *policy, const char *at)
{
    check_balancer(f, policy, at);
    check_times(f, policy, at);
    check_numbers(f, policy, at);
}

static void check_traffic(struct faults *f, const struct json *policy, const char *at)
{
    const struct json *ports = json_get(policy, "portLevelSettings");

    check_part(f, policy, at);
    for (size_t i = 0; i < json_count(ports); i++) {
        AUTO(strbuf) struct strbuf path = {0};
        strbuf_printf(&path, "%s.portLevelSettings[%zu]", at, i);
        check_part(f, json_item(ports, i), strbuf_text(&path));
    }
}

void traffic_rule_check(struct faults *f, const struct json *spec)
{
    const struct json *subsets = json_get(spec, "subsets");

    check_traffic(f, json_get(spec, "trafficPolicy"), "spec.trafficPolicy");
    for (size_t i = 0; i < json_count(subsets); i++) {
        AUTO(strbuf) struct strbuf path = {0};
        strbuf_printf(&path, "spec.subsets[%zu].trafficPolicy", i);
        check_traffic(f, json_get(json_item(subsets, i), "trafficPolicy"), strbuf_text(&path));
    }
}
