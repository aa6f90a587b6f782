/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages all the way through a proxy: our client, a front of either protocol, the proxy, an HTTP/1.1
 * server behind it. Each stream call of each of the four ends failing once, each allocation failing
 * once, either side reading slowly or leaving at every moment: what arrives is whole and right, or an
 * error; nothing hangs; everything is released.
 */
#include <string.h>

#include "base/mem.h"
#include "caller.h"
#include "handler.h"
#include "http/h1_client.h"
#include "http/h1_server.h"
#include "http/h2_session.h"
#include "mempipe.h"
#include "proxy.h"
#include "t.h"
#include "wire.h"

enum { FARS_MAX = 16 };

/* The servers behind the proxy, one a connection, before one application each. */
struct far {
    struct h1_server *server;
    struct handler app;
};

struct rig {
    struct loop *loop;
    bool h2;
    bool lending;
    size_t pipe;
    struct h1_client *client1;
    struct h2_session *client2;
    struct h1_server *front1;
    struct h2_session *front2;
    struct proxy proxy;
    struct far far[FARS_MAX];
    unsigned fars;
    struct caller call;
    struct mempipe_fault near_fault; /* of the front's end */
    struct mempipe_fault far_fault;  /* of the far servers' ends */
    struct mempipe_fault up_fault;   /* of the proxy's ends towards them */
};

static void pipe_pair(const struct rig *g, struct stream *ends[2], struct mempipe_fault *fault)
{
    (g->lending ? mempipe_pair_lending : mempipe_pair)(ends, g->pipe, fault);
}

static int next1(void *server, struct exchange **out)
{
    return h1_server_next(server, out);
}

static int next2(void *server, struct exchange **out)
{
    return h2_session_next(server, out);
}

/* Faults are counted on one end of a pipe: every other connection has them on the proxy's. */
static struct stream *connect_far(void *arg)
{
    struct rig *g = arg;
    bool ours = g->fars % 2 == 0;
    struct stream *ends[2];

    pipe_pair(g, ends, ours ? &g->up_fault : &g->far_fault);
    if (g->fars == FARS_MAX) {
        stream_close(ends[0], -ECONNREFUSED);
        return ends[1];
    }
    struct far *f = &g->far[g->fars++];
    handler_start(&f->app, g->loop);
    f->server = h1_server_new(g->loop, ends[ours ? 0 : 1], NULL, &f->app.task);
    handler_serve(&f->app, next1, f->server);
    return ends[ours ? 1 : 0];
}

static void rig_start(struct rig *g, bool h2, bool lending, size_t pipe)
{
    struct stream *ends[2];

    *g = (struct rig){.loop = loop_new(NULL), .h2 = h2, .lending = lending, .pipe = pipe};
    loop_stop_clock(g->loop);
    g->near_fault = (struct mempipe_fault){.countdown = -1, .code = -EIO};
    g->far_fault = g->near_fault;
    g->up_fault = g->near_fault;
    pipe_pair(g, ends, &g->near_fault);
    proxy_start(&g->proxy, g->loop, &(struct endpoint){.port = 0});
    g->proxy.connect = connect_far;
    g->proxy.connect_arg = g;
    if (h2) {
        g->client2 = h2_client_new(g->loop, ends[0], NULL, NULL);
        g->front2 = h2_server_new(g->loop, ends[1], NULL, &g->proxy.task);
        proxy_serve(&g->proxy, next2, g->front2);
    } else {
        g->client1 = h1_client_new(g->loop, ends[0], NULL, NULL);
        g->front1 = h1_server_new(g->loop, ends[1], NULL, &g->proxy.task);
        proxy_serve(&g->proxy, next1, g->front1);
    }
}

static bool rig_stop(struct rig *g)
{
    caller_stop(&g->call, -ERR_CANCELLED);
    h1_client_free(g->client1);
    h2_session_free(g->client2);
    bool settled = settle(g->loop);
    proxy_stop(&g->proxy);
    h1_server_free(g->front1);
    h2_session_free(g->front2);
    settled = settle(g->loop) && settled;
    for (unsigned i = 0; i < g->fars; i++) {
        handler_stop(&g->far[i].app);
        h1_server_free(g->far[i].server);
    }
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000);
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

static const struct {
    const char *method, *path, *body, *answer;
} talk[] = {
    {"GET", "/echo?1", NULL, "GET /echo?1 "},
    {"POST", "/echo", "some body", "POST /echo some body"},
    {"GET", "/stream", NULL, "onetwothree"},
    {"HEAD", "/big", NULL, ""},
    {"GET", "/none", NULL, ""},
    {"POST", "/early", "unread", ""},
};

static void ask(struct rig *g, unsigned i)
{
    AUTO(message) struct message head = {0};
    const char *body = talk[i].body;

    message_request(&head, talk[i].method, "http", "a", talk[i].path);
    message_puts(&head, "te", "trailers");
    struct exchange *x = g->h2 ? h2_session_request(g->client2, &head, body == NULL)
                               : h1_client_request(g->client1, &head, body == NULL);
    caller_start(&g->call, g->loop, x, body, body ? strlen(body) : 0);
}

/* 1: whole and right; 0: an error, or a proxy that says it had one; -1: wrong, or nothing at all. */
static int verdict(struct rig *g, unsigned i)
{
    bool settled = settle(g->loop);

    loop_advance(g->loop, 31000); /* whoever waits for nothing is told */
    settled = settle(g->loop) && settled;
    if (g->call.result < 0) {
        return settled ? 0 : -1;
    }
    if (!settled || g->call.result == 0) {
        return -1;
    }
    if (g->call.x->in.status >= 400) {
        return 0;
    }
    return caller_got(&g->call, talk[i].answer) ? 1 : -1;
}

/* How many were answered right; -1: one was worse than an error. */
static int converse(struct rig *g)
{
    int right = 0;

    for (unsigned i = 0; i < ARRAY_LEN(talk); i++) {
        ask(g, i);
        int v = verdict(g, i);
        if (v < 0) {
            printf("# %s %s: result %d, status %u\n", talk[i].method, talk[i].path, g->call.result,
                   g->call.x->in.status);
            return -1;
        }
        right += v;
        caller_stop(&g->call, v == 1 ? 0 : -ERR_CANCELLED);
        if (!settle(g->loop)) {
            return -1;
        }
    }
    return right;
}

TEST(every_message_passes_through_any_pipe)
{
    static struct rig g;

    for (int kind = 0; kind < 4; kind++) {
        for (size_t pipe = 1; pipe < 100000; pipe = pipe * 7 + 1) {
            rig_start(&g, kind & 1, kind & 2, pipe);
            int right = converse(&g);
            CHECK(rig_stop(&g));
            CHECK_INT(right, ARRAY_LEN(talk));
        }
    }
}

static struct mempipe_fault *fault_of(struct rig *g, int which)
{
    return which == 0 ? &g->near_fault : which == 1 ? &g->far_fault : &g->up_fault;
}

TEST(a_fault_at_any_stream_call_on_the_way_is_an_error_and_no_more)
{
    int points = 0;

    for (int kind = 0; kind < 4; kind++) {
        for (int which = 0; which < 3; which++) {
            int calls = 1;
            for (int at = -1; at < calls; at++) { /* the first run only counts */
                static struct rig g;
                rig_start(&g, kind & 1, kind & 2, 60);
                fault_of(&g, which)->countdown = at;
                int right = converse(&g);
                calls = at < 0 ? fault_of(&g, which)->calls : calls;
                CHECK(rig_stop(&g));
                if (right < 0) {
                    printf("# kind %d, side %d, call %d of %d\n", kind, which, at, calls);
                }
                CHECK(right >= 0);
                points++;
            }
        }
    }
    printf("# %d fault points\n", points);
    CHECK(points > 500);
}

TEST(short_memory_at_any_point_on_the_way_is_an_error_and_no_more)
{
    unsigned points = 0;

    for (int kind = 0; kind < 4; kind++) {
        unsigned tries = 1;
        for (int at = -1; at < (int)tries; at++) {
            static struct rig g;
            (void)mem_fault_set(at);
            rig_start(&g, kind & 1, kind & 2, 60);
            int right = converse(&g);
            tries = at < 0 ? mem_fault_set(-1) : tries;
            (void)mem_fault_set(-1);
            CHECK(rig_stop(&g));
            CHECK(right >= 0);
            points++;
        }
    }
    printf("# %u allocations failed\n", points);
}

/* A client or a server that leaves in the middle of each of the messages, at every turn of the loop. */
TEST(who_leaves_at_any_moment_leaves_nothing_behind)
{
    unsigned points = 0;

    for (int kind = 0; kind < 4; kind++) {
        for (unsigned i = 0; i < ARRAY_LEN(talk); i++) {
            for (int who = 0; who < 2; who++) {
                bool before = true;
                for (int turns = 0; before && turns < 400; turns++) {
                    static struct rig g;
                    rig_start(&g, kind & 1, kind & 2, 16);
                    ask(&g, i);
                    for (int n = 0; n < turns; n++) {
                        (void)loop_turn(g.loop, 0);
                    }
                    before = g.call.result == 0;
                    if (who == 0) {
                        caller_stop(&g.call, -ERR_CANCELLED);
                    } else if (g.fars > 0) {
                        handler_stop(&g.far[0].app);
                        h1_server_free(g.far[0].server);
                        g.far[0].server = NULL;
                    }
                    bool settled = settle(g.loop);
                    loop_advance(g.loop, 31000);
                    settled = settle(g.loop) && settled;
                    bool told = who == 0 || g.call.result != 0;
                    CHECK(rig_stop(&g));
                    CHECK(settled);
                    CHECK(told);
                    points++;
                }
            }
        }
    }
    printf("# %u moments\n", points);
    CHECK(points > 300);
}

TEST(a_slow_reader_holds_up_the_sender_and_memory_stays_small)
{
    for (int kind = 0; kind < 4; kind++) {
        static struct rig g;
        AUTO(message) struct message head = {0};
        rig_start(&g, kind & 1, kind & 2, 4096);
        message_request(&head, "GET", "http", "a", "/big");
        struct exchange *x = g.h2 ? h2_session_request(g.client2, &head, true)
                                  : h1_client_request(g.client1, &head, true);
        caller_start(&g.call, g.loop, x, NULL, 0);
        g.call.stopped = true;
        CHECK(settle(g.loop));
        CHECK_INT(g.call.got.len, 0);
        caller_go_on(&g.call);
        CHECK(settle(g.loop));
        CHECK_INT(g.call.result, 1);
        CHECK_INT(g.call.got.len, BIG_BYTES);
        const uint8_t *p = bytes_peek(&g.call.got);
        for (size_t i = 0; i < BIG_BYTES; i++) {
            CHECK(p[i] == (uint8_t)big_byte(i));
        }
        CHECK(rig_stop(&g));
    }
}
