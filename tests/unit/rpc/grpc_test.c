/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "grpc_service.h"
#include "mempipe.h"
#include "rpc/grpc_call.h"
#include "rpc/grpc_client.h"
#include "rpc/grpc_server.h"
#include "t.h"
#include "wire.h"

enum { CALLERS = 4 };

/* The client's side of one call. */
struct caller {
    struct task task;
    struct grpc_call *call;
    const char *const *messages; /* NULL-terminated */
    bool ended;
    bool piecewise; /* takes messages bit by bit, without holding one */
    bool in_message;
    size_t biggest_piece;
    struct bytes got; /* what came, each message followed by '|' */
    uint64_t total;
    unsigned count;
    int result; /* 0 under way, 1 ended OK, or the error */
};

static int take_whole(struct caller *c)
{
    int r = grpc_call_recv(c->call, &c->got);

    if (r == 1) {
        c->count++;
        r = bytes_add(&c->got, "|", 1);
        return r < 0 ? r : 1;
    }
    return r;
}

static int take_piece(struct caller *c)
{
    uint32_t len;
    struct iovec v;
    int r = c->in_message ? 1 : grpc_call_next(c->call, &len);

    if (r != 1) {
        return r;
    }
    c->count += !c->in_message;
    c->in_message = true;
    int n = grpc_call_peek(c->call, &v, 1);
    if (n == 0) {
        c->in_message = false;
        return 1;
    }
    if (n < 0) {
        return n;
    }
    c->biggest_piece = MAX_OF(c->biggest_piece, v.iov_len);
    c->total += v.iov_len;
    grpc_call_skip(c->call, v.iov_len);
    return 1;
}

static int send_some(struct caller *c)
{
    while (*c->messages) {
        int r = grpc_call_send(c->call, *c->messages, strlen(*c->messages));
        if (r < 0) {
            return r;
        }
        c->messages++;
    }
    if (!c->ended) {
        int r = grpc_call_send_end(c->call);
        c->ended = r == 0;
        return r;
    }
    return 0;
}

static void caller_run(struct task *t, unsigned why)
{
    struct caller *c = container_of(t, struct caller, task);
    int r;

    (void)why;
    if (c->result != 0) {
        return;
    }
    r = send_some(c); /* what is wrong with it is what receiving says */
    do {
        r = c->piecewise ? take_piece(c) : take_whole(c);
    } while (r == 1);
    c->result = r == 0 ? 1 : r == -EAGAIN ? 0 : r;
}

struct rig {
    struct loop *loop;
    struct service service;
    struct task idle;
    struct grpc_client *client;
    struct caller caller[CALLERS];
    struct mempipe_fault fault;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void rig_start_with(struct rig *g, size_t pipe, int fail_at, uint32_t client_limit)
{
    struct grpc_server_options so = {.message_bytes = 1 << 20};
    struct grpc_client_options co = {.message_bytes = client_limit};
    struct stream *ends[2];

    *g = (struct rig){.fault = {.countdown = fail_at, .code = -EIO}};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    mempipe_pair(ends, pipe, &g->fault);
    service_start(&g->service, g->loop, &so);
    grpc_server_add(g->service.server, ends[0]);
    task_init(&g->idle, g->loop, "idle", nothing);
    g->client = grpc_client_new(g->loop, ends[1], "a:1", &co, &g->idle);
}

static void rig_start(struct rig *g)
{
    rig_start_with(g, 4096, -1, 0);
}

static void call(struct rig *g, int i, const char *path, const char *const *messages,
                 uint64_t limit_ms)
{
    struct caller *c = &g->caller[i];

    *c = (struct caller){.messages = messages};
    bytes_init(&c->got, 64 << 20);
    task_init(&c->task, g->loop, "caller", caller_run);
    c->call = grpc_client_call(g->client, path, NULL, limit_ms);
    grpc_call_own(c->call, &c->task);
    task_wake(&c->task, WAKE_START);
}

static bool got(struct caller *c, const char *text)
{
    return c->got.len == strlen(text) &&
           (c->got.len == 0 || memcmp(bytes_peek(&c->got), text, c->got.len) == 0);
}

static bool rig_stop(struct rig *g)
{
    for (int i = 0; i < CALLERS; i++) {
        if (g->caller[i].call) {
            task_fini(&g->caller[i].task);
            grpc_call_close(g->caller[i].call);
            bytes_fini(&g->caller[i].got);
        }
    }
    bool settled = settle(g->loop);
    grpc_client_free(g->client);
    service_stop(&g->service);
    task_fini(&g->idle);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000);
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

static const char *const none[] = {NULL};
static const char *const two[] = {"hello", "", NULL};

TEST(messages_come_back_and_the_status_is_ok)
{
    struct rig g;

    for (size_t pipe = 1; pipe < 5000; pipe = pipe * 7 + 1) {
        rig_start_with(&g, pipe, -1, 0);
        call(&g, 0, "/t/Echo", two, 0);
        call(&g, 1, "/t/Echo", none, 0);
        CHECK(settle(g.loop));
        CHECK_INT(g.caller[0].result, 1);
        CHECK(got(&g.caller[0], "hello||"));
        CHECK_INT(g.caller[1].result, 1);
        CHECK(got(&g.caller[1], ""));
        CHECK_INT(grpc_call_status(g.caller[0].call)->code, GRPC_OK);
        CHECK(rig_stop(&g));
    }
}

TEST(a_status_arrives_with_its_text)
{
    struct rig g;

    rig_start(&g);
    call(&g, 0, "/t/Fail", none, 0);
    call(&g, 1, "/t/Half", two, 0);
    call(&g, 2, "/t/Unknown", two, 0);
    CHECK(settle(g.loop));
    CHECK_INT(g.caller[0].result, -ERR_GRPC_STATUS);
    CHECK_INT(grpc_call_status(g.caller[0].call)->code, GRPC_NOT_FOUND);
    CHECK_STR(grpc_call_status(g.caller[0].call)->text, "50% \xc3\xa9\n");
    CHECK_INT(g.caller[1].result, -ERR_GRPC_STATUS);
    CHECK(got(&g.caller[1], "hello||"));
    CHECK_INT(grpc_call_status(g.caller[1].call)->code, GRPC_ABORTED);
    CHECK_STR(grpc_call_diag(g.caller[1].call)->text, "Aborted: ");
    CHECK_INT(grpc_call_status(g.caller[2].call)->code, GRPC_UNIMPLEMENTED);
    CHECK_STR(grpc_call_status(g.caller[2].call)->text, "no such method");
    CHECK(rig_stop(&g));
}

TEST(a_large_message_can_be_taken_in_pieces)
{
    static const char *const ask[] = {"20000000", NULL};
    struct rig g;

    rig_start_with(&g, 100000, -1, 0);
    call(&g, 0, "/t/Count", ask, 0);
    g.caller[0].piecewise = true;
    CHECK(settle(g.loop));
    CHECK_INT(g.caller[0].result, 1);
    CHECK_INT(g.caller[0].count, 1);
    CHECK_INT(g.caller[0].total, 20000000);
    CHECK(g.caller[0].biggest_piece <= 2 << 20);
    CHECK(rig_stop(&g));
}

TEST(what_is_not_read_of_a_message_is_skipped)
{
    struct rig g;
    uint32_t len = 0;

    rig_start(&g);
    call(&g, 0, "/t/Echo", two, 0);
    task_fini(&g.caller[0].task);
    task_init(&g.caller[0].task, g.loop, "caller", nothing);
    CHECK_INT(send_some(&g.caller[0]), 0);
    CHECK(settle(g.loop));
    struct iovec first;
    CHECK_INT(grpc_call_next(g.caller[0].call, &len), 1);
    CHECK_INT(len, 5);
    CHECK_INT(grpc_call_peek(g.caller[0].call, &first, 1), 1);
    CHECK_MEM(first.iov_base, "he", 2);
    grpc_call_skip(g.caller[0].call, 2);
    CHECK_INT(grpc_call_next(g.caller[0].call, &len), 1);
    CHECK_INT(len, 0);
    CHECK_INT(grpc_call_next(g.caller[0].call, &len), 0);
    CHECK_INT(grpc_call_next(g.caller[0].call, &len), 0);
    CHECK(rig_stop(&g));
}

TEST(a_message_beyond_the_limit_ends_the_call)
{
    struct rig g;
    static const char *const ask[] = {"1001", NULL};

    rig_start_with(&g, 4096, -1, 1000);
    call(&g, 0, "/t/Count", ask, 0);
    CHECK(settle(g.loop));
    CHECK_INT(g.caller[0].result, -ERR_TOO_LARGE);
    CHECK_INT(grpc_call_status(g.caller[0].call)->code, GRPC_RESOURCE_EXHAUSTED);
    CHECK(rig_stop(&g));
}

static const char *const one[] = {"one", NULL};

TEST(unary_wants_exactly_one_message)
{
    static const struct {
        const char *path;
        const char *const *messages;
        int result;
    } table[] = {{"/t/Echo", one, 0},
                 {"/t/Echo", none, -ERR_SYNTAX},
                 {"/t/Echo", two, -ERR_SYNTAX},
                 {"/t/Fail", none, -ERR_GRPC_STATUS}};
    struct rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        rig_start(&g);
        call(&g, 0, table[i].path, table[i].messages, 0);
        struct caller *c = &g.caller[0];
        task_fini(&c->task);
        task_init(&c->task, g.loop, "caller", nothing);
        CHECK_INT(grpc_call_recv_only(c->call, &c->got), -EAGAIN);
        CHECK_INT(send_some(c), 0);
        CHECK(settle(g.loop));
        CHECK_INT(grpc_call_recv_only(c->call, &c->got), table[i].result);
        CHECK(rig_stop(&g));
    }
}

TEST(a_deadline_ends_a_call_on_both_sides)
{
    struct rig g;

    rig_start(&g);
    call(&g, 0, "/t/Hang", two, 5000);
    CHECK(settle(g.loop));
    loop_advance(g.loop, 4000);
    CHECK(settle(g.loop));
    CHECK_INT(g.caller[0].result, 0);
    loop_advance(g.loop, 1100);
    CHECK(settle(g.loop));
    CHECK_INT(g.caller[0].result, -ERR_DEADLINE);
    CHECK_INT(grpc_call_status(g.caller[0].call)->code, GRPC_DEADLINE_EXCEEDED);
    CHECK(rig_stop(&g));
}

TEST(a_lost_connection_is_unavailable)
{
    struct rig g;

    rig_start(&g);
    call(&g, 0, "/t/Hang", two, 0);
    CHECK(settle(g.loop));
    grpc_server_free(g.service.server);
    g.service.server = NULL;
    task_fini(&g.service.task);
    task_init(&g.service.task, g.loop, "service", nothing);
    CHECK(settle(g.loop));
    CHECK(g.caller[0].result < 0);
    CHECK(grpc_client_state(g.client) < 0);
    unsigned code = grpc_call_status(g.caller[0].call)->code;
    CHECK(code == GRPC_UNAVAILABLE || code == GRPC_CANCELLED);
    call(&g, 1, "/t/Echo", none, 0);
    CHECK(settle(g.loop));
    CHECK_INT(grpc_call_status(g.caller[1].call)->code, GRPC_UNAVAILABLE);
    CHECK(rig_stop(&g));
}

TEST(the_first_flight_is_the_recorded_one)
{
    /* preface, SETTINGS (push 0, window 2 MiB, frame 16384, header list 16384), WINDOW_UPDATE 5177345 */
    static const uint8_t want[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\x18\4\0\0\0\0\0"
                                  "\0\2\0\0\0\0\0\4\0\x20\0\0\0\5\0\0\x40\0\0\6\0\0\x40\0"
                                  "\0\0\4\x08\0\0\0\0\0\0\x4f\0\1"
                                  "\0\0";
    struct loop *l = loop_new(NULL);
    struct stream *ends[2];
    struct task idle;
    struct wire peer;

    mempipe_pair(ends, 4096, NULL);
    task_init(&idle, l, "idle", nothing);
    struct grpc_client *c = grpc_client_new(l, ends[0], "172.31.0.254:15082", NULL, &idle);
    struct grpc_call *k = grpc_client_call(c, "/x.Y/Z", NULL, 0);
    wire_start(&peer, l, ends[1], "", 0);
    CHECK(settle(l));
    CHECK(peer.got.len > sizeof(want));
    CHECK_MEM(bytes_peek(&peer.got), want, sizeof(want) - 1);
    const uint8_t *headers = bytes_peek(&peer.got) + sizeof(want) - 3;
    CHECK_INT(headers[3], 1); /* HEADERS without END_STREAM on stream 1 */
    CHECK_INT(headers[4], 4);
    CHECK_INT(be32_get(headers + 5), 1);
    grpc_call_close(k);
    grpc_client_free(c);
    CHECK(settle(l));
    wire_stop(&peer, 0);
    CHECK(settle(l));
    loop_free(l);
}

static void play_all(struct rig *g)
{
    static const char *const ask[] = {"3000", NULL};

    call(g, 0, "/t/Echo", two, 0);
    call(g, 1, "/t/Count", ask, 0);
    call(g, 2, "/t/Fail", two, 0);
}

TEST(a_fault_at_any_stream_call_ends_every_call)
{
    struct rig g;

    rig_start_with(&g, 300, -1, 0);
    play_all(&g);
    CHECK(settle(g.loop));
    int calls = g.fault.calls;
    CHECK(rig_stop(&g));
    for (int at = 0; at < calls; at++) {
        rig_start_with(&g, 300, at, 0);
        play_all(&g);
        CHECK(settle(g.loop));
        for (int i = 0; i < 3; i++) {
            CHECK(g.caller[i].result != 0);
        }
        CHECK(rig_stop(&g));
    }
    printf("# %d fault points\n", calls);
}

TEST(short_memory_at_any_point_ends_calls_not_the_process)
{
    struct rig g;

    (void)mem_fault_set(-1);
    rig_start_with(&g, 300, -1, 0);
    play_all(&g);
    CHECK(settle(g.loop));
    unsigned tries = mem_fault_set(-1);
    CHECK(rig_stop(&g));
    for (unsigned at = 0; at < tries; at++) {
        (void)mem_fault_set((int)at);
        rig_start_with(&g, 300, -1, 0);
        play_all(&g);
        CHECK(settle(g.loop));
        (void)mem_fault_set(-1);
        CHECK(rig_stop(&g));
    }
    printf("# %u allocations failed\n", tries);
}
