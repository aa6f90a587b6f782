/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/http_access.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "obs/metrics.h"
#include "t.h"

enum { KEPT = 256 };

struct rig {
    struct metrics *metrics;
    struct http_recorder *recorder;
};

static void rig_start(struct rig *g)
{
    static const struct metric_set *const sets[] = {&http_access_metrics};

    g->metrics = metrics_new(sets, 1);
    g->recorder = http_recorder_new(metrics_shard_new(g->metrics), false);
}

static void rig_stop(struct rig *g)
{
    http_recorder_free(g->recorder);
    metrics_free(g->metrics);
}

static void end(struct rig *g, const struct http_access *a)
{
    http_access_end(g->recorder, a, clock_mono_ns(), NULL, NULL);
}

static struct json *recent(const struct rig *g)
{
    AUTO(strbuf) struct strbuf text = {0};
    struct json *list = NULL;

    strbuf_putc(&text, '[');
    http_recorder_write_recent(g->recorder, &text);
    strbuf_putc(&text, ']');
    return json_parse(&list, text.p, text.len, NULL, NULL) == 0 ? list : NULL;
}

static void fill(char *out, size_t len, char with)
{
    memset(out, with, len);
    out[len] = '\0';
}

/* Kubernetes allows 253 octets for most of them. */
TEST(names_of_recent_requests_are_whole)
{
    char ns[64];
    char pod[254];
    char policy[640];
    struct rig g;

    fill(ns, 63, 'n');
    fill(pod, 253, 'p');
    fill(policy, 600, 'x');
    rig_start(&g);
    struct http_access a = {.started_ns = clock_mono_ns(),
                            .method = slice_of("PROPFIND-OR-SO"),
                            .path = slice_of("/a\"b"),
                            .authority = slice_of(pod),
                            .status = 403,
                            .details = policy,
                            .route = pod,
                            .grpc_status = -1,
                            .src = {.namespace_ = ns, .workload = pod, .identity = policy}};
    end(&g, &a);
    AUTO(json) struct json *list = recent(&g);
    const struct json *one = json_item(list, 0);
    const char *source = json_str_at(one, "source", "");
    CHECK_INT(json_count(list), 1);
    CHECK_STR(json_str_at(one, "method", ""), "PROPFIND-OR-SO");
    CHECK_STR(json_str_at(one, "path", ""), "/a\"b");
    CHECK_STR(json_str_at(one, "authority", ""), pod);
    CHECK_STR(json_str_at(one, "details", ""), policy);
    CHECK_STR(json_str_at(one, "route", ""), pod);
    CHECK_STR(json_str_at(one, "source_identity", ""), policy);
    CHECK(strncmp(source, ns, 63) == 0 && source[63] == '/' && strcmp(source + 64, pod) == 0);
    CHECK_STR(json_str_at(one, "destination", ""), "/");
    CHECK_STR(json_str_at(one, "service", "?"), "");
    rig_stop(&g);
}

TEST(what_is_longer_than_any_name_is_cut_and_shows_it)
{
    char path[5001];
    struct rig g;

    fill(path, 5000, 'a');
    rig_start(&g);
    struct http_access a = {.path = slice_of(path), .grpc_status = -1};
    end(&g, &a);
    AUTO(json) struct json *list = recent(&g);
    const char *kept = json_str_at(json_item(list, 0), "path", "");
    size_t len = strlen(kept);
    CHECK(len > 100 && len < 1000);
    CHECK_STR(kept + len - 4, "a...");
    rig_stop(&g);
}

TEST(the_newest_are_kept_the_oldest_first)
{
    struct rig g;

    rig_start(&g);
    for (unsigned i = 0; i < KEPT + 3; i++) {
        AUTO(strbuf) struct strbuf path = {0};
        strbuf_printf(&path, "/%u", i);
        struct http_access a = {.path = slice_of(path.p), .grpc_status = -1};
        end(&g, &a);
    }
    AUTO(json) struct json *list = recent(&g);
    CHECK_INT(json_count(list), KEPT);
    CHECK_STR(json_str_at(json_item(list, 0), "path", ""), "/3");
    CHECK_STR(json_str_at(json_item(list, KEPT - 1), "path", ""), "/258");
    rig_stop(&g);
}
