/* SPDX-License-Identifier: Apache-2.0 */
/* A server whose owner does not answer, before a peer made by hand. */
#include "hbone/server.h"

#include <string.h>

#include "hbone/frame.h"
#include "hbone/headers.h"
#include "io/loop.h"
#include "mempipe.h"
#include "t.h"

enum { REQUESTS = 64, BAGGAGE = 12 << 10, LIMIT = 256 << 10, WIRE = 2 << 20 };

static void ignore(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static int put_request(struct bytes *out, uint32_t id)
{
    static char long_one[BAGGAGE];
    uint8_t head[FRAME_HEAD_BYTES];
    struct bytes block;

    memset(long_one, 'b', sizeof(long_one));
    bytes_init(&block, FRAME_SIZE_DEFAULT);
    struct hbone_head h = {.authority = {"10.0.0.2:8080", 13}, .baggage = {long_one, BAGGAGE}};
    int r = headers_put_connect(&block, &h);
    frame_head_put(head, (uint32_t)block.len, FRAME_HEADERS, FRAME_END_HEADERS, id);
    r = r < 0 ? r : bytes_add(out, head, sizeof(head));
    r = r < 0 ? r : bytes_add(out, bytes_peek(&block), block.len);
    bytes_fini(&block);
    return r;
}

TEST(what_unanswered_requests_hold_counts_in_the_budget)
{
    struct loop *l = loop_new(NULL);
    struct hbone_loop *home = hbone_loop_new(l, NULL, NULL);
    struct stream *ends[2];
    struct budget budget;
    struct bytes wire;
    struct task owner;

    task_init(&owner, l, "owner", ignore);
    budget_init(&budget, LIMIT, NULL);
    mempipe_pair(ends, WIRE, NULL);
    struct hbone_server *s = hbone_server_new(home, ends[1], &owner, &budget);
    bytes_init(&wire, WIRE);
    CHECK_INT(bytes_add(&wire, frame_preface, FRAME_PREFACE_BYTES), 0);
    CHECK_INT(frame_put_settings(&wire, NULL, 0), 0);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        CHECK_INT(put_request(&wire, 1 + 2 * i), 0);
    }
    CHECK_INT(stream_write(ends[0], bytes_peek(&wire), wire.len), wire.len);
    CHECK_INT(stream_flush(ends[0]), 0);
    while (loop_turn(l, 0) > 0) {
    }
    const struct hbone_stats *stats = hbone_loop_stats(home);
    CHECK(budget.used_bytes > LIMIT && budget.used_bytes < 2 * LIMIT);
    CHECK_INT(stats->refused + stats->streams, REQUESTS);
    CHECK(stats->refused > 0);
    hbone_server_close(s, -ERR_CANCELLED);
    CHECK_INT(budget.used_bytes, 0);
    while (loop_turn(l, 0) > 0) {
    }
    stream_close(ends[0], 0);
    bytes_fini(&wire);
    task_fini(&owner);
    hbone_loop_free(home);
    loop_free(l);
    CHECK_INT(mempipe_live(), 0);
}

/* Its secure stream takes nothing before its handshake is done. */
TEST(a_tunnel_that_drains_while_it_opens_is_open_for_its_client)
{
    struct loop *l = loop_new(NULL);
    struct hbone_loop *home = hbone_loop_new(l, NULL, NULL);
    struct hbone_request *request = NULL;
    struct stream *ends[2];
    struct bytes wire;
    struct task owner;
    char waste[2000];

    loop_stop_clock(l);
    task_init(&owner, l, "owner", ignore);
    mempipe_pair(ends, sizeof(waste), NULL);
    memset(waste, 'x', sizeof(waste));
    CHECK_INT(stream_write(ends[1], waste, sizeof(waste)), sizeof(waste));
    struct hbone_server *s = hbone_server_new(home, ends[1], &owner, NULL);
    hbone_server_drain(s);
    while (loop_turn(l, 0) > 0) {
    }
    loop_advance(l, 3000);
    while (loop_turn(l, 0) > 0) {
    }
    CHECK_INT(hbone_server_next(s, &request), -EAGAIN);
    CHECK_INT(stream_read(ends[0], waste, sizeof(waste)), sizeof(waste));
    while (loop_turn(l, 0) > 0) {
    }
    bytes_init(&wire, WIRE);
    CHECK_INT(bytes_add(&wire, frame_preface, FRAME_PREFACE_BYTES), 0);
    CHECK_INT(frame_put_settings(&wire, NULL, 0), 0);
    CHECK_INT(stream_write(ends[0], bytes_peek(&wire), wire.len), wire.len);
    CHECK_INT(stream_flush(ends[0]), 0);
    while (loop_turn(l, 0) > 0) {
    }
    CHECK_INT(hbone_server_next(s, &request), -EAGAIN);
    loop_advance(l, 1001); /* nobody answers the PING, nobody asks */
    while (loop_turn(l, 0) > 0) {
    }
    CHECK_INT(hbone_server_next(s, &request), 0);
    hbone_server_close(s, 0);
    stream_close(ends[0], 0);
    while (loop_turn(l, 0) > 0) {
    }
    loop_advance(l, 60000);
    while (loop_turn(l, 0) > 0) {
    }
    bytes_fini(&wire);
    task_fini(&owner);
    hbone_loop_free(home);
    loop_free(l);
    CHECK_INT(mempipe_live(), 0);
}
