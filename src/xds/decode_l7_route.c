/* SPDX-License-Identifier: Apache-2.0 */
/* A rule refers to what the message holds and to an arena; l7_route_new copies it. Whether the values
 * make sense is asked there, so here are only shapes that the model could not even hold. */
#include "base/arena.h"
#include "waypoint.pb-c.h"
#include "xds/decode_int.h"
#include "xds/waypoint.h"

static int number_decode(uint16_t *out, uint32_t from, const char *field, struct diag *why)
{
    if (from > UINT16_MAX) {
        return FAIL(why, -ERR_RANGE, "%s: %u is out of range", field, from);
    }
    *out = (uint16_t)from;
    return 0;
}

static int kind_check(int kind, int last, const char *field, struct diag *why)
{
    return kind < 0 || kind > last ? FAIL(why, -ERR_RANGE, "%s: %d is unknown", field, kind) : 0;
}

/* ---- matches */

static int values_decode(const struct l7_value_match **out,
                         Ambit__Waypoint__V1__ValueMatch *const *from, size_t count,
                         const char *field, struct arena *a, struct diag *why)
{
    struct l7_value_match *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        int r = kind_check((int)from[i]->kind, L7_VALUE_PRESENT, field, why);
        if (r < 0) {
            return r;
        }
        all[i] = (struct l7_value_match){.name = from[i]->name,
                                         .kind = (enum l7_value_kind)from[i]->kind,
                                         .value = from[i]->value};
    }
    *out = all;
    return 0;
}

static int match_decode(struct l7_match *out, const Ambit__Waypoint__V1__Match *m, struct arena *a,
                        struct diag *why)
{
    int r = m->path ? kind_check((int)m->path->kind, L7_PATH_REGEX, "path.kind", why) : 0;

    if (r < 0) {
        return r;
    }
    if (m->path) {
        bool is_path = (int)m->path->kind != L7_PATH_REGEX;
        out->path = (struct l7_path_match){.kind = (enum l7_path_kind)m->path->kind,
                                           .value = is_path ? xds_l7_path(m->path->value, a)
                                                            : m->path->value};
    }
    out->method = m->method;
    out->header_count = m->n_headers;
    out->query_count = m->n_query;
    r = values_decode(&out->headers, m->headers, m->n_headers, "headers", a, why);
    return r < 0 ? r : values_decode(&out->query, m->query, m->n_query, "query", a, why);
}

static int matches_decode(struct l7_route *out, const Ambit__Waypoint__V1__Route *m,
                          struct arena *a, struct diag *why)
{
    struct l7_match *all = arena_array(a, m->n_matches, sizeof(*all));

    for (size_t i = 0; i < m->n_matches; i++) {
        struct diag inner = {.code = 0};
        int r = match_decode(&all[i], m->matches[i], a, &inner);
        if (r < 0) {
            return FAIL(why, r, "matches[%zu].%s", i, inner.text);
        }
    }
    out->matches = all;
    out->match_count = m->n_matches;
    return 0;
}

/* ---- filters */

static const struct l7_header *headers_decode(Ambit__Waypoint__V1__HeaderValue *const *from,
                                              size_t count, struct arena *a)
{
    struct l7_header *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        all[i] = (struct l7_header){from[i]->name, from[i]->value};
    }
    return all;
}

static const char *const *texts_decode(char *const *from, size_t count, struct arena *a)
{
    const char **all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        all[i] = from[i];
    }
    return all;
}

static struct l7_header_change change_decode(const Ambit__Waypoint__V1__HeaderChange *m,
                                             struct arena *a)
{
    return (struct l7_header_change){.set = headers_decode(m->set, m->n_set, a),
                                     .add = headers_decode(m->add, m->n_add, a),
                                     .remove = texts_decode(m->remove, m->n_remove, a),
                                     .set_count = m->n_set,
                                     .add_count = m->n_add,
                                     .remove_count = m->n_remove};
}

static int path_change_decode(struct l7_path_change *out, const Ambit__Waypoint__V1__PathChange *m,
                              struct arena *a, struct diag *why)
{
    if (!m) {
        return 0;
    }
    *out = (struct l7_path_change){(enum l7_path_change_kind)m->kind, xds_l7_path(m->value, a)};
    return kind_check((int)m->kind, L7_PATH_PREFIX_SWAPPED, "path.kind", why);
}

static int redirect_decode(struct l7_redirect *out, const Ambit__Waypoint__V1__Redirect *m,
                           struct arena *a, struct diag *why)
{
    out->scheme = m->scheme;
    out->hostname = m->hostname;
    int r = number_decode(&out->port, m->port, "port", why);
    if (r == 0) {
        r = number_decode(&out->status, m->status, "status", why);
    }
    return r < 0 ? r : path_change_decode(&out->path, m->path, a, why);
}

static int backend_decode(struct l7_backend *out, const Ambit__Waypoint__V1__Backend *m,
                          struct diag *why)
{
    bool known = (int)m->protocol >= 0 && (int)m->protocol < L7_PROTOCOLS;

    *out = (struct l7_backend){.ns = m->namespace_,
                               .hostname = m->hostname,
                               .protocol = known ? (enum l7_protocol)m->protocol : L7_UNKNOWN,
                               .weight = m->weight,
                               .invalid = m->invalid};
    return number_decode(&out->port, m->port, "port", why);
}

static int mirror_decode(struct l7_mirror *out, const Ambit__Waypoint__V1__Mirror *m,
                         struct diag *why)
{
    if (!m->backend) {
        return FAIL(why, -ERR_SYNTAX, "mirror.backend: is missing");
    }
    out->numerator = m->numerator;
    out->denominator = m->denominator;
    return backend_decode(&out->backend, m->backend, why);
}

static struct l7_cors cors_decode(const Ambit__Waypoint__V1__Cors *m, struct arena *a)
{
    return (struct l7_cors){.allow_origins = texts_decode(m->allow_origins, m->n_allow_origins, a),
                            .allow_methods = texts_decode(m->allow_methods, m->n_allow_methods, a),
                            .allow_headers = texts_decode(m->allow_headers, m->n_allow_headers, a),
                            .expose_headers =
                                texts_decode(m->expose_headers, m->n_expose_headers, a),
                            .allow_origin_count = m->n_allow_origins,
                            .allow_method_count = m->n_allow_methods,
                            .allow_header_count = m->n_allow_headers,
                            .expose_header_count = m->n_expose_headers,
                            .allow_credentials = m->allow_credentials,
                            .max_age_s = m->max_age_s};
}

static int filter_decode(struct l7_filter *out, const Ambit__Waypoint__V1__Filter *m,
                         struct arena *a, struct diag *why)
{
    switch (m->what_case) {
    case AMBIT__WAYPOINT__V1__FILTER__WHAT_REQUEST_HEADERS:
        out->kind = L7_FILTER_REQUEST_HEADERS;
        out->headers = change_decode(m->request_headers, a);
        return 0;
    case AMBIT__WAYPOINT__V1__FILTER__WHAT_RESPONSE_HEADERS:
        out->kind = L7_FILTER_RESPONSE_HEADERS;
        out->headers = change_decode(m->response_headers, a);
        return 0;
    case AMBIT__WAYPOINT__V1__FILTER__WHAT_REDIRECT:
        out->kind = L7_FILTER_REDIRECT;
        return redirect_decode(&out->redirect, m->redirect, a, why);
    case AMBIT__WAYPOINT__V1__FILTER__WHAT_REWRITE:
        out->kind = L7_FILTER_REWRITE;
        out->rewrite.hostname = m->rewrite->hostname;
        return path_change_decode(&out->rewrite.path, m->rewrite->path, a, why);
    case AMBIT__WAYPOINT__V1__FILTER__WHAT_MIRROR:
        out->kind = L7_FILTER_MIRROR;
        return mirror_decode(&out->mirror, m->mirror, why);
    case AMBIT__WAYPOINT__V1__FILTER__WHAT_CORS:
        out->kind = L7_FILTER_CORS;
        out->cors = cors_decode(m->cors, a);
        return 0;
    case AMBIT__WAYPOINT__V1__FILTER__WHAT__NOT_SET:
    case _AMBIT__WAYPOINT__V1__FILTER__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    /* Also what a newer control plane knows: going on without a filter is not what was asked. */
    return FAIL(why, -ERR_UNSUPPORTED, "what: is of no known kind");
}

static int filters_decode(const struct l7_filter **out, Ambit__Waypoint__V1__Filter *const *from,
                          size_t count, struct arena *a, struct diag *why)
{
    struct l7_filter *all = arena_array(a, count, sizeof(*all));

    for (size_t i = 0; i < count; i++) {
        struct diag inner = {.code = 0};
        int r = filter_decode(&all[i], from[i], a, &inner);
        if (r < 0) {
            return FAIL(why, r, "filters[%zu].%s", i, inner.text);
        }
    }
    *out = all;
    return 0;
}

static int backends_decode(struct l7_route *out, const Ambit__Waypoint__V1__Route *m,
                           struct arena *a, struct diag *why)
{
    struct l7_backend *all = arena_array(a, m->n_backends, sizeof(*all));

    for (size_t i = 0; i < m->n_backends; i++) {
        const Ambit__Waypoint__V1__Backend *from = m->backends[i];
        struct diag inner = {.code = 0};
        int r = backend_decode(&all[i], from, &inner);
        if (r == 0) {
            r = filters_decode(&all[i].filters, from->filters, from->n_filters, a, &inner);
            all[i].filter_count = from->n_filters;
        }
        if (r < 0) {
            return FAIL(why, r, "backends[%zu].%s", i, inner.text);
        }
    }
    out->backends = all;
    out->backend_count = m->n_backends;
    return 0;
}

static int retry_decode(struct l7_retry *out, const Ambit__Waypoint__V1__Retry *m, struct arena *a,
                        struct diag *why)
{
    if (!m) {
        return 0;
    }
    uint16_t *codes = arena_array(a, m->n_codes, sizeof(*codes));
    for (size_t i = 0; i < m->n_codes; i++) {
        int r = number_decode(&codes[i], m->codes[i], "retry.codes", why);
        if (r < 0) {
            return r;
        }
    }
    *out = (struct l7_retry){.set = true,
                             .attempts = m->attempts,
                             .codes = codes,
                             .code_count = m->n_codes,
                             .backoff_ms = m->backoff_ms};
    return 0;
}

/* ---- the whole */

static int route_fill(struct l7_route *to, const Ambit__Waypoint__V1__Route *m, struct arena *a,
                      struct diag *why)
{
    int r = kind_check((int)m->kind, L7_TCP_ROUTE, "kind", why);

    if (r == 0) {
        r = number_decode(&to->port, m->port, "port", why);
    }
    if (r == 0) {
        r = matches_decode(to, m, a, why);
    }
    if (r == 0) {
        r = filters_decode(&to->filters, m->filters, m->n_filters, a, why);
        to->filter_count = m->n_filters;
    }
    if (r == 0) {
        r = backends_decode(to, m, a, why);
    }
    return r < 0 ? r : retry_decode(&to->retry, m->retry, a, why);
}

int xds_l7_route_decode(const struct l7_route **out, struct slice bytes, const char *name,
                        const char *version, struct diag *why)
{
    AUTO(arena) struct arena a = {0};
    AUTO(xds_unpacked) ProtobufCMessage *raw = NULL;
    int r = xds_unpack(&raw, &ambit__waypoint__v1__route__descriptor, bytes, why);

    if (r < 0) {
        return r;
    }
    const Ambit__Waypoint__V1__Route *m = (const void *)raw;
    struct l7_route to = {.resource = name,
                          .version = xds_l7_version(version, bytes, &a),
                          .ns = m->namespace_,
                          .hostname = m->hostname,
                          .kind = (enum l7_route_kind)m->kind,
                          .created_s = m->created_s,
                          .route_ns = m->route_namespace,
                          .route_name = m->route_name,
                          .rule = m->rule,
                          .rule_name = m->rule_name,
                          .request_timeout_ms = m->request_timeout_ms,
                          .backend_timeout_ms = m->backend_timeout_ms,
                          .invalid = m->invalid,
                          .consumer = m->consumer_namespace};
    r = route_fill(&to, m, &a, why);
    return r < 0 ? r : l7_route_new(out, &to, why);
}
