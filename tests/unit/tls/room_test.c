/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a place among the unfinished handshakes of a loop, and who makes way for whom. */
#include <stdlib.h>

#include "stream_rig.h"
#include "t.h"

TEST(handshakes_are_capped_per_loop_and_per_lane)
{
    struct tls_loop_options limits = {.handshakes_max = 3, .lane_max = 2};
    struct stream *s[5];
    struct stream *peer[5];
    static const uint64_t lanes[] = {1, 1, 1, 2, 3};
    struct tls_rig g;
    uint8_t byte;

    tls_rig_base(&g, NULL, &limits);
    for (int i = 0; i < 5; i++) {
        struct stream *ends[2];
        struct handshake_spec spec = tls_spec_of(false);
        mempipe_pair(ends, 1000, NULL);
        s[i] = tls_stream_new(g.tls, ends[0], &spec, lanes[i]);
        peer[i] = ends[1];
    }
    CHECK_INT(stream_read(s[0], &byte, 1), -EAGAIN);
    CHECK_INT(stream_read(s[1], &byte, 1), -EAGAIN);
    CHECK_INT(stream_read(s[2], &byte, 1), -ERR_LIMIT); /* its lane is full */
    CHECK_INT(stream_read(s[3], &byte, 1), -EAGAIN);
    CHECK_INT(stream_read(s[4], &byte, 1), -ERR_LIMIT); /* the loop is full */
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 3);
    CHECK_INT(tls_loop_stats(g.tls).refused, 2);
    stream_close(s[0], 0);
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 2);
    s[0] = NULL;
    for (int i = 0; i < 5; i++) {
        stream_close(s[i], 0);
        stream_close(peer[i], 0);
    }
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 0);
    tls_rig_free(&g);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_full_loop_keeps_a_share_for_every_lane)
{
    enum { FULL = 12, ALL = FULL + 3 };
    struct tls_loop_options limits = {.handshakes_max = FULL, .lane_max = FULL / 2};
    struct stream *s[ALL];
    struct stream *peer[ALL];
    struct tls_rig g;
    uint8_t byte;

    tls_rig_base(&g, NULL, &limits);
    for (int i = 0; i < ALL;
         i++) { /* two lanes fill the loop; then the third comes, and the first */
        struct stream *ends[2];
        struct handshake_spec spec = tls_spec_of(false);
        mempipe_pair(ends, 1000, NULL);
        s[i] = tls_stream_new(g.tls, ends[0], &spec,
                              i < FULL      ? (uint64_t)i % 2
                              : i < ALL - 1 ? 2
                                            : 0);
        peer[i] = ends[1];
        CHECK_INT(stream_read(s[i], &byte, 1), i <= FULL ? -EAGAIN : -ERR_LIMIT);
    }
    for (int i = 0; i < ALL; i++) {
        stream_close(s[i], 0);
        stream_close(peer[i], 0);
    }
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 0);
    tls_rig_free(&g);
    CHECK_INT(mempipe_live(), 0);
}

enum { CROWD_MAX = 256 };

/* A lane as sources fill it; nobody at the other ends says anything. */
struct crowd {
    struct tls_rig g;
    struct stream *s[CROWD_MAX];
    struct stream *peer[CROWD_MAX];
    unsigned count;
};

static void crowd_start(struct crowd *c, unsigned room)
{
    *c = (struct crowd){.count = 0};
    tls_rig_base(&c->g, NULL,
                 &(struct tls_loop_options){.handshakes_max = CROWD_MAX, .lane_max = room});
}

static void crowd_stop(struct crowd *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        stream_close(c->s[i], 0);
        stream_close(c->peer[i], 0);
    }
    tls_rig_drain(&c->g);
    tls_loop_free(c->g.tls);
    jobs_free(c->g.pool);
    tls_ctx_free(c->g.ctx);
    loop_free(c->g.l);
}

static int crowd_state(struct crowd *c, unsigned i)
{
    uint8_t byte;

    return (int)stream_read(c->s[i], &byte, 1);
}

/* -EAGAIN: it is in; else why not. */
static int crowd_add(struct crowd *c, uint8_t source)
{
    struct stream *ends[2];
    struct handshake_spec spec = tls_spec_of(false);
    struct ip from = {.family = IP_V4, .bytes = {10, 0, 0, source}};

    mempipe_pair(ends, 20000, NULL);
    c->s[c->count] = tls_stream_accept(c->g.tls, ends[0], &spec, 1, &from);
    c->peer[c->count] = ends[1];
    return crowd_state(c, c->count++);
}

TEST(an_address_that_fills_the_room_makes_way_for_others_up_to_their_share)
{
    struct crowd c;

    crowd_start(&c, 8);
    for (int i = 0; i < 8; i++) {
        CHECK_INT(crowd_add(&c, 1), -EAGAIN); /* alone it may have all */
    }
    CHECK_INT(crowd_add(&c, 1), -ERR_LIMIT);
    CHECK_STR(stream_diag(c.s[8])->text, "too many TLS handshakes");
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(crowd_state(&c, i), -EAGAIN);
        CHECK_INT(crowd_add(&c, 2), -EAGAIN);
        CHECK_INT(crowd_state(&c, i), -ERR_LIMIT); /* the oldest goes */
    }
    CHECK_STR(stream_diag(c.s[0])->text,
              "too many TLS handshakes, and it made way for another address");
    CHECK_INT(crowd_add(&c, 2), -ERR_LIMIT); /* half is a fair share of two */
    CHECK_INT(crowd_add(&c, 1), -ERR_LIMIT);
    CHECK_INT(crowd_add(&c, 3), -EAGAIN);
    CHECK_INT(crowd_add(&c, 3), -EAGAIN);
    CHECK_INT(crowd_add(&c, 3), -ERR_LIMIT);
    CHECK_INT(tls_loop_stats(c.g.tls).handshakes, 8);
    CHECK_INT(tls_loop_stats(c.g.tls).displaced, 6);
    CHECK_INT(tls_loop_stats(c.g.tls).refused, 4);
    crowd_stop(&c);
    CHECK_INT(mempipe_live(), 0);
}

/* What could be a ClientHello; it is the pool's to find out. */
static void crowd_say(struct crowd *c, unsigned i)
{
    static const uint8_t hello[] = {22, 3, 1, 0, 4, 1, 0, 0, 0};

    if (stream_write(c->peer[i], hello, sizeof(hello)) != sizeof(hello) ||
        stream_flush(c->peer[i]) < 0) {
        exit(1);
    }
    while (loop_turn(c->g.l, 0) > 0) {
    }
}

TEST(where_every_address_has_one_a_new_address_gets_the_place_of_the_oldest_that_is_silent)
{
    struct crowd c;

    crowd_start(&c, 8);
    for (uint8_t i = 0; i < 8; i++) {
        CHECK_INT(crowd_add(&c, i), -EAGAIN);
    }
    CHECK_INT(crowd_add(&c, 7), -ERR_LIMIT); /* it has its share */
    CHECK_INT(crowd_add(&c, 100), -EAGAIN);
    CHECK_INT(crowd_state(&c, 0), -ERR_LIMIT);
    CHECK_INT(crowd_add(&c, 101), -EAGAIN);
    CHECK_INT(crowd_state(&c, 1), -ERR_LIMIT);
    CHECK_INT(tls_loop_stats(c.g.tls).handshakes, 8);
    CHECK_INT(tls_loop_stats(c.g.tls).displaced, 2);
    crowd_stop(&c);
    CHECK_INT(mempipe_live(), 0);
}

static void ignore(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

TEST(a_silent_handshake_makes_way_before_one_that_is_computed)
{
    static struct plug plug;
    struct task task;
    struct crowd c;

    crowd_start(&c, 8);
    task_init(&task, c.g.l, "plug", ignore);
    plug_submit(&plug, &c.g, &task);
    for (int i = 0; i < 8; i++) {
        CHECK_INT(crowd_add(&c, 1), -EAGAIN);
    }
    crowd_say(&c, 0);
    CHECK_INT(crowd_add(&c, 2), -EAGAIN);
    CHECK_INT(crowd_state(&c, 0), -EAGAIN); /* although it is the oldest */
    CHECK_INT(crowd_state(&c, 1), -ERR_LIMIT);
    for (unsigned i = 2; i < 8; i++) {
        crowd_say(&c, i);
    }
    CHECK_INT(crowd_add(&c, 2), -EAGAIN);
    for (unsigned i = 2; i < 7; i++) {
        CHECK_INT(crowd_state(&c, i), -EAGAIN);
    }
    CHECK_INT(crowd_state(&c, 7), -ERR_LIMIT); /* of those that are computed the youngest */
    plug_release(&plug);
    while (!job_is_done(&plug.job)) {
        (void)loop_turn(c.g.l, WAIT_MS);
    }
    task_fini(&task);
    crowd_stop(&c);
    CHECK_INT(mempipe_live(), 0);
}

TEST(an_address_that_says_much_does_not_keep_another_from_its_turn)
{
    enum { MANY = 200 };
    static struct plug plug;
    struct task task;
    struct crowd c;
    unsigned waiting = 0;

    crowd_start(&c, CROWD_MAX);
    task_init(&task, c.g.l, "plug", ignore);
    plug_submit(&plug, &c.g, &task);
    for (unsigned i = 0; i < MANY; i++) {
        CHECK_INT(crowd_add(&c, 1), -EAGAIN);
        crowd_say(&c, i);
    }
    CHECK_INT(crowd_add(&c, 2), -EAGAIN);
    crowd_say(&c, MANY);
    plug_release(&plug);
    for (int i = 0; i < TURNS_MAX && crowd_state(&c, MANY) == -EAGAIN; i++) {
        (void)loop_turn(c.g.l, WAIT_MS);
    }
    CHECK(crowd_state(&c, MANY) != -EAGAIN);
    for (unsigned i = 0; i < MANY; i++) {
        waiting += crowd_state(&c, i) == -EAGAIN;
    }
    CHECK(waiting >= MANY / 2);
    CHECK_INT(tls_loop_stats(c.g.tls).refused, 0);
    task_fini(&task);
    crowd_stop(&c);
    CHECK_INT(mempipe_live(), 0);
}
