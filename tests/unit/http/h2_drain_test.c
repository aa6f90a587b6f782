/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that end in order, whatever is on its way when they begin to. */
#include <string.h>

#include "base/mem.h"
#include "h2_rig.h"
#include "t.h"

/* Whether it is over within a second of the drain, or of the last answer. */
static bool drains_in_time(struct h2_rig *g, unsigned moment, int fail_at, int no_memory_at)
{
    h2_rig_start_with(g, 400, fail_at, NULL);
    h2_rig_call(g, 0, "GET", "/watch", NULL);
    bool settled = moment == 0 || settle(g->loop);
    (void)mem_fault_set(no_memory_at);
    h2_session_drain(g->server);
    h2_rig_call(g, 1, "GET", "/echo", NULL);
    settled = settle(g->loop) && settled;
    (void)mem_fault_set(-1);
    handler_finish(&g->app);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 1001);
    return settle(g->loop) && settled && g->app.over;
}

TEST(drain_ends_in_time_with_a_fault_at_any_stream_call_or_without_memory)
{
    struct h2_rig g;
    int points = 0;

    for (unsigned moment = 0; moment < 2; moment++) {
        CHECK(drains_in_time(&g, moment, -1, -1));
        int calls = g.fault.calls;
        for (int i = 0; i < 2; i++) { /* the notice may overtake it, which the caller is told */
            CHECK(g.call[i].result == 1 || g.call[i].result == -ERR_H2_GOAWAY);
        }
        CHECK_INT(g.app.result, 0);
        CHECK(h2_rig_stop(&g));
        for (int at = 0; at < calls; at++, points++) {
            CHECK(drains_in_time(&g, moment, at, -1));
            CHECK(g.call[0].result != 0 && g.call[1].result != 0);
            CHECK(h2_rig_stop(&g));
        }
        for (int at = 0; at < 40; at++) { /* what nghttp2 takes for its frames is among the first */
            CHECK(drains_in_time(&g, moment, -1, at));
            CHECK(h2_rig_stop(&g));
        }
    }
    CHECK(points > 30);
}

static void raw_ask(struct h2_raw *w, uint32_t stream)
{
    h2_put_frame(&w->script, 1, 5, stream, H2_GET_WATCH, sizeof(H2_GET_WATCH) - 1);
}

/* Only what is new in the script. */
static bool raw_say(struct h2_raw *w)
{
    wire_send(&w->peer, w->script.p, w->script.len);
    bool settled = settle(w->loop);
    w->script.len = 0;
    return settled;
}

TEST(a_session_that_drains_before_the_preface_comes_still_has_time_for_its_answers)
{
    struct h2_raw w;

    h2_raw_start(&w, 4096);
    h2_session_drain(w.server);
    CHECK(settle(w.loop));
    h2_put_preface(&w.script);
    raw_ask(&w, 1);
    CHECK(raw_say(&w));
    CHECK_INT(w.app.requests, 1);
    loop_advance(w.loop, 1001);
    CHECK(settle(w.loop));
    loop_advance(w.loop, 10000); /* more than a preface has */
    CHECK(settle(w.loop) && !w.app.over);
    handler_finish(&w.app);
    CHECK(settle(w.loop) && w.app.over);
    CHECK_INT(w.app.result, 0);
    CHECK(h2_raw_stop(&w));
}

TEST(what_was_sent_before_the_notice_was_heard_is_served)
{
    static const char drain_ping[] = "\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54";

    for (int heard = 0; heard < 2; heard++) {
        struct h2_raw w;
        h2_raw_start(&w, 4096);
        h2_put_preface(&w.script);
        raw_ask(&w, 1);
        CHECK(raw_say(&w));
        h2_session_drain(w.server);
        CHECK(settle(w.loop));
        h2_put_frame(&w.script, 6, 1, 0, "another", 8); /* the answer to a PING from before */
        CHECK(raw_say(&w));
        loop_advance(w.loop, 2);
        CHECK(settle(w.loop));
        raw_ask(&w, 3);
        CHECK(raw_say(&w));
        CHECK_INT(w.app.requests, 2);
        if (heard) {
            h2_put_frame(&w.script, 6, 1, 0, drain_ping, 8);
            CHECK(raw_say(&w));
            loop_advance(w.loop, 2);
        } else { /* the second ends before anybody had time to look */
            raw_ask(&w, 5);
            wire_send(&w.peer, w.script.p, w.script.len);
            loop_advance(w.loop, 1001);
        }
        CHECK(settle(w.loop));
        w.script.len = 0;
        raw_ask(&w, 7);
        CHECK(raw_say(&w));
        CHECK_INT(w.app.requests, heard ? 2 : 3);
        handler_finish(&w.app);
        CHECK(settle(w.loop) && w.app.over);
        CHECK_INT(w.app.result, 0);
        CHECK(h2_raw_stop(&w));
    }
}
