/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/mem.h"
#include "h1_rig.h"
#include "t.h"

TEST(a_get_is_answered_and_the_connection_stays)
{
    struct h1_rig g;

    PLAY(&g, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(wire_has(&g.client,
                   "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\ndate: "));
    CHECK(wire_has(&g.client, "\r\n\r\nGET /echo "));
    CHECK(!wire_has(&g.client, "connection:"));
    CHECK(!g.client.ended);
    const char *again = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    wire_send(&g.client, again, strlen(again));
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "POST /echo abc"));
    CHECK_INT(g.app.requests, 2);
    CHECK(h1_rig_stop(&g));
}

TEST(pipelined_requests_are_answered_in_order)
{
    struct h1_rig g;

    PLAY(&g,
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1"
         "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"
         "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\n"
         "\r\nGET /echo?3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const char *text = wire_text(&g.client);
    const char *one = strstr(text, "POST /echo 1");
    const char *none = strstr(text, "HTTP/1.1 204 No Content\r\n");
    const char *two = strstr(text, "POST /echo 2");
    const char *three = strstr(text, "GET /echo?3 ");
    CHECK(one && none && two && three);
    CHECK(one < none && none < two && two < three);
    CHECK_INT(wire_count(&g.client, "connection: close"), 1);
    CHECK(g.client.ended);
    CHECK(g.app.over);
    CHECK_INT(g.app.result, 0);
    CHECK(h1_rig_stop(&g));
}

/* However much of it was read before the server had the stream. */
TEST(what_was_read_before_comes_first)
{
    static const char script[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                                 "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct h1_rig g;

    for (size_t fed = 1; fed < sizeof(script); fed++) {
        h1_rig_start(&g, script + fed);
        h1_server_feed(g.server, script, fed);
        CHECK(settle(g.loop));
        CHECK(wire_has(&g.client, "\r\n\r\nPOST /echo abc"));
        CHECK(wire_has(&g.client, "\r\n\r\nGET /echo "));
        CHECK_INT(g.app.requests, 2);
        CHECK(g.client.ended);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(any_pace_and_any_pipe_gives_the_same_answer)
{
    static const char script[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n"
        "3\r\nabc\r\n7;x=y\r\ndefghij\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n"
        "GET /stream HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n";
    struct h1_rig g;

    for (size_t pipe = 1; pipe < 3000; pipe = pipe * 3 + 1) {
        for (size_t piece = 1; piece < 200; piece = piece * 4 + 1) {
            h1_rig_start_with(&g, script, pipe, -1, NULL);
            g.client.piece = piece;
            CHECK(settle(g.loop));
            CHECK(wire_has(&g.client, "\r\n\r\nPOST /echo abcdefghij sum=7"));
            CHECK(wire_has(&g.client, "x-kind: stream\r\ntransfer-encoding: chunked\r\n"));
            CHECK(wire_has(&g.client,
                           "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\nx-sum: 11\r\n\r\n"));
            CHECK(g.client.ended);
            CHECK(h1_rig_stop(&g));
        }
    }
}

TEST(trailers_are_kept_from_clients_that_do_not_ask)
{
    struct h1_rig g;

    PLAY(&g, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(wire_has(&g.client, "5\r\nthree\r\n0\r\n\r\n"));
    CHECK(!wire_has(&g.client, "x-sum"));
    CHECK(h1_rig_stop(&g));
}

TEST(http_1_0_gets_a_body_that_ends_with_the_connection)
{
    struct h1_rig g;

    PLAY(&g, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(wire_has(&g.client, "connection: close\r\n\r\nonetwothree"));
    CHECK(!wire_has(&g.client, "chunked"));
    CHECK(g.client.ended);
    CHECK(h1_rig_stop(&g));
}

TEST(head_gets_the_length_but_no_body)
{
    struct h1_rig g;

    PLAY(&g, "HEAD /big HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(wire_has(&g.client, "content-length: 300000\r\n"));
    CHECK(wire_has(&g.client, "GMT\r\n\r\nHTTP/1.1 200 OK\r\n"));
    CHECK(wire_has(&g.client, "GET /echo "));
    CHECK(h1_rig_stop(&g));
}

TEST(continue_is_said_when_the_body_is_read)
{
    struct h1_rig g;

    PLAY(&g, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    CHECK_STR(wire_text(&g.client), "HTTP/1.1 100 Continue\r\n\r\n");
    wire_send(&g.client, "hi", 2);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "POST /echo hi"));
    CHECK(!g.client.ended);
    CHECK(h1_rig_stop(&g));
}

TEST(a_body_that_was_not_asked_for_ends_the_connection)
{
    struct h1_rig g;

    PLAY(&g,
         "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    CHECK(wire_has(&g.client, "HTTP/1.1 200 OK"));
    CHECK(!wire_has(&g.client, "100 Continue"));
    CHECK(wire_has(&g.client, "connection: close"));
    CHECK(g.client.ended);
    CHECK(h1_rig_stop(&g));
}

TEST(a_body_nobody_read_is_skipped)
{
    struct h1_rig g;

    PLAY(&g, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n"
             "GET /echo HTTP/1.1\r\nHost: a\r\n"
             "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_INT(wire_count(&g.client, "HTTP/1.1 200 OK"), 2);
    CHECK_INT(g.app.requests, 2);
    CHECK(h1_rig_stop(&g));
}

TEST(a_bulk_body_is_complete_for_slow_and_fast_readers)
{
    struct h1_rig g;

    for (size_t pipe = 100; pipe < 100000; pipe *= 20) {
        h1_rig_start_with(&g, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n", pipe, -1, NULL);
        CHECK(settle(g.loop));
        const char *body = strstr(wire_text(&g.client), "\r\n\r\n");
        CHECK(body);
        CHECK_INT(strlen(body + 4), BIG_BYTES);
        for (size_t i = 0; i < BIG_BYTES; i++) {
            CHECK(body[4 + i] == big_byte(i));
        }
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_handler_that_flushes_to_a_reader_that_stops_sleeps)
{
    struct h1_rig g;

    h1_rig_start_with(&g, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", 20, -1, NULL);
    g.client.read_at_most = 1;
    CHECK(settle(g.loop));
    CHECK(!g.app.over);
    g.client.read_at_most = 0;
    task_wake(&g.client.task, WAKE_IO);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "three"));
    CHECK(h1_rig_stop(&g));
}

TEST(a_refused_head_gets_its_status_and_the_end)
{
    static const struct {
        const char *script;
        const char *status;
    } table[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
        {"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", "400 Bad Request"},
        /* not waited for */
        {"GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request"},
        {"GET / HTTP/1.1\n", "400 Bad Request"},
        {"GET / HTTP/1.1\r\nHost: a\n", "400 Bad Request"},
        {"\n", "400 Bad Request"},
        {"\rG", "400 Bad Request"},
        {"GET /\r\n", "400 Bad Request"},
        {"GET / HTTP/0.9\r\n", "505 HTTP Version Not Supported"},
        {"GET / HTTP/1.1\r\nHost: a\r\nx: \x01", "400 Bad Request"},
        {"GET / HTTP/1.1\r\nHost: a\r\n x", "400 Bad Request"},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "400 Bad Request"},
        {"<", "400 Bad Request"},
        {"\x16\x03\x01\x02", "400 Bad Request"},
        {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request"},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501 Not Implemented"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed"},
        {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed"},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417 Expectation Failed"},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", "400 Bad Request"},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "400 Bad Request"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
         "413 Payload Too Large"},
    };
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        char want[96];
        (void)snprintf(want, sizeof(want), "HTTP/1.1 %s\r\ncontent-length: 0\r\n", table[i].status);
        PLAY(&g, table[i].script);
        if (!wire_has(&g.client, want)) {
            printf("# row %u: %s\n", i, wire_text(&g.client));
        }
        CHECK(wire_has(&g.client, want));
        CHECK(g.client.ended);
        CHECK_INT(g.app.requests, 0);
        CHECK(g.app.over && g.app.result < 0);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_refused_head_is_shown_once_to_who_asks_for_it)
{
    static const struct {
        const char *script;
        unsigned status;
        const char *method, *path, *authority;
        uint32_t head_bytes;
    } table[] = {
        {"GET /x HTTP/1.1\nHost: a\n\n", 400, "GET", "/x", "", 25},
        {"<>", 400, "", "", "", 2},
        {"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "GET", "", "", 28},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "CONNECT", "a:1", "a:1", 33},
        {"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413, "POST", "/y",
         "a", 58},
    };
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        struct h1_limits limits = {.shows_refusals = true};
        h1_rig_start_with(&g, table[i].script, 4096, -1, &limits);
        CHECK(settle(g.loop));
        struct refusal *r = h1_server_refusal(g.server);
        CHECK(r != NULL);
        CHECK_INT(r->status, table[i].status);
        CHECK(slice_is(message_get(&r->in, MESSAGE_METHOD), table[i].method));
        CHECK(slice_is(message_get(&r->in, MESSAGE_PATH), table[i].path));
        CHECK(slice_is(message_get(&r->in, MESSAGE_AUTHORITY), table[i].authority));
        CHECK_INT(r->head_bytes, table[i].head_bytes);
        CHECK(r->why.text[0] != '\0');
        refusal_free(r);
        CHECK(h1_server_refusal(g.server) == NULL);
        CHECK(h1_rig_stop(&g));
        PLAY(&g, table[i].script);
        CHECK(h1_server_refusal(g.server) == NULL);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(http_1_0_is_refused_where_that_is_asked_for)
{
    struct h1_limits limits = {.refuse_http10 = true};
    struct h1_rig g;

    h1_rig_start_with(&g, "GET /echo HTTP/1.0\r\n\r\n", 4096, -1, &limits);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 426 Upgrade Required\r\n"));
    CHECK(wire_has(&g.client, "upgrade: HTTP/1.1\r\nconnection: close, upgrade\r\n"));
    CHECK(g.client.ended);
    CHECK(h1_rig_stop(&g));
}

/* An owner that takes one exchange and does what the test says. */
struct solo {
    struct loop *loop;
    struct task task;
    struct h1_server *server;
    struct exchange *x;
    struct wire client;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static bool solo_start(struct solo *g, const char *script, const struct h1_limits *limits)
{
    struct stream *ends[2];

    *g = (struct solo){.loop = loop_new(NULL)};
    loop_stop_clock(g->loop);
    mempipe_pair(ends, 4096, NULL);
    task_init(&g->task, g->loop, "solo", nothing);
    g->server = h1_server_new(g->loop, ends[1], limits, &g->task);
    wire_start(&g->client, g->loop, ends[0], script, strlen(script));
    return settle(g->loop) && h1_server_next(g->server, &g->x) == 1;
}

static bool solo_stop(struct solo *g)
{
    exchange_close(g->x, 0);
    h1_server_free(g->server);
    task_fini(&g->task);
    (void)settle(g->loop);
    wire_stop(&g->client, 0);
    (void)settle(g->loop);
    loop_advance(g->loop, 60000);
    bool settled = settle(g->loop);
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

TEST(names_with_an_underscore_are_allowed_dropped_or_refused)
{
    static const char script[] = "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\nZ: 2\r\n\r\n";
    struct h1_limits limits = {.names = H1_UNDERSCORE_ALLOW};
    struct solo g;

    CHECK(solo_start(&g, script, &limits));
    CHECK_INT(g.x->in.count, 2);
    CHECK(solo_stop(&g));
    limits.names = H1_UNDERSCORE_DROP;
    CHECK(solo_start(&g, script, &limits));
    CHECK_INT(g.x->in.count, 1);
    CHECK_INT(message_find_next(&g.x->in, "z", 0), 0);
    CHECK(solo_stop(&g));
    limits.names = H1_UNDERSCORE_REJECT;
    CHECK(!solo_start(&g, script, &limits));
    CHECK(wire_has(&g.client, "HTTP/1.1 400 "));
    CHECK(solo_stop(&g));
}

TEST(interim_responses_come_before_the_final_one)
{
    AUTO(message) struct message m = {.status = 103};
    struct solo g;

    CHECK(solo_start(&g, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL));
    message_puts(&m, "link", "x");
    for (int i = 0; i < EXCHANGE_INTERIM_MAX; i++) {
        CHECK_INT(exchange_send(g.x, &m), 0);
    }
    CHECK_INT(exchange_send(g.x, &m), -ERR_LIMIT);
    message_clear(&m);
    m.status = 101;
    CHECK_INT(exchange_send(g.x, &m), -EINVAL);
    m.status = 204;
    CHECK_INT(exchange_send(g.x, &m), 0);
    CHECK_INT(exchange_send(g.x, &m), -EINVAL);
    CHECK_INT(stream_shut(&g.x->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(wire_count(&g.client, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
              EXCHANGE_INTERIM_MAX);
    CHECK(wire_has(&g.client, "\r\n\r\nHTTP/1.1 204 No Content\r\n"));
    CHECK(solo_stop(&g));
}

TEST(http_1_0_gets_no_interim_response_and_nobody_an_unexpected_100)
{
    struct solo g;

    for (int minor = 0; minor < 2; minor++) {
        AUTO(message) struct message m = {.status = 103 - 3 * (unsigned)minor};
        char script[] = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
        script[13] = (char)('0' + minor);
        CHECK(solo_start(&g, script, NULL));
        CHECK_INT(g.x->version, minor ? EXCHANGE_HTTP11 : EXCHANGE_HTTP10);
        CHECK_INT(exchange_send(g.x, &m), 0);
        m.status = 204;
        CHECK_INT(exchange_send(g.x, &m), 0);
        CHECK_INT(stream_shut(&g.x->s), 0);
        CHECK(settle(g.loop));
        CHECK_INT(wire_count(&g.client, "HTTP/1.1 "), 1);
        CHECK(solo_stop(&g));
    }
}

TEST(an_owner_that_answers_expectations_itself_is_shown_them)
{
    struct h1_limits limits = {.continue_by_owner = true};
    AUTO(message) struct message m = {.status = 100};
    struct solo g;
    char got[8];

    CHECK(solo_start(
        &g, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n",
        &limits));
    CHECK(g.x->expects_continue);
    CHECK_INT(message_find_next(&g.x->in, "expect", 0), 0);
    CHECK_INT(stream_read(&g.x->s, got, sizeof(got)), -EAGAIN);
    CHECK(settle(g.loop));
    CHECK_STR(wire_text(&g.client), "");
    CHECK_INT(exchange_send(g.x, &m), 0);
    CHECK(settle(g.loop));
    CHECK_STR(wire_text(&g.client), "HTTP/1.1 100 Continue\r\n\r\n");
    wire_send(&g.client, "hi", 2);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&g.x->s, got, sizeof(got)), 2);
    CHECK(g.x->in_over);
    m.status = 204;
    CHECK_INT(exchange_send(g.x, &m), 0);
    CHECK_INT(stream_shut(&g.x->s), 0);
    CHECK(settle(g.loop));
    CHECK(!wire_has(&g.client, "connection: close"));
    CHECK(solo_stop(&g));
}

TEST(fields_of_the_connection_never_reach_a_handler)
{
    struct solo g;

    CHECK(solo_start(&g,
                     "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-One, keep-alive\r\nx-one: 1\r\n"
                     "Connection: x-two\r\nX-TWO: 2\r\nX-Three: 3\r\nKeep-Alive: 5\r\n"
                     "Proxy-Connection: x\r\nTE: deflate;q=0.5, trailers\r\nUpgrade: h2c\r\n"
                     "HTTP2-Settings: x\r\nContent-Length: 00\r\n\r\n",
                     NULL));
    struct slice v;
    CHECK_INT(g.x->in.count, 3);
    CHECK(message_find(&g.x->in, "x-three", &v) && slice_is(v, "3"));
    CHECK(message_find(&g.x->in, "te", &v) && slice_is(v, "trailers"));
    CHECK(message_find(&g.x->in, "content-length", &v) && slice_is(v, "0"));
    CHECK_INT(message_get(&g.x->in, MESSAGE_PROTOCOL).len, 0);
    CHECK(solo_stop(&g));
}

TEST(a_websocket_is_shown_only_where_limits_allow_it)
{
    static const char script[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                                 "Upgrade: websocket\r\n\r\nearly";
    struct h1_limits limits = {.websocket = true};
    AUTO(message) struct message m = {.status = 101};
    struct solo g;
    char got[8];

    CHECK(solo_start(&g, script, NULL));
    CHECK_INT(message_get(&g.x->in, MESSAGE_PROTOCOL).len, 0);
    CHECK_INT(exchange_send(g.x, &m), -EINVAL);
    CHECK(solo_stop(&g));
    CHECK(solo_start(&g, script, &limits));
    CHECK(slice_is(message_get(&g.x->in, MESSAGE_PROTOCOL), "websocket"));
    CHECK_INT(exchange_send(g.x, &m), 0);
    CHECK_INT(stream_read(&g.x->s, got, sizeof(got)), 5);
    CHECK(memcmp(got, "early", 5) == 0);
    CHECK_INT(stream_write(&g.x->s, "down", 4), 4);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"
                              "upgrade: websocket\r\n\r\ndown"));
    CHECK(solo_stop(&g));
}

TEST(a_websocket_that_is_refused_leaves_an_ordinary_connection)
{
    /* What follows such a request is a request, whatever the client thinks it is. */
    struct h1_limits limits = {.websocket = true};
    struct h1_rig g;

    h1_rig_start_with(
        &g,
        "GET /echo?1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        "GET /echo?2 HTTP/1.1\r\nHost: a\r\n\r\n",
        4096, -1, &limits);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "GET /echo?1 "));
    CHECK(wire_has(&g.client, "GET /echo?2 "));
    CHECK(h1_rig_stop(&g));
}

TEST(a_broken_body_is_told_to_the_handler_and_ends_the_connection)
{
    static const char *const bodies[] = {"x\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n",
                                         "1\r\na\r\n0\r\nx : y\r\n\r\n"};
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(bodies); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        strbuf_printf(&b,
                      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s%s",
                      bodies[i], "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        PLAY(&g, b.p);
        CHECK_INT(g.app.failure, -ERR_SYNTAX);
        CHECK(wire_has(&g.client, "HTTP/1.1 400 "));
        CHECK(g.client.ended);
        CHECK_INT(g.app.requests, 1);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_body_cut_short_is_told_to_the_handler)
{
    struct h1_rig g;

    h1_rig_start(&g, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    g.client.shut_after = true;
    CHECK(settle(g.loop));
    CHECK_INT(g.app.failure, -ERR_TRUNCATED);
    CHECK(h1_rig_stop(&g));
}

TEST(a_watch_stays_open_and_ends_when_told)
{
    struct h1_rig g;

    PLAY(&g, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(wire_has(&g.client, "5\r\nline\n\r\n"));
    loop_advance(g.loop, 3600 * 1000);
    CHECK(settle(g.loop));
    CHECK(!g.client.ended);
    handler_finish(&g.app);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "line\n\r\n0\r\n\r\n"));
    CHECK(!g.client.ended);
    CHECK(h1_rig_stop(&g));
}

TEST(a_watch_learns_that_its_client_has_gone)
{
    struct h1_rig g;

    for (int half = 0; half < 2; half++) {
        PLAY(&g, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
        if (half) {
            CHECK_INT(stream_shut(g.client.s), 0);
        } else {
            stream_close(g.client.s, -ECONNRESET);
            g.client.s = NULL;
            task_fini(&g.client.task);
        }
        CHECK(settle(g.loop));
        CHECK_INT(g.app.failure, -ECONNRESET);
        CHECK(g.app.over);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(a_client_that_ended_its_half_still_gets_counted_answers)
{
    struct h1_rig g;

    h1_rig_start(&g,
                 "GET /echo?1 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo?2 HTTP/1.1\r\nHost: a\r\n\r\n");
    g.client.shut_after = true;
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "GET /echo?1"));
    CHECK(wire_has(&g.client, "GET /echo?2"));
    CHECK(g.client.ended);
    CHECK_INT(g.app.result, 0);
    CHECK(h1_rig_stop(&g));
}

TEST(an_incomplete_answer_cuts_the_connection)
{
    static const char *const paths[] = {"/drop", "/short", "/split"};
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        strbuf_printf(&b, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        PLAY(&g, b.p);
        CHECK(g.client.failure < 0);
        CHECK(!wire_has(&g.client, "b: c"));
        CHECK(g.app.over && g.app.result < 0);
        CHECK(h1_rig_stop(&g));
    }
}

/* What the client sent before it could know of the drain. */
static bool answers_what_comes(struct h1_rig *g, const char *request)
{
    unsigned before = wire_count(&g->client, "HTTP/1.1 200 ");

    wire_send(&g->client, request, strlen(request));
    return settle(g->loop) && wire_count(&g->client, "HTTP/1.1 200 ") == before + 1 &&
           wire_has(&g->client, "connection: close\r\n") && g->client.ended && g->app.result == 0;
}

TEST(drain_answers_the_first_request_and_the_next_one_that_are_on_their_way)
{
    struct h1_rig g;

    h1_rig_start(&g, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    h1_server_drain(g.server); /* before any of it was read */
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.client, "HTTP/1.1 200 ") && wire_has(&g.client, "connection: close\r\n"));
    CHECK(g.client.ended && g.app.result == 0);
    CHECK(h1_rig_stop(&g));
    PLAY(&g, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    h1_server_drain(g.server);
    CHECK(settle(g.loop));
    loop_advance(g.loop, 900);
    h1_server_drain(g.server); /* once more is not longer */
    CHECK(settle(g.loop) && !g.client.ended);
    CHECK(answers_what_comes(&g, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"));
    CHECK(h1_rig_stop(&g));
}

TEST(drain_ends_an_idle_connection_after_a_second)
{
    static const char *const scripts[] = {"", "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"};
    struct h1_rig g;

    for (unsigned i = 0; i < ARRAY_LEN(scripts); i++) {
        PLAY(&g, scripts[i]);
        h1_server_drain(g.server);
        loop_advance(g.loop, 900);
        h1_server_drain(g.server);
        CHECK(settle(g.loop) && !g.client.ended);
        loop_advance(g.loop, 101);
        CHECK(settle(g.loop) && g.client.ended);
        CHECK_INT(g.app.result, 0);
        CHECK(h1_rig_stop(&g));
    }
}

TEST(drain_lets_a_response_finish_that_did_not_say_it_is_the_last)
{
    struct h1_rig g;

    for (unsigned i = 0; i < 2; i++) {
        PLAY(&g, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
        h1_server_drain(g.server);
        loop_advance(g.loop, 2000);
        CHECK(settle(g.loop) && !g.client.ended);
        handler_finish(&g.app);
        CHECK(settle(g.loop) && !g.client.ended && wire_has(&g.client, "0\r\n\r\n"));
        if (i == 0) {
            CHECK(answers_what_comes(&g, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"));
        } else {
            loop_advance(g.loop, 1001);
            CHECK(settle(g.loop) && g.client.ended);
        }
        CHECK(h1_rig_stop(&g));
    }
}

TEST(what_came_before_the_second_was_over_is_answered_though_nobody_had_time_to_look)
{
    static const char get[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    struct h1_rig g;

    PLAY(&g, get);
    h1_server_drain(g.server);
    CHECK(settle(g.loop));
    wire_send(&g.client, get, strlen(get));
    loop_advance(g.loop, 1001);
    CHECK(settle(g.loop) && wire_count(&g.client, "HTTP/1.1 200 ") == 2 && g.client.ended);
    CHECK_INT(g.app.result, 0);
    CHECK(h1_rig_stop(&g));
}

/* Whether it is over within a second of the drain, or of the response that was under way. */
static bool drains_in_time(struct h1_rig *g, unsigned moment, int fail_at)
{
    static const char *const scripts[] = {"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
                                          "POST /early HTTP/1.1\r\nHost: a\r\n"
                                          "Content-Length: 5\r\n\r\nabcde",
                                          "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n",
                                          "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n"
                                          "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"};

    h1_rig_start_with(g, scripts[moment / 2], 100, fail_at, NULL);
    bool settled = moment % 2 == 0 || settle(g->loop);
    h1_server_drain(g->server);
    settled = settle(g->loop) && settled;
    handler_finish(&g->app);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 1001);
    return settle(g->loop) && settled && g->app.over;
}

TEST(drain_ends_in_time_at_any_moment_and_with_a_fault_at_any_stream_call)
{
    struct h1_rig g;
    int points = 0;

    for (unsigned moment = 0; moment < 8; moment++) {
        CHECK(drains_in_time(&g, moment, -1));
        int calls = g.fault.calls;
        CHECK(g.client.ended);
        CHECK(h1_rig_stop(&g));
        for (int at = 0; at < calls; at++, points++) {
            CHECK(drains_in_time(&g, moment, at));
            CHECK(h1_rig_stop(&g));
        }
    }
    CHECK(points > 50);
}

TEST(an_exchange_outlives_its_server_and_fails)
{
    struct h1_rig g;

    PLAY(&g, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
    g.app.next = NULL;
    h1_server_free(g.server);
    g.server = NULL;
    handler_finish(&g.app);
    CHECK(settle(g.loop));
    CHECK_INT(g.app.failure, -ERR_CANCELLED);
    CHECK(h1_rig_stop(&g));
}

static const char fault_script[] =
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n"
    "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\nConnection: close\r\n\r\nhello";

TEST(a_fault_at_any_stream_call_ends_everything)
{
    struct h1_rig g;

    h1_rig_start_with(&g, fault_script, 60, -1, NULL);
    CHECK(settle(g.loop));
    int calls = g.fault.calls;
    CHECK(h1_rig_stop(&g));
    for (int at = 0; at < calls; at++) {
        h1_rig_start_with(&g, fault_script, 60, at, NULL);
        bool settled = settle(g.loop);
        loop_advance(g.loop, 60000);
        settled = settle(g.loop) && settled;
        bool over = g.app.over;
        CHECK(h1_rig_stop(&g));
        CHECK(settled);
        CHECK(over);
    }
    printf("# %d fault points\n", calls);
}

TEST(short_memory_at_any_point_ends_the_connection_not_the_process)
{
    struct h1_rig g;

    (void)mem_fault_set(-1);
    h1_rig_start_with(&g, fault_script, 60, -1, NULL);
    CHECK(settle(g.loop));
    unsigned tries = mem_fault_set(-1);
    CHECK(h1_rig_stop(&g));
    CHECK(tries > 10);
    for (unsigned at = 0; at < tries; at++) {
        (void)mem_fault_set((int)at);
        h1_rig_start_with(&g, fault_script, 60, -1, NULL);
        bool settled = settle(g.loop);
        (void)mem_fault_set(-1);
        loop_advance(g.loop, 60000);
        settled = settle(g.loop) && settled;
        CHECK(h1_rig_stop(&g));
        CHECK(settled);
    }
    printf("# %u allocations failed\n", tries);
}
