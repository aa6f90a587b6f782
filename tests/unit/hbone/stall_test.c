/* SPDX-License-Identifier: Apache-2.0 */
/* A hundred streams in one tunnel, ten of whose readers stop. */
#include <string.h>

#include "base/mem.h"
#include "hbone/pool.h"
#include "hbone/server.h"
#include "io/loop.h"
#include "t.h"
#include "tcp_pair.h"

enum {
    STREAMS = 100,
    STALLED = 10,
    LARGE = 8 << 20, /* more than a window */
    SMALL = 1 << 20,
    PIECE = 30000,
    WINDOW = 4 << 20
};

struct flow {
    struct task sender, reader;
    struct stream *from, *to;
    unsigned id;
    size_t size, sent, got;
    bool stalled, shut, ended, wrong;
};

struct rig {
    struct loop *loop;
    struct hbone_loop *client, *server;
    struct hbone_pool *pool;
    struct hbone_server *tunnel;
    struct task acceptor;
    struct flow flows[STREAMS];
    unsigned accepted;
};

static struct rig g;

static uint8_t byte_at(unsigned id, size_t i)
{
    return (uint8_t)(i * 11 + i / 254 + id);
}

static void send_some(struct task *task, unsigned why)
{
    struct flow *f = container_of(task, struct flow, sender);
    static uint8_t piece[PIECE];
    ssize_t r = 1;

    (void)why;
    for (int round = 0; round < 4 && f->sent < f->size && r > 0; round++) {
        size_t n = f->size - f->sent < PIECE ? f->size - f->sent : PIECE;

        for (size_t i = 0; i < n; i++) {
            piece[i] = byte_at(f->id, f->sent + i);
        }
        r = stream_write(f->from, piece, n);
        f->sent += r > 0 ? (size_t)r : 0;
    }
    if (f->sent == f->size && !f->shut) {
        f->shut = stream_shut(f->from) == 0;
    } else if (r > 0) {
        task_wake(task, WAKE_IO);
    }
}

static void read_some(struct task *task, unsigned why)
{
    struct flow *f = container_of(task, struct flow, reader);
    static uint8_t piece[PIECE];
    ssize_t r = 1;

    (void)why;
    while (!f->stalled && !f->ended && r > 0) {
        r = stream_read(f->to, piece, sizeof(piece));
        for (ssize_t i = 0; i < r; i++) {
            f->wrong |= piece[i] != byte_at(f->id, f->got + (size_t)i);
        }
        f->got += r > 0 ? (size_t)r : 0;
        f->ended = r == 0;
    }
}

static void accept_all(struct task *task, unsigned why)
{
    struct hbone_request *r = NULL;

    (void)task;
    (void)why;
    while (hbone_server_next(g.tunnel, &r) == 1) {
        struct flow *f = &g.flows[g.accepted++];

        f->from = hbone_request_accept(r, (struct slice){NULL, 0});
        task_init(&f->sender, g.loop, "sender", send_some);
        stream_own(f->from, &f->sender);
        task_wake(&f->sender, WAKE_START);
    }
}

static struct stream *open_tunnel(void *arg, const struct hbone_target *target)
{
    struct stream *ends[2];

    (void)arg;
    (void)target;
    tcp_pair(g.loop, ends);
    g.tunnel = hbone_server_new(g.server, ends[1], &g.acceptor, NULL);
    return ends[0];
}

static void rig_start(void)
{
    static const char *const expect[] = {"spiffe://cluster.local/ns/shop/sa/web"};
    struct hbone_dialer dialer = {.open = open_tunnel};
    struct hbone_target target = {.local = "spiffe://cluster.local/ns/shop/sa/client",
                                  .expect = expect,
                                  .expect_count = 1,
                                  .head = {.authority = {"10.0.0.2:80", 11}}};

    g.loop = loop_new(NULL);
    loop_stop_clock(g.loop);
    g.client = hbone_loop_new(g.loop, NULL, NULL);
    g.server = hbone_loop_new(g.loop, NULL, NULL);
    task_init(&g.acceptor, g.loop, "acceptor", accept_all);
    g.pool = hbone_pool_new(g.client, &dialer, NULL);
    for (unsigned i = 0; i < STREAMS; i++) {
        struct flow *f = &g.flows[i];

        f->id = i;
        f->stalled = i % (STREAMS / STALLED) == 3;
        f->size = f->stalled ? LARGE : SMALL;
        f->to = hbone_dial(g.pool, &target);
        task_init(&f->reader, g.loop, "reader", read_some);
        stream_own(f->to, &f->reader);
        task_wake(&f->reader, WAKE_START);
    }
}

static void rig_stop(void)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        task_fini(&g.flows[i].sender);
        task_fini(&g.flows[i].reader);
        stream_close(g.flows[i].from, 0);
        stream_close(g.flows[i].to, 0);
    }
    hbone_pool_free(g.pool);
    hbone_server_close(g.tunnel, 0);
    for (int i = 0; i < 10; i++) {
        loop_turn(g.loop, 0);
        loop_advance(g.loop, 1000);
    }
    task_fini(&g.acceptor);
    hbone_loop_free(g.client);
    hbone_loop_free(g.server);
    loop_free(g.loop);
}

static bool all_ended(bool stalled_too)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        if (!g.flows[i].ended && (stalled_too || !g.flows[i].stalled)) {
            return false;
        }
    }
    return true;
}

static bool until_ended(bool stalled_too)
{
    for (int i = 0; i < 100000 && !all_ended(stalled_too); i++) {
        loop_turn(g.loop, 10);
    }
    return all_ended(stalled_too);
}

TEST(ten_stalled_readers_hold_ten_windows_and_nobody_else)
{
    uint64_t most = 0;
    bool right = true;

    rig_start();
    bool others = until_ended(false);
    for (int i = 0; i < 3000 && most < (uint64_t)STALLED * WINDOW; i++) {
        loop_turn(g.loop, 10);
        most = hbone_loop_stats(g.client)->buffered_bytes;
    }
    for (int i = 0; i < 1000; i++) { /* whatever more could come */
        loop_turn(g.loop, 0);
    }
    most = hbone_loop_stats(g.client)->buffered_bytes;
    for (unsigned i = 0; i < STREAMS; i++) {
        struct flow *f = &g.flows[i];

        right = right && (f->stalled ? f->got == 0 && f->sent <= WINDOW : f->got == SMALL);
        f->stalled = false;
        task_wake(&f->reader, WAKE_IO);
    }
    bool all = until_ended(true);
    uint64_t left = hbone_loop_stats(g.client)->buffered_bytes;
    for (unsigned i = 0; i < STREAMS; i++) {
        right = right && !g.flows[i].wrong && g.flows[i].got == g.flows[i].size;
    }
    rig_stop();
    CHECK(others);
    CHECK_INT(most, (long long)STALLED * WINDOW);
    CHECK(all);
    CHECK(right);
    CHECK_INT(left, 0);
}
