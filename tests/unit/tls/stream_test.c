/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "stream_rig.h"
#include "t.h"
#include "tls/key_schedule.h"

TEST(bytes_arrive_both_ways_through_pipes_of_any_width)
{
    static const size_t widths[] = {23, 500, 20000, 1000000};

    for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
        struct tls_rig g;
        tls_rig_start(&g, widths[i], NULL, NULL);
        CHECK(tls_rig_settle(&g));
        CHECK(tls_rig_arrived(&g));
        CHECK_STR(tls_stream_peer(g.e[1].s)->identity, tls_rig_server);
        CHECK_STR(tls_stream_peer(g.e[0].s)->alpn, "h2");
        tls_rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

TEST(readers_may_have_little_room_and_much_in_turn)
{
    static const size_t widths[] = {23, 500, 20000, 1000000};

    for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
        struct tls_options options = {.limits = {.update_records = 2}};
        struct tls_rig g;
        tls_rig_start(&g, widths[i], &options, NULL);
        g.e[0].way = g.e[1].way = TALK_MIXED;
        g.e[1].chunk = 1000;
        g.e[0].to_send = 300000;
        CHECK(tls_rig_settle(&g));
        CHECK(tls_rig_arrived(&g));
        tls_rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

TEST(one_side_may_end_early_or_say_nothing)
{
    for (int quiet = 0; quiet < 2; quiet++) {
        struct tls_rig g;
        tls_rig_start(&g, 3000, NULL, NULL);
        g.e[quiet].to_send = 0;
        CHECK(tls_rig_settle(&g));
        CHECK(tls_rig_arrived(&g));
        tls_rig_stop(&g);
    }
}

TEST(keys_are_updated_every_few_records_in_both_directions)
{
    struct tls_options options = {.limits = {.update_records = 2}};
    struct record_stats stats[2];
    struct tls_rig g;

    tls_rig_start(&g, 30000, &options, NULL);
    g.e[0].to_send = g.e[1].to_send = 9 * TLS_BATCH_RECORDS * RECORD_PLAIN_MAX;
    CHECK(tls_rig_settle(&g));
    CHECK(tls_rig_arrived(&g));
    for (int i = 0; i < 2; i++) {
        tls_stream_stats(g.e[i].s, &stats[i]);
    }
    CHECK(stats[0].key_updates_sent >= 8);
    CHECK(stats[1].key_updates_sent >= 8);
    CHECK_INT(stats[0].key_updates_sent, stats[1].key_updates_received);
    CHECK_INT(stats[1].key_updates_sent, stats[0].key_updates_received);
    tls_rig_stop(&g);
}

TEST(small_writes_of_one_turn_become_one_record)
{
    struct record_stats stats;
    struct tls_rig g;

    tls_rig_start(&g, 30000, NULL, NULL);
    g.e[0].to_send = 0;
    g.e[1].way = TALK_COPY;
    g.e[1].chunk = 10;
    g.e[1].to_send = 10000;
    CHECK(tls_rig_settle(&g));
    CHECK(tls_rig_arrived(&g));
    tls_stream_stats(g.e[1].s, &stats);
    CHECK_INT(stats.sealed_records, 2); /* the data and close_notify */
    tls_rig_stop(&g);
}

/* Many sessions of one loop use its two batches in turn. */
TEST(sessions_that_share_a_loop_do_not_mix)
{
    enum { PAIRS = 12 };
    struct tls_rig g;
    static struct talker e[PAIRS][2];
    bool done = false;

    tls_rig_base(&g, NULL, NULL);
    for (int p = 0; p < PAIRS; p++) {
        struct stream *ends[2];
        mempipe_pair(ends, 700u + 5000u * (unsigned)p, NULL);
        for (int i = 0; i < 2; i++) {
            struct handshake_spec spec = tls_spec_of(i == 1);
            tls_rig_talk(&g, &e[p][i], tls_stream_new(g.tls, ends[i], &spec, (uint64_t)p), i);
            e[p][i].seed = (uint8_t)(p * 2 + i);
            e[p][i].peer_seed = (uint8_t)(p * 2 + !i);
            e[p][i].way = (enum talk)(p % 3);
            e[p][i].turn_bytes = 5000;
        }
    }
    for (int i = 0; i < TURNS_MAX && !done; i++) {
        (void)loop_turn(g.l, WAIT_MS);
        done = true;
        for (int p = 0; p < PAIRS; p++) {
            done = done && talker_ended(&e[p][0]) && talker_ended(&e[p][1]);
        }
    }
    CHECK(done);
    for (int p = 0; p < PAIRS; p++) {
        for (int i = 0; i < 2; i++) {
            CHECK_INT(e[p][i].error, 0);
            CHECK(!e[p][i].wrong);
            CHECK_INT(e[p][i].received, 100000);
            talker_close(&e[p][i], 0);
        }
    }
    CHECK_INT(tls_loop_stats(g.tls).done, 2 * PAIRS);
    CHECK_INT(tls_loop_stats(g.tls).handshakes, 0);
    tls_rig_free(&g);
    CHECK_INT(mempipe_live(), 0);
}

/* A reader that stops holds the writer to what one pipe and one batch hold. */
TEST(a_reader_that_stops_stops_the_writer)
{
    struct tls_rig g;

    tls_rig_start(&g, 10000, NULL, NULL);
    CHECK(tls_rig_open(&g));
    g.e[0].deaf = true;
    g.e[1].to_send = 10000000;
    (void)tls_rig_settle(&g);
    CHECK_INT(g.e[1].error, 0);
    CHECK(g.e[1].sent <= 10000 + 3 * TLS_BATCH_RECORDS * RECORD_PLAIN_MAX);
    g.e[1].to_send = g.e[1].sent;
    g.e[0].deaf = false;
    task_wake(&g.e[0].task, WAKE_IO);
    task_wake(&g.e[1].task, WAKE_IO);
    CHECK(tls_rig_settle(&g));
    CHECK(tls_rig_arrived(&g));
    tls_rig_stop(&g);
}

TEST(every_failing_call_below_ends_both_sides_once)
{
    int points = 0;

    for (int at = 0;; at++) {
        struct tls_rig g;
        tls_rig_start(&g, 100, NULL, NULL);
        g.e[0].to_send = g.e[1].to_send = 3000;
        g.fault.countdown = at;
        bool settled = false;
        for (int i = 0; i < TURNS_MAX && !settled; i++) {
            (void)loop_turn(g.l, WAIT_MS);
            /* The side that fails is closed, as its owner would; the other one then has to end. */
            for (int k = 0; k < 2; k++) {
                if (g.e[k].error < 0 && g.e[k].s) {
                    talker_close(&g.e[k], g.e[k].error);
                }
            }
            settled = (talker_ended(&g.e[0]) || !g.e[0].s) && (talker_ended(&g.e[1]) || !g.e[1].s);
        }
        bool hit = g.fault.countdown < 0;
        bool good = hit ? g.e[1].error == -EIO : tls_rig_arrived(&g);
        /* After both ends are clean a late failure concerns nobody. */
        good = good || (hit && tls_rig_arrived(&g));
        if (!settled || !good) {
            printf("# call %d: server %d, client %d\n", at, g.e[0].error, g.e[1].error);
        }
        tls_rig_stop(&g);
        CHECK(settled);
        CHECK(good);
        CHECK_INT(mempipe_live(), 0);
        if (!hit) {
            break;
        }
        points++;
    }
    printf("# %d fault points\n", points);
    CHECK(points > 40);
}

/* Runs a small transfer with the nth allocation failing; how many there were. */
static bool short_of_memory(int nth, unsigned *out_calls)
{
    struct tls_rig g;

    tls_rig_start(&g, 300, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 40000;
    (void)mem_fault_set(nth);
    for (int i = 0; i < TURNS_MAX && !(talker_ended(&g.e[0]) && talker_ended(&g.e[1])); i++) {
        (void)loop_turn(g.l, WAIT_MS);
        for (int k = 0; k < 2; k++) {
            if (g.e[k].error < 0 && g.e[k].s) {
                talker_close(&g.e[k], g.e[k].error);
            }
        }
    }
    *out_calls = mem_fault_set(-1);
    bool over = talker_ended(&g.e[0]) && talker_ended(&g.e[1]);
    bool fine = tls_rig_arrived(&g) || g.e[0].error == -ENOMEM || g.e[1].error == -ENOMEM ||
                g.e[0].error == -ERR_TOO_LARGE || g.e[1].error == -ERR_TOO_LARGE;
    tls_rig_stop(&g);
    return over && fine && mempipe_live() == 0;
}

TEST(memory_that_is_short_once_ends_a_session_cleanly)
{
    unsigned calls = 0;
    unsigned made = 0;

    CHECK(short_of_memory(-1, &calls));
    printf("# %u allocations\n", calls);
    CHECK(calls > 10);
    for (unsigned at = 0; at < calls && at < 60; at++) {
        CHECK(short_of_memory((int)at, &made));
    }
}

TEST(closing_at_any_moment_leaves_nothing_behind)
{
    for (int turns = 0; turns < 60; turns++) {
        struct tls_rig g;
        tls_rig_start(&g, 2000, NULL, NULL);
        for (int i = 0; i < turns; i++) {
            (void)loop_turn(g.l, i < 12 ? 2 : 0);
        }
        talker_close(&g.e[turns % 2], turns % 3 ? 0 : -ERR_CANCELLED);
        (void)loop_turn(g.l, 0);
        tls_rig_stop(&g);
        CHECK_INT(mempipe_live(), 0);
    }
}

TEST(what_was_accepted_before_a_clean_close_still_arrives)
{
    struct tls_rig g;

    tls_rig_start(&g, 500, NULL, NULL);
    g.e[0].to_send = 0;
    g.e[1].to_send = 0;
    g.e[1].shut_done = true;
    CHECK(tls_rig_open(&g));
    (void)loop_turn(g.l, 0);
    static uint8_t text[20000];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = talk_pattern(1, i);
    }
    CHECK_INT(stream_write(g.e[1].s, text, sizeof(text)), sizeof(text));
    talker_close(&g.e[1], 0);
    for (int i = 0; i < TURNS_MAX && !talker_ended(&g.e[0]); i++) {
        (void)loop_turn(g.l, 0);
    }
    CHECK_INT(g.e[0].error, 0);
    CHECK(!g.e[0].wrong);
    CHECK_INT(g.e[0].received, sizeof(text));
    CHECK(g.e[0].eof);
    tls_rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_close_that_cannot_finish_has_a_deadline)
{
    struct tls_rig g;
    static uint8_t text[20000];

    tls_rig_start(&g, 500, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 0;
    g.e[0].deaf = true;
    g.e[0].shut_done = g.e[1].shut_done = true;
    CHECK(tls_rig_open(&g));
    CHECK_INT(stream_write(g.e[1].s, text, sizeof(text)), sizeof(text));
    talker_close(&g.e[1], 0);
    (void)loop_turn(g.l, 0);
    CHECK_INT(mempipe_live(), 2);
    loop_advance(g.l, TLS_LINGER_MS + 1);
    (void)loop_turn(g.l, 0);
    (void)loop_turn(g.l, 0);
    CHECK_INT(mempipe_live(), 1);
    tls_rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}

/* Both ends change hands in mid-transfer, again and again. */
static bool hand_over(struct tls_rig *g, int which)
{
    struct talker *e = &g->e[which];
    struct stream *below = NULL;
    struct stream *again = NULL;
    struct bytes blob;

    bytes_init(&blob, 4 << 20);
    int r = tls_stream_export(e->s, &blob, &below);
    if (r == 0) {
        r = tls_stream_import(g->tls, below, bytes_peek(&blob), blob.len, &again, NULL);
    }
    bytes_fini(&blob);
    if (r < 0) {
        return false;
    }
    e->s = again;
    stream_own(again, &e->task);
    task_wake(&e->task, WAKE_IO);
    return true;
}

TEST(a_session_is_handed_over_in_mid_transfer_and_every_byte_arrives)
{
    struct tls_rig g;
    int moved = 0;

    tls_rig_start(&g, 7000, NULL, NULL);
    g.e[0].to_send = g.e[1].to_send = 3000000;
    g.e[0].turn_bytes = g.e[1].turn_bytes = 9000;
    CHECK(tls_rig_open(&g));
    for (int i = 0; i < TURNS_MAX && !(talker_ended(&g.e[0]) && talker_ended(&g.e[1])); i++) {
        (void)loop_turn(g.l, 0);
        CHECK(hand_over(&g, i % 2));
        moved++;
    }
    CHECK(tls_rig_arrived(&g));
    CHECK(moved > 10);
    CHECK_STR(tls_stream_peer(g.e[1].s)->identity, tls_rig_server);
    CHECK_STR(tls_stream_peer(g.e[1].s)->alpn, "h2");
    CHECK_STR(tls_stream_peer(g.e[1].s)->suite, "TLS_AES_256_GCM_SHA384");
    tls_rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}

TEST(a_session_in_its_handshake_is_not_handed_over)
{
    struct stream *below = NULL;
    struct bytes blob;
    struct tls_rig g;

    tls_rig_start(&g, 7000, NULL, NULL);
    bytes_init(&blob, 1 << 20);
    CHECK_INT(tls_stream_export(g.e[0].s, &blob, &below), -EAGAIN);
    CHECK(below == NULL);
    bytes_fini(&blob);
    CHECK(tls_rig_settle(&g));
    CHECK(tls_rig_arrived(&g));
    tls_rig_stop(&g);
}

/* The blob with so many bytes as its only content, sealed and not yet opened; then they are opened. */
static int take_over_sealed(struct tls_rig *g, const uint8_t *from, size_t len, size_t sealed)
{
    enum { PLAIN_AT = 4 + 4 + RECORD_BLOB_BYTES };
    uint8_t *blob = mem_alloc(len + sealed);
    struct stream *ends[2];
    struct stream *s = NULL;
    size_t rest = PLAIN_AT;
    uint8_t byte;

    for (int i = 0; i < 3; i++) { /* plaintext, sealed, to be sent */
        rest += 4 + be32_get(from + rest);
    }
    memcpy(blob, from, PLAIN_AT);
    be32_put(blob + PLAIN_AT + 4, (uint32_t)sealed);
    memcpy(blob + PLAIN_AT + 12 + sealed, from + rest, len - rest);
    mempipe_pair(ends, 100, NULL);
    int r = tls_stream_import(g->tls, ends[0], blob, PLAIN_AT + 12 + sealed + len - rest, &s, NULL);
    mem_free(blob);
    if (r == 0) {
        r = (int)stream_read(s, &byte, 1);
        stream_close(s, r);
    }
    stream_close(ends[1], 0);
    return r;
}

TEST(a_newer_or_damaged_hand_over_is_refused)
{
    struct stream *below = NULL;
    struct stream *ends[2];
    struct stream *again = NULL;
    struct bytes blob;
    struct tls_rig g;

    tls_rig_start(&g, 7000, NULL, NULL);
    CHECK(tls_rig_open(&g));
    bytes_init(&blob, 4 << 20);
    CHECK_INT(tls_stream_export(g.e[0].s, &blob, &below), 0);
    stream_close(below, 0);
    g.e[0].s = NULL;
    g.e[0].error = -EIO;
    size_t len = blob.len;
    uint8_t *copy = mem_dup(bytes_peek(&blob), len);
    bytes_fini(&blob);
    for (size_t cut = 0; cut < len; cut++) {
        mempipe_pair(ends, 100, NULL);
        int r = tls_stream_import(g.tls, ends[0], copy, cut, &again, NULL);
        stream_close(ends[1], 0);
        CHECK_INT(r, -ERR_SYNTAX);
    }
    CHECK_INT(take_over_sealed(&g, copy, len, TLS_BATCH_RECORDS * RECORD_SLOT), -ERR_TLS_RECORD);
    CHECK_INT(take_over_sealed(&g, copy, len, TLS_BATCH_RECORDS * RECORD_SLOT + 1), -ERR_SYNTAX);
    copy[2]++;
    mempipe_pair(ends, 100, NULL);
    CHECK_INT(tls_stream_import(g.tls, ends[0], copy, len, &again, NULL), -ERR_VERSION);
    stream_close(ends[1], 0);
    CHECK(again == NULL);
    mem_free(copy);
    tls_rig_stop(&g);
    CHECK_INT(mempipe_live(), 0);
}
