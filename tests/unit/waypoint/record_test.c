/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded of requests, in the pages and in the metrics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"
#include "t.h"
#include "tcp_pair.h"
#include "waypoint/request_int.h"

TEST(a_request_that_its_connection_refuses_is_recorded)
{
    static const struct {
        const char *request;
        unsigned status;
        const char *code, *flags, *method, *path, *authority, *details;
    } table[] = {
        {"GET / HTTP/1.1\nHost: x\n\n", 400, "400", "DPE", "GET", "/", "", "http1.codec_error"},
        {"\x16\x03\x01", 400, "400", "DPE", "", "", "", "http1.codec_error"},
        {"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "400", "DPE", "GET", "/a", "",
         "http1.codec_error"},
        {"GET /b HTTP/3.0\r\n", 505, "505", "DPE", "GET", "/b", "", "http1.codec_error"},
        {"GET /c HTTP/1.0\r\nHost: z\r\n\r\n", 426, "426", "-", "GET", "/c", "z", "low_version"},
        {"TRACE /d HTTP/1.1\r\nHost: z\r\n\r\n", 405, "405", "DPE", "TRACE", "/d", "z",
         "http1.codec_error"},
        {"GET /e HTTP/1.1\r\nHost: z\r\nExpect: tea\r\n\r\n", 417, "417", "DPE", "GET", "/e", "z",
         "http1.codec_error"},
    };
    struct rig r = {.seen = NULL};

    rig_start(&r);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char want[256];
        char code[64];
        char flags[64];
        int fd = rig_dial(&r);
        rig_say(fd, table[i].request);
        (void)snprintf(want, sizeof(want), "HTTP/1.1 %u ", table[i].status);
        CHECK(strncmp(rig_hear(&r, fd, NULL), want, strlen(want)) == 0);
        (void)close(fd);
        (void)snprintf(want, sizeof(want),
                       "\"flags\":\"%s\",\"method\":\"%s\",\"path\":\"%s\",\"authority\":\"%s\"",
                       table[i].flags, table[i].method, table[i].path, table[i].authority);
        CHECK(rig_has_recent(&r, want));
        (void)snprintf(want, sizeof(want), "\"details\":\"%s\"", table[i].details);
        CHECK(rig_has_recent(&r, want));
        (void)snprintf(code, sizeof(code), "response_code=\"%s\"", table[i].code);
        (void)snprintf(flags, sizeof(flags), "response_flags=\"%s\"", table[i].flags);
        CHECK(RIG_METRIC(&r, "istio_requests_total", code, flags, "reporter=\"waypoint\"",
                         "destination_service=\"web.shop.svc\"", "request_protocol=\"http\"") > 0);
    }
    rig_end(&r);
}

TEST(a_head_that_is_too_large_is_recorded)
{
    static char big[70000];
    struct rig r = {.seen = NULL};
    int n = snprintf(big, sizeof(big), "GET /big HTTP/1.1\r\nHost: x\r\na: ");

    memset(big + n, 'y', sizeof(big) - (size_t)n);
    rig_start(&r);
    int fd = rig_dial(&r);
    (void)send(fd, big, sizeof(big), MSG_DONTWAIT);
    CHECK(strncmp(rig_hear(&r, fd, NULL), "HTTP/1.1 431 ", 13) == 0);
    (void)close(fd);
    CHECK(rig_has_recent(&r, "\"path\":\"/big\""));
    CHECK_INT(
        RIG_METRIC(&r, "istio_requests_total", "response_code=\"431\"", "response_flags=\"-\""), 1);
    rig_end(&r);
}

/* The status of the answer to one request on a connection of its own. */
static long ask(struct rig *r, const char *request)
{
    int fd = rig_dial(r);

    rig_say(fd, request);
    long status = strtol(rig_hear(r, fd, "\r\n\r\n") + 9, NULL, 10);
    (void)close(fd);
    return status;
}

TEST(statuses_of_grpc_follow_those_of_http)
{
    static const struct {
        unsigned http;
        int grpc;
    } table[] = {{200, 0},  {400, 13}, {401, 16}, {403, 7},  {404, 12}, {408, 2},
                 {429, 14}, {500, 2},  {502, 14}, {503, 14}, {504, 14}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        CHECK_INT(request_grpc_status(table[i].http), table[i].grpc);
    }
}

TEST(policies_that_do_not_act_are_counted)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    CHECK_INT(ask(&r, "GET /plain HTTP/1.1\r\nhost: a\r\n\r\n"), 200);
    CHECK_INT(RIG_METRIC(&r, "wp_authz_audit_total", "policy_name=\"a\""), -1);
    CHECK_INT(
        RIG_METRIC(&r, "wp_authz_dry_run_total", "result=\"allowed\"", "policy_name=\"none\""), 1);
    CHECK_INT(ask(&r, "GET /audit HTTP/1.1\r\nhost: a\r\n\r\n"), 200);
    CHECK_INT(RIG_METRIC(&r, "wp_authz_audit_total", "policy_name=\"a\"",
                         "policy_namespace=\"shop\"", "destination_service=\"web.shop.svc\""),
              1);
    CHECK_INT(ask(&r, "GET /dry HTTP/1.1\r\nhost: a\r\n\r\n"), 200);
    CHECK_INT(RIG_METRIC(&r, "wp_authz_dry_run_total", "result=\"denied\"", "policy_name=\"d\"",
                         "policy_namespace=\"shop\"", "destination_service=\"web.shop.svc\""),
              1);
    CHECK_INT(ask(&r, "GET /secret HTTP/1.1\r\nhost: a\r\n\r\n"), 403);
    rig_end(&r);
}

/* One request on a connection that is there. */
static const char *ask_on(struct rig *r, int fd, const char *request, const char *until)
{
    rig_say(fd, request);
    return rig_hear(r, fd, until);
}

TEST(a_request_that_nothing_happens_to_ends)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    r.door.to = r.at; /* the pod itself: no rule, so no time limit but this */
    int fd = rig_dial(&r);
    CHECK_STR(ask_on(&r, fd, "GET /H HTTP/1.1\r\nhost: a\r\n\r\n", NULL), "");
    CHECK(r.held);
    loop_advance(r.loop, IDLE_LIMIT_MS - 10000);
    CHECK_STR(rig_hear(&r, fd, NULL), "");
    loop_advance(r.loop, 20000);
    const char *got = rig_hear(&r, fd, "stream timeout");
    CHECK(strstr(got, "HTTP/1.1 408 ") && strstr(got, "\r\n\r\nstream timeout"));
    CHECK(rig_has_recent(&r, "\"flags\":\"SI\""));
    CHECK(rig_has_recent(&r, "\"details\":\"stream_idle_timeout\""));
    (void)close(fd);
    rig_end(&r);
}

TEST(new_requests_are_refused_while_memory_is_short_and_others_go_on)
{
    static const char get[] = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    struct rig r = {.seen = NULL};

    rig_start(&r);
    for (int kind = 0; kind < 2; kind++) {
        size_t most = r.engine->budget.limit_bytes / 100 * 90;
        int begun = rig_dial(&r);
        int kept = rig_dial(&r);
        CHECK(strstr(ask_on(&r, kept, get, "bbbbb"), " 200 "));
        CHECK_STR(ask_on(&r, begun, "GET /H HTTP/1.1\r\nhost: a\r\n\r\n", NULL), "");
        CHECK(r.held);
        if (kind == 0) {
            atomic_store(&r.guard.percent, 89);
            CHECK(strstr(ask_on(&r, kept, get, "bbbbb"), " 200 "));
            atomic_store(&r.guard.percent, 90);
        } else {
            budget_charge(&r.engine->budget, most - 1);
            CHECK(strstr(ask_on(&r, kept, get, "bbbbb"), " 200 "));
            budget_charge(&r.engine->budget, 1);
        }
        const char *got = ask_on(&r, kept, get, "overloaded");
        CHECK(strstr(got, "HTTP/1.1 503 ") && strstr(got, "\r\n\r\nenvoy overloaded"));
        CHECK(rig_has_recent(&r, "\"flags\":\"OM\""));
        CHECK_INT(RIG_METRIC(&r, "istio_requests_total", "response_code=\"503\"",
                             "response_flags=\"OM\""),
                  kind + 1);
        rig_answer(&r);
        CHECK(strstr(rig_hear(&r, begun, "bbbbb"), " 200 "));
        atomic_store(&r.guard.percent, 0);
        budget_release(&r.engine->budget, kind == 0 ? 0 : most);
        CHECK(strstr(ask_on(&r, kept, get, "bbbbb"), " 200 "));
        (void)close(begun);
        (void)close(kept);
    }
    rig_end(&r);
}

/* A head on HTTP/2 of which the end does not come. */
static const char half_h2[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                              "\0\0\0\4\0\0\0\0\0"
                              "\0\0\7\1\5\0\0\0\1\x82";

TEST(heads_that_are_not_whole_are_not_waited_for_while_memory_is_short)
{
    static const char half[] = "GET /half HTTP/1.1\r\nhost: a\r\n";
    static const char get[] = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    struct rig r = {.seen = NULL};

    rig_start(&r);
    int line = rig_dial(&r); /* not yet known what it speaks */
    int head = rig_dial(&r);
    int h2 = rig_dial(&r);
    int idle = rig_dial(&r);
    CHECK_STR(ask_on(&r, line, "GE", NULL), "");
    CHECK_STR(ask_on(&r, head, half, NULL), "");
    CHECK_INT(write(h2, half_h2, sizeof(half_h2) - 1), sizeof(half_h2) - 1);
    CHECK(strstr(ask_on(&r, idle, get, "bbbbb"), " 200 "));
    loop_advance(r.loop, 2000); /* time is what they have */
    (void)rig_hear(&r, idle, NULL);
    CHECK_INT(r.engine->entry_count, 4);
    atomic_store(&r.guard.percent, 90);
    loop_advance(r.loop, MEMORY_LOOK_MS);
    CHECK(strncmp(rig_hear(&r, head, NULL), "HTTP/1.1 503 ", 13) == 0);
    CHECK(rig_has_recent(&r, "\"flags\":\"OM\",\"method\":\"GET\",\"path\":\"/half\""));
    CHECK(rig_has_recent(&r, "\"flags\":\"OM\",\"method\":\"GET\",\"path\":\"\""));
    CHECK_INT(r.engine->entry_count, 1);
    CHECK_INT(r.engine->overloaded, 3);
    atomic_store(&r.guard.percent, 0);
    CHECK(strstr(ask_on(&r, idle, get, "bbbbb"), " 200 "));
    (void)close(line);
    (void)close(head);
    (void)close(h2);
    (void)close(idle);
    rig_end(&r);
}

/* A large head is an exception: its memory does not stay with requests that are not in use. */
TEST(a_request_that_is_over_keeps_no_large_head)
{
    static char big[14000];
    struct rig r = {.seen = NULL};
    int n = snprintf(big, sizeof(big), "GET /x HTTP/1.1\r\nhost: a\r\n");

    for (unsigned i = 0; n < 12000; i++) {
        n += snprintf(big + n, sizeof(big) - (size_t)n, "a-%u: %01000u\r\n", i, i);
    }
    (void)snprintf(big + n, sizeof(big) - (size_t)n, "\r\n");
    rig_start(&r);
    CHECK_INT(ask(&r, big), 200);
    size_t seen = 0;
    list_for_each (at, &r.engine->requests->free) {
        const struct request *q = container_of(at, struct request, in_session);
        CHECK(q->out.room <= 4096 && q->spare.room <= 4096);
        CHECK_INT(q->out.limit, 0);
        seen++;
    }
    CHECK(seen > 0);
    rig_end(&r);
}

/* Its node proxy lets the waypoint in, so a client who came before would get around the policy. */
TEST(a_connection_to_a_pod_that_is_guarded_by_now_ends)
{
    static const char get[] = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    struct rig r = {.seen = NULL};

    rig_start(&r);
    r.door.to = r.at; /* the pod itself */
    int silent = rig_dial(&r);
    CHECK_STR(rig_hear(&r, silent, NULL), ""); /* passes as TCP by now */
    int kept = rig_dial(&r);
    CHECK(strstr(ask_on(&r, kept, get, "bbbbb"), " 200 "));
    CHECK_INT(r.engine->entry_count, 2);
    rig_guard(&r, "shop");
    (void)loop_turn(r.loop, 0);
    const char *got = ask_on(&r, kept, get, "denied");
    CHECK(strstr(got, "HTTP/1.1 403 ") && strstr(got, "RBAC: access denied"));
    CHECK(rig_has_recent(&r, "\"details\":\"policy_guards_port\""));
    /* Looked at 200 ms later; the one that is kept for requests then ends within a second. */
    for (unsigned i = 0; i < 5 * RIG_TURNS && r.engine->entry_count > 0; i++) {
        rig_turn(&r);
    }
    CHECK_INT(r.engine->entry_count, 0);
    CHECK_INT(RIG_METRIC(&r, "istio_tcp_connections_closed_total", "response_flags=\"DENY\""), 1);
    loop_advance(r.loop, 2000); /* an engine says every other second what it has counted */
    for (unsigned i = 0; i < RIG_TURNS && RIG_METRIC(&r, "wp_policy_cuts_total", "") < 1; i++) {
        rig_turn(&r);
    }
    CHECK_INT(RIG_METRIC(&r, "wp_policy_cuts_total", ""), 1); /* of the other one, nothing ran */
    (void)close(silent);
    (void)close(kept);
    rig_end(&r);
}

/* Its guard lets us in, and policy of its own service is not asked when another one names it. */
TEST(a_guarded_pod_is_no_endpoint_of_another_namespaces_service)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    rig_guard(&r, "shop");
    CHECK_INT(ask(&r, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"), 200);
    rig_guard(&r, "other");
    CHECK_INT(ask(&r, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"), 503);
    CHECK(rig_has_recent(&r, "\"details\":\"no_healthy_upstream\""));
    rig_end(&r);
}

TEST(a_connection_that_is_refused_while_memory_is_short_counts)
{
    struct rig r = {.seen = NULL};

    rig_start(&r);
    r.door.to = r.at; /* the pod itself: any protocol */
    atomic_store(&r.guard.percent, 90);
    int silent = rig_dial(&r);
    CHECK_STR(rig_hear(&r, silent, NULL), "");
    CHECK_INT(r.engine->entry_count, 0);
    for (unsigned i = 0; i < 4000 && RIG_METRIC(&r, "wp_overload_refusals_total", "") < 1; i++) {
        rig_turn(&r);
    }
    CHECK_INT(RIG_METRIC(&r, "wp_overload_refusals_total", ""), 1);
    (void)close(silent);
    rig_end(&r);
}

TEST(there_are_only_so_many_connections)
{
    static const char get[] = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    struct rig r = {.seen = NULL};
    char octet;

    rig_start(&r);
    atomic_store(&r.engine->load, ENTRIES_MAX - 1);
    int last = rig_dial(&r);
    CHECK(strstr(ask_on(&r, last, get, "bbbbb"), " 200 "));
    int refused = rig_dial(&r);
    CHECK_STR(rig_hear(&r, refused, NULL), "");
    CHECK_INT(recv(refused, &octet, 1, MSG_DONTWAIT), 0);
    CHECK_INT(r.engine->entry_count, 1);
    CHECK_INT(atomic_load(&r.engine->load), ENTRIES_MAX);
    (void)close(refused);
    (void)close(last);
    rig_end(&r);
}

/* A client that is no workload: as one it would hold the object that is to go. */
static int dial_from_outside(struct rig *r)
{
    struct endpoint peer = {.ip = r->door.to.ip, .port = 1};
    int fds[2];

    tcp_pair_fds(fds);
    engine_take(r->engine, fds[1], &peer, &r->door);
    return fds[0];
}

/* What its record says of the pod was said by an object that the world has replaced meanwhile. */
TEST(a_tcp_connection_knows_where_it_went_when_the_pod_is_told_of_anew)
{
    struct rig r = {.undecided = true};

    rig_start(&r);
    rig_remove_policy(&r, "p"); /* by a path, which TCP has not */
    (void)loop_turn(r.loop, 0);
    int first = dial_from_outside(&r);
    CHECK_STR(rig_hear(&r, first, NULL), ""); /* passes as TCP by now */
    rig_retell(&r);
    int second = dial_from_outside(&r); /* whose choice brings the endpoints up to date */
    CHECK_STR(rig_hear(&r, second, NULL), "");
    CHECK_INT(r.engine->entry_count, 2);
    (void)close(first);
    (void)close(second);
    /* Looked at 200 ms later; the one that is kept for requests then ends within a second. */
    for (unsigned i = 0; i < 5 * RIG_TURNS && r.engine->entry_count > 0; i++) {
        rig_turn(&r);
    }
    CHECK_INT(r.engine->entry_count, 0);
    CHECK_INT(RIG_METRIC(&r, "istio_tcp_connections_closed_total", "destination_workload=\"web\""),
              2);
    rig_end(&r);
}

/* One connection to each endpoint of the service, and one try. */
static void allow_one(struct rig *r)
{
    struct l7_traffic traffic = {.resource = "shop/gate/shop/web.shop.svc/80/traffic",
                                 .ns = "shop",
                                 .hostname = "web.shop.svc",
                                 .limits = {.connections = 1}};
    struct l7_backend backend = {.ns = "shop", .hostname = "web.shop.svc", .port = 80, .weight = 1};
    struct l7_route route = {.resource = "shop/gate/shop/web.shop.svc/80/HTTPRoute/shop/r/0",
                             .ns = "shop",
                             .hostname = "web.shop.svc",
                             .port = 80,
                             .route_ns = "shop",
                             .route_name = "r",
                             .backends = &backend,
                             .backend_count = 1,
                             .retry = {.set = true}};
    struct l7_delta *d = l7_delta_new(engine_l7(r->engine));
    const struct l7_traffic *made_t = NULL;
    const struct l7_route *made_r = NULL;
    struct diag why = {0};

    if (l7_traffic_new(&made_t, &traffic, &why) < 0 || l7_route_new(&made_r, &route, &why) < 0) {
        exit(2);
    }
    (void)l7_put_traffic(d, made_t);
    (void)l7_put_route(d, made_r);
    snap_publish(&r->l7s, 1, l7_snap(l7_next(d)));
    loop_poke(r->loop);
    (void)loop_turn(r->loop, 0);
}

/* Its endpoint is none of the service's any more and has no connection left, but for the record. */
TEST(a_request_that_failed_knows_where_it_went_when_the_endpoint_has_gone)
{
    struct rig r = {.seen = NULL};
    char address[ENDPOINT_TEXT];
    char want[ENDPOINT_TEXT + 16];

    rig_start(&r);
    allow_one(&r);
    int first = rig_dial(&r);
    rig_say(first, "GET /held/H HTTP/1.1\r\nhost: a\r\n\r\n");
    for (unsigned i = 0; i < 4000 && !r.held; i++) {
        rig_turn(&r);
    }
    CHECK(r.held);
    int second = rig_dial(&r);
    rig_say(second, "GET /waits HTTP/1.1\r\nhost: a\r\n\r\n");
    for (unsigned i = 0; i < 4000 && upstreams_count(r.engine->upstreams).waiting == 0; i++) {
        rig_turn(&r);
    }
    CHECK_INT(upstreams_count(r.engine->upstreams).waiting, 1);
    rig_guard(&r, "shop"); /* another identity: another endpoint */
    exchange_close(MOVE(r.held), -ERR_CANCELLED);
    http_server_free(MOVE(r.server));
    CHECK(strstr(rig_hear(&r, second, "refused"), "HTTP/1.1 503 "));
    (void)snprintf(want, sizeof(want), "\"upstream\":\"%s\"", endpoint_format(&r.at, address));
    CHECK(rig_has_recent(&r, want));
    (void)close(first);
    (void)close(second);
    rig_end(&r);
}

/* Other proxies show the authority as a header; a policy by that name must not miss it. */
TEST(a_policy_by_the_host_header_hits_the_authority)
{
    static const char *const names[] = {"host", ":authority"};
    static const char *const hosts[] = {"closed.example", "CLOSED.example.", "Closed.Example:80"};

    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        struct rig r = {.seen = NULL};
        rig_start(&r);
        rig_put_header_policy(&r, "p2", names[n], "Closed.example");
        (void)loop_turn(r.loop, 0);
        for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
            char request[128];
            (void)snprintf(request, sizeof(request), "GET /x HTTP/1.1\r\nhost: %s\r\n\r\n",
                           hosts[i]);
            CHECK_INT(ask(&r, request), 403);
        }
        CHECK_INT(ask(&r, "GET /x HTTP/1.1\r\nhost: open.example\r\n\r\n"), 200);
        rig_end(&r);
    }
}

/* ---- what may be sent twice */

static unsigned times_asked;

static void count_asked(const struct message *head)
{
    times_asked += slice_is(message_get(head, MESSAGE_PATH), "/once/H");
}

/* On a connection that had a request before, to an application that ends it instead of answering. */
static int ask_who_ends(struct rig *r, const char *request)
{
    int fd = rig_dial(r);

    times_asked = 0;
    (void)ask_on(r, fd, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n", "bbbbb");
    rig_say(fd, request);
    for (unsigned i = 0; i < 4000 && !r->held; i++) {
        rig_turn(r);
    }
    exchange_close(MOVE(r->held), -ERR_CANCELLED);
    return fd;
}

TEST(a_request_that_may_have_been_acted_on_is_sent_once_more_only_if_that_does_no_harm)
{
    struct rig r = {.seen = count_asked};

    rig_start(&r);
    struct l7_delta *d = l7_delta_new(engine_l7(r.engine));
    CHECK(l7_remove(d, L7_TYPE_ROUTE, "shop/gate/shop/web.shop.svc/80/HTTPRoute/shop/r/0"));
    snap_publish(&r.l7s, 1, l7_snap(l7_next(d)));
    (void)loop_turn(r.loop, 0);
    int fd = ask_who_ends(&r, "POST /once/H HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
    CHECK(strstr(rig_hear(&r, fd, "termination"), "HTTP/1.1 503 "));
    CHECK_INT(times_asked, 1);
    (void)close(fd);
    fd = ask_who_ends(&r, "GET /once/H HTTP/1.1\r\nhost: a\r\n\r\n");
    for (unsigned i = 0; i < 4000 && !r.held; i++) {
        rig_turn(&r);
    }
    CHECK(r.held);
    rig_answer(&r);
    CHECK(strstr(rig_hear(&r, fd, "bbbbb"), "HTTP/1.1 200 "));
    CHECK_INT(times_asked, 2);
    (void)close(fd);
    rig_end(&r);
}
