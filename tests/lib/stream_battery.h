/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every stream must do, whatever it is made of (io/stream.h). One line in a test file runs all of
 * it over one kind of stream, as one TAP test a property:
 *
 *     static int make_pair(void *arg, struct loop *l, struct stream *out[2]) { ... }
 *     static const struct battery_kit kit = {.pair = make_pair, .has = BATTERY_RESET};
 *     STREAM_BATTERY(tls, &kit)
 *
 * The two ends live on one loop; they may still be connecting or shaking hands when pair() returns. All
 * waiting is done by turning the loop; what needs a thread (a job pool) says so with patience_ms.
 * Streams are closed by the battery, in any order and at any moment; done() then releases what pair()
 * kept beside them, after the loop has settled.
 */
#pragma once

#include "io/loop.h"
#include "io/stream.h"
#include "t.h"

enum battery_has {
    BATTERY_RESET = 1,      /* an abort reaches the peer as a failure, never as a clean end */
    BATTERY_DELIVERS = 2,   /* close(0) still delivers what was flushed before */
    BATTERY_EXACT_WAKES = 4 /* never more wakes than -EAGAIN answers */
};

struct battery_kit {
    /* 0 and two connected ends without owners, or a failure. */
    int (*pair)(void *arg, struct loop *l, struct stream *out[2]);
    void (*done)(void *arg, struct loop *l); /* optional */
    int (*live)(void); /* optional: objects alive; must come back to where it was */
    void *arg;
    unsigned has;
    /* How long the loop may be idle before a missing wake counts as lost. 0: everything happens inside
     * loop_turn, so one idle turn is enough. */
    int patience_ms;
    /* Most bytes that may be under way while the reader does not read; 0 = 64 MiB. At least half of
     * it can be flushed without a reader. */
    size_t window_max;
    size_t bulk_bytes; /* what "much" is, each way; 0 = 1 MiB */
};

void battery_order(struct test *t, const struct battery_kit *kit);
void battery_sizes(struct test *t, const struct battery_kit *kit);
void battery_vectors(struct test *t, const struct battery_kit *kit);
void battery_lending(struct test *t, const struct battery_kit *kit);
void battery_half_close(struct test *t, const struct battery_kit *kit);
void battery_flush(struct test *t, const struct battery_kit *kit);
void battery_pressure(struct test *t, const struct battery_kit *kit);
void battery_wakes(struct test *t, const struct battery_kit *kit);
void battery_partial(struct test *t, const struct battery_kit *kit);
void battery_owner(struct test *t, const struct battery_kit *kit);
void battery_end_stays(struct test *t, const struct battery_kit *kit);
void battery_abort(struct test *t, const struct battery_kit *kit);
void battery_close_delivers(struct test *t, const struct battery_kit *kit);
void battery_close_anywhere(struct test *t, const struct battery_kit *kit);

#define STREAM_BATTERY(prefix, kit)                                                                \
    TEST(prefix##_bytes_arrive_in_order_both_ways)                                                 \
    {                                                                                              \
        battery_order(t, (kit));                                                                   \
    }                                                                                              \
    TEST(prefix##_any_mix_of_read_and_write_sizes_works)                                           \
    {                                                                                              \
        battery_sizes(t, (kit));                                                                   \
    }                                                                                              \
    TEST(prefix##_vectors_are_read_and_written_in_order)                                           \
    {                                                                                              \
        battery_vectors(t, (kit));                                                                 \
    }                                                                                              \
    TEST(prefix##_lent_memory_is_the_same_stream)                                                  \
    {                                                                                              \
        battery_lending(t, (kit));                                                                 \
    }                                                                                              \
    TEST(prefix##_each_half_closes_alone)                                                          \
    {                                                                                              \
        battery_half_close(t, (kit));                                                              \
    }                                                                                              \
    TEST(prefix##_what_was_flushed_arrives_without_further_help)                                   \
    {                                                                                              \
        battery_flush(t, (kit));                                                                   \
    }                                                                                              \
    TEST(prefix##_a_reader_that_stops_stops_the_writer)                                            \
    {                                                                                              \
        battery_pressure(t, (kit));                                                                \
    }                                                                                              \
    TEST(prefix##_every_refusal_is_followed_by_a_wake)                                             \
    {                                                                                              \
        battery_wakes(t, (kit));                                                                   \
    }                                                                                              \
    TEST(prefix##_what_was_ready_and_partly_read_stays_ready)                                      \
    {                                                                                              \
        battery_partial(t, (kit));                                                                 \
    }                                                                                              \
    TEST(prefix##_a_new_owner_is_woken_and_the_old_one_is_not)                                     \
    {                                                                                              \
        battery_owner(t, (kit));                                                                   \
    }                                                                                              \
    TEST(prefix##_an_end_stays_an_end)                                                             \
    {                                                                                              \
        battery_end_stays(t, (kit));                                                               \
    }                                                                                              \
    TEST(prefix##_an_abort_is_never_a_clean_end)                                                   \
    {                                                                                              \
        battery_abort(t, (kit));                                                                   \
    }                                                                                              \
    TEST(prefix##_a_close_delivers_what_was_flushed)                                               \
    {                                                                                              \
        battery_close_delivers(t, (kit));                                                          \
    }                                                                                              \
    TEST(prefix##_a_close_at_any_moment_ends_both)                                                 \
    {                                                                                              \
        battery_close_anywhere(t, (kit));                                                          \
    }
