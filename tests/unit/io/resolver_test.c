/* SPDX-License-Identifier: Apache-2.0 */
#include "io/resolver.h"

#include <stdio.h>
#include <string.h>

#include "fake_dns.h"
#include "t.h"

enum { TRY_MS = 5000, LIMIT_MS = 60000 }; /* whoever answers is waited for, on a slow machine too */

struct rig {
    struct loop *loop;
    struct fake_dns dns;
    struct resolver *r;
    struct task task;
    unsigned wakes;
    int fds;
};

static void run(struct task *t, unsigned why)
{
    (void)why;
    container_of(t, struct rig, task)->wakes++;
}

static void rig_start(struct rig *g, enum fake_dns_way way, struct resolver_options o)
{
    char at[ENDPOINT_TEXT];

    *g = (struct rig){.fds = test_fd_count()};
    g->loop = loop_new(NULL);
    fake_dns_start(&g->dns, g->loop, way);
    o.servers = endpoint_format(&g->dns.at, at);
    g->r = resolver_new(g->loop, &o, NULL);
    task_init(&g->task, g->loop, "asker", run);
}

static void rig_stop(struct rig *g)
{
    resolver_free(g->r);
    fake_dns_stop(&g->dns);
    task_fini(&g->task);
    loop_free(g->loop);
}

/* Tries only when it was woken. */
static int await(struct rig *g, struct lookup *q, const struct ip **out, struct diag *why)
{
    int n = lookup_result(q, out, why);

    for (int i = 0; i < 3000 && n == -EAGAIN; i++) {
        unsigned before = g->wakes;
        (void)loop_turn(g->loop, 10);
        n = g->wakes > before ? lookup_result(q, out, why) : n;
    }
    return n;
}

static void finds(struct test *t, enum fake_dns_way way, enum ip_family family, int want)
{
    struct rig g;
    const struct ip *ips = NULL;
    struct diag why = {.code = 0};

    rig_start(&g, way, (struct resolver_options){.try_ms = TRY_MS});
    g.dns.rcode = 2;
    struct lookup *q = lookup_new(g.r, "db.example", family, &g.task);
    int n = await(&g, q, &ips, &why);
    bool right = n > 0;
    for (int i = 0; i < n; i++) {
        right = right && (ips[i].family == IP_V4 ? ips[i].bytes[3] == 1 : ips[i].bytes[15] == 1);
        right = right && (family == IP_NONE || ips[i].family == family);
    }
    unsigned ttl = lookup_ttl_s(q);
    lookup_free(q);
    rig_stop(&g);
    CHECK_INT(n, want);
    CHECK(right);
    CHECK_INT(ttl, 77);
    CHECK_INT(test_fd_count(), g.fds);
}

TEST(a_name_has_its_addresses_and_their_ttl)
{
    finds(t, FAKE_DNS_ANSWERS, IP_NONE, 2);
    finds(t, FAKE_DNS_ANSWERS, IP_V4, 1);
    finds(t, FAKE_DNS_ANSWERS, IP_V6, 1);
}

TEST(truncation_strangers_and_one_failure_are_survived)
{
    finds(t, FAKE_DNS_TRUNCATES, IP_V4, 1);
    finds(t, FAKE_DNS_WRONG_ID, IP_V4, 1);
    finds(t, FAKE_DNS_RCODE_ONCE, IP_V4, 1);
}

static void fails(struct test *t, enum fake_dns_way way, uint8_t rcode, const char *name, int want)
{
    struct rig g;
    const struct ip *ips;
    struct diag why = {.code = 0};
    unsigned try_ms = way == FAKE_DNS_SILENT ? 20 : TRY_MS;

    rig_start(&g, way, (struct resolver_options){.try_ms = try_ms, .tries = 2});
    g.dns.rcode = rcode;
    struct lookup *q = lookup_new(g.r, name, IP_NONE, &g.task);
    int n = await(&g, q, &ips, &why);
    lookup_free(q);
    rig_stop(&g);
    CHECK_INT(n, want);
    CHECK_INT(why.code, want);
    CHECK(strstr(why.text, "look up ") == why.text);
    CHECK_INT(test_fd_count(), g.fds);
}

TEST(failures_are_told_apart)
{
    fails(t, FAKE_DNS_RCODE, 3, "nx.example", -ERR_NOT_FOUND);
    fails(t, FAKE_DNS_RCODE, 0, "empty.example", -ERR_NOT_FOUND);
    fails(t, FAKE_DNS_RCODE, 2, "broken.example", -ERR_UNAVAILABLE);
    fails(t, FAKE_DNS_SILENT, 0, "silent.example", -ERR_DEADLINE);
    fails(t, FAKE_DNS_ANSWERS, 0, "a..b", -ERR_SYNTAX);
}

TEST(a_lookup_has_a_deadline_of_its_own)
{
    struct rig g;
    const struct ip *ips;
    struct diag why;

    rig_start(&g, FAKE_DNS_SILENT, (struct resolver_options){.limit_ms = LIMIT_MS});
    struct lookup *q = lookup_new(g.r, "slow.example", IP_NONE, &g.task);
    (void)loop_turn(g.loop, 0);
    CHECK_INT(lookup_result(q, &ips, &why), -EAGAIN);
    loop_advance(g.loop, LIMIT_MS);
    (void)loop_turn(g.loop, 0);
    CHECK_INT(lookup_result(q, &ips, &why), -ERR_DEADLINE);
    lookup_free(q); /* the library still has it */
    rig_stop(&g);
    CHECK_INT(test_fd_count(), g.fds);
}

TEST(an_address_in_text_form_needs_no_server)
{
    static const char *const addresses[] = {"2001:db8::5", "192.0.2.77"};

    for (int i = 0; i < 2; i++) {
        struct rig g;
        const struct ip *ips;
        char buf[IP_TEXT];
        rig_start(&g, FAKE_DNS_SILENT, (struct resolver_options){.limit_ms = LIMIT_MS});
        struct lookup *q = lookup_new(g.r, addresses[i], IP_NONE, &g.task);
        CHECK_INT(await(&g, q, &ips, NULL), 1);
        CHECK_STR(ip_format(&ips[0], buf), addresses[i]);
        CHECK_INT(g.dns.datagrams, 0);
        lookup_free(q);
        rig_stop(&g);
    }
}

TEST(more_lookups_than_allowed_are_refused)
{
    struct rig g;
    const struct ip *ips;

    rig_start(&g, FAKE_DNS_SILENT, (struct resolver_options){.flying_max = 2});
    struct lookup *q[3];
    for (int i = 0; i < 3; i++) {
        q[i] = lookup_new(g.r, "x.example", IP_V4, &g.task);
    }
    CHECK_INT(lookup_result(q[1], &ips, NULL), -EAGAIN);
    CHECK_INT(lookup_result(q[2], &ips, NULL), -ERR_LIMIT);
    for (int i = 0; i < 3; i++) {
        lookup_free(q[i]);
    }
    rig_stop(&g);
}

TEST(a_lookup_can_be_forgotten_at_any_moment)
{
    for (int turns = 0; turns < 10; turns++) {
        struct rig g;
        rig_start(&g, turns % 2 ? FAKE_DNS_ANSWERS : FAKE_DNS_TRUNCATES,
                  (struct resolver_options){.limit_ms = 0});
        struct lookup *q = lookup_new(g.r, "x.example", IP_NONE, &g.task);
        for (int i = 0; i < turns; i++) {
            (void)loop_turn(g.loop, 0);
        }
        lookup_free(q);
        for (int i = 0; i < turns; i++) { /* the answer to nobody */
            (void)loop_turn(g.loop, 0);
        }
        rig_stop(&g);
        CHECK_INT(test_fd_count(), g.fds);
    }
}

TEST(servers_that_make_no_sense_are_refused)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct resolver_options o = {.servers = "not an address"};
    struct diag why = {.code = 0};

    CHECK(resolver_new(l, &o, &why) == NULL);
    CHECK_INT(why.code, -EINVAL);
}
