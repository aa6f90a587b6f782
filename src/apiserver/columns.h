/* SPDX-License-Identifier: Apache-2.0 */
/* The columns that `kubectl get` shows for each kind. A cell comes from a path or from a function. */
#pragma once

#include <stdint.h>

struct json;

struct column {
    const char *name; /* NULL ends a list */
    const char *type;
    const char *format;
    int priority; /* 1: only with -o wide */
    const char *path;
    struct json *(*cell)(const struct json *object, int64_t now_s); /* a value, the caller's */
};

extern const struct column columns_plain[];
extern const struct column columns_dated[];
extern const struct column columns_pod[];
extern const struct column columns_service[];
extern const struct column columns_namespace[];
extern const struct column columns_data[];
extern const struct column columns_secret[];
extern const struct column columns_node[];
extern const struct column columns_event[];
extern const struct column columns_endpoint_slice[];
extern const struct column columns_deployment[];
extern const struct column columns_lease[];
extern const struct column columns_crd[];
extern const struct column columns_authorization_policy[];
extern const struct column columns_peer_authentication[];
extern const struct column columns_gateway[];
extern const struct column columns_gateway_class[];
extern const struct column columns_route[];
extern const struct column columns_service_entry[];
extern const struct column columns_workload_entry[];
extern const struct column columns_destination_rule[];
