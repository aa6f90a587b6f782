/* SPDX-License-Identifier: Apache-2.0 */
/* What a server of HTTP/1.1 does not let its client have: octets, and time. */
#include <string.h>

#include "base/mem.h"
#include "h1_rig.h"
#include "t.h"

/* A request made of a start, much of the same and an end. */
static void repeat(struct strbuf *b, const char *start, const char *what, int times,
                   const char *end)
{
    strbuf_clear(b);
    strbuf_puts(b, start);
    for (int i = 0; i < times; i++) {
        strbuf_puts(b, what);
    }
    strbuf_puts(b, end);
}

TEST(a_head_that_was_begun_before_has_a_deadline)
{
    struct h1_rig g;

    h1_rig_start(&g, "");
    h1_server_feed(g.server, "GET", 3);
    CHECK(settle(g.loop));
    loop_advance(g.loop, 10001);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(h1_rig_stop(&g));
}

TEST(a_head_that_was_begun_before_is_given_up_early_when_it_is_slow)
{
    struct h1_limits limits = {.header_ms = 60000, .head_rate = 10, .head_grace_ms = 5000};
    struct h1_rig g;

    /* Three octets before and one later: 5 s and 0.4 s more, since the first. */
    h1_rig_start_with(&g, "", 4096, -1, &limits);
    h1_server_feed(g.server, "GET", 3);
    CHECK(settle(g.loop));
    loop_advance(g.loop, 5000);
    wire_send(&g.client, " ", 1);
    CHECK(settle(g.loop));
    CHECK(!g.app.over);
    loop_advance(g.loop, 401);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(h1_rig_stop(&g));
}

TEST(a_reader_that_stops_is_cut_after_its_time)
{
    struct h1_rig g;
    size_t held;

    h1_rig_start_with(&g, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 1000, -1, NULL);
    g.client.read_at_most = 1;
    CHECK(settle(g.loop));
    held = g.client.got.len;
    CHECK(held > 0 && held < 2000);
    CHECK(!g.app.over);
    loop_advance(g.loop, 30001);
    CHECK(settle(g.loop));
    CHECK(g.app.over);
    CHECK_INT(g.app.result, -ERR_DEADLINE);
    CHECK(h1_rig_stop(&g));
}

TEST(a_head_that_is_too_large_is_refused)
{
    AUTO(strbuf) struct strbuf b = {0};
    struct h1_rig g;

    strbuf_puts(&b, "GET / HTTP/1.1\r\nHost: a\r\nx: ");
    for (int i = 0; i < 40000; i++) {
        strbuf_putc(&b, 'y');
    }
    PLAY(&g, b.p);
    CHECK(wire_has(&g.client, "HTTP/1.1 431 "));
    CHECK(h1_rig_stop(&g));
}

TEST(each_limit_of_a_head_has_its_status)
{
    static const struct {
        const char *start, *what;
        int times;
        const char *end, *status;
    } table[] = {
        {"GET /", "x", 16300, " HTTP/1.1\r\nHost: a\r\n\r\n", "404"},
        {"GET /", "x", 16400, " HTTP/1.1\r\nHost: a\r\n\r\n", "414"},
        {"GET /", "x", 17000, "", "414"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "a: b\r\n", 99, "\r\n", "404"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "a: b\r\n", 100, "\r\n", "431"},
        {"GET / HTTP/1.1\r\nHost: a\r\na: ", "x", 32768, "\r\n\r\n", "404"},
        {"GET / HTTP/1.1\r\nHost: a\r\na: ", "x", 32769, "\r\n\r\n", "431"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", "aaaa: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 1500,
         "\r\n", "431"},
    };
    struct h1_limits limits = {.head_bytes = 60 << 10};
    AUTO(strbuf) struct strbuf b = {0};
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        char want[20];
        (void)snprintf(want, sizeof(want), "HTTP/1.1 %s ", table[i].status);
        repeat(&b, table[i].start, table[i].what, table[i].times, table[i].end);
        h1_rig_start_with(&g, b.p, 4096, -1, &limits);
        CHECK(settle(g.loop));
        if (!wire_has(&g.client, want)) {
            printf("# row %u: %s\n", i, wire_text(&g.client));
        }
        CHECK(wire_has(&g.client, want));
        CHECK_INT(wire_count(&g.client, "HTTP/1.1 "), 1);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_chunked_body_that_cannot_go_on_is_not_waited_for)
{
    static const char *const bodies[] = {"5\n",          "5;x\n",       "x",
                                         "5\r\nhello\n", "0\r\nx: y\n", "0\r\nx: y\r\n z",
                                         "0\r\n\n",      "0\r\nx\rz",   "0\r\nx: \x02"};
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(bodies); i++) {
        char script[128];
        (void)snprintf(script, sizeof(script), "%s%s",
                       "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                       bodies[i]);
        PLAY(&g, script);
        CHECK_INT(g.app.failure, -ERR_SYNTAX);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(trailers_have_limits)
{
    static const struct {
        const char *what;
        int times;
        int failure;
    } table[] = {{"a: b\r\n", 32, 0},
                 {"a: b\r\n", 33, -ERR_TOO_LARGE},
                 {"a: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 200,
                  -ERR_TOO_LARGE}};
    AUTO(strbuf) struct strbuf b = {0};
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        repeat(
            &b,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
            table[i].what, table[i].times, "\r\n");
        PLAY(&g, b.p);
        CHECK_INT(g.app.failure, table[i].failure);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_chunked_body_beyond_the_limit_is_refused)
{
    struct h1_limits limits = {.body_bytes = 10};
    struct h1_rig g;

    h1_rig_start_with(&g,
                      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "8\r\n01234567\r\n3\r\n890\r\n0\r\n\r\n",
                      4096, -1, &limits);
    CHECK(settle(g.loop));
    CHECK_INT(g.app.failure, -ERR_TOO_LARGE);
    CHECK(wire_has(&g.client, "HTTP/1.1 413 "));
    CHECK(g.client.ended);
    CHECK(h1_rig_stop(&g));
}

TEST(each_wait_has_its_deadline)
{
    static const struct {
        const char *script;
        uint64_t after_ms;
        const char *answer;
        int result;
    } table[] = {
        {"", 60000, "", 0},
        {"GET / HT", 10000, "HTTP/1.1 408 ", -ERR_DEADLINE},
        {"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 60000, "HTTP/1.1 200 OK", 0},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", 30000, "ERR_DEADLINE",
         -ERR_DEADLINE},
        {"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", 30000, "HTTP/1.1 200 OK",
         -ERR_DEADLINE},
    };
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        PLAY(&g, table[i].script);
        loop_advance(g.loop, table[i].after_ms - 200);
        CHECK(settle(g.loop));
        CHECK(!g.client.ended);
        loop_advance(g.loop, 400);
        CHECK(settle(g.loop));
        CHECK(g.client.ended);
        CHECK(wire_has(&g.client, table[i].answer));
        CHECK_INT(g.app.result, table[i].result);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_trickled_head_does_not_extend_its_deadline)
{
    struct h1_rig g;

    PLAY(&g, "G");
    for (int i = 0; i < 9; i++) {
        loop_advance(g.loop, 1000);
        wire_send(&g.client, "E", 1);
        CHECK(settle(g.loop));
    }
    CHECK(!g.client.ended);
    loop_advance(g.loop, 1100);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(g.client.ended);
    CHECK(h1_rig_stop(&g));
}

TEST(a_head_that_has_begun_is_shed_and_nothing_else_is)
{
    static const struct {
        const char *script;
        bool is_shed;
    } table[] = {
        {"", false},
        {"G", true},
        {"GET /echo HTTP/1.1\r\nHost: a\r\n", true},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", false},
        {"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", false}, /* answered, and nothing came since */
        {"GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /", true},
        {"nonsense\r\n", false}, /* has had its answer */
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        struct h1_rig g;
        PLAY(&g, table[i].script);
        CHECK_INT(h1_server_shed(g.server), table[i].is_shed);
        CHECK(settle(g.loop));
        CHECK_INT(wire_has(&g.client, "HTTP/1.1 503 Service Unavailable\r\n"), table[i].is_shed);
        CHECK(g.client.ended || !table[i].is_shed);
        CHECK(!h1_server_shed(g.server));
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_head_with_a_least_rate_is_given_up_early_only_when_it_is_slow)
{
    struct h1_limits limits = {.header_ms = 60000, .head_rate = 10, .head_grace_ms = 5000};
    struct h1_rig g;

    /* 26 octets at once, then nothing: 5 s and 2.6 s more. */
    h1_rig_start_with(&g, "GET /echo HTTP/1.1\r\nHost: ", 4096, -1, &limits);
    CHECK(settle(g.loop));
    loop_advance(g.loop, 7500);
    CHECK(settle(g.loop));
    CHECK(!g.app.over);
    loop_advance(g.loop, 101);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(h1_rig_stop(&g));
    /* Eleven octets a second are enough, within header_ms. */
    h1_rig_start_with(&g, "GET /echo HTTP/1.1\r\nHost: ", 4096, -1, &limits);
    CHECK(settle(g.loop));
    for (int i = 0; i < 59; i++) {
        wire_send(&g.client, "aaaaaaaaaaa", 11);
        CHECK(settle(g.loop));
        loop_advance(g.loop, 1000);
        CHECK(settle(g.loop));
        CHECK(!g.app.over);
    }
    loop_advance(g.loop, 1001);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(h1_rig_stop(&g));
    /* Eight are not: what the first 26 have earned is used up after 38 s. */
    h1_rig_start_with(&g, "GET /echo HTTP/1.1\r\nHost: ", 4096, -1, &limits);
    CHECK(settle(g.loop));
    int s = 0;
    for (; s < 59 && !g.app.over; s++) {
        wire_send(&g.client, "aaaaaaaa", 8);
        CHECK(settle(g.loop));
        loop_advance(g.loop, 1000);
        CHECK(settle(g.loop));
    }
    CHECK(s > 30 && s < 45);
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(h1_rig_stop(&g));
}

TEST(a_head_that_began_behind_another_request_has_its_deadline)
{
    struct h1_rig g;

    PLAY(&g, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /sl");
    CHECK(wire_has(&g.client, "GET /echo "));
    loop_advance(g.loop, 10100);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 408 "));
    CHECK(g.client.ended);
    CHECK(h1_rig_stop(&g));
}
