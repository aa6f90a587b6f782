/* SPDX-License-Identifier: Apache-2.0 */
#include "model/l7_choose.h"

#include <string.h>

#include "base/rand.h"
#include "model/l7_eject.h"
#include "t.h"

enum { N = 6, DRAWS = 6000 };

struct rig {
    struct l7_endpoint at[N];
    struct l7_choice c;
    uint64_t turn;
    unsigned hits[N];
};

static void rig_start(struct rig *g, enum l7_balance how)
{
    *g = (struct rig){.c = {.how = how}};
    for (size_t i = 0; i < N; i++) {
        char name[] = "pod-x";
        name[4] = (char)('a' + i);
        g->at[i] = (struct l7_endpoint){.id = l7_hash(slice_of(name)), .weight = 1};
    }
    g->c.turn = &g->turn;
}

/* False: nobody was chosen. */
static bool draw(struct rig *g, unsigned times)
{
    memset(g->hits, 0, sizeof(g->hits));
    for (unsigned k = 0; k < times; k++) {
        g->c.seed = k;
        ssize_t i = l7_choose(g->at, N, &g->c);
        if (i < 0) {
            return false;
        }
        g->hits[i]++;
    }
    return true;
}

static bool near(unsigned got, unsigned want)
{
    return got > want * 8 / 10 && got < want * 12 / 10;
}

TEST(random_follows_the_weights)
{
    struct rig g;

    rig_start(&g, L7_RANDOM);
    g.at[0].weight = 5;
    g.at[1].weight = 0;
    CHECK(draw(&g, DRAWS));
    CHECK(near(g.hits[0], DRAWS * 5 / 9));
    CHECK_INT(g.hits[1], 0);
    CHECK(near(g.hits[2], DRAWS / 9));
}

TEST(round_robin_takes_each_in_turn)
{
    struct rig g;

    rig_start(&g, L7_ROUND_ROBIN);
    CHECK(draw(&g, N * 10));
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(g.hits[i], 10);
    }
    g.at[0].weight = 5;
    CHECK(draw(&g, 1000));
    CHECK(near(g.hits[0], 500));
    CHECK(near(g.hits[5], 100));
}

TEST(least_request_leaves_the_busy_alone)
{
    static const unsigned ten = 10, hundred = 100;
    struct rig g;

    rig_start(&g, L7_LEAST_REQUEST);
    for (size_t i = 1; i < N; i++) {
        g.at[i].in_flight = &ten;
    }
    CHECK(draw(&g, DRAWS));
    CHECK(g.hits[0] > DRAWS / 4); /* whenever it is one of the two that are drawn */
    g.at[0].in_flight = &hundred;
    CHECK(draw(&g, DRAWS));
    CHECK(g.hits[0] < DRAWS / 100);
}

/* Weights of a round: equal, some of them none, or any. */
static uint32_t draw_weight(struct rand_seq *chance, unsigned round)
{
    return round % 3 == 0 ? 7 : (uint32_t)rand_seq_below(chance, round % 3 == 1 ? 3 : 1000);
}

TEST(what_is_prepared_for_all_gives_the_same_answers)
{
    static const enum l7_balance ways[] = {L7_LEAST_REQUEST, L7_RANDOM, L7_ROUND_ROBIN,
                                           L7_CONSISTENT_HASH};
    struct rand_seq chance;

    rand_seq_init(&chance, 5);
    for (unsigned round = 0; round < 400; round++) {
        struct l7_endpoint at[20];
        unsigned load[20];
        size_t n = (size_t)rand_seq_below(&chance, 21);
        for (size_t i = 0; i < n; i++) {
            load[i] = (unsigned)rand_seq_below(&chance, 5);
            at[i] = (struct l7_endpoint){.id = rand_seq_next(&chance),
                                         .weight = draw_weight(&chance, round),
                                         .in_flight = &load[i]};
        }
        AUTO(l7_all) struct l7_all *all = l7_all_new(at, n);
        AUTO(l7_ring) struct l7_ring *ring = n > 0 ? l7_ring_new(at, n) : NULL;
        for (unsigned k = 0; k < 20; k++) {
            uint64_t turns[2] = {k, k};
            struct l7_choice c = {.how = ways[round % 4],
                                  .seed = rand_seq_next(&chance),
                                  .turn = &turns[0],
                                  .ring = ring,
                                  .has_key = k % 2 == 0,
                                  .key = rand_seq_next(&chance)};
            ssize_t one_by_one = l7_choose(at, n, &c);
            c.turn = &turns[1];
            c.all = all;
            CHECK_INT(l7_choose(at, n, &c), one_by_one);
        }
    }
}

TEST(a_key_stays_where_it_is_when_another_endpoint_goes)
{
    struct rig g;
    unsigned moved = 0;
    unsigned of_gone = 0;

    rig_start(&g, L7_CONSISTENT_HASH);
    AUTO(l7_ring) struct l7_ring *ring = l7_ring_new(g.at, N);
    g.c.ring = ring;
    g.c.has_key = true;
    for (uint64_t k = 0; k < 1000; k++) {
        g.c.key = l7_hash((struct slice){(const char *)&k, sizeof(k)});
        ssize_t before = l7_choose(g.at, N, &g.c);
        g.at[2].ejected = true;
        ssize_t after = l7_choose(g.at, N, &g.c);
        g.at[2].ejected = false;
        g.c.seed++;
        CHECK_INT(l7_choose(g.at, N, &g.c), before);
        moved += before != after && before != 2;
        of_gone += before == 2;
        CHECK(after != 2);
        g.hits[before]++;
    }
    CHECK_INT(moved, 0);
    CHECK(of_gone > 0);
    for (size_t i = 0; i < N; i++) {
        CHECK(g.hits[i] > 1000 / N / 2);
    }
}

TEST(the_ring_is_the_same_in_every_process)
{
    CHECK(l7_hash(slice_of("abc")) == 0x44bc2cf5ad770999u);
}

TEST(who_was_tried_comes_last)
{
    struct rig g;

    rig_start(&g, L7_RANDOM);
    for (size_t i = 0; i < N - 1; i++) {
        g.at[i].tried = true;
    }
    CHECK(draw(&g, 100));
    CHECK_INT(g.hits[N - 1], 100);
    g.at[N - 1].tried = true;
    CHECK(draw(&g, 100));
    CHECK(g.hits[0] > 0);
}

TEST(ejections_hold_until_too_many_are_ejected)
{
    struct rig g;

    rig_start(&g, L7_RANDOM);
    for (size_t i = 0; i < N - 1; i++) {
        g.at[i].ejected = true;
    }
    CHECK(draw(&g, 100));
    CHECK_INT(g.hits[N - 1], 100);
    g.c.min_health_percent = 50;
    CHECK(draw(&g, 1000));
    CHECK(g.hits[0] > 0);
    g.c.min_health_percent = 0;
    g.at[N - 1].ejected = true;
    CHECK(!draw(&g, 1));
}

TEST(the_nearest_locality_takes_all_while_it_is_healthy_enough)
{
    struct rig g;

    rig_start(&g, L7_RANDOM);
    g.c.failover = true;
    g.at[0].rank = g.at[1].rank = g.at[2].rank = g.at[3].rank = 2;
    g.at[4].rank = 1;
    CHECK(draw(&g, DRAWS));
    CHECK_INT(g.hits[0] + g.hits[1] + g.hits[2] + g.hits[3], DRAWS);
    g.at[0].ejected = true; /* 3 of 4 times 1.4 is still all of it */
    CHECK(draw(&g, DRAWS));
    CHECK_INT(g.hits[1] + g.hits[2] + g.hits[3], DRAWS);
    g.at[1].ejected = true; /* 2 of 4: 70 % */
    CHECK(draw(&g, DRAWS));
    CHECK(near(g.hits[2] + g.hits[3], DRAWS * 7 / 10));
    CHECK(near(g.hits[4], DRAWS * 3 / 10));
    g.at[2].ejected = g.at[3].ejected = true;
    CHECK(draw(&g, DRAWS));
    CHECK_INT(g.hits[4], DRAWS);
    g.at[4].ejected = true;
    CHECK(draw(&g, DRAWS));
    CHECK_INT(g.hits[5], DRAWS);
    g.c.failover = false;
    g.at[0].ejected = false;
    CHECK(draw(&g, DRAWS));
    CHECK(near(g.hits[0], DRAWS / 2));
}

TEST(what_two_localities_cannot_take_goes_to_the_third)
{
    struct l7_endpoint at[9] = {{.weight = 1}};
    struct l7_choice c = {.how = L7_RANDOM, .failover = true};
    unsigned hits[3] = {0};

    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        at[i] = (struct l7_endpoint){.weight = 1, .rank = i < 2 ? 2 : i < 8 ? 1 : 0};
        at[i].ejected = i != 0 && i != 2 && i != 8; /* one of 2, one of 6, one of 1 */
    }
    for (c.seed = 0; c.seed < DRAWS; c.seed++) {
        hits[at[l7_choose(at, ARRAY_LEN(at), &c)].rank]++;
    }
    CHECK(near(hits[2], DRAWS * 70 / 100));
    CHECK(near(hits[1], DRAWS * 23 / 100));
    CHECK(near(hits[0], DRAWS * 7 / 100));
}

TEST(nobody_is_an_answer)
{
    struct l7_choice c = {.how = L7_LEAST_REQUEST};

    CHECK_INT(l7_choose(NULL, 0, &c), -1);
    c.failover = true;
    CHECK_INT(l7_choose(NULL, 0, &c), -1);
}

/* ---- ejection */

static const struct l7_outlier outlier = {.consecutive_5xx = 3,
                                          .consecutive_gateway = 2,
                                          .interval_ms = 1000,
                                          .base_ejection_ms = 5000,
                                          .max_ejection_percent = 50};

TEST(errors_in_a_row_eject_and_a_good_answer_starts_anew)
{
    struct l7_health h = {0};

    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_5XX, 0));
    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_5XX, 0));
    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_GOOD, 0));
    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_GATEWAY, 0));
    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_5XX, 0));    /* the gateway's row is broken */
    CHECK(l7_health_result(&h, &outlier, L7_RESULT_GATEWAY, 0)); /* the third of any kind */
    CHECK_INT(l7_result_of(500), L7_RESULT_5XX);
    CHECK_INT(l7_result_of(503), L7_RESULT_GATEWAY);
    CHECK_INT(l7_result_of(0), L7_RESULT_GATEWAY);
    CHECK_INT(l7_result_of(499), L7_RESULT_GOOD);
}

TEST(another_error_ends_a_row_of_gateway_errors)
{
    struct l7_outlier only = {.consecutive_gateway = 2};
    struct l7_health h = {0};

    CHECK(!l7_health_result(&h, &only, L7_RESULT_GATEWAY, 0));
    CHECK(!l7_health_result(&h, &only, L7_RESULT_5XX, 0));
    CHECK(!l7_health_result(&h, &only, L7_RESULT_GATEWAY, 0));
    CHECK(l7_health_result(&h, &only, L7_RESULT_GATEWAY, 0));
}

TEST(each_ejection_is_longer_and_clean_time_forgives)
{
    struct l7_health h = {0};

    l7_eject(&h, &outlier, 100);
    CHECK(l7_is_ejected(&h, 5099));
    CHECK(!l7_is_ejected(&h, 5100));
    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_GATEWAY, 3000)); /* from before */
    l7_eject(&h, &outlier, 5200);
    CHECK(l7_is_ejected(&h, 15199));
    CHECK(!l7_is_ejected(&h, 15200));
    CHECK(!l7_health_result(&h, &outlier, L7_RESULT_GOOD, 17200)); /* two intervals later */
    l7_eject(&h, &outlier, 20000);
    CHECK(l7_is_ejected(&h, 24999));
    CHECK(!l7_is_ejected(&h, 25000));
    for (int i = 0; i < 1000; i++) {
        l7_eject(&h, &outlier, 30000);
    }
    CHECK(!l7_is_ejected(&h, 30000 + 300000));
}

TEST(never_more_than_the_share_is_ejected_but_one_always_may)
{
    CHECK(l7_may_eject(&outlier, 0, 1));
    CHECK(!l7_may_eject(&outlier, 1, 2));
    CHECK(!l7_may_eject(&outlier, 1, 3));
    CHECK(l7_may_eject(&outlier, 1, 4));
    CHECK(!l7_may_eject(&outlier, 2, 4));
}
