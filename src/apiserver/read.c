/* SPDX-License-Identifier: Apache-2.0 */
/* GET: one object, a list, a watch. */
#include <inttypes.h>
#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/fault.h"
#include "apiserver/object.h"
#include "apiserver/render.h"
#include "apiserver/selector.h"
#include "apiserver/store.h"
#include "apiserver/table.h"
#include "apiserver/watch.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/base64.h"
#include "codec/json.h"

enum { TOKEN_BYTES = 1024, LIST_BYTES = 256 << 20 };

int read_object(struct call *c)
{
    int r = permit_check(c, "get");

    if (r < 0) {
        return r;
    }
    const struct object *o = store_find(c->api->store, c->kind, c->ns, c->name);
    if (!o) {
        c->out->rests_on = store_rv(c->api->store);
        return call_not_found(c, c->kind, c->name);
    }
    AUTO(json) struct json *whole = object_parse(o, c->version);
    r = permit_check_object(c, "get", whole);
    if (r < 0) {
        return r;
    }
    call_answer_object(c, 200, o);
    return 0;
}

/* ---- what lists and watches have in common */

struct selection {
    struct selector *labels;
    struct selector *fields;
    uint64_t rv; /* of the query; 0 when absent or 0 */
    bool has_rv;
};

static void selection_fini(struct selection *s)
{
    selector_free(s->labels);
    selector_free(s->fields);
    s->labels = NULL;
    s->fields = NULL;
}

static int parse_version(struct call *c, struct selection *s)
{
    const char *text = c->q.resource_version;

    s->has_rv = text[0] != '\0';
    if (s->has_rv && num_parse_u64(text, strlen(text), INT64_MAX, &s->rv) < 0) {
        return call_refuse(c, 400, "BadRequest",
                           "invalid resource version: resourceVersion: Invalid value: \"%.40s\": "
                           "strconv.ParseUint: parsing \"%.40s\": invalid syntax",
                           text, text);
    }
    return 0;
}

static int select_by(struct call *c, struct selection *s)
{
    struct diag why = {0};
    int r = selector_parse_labels(slice_of(c->q.label_selector), &why, &s->labels);

    if (r == 0) {
        r = selector_parse_fields(c->kind, slice_of(c->q.field_selector), &why, &s->fields);
    }
    if (r < 0) {
        return call_refuse(c, 400, "BadRequest", "%s", why.text);
    }
    return parse_version(c, s);
}

static int refuse_list_option(struct call *c, const char *field, const char *why)
{
    struct faults f = {0};

    faults_add(&f, FAULT_FORBIDDEN, field, why);
    int r = call_refuse_options(c, "ListOptions", &f);
    faults_fini(&f);
    return r;
}

/* ---- lists */

struct page {
    struct selection by;
    uint64_t rv;    /* the list's version */
    char *after_ns; /* NULL: from the start */
    char *after_name;
    uint64_t limit;
    uint64_t shown;
    uint64_t remaining;
    const struct object *last;
    bool more;
};

static void page_fini(struct page *p)
{
    selection_fini(&p->by);
    mem_free(p->after_ns);
    mem_free(p->after_name);
}

static int bad_token(struct call *c)
{
    return call_refuse(c, 400, "BadRequest", "invalid continue token: continue key is not valid");
}

/* A token is the version of the list and the last key shown: {"rv":1,"ns":"a","name":"b"}. */
static int read_token(struct call *c, struct page *p)
{
    char bytes[TOKEN_BYTES];
    AUTO(json) struct json *token = NULL;
    const char *text = c->q.continue_token;
    int n = base64url_decode(bytes, sizeof(bytes), text, strlen(text));

    if (n < 0 || json_parse(&token, bytes, (size_t)n, NULL, NULL) < 0) {
        return bad_token(c);
    }
    int64_t rv = json_int_at(token, "rv", -1);
    const char *name = json_str_at(token, "name", "");
    if (rv < 0 || name[0] == '\0') {
        return bad_token(c);
    }
    if (p->by.has_rv && strcmp(c->q.resource_version, "0") != 0) {
        return call_refuse(c, 400, "BadRequest",
                           "specifying resource version is not allowed when using continue");
    }
    p->rv = rv > 0 ? (uint64_t)rv : store_rv(c->api->store);
    p->after_ns = mem_strdup(json_str_at(token, "ns", ""));
    p->after_name = mem_strdup(name);
    return 0;
}

static void write_token(uint64_t rv, const char *ns, const char *name, struct strbuf *out)
{
    AUTO(json) struct json *token = json_new_object();
    AUTO(strbuf) struct strbuf text = {0};

    json_set_int(token, "rv", (int64_t)rv);
    json_set_str(token, "ns", ns);
    json_set_str(token, "name", name);
    json_print(token, 0, &text);
    base64url_encode(out, strbuf_text(&text), text.len);
}

/* The list that was begun is out of the window: go on in the newest state, says the new token. */
static int expired(struct call *c, const struct page *p)
{
    AUTO(strbuf) struct strbuf token = {0};
    struct json *s =
        api_status_failure(410, "Expired",
                           "The provided continue parameter is too old to display a "
                           "consistent list result. You can start a new list without the "
                           "continue parameter, or use the continue token in this response "
                           "to retrieve the remainder of the results.");

    if (p->after_name) {
        write_token(0, p->after_ns, p->after_name, &token);
        json_set_str(json_make_object(s, "metadata"), "continue", strbuf_text(&token));
    } else {
        json_set_str(s, "message", "The resourceVersion for the provided list is too old.");
    }
    return call_refuse_status(c, s);
}

static int too_new(struct call *c, uint64_t rv)
{
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&text, "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64, rv,
                  store_rv(c->api->store));
    struct json *s = api_status_failure(504, "Timeout", strbuf_text(&text));
    api_status_add_cause(s, "ResourceVersionTooLarge", "Too large resource version", NULL);
    json_set_int(json_make_object(s, "details"), "retryAfterSeconds", 1);
    c->out->retry_after_s = 1;
    return call_refuse_status(c, s);
}

/* Which state the list shows: the newest, unless Exact or a token says otherwise. */
static int choose_version(struct call *c, struct page *p)
{
    const char *match = c->q.version_match;
    bool exact = strcmp(match, "Exact") == 0;

    p->rv = store_rv(c->api->store);
    p->limit = (uint64_t)c->q.limit;
    if (match[0] != '\0' && !p->by.has_rv) {
        return refuse_list_option(
            c, "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if (match[0] != '\0' && !exact && strcmp(match, "NotOlderThan") != 0) {
        return refuse_list_option(c, "resourceVersionMatch", "must be Exact or NotOlderThan");
    }
    if (exact && p->by.rv == 0) {
        return refuse_list_option(
            c, "resourceVersionMatch",
            "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
    }
    if (c->q.continue_token[0] != '\0') {
        return read_token(c, p);
    }
    if (p->by.rv > p->rv) {
        return too_new(c, p->by.rv);
    }
    if (p->by.has_rv && p->by.rv == 0) {
        p->limit = 0; /* "any version" answers from memory, in one go */
    }
    if (exact) {
        p->rv = p->by.rv;
    }
    return 0;
}

static void show(struct call *c, struct page *p, const struct object *o, struct json *table)
{
    struct strbuf *out = &c->out->body;

    if (table) {
        table_add(table, o, c->version, c->q.include_object, call_now_s(c));
    } else {
        strbuf_puts(out, p->shown > 0 ? "," : "");
        if (c->form == FORM_METADATA) {
            render_metadata(out, o);
        } else {
            render_item(out, o, c->version);
        }
    }
    p->shown++;
    p->last = o;
}

static void walk(struct call *c, struct page *p, struct cursor *at, struct json *table)
{
    struct object *o = NULL;
    bool counted = !p->by.labels && !p->by.fields;

    while ((o = cursor_next(at)) != NULL) {
        if (!selector_matches(p->by.labels, o) || !selector_matches(p->by.fields, o)) {
            continue;
        }
        if (p->limit == 0 || (p->shown < p->limit && c->out->body.len < API_PAGE_BYTES)) {
            show(c, p, o, table);
            continue;
        }
        p->more = true;
        p->remaining++;
        if (!counted) {
            return;
        }
    }
}

static void close_list(struct call *c, const struct page *p, struct json *table)
{
    AUTO(strbuf) struct strbuf token = {0};
    struct list_end end = {
        .rv = p->rv, .remaining = p->remaining, .has_remaining = !p->by.labels && !p->by.fields};

    if (p->more) {
        write_token(p->rv, p->last->ns, p->last->name, &token);
        end.token = strbuf_text(&token);
    }
    if (!table) {
        render_list_close(&c->out->body, &end);
        return;
    }
    table_set_version(table, p->rv);
    if (end.token) {
        json_set_str(json_get(table, "metadata"), "continue", end.token);
    }
    if (end.token && end.has_remaining) {
        json_set_int(json_get(table, "metadata"), "remainingItemCount", (int64_t)end.remaining);
    }
    call_answer(c, 200, table);
}

static void open_list(struct call *c)
{
    AUTO(strbuf) struct strbuf api_version = {0};
    AUTO(strbuf) struct strbuf list_kind = {0};

    if (c->form == FORM_METADATA) {
        render_list_open(&c->out->body, "meta.k8s.io/v1", "PartialObjectMetadataList");
        return;
    }
    kind_api_version(c->kind, c->version, &api_version);
    strbuf_printf(&list_kind, "%sList", c->kind->name);
    render_list_open(&c->out->body, strbuf_text(&api_version), strbuf_text(&list_kind));
}

static int write_page(struct call *c, struct page *p)
{
    struct cursor at;
    AUTO(json) struct json *table = c->form == FORM_TABLE ? table_new(c->kind, true) : NULL;

    if (cursor_init(&at, c->api->store, c->kind, c->ns, p->rv) < 0) {
        return expired(c, p);
    }
    if (p->after_name) {
        cursor_skip_to(&at, p->after_ns, p->after_name);
    }
    c->out->body.limit = LIST_BYTES;
    if (!table) {
        open_list(c);
    }
    walk(c, p, &at, table);
    close_list(c, p, table);
    cursor_fini(&at);
    if (c->out->body.overflow) {
        return call_refuse(c, 413, "RequestEntityTooLarge",
                           "the list is larger than %d bytes: ask with a limit", LIST_BYTES);
    }
    c->out->status = 200;
    c->out->content_type = "application/json";
    c->out->rests_on = p->rv;
    return 0;
}

int read_list(struct call *c)
{
    struct page p = {0};
    int r = select_by(c, &p.by);

    if (r == 0) {
        r = permit_check_list(c, "list", selector_wants(p.by.fields, "spec.nodeName"));
    }
    if (r == 0) {
        r = choose_version(c, &p);
    }
    if (r == 0) {
        r = write_page(c, &p);
    }
    page_fini(&p);
    return r;
}

/* ---- watches */

static int check_initial_events(struct call *c)
{
    bool newer = strcmp(c->q.version_match, "NotOlderThan") == 0;

    if (c->q.has_initial_events && !newer) {
        return refuse_list_option(
            c, "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if (!c->q.has_initial_events && c->q.version_match[0] != '\0') {
        return refuse_list_option(
            c, "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
    return 0;
}

static void start_watch(struct call *c, struct selection *by)
{
    bool initial = c->q.has_initial_events ? c->q.initial_events : by->rv == 0;
    struct watch_options o = {
        .kind = c->kind,
        .version = c->version,
        .ns = c->ns,
        .take_labels = MOVE(by->labels),
        .take_fields = MOVE(by->fields),
        .form = c->form,
        .include_object = c->q.include_object,
        .bookmarks = c->q.bookmarks,
        .from_rv = by->rv > 0 ? by->rv : store_rv(c->api->store),
        .initial = initial,
        .initial_end = initial && c->q.has_initial_events,
        .timeout_s = c->q.timeout_s,
        .now_ns = c->rq->now_ns,
    };

    c->out->status = 200;
    c->out->content_type = "application/json";
    c->out->watch = watch_new(c->api->store, &o);
}

int read_watch(struct call *c)
{
    struct selection by = {0};
    int r = select_by(c, &by);

    if (r == 0 && c->name[0] != '\0') {
        r = call_refuse(c, 400, "BadRequest",
                        "watch one object with fieldSelector=metadata.name=%.100s", c->name);
    }
    if (r == 0) {
        r = permit_check_list(c, "watch", selector_wants(by.fields, "spec.nodeName"));
    }
    if (r == 0) {
        r = check_initial_events(c);
    }
    if (r == 0) {
        start_watch(c, &by);
    }
    selection_fini(&by);
    return r;
}
