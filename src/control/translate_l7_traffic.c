/* SPDX-License-Identifier: Apache-2.0 */
/* A DestinationRule's traffic policy, with Istio's defaults. */
#include <string.h>

#include "base/num.h"
#include "control/translate_l7.h"

enum { DEFAULT_5XX = 5, DEFAULT_INTERVAL_MS = 10000, DEFAULT_EJECTION_MS = 30000 };
enum { DEFAULT_EJECTION_PERCENT = 10 };

static uint64_t duration(const struct json *o, const char *path, uint64_t otherwise)
{
    const char *text = json_str_at(o, path, "");
    uint64_t ms = 0;

    return *text && num_parse_duration_ms(text, strlen(text), &ms) == 0 ? ms : otherwise;
}

/* What is not positive limits nothing. */
static uint32_t limit(const struct json *o, const char *path)
{
    int64_t n = json_int_at(o, path, 0);

    return n <= 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static enum l7_balance balance_of(const struct json *lb)
{
    const char *simple = json_str_at(lb, "simple", "");

    if (json_get(lb, "consistentHash")) {
        return L7_CONSISTENT_HASH;
    }
    if (strcmp(simple, "ROUND_ROBIN") == 0) {
        return L7_ROUND_ROBIN;
    }
    return strcmp(simple, "RANDOM") == 0 ? L7_RANDOM : L7_LEAST_REQUEST;
}

static struct l7_hash_key hash_of(const struct json *hash)
{
    const struct json *cookie = json_get(hash, "httpCookie");

    return (struct l7_hash_key){
        .header = json_str_at(hash, "httpHeaderName", ""),
        .cookie = json_str_at(cookie, "name", ""),
        .query = json_str_at(hash, "httpQueryParameterName", ""),
        .source_ip = json_bool_at(hash, "useSourceIp", false),
        .make_cookie = json_get(cookie, "ttl") != NULL,
        .cookie_ttl_ms = duration(cookie, "ttl", 0),
        .cookie_path = json_str_at(cookie, "path", ""),
    };
}

static struct l7_outlier outlier_of(const struct json *o)
{
    return (struct l7_outlier){
        .consecutive_5xx =
            json_get(o, "consecutive5xxErrors") ? limit(o, "consecutive5xxErrors") : DEFAULT_5XX,
        .consecutive_gateway = limit(o, "consecutiveGatewayErrors"),
        .interval_ms = duration(o, "interval", DEFAULT_INTERVAL_MS),
        .base_ejection_ms = duration(o, "baseEjectionTime", DEFAULT_EJECTION_MS),
        .max_ejection_percent = json_get(o, "maxEjectionPercent") ? limit(o, "maxEjectionPercent")
                                                                  : DEFAULT_EJECTION_PERCENT,
        .min_health_percent = limit(o, "minHealthPercent"),
    };
}

void translate_traffic(struct l7_traffic *out, const struct json *policy)
{
    const struct json *lb = json_get(policy, "loadBalancer");
    const struct json *pool = json_get(policy, "connectionPool");
    const struct json *outlier = json_get(policy, "outlierDetection");

    *out = (struct l7_traffic){
        .balance = balance_of(lb),
        .hash = hash_of(json_get(lb, "consistentHash")),
        /* Istio fails over only where it can tell that a locality is bad. */
        .locality_failover = outlier && json_bool_at(lb, "localityLbSetting.enabled", true),
        .limits = {.connections = limit(pool, "tcp.maxConnections"),
                   .connect_timeout_ms = duration(pool, "tcp.connectTimeout", 0),
                   .pending_requests = limit(pool, "http.http1MaxPendingRequests"),
                   .requests = limit(pool, "http.http2MaxRequests"),
                   .requests_per_connection = limit(pool, "http.maxRequestsPerConnection"),
                   .retries = limit(pool, "http.maxRetries"),
                   .idle_timeout_ms = duration(pool, "http.idleTimeout", 0)},
    };
    if (outlier) {
        out->outlier = outlier_of(outlier);
    }
}
