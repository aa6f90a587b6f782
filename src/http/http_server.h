/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many connections, one queue of requests: accepts (or is given) streams, runs TLS on them if asked
 * to, speaks HTTP/2 where ALPN chose it and HTTP/1.1 otherwise, and hands out the requests of all of
 * them, whichever came first. The owner is woken with WAKE_CHILD when http_server_next is worth
 * calling. One loop; several loops have several servers (SO_REUSEPORT or handed-over streams).
 */
#pragma once

#include "base/ip.h"
#include "http/exchange.h"
#include "http/h1_server.h"
#include "http/h2_session.h"
#include "tls/tls_stream.h"

enum http_protocol {
    HTTP_BY_ALPN, /* h2 if TLS negotiated it, else HTTP/1.1 */
    HTTP_ONLY_H2, /* with prior knowledge: gRPC */
    HTTP_ONLY_H1,
};

struct http_server_options { /* copied; the pointers must outlive the server */
    enum http_protocol protocol;
    struct tls_loop *tls; /* NULL: in the clear */
    /* Read at each new connection, so its owner may put a newer credential in. */
    const struct handshake_spec *spec;
    struct h1_limits h1;
    struct h2_options h2;
    /* 0 = 1,024. One more takes the place of the oldest that asks for nothing, so that nobody keeps
     * others out by holding connections; it is closed at once if all are busy. */
    unsigned connections_max;
};

struct http_server;

struct http_server *http_server_new(struct loop *l, const struct http_server_options *options,
                                    struct task *owner);
/* Takes fd, a listening non-blocking stream socket. May be called for several sockets (at most 4). */
MUST_USE int http_server_listen(struct http_server *s, int take_fd, struct diag *why);
/* Takes a connected stream in the clear; TLS is put on it if the options say so. */
void http_server_add(struct http_server *s, struct stream *take_stream);
/* 1: *out is the caller's. -EAGAIN: later. */
MUST_USE int http_server_next(struct http_server *s, struct exchange **out);

struct http_server_stats {
    unsigned connections;
    uint64_t accepted, refused, requests;
    uint64_t displaced; /* idle ones that made room */
};
struct http_server_stats http_server_stats(const struct http_server *s);
void http_server_free(struct http_server *s);
AUTO_DEFINE(http_server, struct http_server *, http_server_free);
