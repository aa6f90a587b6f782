/* SPDX-License-Identifier: Apache-2.0 */
/* What one request over HTTP/2 can be beside question and answer: interim responses, expectations,
 * WebSocket, and how far it had come when it failed. Our client and our server, back to back. */
#include <string.h>

#include "caller.h"
#include "http/h2_session.h"
#include "mempipe.h"
#include "stream_battery.h"
#include "t.h"
#include "wire.h"

struct rig {
    struct loop *loop;
    struct task task;
    struct h2_session *client;
    struct h2_session *server;
    struct exchange *ask;
    struct exchange *got; /* NULL: the server has not been handed it */
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void rig_start(struct rig *g, const struct h2_options *server)
{
    struct stream *ends[2];

    *g = (struct rig){.loop = loop_new(NULL)};
    loop_stop_clock(g->loop);
    mempipe_pair(ends, 40000, NULL);
    task_init(&g->task, g->loop, "rig", nothing);
    g->client = h2_client_new(g->loop, ends[0], NULL, &g->task);
    g->server = h2_server_new(g->loop, ends[1], server, &g->task);
}

/* False: it did not reach the server's owner. */
static bool ask(struct rig *g, const struct message *head, bool end)
{
    g->ask = h2_session_request(g->client, head, end);
    g->ask->wants_interim = true;
    return settle(g->loop) && h2_session_next(g->server, &g->got) == 1;
}

static bool ask_plainly(struct rig *g, const char *name, const char *value, bool end)
{
    AUTO(message) struct message head = {0};

    message_request(&head, "POST", "http", "a", "/");
    if (name) {
        message_puts(&head, name, value);
    }
    return ask(g, &head, end);
}

static int say(struct rig *g, unsigned status, const char *name)
{
    AUTO(message) struct message head = {.status = status};

    if (name) {
        message_puts(&head, name, "x");
    }
    int r = exchange_send(g->got, &head);
    (void)settle(g->loop);
    return r;
}

static bool rig_stop(struct rig *g)
{
    exchange_close(g->ask, 0);
    exchange_close(g->got, 0);
    bool settled = settle(g->loop);
    h2_session_free(g->client);
    h2_session_free(g->server);
    task_fini(&g->task);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000);
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

TEST(interim_responses_are_shown_in_order_before_the_final_one)
{
    struct rig g;

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, NULL, NULL, true));
    CHECK_INT(exchange_head(g.ask), -EAGAIN);
    CHECK_INT(say(&g, 103, "link"), 0);
    CHECK_INT(say(&g, 102, NULL), 0);
    CHECK_INT(say(&g, 204, "x-last"), 0);
    CHECK_INT(stream_shut(&g.got->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), 1);
    CHECK_INT(g.ask->in.status, 103);
    CHECK_INT(message_find_next(&g.ask->in, "link", 0), 0);
    CHECK_INT(exchange_head(g.ask), 1);
    CHECK_INT(g.ask->in.status, 102);
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->in.status, 204);
    CHECK_INT(message_find_next(&g.ask->in, "x-last", 0), 0);
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->reach, EXCHANGE_ANSWERING);
    CHECK(rig_stop(&g));
}

TEST(who_does_not_want_interim_responses_does_not_see_them)
{
    struct rig g;

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, NULL, NULL, true));
    g.ask->wants_interim = false;
    CHECK_INT(say(&g, 103, "link"), 0);
    CHECK_INT(exchange_head(g.ask), -EAGAIN);
    CHECK_INT(say(&g, 204, NULL), 0);
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->in.status, 204);
    CHECK_INT(message_find_next(&g.ask->in, "link", 0), -1);
    CHECK(rig_stop(&g));
}

static void let_go(struct rig *g)
{
    exchange_close(g->ask, 0);
    exchange_close(g->got, 0);
    g->ask = NULL;
    g->got = NULL;
    (void)settle(g->loop);
}

TEST(memory_of_an_exchange_serves_the_next_which_is_like_new)
{
    AUTO(message) struct message trailers = {0};
    struct rig g;
    char octets[8];

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, "x-mine", "1", false));
    CHECK_INT(stream_write(&g.ask->s, "unread", 6), 6);
    CHECK_INT(say(&g, 200, "x-first"), 0);
    message_puts(&trailers, "x-sum", "1");
    CHECK_INT(stream_write(&g.got->s, "body", 4), 4);
    CHECK_INT(exchange_finish(g.got, &trailers), 0);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), 0);
    const struct exchange *asked = g.ask;
    const struct exchange *got = g.got;
    let_go(&g);
    CHECK(ask_plainly(&g, NULL, NULL, true));
    CHECK(g.ask == asked && g.got == got);
    CHECK_INT(g.got->in.count, 0);
    CHECK_INT(stream_read(&g.got->s, octets, sizeof(octets)), 0);
    CHECK_INT(exchange_head(g.ask), -EAGAIN);
    CHECK_INT(g.ask->reach, EXCHANGE_SENT);
    CHECK_INT(say(&g, 204, NULL), 0);
    CHECK_INT(stream_shut(&g.got->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->in.count, 0);
    CHECK_INT(stream_read(&g.ask->s, octets, sizeof(octets)), 0);
    CHECK_INT(g.ask->in_trailers.count, 0);
    CHECK(rig_stop(&g));
}

/* ---- changes of protocol, asked for by us */

static bool ask_for_websocket(struct rig *g)
{
    AUTO(message) struct message head = {0};

    message_request(&head, "GET", "http", "a", "/chat");
    message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
    message_puts(&head, "sec-websocket-key", "k");
    message_puts(&head, "sec-websocket-version", "13");
    return ask(g, &head, true);
}

TEST(a_client_changes_the_protocol_where_the_server_offers_it)
{
    static const struct h2_options offers = {.websocket = true};
    struct rig g;
    char octets[8];

    rig_start(&g, &offers);
    CHECK_INT(h2_session_upgrades(g.client), -EAGAIN); /* SETTINGS are on their way */
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_upgrades(g.client), 0);
    CHECK(ask_for_websocket(&g));
    CHECK(message_is_method(&g.got->in, "GET"));
    CHECK(slice_is(message_get(&g.got->in, MESSAGE_PROTOCOL), "websocket"));
    CHECK_INT(message_find_next(&g.got->in, "sec-websocket-key", 0), -1);
    CHECK_INT(say(&g, 101, "sec-websocket-protocol"), 0);
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->in.status, 101);
    CHECK_INT(stream_write(&g.ask->s, "to", 2), 2);
    CHECK_INT(stream_write(&g.got->s, "from", 4), 4);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&g.got->s, octets, sizeof(octets)), 2);
    CHECK_INT(stream_read(&g.ask->s, octets, sizeof(octets)), 4);
    CHECK_INT(stream_shut(&g.ask->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&g.got->s, octets, sizeof(octets)), 0);
    CHECK_INT(stream_shut(&g.got->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&g.ask->s, octets, sizeof(octets)), 0);
    CHECK(rig_stop(&g));
}

TEST(a_server_may_refuse_to_change_the_protocol)
{
    static const struct h2_options offers = {.websocket = true};
    struct rig g;
    char octets[8];

    rig_start(&g, &offers);
    CHECK(settle(g.loop));
    CHECK(ask_for_websocket(&g));
    CHECK_INT(say(&g, 403, NULL), 0);
    CHECK_INT(stream_write(&g.got->s, "no", 2), 2);
    CHECK_INT(stream_shut(&g.got->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->in.status, 403);
    CHECK_INT(stream_read(&g.ask->s, octets, sizeof(octets)), 2);
    CHECK_INT(stream_read(&g.ask->s, octets, sizeof(octets)), 0);
    CHECK_INT(stream_read(&g.got->s, octets, sizeof(octets)), 0); /* our half has ended, too */
    CHECK(rig_stop(&g));
}

TEST(a_protocol_that_is_not_offered_is_not_asked_for)
{
    struct rig g;

    rig_start(&g, NULL);
    CHECK(settle(g.loop));
    CHECK_INT(h2_session_upgrades(g.client), -ERR_UNSUPPORTED);
    CHECK(!ask_for_websocket(&g));
    CHECK_INT(exchange_head(g.ask), -ERR_UNSUPPORTED);
    CHECK_INT(g.ask->reach, EXCHANGE_UNSENT);
    CHECK(rig_stop(&g));
}

TEST(interim_responses_have_an_end)
{
    struct rig g;

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, NULL, NULL, true));
    for (int i = 0; i < EXCHANGE_INTERIM_MAX; i++) {
        CHECK_INT(say(&g, 103, NULL), 0);
    }
    CHECK_INT(say(&g, 103, NULL), -ERR_LIMIT);
    CHECK_INT(say(&g, 101, NULL), -EINVAL);
    CHECK_INT(say(&g, 204, NULL), 0);
    CHECK(rig_stop(&g));
}

TEST(reading_gives_the_permission_that_a_client_waits_for)
{
    struct rig g;
    char got[8];

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, "expect", "100-continue", false));
    CHECK(g.got->expects_continue);
    CHECK_INT(message_find_next(&g.got->in, "expect", 0), -1);
    CHECK_INT(exchange_head(g.ask), -EAGAIN);
    CHECK_INT(stream_read(&g.got->s, got, sizeof(got)), -EAGAIN);
    CHECK_INT(stream_read(&g.got->s, got, sizeof(got)), -EAGAIN);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), 1);
    CHECK_INT(g.ask->in.status, 100);
    CHECK_INT(exchange_head(g.ask), -EAGAIN); /* once */
    CHECK_INT(stream_write(&g.ask->s, "hi", 2), 2);
    CHECK(settle(g.loop));
    CHECK_INT(stream_read(&g.got->s, got, sizeof(got)), 2);
    CHECK(rig_stop(&g));
}

TEST(an_owner_that_gives_it_itself_is_shown_the_expectation)
{
    struct rig g;
    char got[8];

    rig_start(&g, &(struct h2_options){.continue_by_owner = true});
    CHECK(ask_plainly(&g, "expect", "100-continue", false));
    CHECK(g.got->expects_continue);
    CHECK_INT(message_find_next(&g.got->in, "expect", 0), 0);
    CHECK_INT(stream_read(&g.got->s, got, sizeof(got)), -EAGAIN);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), -EAGAIN);
    CHECK_INT(say(&g, 100, NULL), 0);
    CHECK_INT(exchange_head(g.ask), 1);
    CHECK_INT(say(&g, 100, NULL), 0); /* nobody waits for it any more: not sent */
    CHECK_INT(exchange_head(g.ask), -EAGAIN);
    CHECK(rig_stop(&g));
}

TEST(nothing_is_expected_before_a_body_of_no_length)
{
    AUTO(message) struct message head = {0};
    struct rig g;

    rig_start(&g, &(struct h2_options){.continue_by_owner = true});
    message_request(&head, "POST", "http", "a", "/");
    message_puts(&head, "content-length", "0");
    message_puts(&head, "expect", "100-continue");
    CHECK(ask(&g, &head, false));
    CHECK(!g.got->expects_continue);
    CHECK_INT(message_find_next(&g.got->in, "expect", 0), -1);
    CHECK(rig_stop(&g));
}

TEST(that_there_is_no_body_is_known_with_the_head)
{
    struct rig g;
    char got[8];

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, NULL, NULL, true));
    CHECK(g.got->in_over);
    CHECK_INT(g.got->version, EXCHANGE_HTTP2);
    CHECK(rig_stop(&g));
    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, NULL, NULL, false));
    CHECK(!g.got->in_over);
    CHECK_INT(stream_write(&g.ask->s, "hi", 2), 2);
    CHECK_INT(stream_shut(&g.ask->s), 0);
    CHECK(settle(g.loop));
    CHECK(!g.got->in_over);
    CHECK_INT(stream_read(&g.got->s, got, sizeof(got)), 2);
    CHECK(g.got->in_over);
    CHECK(rig_stop(&g));
}

TEST(a_field_that_was_the_connections_is_dropped)
{
    struct rig g;

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, "http2-settings", "AAMAAABk", true));
    CHECK_INT(message_find_next(&g.got->in, "http2-settings", 0), -1);
    CHECK_INT(say(&g, 204, "http2-settings"), 0);
    CHECK_INT(stream_shut(&g.got->s), 0);
    CHECK(settle(g.loop));
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(message_find_next(&g.ask->in, "http2-settings", 0), -1);
    CHECK(rig_stop(&g));
}

TEST(names_with_an_underscore_are_allowed_dropped_or_refused)
{
    struct h2_options o = {.names = H1_UNDERSCORE_ALLOW};
    struct rig g;

    rig_start(&g, &o);
    CHECK(ask_plainly(&g, "x_y", "z", true));
    CHECK_INT(g.got->in.count, 1);
    CHECK(rig_stop(&g));
    o.names = H1_UNDERSCORE_DROP;
    rig_start(&g, &o);
    CHECK(ask_plainly(&g, "x_y", "z", true));
    CHECK_INT(g.got->in.count, 0);
    CHECK(rig_stop(&g));
    o.names = H1_UNDERSCORE_REJECT;
    rig_start(&g, &o);
    CHECK(!ask_plainly(&g, "x_y", "z", true));
    CHECK_INT(exchange_head(g.ask), 0);
    CHECK_INT(g.ask->in.status, 400);
    CHECK(rig_stop(&g));
}

/* How the server's owner sees what it was not handed. */
static bool is_refused(struct rig *g, unsigned status, const char *path)
{
    AUTO(refusal) struct refusal *r = h2_session_refusal(g->server);

    return r && r->status == status && r->version == EXCHANGE_HTTP2 &&
           slice_is(message_get(&r->in, MESSAGE_PATH), path) && r->head_bytes > 0 &&
           !h2_session_refusal(g->server);
}

TEST(a_refused_request_is_shown_to_who_asks_for_it)
{
    static const struct {
        const char *method, *path, *name, *value;
        unsigned status;
    } table[] = {{"TRACE", "/t", NULL, NULL, 405},
                 {"GET", "/h", "host", "other", 400},
                 {"GET", "/e", "expect", "tea", 417},
                 /* nghttp2 resets it: there is no response */
                 {"GET", "/c", "content-length", "x", 0}};
    struct h2_options options = {.shows_refusals = true};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (int asked = 0; asked < 2; asked++) {
            AUTO(message) struct message head = {0};
            struct rig g;
            options.shows_refusals = asked;
            rig_start(&g, &options);
            message_request(&head, table[i].method, "http", "a", table[i].path);
            if (table[i].name) {
                message_puts(&head, table[i].name, table[i].value);
            }
            CHECK(!ask(&g, &head, true));
            CHECK(is_refused(&g, table[i].status, table[i].path) == asked);
            CHECK(rig_stop(&g));
        }
    }
}

TEST(a_request_that_was_not_processed_says_so)
{
    AUTO(message) struct message head = {0};
    struct rig g;

    rig_start(&g, NULL);
    CHECK(ask_plainly(&g, NULL, NULL, true));
    CHECK_INT(g.ask->reach, EXCHANGE_SENT);
    /* Cut without a word: who knows. */
    exchange_close(g.got, -ERR_UNAVAILABLE);
    g.got = NULL;
    CHECK(settle(g.loop));
    CHECK(exchange_head(g.ask) < 0);
    CHECK_INT(g.ask->reach, EXCHANGE_SENT);
    CHECK(rig_stop(&g));
    /* Refused for want of streams: nobody has seen it. */
    rig_start(&g, &(struct h2_options){.streams_max = 1});
    message_request(&head, "GET", "http", "a", "/");
    g.ask = h2_session_request(g.client, &head, true);
    struct exchange *second = h2_session_request(g.client, &head, true); /* before SETTINGS came */
    CHECK(settle(g.loop));
    CHECK(exchange_head(second) < 0 && exchange_head(second) != -EAGAIN);
    CHECK_INT(second->reach, EXCHANGE_UNSENT);
    exchange_close(second, 0);
    CHECK(rig_stop(&g));
}

/* Extended CONNECT, made by hand: our client has no use for it. */

struct raw {
    struct loop *loop;
    struct task task;
    struct h2_session *server;
    struct exchange *x;
    struct wire peer;
};

#define FRAME(len, type, flags, id) "\0\0" len type flags "\0\0\0" id

/* :method CONNECT, :protocol websocket, :scheme http, :path /c, :authority a */
#define WEBSOCKET_BLOCK                                                                            \
    "\x02\x07"                                                                                     \
    "CONNECT"                                                                                      \
    "\x00\x09:protocol\x09websocket"                                                               \
    "\x86\x04\x02/c\x41\x01"                                                                       \
    "a"

static bool raw_start(struct raw *g, bool offered, const char *script, size_t len)
{
    const struct h2_options o = {.websocket = offered};
    struct stream *ends[2];

    *g = (struct raw){.loop = loop_new(NULL)};
    loop_stop_clock(g->loop);
    mempipe_pair(ends, 40000, NULL);
    task_init(&g->task, g->loop, "raw", nothing);
    g->server = h2_server_new(g->loop, ends[1], &o, &g->task);
    wire_start(&g->peer, g->loop, ends[0], script, len);
    return settle(g->loop) && h2_session_next(g->server, &g->x) == 1;
}

static bool raw_stop(struct raw *g)
{
    exchange_close(g->x, 0);
    bool settled = settle(g->loop);
    h2_session_free(g->server);
    task_fini(&g->task);
    wire_stop(&g->peer, 0);
    settled = settle(g->loop) && settled;
    loop_advance(g->loop, 60000);
    settled = settle(g->loop) && settled;
    loop_free(g->loop);
    return settled && mempipe_live() == 0;
}

static const char websocket_script[] =
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" FRAME("\0", "\4", "\0", "\0") FRAME("\x26", "\1", "\4", "\1")
        WEBSOCKET_BLOCK FRAME("\5", "\0", "\0", "\1") "hello";

static int raw_say(struct raw *g, unsigned status)
{
    AUTO(message) struct message m = {.status = status};

    message_puts(&m, "sec-websocket-accept", "x");
    int r = exchange_send(g->x, &m);
    (void)settle(g->loop);
    return r;
}

TEST(a_websocket_reads_as_in_http_1_1)
{
    struct raw g;
    char got[8];

    CHECK(raw_start(&g, true, websocket_script, sizeof(websocket_script) - 1));
    CHECK(message_is_method(&g.x->in, "GET"));
    CHECK(slice_is(message_get(&g.x->in, MESSAGE_PROTOCOL), "websocket"));
    CHECK(slice_is(message_get(&g.x->in, MESSAGE_PATH), "/c"));
    CHECK_INT(raw_say(&g, 101), 0);
    CHECK_INT(stream_read(&g.x->s, got, sizeof(got)), 5);
    CHECK_INT(stream_write(&g.x->s, "world", 5), 5);
    CHECK(settle(g.loop));
    /* :status 200 from the static table, and no sec-websocket-accept: one octet of head block. */
    CHECK(memmem(bytes_peek(&g.peer.got), g.peer.got.len, "\0\0\1\1\4\0\0\0\1\x88", 10) != NULL);
    CHECK(memmem(bytes_peek(&g.peer.got), g.peer.got.len, "world", 5) != NULL);
    CHECK(raw_stop(&g));
}

TEST(a_websocket_that_is_not_agreed_to_must_not_look_so)
{
    struct raw g;

    CHECK(raw_start(&g, true, websocket_script, sizeof(websocket_script) - 1));
    CHECK_INT(raw_say(&g, 200), -ERR_HTTP_STATUS);
    CHECK_INT(raw_say(&g, 403), 0);
    CHECK(raw_stop(&g));
}

TEST(a_websocket_that_was_not_offered_is_no_request)
{
    struct raw g;

    CHECK(!raw_start(&g, false, websocket_script, sizeof(websocket_script) - 1));
    CHECK(raw_stop(&g));
}
