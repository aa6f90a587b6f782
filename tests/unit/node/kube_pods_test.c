/* SPDX-License-Identifier: Apache-2.0 */
#include "node/kube_pods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/jobs.h"
#include "kube/client.h"
#include "kube/config.h"
#include "script_server.h"
#include "t.h"

#define POD(version, status)                                                                       \
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"uid\":\"u1\",\"name\":\"cart-1\","    \
    "\"namespace\":\"shop\",\"resourceVersion\":\"" version "\"},\"status\":{" status "}}"
#define LIST(kind, items)                                                                          \
    "{\"kind\":\"" kind "\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"10\"},"      \
    "\"items\":[" items "]}"
#define NAMESPACE                                                                                  \
    "{\"metadata\":{\"uid\":\"n1\",\"name\":\"shop\",\"resourceVersion\":\"2\",\"labels\":"        \
    "{\"istio.io/dataplane-mode\":\"ambient\"}}}"

static const struct script_line script[] = {
    {"GET", "/api/v1/namespaces*watch=", 200, NULL},
    {"GET", "/api/v1/pods*watch=", 200,
     "{\"type\":\"MODIFIED\",\"object\":" POD(
         "11", "\"podIP\":\"10.0.0.9\"") "}\n"
                                         "{\"type\":\"DELETED\",\"object\":" POD("12", "") "}\n"},
    {"GET", "/api/v1/namespaces", 200, LIST("NamespaceList", NAMESPACE)},
    {"GET", "/api/v1/pods", 200, LIST("PodList", POD("9", "\"podIP\":\"10.0.0.5\""))},
    {"PATCH", "/api/v1/namespaces/shop/pods/cart-1/status", 200, POD("13", "")},
    {"PATCH", "/api/v1/namespaces/shop/pods/gone/status", 404,
     "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"NotFound\",\"code\":404}"},
    {"POST", "/api/v1/namespaces/shop/pods", 201, POD("14", "")},
    {"POST", "/api/v1/namespaces/shop/serviceaccounts/cart/token", 201,
     "{\"kind\":\"TokenRequest\",\"spec\":{\"expirationSeconds\":1800},\"status\":{\"token\":"
     "\"secret\"}}"},
    {"POST", "/api/v1/namespaces/taken/pods", 409,
     "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"AlreadyExists\",\"code\":409}"},
    {"DELETE", "/api/v1/namespaces/shop/pods/cart-1", 200, POD("15", "")},
    {NULL, NULL, 0, NULL},
};

struct rig {
    struct script_server server;
    struct loop *loop;
    struct jobs *jobs;
    struct kube_client *client;
    struct kube_pods *pods;
    struct pod_source *source;
    struct task task;
};

static void on_wake(struct task *t, unsigned why)
{
    (void)t, (void)why;
}

static void rig_start_with(struct rig *g, const struct script_line *lines)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    struct pod_json_options options = {.dns = true, .mesh_namespace = "istio-system"};
    char text[512];

    script_server_start(&g->server, lines);
    g->loop = loop_new(NULL);
    g->jobs = jobs_new(1, 16, 16, NULL);
    (void)snprintf(
        text, sizeof(text),
        "{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"current-context\":\"x\",\"contexts\":"
        "[{\"name\":\"x\",\"context\":{\"cluster\":\"x\",\"user\":\"x\"}}],\"clusters\":"
        "[{\"name\":\"x\",\"cluster\":{\"server\":\"http://127.0.0.1:%u\"}}],\"users\":"
        "[{\"name\":\"x\",\"user\":{\"token\":\"t\"}}]}",
        g->server.port);
    struct diag why = {0};
    if (!g->loop || !g->jobs ||
        kube_config_parse_blocking(slice_of(text), "/", NULL, &why, &config) < 0 ||
        kube_client_new(g->loop, g->jobs, config, "test", &why, &g->client) < 0) {
        printf("Bail out! %s\n", why.text);
        exit(1);
    }
    task_init(&g->task, g->loop, "reader", on_wake);
    g->pods = kube_pods_new(g->client, "node-a", &options);
    g->source = kube_pods_source(g->pods);
}

static void rig_start(struct rig *g)
{
    rig_start_with(g, script);
}

static void rig_stop(struct rig *g)
{
    kube_pods_free(g->pods);
    kube_client_free(g->client);
    jobs_free(g->jobs);
    task_fini(&g->task);
    loop_free(g->loop);
    script_server_stop(&g->server);
}

/* The next event within thirty seconds; false if there is none. */
static bool await_event(struct rig *g, struct pod_event *out)
{
    uint64_t deadline = clock_mono_ms() + 30000;
    int r;

    while ((r = g->source->ops->next(g->source, out)) == -EAGAIN) {
        if (clock_mono_ms() > deadline) {
            return false;
        }
        (void)loop_turn(g->loop, 10);
    }
    return r == 1;
}

static int await_result(struct rig *g, struct pod_write *w)
{
    uint64_t deadline = clock_mono_ms() + 30000;
    struct diag why;
    int r;

    while ((r = g->source->ops->result(w, &why)) == -EAGAIN && clock_mono_ms() < deadline) {
        (void)loop_turn(g->loop, 10);
    }
    return r;
}

TEST(what_exists_is_told_first_then_what_changes)
{
    struct rig g;
    struct pod_event e[5] = {{0}};
    int got = 0;

    rig_start(&g);
    g.source->ops->own(g.source, &g.task);
    while (got < 5 && await_event(&g, &e[got])) {
        got++;
    }
    bool selected = script_server_was_asked(&g.server, "fieldSelector=spec.nodeName%3Dnode-a");
    rig_stop(&g);
    int pods = 0;
    int synced = -1;
    bool ambient = false;
    int gone = -1;
    int last_pod = -1;
    for (int i = 0; i < got; i++) {
        pods += e[i].kind == POD_EVENT_POD;
        synced = e[i].kind == POD_EVENT_SYNCED ? i : synced;
        gone = e[i].kind == POD_EVENT_POD_GONE ? i : gone;
        last_pod = e[i].kind == POD_EVENT_POD ? i : last_pod;
        ambient |= e[i].kind == POD_EVENT_NAMESPACE && strcmp(e[i].mode, "ambient") == 0 &&
                   strcmp(e[i].namespace, "shop") == 0;
        pod_free(e[i].pod);
    }
    CHECK_INT(got, 5);
    CHECK_INT(pods, 2);
    CHECK(synced >= 2);
    CHECK(ambient);
    CHECK(gone > last_pod);
    CHECK(selected);
}

/* The server breaks the watch of pods each time; every list after that is news. */
TEST(that_everything_is_known_is_told_again_when_the_api_was_away)
{
    static const struct script_line breaking[] = {
        {"GET", "/api/v1/namespaces*watch=", 200, NULL},
        {"GET", "/api/v1/pods*watch=", 200,
         "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":500}}\n"},
        {"GET", "/api/v1/namespaces", 200, LIST("NamespaceList", NAMESPACE)},
        {"GET", "/api/v1/pods", 200, LIST("PodList", POD("9", "\"podIP\":\"10.0.0.5\""))},
        {NULL, NULL, 0, NULL},
    };
    struct rig g;
    struct pod_event e = {0};
    int pods = 0;
    int syncs = 0;

    rig_start_with(&g, breaking);
    g.source->ops->own(g.source, &g.task);
    while (syncs < 3 && await_event(&g, &e)) {
        syncs += e.kind == POD_EVENT_SYNCED;
        pods += e.kind == POD_EVENT_POD;
        pod_free(e.pod);
        e = (struct pod_event){0};
    }
    rig_stop(&g);
    CHECK_INT(syncs, 3);
    CHECK_INT(pods, 1); /* it has not changed */
}

TEST(requests_go_where_they_belong_and_answers_are_understood)
{
    static const char *const labels[] = {"app", "cart", NULL};
    char shop[] = "shop";
    char uid[] = "u1";
    char cart[] = "cart-1";
    char gone_name[] = "gone";
    struct pod pod = {.uid = uid, .namespace = shop, .name = cart};
    struct pod gone = {.uid = uid, .namespace = shop, .name = gone_name};
    struct pod_spec spec = {.namespace = "shop",
                            .name = "cart-1",
                            .service_account = "cart",
                            .node = "node-a",
                            .labels = labels};
    struct pod_spec taken = spec;
    struct rig g;

    taken.namespace = "taken";
    rig_start(&g);
    const struct pod_source_ops *ops = g.source->ops;
    struct pod_write *writes[] = {
        ops->announce(g.source, &g.task, &pod, true),
        ops->announce(g.source, &g.task, &gone, false),
        ops->create(g.source, &g.task, &spec),
        ops->create(g.source, &g.task, &taken),
        ops->set_phase(g.source, &g.task, &spec, POD_RUNNING, true),
        ops->remove(g.source, &g.task, "shop", "cart-1"),
        ops->remove(g.source, &g.task, "shop", "nobody"),
        ops->token(g.source, &g.task, &spec, "u1"),
    };
    static const int want[] = {0, -ERR_NOT_FOUND, 0, -ERR_EXISTS, 0, 0, -ERR_NOT_FOUND, 0};
    int got[ARRAY_LEN(writes)];
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        got[i] = await_result(&g, writes[i]);
    }
    bool has_uid = strcmp(ops->uid(writes[2]), "u1") == 0;
    unsigned life_s = 0;
    bool has_secret = strcmp(ops->secret(writes[7], &life_s), "secret") == 0;
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        ops->drop(writes[i]);
    }
    bool enabled =
        script_server_was_asked(&g.server, "\"ambient.istio.io/redirection\":\"enabled\"");
    bool away = script_server_was_asked(&g.server, "\"ambient.istio.io/redirection\":null");
    bool grace = script_server_was_asked(&g.server, "\"gracePeriodSeconds\":0");
    bool bound = script_server_was_asked(&g.server, "\"name\":\"cart-1\",\"uid\":\"u1\"");
    rig_stop(&g);
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        CHECK_INT(got[i], want[i]);
    }
    CHECK(has_uid);
    CHECK(has_secret);
    CHECK_INT(life_s, 1800);
    CHECK(bound);
    CHECK(enabled);
    CHECK(away);
    CHECK(grace);
}
