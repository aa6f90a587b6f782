/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several requests on one server. Input: parts between 0xff bytes; of each the first three bytes
 * choose method, content type and user, then the target up to a line feed, then the body.
 * Oracle: every answer is an HTTP status and, where it says so, JSON; the objects that a watch from
 * the beginning has shown are the objects that a list shows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/api.h"
#include "apiserver/bootstrap.h"
#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "apiserver/watch.h"
#include "base/mem.h"
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
static const char *const types[] = {"application/json",
                                    "application/merge-patch+json",
                                    "application/json-patch+json",
                                    "application/strategic-merge-patch+json",
                                    "application/apply-patch+yaml",
                                    "application/yaml",
                                    "application/vnd.kubernetes.protobuf",
                                    ""};
static const char *const forms[] = {"", "application/json;as=Table;v=v1;g=meta.k8s.io",
                                    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"};
static const struct api_user users[] = {
    {.name = "admin", .is_admin = true},
    {.name = "system:node:n", .node = "n"},
    {.name = "workload"},
    {.name = "system:anonymous", .is_anonymous = true},
};

static void check_answer(const struct api_response *out)
{
    AUTO(json) struct json *body = NULL;

    if (out->status < 200 || out->status > 599) {
        abort();
    }
    if (out->body.len > 0 && strcmp(out->content_type, "application/json") == 0 &&
        json_parse(&body, out->body.p, out->body.len,
                   &(struct json_limits){.depth = JSON_DEPTH_MAX + 8}, NULL) < 0) {
        abort();
    }
}

static void ask(struct api *api, const uint8_t *part, size_t len)
{
    struct slice target;
    struct slice body;
    struct slice rest = {(const char *)part + 3, len - 3};
    struct api_header headers[2] = {
        {slice_of("content-type"), slice_of(types[part[1] % ARRAY_LEN(types)])},
        {slice_of("accept"), slice_of(forms[part[1] / ARRAY_LEN(types) % ARRAY_LEN(forms)])}};
    struct api_response out = {0};

    slice_cut(rest, '\n', &target, &body);
    struct api_request rq = {.method = slice_of(methods[part[0] % ARRAY_LEN(methods)]),
                             .target = target,
                             .headers = headers,
                             .header_count = 2,
                             .body = body,
                             .user = &users[part[2] % ARRAY_LEN(users)],
                             .now_ns = 1764080768ull * 1000000000u};
    api_handle(api, &rq, &out);
    check_answer(&out);
    store_set_durable(api_store(api), store_rv(api_store(api)));
    if (out.watch) {
        AUTO(strbuf) struct strbuf events = {0};
        while (watch_next(out.watch, rq.now_ns, 4096, &events) == 1) {
            strbuf_clear(&events);
        }
    }
    api_response_fini(&out);
}

/* Names that the watch's events leave, against the shelf. */
static void check_watch(const struct store *store, const struct kind *kind, struct watch *w)
{
    AUTO(strbuf) struct strbuf events = {0};
    AUTO(json) struct json *world = json_new_object();
    struct cursor at;
    struct object *o = NULL;
    size_t n = 0;

    while (watch_next(w, 1764080768ull * 1000000000u, 1 << 20, &events) == 1) {
    }
    for (const char *line = strbuf_text(&events); *line != '\0'; line += strcspn(line, "\n") + 1) {
        AUTO(json) struct json *e = NULL;
        if (json_parse(&e, line, strcspn(line, "\n"),
                       &(struct json_limits){.depth = JSON_DEPTH_MAX + 8}, NULL) < 0) {
            abort();
        }
        AUTO(strbuf) struct strbuf key = {0};
        strbuf_printf(&key, "%s/%s", json_str_at(e, "object.metadata.namespace", ""),
                      json_str_at(e, "object.metadata.name", ""));
        if (strcmp(json_str_at(e, "type", ""), "DELETED") == 0) {
            if (!json_remove(world, strbuf_text(&key))) {
                abort(); /* of something it had not shown */
            }
        } else {
            json_set_str(world, strbuf_text(&key),
                         json_str_at(e, "object.metadata.resourceVersion", ""));
        }
    }
    if (cursor_init(&at, store, kind, "", 0) < 0) {
        abort();
    }
    while ((o = cursor_next(&at)) != NULL) {
        AUTO(strbuf) struct strbuf key = {0};
        strbuf_printf(&key, "%s/%s", o->ns, o->name);
        n += json_get(world, strbuf_text(&key)) != NULL;
    }
    cursor_fini(&at);
    if (n != store_count(store, kind) || n != json_count(world)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store *store = store_new();
    struct api *api = NULL;
    struct api_config config = {0};
    struct diag why = {0};
    const struct kind *kinds[] = {kind_named("", "ConfigMap"), kind_named("", "Pod"),
                                  kind_named("security.istio.io", "AuthorizationPolicy")};
    struct watch *watches[ARRAY_LEN(kinds)];

    if (ip_prefix_parse(&config.service_cidr4, "10.96.0.0/16", 12) < 0 ||
        api_new(store, &config, &why, &api) < 0) {
        abort();
    }
    store_loaded(store, 1);
    bootstrap(api, 1764080768);
    store_set_durable(store, store_rv(store));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        watches[i] =
            watch_new(store, &(struct watch_options){.kind = kinds[i],
                                                     .version = kinds[i]->versions[0],
                                                     .ns = "",
                                                     .form = FORM_OBJECT,
                                                     .include_object = "",
                                                     .initial = true,
                                                     .now_ns = 1764080768ull * 1000000000u});
    }
    while (size > 0) {
        const uint8_t *end = memchr(data, 0xff, size);
        size_t len = end ? (size_t)(end - data) : size;
        if (len > 3) {
            ask(api, data, len);
        }
        data += len + (end != NULL);
        size -= len + (end != NULL);
    }
    api_tick(api, 1764080769ull * 1000000000u);
    store_set_durable(store, store_rv(store));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        check_watch(store, kinds[i], watches[i]);
        watch_free(watches[i]);
    }
    api_free(api);
    store_free(store);
    return 0;
}
