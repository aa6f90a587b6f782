/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/intern.h"
#include "tcp_pair.h"
#include "waypoint/request.h"

#define KEY     "shop/web.shop.svc"
#define HOST    "web.shop.svc"
#define BINDING "shop/gate/" KEY

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
static void app_answer(struct rig *r, struct exchange *x)
{
    struct message head = {.status = 200};
    struct strbuf body = {0};
    struct slice path = message_get(&x->in, MESSAGE_PATH);
    size_t len = path.len > 1 && path.p[path.len - 1] == 'L' ? RIG_BODY : 5;

    for (size_t i = 0; i < len; i++) {
        strbuf_putc(&body, 'b');
    }
    exchange_reply(r->loop, x, &head, &body);
    strbuf_fini(&body);
    message_fini(&head);
}

static void app_stream(struct rig *r, struct exchange *x)
{
    AUTO(message) struct message head = {.status = 200};
    struct slice path = message_get(&x->in, MESSAGE_PATH);
    const char *piece = "piece";
    size_t len = 5;
    struct slice type;

    if (message_get(&x->in, MESSAGE_PROTOCOL).len > 0) {
        head.status = 101;
        message_puts(&head, "sec-websocket-accept", "x");
    } else if (message_find(&x->in, "content-type", &type)) {
        message_add(&head, slice_of("content-type"), type);
        piece = RIG_MESSAGE;
        len = memmem(path.p, path.len, "half", 4) ? 7 : sizeof(RIG_MESSAGE) - 1;
    }
    bool sent = r->stream_count < RIG_STREAMS && exchange_send(x, &head) == 0 &&
                stream_write(&x->s, piece, len) == (ssize_t)len;
    int flushed = sent ? stream_flush(&x->s) : -ERR_CANCELLED;
    if (flushed < 0 && flushed != -EAGAIN) {
        exchange_close(x, -ERR_CANCELLED); /* who asked may have gone; a test hears nothing */
        return;
    }
    r->streams[r->stream_count++] = x;
}

static void app_run(struct task *t, unsigned why)
{
    struct rig *r = container_of(t, struct rig, app);
    struct exchange *x = NULL;

    (void)why;
    while (http_server_next(r->server, &x) > 0) {
        struct slice path = message_get(&x->in, MESSAGE_PATH);
        if (r->seen) {
            r->seen(&x->in);
        }
        char last = path.len > 1 ? path.p[path.len - 1] : '/';
        if (last == 'H' && !r->held) {
            r->held = x;
        } else if (last == 'S' || message_get(&x->in, MESSAGE_PROTOCOL).len > 0) {
            app_stream(r, x);
        } else {
            app_answer(r, x);
        }
    }
}

void rig_answer(struct rig *r)
{
    app_answer(r, MOVE(r->held));
}

static void publish_world(struct rig *r, const struct identity *app, bool guarded)
{
    static const char *const guard[] = {"shop/ambit_only_shop_gate_0"};
    struct gateway waypoint = {.kind = GATEWAY_HOSTNAME,
                               .hbone_mtls_port = 15008,
                               .ns = "shop",
                               .hostname = r->config.hostname};
    struct gateway other = {
        .kind = GATEWAY_HOSTNAME, .hbone_mtls_port = 15008, .ns = "shop", .hostname = "other"};
    const struct world *base = r->engine ? world_ref(engine_world(r->engine)) : world_new(NULL);
    struct world_delta *d = world_delta_new(base);
    struct port_pair port = {.service_port = 80, .target_port = r->at.port};
    struct workload_service member = {.key = KEY, .ports = &port, .port_count = 1};
    struct workload w = {.uid = "uid-web",
                         .version = r->engine ? "2" : "1",
                         .capacity = 1,
                         .ip_count = 1,
                         .ips = &r->at.ip,
                         .service_count = 1,
                         .services = &member,
                         .workload_name = "web",
                         .waypoint = &waypoint,
                         .policies = guard,
                         .policy_count = guarded,
                         .identity = app};
    struct service_vip vip = {.network = ""};
    struct service s = {.ns = "shop",
                        .hostname = HOST,
                        .name = "web",
                        .vip_count = 1,
                        .vips = &vip,
                        .port_count = 1,
                        .ports = &port,
                        .waypoint = r->left ? &other : NULL};
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

static const char *policy_resource(struct strbuf *out, const char *name)
{
    strbuf_printf(out, "shop/gate/%s/AuthorizationPolicy/shop/%s", KEY, name);
    return strbuf_text(out);
}

static void put_made(struct l7_delta *d, const struct l7_policy *policy)
{
    const struct l7_policy *made = NULL;
    struct diag why = {0};

    if (l7_policy_new(&made, policy, &why) < 0) {
        exit(2);
    }
    (void)l7_put_policy(d, made);
}

static void put_rule(struct l7_delta *d, const char *name, enum l7_action action, bool dry_run,
                     const struct l7_rule *rule)
{
    AUTO(strbuf) struct strbuf resource = {0};
    struct l7_policy policy = {.kind = L7_AUTHORIZATION,
                               .ns = "shop",
                               .name = name,
                               .service_ns = "shop",
                               .service_hostname = HOST,
                               .action = action,
                               .dry_run = dry_run,
                               .rules = rule,
                               .rule_count = 1};

    policy.resource = policy_resource(&resource, name);
    put_made(d, &policy);
}

/* For the service: what begins with a path. */
static void put_policy(struct l7_delta *d, const char *name, enum l7_action action, bool dry_run,
                       const char *path)
{
    struct l7_operation to = {.paths = {.at = &path, .count = 1}};
    struct l7_rule rule = {.to = &to, .to_count = 1};

    put_rule(d, name, action, dry_run, &rule);
}

static void publish_delta(struct rig *r, struct l7_delta *take_d)
{
    snap_publish(&r->l7s, 1, l7_snap(l7_next(take_d)));
    loop_poke(r->loop);
}

void rig_put_policy(struct rig *r, const char *name, enum l7_action action, bool dry_run,
                    const char *path)
{
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));

    put_policy(d, name, action, dry_run, path);
    publish_delta(r, d);
}

void rig_put_header_policy(struct rig *r, const char *name, const char *header, const char *value)
{
    AUTO(strbuf) struct strbuf key = {0};
    struct l7_condition when = {.values = {.at = &value, .count = 1}};
    struct l7_rule rule = {.when = &when, .when_count = 1};
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));

    strbuf_printf(&key, "request.headers[%s]", header);
    when.key = strbuf_text(&key);
    put_rule(d, name, L7_DENY, false, &rule);
    publish_delta(r, d);
}

void rig_remove_policy(struct rig *r, const char *name)
{
    AUTO(strbuf) struct strbuf resource = {0};
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));

    if (!l7_remove(d, L7_TYPE_POLICY, policy_resource(&resource, name))) {
        exit(2);
    }
    publish_delta(r, d);
}

void rig_put_own_policy(struct rig *r, const char *name, bool denies, const char *path)
{
    AUTO(strbuf) struct strbuf resource = {0};
    struct l7_operation to = {.paths = {.at = &path, .count = 1}};
    struct l7_rule rule = {.to = &to, .to_count = 1};
    struct l7_policy policy = {.kind = L7_AUTHORIZATION,
                               .ns = "shop",
                               .name = name,
                               .action = denies ? L7_DENY : L7_ALLOW,
                               .rules = &rule,
                               .rule_count = 1};
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));

    strbuf_printf(&resource, "shop/gate/AuthorizationPolicy/shop/%s", name);
    policy.resource = strbuf_text(&resource);
    put_made(d, &policy);
    publish_delta(r, d);
}

static void put_binding(const struct rig *r, struct l7_delta *d)
{
    struct l7_bound_port port = {.port = 80, .protocol = r->h2 ? L7_HTTP2 : L7_HTTP};
    struct l7_binding b = {
        .ns = "shop", .hostname = HOST, .resource = BINDING, .ports = &port, .port_count = 1};
    const struct l7_binding *made = NULL;
    struct diag why = {0};

    port.protocol = r->undecided ? L7_UNKNOWN : port.protocol;
    if (l7_binding_new(&made, &b, &why) < 0) {
        exit(2);
    }
    (void)l7_put_binding(d, made);
}

void rig_bind(struct rig *r)
{
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));

    put_binding(r, d);
    publish_delta(r, d);
}

void rig_unbind(struct rig *r, bool policies)
{
    const struct l7_service *s = l7_service_find(engine_l7(r->engine), KEY);
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));

    for (size_t i = 0; policies && i < s->authorization.count; i++) {
        (void)l7_remove(d, L7_TYPE_POLICY, s->authorization.at[i].policy->resource);
    }
    if (!l7_remove(d, L7_TYPE_BINDING, BINDING)) {
        exit(2);
    }
    publish_delta(r, d);
}

void rig_change_route(struct rig *r)
{
    struct l7_route route = {.resource = "shop/gate/" KEY "/80/HTTPRoute/shop/r/0",
                             .ns = "shop",
                             .hostname = HOST,
                             .port = 80,
                             .route_ns = "shop",
                             .route_name = "r"};
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));
    const struct l7_route *made = NULL;
    struct diag why = {0};

    if (l7_route_new(&made, &route, &why) < 0) {
        exit(2);
    }
    (void)l7_put_route(d, made);
    publish_delta(r, d);
}

static void publish_routes(struct rig *r)
{
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
    const struct l7_route *made_r = NULL;
    struct diag why = {0};

    if (l7_route_new(&made_r, &route, &why) < 0) {
        exit(2);
    }
    put_binding(r, d);
    (void)l7_put_route(d, made_r);
    put_policy(d, "p", L7_DENY, false, "/secret*");
    put_policy(d, "a", L7_AUDIT, false, "/audit*");
    put_policy(d, "d", L7_DENY, true, "/dry*");
    snap_publish(&r->l7s, 1, l7_snap(l7_next(d)));
    l7_unref(base);
}

void rig_retell(struct rig *r)
{
    publish_world(r, r->identity, false);
    loop_poke(r->loop);
}

void rig_leave(struct rig *r)
{
    r->left = true;
    rig_retell(r);
    rig_bind(r);
}

void rig_guard(struct rig *r, const char *ns)
{
    const struct identity *app = identity_new("cluster.local", ns, "app");

    publish_world(r, app, true);
    identity_unref(app);
    loop_poke(r->loop);
}

static char *const env[] = {(char *)(uintptr_t) "GATEWAY=gate",
                            (char *)(uintptr_t) "NAMESPACE=shop",
                            (char *)(uintptr_t) "ACCESS_LOG=false",
                            /* so that the application may be on the loopback */
                            (char *)(uintptr_t) "PLAIN_LISTENERS=127.0.0.1:9=10.0.0.1:80", NULL};

void rig_start(struct rig *r)
{
    struct diag why = {0};
    struct http_server_options o = {.protocol = r->h2 ? HTTP_ONLY_H2 : HTTP_ONLY_H1,
                                    .h1.websocket = true,
                                    .h2 = {.websocket = true, .streams_max = RIG_STREAMS}};

    void (*seen)(const struct message *) = r->seen;
    bool h2 = r->h2;
    bool undecided = r->undecided;

    memset(r, 0, sizeof(*r));
    r->seen = seen;
    r->h2 = h2;
    r->undecided = undecided;
    r->loop = loop_new(&why);
    loop_stop_clock(r->loop);
    r->jobs = jobs_new(1, 16, 16, &why);
    r->nowhere =
        (struct grpc_dialer){.start = nothing_start, .poll = nothing_poll, .stop = nothing_stop};
    struct cert_manager_config certs = {.dialer = &r->nowhere, .jobs = r->jobs, .ttl_s = 3600};
    r->certs = cert_manager_new(r->loop, &certs);
    r->identity = identity_new("cluster.local", "shop", "gate");
    r->metrics = metrics_new(stats_sets, STATS_SETS);
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
    publish_world(r, r->identity, false);
    publish_routes(r);
    struct engine_options options = {.loop = r->loop,
                                     .config = &r->config,
                                     .identity = r->identity,
                                     .certs = r->certs,
                                     .jobs = r->jobs,
                                     .tls = r->tls,
                                     .shard = metrics_shard_new(r->metrics),
                                     .worlds = &r->worlds,
                                     .l7s = &r->l7s,
                                     .guard = &r->guard,
                                     .budget_bytes = 64 << 20};
    if (engine_new(&r->engine, &options, &why) < 0) {
        exit(2);
    }
    (void)loop_turn(r->loop, 0);
}

void rig_end_streams(struct rig *r)
{
    while (r->stream_count > 0) {
        exchange_close(r->streams[--r->stream_count], -ERR_CANCELLED);
    }
}

void rig_end(struct rig *r)
{
    exchange_close(r->held, -ERR_CANCELLED);
    rig_end_streams(r);
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
    metrics_free(r->metrics);
    identity_unref(r->identity);
    config_fini(&r->config);
    loop_free(r->loop);
}

void rig_turn(struct rig *r)
{
    if (loop_turn(r->loop, 1) == 0) {
        loop_advance(r->loop, 1);
    }
}

int rig_dial(struct rig *r)
{
    int fds[2];
    struct endpoint peer = {.ip = r->at.ip, .port = 1};

    tcp_pair_fds(fds);
    engine_take(r->engine, fds[1], &peer, &r->door);
    return fds[0];
}

void rig_say(int fd, const char *text)
{
    size_t len = strlen(text);

    if (write(fd, text, len) != (ssize_t)len) {
        exit(2);
    }
}

const char *rig_hear(struct rig *r, int fd, const char *until)
{
    static char got[RIG_BODY + 4096];
    size_t len = 0;
    unsigned turns = until ? RIG_TURNS_MAX : RIG_TURNS;

    got[0] = '\0';
    for (unsigned i = 0; i < turns; i++) {
        rig_turn(r);
        ssize_t n = recv(fd, got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
        got[len] = '\0';
        if (until && strstr(got, until)) {
            break;
        }
    }
    return got;
}

bool rig_has_recent(struct rig *r, const char *text)
{
    AUTO(strbuf) struct strbuf b = {0};

    request_store_write_recent(r->engine->requests, &b);
    if (!strstr(strbuf_text(&b), text)) {
        printf("# %s is not in %s\n", text, strbuf_text(&b));
        return false;
    }
    return true;
}

long long rig_metric(struct rig *r, const char *name, const char *const *labels, size_t count)
{
    AUTO(strbuf) struct strbuf b = {0};
    char *next = NULL;

    metrics_write(r->metrics, &b);
    char *text = strbuf_take(&b);
    long long found = -1;
    for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        bool all = strncmp(line, name, strlen(name)) == 0 &&
                   (line[strlen(name)] == '{' || line[strlen(name)] == ' ');
        for (size_t i = 0; all && i < count; i++) {
            all = strstr(line, labels[i]) != NULL;
        }
        if (all && found < 0) {
            found = strtoll(strrchr(line, ' '), NULL, 10);
        }
    }
    mem_free(text);
    return found;
}
