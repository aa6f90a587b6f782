/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_client.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "caller.h"
#include "mempipe.h"
#include "t.h"
#include "wire.h"

/* Our client before a server that is a script. */
struct rig {
    struct loop *loop;
    struct wire server;
    struct h1_client *client;
    struct caller call;
    struct mempipe_fault fault;
};

static void rig_start_with(struct rig *g, const char *script, size_t pipe, int fail_at,
                           const struct h1_limits *limits)
{
    struct stream *ends[2];

    *g = (struct rig){.fault = {.countdown = fail_at, .code = -EIO}};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    mempipe_pair(ends, pipe, &g->fault);
    g->client = h1_client_new(g->loop, ends[1], limits, NULL);
    wire_start(&g->server, g->loop, ends[0], "", 0);
    g->server.script = script;
}

static void rig_start_over(struct rig *g, const char *script, size_t pipe, bool lending)
{
    struct stream *ends[2];

    *g = (struct rig){.loop = loop_new(NULL)};
    loop_stop_clock(g->loop);
    (lending ? mempipe_pair_lending : mempipe_pair)(ends, pipe, NULL);
    g->client = h1_client_new(g->loop, ends[1], NULL, NULL);
    wire_start(&g->server, g->loop, ends[0], "", 0);
    g->server.script = script;
}

static void rig_start(struct rig *g, const char *script)
{
    rig_start_with(g, script, 4096, -1, NULL);
}

static bool rig_stop(struct rig *g)
{
    caller_stop(&g->call, -ERR_CANCELLED);
    h1_client_free(g->client);
    bool settled = settle(g->loop);
    if (g->server.s) {
        wire_stop(&g->server, 0);
    }
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000); /* whatever lingers gives up */
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

static void ask_with(struct rig *g, const struct message *head, const char *body)
{
    struct exchange *x = h1_client_request(g->client, head, body == NULL);

    caller_start(&g->call, g->loop, x, body, body ? strlen(body) : 0);
}

static void ask(struct rig *g, const char *method, const char *path, const char *body)
{
    AUTO(message) struct message head = {0};

    message_request(&head, method, "http", "a.example:80", path);
    ask_with(g, &head, body);
}

/* The request leaves, then the whole script comes, and the server's end if it is to. */
static bool answer_and(struct rig *g, bool shut)
{
    bool settled = settle(g->loop);
    const char *script = g->server.script;

    g->server.shut_after = shut;
    wire_send(&g->server, script, strlen(script));
    return settle(g->loop) && settled;
}

static bool answer(struct rig *g)
{
    return answer_and(g, false);
}

static bool has_field(struct exchange *x, const char *name, const char *value)
{
    struct slice v;

    return message_find(&x->in, name, &v) && slice_is(v, value);
}

TEST(a_request_is_written_plainly_and_its_response_read)
{
    struct rig g;

    rig_start(&g, "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc");
    CHECK_INT(h1_client_state(g.client), 0);
    ask(&g, "GET", "/x?y", NULL);
    CHECK_INT(h1_client_state(g.client), -EAGAIN);
    CHECK(settle(g.loop));
    CHECK_STR(wire_text(&g.server), "GET /x?y HTTP/1.1\r\nhost: a.example:80\r\n\r\n");
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    CHECK_INT(g.call.x->in.status, 200);
    CHECK(has_field(g.call.x, "x-a", "b"));
    CHECK(caller_got(&g.call, "abc"));
    CHECK(g.call.x->in_over);
    caller_stop(&g.call, 0);
    CHECK_INT(h1_client_state(g.client), 0);
    CHECK(rig_stop(&g));
}

TEST(a_body_is_counted_or_chunked_as_the_head_says)
{
    struct rig g;
    AUTO(message) struct message head = {0};
    AUTO(message) struct message trailers = {0};

    rig_start(&g, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    ask(&g, "POST", "/", "hello");
    CHECK(settle(g.loop));
    CHECK_STR(wire_text(&g.server), "POST / HTTP/1.1\r\nhost: a.example:80\r\n"
                                    "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    caller_stop(&g.call, 0);
    message_request(&head, "PUT", "http", "a", "/");
    message_puts(&head, "content-length", "5");
    ask_with(&g, &head, "world");
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.server, "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nworld"));
    CHECK(g.call.x->reused);
    CHECK(answer(&g));
    caller_stop(&g.call, 0);
    ask(&g, "POST", "/none", NULL);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.server,
                   "POST /none HTTP/1.1\r\nhost: a.example:80\r\ncontent-length: 0\r\n\r\n"));
    CHECK(rig_stop(&g));
}

/* What the server says, and what comes of it. */
struct row {
    const char *response;
    int result; /* 1: complete */
    unsigned status;
    const char *body;
    bool stays; /* the connection is good for another request */
    const char *method;
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct row rows[] = {
    /* framing (RFC 9112 6.3) */
    {OK "Content-Length: 2\r\n\r\nab", 1, 200, "ab", true, "GET"},
    {OK "Content-Length: 0\r\n\r\n", 1, 200, "", true, "GET"},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 1, 200, "ab", true, "GET"},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx: y\r\n\r\n", 1, 200, "ab", true,
     "GET"},
    {OK "\r\nab", 1, 200, "ab", false, "GET"},
    {OK "Connection: close\r\nContent-Length: 2\r\n\r\nab", 1, 200, "ab", false, "GET"},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", 1, 200, "ab", false, "GET"},
    {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 1, 200, "", true, "GET"},
    {OK "Content-Length: 5\r\n\r\n", 1, 200, "", true, "HEAD"},
    {OK "Transfer-Encoding: chunked\r\n\r\n", 1, 200, "", true, "HEAD"},
    {OK "\r\n", 1, 200, "", true, "HEAD"},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 1, 204, "", true, "GET"},
    {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 1, 204, "", true, "GET"},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 1, 304, "", true, "GET"},
    {"HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\na", 1, 200, "a", true, "GET"},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK "Content-Length: 1\r\n\r\na", 1, 200, "a",
     true, "GET"},
    /* two readings */
    {OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", -ERR_SYNTAX},
    {OK "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", -ERR_SYNTAX},
    {OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\n", -ERR_SYNTAX},
    {OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\n", -ERR_SYNTAX},
    {OK "Content-Length: 2, 2\r\n\r\n", -ERR_SYNTAX},
    {OK "Content-Length: +2\r\n\r\n", -ERR_SYNTAX},
    {OK "Content-Length: 9223372036854775808\r\n\r\n", -ERR_SYNTAX},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", -ERR_UNSUPPORTED},
    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", -ERR_SYNTAX},
    {OK "Transfer-Encoding: identity\r\n\r\n", -ERR_UNSUPPORTED},
    {OK "Transfer-Encoding : chunked\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -ERR_SYNTAX},
    /* lines */
    {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.1 20 OK\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.1 2000 OK\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.1 099 OK\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.1 600 OK\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.1  200 OK\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.2 200 OK\r\n\r\n", -ERR_VERSION},
    {"HTTP/2.0 200 OK\r\n\r\n", -ERR_VERSION},
    {"http/1.1 200 OK\r\n\r\n", -ERR_SYNTAX},
    {"ICY 200 OK\r\n\r\n", -ERR_SYNTAX},
    {"\r\n" OK "\r\n", -ERR_SYNTAX},
    {OK "x: a\r\n b\r\n\r\n", -ERR_SYNTAX},
    {OK "x: a\rb\r\n\r\n", -ERR_SYNTAX},
    {OK "x: a\nb: c\r\n\r\n", -ERR_SYNTAX},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", -ERR_SYNTAX},
    {OK ": a\r\n\r\n", -ERR_SYNTAX},
    {OK "x y: a\r\n\r\n", -ERR_SYNTAX},
    /* bodies */
    {OK "Content-Length: 5\r\n\r\nab", -ERR_TRUNCATED},
    {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nab", -ERR_TRUNCATED},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", -ERR_TRUNCATED},
    {OK "Transfer-Encoding: chunked\r\n\r\n2 \r\nab\r\n0\r\n\r\n", -ERR_SYNTAX},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n", -ERR_SYNTAX},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", -ERR_SYNTAX},
    {OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx : y\r\n\r\n", -ERR_SYNTAX},
    /* ends and protocols */
    {"", -ECONNRESET},
    {"HTTP/1.1 200 OK\r\nContent-Le", -ERR_TRUNCATED},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Accept: x\r\n\r\n",
     -ERR_SYNTAX},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
     -ERR_SYNTAX},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", -ERR_SYNTAX},
};

static bool check_row(const struct row *row, size_t piece)
{
    struct rig g;

    rig_start(&g, row->response);
    ask(&g, row->method ? row->method : "GET", "/", NULL);
    bool fine = settle(g.loop);
    g.server.piece = piece;
    /* The ends of bodies without one, and of what is cut short, come with the connection's. */
    fine = answer_and(&g, !row->stays) && fine && g.call.result == row->result;
    if (fine && row->result == 1) {
        fine = g.call.x->in.status == row->status && caller_got(&g.call, row->body);
    }
    caller_stop(&g.call, 0);
    fine = fine && settle(g.loop) && (h1_client_state(g.client) == 0) == row->stays;
    return rig_stop(&g) && fine;
}

TEST(every_response_of_the_table_is_read_one_way_or_is_an_error)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t piece = 0; piece < 4; piece += 1 + piece) {
            if (!check_row(&rows[i], piece)) {
                printf("# row %u, in pieces of %zu: %s\n", i, piece, rows[i].response);
                CHECK(false);
            }
        }
    }
}

TEST(a_server_that_speaks_something_else_is_not_waited_for)
{
    static const char *const greetings[] = {
        "SSH-2.0-x\r\n",           "220 mail ready\r\n",        "J\1\2",
        "HTTP/1.1 200 OK\nx: y\n", "HTTP/1.1 200 OK\r\nx: y\n", "HTTP/1.1 200 OK\r\nx: \1"};

    for (unsigned i = 0; i < ARRAY_LEN(greetings); i++) {
        struct rig g;
        rig_start(&g, greetings[i]);
        ask(&g, "GET", "/", NULL);
        CHECK(answer(&g));
        CHECK_INT(g.call.result, -ERR_SYNTAX);
        CHECK(rig_stop(&g));
    }
}

TEST(fields_of_the_connection_do_not_reach_the_caller)
{
    struct rig g;

    rig_start(&g, OK "Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nX-Open: 2\r\n"
                     "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n"
                     "Content-Length: 003\r\n\r\nabc");
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    CHECK_INT(g.call.x->in.count, 2);
    CHECK(has_field(g.call.x, "x-open", "2"));
    CHECK(has_field(g.call.x, "content-length", "3"));
    CHECK(rig_stop(&g));
}

TEST(a_response_that_nominates_its_framing_is_an_error)
{
    struct rig g;

    rig_start(&g, OK "Connection: content-length\r\nContent-Length: 1\r\n\r\na");
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, -ERR_SYNTAX);
    CHECK(rig_stop(&g));
}

TEST(trailers_arrive_without_those_that_must_not)
{
    struct rig g;

    rig_start(&g, OK "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\n"
                     "Content-Length: 7\r\nHost: b\r\nSet-Cookie: c\r\n\r\n");
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    CHECK_INT(g.call.x->in_trailers.count, 1);
    CHECK_INT(message_find_next(&g.call.x->in_trailers, "grpc-status", 0), 0);
    CHECK(rig_stop(&g));
}

TEST(interim_responses_are_shown_to_who_wants_them)
{
    static const char script[] = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
                                 "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 0\r\n\r\n";
    AUTO(message) struct message head = {0};
    struct rig g;

    rig_start(&g, script);
    message_request(&head, "GET", "http", "a", "/");
    struct exchange *x = h1_client_request(g.client, &head, true);
    x->wants_interim = true;
    CHECK_INT(exchange_head(x), -EAGAIN);
    CHECK(answer(&g));
    CHECK_INT(exchange_head(x), 1);
    CHECK_INT(x->in.status, 103);
    CHECK(has_field(x, "link", "a"));
    CHECK_INT(exchange_head(x), 1);
    CHECK_INT(x->in.status, 100);
    CHECK_INT(x->in.count, 0);
    CHECK_INT(exchange_head(x), 0);
    CHECK_INT(x->in.status, 200);
    exchange_close(x, 0);
    CHECK_INT(h1_client_state(g.client), 0);
    CHECK(rig_stop(&g));
}

TEST(interim_responses_without_end_are_an_error)
{
    AUTO(strbuf) struct strbuf b = {0};
    struct rig g;

    for (int i = 0; i < EXCHANGE_INTERIM_MAX + 1; i++) {
        strbuf_puts(&b, "HTTP/1.1 103 Early Hints\r\n\r\n");
    }
    strbuf_puts(&b, OK "Content-Length: 0\r\n\r\n");
    rig_start(&g, b.p);
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, -ERR_LIMIT);
    caller_stop(&g.call, 0);
    strbuf_clear(&b);
    CHECK(rig_stop(&g));
}

TEST(how_far_a_request_came_is_known_when_it_fails)
{
    static const struct {
        const char *script;
        int fail_at; /* of the client's stream calls */
        enum exchange_reach reach;
    } table[] = {
        {"", 1, EXCHANGE_UNSENT}, /* 0 is the look whether the server is still there */
        {"", -1, EXCHANGE_SENT},
        {"H", -1, EXCHANGE_ANSWERING},
    };
    struct rig g;

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        rig_start_with(&g, table[i].script, 4096, table[i].fail_at, NULL);
        CHECK(settle(g.loop));
        ask(&g, "GET", "/", NULL);
        CHECK(answer_and(&g, true));
        CHECK(g.call.result < 0);
        if (g.call.x->reach != table[i].reach) {
            printf("# row %u\n", i);
        }
        CHECK_INT(g.call.x->reach, table[i].reach);
        CHECK(!g.call.x->reused);
        CHECK(rig_stop(&g));
    }
}

TEST(a_kept_connection_that_the_server_closed_says_so)
{
    struct rig g;

    rig_start(&g, OK "Content-Length: 0\r\n\r\n");
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    caller_stop(&g.call, 0);
    CHECK_INT(h1_client_state(g.client), 0);
    /* The request and the server's end cross. */
    ask(&g, "GET", "/", NULL);
    CHECK_INT(stream_shut(g.server.s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, -ECONNRESET);
    CHECK(g.call.x->reused);
    CHECK_INT(g.call.x->reach, EXCHANGE_SENT);
    CHECK(rig_stop(&g));
}

TEST(an_idle_connection_notices_its_end_and_unasked_bytes)
{
    struct rig g;

    rig_start(&g, "");
    CHECK(settle(g.loop));
    CHECK_INT(stream_shut(g.server.s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(h1_client_state(g.client), -ECONNRESET);
    CHECK(rig_stop(&g));
    rig_start(&g, OK "Content-Length: 0\r\n\r\n" OK "Content-Length: 0\r\n\r\n");
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    caller_stop(&g.call, 0);
    CHECK(settle(g.loop));
    CHECK_INT(h1_client_state(g.client), -ERR_SYNTAX);
    CHECK(rig_stop(&g));
}

TEST(octets_behind_a_response_are_not_the_next_one)
{
    struct rig g;

    rig_start(&g, OK "Content-Length: 0\r\n\r\n" OK "Content-Length: 4\r\n\r\nevil");
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    caller_stop(&g.call, 0);
    CHECK_INT(h1_client_state(g.client), -ERR_SYNTAX); /* at once: nobody gets to ask again */
    ask(&g, "GET", "/", NULL);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, -ERR_SYNTAX);
    CHECK(rig_stop(&g));
}

TEST(an_early_answer_is_heard_though_the_server_reads_no_more)
{
    AUTO(strbuf) struct strbuf body = {0};
    struct rig g;

    for (int i = 0; i < 100000; i++) {
        strbuf_putc(&body, 'x');
    }
    for (int lending = 0; lending < 2;
         lending++) { /* with it, bodies are written past our buffer */
        rig_start_over(&g, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno", 4096,
                       lending);
        g.server.read_at_most = 10;
        ask(&g, "POST", "/", body.p);
        CHECK(answer(&g));
        wire_stop(&g.server, 0);
        CHECK(settle(g.loop));
        CHECK_INT(g.call.result, 1);
        CHECK_INT(g.call.x->in.status, 413);
        CHECK(caller_got(&g.call, "no"));
        caller_stop(&g.call, 0);
        CHECK(h1_client_state(g.client) < 0 && h1_client_state(g.client) != -EAGAIN);
        CHECK(rig_stop(&g));
    }
}

TEST(a_server_that_closes_in_the_middle_of_the_request_is_an_error)
{
    AUTO(strbuf) struct strbuf body = {0};
    struct rig g;

    for (int i = 0; i < 100000; i++) {
        strbuf_putc(&body, 'x');
    }
    for (int lending = 0; lending < 2; lending++) {
        rig_start_over(&g, "", 4096, lending);
        g.server.read_at_most = 10;
        ask(&g, "POST", "/", body.p);
        CHECK(settle(g.loop));
        wire_stop(&g.server, 0);
        CHECK(settle(g.loop));
        CHECK(g.call.result < 0);
        CHECK_INT(g.call.x->reach, EXCHANGE_SENT);
        CHECK(rig_stop(&g));
    }
}

TEST(a_silent_websocket_is_left_alone)
{
    struct h1_limits limits = {.body_stall_ms = 1000, .idle_ms = 1000};
    AUTO(message) struct message head = {0};
    struct rig g;
    char got[16];

    rig_start_with(&g,
                   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                   "Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
                   4096, -1, &limits);
    message_request(&head, "GET", "http", "a", "/chat");
    message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
    struct exchange *x = h1_client_request(g.client, &head, true);
    CHECK(answer(&g));
    CHECK_INT(exchange_head(x), 0);
    CHECK_INT(stream_read(&x->s, got, sizeof(got)), -EAGAIN);
    loop_advance(g.loop, 3600 * 1000);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&x->s, got, sizeof(got)), -EAGAIN);
    wire_send(&g.server, "late", 4);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&x->s, got, sizeof(got)), 4);
    exchange_close(x, -ERR_CANCELLED);
    CHECK(rig_stop(&g));
}

TEST(what_cannot_be_sent_is_refused_and_the_connection_stays)
{
    static const struct {
        const char *method, *authority, *path, *name, *value;
    } table[] = {
        {"GET", "a", "/", "x", "a\r\nb: c"},
        {"GET", "a", "/", "x", "a\nb"},
        {"GET", "a", "/", "x\r\n", "a"},
        {"GET", "a", "/", "x y", "a"},
        {"GET", "a", "/", "", "a"},
        {"GET", "a", "/", "connection", "x"},
        {"GET", "a", "/", "transfer-encoding", "chunked"},
        {"GET", "a", "/", "host", "b"},
        {"GET", "a", "/", "x", " edged"},
        {"GET ", "a", "/", NULL, NULL},
        {"GET / HTTP/1.1\r\n\r\nGET", "a", "/", NULL, NULL},
        {"CONNECT", "a:1", "/", NULL, NULL},
        {"GET", "a", "/ HTTP/1.1\r\nx: y", NULL, NULL},
        {"GET", "a", "/#f", NULL, NULL},
        {"GET", "a", "x", NULL, NULL},
        {"GET", "a", "", NULL, NULL},
        {"GET", "a", "*", NULL, NULL},
        {"GET", "a\r\nx: y", "/", NULL, NULL},
        {"GET", "u@a", "/", NULL, NULL},
        {"GET", "", "/", NULL, NULL},
        {"POST", "a", "/", "content-length", "x"},
        {"POST", "a", "/", "content-length", "5"}, /* and no body */
    };
    struct rig g;

    rig_start(&g, "");
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        AUTO(message) struct message head = {0};
        message_request(&head, table[i].method, "http", table[i].authority, table[i].path);
        if (table[i].name) {
            message_puts(&head, table[i].name, table[i].value);
        }
        ask_with(&g, &head, NULL);
        CHECK(settle(g.loop));
        if (g.call.result != -ERR_SYNTAX) {
            printf("# row %u\n", i);
        }
        CHECK_INT(g.call.result, -ERR_SYNTAX);
        CHECK_INT(g.call.x->reach, EXCHANGE_UNSENT);
        caller_stop(&g.call, 0);
        CHECK_INT(h1_client_state(g.client), 0);
    }
    CHECK_STR(wire_text(&g.server), "");
    CHECK(rig_stop(&g));
}

TEST(a_second_request_at_once_is_refused)
{
    AUTO(message) struct message head = {0};
    struct rig g;

    rig_start(&g, OK "Content-Length: 0\r\n\r\n");
    ask(&g, "GET", "/", NULL);
    message_request(&head, "GET", "http", "a", "/");
    struct exchange *x = h1_client_request(g.client, &head, true);
    CHECK_INT(exchange_head(x), -ERR_LIMIT);
    exchange_close(x, 0);
    CHECK(answer(&g));
    CHECK_INT(g.call.result, 1);
    CHECK(rig_stop(&g));
}

TEST(limits_on_the_response_head_are_kept)
{
    struct h1_limits limits = {
        .line_bytes = 100, .head_bytes = 600, .fields = 3, .value_bytes = 200};
    struct strbuf b[4] = {{0}, {0}, {0}, {0}};
    struct rig g;

    for (int i = 0; i < 4; i++) {
        strbuf_puts(&b[i], i == 0 ? "HTTP/1.1 200 " : OK "a: ");
        for (int n = 0; n < 250; n++) {
            strbuf_puts(&b[i], i == 3 ? "xxx" : i == 2 && n < 4 ? "1\r\nx: " : "x");
        }
        strbuf_puts(&b[i], "\r\n\r\n");
        rig_start_with(&g, b[i].p, 4096, -1, &limits);
        ask(&g, "GET", "/", NULL);
        CHECK(answer(&g));
        CHECK_INT(g.call.result, -ERR_TOO_LARGE);
        CHECK(rig_stop(&g));
        strbuf_fini(&b[i]);
    }
}

TEST(each_wait_for_the_server_has_its_deadline)
{
    struct h1_limits limits = {.idle_ms = 5000, .body_stall_ms = 7000};
    struct rig g;

    rig_start_with(&g, "HTTP/1.1 200 OK\r\n", 4096, -1, &limits);
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    loop_advance(g.loop, 9900);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, 0);
    loop_advance(g.loop, 200);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, -ERR_DEADLINE);
    CHECK(rig_stop(&g));
    rig_start_with(&g, OK "Content-Length: 5\r\n\r\nab", 4096, -1, &limits);
    ask(&g, "GET", "/", NULL);
    CHECK(answer(&g));
    loop_advance(g.loop, 6900);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, 0);
    loop_advance(g.loop, 200);
    CHECK(settle(g.loop));
    CHECK_INT(g.call.result, -ERR_DEADLINE);
    CHECK(rig_stop(&g));
    rig_start_with(&g, "", 4096, -1, &limits);
    loop_advance(g.loop, 5100);
    CHECK(settle(g.loop));
    CHECK_INT(h1_client_state(g.client), -ECONNRESET);
    CHECK(rig_stop(&g));
}

TEST(a_websocket_is_bytes_both_ways_after_101)
{
    AUTO(message) struct message head = {0};
    struct rig g;
    char got[16];

    rig_start(&g, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: WebSocket\r\nSec-WebSocket-Accept: x\r\n\r\nfrom server");
    message_request(&head, "GET", "http", "a", "/chat");
    message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
    message_puts(&head, "sec-websocket-key", "k");
    struct exchange *x = h1_client_request(g.client, &head, true);
    CHECK_INT(exchange_head(x), -EAGAIN);
    CHECK(settle(g.loop));
    CHECK_STR(wire_text(&g.server), "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-key: k\r\n"
                                    "upgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    CHECK(answer(&g));
    CHECK_INT(exchange_head(x), 0);
    CHECK_INT(x->in.status, 101);
    CHECK_INT(stream_read(&x->s, got, sizeof(got)), 11);
    CHECK(memcmp(got, "from server", 11) == 0);
    CHECK_INT(stream_write(&x->s, "from client", 11), 11);
    CHECK(settle(g.loop));
    CHECK(wire_has(&g.server, "\r\n\r\nfrom client"));
    CHECK_INT(stream_shut(&x->s), 0);
    CHECK(settle(g.loop));
    CHECK(g.server.ended);
    CHECK_INT(stream_shut(g.server.s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&x->s, got, sizeof(got)), 0);
    exchange_close(x, 0);
    CHECK_INT(h1_client_state(g.client), -ECONNRESET);
    CHECK(rig_stop(&g));
}

TEST(a_101_that_is_not_for_us_is_an_error)
{
    static const char *const scripts[] = {
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: x\r\n\r\n",
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    };
    struct rig g;

    for (unsigned i = 0; i < ARRAY_LEN(scripts); i++) {
        AUTO(message) struct message head = {0};
        rig_start(&g, scripts[i]);
        message_request(&head, "GET", "http", "a", "/chat");
        message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
        ask_with(&g, &head, NULL);
        CHECK(answer(&g));
        CHECK_INT(g.call.result, -ERR_SYNTAX);
        CHECK(rig_stop(&g));
    }
}
