/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/stats.h"

#include "obs/access.h"
#include "obs/labels.h"
#include "obs/loop_meter.h"
#include "obs/part_meter.h"
#include "proxy/metrics.h"

/* ---- families */

static const struct metric_family pod_families[] = {
    METRIC_OF(GAUGE, pods_counts, active, "workload_manager_active_proxy_count",
              "The total number current workloads with active proxies (unstable)."),
    METRIC_OF(GAUGE, pods_counts, pending, "workload_manager_pending_proxy_count",
              "The total number current workloads with pending proxies (unstable)."),
    METRIC_OF(COUNTER, pods_counts, started, "workload_manager_proxies_started",
              "The total number of proxies that were started (unstable)."),
    METRIC_OF(COUNTER, pods_counts, stopped, "workload_manager_proxies_stopped",
              "The total number of proxies that were stopped (unstable).")};
static const struct metric_set pod_set = {.families = pod_families, .family_count = 4};

static const uint64_t dns_bounds_us[] = {500, 1000, 10000, 100000, 1000000, 5000000};
static const struct metric_family dns_families[] = {
    [DNS_COUNT_REQUEST] = {.name = "istio_dns_requests",
                           .help = "Total number of DNS requests (unstable).",
                           .type = METRIC_COUNTER},
    [DNS_COUNT_UPSTREAM] = {.name = "istio_dns_upstream_requests",
                            .help =
                                "Total number of DNS requests forwarded to upstream (unstable).",
                            .type = METRIC_COUNTER},
    [DNS_COUNT_FAILURE] = {.name = "istio_dns_upstream_failures",
                           .help = "Total number of DNS upstream failures (unstable).",
                           .type = METRIC_COUNTER},
    [DNS_COUNT_DURATION] = {.name = "istio_dns_upstream_request_duration_seconds",
                            .help = "Total time in seconds Istio takes to get DNS response from "
                                    "upstream (unstable).",
                            .unit = "seconds",
                            .type = METRIC_HISTOGRAM,
                            .bounds_us = dns_bounds_us,
                            .bound_count = ARRAY_LEN(dns_bounds_us)},
    [DNS_COUNT_CACHED] = {.name = "ambit_dns_cached",
                          .help = "DNS requests answered with what upstream said before.",
                          .type = METRIC_COUNTER}};
static const char *const dns_labels[] = {"request_query_type", "request_protocol",
                                         "source_canonical_service", "source_canonical_revision"};
static const struct metric_set dns_set = {.families = dns_families,
                                          .family_count = ARRAY_LEN(dns_families),
                                          .labels = dns_labels,
                                          .label_count = ARRAY_LEN(dns_labels),
                                          .series_max = 1024};

static const struct metric_family socket_families[] = {
    {.name = "istio_tcp_sockets_open",
     .help = "The number of accepted TCP sockets that are open (unstable).",
     .type = METRIC_GAUGE}};
static const char *const socket_labels[] = {"reporter"};
static const struct metric_set socket_set = {
    .families = socket_families, .family_count = 1, .labels = socket_labels, .label_count = 1};

static const struct metric_family refused_families[] = {
    {.name = "ambit_connections_refused",
     .help = "Connections refused because their pod had as many as it may have.",
     .type = METRIC_COUNTER}};
static const struct metric_set refused_set = {
    .families = refused_families, .family_count = 1, .labels = socket_labels, .label_count = 1};

static const struct metric_family name_families[] = {
    {.name = "istio_on_demand_dns",
     .help = "The total number of requests that used on-demand DNS (unstable).",
     .type = METRIC_COUNTER}};
static const char *const name_labels[] = {SIDE_LABEL_NAMES("source"), "hostname"};
static const struct metric_set name_set = {.families = name_families,
                                           .family_count = 1,
                                           .labels = name_labels,
                                           .label_count = ARRAY_LEN(name_labels),
                                           .series_max = 1024};

const struct metric_set *const stats_sets[STATS_SETS] = {&access_metrics,
                                                         &failure_metrics,
                                                         &loop_metrics,
                                                         &build_metrics,
                                                         &discovery_end_metrics,
                                                         &discovery_message_metrics,
                                                         &dns_set,
                                                         &socket_set,
                                                         &refused_set,
                                                         &pod_set,
                                                         &name_set,
                                                         &socket_metrics,
                                                         &host_name_metrics,
                                                         &dns_upstream_metrics,
                                                         &handshake_metrics,
                                                         &tunnel_metrics};

/* ---- counting */

void stats_pods(struct metrics_shard *shard, const struct pods_counts *now,
                struct pods_counts *before)
{
    series_follow(metrics_series(shard, &pod_set, NULL), now, before, sizeof(*now));
}

static const char *query_type_name(uint16_t type)
{
    static const struct {
        uint16_t type;
        const char *name;
    } names[] = {{1, "a"},    {28, "aaaa"}, {5, "cname"}, {15, "mx"}, {2, "ns"},
                 {12, "ptr"}, {6, "soa"},   {33, "srv"},  {16, "txt"}};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].type == type) {
            return names[i].name;
        }
    }
    return "other";
}

void stats_dns(struct metrics_shard *shard, const struct dns_counted *c)
{
    struct slice labels[] = {slice_of(query_type_name(c->query_type)),
                             slice_of(c->tcp ? "tcp" : "udp"),
                             label_or_unknown(c->client ? c->client->canonical_name : NULL),
                             label_or_unknown(c->client ? c->client->canonical_revision : NULL)};
    struct series *x = metrics_series(shard, &dns_set, labels);

    if (c->what == DNS_COUNT_DURATION) {
        series_observe_us(x, c->what, c->us);
    } else {
        series_add(x, c->what, 1);
    }
}

void stats_on_demand_dns(struct metrics_shard *shard, const struct workload *client,
                         const char *hostname)
{
    struct access_side side = {.pod = NULL};
    struct slice labels[SIDE_LABELS + 1];

    side_from_workload(&side, client);
    side.principal = client->identity->uri;
    side_labels(labels, &side);
    labels[SIDE_LABELS] = slice_of(hostname);
    series_add(metrics_series(shard, &name_set, labels), 0, 1);
}

static struct slice reporter(bool outbound)
{
    return slice_of(outbound ? "source" : "destination");
}

void stats_refused(struct metrics_shard *shard, bool outbound)
{
    struct slice label = reporter(outbound);

    series_add(metrics_series(shard, &refused_set, &label), 0, 1);
}

void stats_sockets(struct metrics_shard *shard, bool outbound, int by)
{
    struct slice label = reporter(outbound);

    series_move(metrics_series(shard, &socket_set, &label), 0, by);
}
