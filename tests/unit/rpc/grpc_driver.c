/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For foreign peers (tests/scenario/rpc):
 *   grpc_driver serve                        the service of grpc_service.h; prints its port; ends with
 *                                            its standard input
 *   grpc_driver call PORT PATH LIMIT_MS N...  sends a message of N octets for each N, prints the sizes
 *                                            of what comes back, the status and the largest piece
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "grpc_service.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "rpc/grpc_client.h"
#include "stdin_watch.h"
#include "tcp_pair.h"

static int serve(struct loop *l)
{
    struct grpc_server_options o = {.message_bytes = 64 << 20};
    static struct service service;
    struct stdin_watch end;
    struct endpoint at;

    service_start(&service, l, &o);
    if (grpc_server_listen(service.server, tcp_test_listener(IP_V4, &at), NULL) < 0) {
        return 1;
    }
    printf("%u\n", at.port);
    (void)fflush(stdout);
    stdin_watch_start(&end, l);
    loop_run(l);
    stdin_watch_stop(&end);
    service_stop(&service);
    return 0;
}

struct client {
    struct task task;
    struct grpc_call *call;
    char **sizes;
    char *message; /* of the size that is being sent */
    size_t message_len;
    bool ended;
    bool in_message;
    uint32_t size; /* of the message that is coming */
    size_t biggest;
    int result; /* 1: ended OK */
};

static int send_next(struct client *c)
{
    uint32_t n = 0;

    if (!c->message && num_parse_u32(*c->sizes, strlen(*c->sizes), 1u << 28, &n) == 0) {
        c->message = mem_alloc(n + 1);
        c->message_len = n;
        memset(c->message, 'm', n);
    }
    int r = grpc_call_send(c->call, c->message, c->message_len);
    if (r == 0) {
        mem_free(c->message);
        c->message = NULL;
        c->sizes++;
    }
    return r;
}

static void send_all(struct client *c)
{
    int r = 0;

    while (r == 0 && *c->sizes) {
        r = send_next(c);
    }
    if (r == 0 && !c->ended) {
        c->ended = grpc_call_send_end(c->call) == 0;
    }
}

static int take(struct client *c)
{
    struct iovec v;
    int r = c->in_message ? 1 : grpc_call_next(c->call, &c->size);

    if (r != 1) {
        return r;
    }
    c->in_message = true;
    int n = grpc_call_peek(c->call, &v, 1);
    if (n == 0) {
        printf("message %u\n", c->size);
        c->in_message = false;
    } else if (n > 0) {
        c->biggest = MAX_OF(c->biggest, v.iov_len);
        grpc_call_skip(c->call, v.iov_len);
    }
    return n < 0 ? n : 1;
}

static void run(struct task *t, unsigned why)
{
    struct client *c = container_of(t, struct client, task);
    int r;

    (void)why;
    if (c->result != 0) {
        return;
    }
    send_all(c);
    do {
        r = take(c);
    } while (r == 1);
    c->result = r == 0 ? 1 : r == -EAGAIN ? 0 : r;
}

static int call(struct loop *l, char **argv)
{
    struct endpoint to = {0};
    struct client c = {.sizes = argv + 3};
    struct grpc_client_options o = {.scheme = "http"};
    AUTO(message) struct message metadata = {0};
    uint64_t limit_ms = 0;

    if (ip_parse(&to.ip, "127.0.0.1", 9) < 0 ||
        num_parse_port(argv[0], strlen(argv[0]), &to.port) < 0 ||
        num_parse_u64(argv[2], strlen(argv[2]), 1u << 30, &limit_ms) < 0) {
        return 2;
    }
    message_puts(&metadata, "authorization", "Bearer test-token");
    task_init(&c.task, l, "client", run);
    struct stream *s = tcp_stream_connect(l, sock_open(IP_V4, SOCK_TYPE_STREAM, NULL), &to, 2000);
    struct grpc_client *client = grpc_client_new(l, s, "test.local:1", &o, &c.task);
    c.call = grpc_client_call(client, argv[1], &metadata, limit_ms);
    grpc_call_own(c.call, &c.task);
    task_wake(&c.task, WAKE_START);
    for (int i = 0; i < 100000 && c.result == 0; i++) {
        (void)loop_turn(l, 100);
    }
    const struct grpc_status *status = grpc_call_status(c.call);
    printf("status %u %s\nbiggest %zu\n", status->code, status->text, c.biggest);
    grpc_call_close(c.call);
    grpc_client_free(client);
    task_fini(&c.task);
    mem_free(c.message);
    return 0;
}

int main(int argc, char **argv)
{
    struct loop *l = loop_new(NULL);
    int r = 2;

    if (argc == 2 && strcmp(argv[1], "serve") == 0) {
        r = serve(l);
    } else if (argc >= 5 && strcmp(argv[1], "call") == 0) {
        r = call(l, argv + 2);
    }
    loop_advance(l, 60000);
    for (int i = 0; i < 100; i++) {
        (void)loop_turn(l, 0);
    }
    loop_free(l);
    return r;
}
