/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rule of an HTTPRoute, GRPCRoute or TCPRoute (proto/waypoint.proto, Route), ready to be
 * followed: what a rule says and what l7_route_new derives from it (regular expressions, weights
 * summed up, the bitmap of retried codes). Immutable, counted across threads, one allocation beside
 * the expressions. Fill a template with borrowed pointers; what is marked "made" is left zero.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ref.h"
#include "base/str.h"
#include "model/l7_binding.h"
#include "model/l7_regex.h"

enum l7_route_kind { L7_HTTP_ROUTE = 0, L7_GRPC_ROUTE, L7_TCP_ROUTE };
enum l7_path_kind { L7_PATH_PREFIX = 0, L7_PATH_EXACT, L7_PATH_REGEX };
enum l7_value_kind { L7_VALUE_EXACT = 0, L7_VALUE_REGEX, L7_VALUE_PRESENT };

struct l7_path_match {
    enum l7_path_kind kind;
    /* A prefix covers whole segments: "/v2/" is made "/v2", and "/" or nothing "" (everything). */
    const char *value;
    uint32_t value_len;           /* made, like the next two */
    uint32_t literal_len;         /* of an expression: what of its text every path begins with */
    const struct l7_regex *regex; /* NULL unless a regular expression */
};

struct l7_value_match {
    const char *name; /* of a header: made lower case */
    enum l7_value_kind kind;
    const char *value;
    uint32_t name_len; /* made, like the next two */
    uint32_t value_len;
    const struct l7_regex *regex; /* NULL unless a regular expression */
};

struct l7_match { /* all of it */
    struct l7_path_match path;
    const char *method; /* "": any */
    const struct l7_value_match *headers;
    const struct l7_value_match *query;
    size_t header_count;
    size_t query_count;
};

struct l7_header {
    const char *name; /* made lower case */
    const char *value;
};

/* Sets replace, adds append a field line, removes remove. Of equal names in one list the first
 * wins. */
struct l7_header_change {
    const struct l7_header *set;
    const struct l7_header *add;
    const char *const *remove; /* made lower case */
    size_t set_count;
    size_t add_count;
    size_t remove_count;
};

enum l7_path_change_kind { L7_PATH_KEPT = 0, L7_PATH_FULL, L7_PATH_PREFIX_SWAPPED };
struct l7_path_change {
    enum l7_path_change_kind kind;
    const char *value;
};

struct l7_redirect { /* "" or 0: as it was */
    const char *scheme;
    const char *hostname;
    uint16_t port;
    uint16_t status; /* 301, 302, 303, 307, 308; 0 is made 302 */
    struct l7_path_change path;
};

struct l7_rewrite {
    const char *hostname; /* "": kept */
    struct l7_path_change path;
};

struct l7_cors {
    const char *const *allow_origins; /* exact, "*", or "scheme://" "*.host" */
    const char *const *allow_methods;
    const char *const *allow_headers;
    const char *const *expose_headers;
    size_t allow_origin_count;
    size_t allow_method_count;
    size_t allow_header_count;
    size_t expose_header_count;
    bool allow_credentials;
    uint32_t max_age_s; /* 0 is made 5 */
};

struct l7_filter;

struct l7_backend {
    const char *ns;
    const char *hostname;
    const char *key; /* made: "ns/hostname", how world_service() finds it */
    uint16_t port;
    enum l7_protocol protocol; /* of that port; L7_UNKNOWN: as a binding says, if there is one */
    uint32_t weight;
    const struct l7_filter *filters; /* header changes, redirect, rewrite */
    size_t filter_count;
    /* made: the first filter of its kind, NULL where there is none */
    const struct l7_redirect *redirect;
    const struct l7_rewrite *rewrite;
    const char *invalid; /* not "": why there is none; requests that it draws are answered 500 */
};

struct l7_mirror {
    struct l7_backend backend;
    uint32_t numerator;
    uint32_t denominator; /* 0 is made 1 of 1: every request */
};

enum l7_filter_kind {
    L7_FILTER_REQUEST_HEADERS = 0,
    L7_FILTER_RESPONSE_HEADERS,
    L7_FILTER_REDIRECT,
    L7_FILTER_REWRITE,
    L7_FILTER_MIRROR,
    L7_FILTER_CORS
};

struct l7_filter {
    enum l7_filter_kind kind;
    union {
        struct l7_header_change headers; /* both kinds of headers */
        struct l7_redirect redirect;
        struct l7_rewrite rewrite;
        struct l7_mirror mirror;
        struct l7_cors cors;
    };
};

enum { L7_STATUS_FIRST = 100, L7_STATUS_LAST = 599 };

struct l7_retry {
    bool set;
    uint32_t attempts;     /* beyond the first */
    const uint16_t *codes; /* of responses, beside failed connections */
    size_t code_count;
    uint64_t backoff_ms; /* 0 is made 25 */
    uint64_t mask[8];    /* made: bit (code - 100) of what is retried */
};

struct l7_route {
    struct aref refs;
    const char *resource; /* the discovery resource's name */
    const char *version;
    const char *service; /* made: "ns/hostname" */
    const char *ns;      /* of the service, like the next two */
    const char *hostname;
    uint16_t port; /* 0: every port */
    enum l7_route_kind kind;
    int64_t created_s;
    const char *route_ns;
    const char *route_name;
    uint32_t rule;
    const char *rule_name;
    const char *label;              /* made: rule_name, else "ns.name.rule": for logs and metrics */
    const struct l7_match *matches; /* OR; none given is made one that matches everything */
    const struct l7_filter *filters;
    const struct l7_backend *backends;
    size_t match_count;
    size_t filter_count;
    size_t backend_count;
    uint64_t weight_total;       /* made, invalid backends included; 0: answered 500 */
    uint64_t request_timeout_ms; /* 0: none */
    uint64_t backend_timeout_ms; /* of one attempt; 0: none */
    struct l7_retry retry;
    const char *invalid;  /* not "": why the rule cannot be followed; it answers 500 */
    const char *consumer; /* not "": the namespace whose clients alone it is for */
    /* made: the first filter of its kind, NULL where there is none */
    const struct l7_redirect *redirect;
    const struct l7_rewrite *rewrite;
    const struct l7_cors *cors;
};

enum {
    L7_ROUTE_BYTES_MAX = 1 << 20,
    L7_ROUTE_MATCHES_MAX = 128,
    L7_ROUTE_FILTERS_MAX = 32,
    L7_ROUTE_BACKENDS_MAX = 64,
    L7_RETRY_ATTEMPTS_MAX = 16,
};

/* The caller's on success; otherwise why names the field, e.g. "matches[2].path.value: ...".
 * -ERR_SYNTAX, -ERR_RANGE, -ERR_LIMIT, -ERR_TOO_LARGE. */
MUST_USE int l7_route_new(const struct l7_route **out, const struct l7_route *from,
                          struct diag *why);
const struct l7_route *l7_route_ref(const struct l7_route *r);   /* NULL stays NULL */
const struct l7_route *l7_route_unref(const struct l7_route *r); /* returns NULL */
AUTO_DEFINE(l7_route, const struct l7_route *, l7_route_unref);
