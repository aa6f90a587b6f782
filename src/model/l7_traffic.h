/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a service's endpoints are chosen and used (proto/waypoint.proto, Traffic). Immutable, counted
 * across threads, one allocation; made from a template like a binding.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ref.h"

enum l7_balance { L7_LEAST_REQUEST = 0, L7_RANDOM, L7_ROUND_ROBIN, L7_CONSISTENT_HASH };

struct l7_hash_key {    /* one of the first four */
    const char *header; /* made lower case */
    const char *cookie;
    const char *query;
    bool source_ip;
    bool make_cookie; /* for who has none */
    uint64_t cookie_ttl_ms;
    const char *cookie_path;
};

struct l7_outlier {
    uint32_t consecutive_5xx; /* 0: off */
    uint32_t consecutive_gateway;
    uint64_t interval_ms;          /* 0 is made 10 s */
    uint64_t base_ejection_ms;     /* 0 is made 30 s */
    uint32_t max_ejection_percent; /* 0 is made 10 */
    uint32_t min_health_percent;
};

struct l7_limits { /* 0: not limited */
    uint32_t connections;
    uint64_t connect_timeout_ms;
    uint32_t pending_requests;
    uint32_t requests;
    uint32_t requests_per_connection;
    uint32_t retries;
    uint64_t idle_timeout_ms;
};

struct l7_traffic {
    struct aref refs;
    const char *resource;
    const char *version;
    const char *service; /* made: "ns/hostname" */
    const char *ns;
    const char *hostname;
    uint16_t port; /* 0: every port without one of its own */
    enum l7_balance balance;
    struct l7_hash_key hash;
    bool locality_failover;
    struct l7_outlier outlier;
    struct l7_limits limits;
};

/* The caller's on success. -ERR_SYNTAX, -ERR_RANGE: why names the field. */
MUST_USE int l7_traffic_new(const struct l7_traffic **out, const struct l7_traffic *from,
                            struct diag *why);
const struct l7_traffic *l7_traffic_ref(const struct l7_traffic *x);   /* NULL stays NULL */
const struct l7_traffic *l7_traffic_unref(const struct l7_traffic *x); /* returns NULL */
AUTO_DEFINE(l7_traffic, const struct l7_traffic *, l7_traffic_unref);
