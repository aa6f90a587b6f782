/* SPDX-License-Identifier: Apache-2.0 */
/* /openapi/v2, /openapi/v3 and what is below it. A document is made when somebody first asks for it,
 * and kept: clients ask again before every change that they make. */
#include <string.h>

#include "apiserver/api_status.h"
#include "apiserver/call_int.h"
#include "apiserver/openapi.h"
#include "base/mem.h"
#include "codec/json.h"

static const char protobuf_type[] = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

struct openapi_page {
    struct openapi_page *next;
    char *name; /* "GROUP/VERSION" of a document of OpenAPI 3; "2", "2 protobuf" */
    struct strbuf body;
};

void openapi_pages_free(struct openapi_page *first)
{
    while (first) {
        struct openapi_page *next = first->next;
        mem_free(first->name);
        strbuf_fini(&first->body);
        mem_free(first);
        first = next;
    }
}

static const char *segment(const struct call *c, size_t i)
{
    return i < c->segment_count ? c->segments[i] : "";
}

/* Their number is that of the documents: only those that there are become pages. */
static const struct openapi_page *find_page(const struct call *c, const char *name)
{
    const struct openapi_page *p = c->api->pages;

    while (p && strcmp(p->name, name) != 0) {
        p = p->next;
    }
    return p;
}

static struct openapi_page *add_page(struct call *c, const char *name)
{
    struct openapi_page *p = mem_new(struct openapi_page);

    p->name = mem_strdup(name);
    p->next = c->api->pages;
    c->api->pages = p;
    return p;
}

static int answer_page(struct call *c, const struct openapi_page *p, const char *type)
{
    c->out->status = 200;
    c->out->content_type = type;
    strbuf_add(&c->out->body, p->body.p, p->body.len);
    call_tag(c);
    return 0;
}

/* By either spelling of the type, v2@v1.0 and v2.v1.0. */
static bool wants_protobuf(const struct call *c)
{
    struct slice accept = call_header(c, "accept");
    static const char type[] = "application/com.github.proto-openapi.spec.v2";

    return memmem(accept.p, accept.len, type, sizeof(type) - 1) != NULL;
}

static int answer_v2(struct call *c)
{
    bool is_protobuf = wants_protobuf(c);
    const char *name = is_protobuf ? "2 protobuf" : "2";
    const struct openapi_page *p = find_page(c, name);

    if (!p) {
        AUTO(json) struct json *o = openapi_v2(c->api->schemas);
        struct openapi_page *made = add_page(c, name);
        if (is_protobuf) {
            openapi_v2_encode(o, &made->body);
        } else {
            json_print(o, 0, &made->body);
        }
        p = made;
    }
    return answer_page(c, p, is_protobuf ? protobuf_type : "application/json");
}

/* "api/v1", "apis/GROUP/VERSION": where each document is. */
static int answer_index(struct call *c)
{
    AUTO(json) struct json *o = json_new_object();
    struct json *paths = json_make_object(o, "paths");

    for (size_t i = 0; i < kind_count; i++) {
        const struct kind *k = &kind_list[i];
        for (size_t v = 0; !kind_is(k, KIND_INTERNAL) && k->versions[v]; v++) {
            AUTO(strbuf) struct strbuf name = {0};
            AUTO(strbuf) struct strbuf url = {0};
            struct json *at = json_new_object();
            strbuf_puts(&name, k->group[0] != '\0' ? "apis/" : "api/");
            kind_api_version(k, k->versions[v], &name);
            strbuf_printf(&url, "/openapi/v3/%s", strbuf_text(&name));
            json_set_str(at, "serverRelativeURL", strbuf_text(&url));
            json_set(paths, strbuf_text(&name), at);
        }
    }
    call_answer(c, 200, o);
    return 0;
}

static int no_such_document(struct call *c)
{
    c->out->status = 404;
    c->out->content_type = "text/plain; charset=utf-8";
    strbuf_puts(&c->out->body, "404 page not found\n");
    return 0;
}

static int answer_v3(struct call *c)
{
    bool is_core = strcmp(segment(c, 2), "api") == 0 && c->segment_count == 4;
    bool is_group = strcmp(segment(c, 2), "apis") == 0 && c->segment_count == 5;
    AUTO(strbuf) struct strbuf name = {0};

    if (c->segment_count == 2) {
        return answer_index(c);
    }
    if (!is_core && !is_group) {
        return no_such_document(c);
    }
    const char *group = is_core ? "" : segment(c, 3);
    const char *version = segment(c, is_core ? 3 : 4);
    strbuf_printf(&name, "%s/%s", group, version);
    const struct openapi_page *p = find_page(c, strbuf_text(&name));
    if (!p) {
        AUTO(json) struct json *o = openapi_v3(c->api->schemas, group, version);
        if (!o) {
            return no_such_document(c);
        }
        struct openapi_page *made = add_page(c, strbuf_text(&name));
        json_print(o, 0, &made->body);
        p = made;
    }
    return answer_page(c, p, "application/json");
}

int openapi_answer(struct call *c)
{
    bool is_v2 = strcmp(segment(c, 1), "v2") == 0 && c->segment_count == 2;
    enum form form = FORM_OBJECT;

    if (!is_v2 && strcmp(segment(c, 1), "v3") != 0) {
        return no_such_document(c);
    }
    if (!(is_v2 && wants_protobuf(c)) &&
        accept_choose(call_header(c, "accept"), FORM_OBJECT, &form) < 0) {
        return call_refuse(c, 406, "NotAcceptable",
                           "only the following media types are accepted: application/json%s%s",
                           is_v2 ? ", " : "", is_v2 ? protobuf_type : "");
    }
    return is_v2 ? answer_v2(c) : answer_v3(c);
}
