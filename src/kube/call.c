/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/call.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/url.h"
#include "kube/client.h"
#include "kube/resource.h"
#include "kube/transfer_int.h"

enum { WARNINGS_MAX = 16 };

struct kube_call {
    struct transfer *transfer;
};

static const struct {
    const char *method;
    const char *content_type; /* NULL: no body */
    bool is_write;
} verbs[] = {
    [KUBE_GET] = {"GET", NULL, false},
    [KUBE_LIST] = {"GET", NULL, false},
    [KUBE_CREATE] = {"POST", "application/json", true},
    [KUBE_UPDATE] = {"PUT", "application/json", true},
    [KUBE_MERGE_PATCH] = {"PATCH", "application/merge-patch+json", true},
    [KUBE_JSON_PATCH] = {"PATCH", "application/json-patch+json", true},
    [KUBE_STRATEGIC_PATCH] = {"PATCH", "application/strategic-merge-patch+json", true},
    [KUBE_APPLY] = {"PATCH", "application/apply-patch+yaml", true},
    [KUBE_DELETE] = {"DELETE", NULL, false},
};

static const char *text(const char *s)
{
    return s ? s : "";
}

static void add_parameter(struct strbuf *query, const char *name, const char *value)
{
    if (value && value[0] != '\0') {
        url_query_add(query, name, value);
    }
}

static void make_query(const struct kube_ask *ask, struct strbuf *query)
{
    char limit[16];

    add_parameter(query, "labelSelector", ask->label_selector);
    add_parameter(query, "fieldSelector", ask->field_selector);
    add_parameter(query, "continue", ask->continue_token);
    add_parameter(query, "resourceVersion", ask->resource_version);
    if (ask->limit > 0) {
        (void)snprintf(limit, sizeof(limit), "%u", ask->limit); /* ten digits fit */
        url_query_add(query, "limit", limit);
    }
    if (verbs[ask->verb].is_write) {
        add_parameter(query, "fieldManager", ask->field_manager);
    }
    if (ask->verb == KUBE_APPLY) {
        url_query_add(query, "force", ask->force ? "true" : "false");
        if (ask->strict) {
            url_query_add(query, "fieldValidation", "Strict");
        }
    }
}

static void make_target(const struct kube_ask *ask, struct strbuf *target)
{
    AUTO(strbuf) struct strbuf query = {0};
    bool collection = ask->verb == KUBE_LIST || ask->verb == KUBE_CREATE;

    /* A subresource of a name is created too: tokens of a service account. */
    kube_resource_path(target, ask->resource, text(ask->ns),
                       collection && !ask->sub ? "" : text(ask->name), text(ask->sub));
    make_query(ask, &query);
    if (query.len > 0) {
        strbuf_putc(target, '?');
        strbuf_puts(target, strbuf_text(&query));
    }
}

struct kube_call *kube_call_new(struct kube_client *c, const struct kube_ask *ask,
                                struct task *owner)
{
    struct kube_call *call = mem_new(struct kube_call);
    AUTO(strbuf) struct strbuf target = {0};
    AUTO(strbuf) struct strbuf body = {0};
    const char *type = verbs[ask->verb].content_type;

    make_target(ask, &target);
    if (ask->body) {
        json_print(ask->body, 0, &body);
        type = type ? type : "application/json";
    }
    struct transfer_request rq = {
        .method = verbs[ask->verb].method,
        .target = strbuf_text(&target),
        .content_type = ask->body ? type : NULL,
        .body = {strbuf_text(&body), body.len},
        .room = KUBE_ANSWER_BYTES,
        .limit_ms = ask->limit_ms > 0 ? ask->limit_ms : KUBE_CALL_MS,
    };
    call->transfer = transfer_start(c, &rq, owner);
    return call;
}

/* Of `299 - "text"` (RFC 9111 5.5) the text, on one line. */
static void unquote_warning(const char *value, struct strbuf *out)
{
    const char *c = strchr(value, '"');

    for (c = c ? c + 1 : ""; *c != '\0' && *c != '"'; c++) {
        c += *c == '\\' && c[1] != '\0';
        strbuf_putc(out, (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c);
    }
}

static struct json *take_warnings(const struct transfer *t)
{
    struct json *list = NULL;
    const char *value;

    for (size_t i = 0; i < WARNINGS_MAX && (value = transfer_header(t, "Warning", i)); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        unquote_warning(value, &text);
        list = list ? list : json_new_array();
        json_append_str(list, strbuf_text(&text));
    }
    return list;
}

int kube_call_take(struct kube_call *call, struct kube_answer *out, struct diag *why)
{
    int r = transfer_result(call->transfer);
    int status = transfer_status(call->transfer);
    struct slice data = transfer_data(call->transfer);
    struct json *body = NULL;

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0 || status < 0) {
        return FAIL(why, r < 0 ? r : status, "%s", transfer_diag(call->transfer)->text);
    }
    if (json_parse(&body, data.p ? data.p : "", data.len, NULL, NULL) < 0) {
        body = NULL; /* a proxy's page, or nothing: the status says enough */
    }
    *out = (struct kube_answer){.status = (unsigned)status,
                                .body = body,
                                .retry_after_s = transfer_retry_after(call->transfer),
                                .warnings = take_warnings(call->transfer)};
    return 0;
}

void kube_call_free(struct kube_call *call)
{
    if (call) {
        transfer_free(call->transfer);
        mem_free(call);
    }
}

void kube_answer_fini(struct kube_answer *a)
{
    a->body = json_unref(a->body);
    a->warnings = json_unref(a->warnings);
}

/* The sentence as a whole begins with the object, which the caller knows, and a diag is short. */
static void put_causes(const struct json *causes, struct strbuf *out)
{
    for (size_t i = 0; i < json_count(causes); i++) {
        const struct json *cause = json_item(causes, i);
        strbuf_printf(out, "%s%s: %s", i > 0 ? ", " : "", json_str_at(cause, "field", ""),
                      json_str_at(cause, "message", ""));
    }
}

void kube_answer_words(const struct kube_answer *a, struct strbuf *out)
{
    const struct json *causes = json_array_at(a->body, "details.causes");

    strbuf_printf(out, "API server, %u: ", a->status);
    if (a->status == 422 && json_count(causes) > 0) {
        put_causes(causes, out);
    } else {
        strbuf_puts(out, json_str_at(a->body, "message", "no message"));
    }
}

int kube_answer_error(const struct kube_answer *a, struct diag *why)
{
    static const struct {
        unsigned status;
        int code;
    } codes[] = {
        {400, -ERR_SYNTAX},      {401, -ERR_DENIED},      {403, -ERR_DENIED},
        {404, -ERR_NOT_FOUND},   {409, -ERR_CONFLICT},    {410, -ERR_VERSION},
        {422, -ERR_SYNTAX},      {429, -ERR_UNAVAILABLE}, {500, -ERR_UNAVAILABLE},
        {502, -ERR_UNAVAILABLE}, {503, -ERR_UNAVAILABLE}, {504, -ERR_UNAVAILABLE},
    };
    AUTO(strbuf) struct strbuf words = {0};
    int code = -ERR_HTTP_STATUS;

    if (a->status >= 200 && a->status < 300) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        code = codes[i].status == a->status ? codes[i].code : code;
    }
    if (strcmp(json_str_at(a->body, "reason", ""), "AlreadyExists") == 0) {
        code = -ERR_EXISTS;
    }
    kube_answer_words(a, &words);
    return FAIL(why, code, "%s", strbuf_text(&words));
}

int kube_call_done(struct kube_call *call, struct diag *why)
{
    struct kube_answer answer = {.body = NULL};
    int r = kube_call_take(call, &answer, why);

    if (r == 0) {
        r = kube_answer_error(&answer, why);
        kube_answer_fini(&answer);
    }
    return r;
}
