/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http_server.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "caller.h"
#include "handler.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "mempipe.h"
#include "pki.h"
#include "t.h"
#include "tcp_pair.h"
#include "wire.h"

enum { PATIENCE_MS = 30000 };

/* A server on TCP, with or without TLS. */
struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct tls_ctx *ctx;
    struct tls_loop *tls;
    struct credential *credential;
    struct trust *trust;
    struct handshake_spec server_spec;
    struct endpoint at;
    struct http_server *server;
    struct handler app;
};

static int next(void *server, struct exchange **out)
{
    return http_server_next(server, out);
}

static void make_tls(struct rig *g)
{
    static const char *const alpn[] = {"h2", "http/1.1"};
    struct pki_cert root = pki_root(PKI_P256);
    struct pki_cert leaf =
        pki_make(&(struct pki_spec){.san = "IP:127.0.0.1", .eku = "serverAuth"}, &root);

    g->jobs = jobs_new(1, 100, 100, NULL);
    g->credential = pki_credential_of(&leaf, &root);
    if (tls_ctx_new(&g->ctx, NULL, NULL) < 0 ||
        trust_new(&g->trust, slice_of(root.cert), NULL) < 0) {
        abort();
    }
    g->tls = tls_loop_new(g->loop, g->jobs, g->ctx, NULL);
    g->server_spec = (struct handshake_spec){
        .role = TLS_HOST_SERVER, .credential = g->credential, .alpn = alpn, .alpn_count = 2};
    pki_free(&leaf);
    pki_free(&root);
}

static bool rig_start(struct rig *g, struct http_server_options o, bool secure)
{
    *g = (struct rig){.loop = loop_new(NULL)};
    loop_stop_clock(g->loop);
    if (secure) {
        make_tls(g);
        o.tls = g->tls;
        o.spec = &g->server_spec;
    }
    handler_start(&g->app, g->loop);
    g->server = http_server_new(g->loop, &o, &g->app.task);
    handler_serve(&g->app, next, g->server);
    return http_server_listen(g->server, tcp_test_listener(IP_V4, &g->at), NULL) == 0;
}

/* Turns until *what is not 0 any more. */
static bool wait_for(struct rig *g, const int *what)
{
    for (uint64_t end = clock_mono_ms() + PATIENCE_MS; *what == 0 && clock_mono_ms() < end;) {
        (void)loop_turn(g->loop, 5);
    }
    return *what != 0;
}

static bool wait_for_text(struct rig *g, struct wire *w, const char *text)
{
    for (uint64_t end = clock_mono_ms() + PATIENCE_MS;
         clock_mono_ms() < end && !wire_has(w, text);) {
        (void)loop_turn(g->loop, 5);
    }
    return wire_has(w, text);
}

static bool wait_for_end(struct rig *g, struct wire *w)
{
    for (uint64_t end = clock_mono_ms() + PATIENCE_MS; clock_mono_ms() < end;) {
        (void)loop_turn(g->loop, 5);
        if (w->ended || w->failure < 0) {
            return true;
        }
    }
    return false;
}

static void rig_stop(struct rig *g)
{
    handler_stop(&g->app);
    http_server_free(g->server);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g->loop, 2);
    }
    loop_advance(g->loop, 60000);
    (void)settle(g->loop);
    tls_loop_free(g->tls);
    jobs_free(g->jobs);
    tls_ctx_free(g->ctx);
    g->credential = credential_unref(g->credential);
    g->trust = trust_unref(g->trust);
    loop_free(g->loop);
}

static struct stream *dial(struct rig *g, const char *alpn)
{
    const char *const protocols[] = {alpn};
    struct handshake_spec spec = {.role = TLS_HOST_CLIENT,
                                  .trust = g->trust,
                                  .host = "127.0.0.1",
                                  .alpn = protocols,
                                  .alpn_count = alpn ? 1 : 0};
    struct stream *s =
        tcp_stream_connect(g->loop, sock_open(IP_V4, SOCK_TYPE_STREAM, NULL), &g->at, 2000);

    return g->tls ? tls_stream_new(g->tls, s, &spec, 1) : s;
}

static const char get_echo[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(alpn_chooses_the_protocol_and_the_handler_does_not_know)
{
    AUTO(message) struct message head = {0};
    static const char *const old[] = {"http/1.1", NULL};
    struct caller call;
    struct wire peer;
    struct rig g;

    CHECK(rig_start(&g, (struct http_server_options){0}, true));
    for (int i = 0; i < 2; i++) {
        wire_start(&peer, g.loop, dial(&g, old[i]), get_echo, strlen(get_echo));
        CHECK(wait_for_text(&g, &peer, "\r\n\r\nGET /echo "));
        wire_stop(&peer, 0);
    }
    struct h2_session *client = h2_client_new(g.loop, dial(&g, "h2"), NULL, NULL);
    message_request(&head, "GET", "https", "a", "/echo");
    caller_start(&call, g.loop, h2_session_request(client, &head, true), NULL, 0);
    CHECK(wait_for(&g, &call.result));
    CHECK_INT(call.result, 1);
    CHECK(caller_got(&call, "GET /echo "));
    CHECK_INT(g.app.requests, 3);
    CHECK_INT(http_server_stats(g.server).requests, 3);
    caller_stop(&call, 0);
    h2_session_free(client);
    rig_stop(&g);
}

TEST(the_scheme_says_whether_the_connection_is_secure)
{
    struct wire peer;
    struct rig g;

    for (int secure = 0; secure < 2; secure++) {
        CHECK(rig_start(&g, (struct http_server_options){0}, secure));
        const char *ask = "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n";
        wire_start(&peer, g.loop, dial(&g, NULL), ask, strlen(ask));
        CHECK(wait_for_text(&g, &peer, "line"));
        struct exchange *x = g.app.now[0].x;
        CHECK(slice_is(message_get(&x->in, MESSAGE_SCHEME), secure ? "https" : "http"));
        wire_stop(&peer, 0);
        rig_stop(&g);
    }
}

TEST(one_connection_too_many_is_closed_when_all_are_busy)
{
    static const char watch[] = "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_server_options o = {.connections_max = 2};
    struct wire peer[3];
    struct rig g;

    CHECK(rig_start(&g, o, false));
    for (int i = 0; i < 3; i++) {
        wire_start(&peer[i], g.loop, dial(&g, NULL), watch, strlen(watch));
        if (i < 2) {
            CHECK(wait_for_text(&g, &peer[i], "line"));
        }
    }
    CHECK(wait_for_end(&g, &peer[2]));
    CHECK_INT(http_server_stats(g.server).connections, 2);
    CHECK_INT(http_server_stats(g.server).refused, 1);
    CHECK_INT(http_server_stats(g.server).displaced, 0);
    for (int i = 0; i < 3; i++) {
        wire_stop(&peer[i], 0);
    }
    rig_stop(&g);
}

TEST(whoever_holds_connections_without_asking_keeps_nobody_out)
{
    static const char half[] = "GET /echo HTT";
    struct http_server_options o = {.connections_max = 4};

    for (int secure = 0; secure < 2; secure++) {
        struct wire holder[8];
        struct wire peer;
        struct rig g;
        CHECK(rig_start(&g, o, secure));
        for (size_t i = 0; i < ARRAY_LEN(holder); i++) { /* silent, halfway, done */
            const char *said = i % 3 == 0 ? "" : i % 3 == 1 ? half : get_echo;
            wire_start(&holder[i], g.loop, dial(&g, NULL), said, strlen(said));
            CHECK(i % 3 < 2 || wait_for_text(&g, &holder[i], "GET /echo "));
        }
        for (int i = 0; i < 50 && http_server_stats(g.server).accepted < 8; i++) {
            (void)loop_turn(g.loop, 5);
        }
        wire_start(&peer, g.loop, dial(&g, NULL), get_echo, strlen(get_echo));
        CHECK(wait_for_text(&g, &peer, "GET /echo "));
        CHECK_INT(http_server_stats(g.server).connections, 4);
        CHECK_INT(http_server_stats(g.server).refused, 0);
        CHECK_INT(http_server_stats(g.server).displaced, 5);
        for (size_t i = 0; i < ARRAY_LEN(holder); i++) {
            wire_stop(&holder[i], 0);
        }
        wire_stop(&peer, 0);
        rig_stop(&g);
    }
}

TEST(no_descriptor_is_left_behind)
{
    int before = test_fd_count();
    struct wire peer;
    struct rig g;

    CHECK(rig_start(&g, (struct http_server_options){0}, true));
    for (int i = 0; i < 5; i++) {
        wire_start(&peer, g.loop, dial(&g, NULL), get_echo, strlen(get_echo));
        CHECK(wait_for_text(&g, &peer, "GET /echo "));
        wire_stop(&peer, i % 2 ? 0 : -ECONNRESET);
    }
    wire_start(&peer, g.loop, dial(&g, NULL), "", 0);
    (void)loop_turn(g.loop, 5);
    wire_stop(&peer, -ECONNRESET);
    rig_stop(&g);
    CHECK_INT(test_fd_count(), before);
}
