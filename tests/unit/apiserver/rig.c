/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/watch.h"
#include "codec/json.h"

static const char *const master_groups[] = {"system:masters", "system:authenticated", NULL};

static void forget(struct rig *g)
{
    api_response_fini(&g->out);
    g->out = (struct api_response){0};
    g->body = json_unref(g->body);
    g->text = "";
}

void rig_namespace(struct rig *g, const char *name)
{
    char body[100];

    snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\"}}", name);
    if (rig_call(g, "POST /api/v1/namespaces", NULL, body) != 201) {
        fprintf(stderr, "rig: %s\n", g->text);
        abort();
    }
}

void rig_start_in(struct rig *g, const char *range)
{
    struct diag why = {0};
    static const char *const namespaces[] = {"default", "kube-system", "kube-public",
                                             "istio-system"};
    struct api_config config = {0};

    *g = (struct rig){.store = store_new(),
                      .user = {.name = "admin", .groups = master_groups, .is_admin = true},
                      .now_ns = 1764080768ull * 1000000000u};
    if (ip_prefix_parse(&config.service_cidr4, range, strlen(range)) < 0 ||
        ip_prefix_parse(&config.service_cidr6, "fd00:96::/112", 13) < 0 ||
        api_new(g->store, &config, &why, &g->api) < 0) {
        fprintf(stderr, "rig: %s\n", why.text);
        abort();
    }
    store_loaded(g->store, 1);
    for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
        rig_namespace(g, namespaces[i]);
    }
}

void rig_start(struct rig *g)
{
    rig_start_in(g, "10.96.0.0/16");
}

void rig_stop(struct rig *g)
{
    forget(g);
    api_free(g->api);
    store_free(g->store);
}

unsigned rig_send(struct rig *g, const char *request, const char *content_type, struct slice body)
{
    struct api_header headers[4];
    struct api_request rq = {
        .headers = headers, .body = body, .user = &g->user, .now_ns = g->now_ns};

    slice_cut(slice_of(request), ' ', &rq.method, &rq.target);
    if (content_type) {
        headers[rq.header_count++] =
            (struct api_header){slice_of("Content-Type"), slice_of(content_type)};
    }
    if (g->accept) {
        headers[rq.header_count++] = (struct api_header){slice_of("accept"), slice_of(g->accept)};
    }
    if (g->etag) {
        headers[rq.header_count++] =
            (struct api_header){slice_of("if-none-match"), slice_of(g->etag)};
    }
    headers[rq.header_count++] = (struct api_header){slice_of("user-agent"), slice_of("rig/1")};
    forget(g);
    api_handle(g->api, &rq, &g->out);
    store_set_durable(g->store, store_rv(g->store));
    g->text = strbuf_text(&g->out.body);
    if (json_parse(&g->body, g->text, g->out.body.len, NULL, NULL) < 0) {
        g->body = NULL;
    }
    return g->out.status;
}

unsigned rig_call(struct rig *g, const char *request, const char *content_type, const char *body)
{
    return rig_send(g, request, content_type, body ? slice_of(body) : (struct slice){NULL, 0});
}

const char *rig_str(const struct rig *g, const char *path)
{
    return json_str_at(g->body, path, "");
}

long long rig_int(const struct rig *g, const char *path)
{
    return json_int_at(g->body, path, -1);
}

unsigned rig_watch(struct rig *g)
{
    unsigned lines = 0;
    int r = 1;

    strbuf_clear(&g->out.body);
    while (r == 1) {
        r = watch_next(g->out.watch, g->now_ns, 1 << 20, &g->out.body);
    }
    g->text = strbuf_text(&g->out.body);
    for (const char *c = g->text; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    return lines;
}
