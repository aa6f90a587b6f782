/* SPDX-License-Identifier: Apache-2.0 */
/* One rule of a route. */
#include <string.h>

#include "base/num.h"
#include "control/translate_l7.h"

enum { RETRY_ATTEMPTS = 2 }; /* of a stanza that gives none (waypoint contract, appendix C) */

static bool is_text(const struct json *o, const char *path, const char *text)
{
    return strcmp(json_str_at(o, path, ""), text) == 0;
}

/* One text of up to five parts. */
static const char *join(struct arena *a, const char *const parts[static 5])
{
    AUTO(strbuf) struct strbuf text = {0};

    for (size_t i = 0; i < 5 && parts[i]; i++) {
        strbuf_puts(&text, parts[i]);
    }
    return arena_text(a, strbuf_text(&text), text.len);
}
#define JOIN(a, ...) join(a, (const char *const[5]){__VA_ARGS__})

/* ---- what matches */

static struct l7_path_match http_path(const struct json *path)
{
    struct l7_path_match m = {.value = json_str_at(path, "value", "/")};

    if (is_text(path, "type", "Exact")) {
        m.kind = L7_PATH_EXACT;
    } else if (is_text(path, "type", "RegularExpression")) {
        m.kind = L7_PATH_REGEX;
    }
    return m;
}

/* Service and method as the path that gRPC gives them; letters, digits, '_' and '.' only, of which no
 * expression has to be protected but from the dot, which matches itself too. */
static struct l7_path_match grpc_path(const struct json *method, struct arena *a)
{
    const char *service = json_str_at(method, "service", "");
    const char *name = json_str_at(method, "method", "");
    struct l7_path_match m = {.value = ""};

    if (is_text(method, "type", "RegularExpression")) {
        m.kind = L7_PATH_REGEX;
        m.value =
            JOIN(a, "/(?:", *service ? service : "[^/]+", ")/(?:", *name ? name : "[^/]+", ")");
    } else if (*service && *name) {
        m.kind = L7_PATH_EXACT;
        m.value = JOIN(a, "/", service, "/", name);
    } else if (*service) {
        m.value = JOIN(a, "/", service);
    } else if (*name) {
        m.kind = L7_PATH_REGEX;
        m.value = JOIN(a, "/[^/]+/", name);
    }
    return m;
}

static const struct l7_value_match *value_matches(const struct json *list, size_t *count,
                                                  struct arena *a)
{
    struct l7_value_match *out = arena_array(a, json_count(list), sizeof(*out));

    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *v = json_item(list, i);
        out[i] = (struct l7_value_match){
            .name = json_str_at(v, "name", ""),
            .kind = is_text(v, "type", "RegularExpression") ? L7_VALUE_REGEX : L7_VALUE_EXACT,
            .value = json_str_at(v, "value", "")};
    }
    *count = json_count(list);
    return out;
}

static struct l7_match read_match(enum l7_route_kind kind, const struct json *match,
                                  struct arena *a)
{
    struct l7_match m = {.method = ""};

    m.path = kind == L7_GRPC_ROUTE ? grpc_path(json_get(match, "method"), a)
                                   : http_path(json_get(match, "path"));
    if (kind == L7_HTTP_ROUTE) {
        m.method = json_str_at(match, "method", "");
        m.query = value_matches(json_get(match, "queryParams"), &m.query_count, a);
    }
    m.headers = value_matches(json_get(match, "headers"), &m.header_count, a);
    return m;
}

static void read_matches(struct l7_route *out, const struct json *rule, struct arena *a)
{
    const struct json *list = json_get(rule, "matches");
    struct l7_match *matches = arena_array(a, json_count(list), sizeof(*matches));

    for (size_t i = 0; i < json_count(list); i++) {
        matches[i] = read_match(out->kind, json_item(list, i), a);
    }
    out->matches = matches;
    out->match_count = json_count(list);
}

/* ---- filters */

static const char *const *texts(const struct json *list, size_t *count, struct arena *a)
{
    const char **out = arena_array(a, json_count(list), sizeof(*out));

    for (size_t i = 0; i < json_count(list); i++) {
        out[i] = json_str(json_item(list, i), "");
    }
    *count = json_count(list);
    return out;
}

static const struct l7_header *header_list(const struct json *list, size_t *count, struct arena *a)
{
    struct l7_header *out = arena_array(a, json_count(list), sizeof(*out));

    for (size_t i = 0; i < json_count(list); i++) {
        out[i] = (struct l7_header){json_str_at(json_item(list, i), "name", ""),
                                    json_str_at(json_item(list, i), "value", "")};
    }
    *count = json_count(list);
    return out;
}

static struct l7_header_change header_change(const struct json *change, struct arena *a)
{
    struct l7_header_change c = {.set_count = 0};

    c.set = header_list(json_get(change, "set"), &c.set_count, a);
    c.add = header_list(json_get(change, "add"), &c.add_count, a);
    c.remove = texts(json_get(change, "remove"), &c.remove_count, a);
    return c;
}

static struct l7_path_change path_change(const struct json *path)
{
    if (!path) {
        return (struct l7_path_change){.kind = L7_PATH_KEPT, .value = ""};
    }
    return is_text(path, "type", "ReplacePrefixMatch")
               ? (struct l7_path_change){L7_PATH_PREFIX_SWAPPED,
                                         json_str_at(path, "replacePrefixMatch", "")}
               : (struct l7_path_change){L7_PATH_FULL, json_str_at(path, "replaceFullPath", "")};
}

static struct l7_redirect redirect(const struct json *r)
{
    return (struct l7_redirect){.scheme = json_str_at(r, "scheme", ""),
                                .hostname = json_str_at(r, "hostname", ""),
                                .port = (uint16_t)json_int_at(r, "port", 0),
                                .status = (uint16_t)json_int_at(r, "statusCode", 302),
                                .path = path_change(json_get(r, "path"))};
}

static struct l7_cors cors(const struct json *c, struct arena *a)
{
    struct l7_cors out = {.allow_credentials = json_bool_at(c, "allowCredentials", false),
                          .max_age_s = (uint32_t)json_int_at(c, "maxAge", 5)};

    out.allow_origins = texts(json_get(c, "allowOrigins"), &out.allow_origin_count, a);
    out.allow_methods = texts(json_get(c, "allowMethods"), &out.allow_method_count, a);
    out.allow_headers = texts(json_get(c, "allowHeaders"), &out.allow_header_count, a);
    out.expose_headers = texts(json_get(c, "exposeHeaders"), &out.expose_header_count, a);
    return out;
}

static struct l7_mirror mirror(const struct json *m, const struct backend_finder *finder,
                               struct arena *a)
{
    const struct json *fraction = json_get(m, "fraction");
    struct l7_mirror out = {.backend = {.weight = 1}};

    finder->find(finder->arg, json_get(m, "backendRef"), &out.backend, a);
    if (fraction) {
        out.numerator = (uint32_t)json_int_at(fraction, "numerator", 0);
        out.denominator = (uint32_t)json_int_at(fraction, "denominator", 100);
    } else if (json_get(m, "percent")) {
        out.numerator = (uint32_t)json_int_at(m, "percent", 0);
        out.denominator = 100;
    }
    return out;
}

/* False: of a kind that nobody here follows. */
static bool read_filter(struct l7_filter *out, const struct json *f,
                        const struct backend_finder *finder, struct arena *a)
{
    *out = (struct l7_filter){.kind = L7_FILTER_REQUEST_HEADERS};
    if (is_text(f, "type", "RequestHeaderModifier")) {
        out->headers = header_change(json_get(f, "requestHeaderModifier"), a);
    } else if (is_text(f, "type", "ResponseHeaderModifier")) {
        out->kind = L7_FILTER_RESPONSE_HEADERS;
        out->headers = header_change(json_get(f, "responseHeaderModifier"), a);
    } else if (is_text(f, "type", "RequestRedirect")) {
        out->kind = L7_FILTER_REDIRECT;
        out->redirect = redirect(json_get(f, "requestRedirect"));
    } else if (is_text(f, "type", "URLRewrite")) {
        out->kind = L7_FILTER_REWRITE;
        out->rewrite.hostname = json_str_at(f, "urlRewrite.hostname", "");
        out->rewrite.path = path_change(json_at(f, "urlRewrite.path"));
    } else if (is_text(f, "type", "RequestMirror")) {
        out->kind = L7_FILTER_MIRROR;
        out->mirror = mirror(json_get(f, "requestMirror"), finder, a);
    } else if (is_text(f, "type", "CORS")) {
        out->kind = L7_FILTER_CORS;
        out->cors = cors(json_get(f, "cors"), a);
    } else {
        return false;
    }
    return true;
}

/* The type of the first filter that cannot be followed; NULL: all can. */
static const char *read_filters(const struct l7_filter **out, size_t *count,
                                const struct json *list, const struct backend_finder *finder,
                                struct arena *a)
{
    struct l7_filter *filters = arena_array(a, json_count(list), sizeof(*filters));
    const char *unknown = NULL;

    for (size_t i = 0; i < json_count(list); i++) {
        if (read_filter(&filters[*count], json_item(list, i), finder, a)) {
            (*count)++;
        } else if (!unknown) {
            unknown = json_str_at(json_item(list, i), "type", "");
        }
    }
    *out = filters;
    return unknown;
}

/* ---- the rest */

static void read_backends(struct l7_route *out, const struct json *rule,
                          const struct backend_finder *finder, struct arena *a)
{
    const struct json *list = json_get(rule, "backendRefs");
    struct l7_backend *backends = arena_array(a, json_count(list), sizeof(*backends));

    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *ref = json_item(list, i);
        struct l7_backend *b = &backends[i];
        b->weight = (uint32_t)json_int_at(ref, "weight", 1);
        finder->find(finder->arg, ref, b, a);
        const char *unknown =
            read_filters(&b->filters, &b->filter_count, json_get(ref, "filters"), finder, a);
        if (unknown && (!b->invalid || !*b->invalid)) {
            b->invalid = JOIN(a, "filters of type ", unknown, " are not supported");
        }
    }
    out->backends = backends;
    out->backend_count = json_count(list);
}

static uint64_t duration(const struct json *rule, const char *path)
{
    const char *text = json_str_at(rule, path, "");
    uint64_t ms = 0;

    return num_parse_duration_ms(text, strlen(text), &ms) == 0 ? ms : 0;
}

static void read_retry(struct l7_route *out, const struct json *rule, struct arena *a)
{
    const struct json *retry = json_get(rule, "retry");
    const struct json *codes = json_get(retry, "codes");
    uint16_t *list = arena_array(a, json_count(codes), sizeof(*list));

    if (!retry) {
        return;
    }
    for (size_t i = 0; i < json_count(codes); i++) {
        list[i] = (uint16_t)json_int(json_item(codes, i), 0);
    }
    int64_t attempts = json_int_at(retry, "attempts", RETRY_ATTEMPTS);
    out->retry = (struct l7_retry){
        .set = true,
        .attempts = attempts > L7_RETRY_ATTEMPTS_MAX ? L7_RETRY_ATTEMPTS_MAX : (uint32_t)attempts,
        .codes = list,
        .code_count = json_count(codes),
        .backoff_ms = duration(rule, "retry.backoff")};
}

void translate_route_rule(struct l7_route *out, enum l7_route_kind kind, const struct json *rule,
                          const struct backend_finder *finder, struct arena *a)
{
    *out = (struct l7_route){.kind = kind, .rule_name = json_str_at(rule, "name", "")};
    read_backends(out, rule, finder, a);
    if (kind == L7_TCP_ROUTE) {
        return;
    }
    read_matches(out, rule, a);
    const char *unknown =
        read_filters(&out->filters, &out->filter_count, json_get(rule, "filters"), finder, a);
    if (unknown) {
        out->invalid = JOIN(a, "filters of type ", unknown, " are not supported");
    }
    out->request_timeout_ms = duration(rule, "timeouts.request");
    out->backend_timeout_ms = duration(rule, "timeouts.backendRequest");
    read_retry(out, rule, a);
}
