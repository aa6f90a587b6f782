/* SPDX-License-Identifier: Apache-2.0 */
/* Behaviour that single recorded exchanges do not show: watches, paging, tokens, endpoints, namespaces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/bootstrap.h"
#include "apiserver/endpoints.h"
#include "apiserver/kind.h"
#include "apiserver/object.h"
#include "apiserver/token.h"
#include "apiserver/watch.h"
#include "base/mem.h"
#include "codec/json.h"
#include "io/loop.h"
#include "rig.h"
#include "t.h"

static const char maps[] = "/api/v1/namespaces/shop/configmaps";

static void start(struct rig *g)
{
    rig_start(g);
    rig_namespace(g, "shop");
}

static void put_map(struct rig *g, const char *name, const char *labels)
{
    char request[128];
    char body[256];

    snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}}", name, labels);
    snprintf(request, sizeof(request), "POST %s", maps);
    if (rig_call(g, request, NULL, body) == 409) {
        snprintf(request, sizeof(request), "PUT %s/%s", maps, name);
        rig_call(g, request, NULL, body);
    }
}

/* The watch of the last response, taken out of it, because the rig makes other calls meanwhile. */
struct seen {
    struct watch *w;
    struct strbuf text; /* "ADDED a, MODIFIED b, " */
    bool over;
};

static unsigned open_watch(struct rig *g, const char *query, struct seen *s)
{
    char request[256];

    snprintf(request, sizeof(request), "GET %s?watch=1%s", maps, query);
    unsigned status = rig_call(g, request, NULL, NULL);
    *s = (struct seen){.w = g->out.watch};
    g->out.watch = NULL;
    return status;
}

static void note_line(struct seen *s, const char *line, size_t len)
{
    AUTO(json) struct json *e = NULL;

    if (json_parse(&e, line, len, NULL, NULL) == 0) {
        const char *name = json_str_at(e, "object.metadata.name", "");
        bool end = json_get(json_at(e, "object.metadata.annotations"),
                            "k8s.io/initial-events-end") != NULL;
        strbuf_printf(&s->text, "%s %s%s, ", json_str_at(e, "type", ""), name, end ? "end" : "");
    }
}

/* What it says now that it did not say before. */
static const char *look(struct rig *g, struct seen *s)
{
    AUTO(strbuf) struct strbuf out = {0};
    int r = 1;

    strbuf_clear(&s->text);
    while (r == 1) {
        r = watch_next(s->w, g->now_ns, 1 << 20, &out);
    }
    s->over = r == 0;
    for (const char *line = strbuf_text(&out); *line != '\0';) {
        size_t n = strcspn(line, "\n");
        note_line(s, line, n);
        line += n + (line[n] == '\n');
    }
    return strbuf_text(&s->text);
}

static void close_watch(struct seen *s)
{
    watch_free(s->w);
    strbuf_fini(&s->text);
}

TEST(a_watch_shows_what_is_there_and_then_what_changes)
{
    struct rig g;
    struct seen s;

    start(&g);
    put_map(&g, "a", "");
    CHECK_INT(open_watch(&g, "", &s), 200);
    CHECK_STR(look(&g, &s), "ADDED a, ");
    CHECK_STR(look(&g, &s), "");
    put_map(&g, "b", "");
    put_map(&g, "a", "\"x\":\"y\"");
    rig_call(&g, "DELETE /api/v1/namespaces/shop/configmaps/b", NULL, NULL);
    CHECK_STR(look(&g, &s), "ADDED b, MODIFIED a, DELETED b, ");
    close_watch(&s);
    rig_stop(&g);
}

TEST(a_selector_makes_entering_an_addition_and_leaving_a_deletion)
{
    struct rig g;
    struct seen s;

    start(&g);
    put_map(&g, "a", "\"x\":\"1\"");
    CHECK_INT(open_watch(&g, "&labelSelector=x%3D1", &s), 200);
    CHECK_STR(look(&g, &s), "ADDED a, ");
    put_map(&g, "a", "\"x\":\"2\"");
    put_map(&g, "a", "\"x\":\"3\"");
    put_map(&g, "b", "\"x\":\"9\"");
    put_map(&g, "a", "\"x\":\"1\"");
    put_map(&g, "a", "\"x\":\"1\",\"z\":\"1\"");
    CHECK_STR(look(&g, &s), "DELETED a, ADDED a, MODIFIED a, ");
    close_watch(&s);
    rig_stop(&g);
}

TEST(a_watch_list_says_where_the_beginning_ends)
{
    struct rig g;
    struct seen s;

    start(&g);
    put_map(&g, "a", "");
    CHECK_INT(
        open_watch(
            &g,
            "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            &s),
        200);
    CHECK_STR(look(&g, &s), "ADDED a, BOOKMARK end, ");
    close_watch(&s);
    CHECK_INT(open_watch(&g, "&sendInitialEvents=true", &s), 422);
    CHECK(!s.w);
    rig_stop(&g);
}

TEST(bookmarks_come_once_a_minute_and_before_the_end)
{
    struct rig g;
    struct seen s;

    start(&g);
    CHECK_INT(open_watch(&g, "&allowWatchBookmarks=true&timeoutSeconds=100&resourceVersion=2", &s),
              200);
    look(&g, &s);
    g.now_ns += 59 * 1000000000ull;
    CHECK_STR(look(&g, &s), "");
    CHECK(watch_due_ns(s.w) == g.now_ns + 1000000000u);
    g.now_ns += 1000000000u;
    CHECK_STR(look(&g, &s), "BOOKMARK , ");
    g.now_ns += 40 * 1000000000ull;
    CHECK_STR(look(&g, &s), "BOOKMARK , ");
    CHECK(s.over);
    CHECK_STR(look(&g, &s), "");
    close_watch(&s);
    rig_stop(&g);
}

TEST(a_watch_from_a_forgotten_version_is_told_so)
{
    struct rig g;
    struct seen s;

    start(&g);
    for (int i = 0; i < STORE_WINDOW + 10; i++) {
        put_map(&g, "a", i % 2 ? "\"x\":\"1\"" : "");
    }
    CHECK_INT(open_watch(&g, "&resourceVersion=1", &s), 200);
    CHECK_STR(look(&g, &s), "ERROR , ");
    CHECK(s.over);
    close_watch(&s);
    CHECK_INT(open_watch(&g, "&resourceVersion=99999999", &s), 200);
    CHECK_STR(look(&g, &s), "");
    CHECK(!s.over);
    close_watch(&s);
    rig_stop(&g);
}

TEST(what_is_not_durable_is_not_shown)
{
    struct rig g;
    struct seen s;
    struct api_request rq = {.method = slice_of("POST"),
                             .target = slice_of(maps),
                             .body = slice_of("{\"metadata\":{\"name\":\"late\"}}"),
                             .user = &g.user};
    struct api_response out = {0};

    start(&g);
    CHECK_INT(open_watch(&g, "", &s), 200);
    CHECK_STR(look(&g, &s), "");
    api_handle(g.api, &rq, &out);
    CHECK_INT(out.rests_on, store_rv(g.store));
    CHECK(store_durable(g.store) < out.rests_on);
    CHECK_STR(look(&g, &s), "");
    store_set_durable(g.store, store_rv(g.store));
    CHECK_STR(look(&g, &s), "ADDED late, ");
    api_response_fini(&out);
    close_watch(&s);
    rig_stop(&g);
}

TEST(pages_show_the_state_at_which_the_list_began)
{
    struct rig g;
    char request[512];
    AUTO(strbuf) struct strbuf names = {0};

    start(&g);
    for (char c = 'a'; c < 'f'; c++) {
        char name[2] = {c, '\0'};
        put_map(&g, name, "");
    }
    snprintf(request, sizeof(request), "GET %s?limit=2", maps);
    for (int page = 0; page < 4 && request[0] != '\0'; page++) {
        CHECK_INT(rig_call(&g, request, NULL, NULL), 200);
        for (size_t i = 0; i < json_count(json_get(g.body, "items")); i++) {
            strbuf_puts(&names,
                        json_str_at(json_item(json_get(g.body, "items"), i), "metadata.name", ""));
        }
        const char *token = rig_str(&g, "metadata.continue");
        snprintf(request, sizeof(request), token[0] ? "GET %s?limit=2&continue=%s" : "%.0s%.0s",
                 maps, token);
        AUTO(text) char *next = mem_strdup(request);
        put_map(&g, "a", "\"new\":\"1\"");
        put_map(&g, "zz", "");
        rig_call(&g, "DELETE /api/v1/namespaces/shop/configmaps/d", NULL, NULL);
        snprintf(request, sizeof(request), "%s", next);
    }
    CHECK_STR(strbuf_text(&names), "abcde");
    rig_stop(&g);
}

TEST(an_expired_page_offers_to_go_on_in_the_newest_state)
{
    struct rig g;
    char request[512];

    start(&g);
    put_map(&g, "a", "");
    put_map(&g, "b", "");
    snprintf(request, sizeof(request), "GET %s?limit=1", maps);
    CHECK_INT(rig_call(&g, request, NULL, NULL), 200);
    snprintf(request, sizeof(request), "GET %s?limit=1&continue=%s", maps,
             rig_str(&g, "metadata.continue"));
    for (int i = 0; i < STORE_WINDOW + 2; i++) {
        put_map(&g, "b", i % 2 ? "\"x\":\"1\"" : "");
    }
    CHECK_INT(rig_call(&g, request, NULL, NULL), 410);
    CHECK_STR(rig_str(&g, "reason"), "Expired");
    snprintf(request, sizeof(request), "GET %s?limit=1&continue=%s", maps,
             rig_str(&g, "metadata.continue"));
    CHECK_INT(rig_call(&g, request, NULL, NULL), 200);
    CHECK_STR(json_str_at(json_item(json_get(g.body, "items"), 0), "metadata.name", ""), "b");
    rig_stop(&g);
}

TEST(a_disk_that_is_behind_turns_writers_away)
{
    struct rig g;
    struct api_request rq = {.method = slice_of("POST"), .target = slice_of(maps), .user = &g.user};
    unsigned status = 201;
    char body[64];
    int n = 0;

    start(&g);
    for (; status == 201 && n < 2 * STORE_PENDING; n++) {
        struct api_response out = {0};
        snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"m%d\"}}", n);
        rq.body = slice_of(body);
        api_handle(g.api, &rq, &out);
        status = out.status;
        api_response_fini(&out);
    }
    CHECK_INT(status, 503);
    CHECK_INT(n, STORE_PENDING + 1);
    store_set_durable(g.store, store_rv(g.store));
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/configmaps", NULL,
                       "{\"metadata\":{\"name\":\"x\"}}"),
              201);
    rig_stop(&g);
}

TEST(what_does_not_get_to_the_disk_in_time_is_not_confirmed)
{
    struct rig g;
    struct api_request rq = {.method = slice_of("POST"), .target = slice_of(maps), .user = &g.user};
    struct api_response out = {0};

    start(&g);
    rq.body = slice_of("{\"metadata\":{\"name\":\"late\"}}");
    api_handle(g.api, &rq, &out);
    CHECK_INT(out.status, 201);
    CHECK(out.rests_on > store_durable(g.store));
    api_refuse_late(g.api, &out);
    CHECK_INT(out.status, 504);
    CHECK_INT(out.retry_after_s, 1);
    CHECK(strstr(strbuf_text(&out.body), "\"reason\":\"Timeout\"") != NULL);
    CHECK(strstr(strbuf_text(&out.body), "late") == NULL); /* nothing of the first answer */
    api_response_fini(&out);
    rig_stop(&g);
}

TEST(a_namespace_goes_with_everything_in_it)
{
    struct rig g;

    start(&g);
    put_map(&g, "a", "");
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL,
                       "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"containers\":"
                       "[{\"name\":\"c\",\"image\":\"x\"}]}}"),
              201);
    CHECK_INT(rig_call(&g, "DELETE /api/v1/namespaces/shop", NULL, NULL), 200);
    CHECK_STR(rig_str(&g, "status.phase"), "Terminating");
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/configmaps", NULL,
                       "{\"metadata\":{\"name\":\"b\"}}"),
              403);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop/configmaps/a", NULL, NULL), 404);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop/pods/p", NULL, NULL), 200);
    CHECK(json_at(g.body, "metadata.deletionTimestamp"));
    CHECK_INT(
        rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/p?gracePeriodSeconds=0", NULL, NULL),
        200);
    api_tick(g.api, g.now_ns);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop", NULL, NULL), 404);
    rig_stop(&g);
}

/* A time that no clock has: the sum would not fit, and what it wrapped into is no end. */
TEST(a_pod_may_be_given_any_number_of_seconds_to_end)
{
    struct rig g;
    const char *all[] = {"9223372036854775807", "99999999999"};

    start(&g);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char options[64];
        (void)snprintf(options, sizeof(options), "{\"gracePeriodSeconds\":%s}", all[i]);
        CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL,
                           "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\","
                           "\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}"),
                  201);
        CHECK_INT(
            rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/p", "application/json", options),
            200);
        CHECK_INT(rig_int(&g, "metadata.deletionGracePeriodSeconds"), INT32_MAX);
        CHECK(strcmp(rig_str(&g, "metadata.deletionTimestamp"),
                     rig_str(&g, "metadata.creationTimestamp")) > 0);
        CHECK_INT(
            rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/p?gracePeriodSeconds=0", NULL, NULL),
            200);
    }
    rig_stop(&g);
}

static const char token_path[] = "POST /api/v1/namespaces/shop/serviceaccounts/default/token";
static const char review_path[] = "POST /apis/authentication.k8s.io/v1/tokenreviews";

static bool is_valid(struct rig *g, const char *token)
{
    char body[512];

    snprintf(body, sizeof(body), "{\"spec\":{\"token\":\"%s\",\"audiences\":[\"istio-ca\"]}}",
             token);
    return rig_call(g, review_path, NULL, body) == 201 &&
           json_bool_at(g->body, "status.authenticated", false);
}

/* As kubectl asks in JSON, where nothing was said: null is not an object that is named badly. */
TEST(a_token_that_is_bound_to_nothing_may_say_so)
{
    struct rig g;

    start(&g);
    CHECK_INT(
        rig_call(
            &g, token_path, NULL,
            "{\"spec\":{\"audiences\":null,\"expirationSeconds\":null,\"boundObjectRef\":null}}"),
        201);
    CHECK(rig_str(&g, "status.token")[0] != '\0');
    CHECK_INT(rig_call(&g, token_path, NULL, "{\"spec\":{\"boundObjectRef\":{}}}"), 422);
    rig_stop(&g);
}

TEST(a_token_lives_as_long_as_its_pod_its_account_and_its_time)
{
    struct rig g;
    static const char bound[] = "{\"spec\":{\"audiences\":[\"istio-ca\"],\"boundObjectRef\":"
                                "{\"kind\":\"Pod\",\"name\":\"p\"}}}";
    static const char pod[] =
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"containers\":"
        "[{\"name\":\"c\",\"image\":\"x\"}]}}";

    start(&g);
    CHECK_INT(rig_call(&g, token_path, NULL, bound), 404);
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, pod), 201);
    CHECK_INT(rig_call(&g, token_path, NULL, bound), 201);
    AUTO(text) char *token = mem_strdup(rig_str(&g, "status.token"));
    CHECK(is_valid(&g, token));
    CHECK_STR(rig_str(&g, "status.user.username"), "system:serviceaccount:shop:default");
    CHECK_STR(json_str(json_item(json_get(json_at(g.body, "status.user.extra"),
                                          "authentication.kubernetes.io/node-name"),
                                 0),
                       ""),
              "n");
    token[strlen(token) - 1] ^= 1;
    CHECK(!is_valid(&g, token));
    token[strlen(token) - 1] ^= 1;
    CHECK(!is_valid(&g, "nonsense"));
    g.now_ns += 3599 * 1000000000ull;
    CHECK(is_valid(&g, token));
    g.now_ns += 1000000000ull;
    CHECK(!is_valid(&g, token));
    CHECK_STR(rig_str(&g, "status.error"), "token has expired");
    g.now_ns -= 1000000000ull;
    CHECK_INT(
        rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/p?gracePeriodSeconds=0", NULL, NULL),
        200);
    CHECK(!is_valid(&g, token));
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, pod), 201);
    CHECK(!is_valid(&g, token)); /* another pod of that name */
    rig_stop(&g);
}

TEST(a_lifetime_that_is_no_number_of_seconds_is_refused_by_name)
{
    static const struct {
        const char *seconds;
        int status;
    } rows[] = {{"\"x\"", 400},
                {"1e30", 400},
                {"0.5", 400},
                {"true", 400},
                {"{}", 400},
                {"599", 422},
                {"-1", 422},
                {"3600", 201},
                {"3600.0", 201},
                {"null", 201},
                {"9223372036854775807", 422}};
    struct rig g;
    char body[100];

    start(&g);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(body, sizeof(body), "{\"spec\":{\"expirationSeconds\":%s}}", rows[i].seconds);
        CHECK_INT(rig_call(&g, token_path, NULL, body), rows[i].status);
        CHECK(rows[i].status == 201 ||
              strstr(rig_str(&g, "message"), "spec.expirationSeconds") != NULL);
    }
    rig_stop(&g);
}

TEST(expired_tokens_are_forgotten)
{
    struct rig g;
    const struct kind *tokens = kind_stored("tokens.ambit.internal");

    start(&g);
    CHECK_INT(rig_call(&g, token_path, NULL, "{\"spec\":{}}"), 201);
    CHECK_INT(store_count(g.store, tokens), 1);
    api_tick(g.api, g.now_ns);
    CHECK_INT(store_count(g.store, tokens), 1);
    api_tick(g.api, g.now_ns + (TOKEN_LIFE_S + 1) * 1000000000ull);
    CHECK_INT(store_count(g.store, tokens), 0);
    rig_stop(&g);
}

TEST(tokens_cannot_be_read_back)
{
    struct rig g;

    start(&g);
    CHECK_INT(rig_call(&g, token_path, NULL, "{\"spec\":{}}"), 201);
    CHECK_INT(rig_call(&g, "GET /apis/ambit.internal/v1/tokens", NULL, NULL), 404);
    rig_stop(&g);
}

/* A token bound to a pod, and a pod of a node. */
static const char token_of_pod[] =
    "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"%s\"}}}";
static const char pod_of_node[] =
    "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"nodeName\":\"%s\",\"containers\":"
    "[{\"name\":\"c\",\"image\":\"x\"}]}}";

TEST(a_node_gets_tokens_only_for_pods_of_its_own)
{
    struct rig g;
    char body[256];

    start(&g);
    snprintf(body, sizeof(body), pod_of_node, "mine", "a");
    rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, body);
    snprintf(body, sizeof(body), pod_of_node, "theirs", "b");
    rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, body);
    g.user = (struct api_user){.name = "system:node:a", .node = "a"};
    CHECK_INT(rig_call(&g, token_path, NULL, "{\"spec\":{}}"), 403);
    snprintf(body, sizeof(body), token_of_pod, "theirs");
    CHECK_INT(rig_call(&g, token_path, NULL, body), 403);
    snprintf(body, sizeof(body), token_of_pod, "mine");
    CHECK_INT(rig_call(&g, token_path, NULL, body), 201);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop/pods/theirs", NULL, NULL), 403);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop/pods/mine", NULL, NULL), 200);
    snprintf(body, sizeof(body), pod_of_node, "new", "b");
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, body), 403);
    CHECK_INT(rig_call(&g, "DELETE /api/v1/namespaces/shop/pods/theirs", NULL, NULL), 403);
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop/pods/theirs/status",
                       "application/merge-patch+json", "{\"status\":{}}"),
              403);
    rig_stop(&g);
}

TEST(one_node_cannot_take_the_tokens_of_all)
{
    struct rig g;
    const char *const nodes[] = {"a", "b"};
    char body[256];

    start(&g);
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof(body), pod_of_node, nodes[i], nodes[i]);
        CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, body), 201);
    }
    g.user = (struct api_user){.name = "system:node:a", .node = "a"};
    snprintf(body, sizeof(body), token_of_pod, "a");
    int given = 0;
    while (given <= TOKENS_NODE_MAX && rig_call(&g, token_path, NULL, body) == 201) {
        given++;
    }
    CHECK_INT(given, TOKENS_NODE_MAX);
    CHECK_INT(g.out.status, 429);
    g.user = (struct api_user){.name = "system:node:b", .node = "b"};
    snprintf(body, sizeof(body), token_of_pod, "b");
    CHECK_INT(rig_call(&g, token_path, NULL, body), 201);
    rig_stop(&g);
}

TEST(a_node_writes_no_lease_but_the_one_that_says_it_lives)
{
    struct rig g;
    static const char lease[] = "{\"metadata\":{\"name\":\"a\"}}";

    start(&g);
    rig_namespace(&g, "kube-node-lease");
    g.user = (struct api_user){.name = "system:node:a", .node = "a"};
    CHECK_INT(rig_call(&g, "POST /apis/coordination.k8s.io/v1/namespaces/shop/leases", NULL, lease),
              403);
    CHECK_INT(rig_call(&g, "POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
                       NULL, lease),
              201);
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/events", NULL,
                       "{\"metadata\":{\"name\":\"e\"}}"),
              403);
    rig_stop(&g);
}

static unsigned grow(struct rig *g, const char *path, int round)
{
    struct strbuf body = {0};

    strbuf_puts(&body, "{\"metadata\":{\"labels\":{");
    for (int i = 0; i < 12000; i++) {
        strbuf_printf(&body, "%s\"l%d-%d\":\"%060d\"", i > 0 ? "," : "", round, i, i);
    }
    strbuf_puts(&body, "}}}");
    unsigned status = rig_call(g, path, "application/merge-patch+json", strbuf_text(&body));
    strbuf_fini(&body);
    return status;
}

TEST(patches_do_not_make_an_object_outgrow_its_readers)
{
    struct rig g;
    struct strbuf deep = {0};
    unsigned status = 200;
    int rounds = 0;

    start(&g);
    rig_call(&g, "POST /api/v1/namespaces/shop/configmaps", NULL,
             "{\"metadata\":{\"name\":\"m\"}}");
    for (; rounds < 10 && status == 200; rounds++) {
        status = grow(&g, "PATCH /api/v1/namespaces/shop/configmaps/m", rounds);
    }
    CHECK_INT(status, 413);
    CHECK(rounds > 1);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop/configmaps/m", NULL, NULL), 200);
    CHECK(g.out.body.len <= API_OBJECT_BYTES);

    /* what nests deeper than a list of it would parse */
    rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL,
             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
             "\"x\"}]}}");
    strbuf_puts(&deep, "{\"status\":{\"containerStatuses\":");
    strbuf_printf(&deep, "%.*s%.*s}}", 60,
                  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 60,
                  "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop/pods/p/status",
                       "application/merge-patch+json", strbuf_text(&deep)),
              422);
    /* what is small as text and large as values */
    strbuf_clear(&deep);
    strbuf_puts(&deep, "{\"status\":{\"containerStatuses\":[0");
    for (int i = 0; i < API_OBJECT_VALUES; i++) {
        strbuf_puts(&deep, ",0");
    }
    strbuf_puts(&deep, "]}}");
    CHECK_INT(rig_call(&g, "PATCH /api/v1/namespaces/shop/pods/p/status",
                       "application/merge-patch+json", strbuf_text(&deep)),
              413);
    strbuf_fini(&deep);
    rig_stop(&g);
}

TEST(a_page_of_large_objects_ends_early)
{
    struct rig g;
    char body[64];

    start(&g);
    for (int i = 0; i < 12; i++) {
        char path[80];
        snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"big%d\"}}", i);
        rig_call(&g, "POST /api/v1/namespaces/shop/configmaps", NULL, body);
        snprintf(path, sizeof(path), "PATCH /api/v1/namespaces/shop/configmaps/big%d", i);
        CHECK_INT(grow(&g, path, i), 200);
        CHECK_INT(grow(&g, path, i + 100), 200);
    }
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces/shop/configmaps?limit=500", NULL, NULL), 200);
    CHECK(g.out.body.len < API_PAGE_BYTES + API_OBJECT_BYTES + 4096);
    CHECK(rig_str(&g, "metadata.continue")[0] != '\0');
    CHECK(json_count(json_get(g.body, "items")) < 12);
    rig_stop(&g);
}

TEST(a_service_account_can_be_kept_off_other_nodes)
{
    struct rig g;
    static const char pod[] =
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"a\",\"serviceAccountName\":"
        "\"s\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}";
    struct api_user node = {.name = "system:node:a", .node = "a"};

    start(&g);
    struct api_user admin = g.user;
    rig_call(
        &g, "POST /api/v1/namespaces/shop/serviceaccounts", NULL,
        "{\"metadata\":{\"name\":\"s\",\"annotations\":{\"ambit.io/allowed-nodes\":\"b, c\"}}}");
    g.user = node;
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, pod), 403);
    g.user = admin;
    rig_call(&g, "PATCH /api/v1/namespaces/shop/serviceaccounts/s", "application/merge-patch+json",
             "{\"metadata\":{\"annotations\":{\"ambit.io/allowed-nodes\":\"b, a\"}}}");
    g.user = node;
    CHECK_INT(rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL, pod), 201);
    rig_stop(&g);
}

TEST(a_new_server_has_what_every_cluster_has_and_leaves_what_is_there)
{
    struct rig g;

    rig_start(&g);
    bootstrap(g.api, 1);
    unsigned long long rv = store_rv(g.store);
    bootstrap(g.api, 2);
    CHECK_INT(store_rv(g.store), rv);
    CHECK_INT(
        rig_call(&g, "GET /api/v1/namespaces/kube-node-lease/serviceaccounts/default", NULL, NULL),
        200);
    CHECK_INT(rig_call(&g,
                       "GET "
                       "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
                       "gateways.gateway.networking.k8s.io",
                       NULL, NULL),
              200);
    CHECK_STR(rig_str(&g, "spec.names.kind"), "Gateway");
    rig_stop(&g);
}

TEST(nobody_in_particular_gets_health_and_version_only)
{
    struct rig g;

    start(&g);
    g.user = (struct api_user){.name = "system:anonymous", .is_anonymous = true};
    CHECK_INT(rig_call(&g, "GET /healthz", NULL, NULL), 200);
    CHECK_INT(rig_call(&g, "GET /version", NULL, NULL), 200);
    CHECK_INT(rig_call(&g, "GET /api", NULL, NULL), 401);
    CHECK_INT(rig_call(&g, "GET /apis", NULL, NULL), 401);
    CHECK_INT(rig_call(&g, "GET /api/v1/namespaces", NULL, NULL), 401);
    CHECK_STR(rig_str(&g, "reason"), "Unauthorized");
    rig_stop(&g);
}

/* ---- endpoint slices */

static struct json *parse(const char *text)
{
    struct json *j = NULL;

    return json_parse(&j, text, strlen(text), NULL, NULL) < 0 ? NULL : j;
}

static const char service_text[] =
    "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u\"},\"spec\":{"
    "\"ipFamilies\":[\"IPv4\","
    "\"IPv6\"],\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\",\"targetPort\":"
    "\"named\"},"
    "{\"name\":\"n\",\"port\":90,\"protocol\":\"TCP\",\"targetPort\":9090}]}}";

static void add_pod(struct json *pods, const char *name, const char *ips, int port,
                    const char *extra)
{
    char text[512];

    snprintf(text, sizeof(text),
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"shop\",\"uid\":\"%s\"},\"spec\":{"
             "\"nodeName\":\"n\","
             "\"containers\":[{\"name\":\"c\",\"ports\":[{\"name\":\"named\",\"protocol\":\"TCP\","
             "\"containerPort\":%d}]}]},\"status\":{\"podIPs\":[%s]%s}}",
             name, name, port, ips, extra);
    json_append(pods, parse(text));
}

static const char ready[] = ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]";

TEST(slices_follow_families_ports_and_readiness)
{
    AUTO(json) struct json *service = parse(service_text);
    AUTO(json) struct json *pods = json_new_array();
    AUTO(strbuf) struct strbuf seen = {0};

    add_pod(pods, "both", "{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}", 8080, ready);
    add_pod(pods, "four", "{\"ip\":\"10.0.0.2\"}", 8080, "");
    add_pod(pods, "odd", "{\"ip\":\"10.0.0.3\"}", 8081, ready);
    add_pod(pods, "over", "{\"ip\":\"10.0.0.4\"}", 8080, ",\"phase\":\"Succeeded\"");
    add_pod(pods, "noip", "", 8080, ready);
    AUTO(json) struct json *slices = endpoints_of(service, pods);
    for (size_t i = 0; i < json_count(slices); i++) {
        const struct json *s = json_item(slices, i);
        const struct json *endpoints = json_get(s, "endpoints");
        strbuf_printf(&seen, "%s %s", json_str_at(s, "metadata.name", ""),
                      json_str_at(s, "addressType", ""));
        for (size_t k = 0; k < json_count(json_get(s, "ports")); k++) {
            strbuf_printf(&seen, " %lld",
                          (long long)json_int_at(json_item(json_get(s, "ports"), k), "port", 0));
        }
        for (size_t k = 0; k < json_count(endpoints); k++) {
            const struct json *e = json_item(endpoints, k);
            strbuf_printf(&seen, " %s%s", json_str(json_item(json_get(e, "addresses"), 0), ""),
                          json_bool_at(e, "conditions.ready", false) ? "" : "!");
        }
        strbuf_puts(&seen, "\n");
    }
    CHECK_STR(strbuf_text(&seen), "web-ipv4-0 IPv4 8080 9090 10.0.0.1 10.0.0.2!\n"
                                  "web-ipv4-1 IPv4 8081 9090 10.0.0.3\n"
                                  "web-ipv6-2 IPv6 8080 9090 fd00::1\n");
}

TEST(slices_are_written_when_pods_and_services_change)
{
    struct rig g;
    struct diag why = {0};
    static const char slices[] = "GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

    start(&g);
    AUTO(loop) struct loop *l = loop_new(&why);
    struct endpoints *e = endpoints_new(g.api, l);
    rig_call(&g, "POST /api/v1/namespaces/shop/services", NULL,
             "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":["
             "{\"port\":80}]}}");
    rig_call(&g, "POST /api/v1/namespaces/shop/pods", NULL,
             "{\"metadata\":{\"name\":\"p\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":"
             "[{\"name\":\"c\",\"image\":\"x\"}]}}");
    loop_turn(l, 0);
    rig_call(&g, slices, NULL, NULL);
    CHECK_INT(json_count(json_get(g.body, "items")), 0);
    rig_call(&g, "PATCH /api/v1/namespaces/shop/pods/p/status", "application/merge-patch+json",
             "{\"status\":{\"podIP\":\"10.0.0.9\"}}");
    loop_turn(l, 0);
    rig_call(&g, slices, NULL, NULL);
    CHECK_INT(json_count(json_get(g.body, "items")), 1);
    unsigned long long rv = store_rv(g.store);
    store_set_durable(g.store, rv);
    for (int i = 0; i < 5; i++) {
        loop_turn(l, 0);
    }
    CHECK_INT(store_rv(g.store), rv); /* it comes to rest */
    rig_call(&g, "DELETE /api/v1/namespaces/shop/services/web", NULL, NULL);
    loop_turn(l, 0);
    rig_call(&g, slices, NULL, NULL);
    CHECK_INT(json_count(json_get(g.body, "items")), 0);
    endpoints_free(e);
    rig_stop(&g);
}

/* The last number of the address that a service of that name gets in 10.9.0.0/27; 0: none. */
static long given(struct rig *g, unsigned n)
{
    char body[128];

    snprintf(body, sizeof(body),
             "{\"metadata\":{\"name\":\"s%u\"},\"spec\":{\"ports\":[{\"port\":80}]}}", n);
    if (rig_call(g, "POST /api/v1/namespaces/default/services", NULL, body) != 201) {
        return 0;
    }
    const char *address = rig_str(g, "spec.clusterIP");
    return strtol(address + strlen("10.9.0."), NULL, 10);
}

/* Who names an address is not told by chance that somebody has it. */
TEST(the_first_addresses_are_for_services_that_name_theirs)
{
    enum { USABLE = 30, KEPT = 16 };
    bool taken[USABLE + 2] = {false};
    struct rig g;

    rig_start_in(&g, "10.9.0.0/27");
    for (unsigned i = 0; i < USABLE; i++) {
        long last = given(&g, i);
        CHECK(last > 0 && last <= USABLE && !taken[last]);
        CHECK((last > KEPT) == (i < USABLE - KEPT)); /* until nothing else is left */
        taken[last] = true;
    }
    CHECK_INT(given(&g, USABLE), 0);
    rig_stop(&g);
}
