/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/chunk.h"

#include <string.h>

#include "hbone/glitch.h"
#include "io/loop.h"
#include "t.h"

enum { BUDGET = 1 << 30 };

struct rig {
    struct loop *loop;
    struct chunk_pool pool;
    struct budget budget;
    struct rx_queue q[2];
    size_t sent[2];
    size_t got[2];
};

static void rig_start(struct rig *g)
{
    memset(g, 0, sizeof(*g));
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    chunk_pool_init(&g->pool, g->loop);
    budget_init(&g->budget, BUDGET, NULL);
    rx_queue_init(&g->q[0], &g->pool, &g->budget);
    rx_queue_init(&g->q[1], &g->pool, &g->budget);
}

static void rig_stop(struct rig *g)
{
    rx_queue_clear(&g->q[0]);
    rx_queue_clear(&g->q[1]);
    chunk_pool_fini(&g->pool);
    loop_free(g->loop);
}

static uint8_t byte_at(int which, size_t i)
{
    return (uint8_t)(i * 5 + i / 256 + (size_t)which * 77);
}

/* One read of a tunnel: pieces of len bytes, in turn for either queue. */
static bool receive(struct rig *g, size_t len, int pieces)
{
    size_t room = 0;
    uint8_t *p = chunk_pool_room(&g->pool, &room);
    size_t gap = 9; /* a frame's head */

    if (!p || room < (len + gap) * (size_t)pieces) {
        return false;
    }
    chunk_pool_filled(&g->pool, (len + gap) * (size_t)pieces);
    for (int i = 0; i < pieces; i++) {
        int which = i % 2;
        uint8_t *at = p + (len + gap) * (size_t)i + gap;

        for (size_t k = 0; k < len; k++) {
            at[k] = byte_at(which, g->sent[which]++);
        }
        if (rx_queue_add(&g->q[which], at, len) < 0) {
            return false;
        }
    }
    return true;
}

/* Reads at most so much; false if a byte is not the one that was sent. */
static bool consume(struct rig *g, int which, size_t most)
{
    uint8_t buf[3000];
    bool good = true;

    while (most > 0 && g->q[which].bytes > 0) {
        size_t n = rx_queue_read(&g->q[which], buf, most < sizeof(buf) ? most : sizeof(buf));

        for (size_t i = 0; i < n; i++) {
            good = good && buf[i] == byte_at(which, g->got[which]++);
        }
        most -= n;
    }
    return good;
}

static void turns(struct rig *g, int count)
{
    for (int i = 0; i < count; i++) {
        loop_turn(g->loop, 0);
    }
}

TEST(readers_that_keep_up_need_one_chunk)
{
    struct rig g;
    bool good = true;

    rig_start(&g);
    for (int i = 0; i < 1000; i++) {
        good =
            good && receive(&g, 4000, 10) && consume(&g, 0, SIZE_MAX) && consume(&g, 1, SIZE_MAX);
        turns(&g, 1);
    }
    unsigned chunks = g.pool.count;
    size_t used = g.budget.used_bytes;
    rig_stop(&g);
    CHECK(good);
    CHECK_INT(chunks, 1);
    CHECK_INT(used, 0);
    CHECK_INT(g.pool.queued_bytes, 0);
    CHECK_INT(g.got[0], 1000 * 5 * 4000);
}

/* Of two readers one stops: what it holds costs little more than itself, and is right at the end. */
static void stall(struct test *t, size_t len, int pieces, size_t want, double most)
{
    struct rig g;
    bool good = true;
    size_t held = 0, chunk_memory = 0;

    rig_start(&g);
    while (good && g.q[0].bytes < want) {
        good = receive(&g, len, pieces) && consume(&g, 1, SIZE_MAX);
        turns(&g, 2);
    }
    held = g.budget.used_bytes;
    chunk_memory = g.pool.count * (size_t)CHUNK_BYTES;
    good = good && consume(&g, 0, SIZE_MAX);
    rig_stop(&g);
    CHECK(good);
    CHECK_INT(g.got[0], g.sent[0]);
    CHECK(held >= want);
    CHECK((double)held <= (double)want * most);
    CHECK(chunk_memory <= 12 * CHUNK_BYTES); /* its bytes were moved out of them */
}

TEST(large_pieces_of_a_stalled_reader_are_moved_out_of_their_chunks)
{
    stall(t, 16375, 8, 4 << 20, 1.1);
}

TEST(small_pieces_of_a_stalled_reader_are_gathered)
{
    stall(t, 600, 8, 1 << 20, 1.2);
    stall(t, 100, 8, 1 << 20, 1.3);
    stall(t, 1, 200, 100000, 1.5);
}

TEST(a_lone_stalled_reader_keeps_whole_chunks_uncopied)
{
    struct rig g;
    struct iovec v[4];
    bool good = true;

    rig_start(&g);
    for (int i = 0; i < 8; i++) {
        size_t room = 0;
        uint8_t *p = chunk_pool_room(&g.pool, &room);

        good = good && p && room >= 100000;
        if (good) {
            memset(p, i, 100000);
            chunk_pool_filled(&g.pool, 100000);
            good = rx_queue_add(&g.q[0], p, 100000) == 0;
        }
        turns(&g, 3);
    }
    int pieces = rx_queue_peek(&g.q[0], v, 4);
    size_t first = v[0].iov_len;
    rig_stop(&g);
    CHECK(good);
    CHECK_INT(pieces, 4);
    CHECK(first >= 100000); /* neighbours in a chunk are one piece */
}

TEST(what_is_lent_may_be_used_in_part)
{
    struct rig g;
    struct iovec v[8];
    bool good = true;

    rig_start(&g);
    good = receive(&g, 2000, 10);
    while (good && g.q[0].bytes > 0) {
        int n = rx_queue_peek(&g.q[0], v, 8);
        size_t use = v[0].iov_len > 7 ? v[0].iov_len - 3 : v[0].iov_len;

        good = n > 0;
        for (size_t i = 0; i < use; i++) {
            good = good && ((uint8_t *)v[0].iov_base)[i] == byte_at(0, g.got[0]++);
        }
        rx_queue_skip(&g.q[0], use);
    }
    rig_stop(&g);
    CHECK(good);
    CHECK_INT(g.got[0], 10000);
}

TEST(a_budget_shrinks_windows_before_it_is_over)
{
    struct budget top, pod;

    budget_init(&top, 8 << 20, NULL);
    budget_init(&pod, 4 << 20, &top);
    CHECK_INT(budget_window(&pod, 4 << 20), 4 << 20);
    CHECK_INT(budget_window(NULL, 4 << 20), 4 << 20);
    budget_charge(&pod, 2 << 20);
    CHECK_INT(budget_window(&pod, 4 << 20), 1 << 20);
    CHECK_INT(budget_window(&top, 4 << 20), 4 << 20);
    budget_charge(&pod, 1 << 20);
    CHECK_INT(budget_window(&pod, 4 << 20), 256 << 10);
    budget_charge(&pod, 700 << 10);
    CHECK_INT(budget_window(&pod, 4 << 20), BUDGET_WINDOW_MIN);
    CHECK_INT(budget_window(&pod, 1000), 1000);
    CHECK(!budget_is_over(&pod));
    budget_charge(&pod, 400 << 10);
    CHECK(budget_is_over(&pod));
    CHECK(!budget_is_over(&top));
    budget_charge(&top, 5 << 20);
    CHECK(budget_is_over(&top));
    budget_release(&pod, (3 << 20) + (1100 << 10));
    CHECK_INT(pod.used_bytes, 0);
    CHECK(!budget_is_over(&pod));
    CHECK_INT(top.used_bytes, 5 << 20);
    CHECK_INT(budget_window(&pod, 4 << 20), 1 << 20); /* the parent's say */
}

TEST(glitches_are_forgiven_with_time_and_with_honest_traffic)
{
    struct glitches g;

    glitches_init(&g, 1000);
    for (int i = 0; i < GLITCH_BURST; i++) {
        CHECK(glitch_spend(&g, GLITCH_PING, 1000));
    }
    CHECK(!glitch_spend(&g, GLITCH_PING, 1000));
    CHECK(glitch_spend(&g, GLITCH_SETTINGS, 1000)); /* each kind has its own */
    CHECK(glitch_spend(&g, GLITCH_PING, 1002));
    CHECK(glitch_spend(&g, GLITCH_PING, 1002));
    CHECK(!glitch_spend(&g, GLITCH_PING, 1002));
    glitch_earn(&g, GLITCH_PING);
    CHECK(glitch_spend(&g, GLITCH_PING, 1002));
    CHECK(!glitch_spend(&g, GLITCH_PING, 1002));
    CHECK(glitch_spend(&g, GLITCH_PING, 1000000000));
}
