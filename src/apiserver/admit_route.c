/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: the defaults and rules that the Gateway API's CustomResourceDefinitions state beside their
 * schemas (patterns, limits of lists, and their validation expressions).
 */
#include <string.h>

#include "apiserver/admit.h"
#include "apiserver/fault.h"
#include "apiserver/hostname.h"
#include "base/ascii.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/h1head.h"
#include "codec/json.h"

enum { RULES_MAX = 16, PARENTS_MAX = 32, MATCHES_MAX = 64, LIST_MAX = 16, VALUE_MAX = 1024 };

/* A place in the object. */
struct place {
    struct faults *faults;
    struct strbuf path;
    bool is_kept; /* admit_is_kept */
};

static size_t enter(struct place *p, const char *list, size_t i)
{
    size_t was = p->path.len;

    strbuf_printf(&p->path, ".%s[%zu]", list, i);
    return was;
}

static void leave(struct place *p, size_t was)
{
    p->path.len = was;
    p->path.p[was] = '\0';
}

static void fault_at(struct place *p, enum fault_kind kind, const char *field, const char *detail)
{
    AUTO(strbuf) struct strbuf at = {0};

    strbuf_printf(&at, "%s%s%s", strbuf_text(&p->path), field[0] != '\0' ? "." : "", field);
    faults_add(p->faults, kind, strbuf_text(&at), detail);
}

/* name NULL: there is none. */
static void check_hostname(struct place *p, const char *field, const char *name,
                           bool may_be_wildcard)
{
    const char *problem = name && !p->is_kept ? hostname_problem(name, may_be_wildcard) : NULL;
    AUTO(strbuf) struct strbuf detail = {0};

    if (problem) {
        strbuf_printf(&detail, "\"%.64s\": %s", name, problem);
        fault_at(p, FAULT_INVALID, field, strbuf_text(&detail));
    }
}

static void check_count(struct place *p, const struct json *o, const char *list, size_t most)
{
    if (json_count(json_get(o, list)) > most) {
        AUTO(strbuf) struct strbuf text = {0};
        strbuf_printf(&text, "must have at most %zu items", most);
        fault_at(p, FAULT_INVALID, list, strbuf_text(&text));
    }
}

/* ---- what matches */

static bool is_path_char(const char *s)
{
    if (s[0] == '%') {
        return ascii_hex_value(s[1]) >= 0 && ascii_hex_value(s[2]) >= 0;
    }
    return ascii_is_alnum(s[0]) || strchr("-_/.~!$&'()*+,;=:@", s[0]) != NULL;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

/* NULL: a path that Exact and PathPrefix can compare with. */
static const char *path_problem(const char *path)
{
    static const char *const inside[] = {"//", "/./", "/../", "%2f", "%2F", "#"};

    if (path[0] != '/') {
        return "value must be an absolute path and start with '/'";
    }
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        if (strstr(path, inside[i])) {
            return "must not contain '//', '/./', '/../', '%2f', '%2F' or '#'";
        }
    }
    if (ends_with(path, "/..") || ends_with(path, "/.")) {
        return "must not end with '/..' or '/.'";
    }
    for (const char *c = path; *c != '\0'; c++) {
        if (!is_path_char(c)) {
            return "must only contain the characters of a URL path; others as %XX";
        }
    }
    return strlen(path) > VALUE_MAX ? "must be no longer than 1024 bytes" : NULL;
}

static void check_path(struct place *p, struct json *match)
{
    struct json *path = json_make_object(match, "path");

    if (json_count(path) == 0) {
        json_set_str(path, "type", "PathPrefix");
        json_set_str(path, "value", "/");
    }
    if (strcmp(json_str_at(path, "type", ""), "RegularExpression") != 0) {
        const char *problem = path_problem(json_str_at(path, "value", ""));
        if (problem) {
            fault_at(p, FAULT_INVALID, "path.value", problem);
        }
    }
}

static bool is_header_name(const char *name)
{
    struct slice s = slice_of(name);

    return h1_is_token(s) && s.len <= 256;
}

static void check_names(struct place *p, const struct json *o, const char *list)
{
    const struct json *all = json_get(o, list);

    check_count(p, o, list, LIST_MAX);
    for (size_t i = 0; i < json_count(all); i++) {
        size_t was = enter(p, list, i);
        if (!is_header_name(json_str_at(json_item(all, i), "name", ""))) {
            fault_at(p, FAULT_INVALID, "name", "must be a token as HTTP header names are");
        }
        leave(p, was);
    }
}

static void default_match(struct json *rule)
{
    struct json *matches = json_make_array(rule, "matches");

    if (json_count(matches) == 0) {
        json_append(matches, json_new_object());
    }
}

static void check_http_matches(struct place *p, struct json *rule)
{
    default_match(rule);
    check_count(p, rule, "matches", MATCHES_MAX);
    struct json *matches = json_get(rule, "matches");
    for (size_t i = 0; i < json_count(matches); i++) {
        size_t was = enter(p, "matches", i);
        check_path(p, json_item(matches, i));
        check_names(p, json_item(matches, i), "headers");
        check_names(p, json_item(matches, i), "queryParams");
        leave(p, was);
    }
}

/* Words joined by dots, or one word. */
static bool is_grpc_name(const char *s, bool dots)
{
    bool start = true;

    for (; *s != '\0'; s++) {
        if (dots && *s == '.' && !start) {
            start = true;
        } else if (ascii_is_letter(*s) || *s == '_' || (!start && ascii_is_digit(*s))) {
            start = false;
        } else {
            return false;
        }
    }
    return !start;
}

static void check_grpc_method(struct place *p, const struct json *match)
{
    const struct json *method = json_get(match, "method");
    const char *service = json_str_at(method, "service", "");
    const char *name = json_str_at(method, "method", "");

    if (!method) {
        return;
    }
    if (service[0] == '\0' && name[0] == '\0') {
        fault_at(p, FAULT_INVALID, "method", "one or both of 'service' or 'method' must be given");
    }
    if (strcmp(json_str_at(method, "type", ""), "RegularExpression") == 0) {
        return;
    }
    if (service[0] != '\0' && !is_grpc_name(service, true)) {
        fault_at(p, FAULT_INVALID, "method.service", "must be words joined by dots");
    }
    if (name[0] != '\0' && !is_grpc_name(name, false)) {
        fault_at(p, FAULT_INVALID, "method.method", "must be one word of letters, digits and _");
    }
}

static void check_grpc_matches(struct place *p, const struct json *rule)
{
    const struct json *matches = json_get(rule, "matches");

    check_count(p, rule, "matches", MATCHES_MAX);
    for (size_t i = 0; i < json_count(matches); i++) {
        size_t was = enter(p, "matches", i);
        check_grpc_method(p, json_item(matches, i));
        check_names(p, json_item(matches, i), "headers");
        leave(p, was);
    }
}

/* ---- filters */

static const struct filter_kind {
    const char *type;
    const char *member;
    bool once;
} filter_kinds[] = {
    {"RequestHeaderModifier", "requestHeaderModifier", true},
    {"ResponseHeaderModifier", "responseHeaderModifier", true},
    {"RequestMirror", "requestMirror", false},
    {"RequestRedirect", "requestRedirect", true},
    {"URLRewrite", "urlRewrite", true},
    {"ExtensionRef", "extensionRef", false},
    {"CORS", "cors", true},
    {"ExternalAuth", "externalAuth", true},
};

static size_t count_type(const struct json *filters, const char *type)
{
    size_t n = 0;

    for (size_t i = 0; i < json_count(filters); i++) {
        n += strcmp(json_str_at(json_item(filters, i), "type", ""), type) == 0;
    }
    return n;
}

static void check_member(struct place *p, const struct json *filter)
{
    const char *type = json_str_at(filter, "type", "");

    for (size_t i = 0; i < ARRAY_LEN(filter_kinds); i++) {
        const struct filter_kind *k = &filter_kinds[i];
        bool is_it = strcmp(type, k->type) == 0;
        bool is_there = json_get(filter, k->member) != NULL;
        if (is_it && !is_there) {
            fault_at(p, FAULT_REQUIRED, k->member, "must be given for this filter.type");
        } else if (!is_it && is_there) {
            fault_at(p, FAULT_INVALID, k->member, "must be absent: filter.type is another");
        }
    }
}

static void check_path_change(struct place *p, const struct json *filter, const char *member)
{
    const struct json *path = json_get(json_get(filter, member), "path");
    bool is_full = strcmp(json_str_at(path, "type", ""), "ReplaceFullPath") == 0;
    AUTO(strbuf) struct strbuf at = {0};

    if (path && (!json_get(path, "replaceFullPath") == is_full ||
                 !json_get(path, "replacePrefixMatch") != is_full)) {
        strbuf_printf(&at, "%s.path", member);
        fault_at(p, FAULT_INVALID, strbuf_text(&at),
                 is_full ? "type ReplaceFullPath asks for replaceFullPath alone"
                         : "type ReplacePrefixMatch asks for replacePrefixMatch alone");
    }
}

static void check_status_code(struct place *p, const struct json *filter)
{
    int64_t code = json_int_at(filter, "requestRedirect.statusCode", 302);

    if (code < 301 || (code > 303 && code != 307 && code != 308)) {
        fault_at(p, FAULT_UNSUPPORTED, "requestRedirect.statusCode",
                 "supported values: 301, 302, 303, 307, 308");
    }
}

static void check_reference(struct place *p, const struct json *ref)
{
    bool is_service = strcmp(json_str_at(ref, "kind", ""), "Service") == 0 &&
                      json_str_at(ref, "group", "")[0] == '\0';

    if (is_service && !json_get(ref, "port")) {
        fault_at(p, FAULT_REQUIRED, "port", "must have port for Service reference");
    }
}

static void check_mirror(struct place *p, const struct json *filter)
{
    const struct json *mirror = json_get(filter, "requestMirror");
    const struct json *fraction = json_get(mirror, "fraction");

    if (!mirror) {
        return;
    }
    if (fraction && json_get(mirror, "percent")) {
        fault_at(p, FAULT_INVALID, "requestMirror",
                 "only one of percent or fraction may be specified");
    }
    if (json_int_at(fraction, "numerator", 0) > json_int_at(fraction, "denominator", 100)) {
        fault_at(p, FAULT_INVALID, "requestMirror.fraction",
                 "numerator must be less than or equal to denominator");
    }
    size_t was = p->path.len;
    strbuf_puts(&p->path, ".requestMirror.backendRef");
    check_reference(p, json_get(mirror, "backendRef"));
    leave(p, was);
}

static void check_header_change(struct place *p, const struct json *filter, const char *member)
{
    const struct json *change = json_get(filter, member);
    size_t was = p->path.len;

    if (change) {
        strbuf_printf(&p->path, ".%s", member);
        check_names(p, change, "set");
        check_names(p, change, "add");
        leave(p, was);
    }
}

static void check_filter(struct place *p, const struct json *filter)
{
    check_member(p, filter);
    check_header_change(p, filter, "requestHeaderModifier");
    check_header_change(p, filter, "responseHeaderModifier");
    check_path_change(p, filter, "requestRedirect");
    check_path_change(p, filter, "urlRewrite");
    check_hostname(p, "requestRedirect.hostname",
                   json_str_at(filter, "requestRedirect.hostname", NULL), false);
    check_hostname(p, "urlRewrite.hostname", json_str_at(filter, "urlRewrite.hostname", NULL),
                   false);
    check_status_code(p, filter);
    check_mirror(p, filter);
}

static void check_filters(struct place *p, const struct json *o)
{
    const struct json *filters = json_get(o, "filters");
    AUTO(strbuf) struct strbuf text = {0};

    check_count(p, o, "filters", LIST_MAX);
    for (size_t i = 0; i < ARRAY_LEN(filter_kinds); i++) {
        if (filter_kinds[i].once && count_type(filters, filter_kinds[i].type) > 1) {
            strbuf_clear(&text);
            strbuf_printf(&text, "%s filter cannot be repeated", filter_kinds[i].type);
            fault_at(p, FAULT_INVALID, "filters", strbuf_text(&text));
        }
    }
    if (count_type(filters, "RequestRedirect") > 0 && count_type(filters, "URLRewrite") > 0) {
        fault_at(p, FAULT_INVALID, "filters",
                 "may specify either RequestRedirect or URLRewrite, but not both");
    }
    for (size_t i = 0; i < json_count(filters); i++) {
        size_t was = enter(p, "filters", i);
        check_filter(p, json_item(filters, i));
        leave(p, was);
    }
}

/* ---- rules */

static void check_backends(struct place *p, const struct json *rule)
{
    const struct json *refs = json_get(rule, "backendRefs");

    check_count(p, rule, "backendRefs", LIST_MAX);
    for (size_t i = 0; i < json_count(refs); i++) {
        size_t was = enter(p, "backendRefs", i);
        check_reference(p, json_item(refs, i));
        check_filters(p, json_item(refs, i));
        leave(p, was);
    }
    if (json_count(refs) > 0 && count_type(json_get(rule, "filters"), "RequestRedirect") > 0) {
        fault_at(p, FAULT_INVALID, "filters",
                 "RequestRedirect filter must not be used together with backendRefs");
    }
}

/* GEP-2257: at most four parts, units h, m, s, ms, five digits each. */
static int gateway_duration(const char *s, uint64_t *ms)
{
    size_t digits = 0;
    size_t parts = 0;

    for (const char *c = s; *c != '\0'; c++) {
        bool is_digit = ascii_is_digit(*c);
        parts += is_digit && digits == 0;
        digits = is_digit ? digits + 1 : 0;
        if (digits > 5 || parts > 4) {
            return -ERR_SYNTAX;
        }
    }
    return digits > 0 ? -ERR_SYNTAX : num_parse_duration_ms(s, strlen(s), ms); /* a unit ends it */
}

static uint64_t check_duration(struct place *p, const struct json *rule, const char *path)
{
    const char *text = json_str_at(rule, path, NULL);
    uint64_t ms = 0;

    if (text && gateway_duration(text, &ms) < 0) {
        fault_at(p, FAULT_INVALID, path, "must be a duration such as 10s, 1m30s or 250ms");
    }
    return ms;
}

static void check_times(struct place *p, const struct json *rule)
{
    uint64_t request = check_duration(p, rule, "timeouts.request");
    uint64_t backend = check_duration(p, rule, "timeouts.backendRequest");

    if (request > 0 && backend > request) {
        fault_at(p, FAULT_INVALID, "timeouts",
                 "backendRequest timeout cannot be longer than request timeout");
    }
    (void)check_duration(p, rule, "retry.backoff"); /* any is good */
}

static bool replaces_prefix(const struct json *rule)
{
    const struct json *filters = json_get(rule, "filters");

    for (size_t i = 0; i < json_count(filters); i++) {
        if (json_at(json_item(filters, i), "requestRedirect.path.replacePrefixMatch") ||
            json_at(json_item(filters, i), "urlRewrite.path.replacePrefixMatch")) {
            return true;
        }
    }
    return false;
}

static void check_prefix_change(struct place *p, const struct json *rule)
{
    const struct json *matches = json_get(rule, "matches");

    if (replaces_prefix(rule) &&
        (json_count(matches) != 1 ||
         strcmp(json_str_at(json_item(matches, 0), "path.type", ""), "PathPrefix") != 0)) {
        fault_at(p, FAULT_INVALID, "filters",
                 "path.replacePrefixMatch asks for exactly one match, of type PathPrefix");
    }
}

static void check_http_rule(struct place *p, struct json *rule)
{
    check_http_matches(p, rule);
    check_filters(p, rule);
    check_backends(p, rule);
    check_prefix_change(p, rule);
    check_times(p, rule);
}

static void check_grpc_rule(struct place *p, struct json *rule)
{
    check_grpc_matches(p, rule);
    check_filters(p, rule);
    check_backends(p, rule);
}

static void check_tcp_rule(struct place *p, struct json *rule)
{
    if (json_count(json_get(rule, "backendRefs")) == 0) {
        fault_at(p, FAULT_REQUIRED, "backendRefs", "must have at least one item");
    }
    check_backends(p, rule);
}

static void check_names_once(struct place *p, const struct json *rules)
{
    for (size_t i = 0; i < json_count(rules); i++) {
        const char *name = json_str_at(json_item(rules, i), "name", "");
        for (size_t k = 0; k < i && name[0] != '\0'; k++) {
            if (strcmp(name, json_str_at(json_item(rules, k), "name", "")) == 0) {
                size_t was = enter(p, "rules", i);
                fault_at(p, FAULT_DUPLICATE, "name", "rule name must be unique within the route");
                leave(p, was);
            }
        }
    }
}

static void check_hostnames(struct place *p, const struct json *spec)
{
    const struct json *all = json_get(spec, "hostnames");

    check_count(p, spec, "hostnames", LIST_MAX);
    for (size_t i = 0; i < json_count(all); i++) {
        size_t was = enter(p, "hostnames", i);
        check_hostname(p, "", json_str(json_item(all, i), ""), true);
        leave(p, was);
    }
}

static void check_route(struct admission *a, void (*check)(struct place *p, struct json *rule))
{
    struct json *spec = json_make_object(a->object, "spec");
    struct place p = {.faults = a->faults, .is_kept = admit_is_kept(a)};

    strbuf_puts(&p.path, "spec");
    check_count(&p, spec, "parentRefs", PARENTS_MAX);
    check_hostnames(&p, spec);
    check_count(&p, spec, "rules", RULES_MAX);
    struct json *rules = json_get(spec, "rules");
    check_names_once(&p, rules);
    for (size_t i = 0; i < json_count(rules); i++) {
        size_t was = enter(&p, "rules", i);
        check(&p, json_item(rules, i));
        leave(&p, was);
    }
    strbuf_fini(&p.path);
}

void admit_http_route(struct admission *a)
{
    struct json *spec = json_make_object(a->object, "spec");

    if (!json_get(spec, "rules")) {
        json_append(json_make_array(spec, "rules"), json_new_object());
    }
    check_route(a, check_http_rule);
}

void admit_grpc_route(struct admission *a)
{
    check_route(a, check_grpc_rule);
}

void admit_tcp_route(struct admission *a)
{
    check_route(a, check_tcp_rule);
}
