/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/namespace.h"
#include "apiserver/object.h"
#include "apiserver/openapi.h"
#include "apiserver/render.h"
#include "apiserver/schema.h"
#include "apiserver/schemas_int.h"
#include "apiserver/store.h"
#include "apiserver/table.h"
#include "apiserver/token.h"
#include "apiserver/watch.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/xxh64.h"
#include "codec/json.h"
#include "codec/url.h"

/* What stands beside the fields of each kind. */
static const char common_schema[] = "kind apiVersion " SCHEMA_METADATA " ";

static int load_schemas(struct api *a, struct diag *why)
{
    for (size_t i = 0; i < kind_count; i++) {
        AUTO(strbuf) struct strbuf text = {0};
        strbuf_puts(&text, common_schema);
        strbuf_puts(&text, kind_list[i].schema);
        int r = schema_parse(strbuf_text(&text), why, &a->schemas[i]);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int api_new(struct store *store, const struct api_config *config, struct diag *why,
            struct api **out)
{
    AUTO(api) struct api *a = mem_new(struct api);

    a->store = store;
    a->config = *config;
    a->schemas = mem_array(kind_count, sizeof(struct schema *));
    int r = load_schemas(a, why);
    if (r < 0) {
        return r;
    }
    *out = MOVE(a);
    return 0;
}

void api_free(struct api *a)
{
    if (!a) {
        return;
    }
    for (size_t i = 0; i < kind_count; i++) {
        schema_free(a->schemas[i]);
    }
    mem_free(a->schemas);
    openapi_pages_free(a->pages);
    mem_free(a);
}

struct store *api_store(struct api *a)
{
    return a->store;
}

void api_response_fini(struct api_response *out)
{
    strbuf_fini(&out->body);
    for (size_t i = 0; i < out->warning_count; i++) {
        mem_free(out->warnings[i]);
    }
    out->warning_count = 0;
    watch_free(out->watch);
    out->watch = NULL;
}

/* ---- means to answer */

int64_t call_now_s(const struct call *c)
{
    return (int64_t)(c->rq->now_ns / 1000000000u);
}

const struct schema *call_schema(const struct call *c)
{
    return c->api->schemas[kind_index(c->kind)];
}

struct slice call_header(const struct call *c, const char *name)
{
    for (size_t i = 0; i < c->rq->header_count; i++) {
        const struct api_header *h = &c->rq->headers[i];
        if (slice_is_any_case(h->name, name)) {
            return h->value;
        }
    }
    return (struct slice){"", 0};
}

bool call_is_method(const struct call *c, const char *method)
{
    return slice_is(c->rq->method, method);
}

void call_warn(struct call *c, const char *text)
{
    if (c->out->warning_count < API_WARNINGS_MAX) {
        c->out->warnings[c->out->warning_count++] = mem_strdup(text);
    }
}

void call_answer(struct call *c, unsigned code, const struct json *body)
{
    c->out->status = code;
    c->out->content_type = "application/json";
    strbuf_clear(&c->out->body);
    json_print(body, c->q.pretty ? JSON_PRINT_INDENT : 0, &c->out->body);
    strbuf_putc(&c->out->body, '\n');
}

void call_tag(struct call *c)
{
    struct api_response *out = c->out;

    (void)snprintf(out->etag, sizeof(out->etag), "\"%016" PRIX64 "\"",
                   xxh64(out->body.p, out->body.len)); /* fits */
    if (slice_is(call_header(c, "if-none-match"), out->etag)) {
        out->status = 304;
        strbuf_clear(&out->body);
    }
}

void call_answer_object(struct call *c, unsigned code, const struct object *o)
{
    c->out->status = code;
    c->out->content_type = "application/json";
    c->out->rests_on = MAX_OF(c->out->rests_on, o->rv);
    if (c->form == FORM_TABLE) {
        AUTO(json) struct json *table = table_new(c->kind, true);
        table_add(table, o, c->version, c->q.include_object, call_now_s(c));
        table_set_version(table, o->rv);
        call_answer(c, code, table);
        return;
    }
    if (c->form == FORM_METADATA) {
        render_metadata(&c->out->body, o);
    } else {
        render_object(&c->out->body, o, c->version);
    }
    strbuf_putc(&c->out->body, '\n');
}

int call_refuse_status(struct call *c, struct json *take_status)
{
    call_answer(c, (unsigned)json_int_at(take_status, "code", 500), take_status);
    json_unref(take_status);
    return -ERR_HTTP_STATUS;
}

int call_refuse(struct call *c, unsigned code, const char *reason, const char *fmt, ...)
{
    AUTO(strbuf) struct strbuf text = {.limit = 4096};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&text, fmt, ap);
    va_end(ap);
    return call_refuse_status(c, api_status_failure(code, reason, strbuf_text(&text)));
}

int call_refuse_faults(struct call *c, const char *name, const struct faults *f)
{
    return call_refuse_status(c, api_status_invalid(c->kind->group, c->kind->name, name, f));
}

int call_refuse_options(struct call *c, const char *options, const struct faults *f)
{
    return call_refuse_status(c, api_status_invalid("meta.k8s.io", options, "", f));
}

int call_not_found(struct call *c, const struct kind *kind, const char *name)
{
    AUTO(strbuf) struct strbuf text = {0};

    kind_resource(kind, &text);
    strbuf_printf(&text, " \"%s\" not found", name);
    struct json *s = api_status_failure(404, "NotFound", strbuf_text(&text));
    api_status_about(s, kind, name);
    return call_refuse_status(c, s);
}

int call_not_allowed(struct call *c)
{
    struct json *s = api_status_failure(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource");

    json_set(s, "details", json_new_object());
    return call_refuse_status(c, s);
}

/* ---- taking a request apart */

static int split_path(struct call *c, struct slice path)
{
    struct slice part;
    bool more = true;
    size_t starts[CALL_SEGMENTS];

    if (path.len > API_PATH_BYTES) {
        return call_refuse(c, 414, NULL, "the path is longer than %d bytes", API_PATH_BYTES);
    }
    while (more) {
        more = slice_cut(path, '/', &part, &path);
        if (part.len == 0) {
            continue;
        }
        if (c->segment_count == CALL_SEGMENTS) {
            return call_refuse(c, 404, "NotFound",
                               "the server could not find the requested resource");
        }
        starts[c->segment_count++] = c->path.len;
        if (url_decode(&c->path, part, URL_PATH) < 0) {
            return call_refuse(c, 400, "BadRequest", "the path does not decode");
        }
        strbuf_putc(&c->path, '\0');
    }
    for (size_t i = 0; i < c->segment_count; i++) {
        c->segments[i] = c->path.p + starts[i];
    }
    return 0;
}

static const char *segment(const struct call *c, size_t i)
{
    return i < c->segment_count ? c->segments[i] : "";
}

static int no_such_resource(struct call *c, bool is_builtin)
{
    if (is_builtin) {
        struct json *s =
            api_status_failure(404, "NotFound", "the server could not find the requested resource");
        json_set(s, "details", json_new_object());
        return call_refuse_status(c, s);
    }
    c->out->status = 404;
    c->out->content_type = "text/plain; charset=utf-8";
    strbuf_puts(&c->out->body, "404 page not found\n");
    return -ERR_HTTP_STATUS;
}

static bool is_builtin_group(const char *group)
{
    for (size_t i = 0; i < kind_count; i++) {
        if (strcmp(kind_list[i].group, group) == 0) {
            return !kind_is(&kind_list[i], KIND_CUSTOM);
        }
    }
    return false;
}

/* /api/v1/... or /apis/GROUP/VERSION/..., at segment i; namespaces/NS/ before the resource is optional. */
static int find_resource(struct call *c)
{
    bool is_core = strcmp(segment(c, 0), "api") == 0;
    const char *group = is_core ? "" : segment(c, 1);
    const char *version = segment(c, is_core ? 1 : 2);
    size_t i = is_core ? 2 : 3;

    if (strcmp(segment(c, i), "watch") == 0) {
        c->is_watch = true;
        i++;
    }
    bool in_namespace = strcmp(segment(c, i), "namespaces") == 0 && segment(c, i + 2)[0] != '\0' &&
                        !(is_core && strcmp(segment(c, i + 2), "status") == 0) &&
                        !(is_core && strcmp(segment(c, i + 2), "finalize") == 0);
    c->ns = in_namespace ? segment(c, i + 1) : "";
    i += in_namespace ? 2 : 0;
    c->kind = kind_find(slice_of(group), slice_of(version), slice_of(segment(c, i)));
    c->name = segment(c, i + 1);
    c->sub = segment(c, i + 2);
    if (!c->kind || segment(c, i + 3)[0] != '\0') {
        return no_such_resource(c, is_builtin_group(group));
    }
    if (kind_is(c->kind, KIND_NAMESPACED) != in_namespace && (in_namespace || c->name[0] != '\0')) {
        return no_such_resource(c, !kind_is(c->kind, KIND_CUSTOM));
    }
    c->version = kind_version(c->kind, slice_of(version));
    return 0;
}

static int choose_form(struct call *c)
{
    unsigned offered = FORM_OBJECT;
    int r = 0;

    if (call_is_method(c, "GET") && c->kind) {
        offered |= FORM_TABLE | FORM_METADATA;
    }
    r = accept_choose(call_header(c, "accept"), offered, &c->form);
    if (r == -ERR_VERSION && !call_is_method(c, "GET")) {
        c->form = FORM_OBJECT; /* what a write answers has one form only */
        r = 0;
    }
    if (r < 0) {
        return call_refuse(c, 406, "NotAcceptable",
                           "only the following media types are accepted: application/json");
    }
    return 0;
}

/* ---- verbs */

/* What a kubelet answers, and there is none. */
static int no_kubelet(struct call *c)
{
    return call_refuse(c, 404, "NotFound",
                       "pods/%s is a kubelet's, and this API server has none: `ambit ps -o wide` "
                       "names the file that the output of a workload goes to",
                       c->sub);
}

static int no_scale(struct call *c)
{
    return call_refuse(c, 404, "NotFound",
                       "%s/scale is not served here, and nothing makes pods of them: `ambit run` "
                       "starts a workload",
                       c->kind->plural);
}

static int known_subresource(struct call *c)
{
    static const char of_kubelets[] = "log exec attach portforward proxy";
    bool is_account = strcmp(c->kind->plural, "serviceaccounts") == 0;

    if (c->sub[0] == '\0' || (strcmp(c->sub, "status") == 0 && kind_is(c->kind, KIND_STATUS)) ||
        (strcmp(c->sub, "token") == 0 && is_account)) {
        return 0;
    }
    if (strcmp(c->kind->plural, "deployments") == 0 && strcmp(c->sub, "scale") == 0) {
        return no_scale(c);
    }
    return strcmp(c->kind->plural, "pods") == 0 &&
                   slice_has_word(slice_of(of_kubelets), ' ', c->sub)
               ? no_kubelet(c)
               : no_such_resource(c, !kind_is(c->kind, KIND_CUSTOM));
}

static int call_token(struct call *c)
{
    if (!call_is_method(c, "POST")) {
        return call_not_allowed(c);
    }
    return review_token_request(c);
}

static int call_named(struct call *c)
{
    static const struct {
        const char *method;
        int (*run)(struct call *c);
    } verbs[] = {{"GET", read_object},
                 {"PUT", write_update},
                 {"PATCH", write_patch},
                 {"DELETE", write_delete}};

    if (strcmp(c->sub, "token") == 0) {
        return call_token(c);
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (call_is_method(c, verbs[i].method) &&
            (c->sub[0] == '\0' || verbs[i].run != write_delete)) {
            return verbs[i].run(c);
        }
    }
    return call_not_allowed(c);
}

static int call_collection(struct call *c)
{
    bool whole = c->ns[0] != '\0' || !kind_is(c->kind, KIND_NAMESPACED);

    if (kind_is(c->kind, KIND_CREATE_ONLY)) {
        return call_is_method(c, "POST") ? review_create(c) : call_not_allowed(c);
    }
    if (call_is_method(c, "GET")) {
        return c->is_watch || c->q.watch ? read_watch(c) : read_list(c);
    }
    if (call_is_method(c, "POST") && whole) {
        return write_create(c);
    }
    if (call_is_method(c, "DELETE") && whole) {
        return write_delete_many(c);
    }
    return call_not_allowed(c);
}

static int unauthorized(struct call *c)
{
    return call_refuse(c, 401, "Unauthorized", "Unauthorized");
}

static int route(struct call *c)
{
    struct diag why = {0};
    struct slice path;
    struct slice query;

    url_split(c->rq->target, &path, &query);
    int r = split_path(c, path);
    if (r < 0) {
        return r;
    }
    if (query_parse(query, &why, &c->q) < 0) {
        return call_refuse(c, 400, "BadRequest", "%s", why.text);
    }
    if (discovery_owns(c)) {
        return discovery_answer(c);
    }
    if (c->rq->user->is_anonymous) {
        return unauthorized(c);
    }
    if (call_header(c, "impersonate-user").len > 0) {
        return call_refuse(c, 403, "Forbidden", "acting as another user is not supported");
    }
    r = find_resource(c);
    if (r == 0) {
        r = choose_form(c);
    }
    if (r == 0) {
        r = known_subresource(c);
    }
    if (r < 0) {
        return r;
    }
    if (c->is_watch || (c->q.watch && c->name[0] == '\0')) {
        return call_is_method(c, "GET") ? read_watch(c) : call_not_allowed(c);
    }
    return c->name[0] != '\0' ? call_named(c) : call_collection(c);
}

static int too_large(struct call *c)
{
    return call_refuse(c, 413, "RequestEntityTooLarge", "Request entity too large: limit is %d",
                       API_BODY_BYTES);
}

void api_refuse_large(struct api *a, struct api_response *out)
{
    struct call c = {.api = a, .out = out};

    (void)too_large(&c); /* it stands in out */
}

static const char *reason_of(unsigned code)
{
    static const struct {
        unsigned code;
        const char *reason;
    } rows[] = {{400, "BadRequest"},
                {401, "Unauthorized"},
                {403, "Forbidden"},
                {404, "NotFound"},
                {413, "RequestEntityTooLarge"},
                {429, "TooManyRequests"},
                {503, "ServiceUnavailable"},
                {504, "Timeout"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].code == code) {
            return rows[i].reason;
        }
    }
    return "InternalError";
}

void api_refuse(struct api *a, unsigned code, const char *text, struct api_response *out)
{
    struct call c = {.api = a, .out = out};

    (void)call_refuse(&c, code, reason_of(code), "%s", text); /* it stands in out */
}

void api_refuse_late(struct api *a, struct api_response *out)
{
    struct call c = {.api = a, .out = out};

    api_response_fini(out);
    *out = (struct api_response){.retry_after_s = 1};
    (void)call_refuse(
        &c, 504, "Timeout",
        "the data folder takes no changes (is the disk full?), and the answer rests on one "
        "that may or may not get there");
}

void api_handle(struct api *a, const struct api_request *rq, struct api_response *out)
{
    struct call c = {.api = a, .rq = rq, .out = out, .ns = "", .name = "", .sub = ""};

    if (rq->body.len > API_BODY_BYTES) {
        (void)too_large(&c); /* it stands in out */
    } else {
        (void)route(&c); /* whatever it says stands in out */
    }
    query_fini(&c.q);
    strbuf_fini(&c.path);
}

void api_tick(struct api *a, uint64_t now_ns)
{
    int64_t now_s = (int64_t)(now_ns / 1000000000u);

    namespace_sweep(a, now_s);
    token_expire(a, now_s);
}
