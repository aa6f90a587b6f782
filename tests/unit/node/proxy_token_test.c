/* SPDX-License-Identifier: Apache-2.0 */
#include "node/proxy_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/jobs.h"
#include "kube/client.h"
#include "kube/config.h"
#include "node/proxy_pod.h"
#include "script_server.h"
#include "t.h"

#define REQUEST "/api/v1/namespaces/istio-system/serviceaccounts/ztunnel/token"

struct rig {
    struct script_server server;
    struct loop *loop;
    struct jobs *jobs;
    struct kube_client *client;
    struct proxy_token *token;
    char dir[40];
    char path[64];
};

static struct kube_client *client_of(const struct rig *g)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    struct kube_client *client = NULL;
    struct diag why = {0};
    char text[512];

    (void)snprintf(
        text, sizeof(text),
        "{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"current-context\":\"x\",\"contexts\":"
        "[{\"name\":\"x\",\"context\":{\"cluster\":\"x\",\"user\":\"x\"}}],\"clusters\":"
        "[{\"name\":\"x\",\"cluster\":{\"server\":\"http://127.0.0.1:%u\"}}],\"users\":"
        "[{\"name\":\"x\",\"user\":{\"token\":\"t\"}}]}",
        g->server.port);
    if (kube_config_parse_blocking(slice_of(text), "/", NULL, &why, &config) < 0 ||
        kube_client_new(g->loop, g->jobs, config, "test", &why, &client) < 0) {
        printf("Bail out! %s\n", why.text);
        exit(1);
    }
    return client;
}

static void rig_start(struct rig *g, const struct script_line *script, const char *file)
{
    *g = (struct rig){.dir = "/tmp/node-token-XXXXXX"};
    g->loop = loop_new(NULL);
    g->jobs = jobs_new(1, 16, 16, NULL);
    if (!g->loop || !g->jobs || !mkdtemp(g->dir)) {
        exit(1);
    }
    (void)snprintf(g->path, sizeof(g->path), "%s/%s", g->dir, file);
    script_server_start(&g->server, script);
    g->client = client_of(g);
    struct proxy_token_config c = {.client = g->client,
                                   .jobs = g->jobs,
                                   .path = g->path,
                                   .namespace = "istio-system",
                                   .node = "node-a"};
    g->token = proxy_token_new(&c);
}

static void rig_stop(struct rig *g)
{
    proxy_token_free(g->token);
    kube_client_free(g->client);
    jobs_free(g->jobs);
    (void)loop_turn(g->loop, 0);
    loop_free(g->loop);
    script_server_stop(&g->server);
    (void)unlink(g->path);
    (void)rmdir(g->dir);
}

static unsigned requests(struct rig *g)
{
    unsigned n = 0;

    (void)pthread_mutex_lock(&g->server.lock);
    for (const char *at = g->server.asked; (at = strstr(at, "POST " REQUEST)) != NULL; at++) {
        n++;
    }
    (void)pthread_mutex_unlock(&g->server.lock);
    return n;
}

/* False: fewer requests than that within thirty seconds. */
static bool await_requests(struct rig *g, unsigned count)
{
    uint64_t deadline = clock_mono_ms() + 30000;

    while (requests(g) < count) {
        if (clock_mono_ms() > deadline) {
            return false;
        }
        (void)loop_turn(g->loop, 10);
    }
    return true;
}

/* False: nothing like that was asked within thirty seconds. */
static bool await_text(struct rig *g, const char *text)
{
    uint64_t deadline = clock_mono_ms() + 30000;

    while (!script_server_was_asked(&g->server, text)) {
        if (clock_mono_ms() > deadline) {
            return false;
        }
        (void)loop_turn(g->loop, 10);
    }
    return true;
}

TEST(the_file_holds_a_token_of_the_nodes_proxy_that_is_renewed_before_its_end)
{
    static const struct script_line script[] = {
        {"POST", REQUEST, 201,
         "{\"kind\":\"TokenRequest\",\"spec\":{\"expirationSeconds\":1},\"status\":{\"token\":"
         "\"name.secret\"}}"},
        {NULL, NULL, 0, NULL}};
    struct rig g;
    struct stat st = {0};
    char *text = NULL;

    uint64_t began = clock_mono_ms();
    rig_start(&g, script, "token");
    bool again = await_requests(&g, 3);
    uint64_t took = clock_mono_ms() - began;
    bool bound = script_server_was_asked(&g.server, "\"kind\":\"Pod\",\"name\":\"ztunnel-node-a\"");
    bool meant = script_server_was_asked(&g.server, "\"audiences\":[\"istio-ca\"]");
    int r = file_read_blocking(g.path, &text, NULL, NULL);
    (void)stat(g.path, &st);
    rig_stop(&g);
    AUTO(text) char *token = r < 0 ? NULL : text;
    CHECK(again);
    CHECK(took >= 1600); /* four fifths of its life, twice */
    CHECK(bound);
    CHECK(meant);
    CHECK_INT(r, 0);
    CHECK_STR(token, "name.secret");
    CHECK_INT(st.st_mode & 07777, 0600);
}

TEST(whoever_is_refused_or_cannot_write_asks_again_after_a_while)
{
    static const struct script_line refused[] = {
        {"POST", REQUEST, 403,
         "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Forbidden\",\"code\":403}"},
        {NULL, NULL, 0, NULL}};
    static const struct script_line empty[] = {{"POST", REQUEST, 201, "{\"status\":{}}"},
                                               {NULL, NULL, 0, NULL}};
    static const struct script_line good[] = {
        {"POST", REQUEST, 201, "{\"status\":{\"token\":\"a.b\"}}"}, {NULL, NULL, 0, NULL}};
    const struct script_line *const scripts[] = {refused, empty, good};

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct rig g;
        uint64_t began = clock_mono_ms();
        rig_start(&g, scripts[i], scripts[i] == good ? "no/such/folder" : "token");
        bool again = await_requests(&g, 2);
        uint64_t took = clock_mono_ms() - began;
        bool written = file_exists_blocking(g.path);
        rig_stop(&g);
        CHECK(again);
        CHECK(took >= PROXY_TOKEN_RETRY_MIN_MS);
        CHECK(!written);
    }
}

TEST(the_proxys_pod_is_ready_while_a_proxy_is_connected)
{
    static const struct script_line script[] = {
        {"POST", REQUEST, 500, "{}"},
        {"PATCH", "/api/v1/namespaces/istio-system/pods/ztunnel-node-a/status", 200, "{}"},
        {0}};
    static const char ready[] = "\"ready\":true,\"started\":true,\"state\":{\"running\":";
    static const char not_ready[] = "\"ready\":false,\"started\":false,\"state\":{\"waiting\":";
    struct rig g;

    rig_start(&g, script, "token");
    struct proxy_pod *pod = proxy_pod_new(g.client, "istio-system", "node-a");
    CHECK(await_text(&g, not_ready));
    CHECK(!script_server_was_asked(&g.server, "\"type\":\"Ready\",\"status\":\"True\""));
    proxy_pod_set(pod, true);
    CHECK(await_text(&g, ready));
    CHECK(script_server_was_asked(&g.server, "\"type\":\"Ready\",\"status\":\"True\""));
    proxy_pod_free(pod);
    rig_stop(&g);
}
