/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of a service that goes to another waypoint, and of a waypoint that ends: they are sent away, and no
 * request is lost at whatever moment it comes. */
#include <string.h>
#include <unistd.h>

#include "rig.h"
#include "t.h"

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
