/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h2_session.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "h2_rig.h"
#include "stream_battery.h"
#include "t.h"

TEST(requests_and_answers_share_one_connection)
{
    struct h2_rig g;

    for (size_t pipe = 1; pipe < 10000; pipe = pipe * 9 + 1) {
        h2_rig_start_with(&g, pipe, -1, NULL);
        h2_rig_call(&g, 0, "GET", "/echo", NULL);
        h2_rig_call(&g, 1, "POST", "/echo?x", "hello");
        h2_rig_call(&g, 2, "GET", "/stream", NULL);
        h2_rig_call(&g, 3, "GET", "/none", NULL);
        h2_rig_call(&g, 4, "GET", "/nowhere", NULL);
        h2_rig_call(&g, 5, "HEAD", "/big", NULL);
        CHECK(settle(g.loop));
        for (int i = 0; i <= 5; i++) {
            CHECK_INT(g.call[i].result, 1);
        }
        CHECK(caller_got(&g.call[0], "GET /echo "));
        CHECK(caller_got(&g.call[1], "POST /echo?x hello"));
        CHECK(caller_got(&g.call[2], "onetwothree"));
        CHECK_INT(g.call[3].x->in.status, 204);
        CHECK_INT(g.call[4].x->in.status, 404);
        CHECK(caller_got(&g.call[5], ""));
        struct slice v;
        CHECK(message_find(&g.call[5].x->in, "content-length", &v) && slice_is(v, "300000"));
        CHECK(message_find(&g.call[2].x->in, "x-kind", &v) && slice_is(v, "stream"));
        CHECK(message_find(&g.call[2].x->in_trailers, "x-sum", &v) && slice_is(v, "11"));
        CHECK(h2_rig_stop(&g));
    }
}

TEST(bulk_goes_both_ways_through_narrow_windows)
{
    static char body[900000];
    struct h2_options o = {.stream_window = 65535, .send_buffer_bytes = 1000};
    struct h2_rig g;

    for (size_t i = 0; i < sizeof(body) - 1; i++) {
        body[i] = big_byte(i);
    }
    h2_rig_start_with(&g, 5000, -1, &o);
    h2_rig_call(&g, 0, "POST", "/echo", body);
    h2_rig_call(&g, 1, "GET", "/big", NULL);
    h2_rig_call(&g, 2, "GET", "/big", NULL);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK_INT(g.call[0].got.len, sizeof(body) - 1 + strlen("POST /echo "));
    CHECK_MEM(bytes_peek(&g.call[0].got) + 11, body, sizeof(body) - 1);
    for (int i = 1; i <= 2; i++) {
        CHECK_INT(g.call[i].result, 1);
        CHECK_INT(g.call[i].got.len, BIG_BYTES);
        CHECK_MEM(bytes_peek(&g.call[i].got), body, BIG_BYTES);
    }
    CHECK_INT(h2_session_stats(g.client).buffered, 0);
    CHECK_INT(h2_session_stats(g.server).buffered, 0);
    CHECK_INT(h2_session_stats(g.server).streams, 0);
    CHECK(h2_rig_stop(&g));
}

TEST(a_stalled_stream_holds_its_window_and_not_its_siblings)
{
    struct h2_options o = {.stream_window = 70000, .connection_window = 100000};
    struct h2_rig g;

    h2_rig_start_with(&g, 5000, -1, &o);
    for (int i = 0; i < 4; i++) {
        h2_rig_call(&g, i, "GET", "/big", NULL);
        g.call[i].stopped = i < 3;
    }
    CHECK(settle(g.loop));
    CHECK_INT(g.call[3].result, 1);
    CHECK_INT(g.call[3].got.len, BIG_BYTES);
    uint64_t held = h2_session_stats(g.client).buffered;
    CHECK(held > 3 * 60000 && held <= 3 * 70000);
    for (int i = 0; i < 3; i++) {
        caller_go_on(&g.call[i]);
    }
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK_INT(g.call[2].got.len, BIG_BYTES);
    CHECK(h2_rig_stop(&g));
}

TEST(an_answer_that_nobody_takes_is_given_up)
{
    struct h2_rig g;

    h2_rig_start(&g);
    h2_rig_call(&g, 0, "GET", "/big", NULL);
    g.call[0].stopped = true;
    CHECK(settle(g.loop));
    loop_advance(g.loop, EXCHANGE_REPLY_STALL_MS + 100);
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_stats(g.server).streams, 0);
    caller_go_on(&g.call[0]);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, -ERR_H2_RESET);
    CHECK(h2_rig_stop(&g));
}

TEST(more_streams_than_allowed_wait_with_the_caller)
{
    struct h2_options o = {.streams_max = 2};
    struct h2_rig g;

    h2_rig_start_with(&g, 4096, -1, &o);
    h2_rig_call(&g, 0, "GET", "/watch", NULL);
    CHECK_INT(h2_session_state(g.client), 0);
    h2_rig_call(&g, 1, "GET", "/watch", NULL);
    CHECK_INT(h2_session_state(g.client), -EAGAIN);
    h2_rig_call(&g, 2, "GET", "/echo", NULL);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[2].result, -ERR_LIMIT);
    CHECK_INT(g.call[0].result, 0);
    CHECK(caller_got(&g.call[0], "line\n"));
    caller_stop(&g.call[0], 0);
    CHECK(settle(g.loop));
    CHECK_INT(g.app.failure, -ERR_H2_RESET);
    CHECK_INT(h2_session_state(g.client), 0);
    CHECK(h2_rig_stop(&g));
}

TEST(a_dropped_answer_is_a_reset_and_the_connection_lives)
{
    struct h2_rig g;

    h2_rig_start(&g);
    h2_rig_call(&g, 0, "GET", "/drop", NULL);
    h2_rig_call(&g, 1, "GET", "/short", NULL);
    h2_rig_call(&g, 2, "GET", "/split", NULL);
    CHECK(settle(g.loop));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(g.call[i].result, -ERR_H2_RESET);
        CHECK_INT(g.call[i].x->reset_code, 2);
    }
    h2_rig_call(&g, 3, "GET", "/echo", NULL);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[3].result, 1);
    CHECK(h2_rig_stop(&g));
}

TEST(an_early_answer_reaches_a_client_that_still_sends)
{
    static char body[300001];
    struct h2_rig g;

    memset(body, 'x', sizeof(body) - 1);
    h2_rig_start(&g);
    h2_rig_call(&g, 0, "POST", "/early", body);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK_INT(g.call[0].x->in.status, 200);
    CHECK_INT(h2_session_stats(g.server).streams, 0);
    CHECK(h2_rig_stop(&g));
}

/* The answer is long, and the question is not needed for it. */
TEST(an_early_long_answer_is_whole_although_its_request_is_cut)
{
    static char body[300001];
    struct h2_rig g;

    memset(body, 'x', sizeof(body) - 1);
    h2_rig_start_with(&g, 1000, -1, NULL);
    h2_rig_call(&g, 0, "POST", "/big", body);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK_INT(g.call[0].got.len, BIG_BYTES);
    CHECK_INT(h2_session_stats(g.server).streams, 0);
    CHECK(h2_rig_stop(&g));
}

TEST(a_body_beyond_the_limit_is_answered_with_413)
{
    static char body[100001];
    struct h2_options o = {.body_bytes = 50000};
    struct h2_rig g;

    memset(body, 'x', sizeof(body) - 1);
    h2_rig_start_with(&g, 4096, -1, &o);
    h2_rig_call(&g, 0, "POST", "/echo", body);
    CHECK(settle(g.loop));
    CHECK_INT(g.app.failure, -ERR_TOO_LARGE);
    CHECK_INT(g.call[0].x->in.status, 413);
    CHECK(h2_rig_stop(&g));
}

TEST(a_request_head_beyond_the_limit_is_answered_with_431)
{
    AUTO(message) struct message head = {0};
    static char value[20001];
    struct h2_rig g;

    memset(value, 'x', sizeof(value) - 1);
    h2_rig_start(&g);
    message_request(&head, "GET", "https", "a", "/echo");
    message_puts(&head, "x-long", value);
    caller_start(&g.call[0], g.loop, h2_session_request(g.client, &head, true), NULL, 0);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK_INT(g.call[0].x->in.status, 431);
    CHECK_INT(g.app.requests, 0);
    h2_rig_call(&g, 1, "GET", "/echo", NULL);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[1].result, 1);
    CHECK(h2_rig_stop(&g));
}

TEST(drain_serves_what_is_under_way_and_then_ends)
{
    struct h2_rig g;

    h2_rig_start(&g);
    h2_rig_call(&g, 0, "GET", "/watch", NULL);
    CHECK(settle(g.loop));
    h2_session_drain(g.server);
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_state(g.client), -ERR_H2_GOAWAY);
    CHECK_INT(g.call[0].result, 0);
    h2_rig_call(&g, 1, "GET", "/echo", NULL);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[1].result, -ERR_H2_GOAWAY);
    loop_advance(g.loop, 1100);
    CHECK(settle(g.loop));
    CHECK(!g.app.over);
    handler_finish(&g.app);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK(g.app.over);
    CHECK_INT(g.app.result, 0);
    CHECK_INT(h2_session_state(g.client), -ERR_H2_GOAWAY);
    CHECK(h2_rig_stop(&g));
}

TEST(a_client_that_drains_finishes_its_calls)
{
    struct h2_rig g;

    h2_rig_start(&g);
    h2_rig_call(&g, 0, "GET", "/big", NULL);
    h2_session_drain(g.client);
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, 1);
    CHECK_INT(g.call[0].got.len, BIG_BYTES);
    CHECK(g.app.over);
    CHECK_INT(g.app.result, 0);
    CHECK(h2_rig_stop(&g));
}

TEST(exchanges_outlive_both_sessions)
{
    struct h2_rig g;

    h2_rig_start(&g);
    h2_rig_call(&g, 0, "GET", "/watch", NULL);
    CHECK(settle(g.loop));
    h2_session_free(g.client);
    g.client = NULL;
    CHECK(settle(g.loop));
    CHECK_INT(g.call[0].result, -ERR_CANCELLED);
    CHECK(g.app.failure < 0);
    g.app.next = NULL;
    h2_session_free(g.server);
    g.server = NULL;
    CHECK(settle(g.loop));
    CHECK(h2_rig_stop(&g));
    h2_rig_start(&g);
    h2_rig_call(&g, 0, "GET", "/watch", NULL);
    CHECK(settle(g.loop));
    g.app.next = NULL;
    h2_session_free(g.server);
    g.server = NULL;
    CHECK(settle(g.loop));
    CHECK_INT(g.app.failure, -ERR_CANCELLED);
    CHECK(g.call[0].result < 0);
    CHECK(h2_rig_stop(&g));
}

enum { PING_BYTES = 17 + 17 }; /* the server's own, and its answer to the client's */

TEST(pings_are_sent_while_a_stream_is_open_and_their_silence_ends_the_session)
{
    struct h2_options o = {.ping_ms = 30000, .ping_timeout_ms = 10000};
    struct h2_rig g;

    h2_rig_start_with(&g, 4096, -1, &o);
    CHECK(settle(g.loop));
    uint64_t taken = h2_session_stats(g.client).taken_bytes;
    loop_advance(g.loop, 30001);
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_stats(g.client).taken_bytes, taken);
    h2_rig_call(&g, 0, "GET", "/watch", NULL);
    CHECK(settle(g.loop));
    taken = h2_session_stats(g.client).taken_bytes;
    loop_advance(g.loop, 30001);
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_stats(g.client).taken_bytes, taken + PING_BYTES);
    loop_advance(g.loop, 30001);
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_stats(g.client).taken_bytes, taken + 2 * PING_BYTES);
    CHECK_INT(g.call[0].result, 0);
    CHECK(h2_rig_stop(&g));
}

/* Everything a session does in one script; used with faults. */
static void play_all(struct h2_rig *g)
{
    static char body[3000];

    memset(body, 'x', sizeof(body) - 1);
    h2_rig_call(g, 0, "POST", "/echo", body);
    h2_rig_call(g, 1, "GET", "/stream", NULL);
    h2_rig_call(g, 2, "GET", "/drop", NULL);
    h2_rig_call(g, 3, "GET", "/watch", NULL);
    h2_rig_call(g, 4, "POST", "/early", body);
}

TEST(a_fault_at_any_stream_call_ends_everything)
{
    struct h2_rig g;

    h2_rig_start_with(&g, 400, -1, NULL);
    play_all(&g);
    CHECK(settle(g.loop));
    int calls = g.fault.calls;
    CHECK(h2_rig_stop(&g));
    for (int at = 0; at < calls; at++) {
        h2_rig_start_with(&g, 400, at, NULL);
        play_all(&g);
        CHECK(settle(g.loop));
        CHECK_INT(g.app.result, -EIO);
        for (int i = 0; i < 5; i++) {
            CHECK(g.call[i].result != 0);
        }
        CHECK(h2_rig_stop(&g));
    }
    printf("# %d fault points\n", calls);
}

TEST(short_memory_at_any_point_ends_streams_or_sessions_not_the_process)
{
    struct h2_rig g;

    (void)mem_fault_set(-1);
    h2_rig_start_with(&g, 400, -1, NULL);
    play_all(&g);
    CHECK(settle(g.loop));
    unsigned tries = mem_fault_set(-1);
    CHECK(h2_rig_stop(&g));
    CHECK(tries > 50);
    for (unsigned at = 0; at < tries; at++) {
        (void)mem_fault_set((int)at);
        h2_rig_start_with(&g, 400, -1, NULL);
        play_all(&g);
        CHECK(settle(g.loop));
        (void)mem_fault_set(-1);
        CHECK(h2_rig_stop(&g));
    }
    printf("# %u allocations failed\n", tries);
}

/* The error code of the GOAWAY that ended the connection, or -1. */
static int goaway_code(struct h2_raw *w)
{
    const uint8_t *p = bytes_peek(&w->peer.got);
    size_t len = w->peer.got.len;
    int code = -1;

    while (len >= 9) {
        size_t n = 9 + be24_get(p);
        if (n > len) {
            break;
        }
        if (p[3] == 7 && n >= 17) {
            code = (int)be32_get(p + 13);
        }
        p += n;
        len -= n;
    }
    return code;
}

TEST(each_kind_of_useless_frame_has_its_budget)
{
    static const struct {
        const char *name;
        unsigned type;
        unsigned flags;
        uint32_t stream;
        const char *body;
        size_t len;
        const char *spent;
    } table[] = {
        {"SETTINGS", 4, 0, 0, "", 0, "too many SETTINGS"},
        {"PING", 6, 0, 0, "12345678", 8, "too many PINGs"},
        {"empty DATA", 0, 0, 1, "", 0, "too many empty frames"},
        {"padding only", 0, 8, 1, "\x02\0\0", 3, "too many empty frames"},
        {"PRIORITY", 2, 0, 1, "\0\0\0\0\1", 5, "too many idle frames"},
        {"WINDOW_UPDATE", 8, 0, 0, "\0\0\0\1", 4, "too many idle frames"},
        {"unknown type", 0x2a, 0, 0, "x", 1, "too many idle frames"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        for (int many = 0; many < 2; many++) {
            struct h2_raw w;
            h2_raw_start(&w, 100000);
            h2_put_preface(&w.script);
            h2_put_frame(&w.script, 1, 4, 1, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
            for (int n = 0; n < (many ? 230 : 190); n++) {
                h2_put_frame(&w.script, table[i].type, table[i].flags, table[i].stream,
                             table[i].body, table[i].len);
            }
            CHECK(h2_raw_play(&w));
            const char *said = h2_session_diag(w.server)->text;
            bool is_named = strstr(said, table[i].spent) != NULL;
            if (w.app.over != many || is_named != many) {
                printf("# %s: over %d: %s\n", table[i].name, w.app.over, said);
            }
            CHECK_INT(is_named, many);
            CHECK_INT(w.app.over, many);
            CHECK_INT(w.app.result, many ? -ERR_H2_ABUSE : -EAGAIN);
            CHECK_INT(goaway_code(&w), many ? 11 : -1);
            CHECK(h2_raw_stop(&w));
        }
    }
}

TEST(heads_for_closed_streams_have_a_budget)
{
    for (int many = 0; many < 2; many++) {
        struct h2_raw w;
        h2_raw_start(&w, 100000);
        h2_put_preface(&w.script);
        h2_put_frame(&w.script, 1, 4, 5, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
        for (int n = 0; n < (many ? 230 : 190); n++) {
            h2_put_frame(&w.script, 1, 5, 3, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
        }
        CHECK(h2_raw_play(&w));
        CHECK_INT(w.app.result, many ? -ERR_H2_ABUSE : -EAGAIN);
        CHECK(h2_raw_stop(&w));
    }
}

TEST(rapid_resets_are_counted_and_tokens_come_back)
{
    struct h2_raw w;

    h2_raw_start(&w, 100000);
    h2_put_preface(&w.script);
    for (uint32_t round = 0, id = 1; round < 12; round++) {
        for (int n = 0; n < 100; n++, id += 2) {
            h2_put_frame(&w.script, 1, 5, id, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
            h2_put_frame(&w.script, 3, 0, id, "\0\0\0\x08", 4);
        }
        CHECK(h2_raw_play(&w));
        strbuf_clear(&w.script);
        CHECK(!w.app.over);
        loop_advance(w.loop, 5000); /* 100 tokens come back */
    }
    for (uint32_t n = 0, id = 3001; n < 300; n++, id += 2) {
        h2_put_frame(&w.script, 1, 5, id, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
        h2_put_frame(&w.script, 3, 0, id, "\0\0\0\x08", 4);
    }
    CHECK(h2_raw_play(&w));
    CHECK_INT(w.app.result, -ERR_H2_ABUSE);
    CHECK(strstr(h2_session_diag(w.server)->text, "too many resets"));
    CHECK(h2_raw_stop(&w));
}

/* A peer that makes us reset its streams pays as if it had reset them itself. */
TEST(provoked_resets_are_counted_like_the_peers_own)
{
    struct h2_raw w;

    h2_raw_start(&w, 100000);
    h2_put_preface(&w.script);
    for (uint32_t n = 0, id = 1; n < 300; n++, id += 2) {
        h2_put_frame(&w.script, 1, 5, id, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
        h2_put_frame(&w.script, 8, 0, id, "\x7f\xff\xff\xff", 4); /* window overflow */
    }
    CHECK(h2_raw_play(&w));
    CHECK(strstr(h2_session_diag(w.server)->text, "too many stream errors"));
    CHECK_INT(w.app.result, -ERR_H2_ABUSE);
    CHECK_INT(goaway_code(&w), 11);
    CHECK(h2_raw_stop(&w));
}

TEST(continuations_without_end_are_refused)
{
    for (int empty = 0; empty < 2; empty++) {
        struct h2_raw w;
        h2_raw_start(&w, 1 << 20);
        h2_put_preface(&w.script);
        h2_put_frame(&w.script, 1, 1, 1, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
        for (int n = 0; n < 300; n++) {
            h2_put_frame(&w.script, 9, 0, 1, "\x40\x01x\x01y", empty ? 0 : 5);
        }
        CHECK(h2_raw_play(&w));
        CHECK(w.app.over);
        CHECK(w.app.result < 0);
        CHECK_INT(w.app.requests, 0);
        CHECK(h2_raw_stop(&w));
    }
}

TEST(a_compression_bomb_ends_the_connection)
{
    AUTO(strbuf) struct strbuf block = {0};
    struct h2_raw w;

    h2_raw_start(&w, 1 << 20);
    h2_put_preface(&w.script);
    strbuf_add(&block, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
    strbuf_add(&block, "\x40\x01x\x7f\x81\x1e",
               6); /* a value of 4000 octets, then many times that */
    for (int i = 0; i < 4000; i++) {
        strbuf_putc(&block, 'v');
    }
    for (int i = 0; i < 10000; i++) {
        strbuf_putc(&block, '\xbe');
    }
    h2_put_frame(&w.script, 1, 5, 1, block.p, block.len);
    CHECK(h2_raw_play(&w));
    CHECK_INT(w.app.result, -ERR_H2_ABUSE);
    CHECK_INT(w.app.requests, 0);
    CHECK(h2_raw_stop(&w));
}

TEST(a_bad_peer_gets_goaway_with_the_code)
{
    static const struct {
        const char *name;
        unsigned type;
        unsigned flags;
        uint32_t stream;
        const char *body;
        size_t len;
        int code;
    } table[] = {
        {"PING of 7", 6, 0, 0, "1234567", 7, 6},
        {"SETTINGS of 5", 4, 0, 0, "12345", 5, 6},
        {"DATA on stream 0", 0, 0, 0, "x", 1, 1},
        {"HEADERS on an even stream", 1, 5, 2, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1, 1},
        {"bad HPACK", 1, 5, 1, "\xff\xff\xff\xff\xff\xff", 6, 9},
        {"window overflow", 8, 0, 0, "\x7f\xff\xff\xff", 4, 3},
        {"window update of 0", 8, 0, 0, "\0\0\0\0", 4, 1},
        {"CONTINUATION alone", 9, 4, 1, "x", 1, 1},
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        struct h2_raw w;
        h2_raw_start(&w, 4096);
        h2_put_preface(&w.script);
        h2_put_frame(&w.script, table[i].type, table[i].flags, table[i].stream, table[i].body,
                     table[i].len);
        CHECK(h2_raw_play(&w));
        if (goaway_code(&w) != table[i].code) {
            printf("# %s\n", table[i].name);
        }
        CHECK_INT(goaway_code(&w), table[i].code);
        CHECK(w.app.over && w.app.result < 0);
        CHECK(w.peer.ended);
        CHECK(h2_raw_stop(&w));
    }
}

TEST(a_server_cannot_take_extended_connect_back)
{
    struct h2_raw w = {.loop = loop_new(NULL)};
    struct stream *ends[2];

    mempipe_pair(ends, 4096, NULL);
    struct h2_session *client = h2_client_new(w.loop, ends[0], NULL, NULL);
    h2_put_frame(&w.script, 4, 0, 0, "\0\x08\0\0\0\1", 6);
    wire_start(&w.peer, w.loop, ends[1], w.script.p, w.script.len);
    CHECK(settle(w.loop));
    CHECK_INT(h2_session_upgrades(client), 0);
    strbuf_clear(&w.script);
    h2_put_frame(&w.script, 4, 0, 0, "\0\x08\0\0\0\0", 6);
    CHECK(h2_raw_play(&w));
    bytes_skip(&w.peer.got, 24); /* the preface */
    CHECK_INT(goaway_code(&w), 1);
    h2_session_free(client);
    wire_stop(&w.peer, 0);
    CHECK(settle(w.loop));
    loop_free(w.loop);
    strbuf_fini(&w.script);
}

TEST(another_protocol_is_no_preface)
{
    struct h2_raw w;

    h2_raw_start(&w, 4096);
    strbuf_puts(&w.script, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(h2_raw_play(&w));
    CHECK_INT(w.app.result, -ERR_H2_PROTOCOL);
    CHECK(h2_raw_stop(&w));
}

TEST(a_peer_that_ends_amid_a_stream_has_not_ended_well)
{
    for (int open = 0; open < 2; open++) {
        struct h2_raw w;
        h2_raw_start(&w, 4096);
        h2_put_preface(&w.script);
        if (open) {
            h2_put_frame(&w.script, 1, 4, 1, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
        }
        w.peer.shut_after = true;
        CHECK(h2_raw_play(&w));
        CHECK(w.app.over);
        CHECK_INT(w.app.result, open ? -ERR_TRUNCATED : 0);
        CHECK(h2_raw_stop(&w));
    }
}

TEST(a_silent_peer_is_let_go)
{
    struct h2_raw w;

    h2_raw_start(&w, 4096);
    CHECK(settle(w.loop));
    loop_advance(w.loop, 5001);
    CHECK(settle(w.loop));
    CHECK_INT(w.app.result, -ERR_DEADLINE);
    CHECK(h2_raw_stop(&w));
}

/* Half a head, and nothing else can come behind it. */
TEST(a_head_that_does_not_arrive_ends_the_connection)
{
    struct h2_options o = {
        .head_ms = 60000, .head_rate = 1, .head_grace_ms = 5000, .shows_refusals = true};
    struct h2_raw w;

    h2_raw_start_with(&w, 4096, &o);
    h2_put_preface(&w.script);
    CHECK(h2_raw_play(&w));
    loop_advance(w.loop, 5000);
    CHECK(settle(w.loop));
    strbuf_clear(&w.script);
    h2_put_frame(&w.script, 1, 5, 1, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
    w.script.len = 12; /* half of it: worth 12 s */
    CHECK(h2_raw_play(&w));
    loop_advance(w.loop, 16900);
    CHECK(settle(w.loop));
    CHECK(!w.app.over);
    wire_send(&w.peer, &(H2_GET_WATCH)[3], 2);
    CHECK(settle(w.loop));
    loop_advance(w.loop, 2000);
    CHECK(settle(w.loop));
    CHECK(!w.app.over);
    loop_advance(w.loop, 101);
    CHECK(settle(w.loop));
    CHECK(w.app.over);
    CHECK_INT(w.app.result, -ERR_DEADLINE);
    struct refusal *r = h2_session_refusal(w.server);
    CHECK(r && r->status == 0 && slice_is(message_get(&r->in, MESSAGE_METHOD), "GET"));
    refusal_free(r);
    CHECK(h2_raw_stop(&w));
}

TEST(a_head_that_arrives_in_time_leaves_no_deadline_behind)
{
    struct h2_options o = {.head_ms = 1000, .head_rate = 1, .head_grace_ms = 100};
    struct h2_raw w;

    h2_raw_start_with(&w, 4096, &o);
    h2_put_preface(&w.script);
    h2_put_frame(&w.script, 1, 5, 1, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
    h2_put_frame(&w.script, 1, 5, 3, "\x82\x82",
                 2); /* malformed: a reset, and the connection goes on */
    CHECK(h2_raw_play(&w));
    loop_advance(w.loop, 20000);
    CHECK(settle(w.loop));
    CHECK(!w.app.over);
    CHECK(h2_raw_stop(&w));
}

TEST(a_peer_that_takes_nothing_is_let_go)
{
    struct h2_raw w;

    h2_raw_start(&w, 30);
    w.peer.read_at_most = 1;
    h2_put_preface(&w.script);
    h2_put_frame(&w.script, 1, 5, 1, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
    CHECK(h2_raw_play(&w));
    CHECK(!w.app.over);
    loop_advance(w.loop, 30001);
    CHECK(settle(w.loop));
    CHECK_INT(w.app.result, -ERR_DEADLINE);
    CHECK(h2_raw_stop(&w));
}

/* An exchange is a stream like any other. */

struct pair_kit {
    struct h2_session *client;
    struct h2_session *server;
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
    struct stream *ends[2];
    struct exchange *accepted = NULL;

    mempipe_pair(ends, 4096, NULL);
    task_init(&k->task, l, "kit", nothing);
    k->client = h2_client_new(l, ends[0], NULL, NULL);
    k->server = h2_server_new(l, ends[1], NULL, &k->task);
    message_request(&head, "POST", "https", "a", "/");
    struct exchange *x = h2_session_request(k->client, &head, false);
    (void)settle(l);
    int r = h2_session_next(k->server, &accepted);
    if (r != 1) {
        exchange_close(x, -ERR_CANCELLED);
        return -EIO;
    }
    message_clear(&head);
    head.status = 200;
    r = exchange_send(accepted, &head);
    out[0] = &x->s;
    out[1] = &accepted->s;
    (void)settle(l);
    return r;
}

static void drop_pair(void *arg, struct loop *l)
{
    struct pair_kit *k = arg;

    h2_session_free(k->client);
    h2_session_free(k->server);
    task_fini(&k->task);
    (void)settle(l);
}

static struct pair_kit battery_pair;
static const struct battery_kit battery = {.pair = make_pair,
                                           .done = drop_pair,
                                           .live = mempipe_live,
                                           .arg = &battery_pair,
                                           .has = BATTERY_RESET,
                                           .patience_ms = 10, /* a byte takes several turns */
                                           .window_max = 600 << 10};
STREAM_BATTERY(h2, &battery)
