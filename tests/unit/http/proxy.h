/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest proxy that the exchanges make possible: each request of a server goes to one address
 * over HTTP/1.1, on a connection that was used before where one is idle, and the response comes back.
 * Interim responses, trailers and WebSocket pass. What fails upstream is answered with 502.
 */
#pragma once

#include "base/ip.h"
#include "http/exchange.h"
#include "http/h1_client.h"

enum { PROXY_MAX = 64 };

struct proxying {
    struct task task;
    struct proxy *in;
    struct exchange *down; /* NULL: free */
    struct exchange *up;
    struct h1_client *client; /* kept when the exchange is over */
    struct exchange_moved sent;
    struct exchange_moved received;
    bool bodyless; /* from the start: it can be asked again */
    bool request_over;
    bool response_over;
    bool answered;
    bool upgraded;
};

struct proxy {
    struct task task;
    struct loop *loop;
    struct endpoint to;
    struct stream *(*connect)(void *arg); /* NULL: TCP to `to` */
    void *connect_arg;
    int (*next)(void *server, struct exchange **out);
    void *server;
    struct proxying now[PROXY_MAX];
    uint64_t requests;
    uint64_t failed; /* upstream */
};

void proxy_start(struct proxy *p, struct loop *l, const struct endpoint *to);
/* The server whose owner is &p->task. */
void proxy_serve(struct proxy *p, int (*next)(void *server, struct exchange **out), void *server);
void proxy_stop(struct proxy *p);
