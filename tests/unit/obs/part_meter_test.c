/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/part_meter.h"

#include <stdio.h>
#include <string.h>

#include "io/sock_factory_local.h"
#include "t.h"

static const struct metric_set *const sets[] = {&socket_metrics, &host_name_metrics,
                                                &dns_upstream_metrics, &handshake_metrics,
                                                &tunnel_metrics};

struct rig {
    struct loop *loop;
    struct metrics *metrics;
    struct part_meter meter;
};

static void rig_start(struct rig *g)
{
    *g = (struct rig){.loop = loop_new(NULL), .metrics = metrics_new(sets, ARRAY_LEN(sets))};
    loop_stop_clock(g->loop);
    g->meter.loop = g->loop;
}

static void rig_stop(struct rig *g)
{
    part_meter_stop(&g->meter);
    loop_free(g->loop);
    metrics_free(g->metrics);
}

static void pass_time(struct rig *g)
{
    loop_advance(g->loop, PART_METER_MS);
    (void)loop_turn(g->loop, 0); /* the timer */
    (void)loop_turn(g->loop, 0);
}

static bool says(const struct rig *g, const char *line)
{
    AUTO(strbuf) struct strbuf out = {0};

    metrics_write(g->metrics, &out);
    return strstr(strbuf_text(&out), line) != NULL;
}

TEST(what_sockets_count_is_told_once)
{
    struct rig g;

    rig_start(&g);
    loop_counts(g.loop)->accept_pauses = 2;
    part_meter_start(&g.meter, metrics_shard_new(g.metrics));
    (void)loop_turn(g.loop, 0);
    CHECK(says(&g, "\nambit_accept_pauses_total 2\n"));
    CHECK(says(&g, "\nambit_datagrams_lost_total 0\n"));
    loop_counts(g.loop)->accept_pauses = 3;
    loop_counts(g.loop)->datagrams_lost = 1;
    loop_counts(g.loop)->splices = 4;
    pass_time(&g);
    pass_time(&g);
    CHECK(says(&g, "\nambit_accept_pauses_total 3\n"));
    CHECK(says(&g, "\nambit_datagrams_lost_total 1\n"));
    CHECK(says(&g, "\nambit_splices_total 4\n"));
    CHECK(!says(&g, "ambit_tunnel")); /* parts that there are not have no families */
    CHECK(!says(&g, "ambit_host"));
    rig_stop(&g);
}

TEST(names_that_are_not_looked_up_are_told)
{
    struct rig g;
    struct resolver_options o = {.servers = "127.0.0.1:9"};
    struct host_source source;
    struct host_wait w = {.owner = NULL};
    const struct ip *at;

    rig_start(&g);
    AUTO(resolver) struct resolver *resolver = resolver_new(g.loop, &o, NULL);
    AUTO(host_names) struct host_names *hosts = host_names_new(g.loop, resolver);
    host_source_init(&source);
    g.meter.hosts = hosts;
    for (unsigned i = 0; i < HOST_NAMES_OF_SOURCE + 2; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "n%u.example", i);
        int r = host_names_find(hosts, name, &source, &w, &at, NULL);
        CHECK_INT(r, i < HOST_NAMES_OF_SOURCE ? -EAGAIN : -ERR_LIMIT);
        host_wait_stop(&w);
    }
    part_meter_start(&g.meter, metrics_shard_new(g.metrics));
    (void)loop_turn(g.loop, 0);
    CHECK(says(&g, "\nambit_host_lookups_total 64\n"));
    CHECK(says(&g, "\nambit_host_lookups_refused_total 2\n"));
    CHECK(says(&g, "\nambit_host_names 64\n"));
    host_source_fini(&source);
    part_meter_stop(&g.meter);
    host_names_free(MOVE(hosts));
    resolver_free(MOVE(resolver));
    rig_stop(&g);
}

static void asker(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

TEST(queries_that_are_not_forwarded_are_told)
{
    struct rig g;
    struct endpoint server = {.port = 9};
    struct dns_source source = {0};
    struct task owner;

    rig_start(&g);
    CHECK_INT(ip_parse(&server.ip, "127.0.0.1", 9), 0);
    struct dns_upstream_options o = {.servers = &server, .server_count = 1};
    struct sock_factory *sockets = sock_factory_local_new(NULL);
    struct dns_upstream *up = dns_upstream_new(g.loop, sockets, &o, NULL);
    task_init(&owner, g.loop, "asker", asker);
    dns_query_free(dns_query_new(up, NULL, &source, (const uint8_t *)"no query", 8, &owner));
    g.meter.upstream = up;
    part_meter_start(&g.meter, metrics_shard_new(g.metrics));
    (void)loop_turn(g.loop, 0);
    CHECK(says(&g, "\nambit_dns_upstream_refused_total 1\n"));
    CHECK(says(&g, "\nambit_dns_upstream_tries_total 0\n"));
    part_meter_stop(&g.meter);
    task_fini(&owner);
    dns_upstream_free(up);
    sock_factory_free(sockets);
    rig_stop(&g);
}
