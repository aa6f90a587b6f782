/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One engine with a client in the clear and an application on the same loop: a request and its answer
 * while each allocation fails once, and with either end leaving at every moment. Whatever happens, the
 * client gets a whole answer or a cut connection, nothing is left behind, and the next request works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ca/cert_manager.h"
#include "http/http_server.h"
#include "io/jobs.h"
#include "io/sock.h"
#include "model/intern.h"
#include "t.h"
#include "tcp_pair.h"
#include "waypoint/arrival.h"
#include "waypoint/engine.h"
#include "waypoint/stats.h"
#include "waypoint/upstream.h"

#define KEY  "shop/web.shop.svc"
#define HOST "web.shop.svc"

enum { TURNS_MAX = 4000, BODY = 100000, SETTLE_TURNS = 50 };

static const char *const types[] = {"a"};
static const struct ads_interest interest = {.types = types, .type_count = 1};

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct tls_ctx *tls;
    struct cert_manager *certs;
    struct grpc_dialer nowhere;
    struct config config;
    const struct identity *identity;
    struct stats *stats;
    struct snap_slot worlds;
    struct snap_slot l7s;
    struct engine *engine;
    struct plain_listener door;
    struct task app;
    struct http_server *server;
    struct endpoint at;
};

static void nothing_start(struct grpc_dialer *d, struct task *wake)
{
    (void)d;
    (void)wake;
}

static int nothing_poll(struct grpc_dialer *d, struct task *owner, struct grpc_client **out,
                        const struct message **out_metadata, struct diag *why)
{
    (void)d;
    (void)owner;
    (void)out;
    (void)out_metadata;
    (void)why;
    return -EAGAIN;
}

static void nothing_stop(struct grpc_dialer *d)
{
    (void)d;
}

/* Answers with a body as long as the path's last character says. */
static void app_run(struct task *t, unsigned why)
{
    struct rig *r = container_of(t, struct rig, app);
    struct exchange *x = NULL;

    (void)why;
    while (http_server_next(r->server, &x) > 0) {
        struct message head = {.status = 200};
        struct strbuf body = {0};
        struct slice path = message_get(&x->in, MESSAGE_PATH);
        size_t len = path.len > 1 && path.p[path.len - 1] == 'L' ? BODY : 5;
        for (size_t i = 0; i < len; i++) {
            strbuf_putc(&body, 'b');
        }
        exchange_reply(r->loop, x, &head, &body);
        strbuf_fini(&body);
        message_fini(&head);
    }
}

static void publish_world(struct rig *r)
{
    const struct world *base = world_new(NULL);
    struct world_delta *d = world_delta_new(base);
    struct port_pair port = {.service_port = 80, .target_port = r->at.port};
    struct workload_service member = {.key = KEY, .ports = &port, .port_count = 1};
    struct workload w = {.uid = "uid-web",
                         .capacity = 1,
                         .ip_count = 1,
                         .ips = &r->at.ip,
                         .service_count = 1,
                         .services = &member,
                         .identity = r->identity};
    struct service_vip vip = {.network = ""};
    struct service s = {.ns = "shop",
                        .hostname = HOST,
                        .name = "web",
                        .vip_count = 1,
                        .vips = &vip,
                        .port_count = 1,
                        .ports = &port};
    const struct workload *made_w = NULL;
    const struct service *made_s = NULL;
    struct intern *pool = intern_new();
    struct diag why = {0};

    if (ip_prefix_make(&vip.prefix, &r->door.to.ip, 32) < 0 ||
        workload_new(&made_w, &w, pool, &why) < 0 || service_new(&made_s, &s, pool, &why) < 0) {
        exit(2);
    }
    (void)world_put_workload(d, made_w);
    (void)world_put_service(d, made_s);
    snap_publish(&r->worlds, 1, world_snap(world_next(d)));
    world_unref(base);
    intern_free(pool);
}

static void publish_routes(struct rig *r)
{
    struct l7_bound_port port = {.port = 80, .protocol = L7_HTTP};
    struct l7_binding b = {.ns = "shop",
                           .hostname = HOST,
                           .resource = "shop/gate/" KEY,
                           .ports = &port,
                           .port_count = 1};
    struct l7_backend backend = {.ns = "shop", .hostname = HOST, .port = 80, .weight = 1};
    struct l7_header set = {.name = "x-set", .value = "1"};
    struct l7_filter filter = {.kind = L7_FILTER_REQUEST_HEADERS,
                               .headers = {.set = &set, .set_count = 1}};
    uint16_t codes[] = {503};
    struct l7_route route = {
        .resource = "shop/gate/" KEY "/80/HTTPRoute/shop/r/0",
        .ns = "shop",
        .hostname = HOST,
        .port = 80,
        .route_ns = "shop",
        .route_name = "r",
        .backends = &backend,
        .backend_count = 1,
        .filters = &filter,
        .filter_count = 1,
        .request_timeout_ms = 60000,
        .retry = {.set = true, .attempts = 2, .codes = codes, .code_count = 1}};
    const struct l7 *base = l7_new(NULL, NULL);
    struct l7_delta *d = l7_delta_new(base);
    const struct l7_binding *made_b = NULL;
    const struct l7_route *made_r = NULL;
    struct diag why = {0};

    if (l7_binding_new(&made_b, &b, &why) < 0 || l7_route_new(&made_r, &route, &why) < 0) {
        exit(2);
    }
    (void)l7_put_binding(d, made_b);
    (void)l7_put_route(d, made_r);
    snap_publish(&r->l7s, 1, l7_snap(l7_next(d)));
    l7_unref(base);
}

static char *const env[] = {(char *)(uintptr_t) "GATEWAY=gate",
                            (char *)(uintptr_t) "NAMESPACE=shop",
                            (char *)(uintptr_t) "ACCESS_LOG=false", NULL};

static void rig_start(struct rig *r)
{
    struct diag why = {0};
    struct http_server_options o = {.protocol = HTTP_ONLY_H1};

    memset(r, 0, sizeof(*r));
    r->loop = loop_new(&why);
    r->jobs = jobs_new(1, 16, 16, &why);
    r->nowhere =
        (struct grpc_dialer){.start = nothing_start, .poll = nothing_poll, .stop = nothing_stop};
    struct cert_manager_config certs = {.dialer = &r->nowhere, .jobs = r->jobs, .ttl_s = 3600};
    r->certs = cert_manager_new(r->loop, &certs);
    r->identity = identity_new("cluster.local", "shop", "gate");
    r->stats = stats_new("test", &interest);
    if (tls_ctx_new(&r->tls, NULL, &why) < 0 || config_read(&r->config, env, &why) < 0 ||
        ip_parse(&r->door.to.ip, "10.0.0.1", 8) < 0) {
        exit(2);
    }
    r->door.to.port = 80;
    int fd = tcp_test_listener(IP_V4, &r->at);
    task_init(&r->app, r->loop, "app", app_run);
    r->server = http_server_new(r->loop, &o, &r->app);
    if (http_server_listen(r->server, fd, &why) < 0) {
        exit(2);
    }
    publish_world(r);
    publish_routes(r);
    struct engine_options options = {.loop = r->loop,
                                     .config = &r->config,
                                     .identity = r->identity,
                                     .certs = r->certs,
                                     .jobs = r->jobs,
                                     .tls = r->tls,
                                     .shard = metrics_shard_new(stats_metrics(r->stats)),
                                     .worlds = &r->worlds,
                                     .l7s = &r->l7s,
                                     .budget_bytes = 64 << 20};
    if (engine_new(&r->engine, &options, &why) < 0) {
        exit(2);
    }
    (void)loop_turn(r->loop, 0);
}

static void rig_end(struct rig *r)
{
    engine_free(r->engine);
    http_server_free(r->server);
    task_fini(&r->app);
    snap_slot_fini(&r->worlds);
    snap_slot_fini(&r->l7s);
    for (int i = 0; i < 3; i++) {
        (void)loop_turn(r->loop, 0);
    }
    cert_manager_free(r->certs);
    loop_end_orphans(r->loop);
    jobs_free(r->jobs);
    tls_ctx_free(r->tls);
    stats_free(r->stats);
    identity_unref(r->identity);
    config_fini(&r->config);
    loop_free(r->loop);
}

static int dial(struct rig *r)
{
    int fds[2];
    struct endpoint peer = {.ip = r->at.ip, .port = 1};

    tcp_pair_fds(fds);
    engine_take(r->engine, fds[1], &peer, &r->door);
    return fds[0];
}

static void say(int fd, const char *text)
{
    size_t len = strlen(text);

    if (write(fd, text, len) != (ssize_t)len) {
        exit(2);
    }
}

/* The status of a whole response; 0: the connection was cut; -1: neither within the turns. */
static int hear(struct rig *r, int fd, unsigned turns)
{
    static char got[BODY + 4096];
    size_t len = 0;

    for (unsigned i = 0; i < turns; i++) {
        (void)loop_turn(r->loop, 1);
        ssize_t n = recv(fd, got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return 0;
        }
        len += n > 0 ? (size_t)n : 0;
        got[len] = '\0';
        char *end = strstr(got, "\r\n\r\n");
        char *length = end ? strstr(got, "content-length: ") : NULL;
        if (end && length && len >= (size_t)(end + 4 - got) + strtoul(length + 16, NULL, 10)) {
            return (int)strtol(got + 9, NULL, 10);
        }
    }
    return -1;
}

static void settle(struct rig *r)
{
    for (int i = 0; i < SETTLE_TURNS; i++) {
        (void)loop_turn(r->loop, i < 2 ? 1 : 0);
    }
}

static bool is_quiet(struct rig *r)
{
    struct upstreams_count u = upstreams_count(r->engine->upstreams);

    return r->engine->entry_count == 0 && u.waiting == 0 && atomic_load(&r->engine->load) == 0;
}

static const char *const requests[] = {
    "GET /short HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /longL HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: forged\r\n\r\n",
    "POST /short HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    "POST /x/../longL HTTP/1.1\r\nhost: a\r\ntransfer-encoding: "
    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
};

static bool works(struct rig *r, const char *request)
{
    int fd = dial(r);

    say(fd, request);
    int status = hear(r, fd, TURNS_MAX);
    (void)close(fd);
    settle(r);
    return status == 200;
}

TEST(requests_of_every_kind_are_answered)
{
    struct rig r;

    rig_start(&r);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        bool good = works(&r, requests[i]) && is_quiet(&r);
        if (!good) {
            rig_end(&r);
        }
        CHECK(good);
    }
    rig_end(&r);
}

/* 0: the fault was met and borne; 1: there are no more allocations to fail; -1: it was not borne. */
static int with_fault(struct rig *r, const char *request, int nth)
{
    int fd = dial(r);

    (void)mem_fault_set(-1);
    say(fd, request);
    (void)mem_fault_set(nth);
    int status = hear(r, fd, TURNS_MAX);
    unsigned calls = mem_fault_set(-1);
    (void)close(fd);
    settle(r);
    if (status < 0 || (status > 0 && (status < 200 || status > 599)) || !is_quiet(r) ||
        !works(r, requests[0])) {
        printf("# allocation %d of %u: status %d\n", nth, calls, status);
        return -1;
    }
    return (unsigned)nth >= calls ? 1 : 0;
}

TEST(each_allocation_may_fail_once)
{
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct rig r;
        int result = 0;
        int nth = 0;
        rig_start(&r);
        for (; result == 0 && nth < 500; nth++) {
            result = with_fault(&r, requests[i], nth);
        }
        rig_end(&r);
        CHECK_INT(result, 1);
        CHECK(nth > 3); /* something was there to fail */
    }
}

static void reset(int fd)
{
    struct linger l = {.l_onoff = 1};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    (void)close(fd);
}

TEST(a_client_may_leave_after_any_turn)
{
    struct rig r;
    bool good = true;

    rig_start(&r);
    for (size_t i = 0; good && i < ARRAY_LEN(requests); i++) {
        for (int turns = 0; good && turns < 24; turns++) {
            int fd = dial(&r);
            say(fd, requests[i]);
            for (int k = 0; k < turns; k++) {
                (void)loop_turn(r.loop, 0);
            }
            if (turns % 2) {
                reset(fd);
            } else {
                (void)close(fd);
            }
            for (int k = 0; k < 20 && !is_quiet(&r); k++) {
                settle(&r);
            }
            good = is_quiet(&r) && works(&r, requests[0]);
            if (!good) {
                printf("# request %zu, %d turns\n", i, turns);
            }
        }
    }
    rig_end(&r);
    CHECK(good);
}

TEST(the_application_may_go_after_any_turn)
{
    for (int turns = 0; turns < 24; turns++) {
        struct rig r;
        rig_start(&r);
        int fd = dial(&r);
        say(fd, requests[1]);
        for (int k = 0; k < turns; k++) {
            (void)loop_turn(r.loop, 0);
        }
        http_server_free(r.server);
        r.server = NULL;
        loop_end_orphans(r.loop);
        int status = hear(&r, fd, TURNS_MAX);
        (void)close(fd);
        settle(&r);
        bool good =
            is_quiet(&r) && (status == 200 || status == 503 || status == 502 || status == 0);
        rig_end(&r);
        if (!good) {
            printf("# %d turns: %d\n", turns, status);
        }
        CHECK(good);
    }
}
