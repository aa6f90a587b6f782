/* SPDX-License-Identifier: Apache-2.0 */
/* What the index has to say gets into the API, whatever comes between. */
#include "control/status_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "await.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "http/http_server.h"
#include "io/jobs.h"
#include "io/sock.h"
#include "kube/client.h"
#include "kube/config.h"
#include "xds/ads_server.h"

/* An API server in which every object is there, and is ours. */
struct api {
    struct task task;
    struct loop *loop;
    struct http_server *server;
    unsigned gets;     /* of the waypoint's Service */
    unsigned patches;  /* of it */
    unsigned conflict; /* so many of those find it changed */
    unsigned away;     /* so many requests are told that nobody is there */
};

static bool has(struct slice s, const char *part)
{
    return memmem(s.p, s.len, part, strlen(part)) != NULL;
}

static unsigned status_of(struct api *a, struct slice method, bool is_service)
{
    if (a->away > 0) {
        a->away--;
        return 503;
    }
    a->gets += is_service && slice_is(method, "GET");
    if (!is_service || !slice_is(method, "PATCH")) {
        return slice_is(method, "POST") ? 201 : 200;
    }
    return a->patches++ < a->conflict ? 409 : 200;
}

static void serve(struct task *t, unsigned why)
{
    static const char object[] =
        "{\"metadata\":{\"name\":\"way\",\"namespace\":\"shop\",\"resourceVersion\":\"5\","
        "\"labels\":{\"gateway.istio.io/managed\":\"istio.io-mesh-controller\"}}}";
    struct api *a = container_of(t, struct api, task);
    struct exchange *x = NULL;

    (void)why;
    while (http_server_next(a->server, &x) > 0) {
        struct slice path = message_get(&x->in, MESSAGE_PATH);
        unsigned status =
            status_of(a, message_get(&x->in, MESSAGE_METHOD), has(path, "/services/way"));
        exchange_reply_text(a->loop, x, status, "application/json", status < 300 ? object : "{}");
    }
}

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct api api;
    struct kube_client *client;
    struct mesh mesh;
    struct catalog *catalogs[ADS_TYPES];
    struct index *index;
    struct status_writer *writer;
};

static void must(int r)
{
    if (r < 0) {
        printf("Bail out! %s\n", err_text(r));
        exit(1);
    }
}

static void start_api(struct rig *g)
{
    struct http_server_options o = {.protocol = HTTP_ONLY_H1};
    struct endpoint at = {.port = 0};
    char server[64];
    char ns[] = "default";
    struct kube_config kc = {.server = server, .namespace = ns};

    g->api.loop = g->loop;
    task_init(&g->api.task, g->loop, "api", serve);
    g->api.server = http_server_new(g->loop, &o, &g->api.task);
    must(ip_parse(&at.ip, "127.0.0.1", 9));
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    must(sock_bind(fd, &at, NULL));
    must(sock_listen(fd, 64, NULL));
    must(sock_local(fd, &at));
    must(http_server_listen(g->api.server, fd, NULL));
    (void)snprintf(server, sizeof(server), "http://127.0.0.1:%u", at.port);
    must(kube_client_new(g->loop, g->jobs, &kc, "test", NULL, &g->client));
}

/* A waypoint's Gateway, whose children are to be written. */
static void put_gateway(struct rig *g)
{
    static const char text[] =
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: way, "
        "namespace: shop, uid: u1}, spec: {gatewayClassName: istio-waypoint, "
        "listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}";
    AUTO(json) struct json *all = NULL;

    must(yaml_parse_all(&all, text, strlen(text), NULL));
    index_put(g->index, INDEX_GATEWAY, json_item(all, 0));
    index_live(g->index);
    while (index_settle(g->index, INDEX_SETTLE_UNITS)) {
    }
}

static void start(struct rig *g)
{
    *g = (struct rig){.loop = loop_new(NULL), .jobs = jobs_new(1, 16, 16, NULL)};
    loop_stop_clock(g->loop);
    start_api(g);
    g->mesh = (struct mesh){.cluster_id = "Kubernetes",
                            .trust_domain = "cluster.local",
                            .root_ns = "istio-system",
                            .system_ns = "istio-system",
                            .domain = "cluster.local",
                            .revision = "default"};
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        g->catalogs[t] = catalog_new(ads_type_urls[t], t != ADS_AUTHORIZATION);
    }
    g->index = index_new(&g->mesh, g->catalogs);
    put_gateway(g);
    g->writer = status_writer_new(g->loop, g->client, g->index);
    status_writer_poke(g->writer);
}

static void stop(struct rig *g)
{
    status_writer_free(g->writer);
    index_free(g->index);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        catalog_free(g->catalogs[t]);
    }
    kube_client_free(g->client);
    http_server_free(g->api.server);
    task_fini(&g->api.task);
    jobs_free(g->jobs);
    (void)loop_turn(g->loop, 0);
    loop_free(g->loop);
}

/* Such a change is often none that the index would speak again for: a Deployment's status. */
TEST(an_object_that_changed_since_it_was_read_is_read_and_written_again)
{
    struct rig g;

    start(&g);
    g.api.conflict = 2;
    AWAIT(g.loop, g.api.patches == 3);
    CHECK_INT(g.api.gets, 3);
    stop(&g);
}

TEST(an_object_that_never_stays_as_it_was_read_is_given_up)
{
    struct rig g;

    start(&g);
    g.api.conflict = UINT32_MAX;
    AWAIT(g.loop, g.api.patches == STATUS_TRIES);
    for (int i = 0; i < 100; i++) {
        (void)loop_turn(g.loop, 1);
        loop_advance(g.loop, STATUS_RETRY_MS);
    }
    CHECK_INT(g.api.patches, STATUS_TRIES);
    stop(&g);
}

TEST(what_is_to_be_said_outlasts_a_server_that_is_away)
{
    struct rig g;

    start(&g);
    g.api.away = 4 * STATUS_WRITES_MAX * STATUS_TRIES;
    AWAIT(g.loop, g.api.patches == 1);
    CHECK_INT(g.api.away, 0);
    stop(&g);
}
