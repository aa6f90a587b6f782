/* SPDX-License-Identifier: Apache-2.0 */
#include "io/dns_upstream.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "fake_dns.h"
#include "io/resolv_conf.h"
#include "io/sock_factory_local.h"
#include "t.h"
#include "tcp_pair.h"
#include "test_netns.h"

struct asker {
    struct task task;
    struct dns_source source;
    struct dns_query *q;
    uint8_t answer[1024];
    size_t len;
    int result; /* -EAGAIN while it waits */
    struct diag why;
};

struct rig {
    struct loop *loop;
    struct sock_factory *factory;
    struct fake_dns dns;
    struct dns_upstream *up;
    struct asker asker;
    int fds;
};

static void asker_run(struct task *t, unsigned why)
{
    struct asker *a = container_of(t, struct asker, task);
    const uint8_t *p;
    size_t len;

    (void)why;
    if (a->result != -EAGAIN) {
        return;
    }
    a->result = dns_query_answer(a->q, &p, &len, &a->why);
    if (a->result == 0) {
        a->len = len;
        memcpy(a->answer, p, len < sizeof(a->answer) ? len : sizeof(a->answer));
    }
}

static void rig_start(struct rig *g, enum fake_dns_way way)
{
    *g = (struct rig){.fds = test_fd_count()};
    g->loop = loop_new(NULL);
    loop_stop_clock(g->loop);
    g->factory = sock_factory_local_new(NULL);
    fake_dns_start(&g->dns, g->loop, way);
    struct dns_upstream_options o = {.servers = &g->dns.at, .server_count = 1, .mark = 1337};
    g->up = dns_upstream_new(g->loop, g->factory, &o, NULL);
    task_init(&g->asker.task, g->loop, "asker", asker_run);
}

static void rig_stop(struct rig *g)
{
    dns_query_free(g->asker.q);
    task_fini(&g->asker.task);
    fake_dns_stop(&g->dns);
    dns_upstream_free(g->up);
    sock_factory_free(g->factory);
    loop_free(g->loop);
}

static void ask(struct rig *g, struct netns *where, const char *name)
{
    uint8_t query[600];
    size_t len = fake_dns_query(query, 0x1234, name, 1);

    g->asker.result = -EAGAIN;
    g->asker.q = dns_query_new(g->up, where, &g->asker.source, query, len, &g->asker.task);
}

/* Turns, and lets the clock jump where nothing happens, which is sure at once only where nobody answers:
 * the kernel delivers when it gets to it. The virtual time it took. */
static uint64_t settle(struct rig *g)
{
    uint64_t start = loop_now_ms(g->loop);
    int patience = g->dns.way == FAKE_DNS_SILENT ? 50 : 2000;
    int idle = 0;

    for (int i = 0; i < 20000 && g->asker.result == -EAGAIN; i++) {
        idle = loop_turn(g->loop, 1) > 0 ? 0 : idle + 1;
        if (idle > patience) {
            loop_advance(g->loop, 100);
        }
    }
    return loop_now_ms(g->loop) - start;
}

static const uint8_t answer_tail[] = {192, 0, 2, 1};

static void answered(struct test *t, enum fake_dns_way way, unsigned datagrams, unsigned streams)
{
    struct rig g;

    rig_start(&g, way);
    g.dns.rcode = 2;
    ask(&g, NULL, "Host.Example");
    (void)settle(&g);
    struct asker a = g.asker;
    struct dns_upstream_stats stats = dns_upstream_stats(g.up);
    unsigned seen = g.dns.datagrams;
    unsigned seen_streams = g.dns.streams;
    rig_stop(&g);
    CHECK_INT(test_fd_count(), g.fds);
    CHECK_INT(a.result, 0);
    CHECK_INT(be16_get(a.answer), 0x1234); /* the client's own id */
    CHECK_MEM(a.answer + a.len - 4, answer_tail, 4);
    CHECK_INT(seen, datagrams);
    CHECK_INT(seen_streams, streams);
    CHECK_INT(stats.strangers, way == FAKE_DNS_WRONG_ID || way == FAKE_DNS_WRONG_NAME);
}

TEST(an_answer_comes_back_under_the_clients_id)
{
    answered(t, FAKE_DNS_ANSWERS, 1, 0);
}

/* A fresh id may be the client's by chance, but not each time. */
TEST(the_servers_are_asked_under_fresh_ids)
{
    enum { QUERIES = 8 };
    struct rig g;
    unsigned same = 0;

    rig_start(&g, FAKE_DNS_ANSWERS);
    for (int i = 0; i < QUERIES; i++) {
        ask(&g, NULL, "x.example");
        (void)settle(&g);
        same += be16_get(g.dns.last) == 0x1234;
        dns_query_free(MOVE(g.asker.q));
    }
    unsigned seen = g.dns.datagrams;
    rig_stop(&g);
    CHECK_INT(seen, QUERIES);
    CHECK(same < QUERIES);
}

TEST(a_truncated_answer_is_asked_for_over_tcp)
{
    answered(t, FAKE_DNS_TRUNCATES, 1, 1);
}

TEST(answers_of_strangers_are_passed_over)
{
    answered(t, FAKE_DNS_WRONG_ID, 1, 0);
    answered(t, FAKE_DNS_WRONG_NAME, 1, 0);
}

TEST(a_server_that_fails_once_is_asked_again)
{
    answered(t, FAKE_DNS_RCODE_ONCE, 2, 0);
}

TEST(response_codes_are_passed_on_failures_after_three_tries)
{
    static const struct {
        uint8_t rcode;
        unsigned asked;
    } cases[] = {{2, 3}, {5, 3}, {3, 1}, {4, 1}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rig g;
        rig_start(&g, FAKE_DNS_RCODE);
        g.dns.rcode = cases[i].rcode;
        ask(&g, NULL, "x.example");
        (void)settle(&g);
        struct asker a = g.asker;
        unsigned seen = g.dns.datagrams;
        rig_stop(&g);
        CHECK_INT(a.result, 0);
        CHECK_INT(a.answer[3] & 15, cases[i].rcode);
        CHECK_INT(seen, cases[i].asked);
    }
}

TEST(a_silent_server_is_asked_nine_times_in_fifteen_seconds)
{
    struct rig g;

    rig_start(&g, FAKE_DNS_SILENT);
    ask(&g, NULL, "x.example");
    uint64_t took = settle(&g);
    struct asker a = g.asker;
    unsigned seen = g.dns.datagrams;
    rig_stop(&g);
    CHECK_INT(a.result, -ERR_DEADLINE);
    CHECK(strstr(a.why.text, "ask name server 127.0.0.1:") != NULL);
    CHECK_INT(seen, 9);
    CHECK(took >= 14900 && took < 17000);
    CHECK_INT(test_fd_count(), g.fds);
}

TEST(a_stream_that_is_cut_is_tried_again_and_then_given_up)
{
    struct rig g;

    rig_start(&g, FAKE_DNS_TCP_CUTS);
    ask(&g, NULL, "x.example");
    (void)settle(&g);
    struct asker a = g.asker;
    unsigned streams = g.dns.streams;
    rig_stop(&g);
    CHECK_INT(a.result, -ERR_TRUNCATED);
    CHECK_INT(streams, 3);
    CHECK_INT(test_fd_count(), g.fds);
}

TEST(a_dead_server_costs_no_time_and_the_next_one_is_remembered)
{
    struct rig g;
    struct endpoint servers[2];
    int dead;

    rig_start(&g, FAKE_DNS_ANSWERS);
    dns_upstream_free(g.up);
    dead = tcp_test_listener(IP_V4, &servers[0]); /* holds the TCP port; UDP there is refused */
    servers[1] = g.dns.at;
    struct dns_upstream_options o = {.servers = servers, .server_count = 2};
    g.up = dns_upstream_new(g.loop, g.factory, &o, NULL);
    ask(&g, NULL, "x.example");
    (void)settle(&g);
    int first = g.asker.result;
    dns_query_free(g.asker.q);
    ask(&g, NULL, "y.example");
    (void)settle(&g);
    int second = g.asker.result;
    unsigned seen = g.dns.datagrams;
    uint64_t tries = dns_upstream_stats(g.up).tries;
    unsigned known = g.asker.source.best_server;
    rig_stop(&g);
    sock_close(&dead);
    CHECK_INT(first, 0);
    CHECK_INT(second, 0);
    CHECK_INT(seen, 2);
    CHECK_INT(tries, 3);
    CHECK_INT(known, 1); /* to who asked, and to nobody else */
}

TEST(queries_leave_from_the_pods_namespace)
{
    struct rig g;
    AUTO(netns) struct netns *pod = test_netns_new();

    rig_start(&g, FAKE_DNS_ANSWERS);
    ask(&g, pod, "x.example"); /* nobody serves there */
    (void)settle(&g);
    struct asker a = g.asker;
    unsigned seen = g.dns.datagrams;
    rig_stop(&g);
    CHECK_INT(a.result, -ECONNREFUSED);
    CHECK_INT(seen, 0);
}

TEST(what_is_no_query_or_too_much_is_refused_at_once)
{
    struct rig g;
    uint8_t p[600];
    size_t len = fake_dns_query(p, 1, "x.example", 1);
    const uint8_t *out;
    size_t out_len;

    rig_start(&g, FAKE_DNS_SILENT);
    for (size_t cut = 0; cut < len; cut++) { /* exact copies, so that a read beyond is seen */
        AUTO(mem) void *copy = mem_dup(p, cut);
        AUTO(dns_query)
        struct dns_query *q = dns_query_new(g.up, NULL, &g.asker.source, copy, cut, &g.asker.task);
        CHECK_INT(dns_query_answer(q, &out, &out_len, NULL), -ERR_SYNTAX);
    }
    p[2] |= 0x80;
    AUTO(dns_query)
    struct dns_query *response = dns_query_new(g.up, NULL, &g.asker.source, p, len, &g.asker.task);
    CHECK_INT(dns_query_answer(response, &out, &out_len, NULL), -ERR_SYNTAX);
    rig_stop(&g);
}

/* Of a new query: -EAGAIN while it is under way. */
static int ask_more(struct rig *g, struct dns_source *source, struct dns_query **q)
{
    uint8_t p[600];
    size_t len = fake_dns_query(p, 1, "x.example", 1);
    const uint8_t *out;
    size_t out_len;

    *q = dns_query_new(g->up, NULL, source, p, len, &g->asker.task);
    return dns_query_answer(*q, &out, &out_len, &g->asker.why);
}

TEST(who_asks_much_leaves_room_for_those_who_ask_little)
{
    enum { MAX = 2 * DNS_SOURCE_FEW, ALL = 2 * MAX };
    struct dns_source sources[4] = {{0}};
    struct dns_query *q[ALL];
    struct dns_query *over;
    struct rig g;
    int count = 0;

    rig_start(&g, FAKE_DNS_SILENT);
    dns_upstream_free(g.up);
    struct dns_upstream_options o = {.servers = &g.dns.at, .server_count = 1, .flying_max = MAX};
    g.up = dns_upstream_new(g.loop, g.factory, &o, NULL);
    for (; count < MAX; count++) {
        CHECK_INT(ask_more(&g, &sources[0], &q[count]), -EAGAIN);
    }
    for (int s = 0; s < 3; s++) {
        CHECK_INT(ask_more(&g, &sources[s], &over), s == 0 ? -ERR_LIMIT : -EAGAIN);
        for (int i = 1; s > 0 && i < DNS_SOURCE_FEW; i++) {
            CHECK_INT(ask_more(&g, &sources[s], &q[count++]), -EAGAIN);
        }
        if (s > 0) {
            q[count++] = over;
            CHECK_INT(ask_more(&g, &sources[s], &over), -ERR_LIMIT);
        }
        dns_query_free(over);
    }
    CHECK_INT(count, ALL);
    CHECK_INT(ask_more(&g, &sources[3], &over), -ERR_LIMIT); /* there is an end to it */
    dns_query_free(over);
    dns_query_free(q[0]);
    CHECK_INT(ask_more(&g, &sources[3], &q[0]), -EAGAIN);
    CHECK_INT(dns_upstream_stats(g.up).refused, 4);
    for (int i = 0; i < count; i++) {
        dns_query_free(q[i]);
    }
    CHECK_INT(sources[0].flying + sources[1].flying + sources[3].flying, 0);
    rig_stop(&g);
    CHECK_INT(test_fd_count(), g.fds);
}

TEST(a_query_can_be_forgotten_at_any_moment)
{
    static const enum fake_dns_way ways[] = {FAKE_DNS_ANSWERS, FAKE_DNS_TRUNCATES, FAKE_DNS_SILENT};

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        for (int turns = 0; turns < 12; turns++) {
            struct rig g;
            rig_start(&g, ways[i]);
            ask(&g, NULL, "x.example");
            for (int n = 0; n < turns; n++) {
                (void)loop_turn(g.loop, 0);
            }
            rig_stop(&g);
            CHECK_INT(test_fd_count(), g.fds);
        }
    }
}

TEST(memory_that_is_short_ends_a_query_and_nothing_else)
{
    for (int at = 0; at < 6; at++) {
        struct rig g;
        rig_start(&g, FAKE_DNS_TRUNCATES);
        (void)mem_fault_set(at);
        ask(&g, NULL, "x.example");
        (void)settle(&g);
        (void)mem_fault_set(-1);
        int r = g.asker.result;
        rig_stop(&g);
        CHECK(r == 0 || r == -ENOMEM || r == -ERR_LIMIT || r == -ERR_TOO_LARGE);
        CHECK_INT(test_fd_count(), g.fds);
    }
}

TEST(resolv_conf_is_read_as_resolvers_read_it)
{
    static const char text[] =
        "# comment\nnameserver 10.0.0.10\n  nameserver\t2001:db8::1  \n"
        "nameserver fe80::1%eth0\nnameserver nonsense\ndomain first.example\n"
        "search A.svc.Cluster.local. svc.cluster.local\noptions ndots:5\n"
        "nameserver 10.0.0.11";
    struct resolv_conf c;
    char buf[ENDPOINT_TEXT];

    resolv_conf_parse(text, sizeof(text) - 1, &c);
    CHECK_INT(c.server_count, 3);
    CHECK_STR(endpoint_format(&c.servers[0], buf), "10.0.0.10:53");
    CHECK_STR(endpoint_format(&c.servers[1], buf), "[2001:db8::1]:53");
    CHECK_STR(endpoint_format(&c.servers[2], buf), "10.0.0.11:53");
    CHECK_INT(c.search_count, 2);
    CHECK_STR(c.search[0], "a.svc.cluster.local");
    CHECK_STR(c.search[1], "svc.cluster.local");
    resolv_conf_parse("", 0, &c);
    CHECK_INT(c.server_count, 1);
    CHECK_STR(endpoint_format(&c.servers[0], buf), "127.0.0.1:53");
}
