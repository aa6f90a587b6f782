/* SPDX-License-Identifier: Apache-2.0 */
#include "io/host_names.h"

#include <stdio.h>
#include <string.h>

#include "fake_dns.h"
#include "t.h"

struct asker {
    struct task task;
    struct host_wait wait;
    unsigned wakes;
};

enum { SOURCES = HOST_NAMES_MAX / HOST_NAMES_OF_SOURCE + 1 };

struct rig {
    struct loop *loop;
    struct fake_dns dns;
    struct resolver *resolver;
    struct host_names *names;
    struct asker a;
    struct asker b;
    struct host_source sources[SOURCES];
    unsigned source; /* whom is asked for */
};

static void run(struct task *t, unsigned why)
{
    (void)why;
    container_of(t, struct asker, task)->wakes++;
}

static void rig_start(struct rig *g, enum fake_dns_way way)
{
    char at[ENDPOINT_TEXT];

    /* whoever answers is waited for, however slow the machine is */
    unsigned try_ms = way == FAKE_DNS_SILENT ? 50 : 8000;

    *g = (struct rig){.loop = loop_new(NULL)};
    fake_dns_start(&g->dns, g->loop, way);
    g->resolver =
        resolver_new(g->loop,
                     &(struct resolver_options){
                         .servers = endpoint_format(&g->dns.at, at), .try_ms = try_ms, .tries = 1},
                     NULL);
    g->names = host_names_new(g->loop, g->resolver);
    task_init(&g->a.task, g->loop, "a", run);
    task_init(&g->b.task, g->loop, "b", run);
    g->a.wait.owner = &g->a.task;
    g->b.wait.owner = &g->b.task;
    for (unsigned i = 0; i < SOURCES; i++) {
        host_source_init(&g->sources[i]);
    }
}

static void rig_stop(struct rig *g)
{
    host_wait_stop(&g->a.wait);
    host_wait_stop(&g->b.wait);
    host_names_free(g->names);
    for (unsigned i = 0; i < SOURCES; i++) {
        host_source_fini(&g->sources[i]);
    }
    resolver_free(g->resolver);
    fake_dns_stop(&g->dns);
    task_fini(&g->a.task);
    task_fini(&g->b.task);
    loop_free(g->loop);
}

static int find(struct rig *g, struct asker *who, const char *name, const struct ip **out)
{
    struct diag why = {.code = 0};

    return host_names_find(g->names, name, &g->sources[g->source], &who->wait, out, &why);
}

static int await(struct rig *g, struct asker *who, const char *name, const struct ip **out)
{
    int n = find(g, who, name, out);

    for (int i = 0; i < 1000 && n == -EAGAIN; i++) {
        unsigned before = who->wakes;
        (void)loop_turn(g->loop, 10);
        n = who->wakes > before ? find(g, who, name, out) : n;
    }
    return n;
}

TEST(one_question_serves_all_who_wait)
{
    struct rig g;
    const struct ip *at = NULL;

    rig_start(&g, FAKE_DNS_ANSWERS);
    CHECK_INT(find(&g, &g.a, "db.example", &at), -EAGAIN);
    CHECK_INT(find(&g, &g.b, "db.example", &at), -EAGAIN);
    CHECK_INT(await(&g, &g.a, "db.example", &at), 2);
    CHECK(g.b.wakes > 0);
    CHECK_INT(find(&g, &g.b, "db.example", &at), 2);
    CHECK_INT(host_names_stats(g.names).asked, 1);
    rig_stop(&g);
}

TEST(an_answer_is_kept_for_its_ttl_and_no_longer)
{
    struct rig g;
    const struct ip *at = NULL;

    rig_start(&g, FAKE_DNS_ANSWERS); /* says 77 s */
    CHECK_INT(await(&g, &g.a, "db.example", &at), 2);
    loop_stop_clock(g.loop);
    loop_advance(g.loop, 76000);
    (void)loop_turn(g.loop, 0);
    CHECK_INT(find(&g, &g.a, "db.example", &at), 2);
    loop_advance(g.loop, 2000);
    (void)loop_turn(g.loop, 0);
    CHECK_INT(find(&g, &g.a, "db.example", &at), -EAGAIN);
    CHECK_INT(host_names_stats(g.names).asked, 2);
    rig_stop(&g);
}

TEST(a_failure_is_kept_for_a_second)
{
    struct rig g;
    const struct ip *at = NULL;

    rig_start(&g, FAKE_DNS_RCODE);
    g.dns.rcode = 3;
    CHECK_INT(await(&g, &g.a, "nx.example", &at), -ERR_NOT_FOUND);
    loop_stop_clock(g.loop);
    CHECK_INT(find(&g, &g.b, "nx.example", &at), -ERR_NOT_FOUND);
    CHECK_INT(host_names_stats(g.names).asked, 1);
    loop_advance(g.loop, HOST_NAMES_FAILURE_MS);
    (void)loop_turn(g.loop, 0);
    CHECK_INT(find(&g, &g.b, "nx.example", &at), -EAGAIN);
    rig_stop(&g);
}

TEST(who_stops_waiting_is_not_woken)
{
    struct rig g;
    const struct ip *at = NULL;

    rig_start(&g, FAKE_DNS_ANSWERS);
    CHECK_INT(find(&g, &g.a, "db.example", &at), -EAGAIN);
    host_wait_stop(&g.a.wait);
    CHECK_INT(await(&g, &g.b, "db.example", &at), 2);
    CHECK_INT(g.a.wakes, 0);
    rig_stop(&g);
}

TEST(names_have_a_limit_and_the_oldest_goes_first)
{
    struct rig g;
    const struct ip *at = NULL;
    char name[32];

    rig_start(&g, FAKE_DNS_SILENT);
    for (unsigned i = 0; i < HOST_NAMES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%u.example", i);
        g.source = i / HOST_NAMES_OF_SOURCE;
        CHECK_INT(find(&g, &g.a, name, &at), -EAGAIN);
    }
    g.source = SOURCES - 1;
    CHECK_INT(find(&g, &g.b, "one.more", &at), -ERR_LIMIT);
    CHECK_INT(await(&g, &g.a, "n1023.example", &at), -ERR_DEADLINE);
    CHECK_INT(find(&g, &g.b, "one.more", &at), -EAGAIN);
    CHECK_INT(host_names_stats(g.names).names, HOST_NAMES_MAX);
    rig_stop(&g);
}

TEST(a_source_that_asks_for_too_much_does_not_keep_others_from_asking)
{
    struct rig g;
    const struct ip *at = NULL;
    char name[32];

    rig_start(&g, FAKE_DNS_SILENT);
    for (unsigned i = 0; i < HOST_NAMES_OF_SOURCE; i++) {
        (void)snprintf(name, sizeof(name), "n%u.example", i);
        CHECK_INT(find(&g, &g.a, name, &at), -EAGAIN);
    }
    CHECK_INT(find(&g, &g.a, "one.more", &at), -ERR_LIMIT);
    CHECK_INT(host_names_stats(g.names).refused, 1);
    CHECK_INT(find(&g, &g.a, "n0.example", &at), -EAGAIN); /* it is being asked for */
    g.source = 1;
    CHECK_INT(find(&g, &g.b, "one.more", &at), -EAGAIN);
    g.source = 0;
    CHECK_INT(await(&g, &g.a, "n0.example", &at), -ERR_DEADLINE);
    CHECK_INT(find(&g, &g.a, "two.more", &at), -EAGAIN);
    rig_stop(&g);
}

TEST(a_source_may_go_while_it_is_asked_for)
{
    struct rig g;
    const struct ip *at = NULL;

    rig_start(&g, FAKE_DNS_ANSWERS);
    CHECK_INT(find(&g, &g.a, "db.example", &at), -EAGAIN);
    host_source_fini(&g.sources[0]);
    g.source = 1;
    CHECK_INT(await(&g, &g.b, "db.example", &at), 2);
    CHECK_INT(g.sources[0].asking, 0);
    CHECK_INT(g.sources[1].asking, 0);
    rig_stop(&g);
}
