/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/stats.h"

#include "obs/access.h"
#include "obs/http_access.h"
#include "obs/loop_meter.h"
#include "obs/part_meter.h"
#include "proxy/metrics.h"

/* ---- families */

enum { NACKS };
static const struct metric_family nack_families[] = {
    {.name = "wp_config_rejected",
     .help = "Resources of the control plane that were refused.",
     .type = METRIC_COUNTER}};
static const struct metric_set nack_set = {.families = nack_families, .family_count = 1};

enum {
    RETRIES,
    MIRRORS,
    MIRRORS_DROPPED,
    EJECTIONS,
    CONNECTS,
    CONNECT_FAILURES,
    OVERFLOWS,
    REUSES
};
static const struct metric_family counter_families[] = {
    [RETRIES] = {.name = "wp_request_retries",
                 .help = "Tries of requests beyond the first.",
                 .type = METRIC_COUNTER},
    [MIRRORS] = {.name = "wp_mirrors", .help = "Copies of requests.", .type = METRIC_COUNTER},
    [MIRRORS_DROPPED] = {.name = "wp_mirrors_dropped",
                         .help = "Copies that were not sent: too large, or nowhere to go.",
                         .type = METRIC_COUNTER},
    [EJECTIONS] = {.name = "wp_ejections",
                   .help = "Endpoints taken out for their errors.",
                   .type = METRIC_COUNTER},
    [CONNECTS] = {.name = "wp_upstream_connects",
                  .help = "Connections to endpoints that came about.",
                  .type = METRIC_COUNTER},
    [CONNECT_FAILURES] = {.name = "wp_upstream_connect_failures",
                          .help = "Connections to endpoints that did not come about.",
                          .type = METRIC_COUNTER},
    [OVERFLOWS] = {.name = "wp_upstream_overflows",
                   .help = "Requests refused because too many waited.",
                   .type = METRIC_COUNTER},
    [REUSES] = {.name = "wp_upstream_reuses",
                .help = "Requests on a connection that had carried one before.",
                .type = METRIC_COUNTER}};
static const struct metric_set counter_set = {.families = counter_families,
                                              .family_count = ARRAY_LEN(counter_families)};

enum { TOKEN_HITS, TOKEN_MISSES };
static const struct metric_family token_families[] = {
    [TOKEN_HITS] = {.name = "wp_token_cache_hits",
                    .help = "Tokens whose signature was known to be good.",
                    .type = METRIC_COUNTER},
    [TOKEN_MISSES] = {.name = "wp_token_cache_misses",
                      .help = "Tokens whose signature was checked.",
                      .type = METRIC_COUNTER}};
static const struct metric_set token_set = {.families = token_families,
                                            .family_count = ARRAY_LEN(token_families)};

enum { OVERLOADED, RETRY_OVERFLOWS, POLICY_CUTS };
static const struct metric_family refusal_families[] = {
    [OVERLOADED] = {.name = "wp_overload_refusals",
                    .help = "Requests and connections refused because memory was short.",
                    .type = METRIC_COUNTER},
    [RETRY_OVERFLOWS] = {.name = "wp_request_retry_overflows",
                         .help = "Tries that were not made because too many others were under way.",
                         .type = METRIC_COUNTER},
    [POLICY_CUTS] = {.name = "wp_policy_cuts",
                     .help =
                         "Requests and connections under way that ended because policy changed.",
                     .type = METRIC_COUNTER}};
static const struct metric_set refusal_set = {.families = refusal_families,
                                              .family_count = ARRAY_LEN(refusal_families)};

enum { ENTRIES, UPSTREAMS, UPSTREAMS_IDLE, UPSTREAMS_WAITING };
static const struct metric_family gauge_families[] = {
    [ENTRIES] = {.name = "wp_connections",
                 .help = "Connections of clients, inside of tunnels or plain.",
                 .type = METRIC_GAUGE},
    [UPSTREAMS] = {.name = "wp_upstream_connections",
                   .help = "HTTP connections to endpoints.",
                   .type = METRIC_GAUGE},
    [UPSTREAMS_IDLE] = {.name = "wp_upstream_idle",
                        .help = "HTTP connections to endpoints without a request.",
                        .type = METRIC_GAUGE},
    [UPSTREAMS_WAITING] = {.name = "wp_upstream_pending",
                           .help = "Requests that wait for a connection.",
                           .type = METRIC_GAUGE}};
static const struct metric_set gauge_set = {.families = gauge_families,
                                            .family_count = ARRAY_LEN(gauge_families)};

const struct metric_set *const stats_sets[STATS_SETS] = {&http_access_metrics,
                                                         &loop_metrics,
                                                         &policy_audit_metrics,
                                                         &policy_dry_run_metrics,
                                                         &http_message_metrics,
                                                         &access_metrics,
                                                         &failure_metrics,
                                                         &build_metrics,
                                                         &discovery_end_metrics,
                                                         &discovery_message_metrics,
                                                         &nack_set,
                                                         &counter_set,
                                                         &token_set,
                                                         &refusal_set,
                                                         &gauge_set,
                                                         &socket_metrics,
                                                         &host_name_metrics,
                                                         &handshake_metrics,
                                                         &tunnel_metrics};

/* ---- counting */

void stats_rejected(struct metrics_shard *shard, uint64_t now, uint64_t *before)
{
    series_add(metrics_series(shard, &nack_set, NULL), NACKS, now - *before);
    *before = now;
}

void stats_engine(struct metrics_shard *shard, const struct engine_counts *now,
                  struct engine_counts *before)
{
    struct series *c = metrics_series(shard, &counter_set, NULL);
    struct series *r = metrics_series(shard, &refusal_set, NULL);
    struct series *t = metrics_series(shard, &token_set, NULL);
    struct series *g = metrics_series(shard, &gauge_set, NULL);

    series_add(c, RETRIES, now->retries - before->retries);
    series_add(c, MIRRORS, now->mirrors - before->mirrors);
    series_add(c, MIRRORS_DROPPED, now->mirrors_dropped - before->mirrors_dropped);
    series_add(r, OVERLOADED, now->overloaded - before->overloaded);
    series_add(r, RETRY_OVERFLOWS, now->retry_overflows - before->retry_overflows);
    series_add(r, POLICY_CUTS, now->policy_cuts - before->policy_cuts);
    series_add(c, EJECTIONS, now->ejections - before->ejections);
    series_add(t, TOKEN_HITS, now->token_hits - before->token_hits);
    series_add(t, TOKEN_MISSES, now->token_misses - before->token_misses);
    series_add(c, CONNECTS, now->connects - before->connects);
    series_add(c, CONNECT_FAILURES, now->connect_failures - before->connect_failures);
    series_add(c, OVERFLOWS, now->overflows - before->overflows);
    series_add(c, REUSES, now->reuses - before->reuses);
    series_set(g, ENTRIES, (int64_t)now->entries);
    series_set(g, UPSTREAMS, (int64_t)now->upstream_connections);
    series_set(g, UPSTREAMS_IDLE, (int64_t)now->upstream_idle);
    series_set(g, UPSTREAMS_WAITING, (int64_t)now->upstream_waiting);
    *before = *now;
}
