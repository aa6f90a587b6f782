/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One engine with a client in the clear and an application on the same loop: a request and its answer
 * while each allocation fails once, and with either end leaving at every moment. Whatever happens, the
 * client gets a whole answer or a cut connection, nothing is left behind, and the next request works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "t.h"

enum { TURNS_MAX = 4000, SETTLE_TURNS = 50 };

/* The status of a whole response; 0: the connection was cut; -1: neither within the turns. */
static int hear(struct rig *r, int fd, unsigned turns)
{
    static char got[RIG_BODY + 4096];
    size_t len = 0;

    for (unsigned i = 0; i < turns; i++) {
        rig_turn(r);
        ssize_t n = recv(fd, got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return 0;
        }
        len += n > 0 ? (size_t)n : 0;
        got[len] = '\0';
        char *end = strstr(got, "\r\n\r\n");
        char *length = end ? strstr(got, "content-length: ") : NULL;
        if (end && length && len >= (size_t)(end + 4 - got) + strtoul(length + 16, NULL, 10)) {
            return (int)strtol(got + 9, NULL, 10);
        }
    }
    return -1;
}

static bool is_quiet(struct rig *r)
{
    struct upstreams_count u = upstreams_count(r->engine->upstreams);

    return r->engine->entry_count == 0 && u.waiting == 0 && atomic_load(&r->engine->load) == 0;
}

/* What was closed arrives when the kernel gets to it. */
static void settle(struct rig *r)
{
    for (int i = 0; i < TURNS_MAX && !is_quiet(r); i++) {
        rig_turn(r);
    }
    for (int i = 0; i < SETTLE_TURNS; i++) {
        (void)loop_turn(r->loop, 0);
    }
}

static const char *const requests[] = {
    "GET /short HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET /longL HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: forged\r\n\r\n",
    "POST /short HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    ("POST /x/../longL HTTP/1.1\r\nhost: a\r\ntransfer-encoding: "
     "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
};

static bool works(struct rig *r, const char *request)
{
    int fd = rig_dial(r);

    rig_say(fd, request);
    int status = hear(r, fd, TURNS_MAX);
    (void)close(fd);
    settle(r);
    return status == 200;
}

TEST(requests_of_every_kind_are_answered)
{
    struct rig r;

    rig_start(&r);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        bool good = works(&r, requests[i]) && is_quiet(&r);
        if (!good) {
            rig_end(&r);
        }
        CHECK(good);
    }
    rig_end(&r);
}

/* 0: the fault was met and borne; 1: there are no more allocations to fail; -1: it was not borne. */
static int with_fault(struct rig *r, const char *request, int nth)
{
    int fd = rig_dial(r);

    (void)mem_fault_set(-1);
    rig_say(fd, request);
    (void)mem_fault_set(nth);
    int status = hear(r, fd, TURNS_MAX);
    unsigned calls = mem_fault_set(-1);
    (void)close(fd);
    settle(r);
    if (status < 0 || (status > 0 && (status < 200 || status > 599)) || !is_quiet(r) ||
        !works(r, requests[0])) {
        printf("# allocation %d of %u: status %d\n", nth, calls, status);
        return -1;
    }
    return (unsigned)nth >= calls ? 1 : 0;
}

TEST(each_allocation_may_fail_once)
{
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct rig r;
        int result = 0;
        int nth = 0;
        rig_start(&r);
        for (; result == 0 && nth < 500; nth++) {
            result = with_fault(&r, requests[i], nth);
        }
        rig_end(&r);
        CHECK_INT(result, 1);
        CHECK(nth > 3); /* something was there to fail */
    }
}

static void reset(int fd)
{
    struct linger l = {.l_onoff = 1};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    (void)close(fd);
}

TEST(a_client_may_leave_after_any_turn)
{
    struct rig r;
    bool good = true;

    rig_start(&r);
    for (size_t i = 0; good && i < ARRAY_LEN(requests); i++) {
        for (int turns = 0; good && turns < 24; turns++) {
            int fd = rig_dial(&r);
            rig_say(fd, requests[i]);
            for (int k = 0; k < turns; k++) {
                (void)loop_turn(r.loop, 0);
            }
            if (turns % 2) {
                reset(fd);
            } else {
                (void)close(fd);
            }
            settle(&r);
            good = is_quiet(&r) && works(&r, requests[0]);
            if (!good) {
                printf("# request %zu, %d turns\n", i, turns);
            }
        }
    }
    rig_end(&r);
    CHECK(good);
}

TEST(the_application_may_go_after_any_turn)
{
    for (int turns = 0; turns < 24; turns++) {
        struct rig r;
        rig_start(&r);
        int fd = rig_dial(&r);
        rig_say(fd, requests[1]);
        for (int k = 0; k < turns; k++) {
            (void)loop_turn(r.loop, 0);
        }
        http_server_free(r.server);
        r.server = NULL;
        loop_end_orphans(r.loop);
        int status = hear(&r, fd, TURNS_MAX);
        (void)close(fd);
        settle(&r);
        bool good =
            is_quiet(&r) && (status == 200 || status == 503 || status == 502 || status == 0);
        rig_end(&r);
        if (!good) {
            printf("# %d turns: %d\n", turns, status);
        }
        CHECK(good);
    }
}
