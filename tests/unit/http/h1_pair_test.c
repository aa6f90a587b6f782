/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "caller.h"
#include "handler.h"
#include "http/h1_client.h"
#include "http/h1_server.h"
#include "mempipe.h"
#include "stream_battery.h"
#include "t.h"
#include "wire.h"

/* Our client and our server, back to back. */
struct pair {
    struct loop *loop;
    struct h1_client *client;
    struct h1_server *server;
    struct handler app;
    struct caller call;
    struct mempipe_fault fault;
};

static int next(void *server, struct exchange **out)
{
    return h1_server_next(server, out);
}

static void pair_start(struct pair *g, size_t pipe, int fail_at, bool lending)
{
    struct stream *ends[2];

    *g = (struct pair){.fault = {.countdown = fail_at, .code = -EIO}};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    (lending ? mempipe_pair_lending : mempipe_pair)(ends, pipe, &g->fault);
    handler_start(&g->app, g->loop);
    g->client = h1_client_new(g->loop, ends[1], NULL, NULL);
    g->server = h1_server_new(g->loop, ends[0], NULL, &g->app.task);
    handler_serve(&g->app, next, g->server);
}

static bool pair_stop(struct pair *g)
{
    caller_stop(&g->call, 0);
    h1_client_free(g->client);
    bool settled = settle(g->loop);
    handler_stop(&g->app);
    h1_server_free(g->server);
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
    {"PUT", "/echo", "", "PUT /echo "},
    {"POST", "/early", "unread", ""},
};

/* True: every exchange that did not fail was answered right. */
static bool pair_talk(struct pair *g, unsigned *done)
{
    bool right = true;

    *done = 0;
    for (unsigned i = 0; i < ARRAY_LEN(talk); i++) {
        AUTO(message) struct message head = {0};
        const char *body = talk[i].body;
        message_request(&head, talk[i].method, "http", "a", talk[i].path);
        message_puts(&head, "te", "trailers");
        struct exchange *x = h1_client_request(g->client, &head, body == NULL);
        caller_start(&g->call, g->loop, x, body, body ? strlen(body) : 0);
        right = settle(g->loop) && right;
        loop_advance(g->loop, 31000); /* whoever waits for nothing is told */
        right = settle(g->loop) && right;
        if (g->call.result == 1) {
            /* A server that is short of memory says so. */
            bool refused = g->call.x->in.status >= 400;
            right = right && (refused || caller_got(&g->call, talk[i].answer));
            *done += !refused;
        } else if (g->call.result == 0) {
            right = false; /* a wake was lost, or a deadline is missing */
        }
        caller_stop(&g->call, g->call.result == 1 ? 0 : -ERR_CANCELLED);
        right = settle(g->loop) && right;
    }
    return right;
}

TEST(client_and_server_understand_each_other_through_any_pipe)
{
    struct pair g;
    unsigned done;

    for (int lending = 0; lending < 2; lending++) {
        for (size_t pipe = 1; pipe < 100000; pipe = pipe * 5 + 1) {
            pair_start(&g, pipe, -1, lending);
            bool right = pair_talk(&g, &done);
            CHECK(pair_stop(&g));
            CHECK(right);
            CHECK_INT(done, ARRAY_LEN(talk));
        }
    }
}

TEST(trailers_pass_both_ways)
{
    AUTO(message) struct message head = {0};
    AUTO(message) struct message trailers = {0};
    struct pair g;
    struct slice sum;

    pair_start(&g, 4096, -1, false);
    message_request(&head, "POST", "http", "a", "/echo");
    struct exchange *x = h1_client_request(g.client, &head, false);
    CHECK_INT(stream_write(&x->s, "abc", 3), 3);
    message_puts(&trailers, "x-sum", "294");
    message_puts(&trailers, "content-length", "9"); /* not sent */
    CHECK_INT(exchange_finish(x, &trailers), 0);
    caller_start(&g.call, g.loop, x, NULL, 0);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, 1);
    CHECK(caller_got(&g.call, "POST /echo abc sum=294"));
    caller_stop(&g.call, 0);
    message_clear(&head);
    message_request(&head, "GET", "http", "a", "/stream");
    message_puts(&head, "te", "trailers");
    caller_start(&g.call, g.loop, h1_client_request(g.client, &head, true), NULL, 0);
    CHECK(settle(g.loop));
    CHECK(message_find(&g.call.x->in_trailers, "x-sum", &sum) && slice_is(sum, "11"));
    CHECK(pair_stop(&g));
}

TEST(a_fault_at_any_stream_call_of_the_client_fails_its_exchange)
{
    struct pair g;
    unsigned done;

    for (int lending = 0; lending < 2; lending++) {
        pair_start(&g, 60, -1, lending);
        CHECK(pair_talk(&g, &done));
        int calls = g.fault.calls;
        CHECK(pair_stop(&g));
        CHECK(calls > 50);
        for (int at = 0; at < calls; at++) {
            pair_start(&g, 60, at, lending);
            bool right = pair_talk(&g, &done);
            CHECK(pair_stop(&g));
            if (!right) {
                printf("# call %d of %d\n", at, calls);
            }
            CHECK(right);
        }
        printf("# %d fault points\n", calls);
    }
}

TEST(short_memory_at_any_point_fails_an_exchange_not_the_process)
{
    struct pair g;
    unsigned done;

    (void)mem_fault_set(-1);
    pair_start(&g, 60, -1, false);
    CHECK(pair_talk(&g, &done));
    unsigned tries = mem_fault_set(-1);
    CHECK(pair_stop(&g));
    CHECK(tries > 10);
    for (unsigned at = 0; at < tries; at++) {
        (void)mem_fault_set((int)at);
        pair_start(&g, 60, -1, false);
        bool right = pair_talk(&g, &done);
        (void)mem_fault_set(-1);
        CHECK(pair_stop(&g));
        if (!right) {
            printf("# allocation %u of %u\n", at, tries);
        }
        CHECK(right);
    }
    printf("# %u allocations failed\n", tries);
}

/* An exchange is a stream like any other: chunked bodies, and an upgraded connection. */

struct pair_kit {
    bool upgraded;
    bool lending;
    struct h1_client *client;
    struct h1_server *server;
    struct task task;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static int make_pair(void *arg, struct loop *l, struct stream *out[2])
{
    AUTO(message) struct message head = {0};
    struct pair_kit *k = arg;
    const struct h1_limits limits = {.body_bytes = H1_BODY_UNLIMITED, .websocket = true};
    struct stream *ends[2];
    struct exchange *accepted = NULL;

    (k->lending ? mempipe_pair_lending : mempipe_pair)(ends, 40000, NULL);
    task_init(&k->task, l, "kit", nothing);
    k->client = h1_client_new(l, ends[0], NULL, NULL);
    k->server = h1_server_new(l, ends[1], &limits, &k->task);
    message_request(&head, k->upgraded ? "GET" : "POST", "http", "a", "/");
    if (k->upgraded) {
        message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
    }
    struct exchange *x = h1_client_request(k->client, &head, k->upgraded);
    (void)settle(l);
    if (h1_server_next(k->server, &accepted) != 1) {
        exchange_close(x, -ERR_CANCELLED);
        return -EIO;
    }
    message_clear(&head);
    head.status = k->upgraded ? 101 : 200;
    if (k->upgraded) {
        message_puts(&head, "sec-websocket-accept", "x");
    }
    int r = exchange_send(accepted, &head);
    out[0] = &x->s;
    out[1] = &accepted->s;
    (void)settle(l);
    return r < 0 ? r : exchange_head(x);
}

static void drop_pair(void *arg, struct loop *l)
{
    struct pair_kit *k = arg;

    h1_client_free(k->client);
    h1_server_free(k->server);
    task_fini(&k->task);
    (void)settle(l);
    loop_advance(l, 60000);
    (void)settle(l);
}

static struct pair_kit chunked_pair = {.upgraded = false};
static struct pair_kit lent_pair = {.upgraded = false, .lending = true};
static struct pair_kit upgraded_pair = {.upgraded = true, .lending = true};
#define KIT(kit_arg)                                                                               \
    {                                                                                              \
        .pair = make_pair, .done = drop_pair, .live = mempipe_live, .arg = (kit_arg),              \
        .has = BATTERY_RESET, .patience_ms = 10, .window_max = 600 << 10                           \
    }
static const struct battery_kit chunked = KIT(&chunked_pair);
static const struct battery_kit lent = KIT(&lent_pair);
static const struct battery_kit upgraded = KIT(&upgraded_pair);
STREAM_BATTERY(h1_chunked, &chunked)
STREAM_BATTERY(h1_lent, &lent)
STREAM_BATTERY(h1_upgraded, &upgraded)
