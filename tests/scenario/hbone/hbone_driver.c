/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels without TLS and without a mesh, for peers that the tests write themselves:
 *
 *     hbone_driver server [name=value...]             one tunnel a TCP connection
 *     hbone_driver client PORT AUTHORITY [name=value...]  every TCP connection becomes one dial of a
 *                                                         pool whose tunnels go to 127.0.0.1:PORT
 *
 * Says "listening PORT", then a line for each thing that ends. Names are those of struct hbone_limits,
 * budget (bytes), app and refuse. The port of a request's authority, or app, is the application: 9001
 * speaks first and ends, 9002 echoes, 9003 reads and says nothing, 9005 never answers the request,
 * 9006 resets, 9007 never reads; anything else is dialled on 127.0.0.1. refuse answers every request
 * with that status. SIGTERM drains; a client says so.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/authority.h"
#include "hbone/pool.h"
#include "hbone/server.h"
#include "io/listener.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "relay_task.h"

enum { CONNECT_MS = 3000 };

struct tunnel_end { /* a served tunnel */
    struct task task;
    struct list in_world;
    struct hbone_server *server;
};

struct app { /* an application inside the driver */
    struct task task;
    struct stream *s;
    struct pump echo;
    unsigned port;
    bool greeted;
};

static struct {
    struct loop *loop;
    struct hbone_loop *home;
    struct hbone_limits limits;
    struct budget budget;
    unsigned app;
    unsigned refuse;
    struct task acceptor;
    struct task terminator;
    struct fd_watch signals;
    struct listener *listener;
    struct hbone_pool *pool; /* client */
    struct list ends;        /* server */
    const char *authority;
    uint16_t gateway_port;
} world;

static void say_end(const char *what, int r, uint64_t sent, uint64_t received, const struct diag *d)
{
    printf("%s %s sent=%llu received=%llu %s\n", what, r < 0 ? err_name(r) : "ok",
           (unsigned long long)sent, (unsigned long long)received, r < 0 ? d->text : "");
    fflush(stdout);
}

static void relay_over(void *arg, int result, struct relay_stats stats, const struct diag *d)
{
    (void)arg;
    say_end("relay", result, stats.sent, stats.received, d);
}

static void app_over(struct app *a, int r)
{
    say_end("app", r, 0, a->echo.moved, stream_diag(a->s));
    task_fini(&a->task);
    stream_close(a->s, r);
    pump_fini(&a->echo);
    mem_free(a);
}

static int app_sink(struct app *a)
{
    ssize_t n;

    while ((n = stream_read(a->s, loop_scratch(world.loop), 65536)) > 0) {
        a->echo.moved += (uint64_t)n;
    }
    return n == 0 ? stream_shut(a->s) : (int)n;
}

static int app_greet(struct app *a)
{
    static const char text[] = "hello from the application";
    ssize_t n = a->greeted ? 1 : stream_write(a->s, text, sizeof(text) - 1);

    a->greeted = n > 0;
    int r = n < 0 ? (int)n : stream_shut(a->s);
    return r < 0 ? r : app_sink(a);
}

static int app_echo(struct app *a)
{
    int r = pump_run(&a->echo, a->s, a->s, world.loop, 1 << 20);

    if (r == PUMP_AGAIN) {
        task_wake(&a->task, WAKE_IO);
    }
    return r == PUMP_FINISHED ? 0 : r < 0 ? r : -EAGAIN;
}

static void app_run(struct task *task, unsigned why)
{
    struct app *a = container_of(task, struct app, task);
    int r = -EAGAIN;

    (void)why;
    if (a->port == 9001) {
        r = app_greet(a);
    } else if (a->port == 9002) {
        r = app_echo(a);
    } else if (a->port == 9003) {
        r = app_sink(a);
    } else if (a->port == 9006) {
        r = -ECONNRESET;
    }
    if (r != -EAGAIN) {
        app_over(a, r);
    }
}

static void app_start(struct stream *s, unsigned port)
{
    struct app *a = mem_new(struct app);

    a->s = s;
    a->port = port;
    task_init(&a->task, world.loop, "app", app_run);
    pump_init(&a->echo, s, s);
    stream_own(s, &a->task);
    task_wake(&a->task, WAKE_START);
}

static struct stream *dial_local(unsigned port)
{
    struct endpoint to = {.ip = {.family = IP_V4, .bytes = {127, 0, 0, 1}}, .port = (uint16_t)port};
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);

    (void)sock_set_nodelay(fd);
    return tcp_stream_connect(world.loop, fd, &to, CONNECT_MS);
}

static void serve(struct hbone_request *r)
{
    const struct hbone_head *h = hbone_request_head(r);
    struct authority a = {.port = 0};
    struct slice baggage = {"service.name=driver", 19};

    if (!slice_is(h->method, "CONNECT") || !h->authority.p ||
        authority_parse(&a, h->authority.p, h->authority.len) < 0) {
        hbone_request_refuse(r, 400);
        return;
    }
    unsigned app = world.app > 0 ? world.app : a.port;
    if (world.refuse > 0) {
        hbone_request_refuse(r, world.refuse);
    } else if (app == 9005) {
        hbone_request_own(r, NULL); /* never answered, like an application that never comes up */
    } else if (app >= 9001 && app <= 9007) {
        app_start(hbone_request_accept(r, baggage), app);
    } else {
        relay_task_new(world.loop, hbone_request_accept(r, baggage), dial_local(app), relay_over,
                       NULL);
    }
}

static void end_run(struct task *task, unsigned why)
{
    struct tunnel_end *e = container_of(task, struct tunnel_end, task);
    struct hbone_request *r = NULL;
    int n;

    (void)why;
    while ((n = hbone_server_next(e->server, &r)) == 1) {
        serve(r);
    }
    if (n != -EAGAIN) {
        say_end("tunnel", n, 0, 0, hbone_server_diag(e->server));
        hbone_server_close(e->server, 0);
        list_remove(&e->in_world);
        task_fini(&e->task);
        mem_free(e);
    }
}

static void add_connection(int fd)
{
    struct stream *tcp = tcp_stream_new(world.loop, fd);

    if (world.pool) {
        const char *const expect[] = {"spiffe://cluster.local/ns/shop/sa/web"};
        struct hbone_target t = {.gateway = {.ip = {.family = IP_V4, .bytes = {127, 0, 0, 1}},
                                             .port = world.gateway_port},
                                 .local = "spiffe://cluster.local/ns/shop/sa/client",
                                 .expect = expect,
                                 .expect_count = 1,
                                 .source = {.family = IP_V4, .bytes = {10, 0, 0, 1}},
                                 .head = {.authority = slice_of(world.authority),
                                          .baggage = slice_of("k8s.namespace.name=shop"),
                                          .forwarded = slice_of("for=\"10.0.0.1:1234\"")}};
        relay_task_new(world.loop, tcp, hbone_dial(world.pool, &t), relay_over, NULL);
        return;
    }
    struct tunnel_end *e = mem_new(struct tunnel_end);
    task_init(&e->task, world.loop, "end", end_run);
    list_append(&world.ends, &e->in_world);
    e->server = hbone_server_new(world.home, tcp, &e->task, &world.budget);
    task_wake(&e->task, WAKE_START);
}

static void accept_all(struct task *task, unsigned why)
{
    struct endpoint peer;
    int fd;

    (void)task;
    (void)why;
    while ((fd = listener_accept(world.listener, &peer)) >= 0) {
        (void)sock_set_nodelay(fd);
        add_connection(fd);
    }
}

static void drain(struct task *task, unsigned why)
{
    struct signalfd_siginfo info;

    (void)task;
    (void)why;
    if (read(world.signals.fd, &info, sizeof(info)) < 0) {
        fd_watch_blocked(&world.signals, FD_READABLE);
        return;
    }
    if (world.pool) {
        hbone_pool_drain(world.pool);
        printf("draining\n");
        fflush(stdout);
    }
    list_for_each (node, &world.ends) {
        hbone_server_drain(container_of(node, struct tunnel_end, in_world)->server);
    }
}

static struct stream *open_gateway(void *arg, const struct hbone_target *t)
{
    (void)arg;
    return dial_local(t->gateway.port);
}

static void set_limit(const char *name, unsigned long value)
{
    struct hbone_limits *l = &world.limits;
    const struct {
        const char *name;
        uint64_t *u64;
        unsigned *u;
    } known[] = {{"preface_ms", &l->preface_ms, NULL},
                 {"first_request_ms", &l->first_request_ms, NULL},
                 {"response_ms", &l->response_ms, NULL},
                 {"ping_ms", &l->ping_ms, NULL},
                 {"pong_ms", &l->pong_ms, NULL},
                 {"stall_ms", &l->stall_ms, NULL},
                 {"idle_ms", &l->idle_ms, NULL},
                 {"drain_ms", &l->drain_ms, NULL},
                 {"stream_window_bytes", NULL, &l->stream_window_bytes},
                 {"conn_window_bytes", NULL, &l->conn_window_bytes},
                 {"frame_bytes", NULL, &l->frame_bytes},
                 {"server_streams", NULL, &l->server_streams},
                 {"pool_streams", NULL, &l->pool_streams},
                 {"pool_tunnels", NULL, &l->pool_tunnels}};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].name, name) == 0 && known[i].u64) {
            *known[i].u64 = value;
        } else if (strcmp(known[i].name, name) == 0) {
            *known[i].u = (unsigned)value;
        }
    }
    if (strcmp(name, "app") == 0) {
        world.app = (unsigned)value;
    } else if (strcmp(name, "refuse") == 0) {
        world.refuse = (unsigned)value;
    } else if (strcmp(name, "budget") == 0) {
        world.budget.limit_bytes = value;
    }
}

static void set_limits(int count, char **args)
{
    budget_init(&world.budget, SIZE_MAX, NULL);
    for (int i = 0; i < count; i++) {
        char *eq = strchr(args[i], '=');

        if (!eq) {
            fprintf(stderr, "what is %s?\n", args[i]);
            exit(2);
        }
        *eq = '\0';
        set_limit(args[i], strtoul(eq + 1, NULL, 10));
    }
}

static void listen_anywhere(void)
{
    struct endpoint at = {.ip = {.family = IP_V4, .bytes = {127, 0, 0, 1}}};
    struct diag why = {.code = 0};
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, &why);

    if (fd < 0 || sock_bind(fd, &at, &why) < 0 || sock_listen(fd, 1024, &why) < 0 ||
        sock_local(fd, &at) < 0) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    task_init(&world.acceptor, world.loop, "acceptor", accept_all);
    world.listener = listener_new(world.loop, fd, &world.acceptor, &why);
    printf("listening %u\n", at.port);
    fflush(stdout);
}

static void watch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    task_init(&world.terminator, world.loop, "terminator", drain);
    if (fd_watch_start(&world.signals, world.loop, &world.terminator,
                       signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)) < 0) {
        exit(1);
    }
}

int main(int argc, char **argv)
{
    bool client = argc > 3 && strcmp(argv[1], "client") == 0;
    struct hbone_dialer dialer = {.open = open_gateway};

    if (argc < 2) {
        return 2;
    }
    set_limits(argc - (client ? 4 : 2), argv + (client ? 4 : 2));
    world.loop = loop_new(NULL);
    list_init(&world.ends);
    world.home = hbone_loop_new(world.loop, &world.limits, NULL);
    if (client) {
        world.gateway_port = (uint16_t)strtoul(argv[2], NULL, 10);
        world.authority = argv[3];
        world.pool = hbone_pool_new(world.home, &dialer, &world.budget);
    }
    watch_signals();
    listen_anywhere();
    loop_run(world.loop);
    return 0;
}
