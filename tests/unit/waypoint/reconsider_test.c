/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are under way when policies change: who would not be let in now ends, all others go on. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/tcp_stream.h"
#include "rig.h"
#include "t.h"
#include "waypoint/request_int.h"

enum { LONG = 4000 /* turns for what has to happen */ };

#define BY_P2 "\"details\":\"rbac_access_denied_matched_policy[ns[shop]-policy[p2]-rule[0]]\""

/* What was published is in force, and everybody was looked at. */
static void settle(struct rig *r)
{
    do {
        (void)loop_turn(r->loop, 0);
    } while (r->engine->unjudged > 0);
}

static void deny(struct rig *r, const char *path)
{
    rig_put_policy(r, "p2", L7_DENY, false, path);
    settle(r);
}

/* The application's end of the stream that was asked for with that path. */
static struct stream *app_stream(struct rig *r, const char *path)
{
    for (unsigned i = 0; i < r->stream_count; i++) {
        if (slice_is(message_get(&r->streams[i]->in, MESSAGE_PATH), path)) {
            return &r->streams[i]->s;
        }
    }
    exit(2);
}

static void send_piece(struct rig *r, const char *path, const char *piece)
{
    struct stream *s = app_stream(r, path);
    size_t len = strlen(piece);

    if (stream_write(s, piece, len) != (ssize_t)len) {
        exit(2);
    }
    int flushed = stream_flush(s);
    if (flushed < 0 && flushed != -EAGAIN) {
        exit(2);
    }
}

/* What the application sees of the end of that stream. */
static int app_end(struct rig *r, const char *path)
{
    struct stream *s = app_stream(r, path);
    ssize_t n = -EAGAIN;
    char room[64];

    for (unsigned i = 0; i < LONG && (n == -EAGAIN || n > 0); i++) {
        rig_turn(r);
        n = stream_write(s, "x", 1);
        n = n > 0 ? stream_flush(s) : n;
        n = n >= 0 || n == -EAGAIN ? stream_read(s, room, sizeof(room)) : n;
        n = n == 0 ? -EAGAIN : n; /* of a request without a body */
    }
    return (int)n;
}

/* The only client's only request. */
static struct request *the_request(struct rig *r)
{
    struct entry *e = container_of(r->engine->entries.next, struct entry, in_engine);
    struct session *s = container_of(e, struct session, entry);

    return container_of(s->requests.next, struct request, in_session);
}

static unsigned running(struct rig *r)
{
    unsigned n = 0;

    list_for_each (e, &r->engine->entries) {
        struct session *s =
            container_of(container_of(e, struct entry, in_engine), struct session, entry);
        list_for_each (q, &s->requests) {
            n++;
        }
    }
    return n;
}

static bool counts_cuts(struct rig *r, long long wanted)
{
    loop_advance(r->loop, 2000); /* an engine says every other second what it has counted */
    for (unsigned i = 0; i < LONG && RIG_METRIC(r, "wp_policy_cuts_total", "") < wanted; i++) {
        rig_turn(r);
    }
    return RIG_METRIC(r, "wp_policy_cuts_total", "") == wanted;
}

static bool has_ended(struct rig *r, int fd)
{
    char octet;

    for (unsigned i = 0; i < LONG; i++) {
        rig_turn(r);
        ssize_t n = recv(fd, &octet, 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return true;
        }
    }
    return false;
}

static int begin(struct rig *r, const char *request)
{
    int fd = rig_dial(r);

    rig_say(fd, request);
    return fd;
}

#define WS(path)                                                                                   \
    "GET " path " HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n"            \
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

TEST(a_response_that_has_begun_is_cut)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = begin(&r, "GET /events/S HTTP/1.1\r\nhost: a\r\n\r\n");
    int other = begin(&r, "GET /else/S HTTP/1.1\r\nhost: a\r\n\r\n");
    CHECK(strstr(rig_hear(&r, fd, "piece"), " 200 "));
    CHECK(strstr(rig_hear(&r, other, "piece"), " 200 "));
    deny(&r, "/events*");
    CHECK(!strstr(rig_hear(&r, fd, NULL), "0\r\n\r\n"));
    CHECK(has_ended(&r, fd));
    CHECK(app_end(&r, "/events/S") < 0);
    send_piece(&r, "/else/S", "more");
    CHECK(strstr(rig_hear(&r, other, "more"), "more"));
    CHECK(rig_has_recent(&r, BY_P2) &&
          rig_has_recent(&r, "\"flags\":\"DENY\",\"method\":\"GET\",\"path\":\"/events/S\""));
    CHECK_INT(
        RIG_METRIC(&r, "istio_requests_total", "response_code=\"200\"", "response_flags=\"DENY\""),
        1);
    CHECK(counts_cuts(&r, 1));
    (void)close(fd);
    (void)close(other);
    rig_end(&r);
}

TEST(a_request_without_an_answer_yet_gets_the_refusal)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = begin(&r, "POST /slow/H HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello");
    for (unsigned i = 0; i < LONG && !r.held; i++) {
        rig_turn(&r);
    }
    deny(&r, "/slow*");
    const char *got = rig_hear(&r, fd, "denied");
    CHECK(strstr(got, "HTTP/1.1 403 ") && strstr(got, "RBAC: access denied"));
    CHECK(rig_has_recent(&r, BY_P2));
    CHECK(counts_cuts(&r, 1));
    (void)close(fd);
    rig_end(&r);
}

TEST(a_websocket_is_cut_both_ways)
{
    for (int h2 = 0; h2 < 2; h2++) {
        struct rig r = {.h2 = h2 == 1};
        rig_start(&r);
        int fd = begin(&r, WS("/chat"));
        CHECK(strstr(rig_hear(&r, fd, "piece"), " 101 "));
        rig_say(fd, "from the client");
        rig_put_policy(&r, "else", L7_DENY, false, "/else*");
        settle(&r);
        send_piece(&r, "/chat", "more");
        CHECK(strstr(rig_hear(&r, fd, "more"), "more"));
        deny(&r, "/chat*");
        CHECK(has_ended(&r, fd));
        CHECK(app_end(&r, "/chat") < 0);
        CHECK(rig_has_recent(&r, BY_P2));
        CHECK(rig_has_recent(&r, "\"flags\":\"DENY\",\"method\":\"GET\",\"path\":\"/chat\""));
        CHECK(counts_cuts(&r, 1));
        (void)close(fd);
        rig_end(&r);
    }
}

/* ---- clients of HTTP/2 */

struct client {
    struct task task;
    struct h2_session *session;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void client_open(struct client *c, struct rig *r)
{
    task_init(&c->task, r->loop, "client", nothing);
    c->session = h2_client_new(r->loop, tcp_stream_new(r->loop, rig_dial(r)), NULL, &c->task);
}

static void client_close(struct client *c)
{
    h2_session_free(c->session);
    task_fini(&c->task);
}

static int await_head(struct rig *r, struct exchange *x)
{
    int got = exchange_head(x);

    for (unsigned i = 0; i < LONG && got == -EAGAIN; i++) {
        rig_turn(r);
        got = exchange_head(x);
    }
    return got;
}

static struct exchange *ask(struct client *c, const char *method, const char *path,
                            const char *type)
{
    AUTO(message) struct message head = {.status = 0};

    message_request(&head, method, "http", "a", path);
    if (type) {
        message_puts(&head, "content-type", type);
        message_puts(&head, "te", "trailers");
    }
    struct exchange *x = h2_session_request(c->session, &head, true);
    stream_own(&x->s, &c->task);
    return x;
}

static struct exchange *ask_upgrade(struct rig *r, struct client *c, const char *path)
{
    AUTO(message) struct message head = {.status = 0};

    for (unsigned i = 0; i < LONG && h2_session_upgrades(c->session) == -EAGAIN; i++) {
        rig_turn(r);
    }
    message_request(&head, "GET", "http", "a", path);
    message_set(&head, MESSAGE_PROTOCOL, slice_of("websocket"));
    message_puts(&head, "sec-websocket-version", "13");
    struct exchange *x = h2_session_request(c->session, &head, true);
    stream_own(&x->s, &c->task);
    return x;
}

/* Reads until the end, or until `until` octets are there: how it ended, -EAGAIN: it did not. */
static int drink(struct rig *r, struct exchange *x, size_t until)
{
    char room[256];
    size_t got = 0;
    ssize_t n = -EAGAIN;

    for (unsigned i = 0; i < LONG && (n == -EAGAIN || n > 0) && (until == 0 || got < until); i++) {
        rig_turn(r);
        n = stream_read(&x->s, room, sizeof(room));
        got += n > 0 ? (size_t)n : 0;
    }
    return got == until && until > 0 ? -EAGAIN : (int)n;
}

TEST(http2_streams_are_reset_and_their_neighbours_go_on)
{
    struct rig r = {.seen = NULL};
    struct client c;

    rig_start(&r);
    client_open(&c, &r);
    struct exchange *plain = ask(&c, "GET", "/x/S", NULL);
    struct exchange *other = ask(&c, "GET", "/y/S", NULL);
    CHECK_INT(await_head(&r, plain), 0);
    CHECK_INT(await_head(&r, other), 0);
    CHECK_INT(drink(&r, other, 5), -EAGAIN);
    struct exchange *chat = ask_upgrade(&r, &c, "/x/chat");
    CHECK_INT(await_head(&r, chat), 0);
    CHECK_INT(chat->in.status, 101);
    deny(&r, "/x*");
    CHECK_INT(drink(&r, plain, 0), -ERR_H2_RESET);
    CHECK_INT(plain->reset_code, 8); /* CANCEL */
    CHECK_INT(drink(&r, chat, 0), -ERR_H2_RESET);
    CHECK_INT(chat->reset_code, 8);
    send_piece(&r, "/y/S", "ab");
    CHECK_INT(drink(&r, other, 2), -EAGAIN);
    CHECK(counts_cuts(&r, 2));
    exchange_close(plain, -ERR_CANCELLED);
    exchange_close(other, -ERR_CANCELLED);
    exchange_close(chat, -ERR_CANCELLED);
    client_close(&c);
    rig_end(&r);
}

TEST(a_grpc_stream_hears_why_between_messages)
{
    struct rig r = {.h2 = true};
    struct client c;
    struct slice status = {NULL, 0};
    struct slice text = {NULL, 0};

    rig_start(&r);
    client_open(&c, &r);
    struct exchange *whole = ask(&c, "POST", "/x/whole/S", "application/grpc");
    struct exchange *half = ask(&c, "POST", "/x/half/S", "application/grpc");
    CHECK_INT(await_head(&r, whole), 0);
    CHECK_INT(await_head(&r, half), 0);
    CHECK_INT(drink(&r, whole, sizeof(RIG_MESSAGE) - 1), -EAGAIN);
    CHECK_INT(drink(&r, half, 7), -EAGAIN);
    deny(&r, "/x*");
    CHECK_INT(drink(&r, whole, 0), 0);
    CHECK(message_find(&whole->in_trailers, "grpc-status", &status) && slice_is(status, "7"));
    CHECK(message_find(&whole->in_trailers, "grpc-message", &text) &&
          slice_is(text, "RBAC: access denied"));
    CHECK_INT(drink(&r, half, 0), -ERR_H2_RESET);
    CHECK_INT(half->reset_code, 8);
    CHECK(app_end(&r, "/x/whole/S") < 0 && app_end(&r, "/x/half/S") < 0);
    CHECK(rig_has_recent(&r, BY_P2));
    CHECK_INT(RIG_METRIC(&r, "istio_requests_total", "grpc_response_status=\"7\"",
                         "response_flags=\"DENY\""),
              1);
    CHECK(counts_cuts(&r, 2));
    exchange_close(whole, -ERR_CANCELLED);
    exchange_close(half, -ERR_CANCELLED);
    client_close(&c);
    rig_end(&r);
}

/* ---- what cuts and what does not */

TEST(what_is_still_allowed_lives_on)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = begin(&r, WS("/chat"));
    CHECK(strstr(rig_hear(&r, fd, "piece"), " 101 "));
    uint64_t first = the_request(&r)->policy_generation;
    rig_put_policy(&r, "p2", L7_AUDIT, false, "/chat*");
    settle(&r);
    CHECK_INT(the_request(&r)->policy_generation, first + 1); /* it was judged */
    rig_put_policy(&r, "p3", L7_DENY, true, "/chat*");
    settle(&r);
    rig_put_policy(&r, "p4", L7_ALLOW, true, "/none*");
    settle(&r);
    rig_put_policy(&r, "p5", L7_ALLOW, false, "/chat*");
    settle(&r);
    rig_put_policy(&r, "p6", L7_DENY, false, "/none*");
    settle(&r);
    CHECK_INT(the_request(&r)->policy_generation, first + 5);
    rig_change_route(&r);
    settle(&r);
    rig_guard(&r, "shop"); /* another world */
    settle(&r);
    rig_remove_policy(&r, "p5");
    settle(&r);
    send_piece(&r, "/chat", "more");
    CHECK(strstr(rig_hear(&r, fd, "more"), "more"));
    rig_put_policy(&r, "p5", L7_ALLOW, false, "/another*"); /* let in no more, by nobody's word */
    settle(&r);
    CHECK(has_ended(&r, fd));
    CHECK(rig_has_recent(&r, "\"details\":\"rbac_access_denied_matched_policy[none]\""));
    (void)close(fd);
    rig_end(&r);
}

TEST(only_policies_have_it_judged_again)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = begin(&r, "GET /x/S HTTP/1.1\r\nhost: a\r\n\r\n");
    CHECK(strstr(rig_hear(&r, fd, "piece"), " 200 "));
    /* It would not outlive another judgement. */
    the_request(&r)->policy_generation = 0;
    the_request(&r)->view.path = slice_of("/secret");
    rig_guard(&r, "shop");
    settle(&r);
    rig_change_route(&r);
    settle(&r);
    send_piece(&r, "/x/S", "more");
    CHECK(strstr(rig_hear(&r, fd, "more"), "more"));
    rig_put_policy(&r, "p2", L7_AUDIT, false, "/none*");
    settle(&r);
    CHECK(has_ended(&r, fd));
    (void)close(fd);
    rig_end(&r);
}

/* ---- while the service is not bound */

TEST(while_its_binding_is_away_a_request_stays_as_it_was_let_in)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    rig_put_policy(&r, "p5", L7_ALLOW, false, "/x*");
    settle(&r);
    int fd = begin(&r, "GET /x/S HTTP/1.1\r\nhost: a\r\n\r\n");
    CHECK(strstr(rig_hear(&r, fd, "piece"), " 200 "));
    rig_put_own_policy(&r, "own", false, "/own*");
    settle(&r);
    rig_unbind(&r, true); /* nobody else says that it may */
    settle(&r);
    rig_put_own_policy(&r, "more", false, "/more*");
    settle(&r);
    CHECK_INT(running(&r), 1);
    send_piece(&r, "/x/S", "more");
    CHECK(strstr(rig_hear(&r, fd, "more"), "more"));
    rig_bind(&r); /* no policy changes, and none of its own is left to let it in */
    settle(&r);
    CHECK(has_ended(&r, fd));
    CHECK(rig_has_recent(&r, "\"details\":\"rbac_access_denied_matched_policy[none]\""));
    CHECK(counts_cuts(&r, 1));
    (void)close(fd);
    rig_end(&r);
}

TEST(while_its_binding_is_away_the_waypoints_own_policies_still_cut)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = begin(&r, "GET /x/S HTTP/1.1\r\nhost: a\r\n\r\n");
    CHECK(strstr(rig_hear(&r, fd, "piece"), " 200 "));
    rig_unbind(&r, true);
    settle(&r);
    rig_put_own_policy(&r, "own", true, "/x*");
    settle(&r);
    CHECK(has_ended(&r, fd));
    CHECK(rig_has_recent(&r, "policy[own]"));
    (void)close(fd);
    rig_end(&r);
}

static bool was_asked;

static void note_asked(const struct message *head)
{
    (void)head;
    was_asked = true;
}

/* It was bound when the client came; until it is known what the client speaks, it is not any more. */
TEST(what_opens_while_the_binding_goes_is_refused)
{
    static const char *const said[] = {"hello\n", "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"};

    for (unsigned i = 0; i < ARRAY_LEN(said); i++) {
        struct rig r = {.seen = note_asked, .undecided = true};
        rig_start(&r);
        was_asked = false;
        int fd = rig_dial(&r);
        for (unsigned k = 0; k < LONG && r.engine->entry_count == 0; k++) {
            rig_turn(&r);
        }
        CHECK_INT(r.engine->entry_count, 1);
        rig_unbind(&r, true);
        rig_say(fd, said[i]);
        const char *got = rig_hear(&r, fd, NULL);
        CHECK(*got == '\0' || strstr(got, "HTTP/1.1 404 "));
        CHECK(has_ended(&r, fd));
        CHECK(!was_asked);
        (void)close(fd);
        rig_end(&r);
    }
}

/* ---- at a pod that is guarded by now */

#define GUARDED "\"details\":\"policy_guards_port\""

TEST(what_runs_to_a_pod_that_is_guarded_by_now_ends_as_denied)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    r.door.to = r.at; /* the pod itself */
    int held = begin(&r, "GET /held/H HTTP/1.1\r\nhost: a\r\n\r\n");
    int stream = begin(&r, "GET /events/S HTTP/1.1\r\nhost: a\r\n\r\n");
    int chat = begin(&r, WS("/chat"));
    CHECK(strstr(rig_hear(&r, stream, "piece"), " 200 "));
    CHECK(strstr(rig_hear(&r, chat, "piece"), " 101 "));
    for (unsigned i = 0; i < LONG && !r.held; i++) {
        rig_turn(&r);
    }
    CHECK(r.held);
    rig_guard(&r, "shop");
    const char *got = rig_hear(&r, held, "denied");
    CHECK(strstr(got, "HTTP/1.1 403 ") && strstr(got, "RBAC: access denied"));
    CHECK(has_ended(&r, held) && has_ended(&r, stream) && has_ended(&r, chat));
    CHECK(rig_has_recent(&r, GUARDED));
    CHECK(rig_has_recent(&r, "\"flags\":\"DENY\",\"method\":\"GET\",\"path\":\"/events/S\""));
    CHECK(rig_has_recent(&r, "\"flags\":\"DENY\",\"method\":\"GET\",\"path\":\"/chat\""));
    CHECK_INT(
        RIG_METRIC(&r, "istio_requests_total", "response_code=\"403\"", "response_flags=\"-\""), 1);
    CHECK_INT(RIG_METRIC(&r, "istio_requests_total", "response_flags=\"DC\""), -1);
    CHECK(counts_cuts(&r, 3));
    CHECK_INT(r.engine->entry_count, 0);
    (void)close(held);
    (void)close(stream);
    (void)close(chat);
    rig_end(&r);
}

TEST(streams_to_a_pod_that_is_guarded_by_now_hear_why)
{
    struct rig r = {.seen = NULL};
    struct client c;

    rig_start(&r);
    r.door.to = r.at;
    client_open(&c, &r);
    struct exchange *held = ask(&c, "GET", "/held/H", NULL);
    struct exchange *stream = ask(&c, "GET", "/x/S", NULL);
    CHECK_INT(await_head(&r, stream), 0);
    for (unsigned i = 0; i < LONG && !r.held; i++) {
        rig_turn(&r);
    }
    rig_guard(&r, "shop");
    CHECK_INT(await_head(&r, held), 0);
    CHECK_INT(held->in.status, 403);
    CHECK_INT(drink(&r, stream, 0), -ERR_H2_RESET);
    CHECK_INT(stream->reset_code, 8);
    CHECK(counts_cuts(&r, 2));
    exchange_close(held, -ERR_CANCELLED);
    exchange_close(stream, -ERR_CANCELLED);
    client_close(&c);
    rig_end(&r);
}

/* The head has moved, and lines that are joined are joined for each judgement. */
TEST(all_that_was_asked_is_still_known)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = begin(&r, "GET /a/../chat?token=1 HTTP/1.1\r\nhost: A\r\nx-who: me\r\nx-who: you\r\n"
                       "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
                       "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    CHECK(strstr(rig_hear(&r, fd, "piece"), " 101 "));
    rig_put_header_policy(&r, "p3", "x-who", "nobody");
    settle(&r);
    send_piece(&r, "/chat?token=1", "more");
    CHECK(strstr(rig_hear(&r, fd, "more"), "more"));
    rig_put_header_policy(&r, "p3", "x-who", "me,you");
    settle(&r);
    CHECK(has_ended(&r, fd));
    CHECK(rig_has_recent(&r, "policy[p3]"));
    (void)close(fd);
    rig_end(&r);
}

/* ---- many */

enum { CLIENTS = 3, EACH = 100 };

struct crowd {
    struct client clients[CLIENTS];
    struct exchange *x[CLIENTS][EACH];
};

static bool crowd_open(struct crowd *c, struct rig *r)
{
    for (int k = 0; k < CLIENTS; k++) {
        client_open(&c->clients[k], r);
        for (int i = 0; i < EACH; i++) {
            bool last = k == CLIENTS - 1 && i == EACH - 1;
            c->x[k][i] = ask(&c->clients[k], "GET", last ? "/last/S" : "/many/S", NULL);
        }
        for (int i = 0; i < EACH; i++) {
            if (await_head(r, c->x[k][i]) != 0) {
                return false;
            }
        }
    }
    return true;
}

static void crowd_close(struct crowd *c)
{
    for (int k = 0; k < CLIENTS; k++) {
        for (int i = 0; i < EACH; i++) {
            exchange_close(c->x[k][i], -ERR_CANCELLED);
        }
        client_close(&c->clients[k]);
    }
}

TEST(many_are_judged_a_part_a_turn)
{
    static struct crowd c;
    struct rig r = {.h2 = true};

    rig_start(&r);
    CHECK(crowd_open(&c, &r));
    CHECK_INT(running(&r), CLIENTS * EACH);
    rig_put_policy(&r, "p2", L7_DENY, false, "/many*");
    (void)loop_turn(r.loop, 0);
    CHECK(r.engine->unjudged > 0);
    rig_remove_policy(&r, "p2"); /* before all had their turn: the others live on */
    settle(&r);
    for (int i = 0; i < 50; i++) {
        (void)loop_turn(r.loop, 0);
    }
    unsigned left = running(&r);
    CHECK(left >= EACH && left < CLIENTS * EACH);
    CHECK(counts_cuts(&r, CLIENTS * EACH - left));
    crowd_close(&c);
    rig_end(&r);
}

TEST(the_last_one_has_its_turn_though_policies_change_with_every_turn)
{
    static struct crowd c;
    struct rig r = {.h2 = true};

    rig_start(&r);
    CHECK(crowd_open(&c, &r));
    rig_put_policy(&r, "p2", L7_DENY, false, "/last*");
    for (int i = 0; i < 2 * CLIENTS; i++) {
        (void)loop_turn(r.loop, 0);
        rig_put_policy(&r, "p3", L7_DENY, false, i % 2 == 0 ? "/one*" : "/two*");
    }
    CHECK_INT(running(&r), CLIENTS * EACH - 1);
    CHECK_INT(r.engine->policy_cuts, 1);
    crowd_close(&c);
    rig_end(&r);
}
