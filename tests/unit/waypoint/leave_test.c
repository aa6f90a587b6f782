/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of a service that goes to another waypoint, and of a waypoint that ends: they are sent away, and no
 * request is lost at whatever moment it comes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/listener.h"
#include "io/sock.h"
#include "rig.h"
#include "t.h"
#include "tcp_pair.h"
#include "waypoint/doors.h"

enum { MOMENTS = 12 /* turns from a client's first octet to past its answer */, GRACE_MS = 1000 };

#define GET     "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
#define IS_LAST "connection: close\r\n"

static void leave(struct rig *r)
{
    rig_leave(r);
}

static void end(struct rig *r)
{
    engine_drain(r->engine);
}

static void turns(struct rig *r, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rig_turn(r);
    }
}

/* Whether one request was answered, and the connection has ended behind it or does so after the grace. */
static bool answered_and_over(struct rig *r, int fd)
{
    const char *got = rig_hear(r, fd, "bbbbb");
    bool answered = strstr(got, "HTTP/1.1 200 ") && strstr(got, "bbbbb");
    bool said = strstr(got, IS_LAST);

    if (!said) {
        loop_advance(r->loop, GRACE_MS + 1);
    }
    return answered && *rig_hear(r, fd, NULL) == '\0';
}

typedef void change_fn(struct rig *r);

/* The client speaks, and `moment` turns later it happens. */
static bool is_answered(change_fn *change, unsigned moment, bool undecided)
{
    struct rig r = {.undecided = undecided};

    rig_start(&r);
    int fd = rig_dial(&r);
    turns(&r, 3); /* the connection is there */
    rig_say(fd, GET);
    turns(&r, moment);
    change(&r);
    bool good = answered_and_over(&r, fd);
    (void)close(fd);
    rig_end(&r);
    return good;
}

/* It happens, and then the client says its first or its next words. */
static bool is_answered_after(change_fn *change, bool first)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = rig_dial(&r);
    turns(&r, 3);
    if (!first) {
        rig_say(fd, GET);
        (void)rig_hear(&r, fd, "bbbbb");
    }
    change(&r);
    turns(&r, 3);
    loop_advance(r.loop, GRACE_MS / 2);
    rig_say(fd, GET);
    const char *got = rig_hear(&r, fd, NULL);
    bool good = strstr(got, "HTTP/1.1 200 ") && strstr(got, IS_LAST);
    (void)close(fd);
    rig_end(&r);
    return good;
}

TEST(a_request_that_comes_while_its_service_leaves_is_answered)
{
    for (unsigned moment = 0; moment < MOMENTS; moment++) {
        CHECK(is_answered(leave, moment, false));
        CHECK(is_answered(leave, moment, true));
    }
    CHECK(is_answered_after(leave, true));
    CHECK(is_answered_after(leave, false));
}

TEST(a_request_that_comes_while_the_waypoint_ends_is_answered)
{
    for (unsigned moment = 0; moment < MOMENTS; moment++) {
        CHECK(is_answered(end, moment, false));
        CHECK(is_answered(end, moment, true));
    }
    CHECK(is_answered_after(end, true));
    CHECK(is_answered_after(end, false));
}

TEST(who_says_nothing_is_gone_a_second_after_the_waypoint_began_to_end)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = rig_dial(&r);
    turns(&r, 3);
    end(&r);
    turns(&r, 3);
    CHECK_INT(r.engine->entry_count, 1);
    loop_advance(r.loop, GRACE_MS + 1);
    turns(&r, 3);
    CHECK_INT(r.engine->entry_count, 0);
    (void)close(fd);
    rig_end(&r);
}

/* What was on its way through the tunnel when the others were told. */
TEST(who_comes_while_the_waypoint_ends_has_a_second_too)
{
    for (int speaks = 0; speaks < 2; speaks++) {
        struct rig r = {.seen = NULL};
        rig_start(&r);
        end(&r);
        turns(&r, 3);
        int fd = rig_dial(&r);
        turns(&r, 3);
        CHECK_INT(r.engine->entry_count, 1);
        if (speaks) {
            rig_say(fd, GET);
            CHECK(strstr(rig_hear(&r, fd, NULL), IS_LAST));
        }
        loop_advance(r.loop, GRACE_MS + 1);
        turns(&r, 3);
        CHECK_INT(r.engine->entry_count, 0);
        (void)close(fd);
        rig_end(&r);
    }
}

/* It drains once it is served; a certificate that does not come has its own time. */
TEST(a_tunnel_that_waits_for_the_certificate_is_not_cut_when_the_waypoint_ends)
{
    enum { CREDENTIAL_WAIT_MS = 10000 };
    struct rig r = {.seen = NULL};
    struct endpoint peer = {.ip = {.family = IP_NONE}};
    int fds[2];

    rig_start(&r);
    tcp_pair_fds(fds);
    engine_take(r.engine, fds[1], &peer, NULL);
    turns(&r, 3);
    end(&r);
    turns(&r, 3);
    CHECK(!list_is_empty(&r.engine->inlets));
    loop_advance(r.loop, CREDENTIAL_WAIT_MS);
    turns(&r, 3);
    CHECK(list_is_empty(&r.engine->inlets));
    (void)close(fds[0]);
    rig_end(&r);
}

/* A connection that is kept is not cut at once: what it asks meanwhile is judged by what holds then. */
TEST(the_second_that_a_connection_to_a_guarded_pod_has_lets_nothing_through)
{
    enum { LOOK_MS = 200 };
    struct rig r = {.seen = NULL};

    rig_start(&r);
    r.door.to = r.at;
    int fd = rig_dial(&r);
    rig_say(fd, GET);
    CHECK(strstr(rig_hear(&r, fd, "bbbbb"), " 200 "));
    rig_guard(&r, "shop");
    turns(&r, 3);
    loop_advance(r.loop, LOOK_MS + 1);
    turns(&r, 3);
    CHECK_INT(r.engine->entry_count, 1);
    loop_advance(r.loop, GRACE_MS / 2);
    rig_say(fd, GET GET); /* the second one behind a response that says close */
    const char *got = rig_hear(&r, fd, NULL);
    CHECK(strstr(got, "HTTP/1.1 403 ") == got && strstr(got, IS_LAST));
    CHECK(!strstr(got + 1, "HTTP/1.1 "));
    CHECK_INT(r.engine->entry_count, 0);
    (void)close(fd);
    rig_end(&r);
}

/* All that comes, to the end. */
static size_t drink(int fd, int *out_end)
{
    char some[4096];
    size_t got = 0;
    ssize_t n = 0;

    while ((n = recv(fd, some, sizeof(some), 0)) > 0) {
        got += (size_t)n;
    }
    *out_end = n < 0 ? -errno : 0;
    return got;
}

/* The process ends when the last connection has, while its client still reads: more was sent than a
 * client's kernel takes for it. */
TEST(the_last_response_outlives_the_waypoint)
{
    struct rig r = {.seen = NULL};
    int much = 1 << 20; /* or what the kernel allows: some times the response */
    int little = 20000;
    int end_of_it = 0;
    int fds[2];

    rig_start(&r);
    struct endpoint peer = {.ip = r.at.ip, .port = 1};
    tcp_pair_fds(fds);
    CHECK_INT(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &much, sizeof(much)), 0);
    CHECK_INT(setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
    engine_take(r.engine, fds[1], &peer, &r.door);
    turns(&r, 3);
    rig_say(fds[0], "GET /L HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    for (unsigned i = 0; i < RIG_TURNS_MAX && r.engine->entry_count == 0; i++) {
        rig_turn(&r);
    }
    for (unsigned i = 0; i < RIG_TURNS_MAX && r.engine->entry_count > 0; i++) {
        rig_turn(&r);
    }
    CHECK_INT(r.engine->entry_count, 0);
    turns(&r, 3);
    rig_end(&r);
    CHECK_INT(fcntl(fds[0], F_SETFL, 0), 0);
    CHECK(drink(fds[0], &end_of_it) > RIG_BODY);
    CHECK_INT(end_of_it, 0);
    (void)close(fds[0]);
}

TEST(who_waits_at_a_door_that_closes_is_let_in)
{
    struct rig r = {.seen = NULL};
    struct doors doors = {.count = 0};
    struct sockaddr_storage ss;
    struct diag why = {0};
    struct endpoint at;

    rig_start(&r);
    struct config config = r.config;
    config.plain_count = 0;
    config.hbone_port = 0; /* any */
    config.common.workers = 1;
    CHECK_INT(doors_open(&doors, r.loop, &config, &r.engine, &why), 0);
    turns(&r, 3);
    int door = listener_fd(doors.door[0].listener);
    CHECK_INT(sock_local(door, &at), 0);
    at.ip = r.at.ip;
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    (void)connect(fd, (struct sockaddr *)&ss, endpoint_to_sockaddr(&at, &ss)); /* in progress */
    struct pollfd there = {.fd = door, .events = POLLIN};
    CHECK_INT(poll(&there, 1, 30000), 1);
    doors_take_waiting(&doors);
    doors_close(&doors);
    CHECK_INT(atomic_load(&r.engine->load), 1);
    turns(&r, 3);
    CHECK(!list_is_empty(&r.engine->inlets));
    (void)close(fd);
    rig_end(&r);
}

/* Nobody is told that there is no such service while it is elsewhere: the connection ends, and the next
 * request goes there. */
TEST(a_connection_ends_with_its_response_once_its_service_is_bound_here_no_more)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int fd = rig_dial(&r);
    int idle = rig_dial(&r);
    int silent = rig_dial(&r);
    rig_say(idle, GET);
    CHECK(strstr(rig_hear(&r, idle, "bbbbb"), "HTTP/1.1 200 "));
    rig_say(fd, "GET /S HTTP/1.1\r\nhost: a\r\n\r\n");
    CHECK(strstr(rig_hear(&r, fd, "piece"), "HTTP/1.1 200 "));
    leave(&r);
    turns(&r, 3);
    loop_advance(r.loop, GRACE_MS / 2);
    turns(&r, 3);
    CHECK_INT(r.engine->entry_count, 3);
    rig_unbind(&r, true);
    turns(&r, 3);
    CHECK_INT(r.engine->entry_count, 1);
    CHECK(*rig_hear(&r, idle, NULL) == '\0' && *rig_hear(&r, silent, NULL) == '\0');
    CHECK_INT(stream_shut(&r.streams[0]->s), 0);
    CHECK(strstr(rig_hear(&r, fd, "\r\n0\r\n\r\n"), "0\r\n"));
    rig_say(fd, GET);
    CHECK(*rig_hear(&r, fd, NULL) == '\0');
    CHECK_INT(r.engine->entry_count, 0);
    (void)close(fd);
    (void)close(idle);
    (void)close(silent);
    rig_end(&r);
}
