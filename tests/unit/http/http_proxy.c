/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For foreign peers (tests/scenario/http):  http_proxy PORT
 * forwards to 127.0.0.1:PORT over HTTP/1.1, as a waypoint would read and write messages; prints the
 * ports of its HTTP/1.1 and its HTTP/2 side (prior knowledge); ends with its standard input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "http/http_server.h"
#include "proxy.h"
#include "stdin_watch.h"
#include "tcp_pair.h"

struct side {
    struct proxy proxy;
    struct http_server *server;
    struct endpoint at;
};

static int next(void *server, struct exchange **out)
{
    return http_server_next(server, out);
}

static int open_side(struct side *s, struct loop *l, enum http_protocol protocol,
                     const struct endpoint *to)
{
    const struct http_server_options o = {
        .protocol = protocol,
        .h1 = {.head_bytes = 60 << 10,
               .body_bytes = H1_BODY_UNLIMITED,
               .requests = H1_REQUESTS_UNLIMITED,
               .refuse_http10 = true,
               .continue_by_owner = true,
               .websocket = true},
        .h2 = {.header_list_bytes = 60 << 10, .continue_by_owner = true, .websocket = true}};
    struct diag why = {0};

    proxy_start(&s->proxy, l, to);
    s->server = http_server_new(l, &o, &s->proxy.task);
    int r = http_server_listen(s->server, tcp_test_listener(IP_V4, &s->at), &why);
    proxy_serve(&s->proxy, next, s->server);
    return r;
}

int main(int argc, char **argv)
{
    static struct side sides[2];
    struct stdin_watch end;
    struct endpoint to = {0};

    if (argc != 2 || ip_parse(&to.ip, "127.0.0.1", 9) < 0 ||
        num_parse_port(argv[1], strlen(argv[1]), &to.port) < 0) {
        (void)fprintf(stderr, "usage: http_proxy PORT\n");
        return 2;
    }
    struct loop *l = loop_new(NULL);
    if (open_side(&sides[0], l, HTTP_ONLY_H1, &to) < 0 ||
        open_side(&sides[1], l, HTTP_ONLY_H2, &to) < 0) {
        return 1;
    }
    printf("%u %u\n", sides[0].at.port, sides[1].at.port);
    (void)fflush(stdout);
    stdin_watch_start(&end, l);
    loop_run(l);
    stdin_watch_stop(&end);
    for (int i = 0; i < 2; i++) {
        proxy_stop(&sides[i].proxy);
        http_server_free(sides[i].server);
    }
    loop_advance(l, 60000);
    for (int i = 0; i < 100; i++) {
        (void)loop_turn(l, 0);
    }
    loop_free(l);
    return 0;
}
