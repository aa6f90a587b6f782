/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that are no resources: what is served (both forms of discovery, OpenAPI), health, version. */
#include <string.h>

#include "apiserver/call_int.h"
#include "codec/json.h"

/* The verbs of what is stored, in the order in which Kubernetes lists them. */
static const char *const stored_verbs[] = {"create", "delete", "deletecollection", "get",
                                           "list",   "patch",  "update",           "watch"};
static const char *const status_verbs[] = {"get", "patch", "update"};

static const char *segment(const struct call *c, size_t i)
{
    return i < c->segment_count ? c->segments[i] : "";
}

static bool is_api(const struct call *c)
{
    return strcmp(segment(c, 0), "api") == 0;
}

static bool is_apis(const struct call *c)
{
    return strcmp(segment(c, 0), "apis") == 0;
}

bool discovery_owns(const struct call *c)
{
    return !(is_api(c) && c->segment_count > 2) && !(is_apis(c) && c->segment_count > 3);
}

static void append_words(struct json *list, const char *words)
{
    struct slice part;
    struct slice rest = slice_of(words);
    bool more = rest.len > 0;

    while (more) {
        more = slice_cut(rest, ',', &part, &rest);
        json_append(list, json_new_strn(part.p, part.len));
    }
}

static struct json *verb_list(const struct kind *k, bool is_status)
{
    struct json *verbs = json_new_array();
    const char *const *from = is_status ? status_verbs : stored_verbs;
    size_t n = is_status ? ARRAY_LEN(status_verbs) : ARRAY_LEN(stored_verbs);

    if (kind_is(k, KIND_CREATE_ONLY)) {
        n = 1; /* create is the first */
    }
    for (size_t i = 0; i < n; i++) {
        json_append_str(verbs, from[i]);
    }
    return verbs;
}

static bool is_served(const struct kind *k)
{
    return !kind_is(k, KIND_INTERNAL);
}

static bool in_group(const struct kind *k, const char *group)
{
    return is_served(k) && strcmp(k->group, group) == 0;
}

/* The first kind of each group stands for the group. */
static bool is_first_of_group(size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (in_group(&kind_list[j], kind_list[i].group)) {
            return false;
        }
    }
    return is_served(&kind_list[i]) && kind_list[i].group[0] != '\0';
}

/* ---- the old form: a request a group version */

static struct json *legacy_resource(const struct kind *k, const char *suffix)
{
    struct json *r = json_new_object();
    AUTO(strbuf) struct strbuf name = {0};
    bool is_sub = suffix[0] != '\0';

    strbuf_printf(&name, "%s%s", k->plural, suffix);
    json_set_str(r, "name", strbuf_text(&name));
    json_set_str(r, "singularName", is_sub ? "" : k->singular);
    json_set_bool(r, "namespaced", kind_is(k, KIND_NAMESPACED));
    json_set_str(r, "kind", k->name);
    json_set(r, "verbs", verb_list(k, is_sub));
    if (!is_sub && k->short_names) {
        append_words(json_make_array(r, "shortNames"), k->short_names);
    }
    if (!is_sub && k->categories) {
        append_words(json_make_array(r, "categories"), k->categories);
    }
    return r;
}

static struct json *legacy_token(void)
{
    struct json *r = json_new_object();

    json_set_str(r, "name", "serviceaccounts/token");
    json_set_str(r, "singularName", "");
    json_set_bool(r, "namespaced", true);
    json_set_str(r, "group", "authentication.k8s.io");
    json_set_str(r, "version", "v1");
    json_set_str(r, "kind", "TokenRequest");
    json_append_str(json_make_array(r, "verbs"), "create");
    return r;
}

static bool has_token(const struct kind *k)
{
    return strcmp(k->name, "ServiceAccount") == 0 && k->group[0] == '\0';
}

static struct json *legacy_resources(const char *group, const char *version)
{
    struct json *list = json_new_array();

    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        if (!in_group(k, group) || !kind_version(k, slice_of(version))) {
            continue;
        }
        json_append(list, legacy_resource(k, ""));
        if (kind_is(k, KIND_STATUS)) {
            json_append(list, legacy_resource(k, "/status"));
        }
        if (has_token(k)) {
            json_append(list, legacy_token());
        }
    }
    return list;
}

static struct json *group_version(const char *group, const char *version)
{
    struct json *v = json_new_object();
    AUTO(strbuf) struct strbuf both = {0};

    strbuf_printf(&both, "%s/%s", group, version);
    json_set_str(v, "groupVersion", strbuf_text(&both));
    json_set_str(v, "version", version);
    return v;
}

static struct json *legacy_group(const struct kind *k)
{
    struct json *g = json_new_object();
    struct json *versions = json_new_array();
    const char *names[KIND_GROUP_VERSIONS];
    size_t n = kind_group_versions(k->group, names);

    json_set_str(g, "name", k->group);
    for (size_t i = 0; i < n; i++) {
        json_append(versions, group_version(k->group, names[i]));
    }
    json_set(g, "versions", versions);
    json_set(g, "preferredVersion", group_version(k->group, names[0]));
    return g;
}

static struct json *typed(const char *kind, const char *api_version)
{
    struct json *o = json_new_object();

    json_set_str(o, "kind", kind);
    json_set_str(o, "apiVersion", api_version);
    return o;
}

static struct json *legacy_api(void)
{
    struct json *o = json_new_object();
    struct json *address = json_new_object();

    json_set_str(o, "kind", "APIVersions");
    json_append_str(json_make_array(o, "versions"), "v1");
    json_set_str(address, "clientCIDR", "0.0.0.0/0");
    json_set_str(address, "serverAddress", "");
    json_append(json_make_array(o, "serverAddressByClientCIDRs"), address);
    return o;
}

static struct json *legacy_groups(void)
{
    struct json *o = typed("APIGroupList", "v1");
    struct json *groups = json_make_array(o, "groups");

    for (size_t i = 0; i < kind_count; i++) {
        if (is_first_of_group(i)) {
            json_append(groups, legacy_group(&kind_list[i]));
        }
    }
    return o;
}

/* ---- the aggregated form: everything at once */

static struct json *response_kind(const char *group, const char *version, const char *kind)
{
    struct json *k = json_new_object();

    json_set_str(k, "group", group);
    json_set_str(k, "version", version);
    json_set_str(k, "kind", kind);
    return k;
}

static struct json *subresource(const char *name, struct json *take_kind, struct json *take_verbs)
{
    struct json *s = json_new_object();

    json_set_str(s, "subresource", name);
    json_set(s, "responseKind", take_kind);
    json_set(s, "verbs", take_verbs);
    return s;
}

static void add_subresources(struct json *resource, const struct kind *k, const char *version)
{
    if (kind_is(k, KIND_STATUS)) {
        json_append(
            json_make_array(resource, "subresources"),
            subresource("status", response_kind(k->group, version, k->name), verb_list(k, true)));
    }
    if (has_token(k)) {
        struct json *verbs = json_new_array();
        json_append_str(verbs, "create");
        json_append(json_make_array(resource, "subresources"),
                    subresource("token",
                                response_kind("authentication.k8s.io", "v1", "TokenRequest"),
                                verbs));
    }
}

static struct json *aggregated_resource(const struct kind *k, const char *version)
{
    struct json *r = json_new_object();

    json_set_str(r, "resource", k->plural);
    json_set(r, "responseKind", response_kind(k->group, version, k->name));
    json_set_str(r, "scope", kind_is(k, KIND_NAMESPACED) ? "Namespaced" : "Cluster");
    json_set_str(r, "singularResource", k->singular);
    json_set(r, "verbs", verb_list(k, false));
    if (k->short_names) {
        append_words(json_make_array(r, "shortNames"), k->short_names);
    }
    if (k->categories) {
        append_words(json_make_array(r, "categories"), k->categories);
    }
    add_subresources(r, k, version);
    return r;
}

static struct json *aggregated_version(const char *group, const char *version)
{
    struct json *v = json_new_object();
    struct json *resources = json_new_array();

    for (size_t i = 0; i < kind_count; i++) {
        if (in_group(&kind_list[i], group) && kind_version(&kind_list[i], slice_of(version))) {
            json_append(resources, aggregated_resource(&kind_list[i], version));
        }
    }
    json_set_str(v, "version", version);
    json_set(v, "resources", resources);
    json_set_str(v, "freshness", "Current");
    return v;
}

static struct json *aggregated_group(const struct kind *k)
{
    struct json *g = json_new_object();
    struct json *meta = json_make_object(g, "metadata");
    const char *names[KIND_GROUP_VERSIONS];
    size_t n = kind_group_versions(k->group, names);

    if (k->group[0] != '\0') {
        json_set_str(meta, "name", k->group);
    }
    for (size_t i = 0; i < n; i++) {
        json_append(json_make_array(g, "versions"), aggregated_version(k->group, names[i]));
    }
    return g;
}

static struct json *aggregated(bool is_core)
{
    struct json *o = typed("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2");
    struct json *items = json_new_array();

    json_set(o, "metadata", json_new_object());
    for (size_t i = 0; i < kind_count; i++) {
        if (is_core ? i == 0 : is_first_of_group(i)) { /* the first kind of all is a core one */
            json_append(items, aggregated_group(&kind_list[i]));
        }
    }
    json_set(o, "items", items);
    return o;
}

static int answer_aggregated(struct call *c)
{
    AUTO(json) struct json *body = aggregated(is_api(c));

    call_answer(c, 200, body);
    c->out->content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    call_tag(c);
    return 0;
}

/* ---- all of them */

static int answer_text(struct call *c, unsigned code, const char *text)
{
    c->out->status = code;
    c->out->content_type = "text/plain; charset=utf-8";
    strbuf_puts(&c->out->body, text);
    return 0;
}

static int answer_take(struct call *c, struct json *take_body)
{
    call_answer(c, 200, take_body);
    json_unref(take_body);
    return 0;
}

static int answer_version(struct call *c)
{
    struct json *v = json_new_object();

    json_set_str(v, "major", "1");
    json_set_str(v, "minor", "35");
    json_set_str(v, "gitVersion", "v1.35.0+ambit." AMBIT_VERSION);
    json_set_str(v, "gitCommit", "");
    json_set_str(v, "gitTreeState", "");
    json_set_str(v, "buildDate", "1970-01-01T00:00:00Z");
    json_set_str(v, "goVersion", "");
    json_set_str(v, "compiler", "");
    json_set_str(v, "platform", "linux");
    return answer_take(c, v);
}

static int answer_root(struct call *c)
{
    struct json *o = json_new_object();
    struct json *paths = json_make_array(o, "paths");
    static const char *const fixed[] = {"/api",        "/api/v1",     "/apis",
                                        "/healthz",    "/livez",      "/readyz",
                                        "/openapi/v2", "/openapi/v3", "/version"};

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        json_append_str(paths, fixed[i]);
    }
    return answer_take(c, o);
}

/* With that version; "" = any. */
static const struct kind *kind_of_group(const char *group, const char *version)
{
    for (size_t i = 0; i < kind_count; i++) {
        if (in_group(&kind_list[i], group) &&
            (version[0] == '\0' || kind_version(&kind_list[i], slice_of(version)))) {
            return &kind_list[i];
        }
    }
    return NULL;
}

/* /apis/GROUP and /apis/GROUP/VERSION, /api/v1. */
static int answer_group(struct call *c)
{
    const char *group = is_api(c) ? "" : segment(c, 1);
    const char *version = segment(c, is_api(c) ? 1 : 2);
    const struct kind *k = kind_of_group(group, version);

    if (!k) {
        return answer_text(c, 404, "404 page not found\n");
    }
    if (version[0] == '\0') {
        struct json *g = legacy_group(k);
        json_set_str(g, "kind", "APIGroup");
        json_set_str(g, "apiVersion", "v1");
        return answer_take(c, g);
    }
    AUTO(strbuf) struct strbuf api_version = {0};
    kind_api_version(k, version, &api_version);
    struct json *o = typed("APIResourceList", "v1");
    json_set_str(o, "groupVersion", strbuf_text(&api_version));
    json_set(o, "resources", legacy_resources(group, version));
    return answer_take(c, o);
}

static int answer_discovery(struct call *c)
{
    enum form form = FORM_OBJECT;
    int r = accept_choose(call_header(c, "accept"), FORM_DISCOVERY, &form);

    if (r < 0) {
        return call_refuse(c, 406, "NotAcceptable",
                           "only the following media types are accepted: application/json");
    }
    if (c->segment_count > 1) {
        return answer_group(c);
    }
    if (form == FORM_DISCOVERY) {
        return answer_aggregated(c);
    }
    return answer_take(c, is_api(c) ? legacy_api() : legacy_groups());
}

static bool is_open_path(const char *first)
{
    static const char *const open[] = {"healthz", "livez", "readyz", "version"};

    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        if (strcmp(open[i], first) == 0) {
            return true;
        }
    }
    return false;
}

int discovery_answer(struct call *c)
{
    const char *first = segment(c, 0);

    if (!is_open_path(first) && c->rq->user->is_anonymous) {
        return call_refuse(c, 401, "Unauthorized", "Unauthorized");
    }
    if (!call_is_method(c, "GET") && !call_is_method(c, "HEAD")) {
        return call_not_allowed(c);
    }
    if (strcmp(first, "version") == 0) {
        return answer_version(c);
    }
    if (is_open_path(first)) {
        return answer_text(c, 200, "ok");
    }
    if (is_api(c) || is_apis(c)) {
        return answer_discovery(c);
    }
    if (strcmp(first, "openapi") == 0) {
        return openapi_answer(c);
    }
    return c->segment_count == 0 ? answer_root(c) : answer_text(c, 404, "404 page not found\n");
}
