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

static const struct metric_family counter_families[] = {
    METRIC_OF(COUNTER, engine_counts, retries, "wp_request_retries",
              "Tries of requests beyond the first."),
    METRIC_OF(COUNTER, engine_counts, mirrors, "wp_mirrors", "Copies of requests."),
    METRIC_OF(COUNTER, engine_counts, mirrors_dropped, "wp_mirrors_dropped",
              "Copies that were not sent: too large, or nowhere to go."),
    METRIC_OF(COUNTER, engine_counts, ejections, "wp_ejections",
              "Endpoints taken out for their errors."),
    METRIC_OF(COUNTER, engine_counts, connects, "wp_upstream_connects",
              "Connections to endpoints that came about."),
    METRIC_OF(COUNTER, engine_counts, connect_failures, "wp_upstream_connect_failures",
              "Connections to endpoints that did not come about."),
    METRIC_OF(COUNTER, engine_counts, overflows, "wp_upstream_overflows",
              "Requests refused because too many waited."),
    METRIC_OF(COUNTER, engine_counts, reuses, "wp_upstream_reuses",
              "Requests on a connection that had carried one before.")};
static const struct metric_set counter_set = {.families = counter_families,
                                              .family_count = ARRAY_LEN(counter_families)};

static const struct metric_family token_families[] = {
    METRIC_OF(COUNTER, engine_counts, token_hits, "wp_token_cache_hits",
              "Tokens whose signature was known to be good."),
    METRIC_OF(COUNTER, engine_counts, token_misses, "wp_token_cache_misses",
              "Tokens whose signature was checked.")};
static const struct metric_set token_set = {.families = token_families,
                                            .family_count = ARRAY_LEN(token_families)};

static const struct metric_family refusal_families[] = {
    METRIC_OF(COUNTER, engine_counts, overloaded, "wp_overload_refusals",
              "Requests and connections refused because memory was short."),
    METRIC_OF(COUNTER, engine_counts, retry_overflows, "wp_request_retry_overflows",
              "Tries that were not made because too many others were under way."),
    METRIC_OF(COUNTER, engine_counts, policy_cuts, "wp_policy_cuts",
              "Requests and connections under way that ended because policy changed.")};
static const struct metric_set refusal_set = {.families = refusal_families,
                                              .family_count = ARRAY_LEN(refusal_families)};

static const struct metric_family gauge_families[] = {
    METRIC_OF(GAUGE, engine_counts, entries, "wp_connections",
              "Connections of clients, inside of tunnels or plain."),
    METRIC_OF(GAUGE, engine_counts, upstream_connections, "wp_upstream_connections",
              "HTTP connections to endpoints."),
    METRIC_OF(GAUGE, engine_counts, upstream_idle, "wp_upstream_idle",
              "HTTP connections to endpoints without a request."),
    METRIC_OF(GAUGE, engine_counts, upstream_waiting, "wp_upstream_pending",
              "Requests that wait for a connection.")};
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
    static const struct metric_set *const sets[] = {&counter_set, &token_set, &refusal_set,
                                                    &gauge_set};

    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        series_follow(metrics_series(shard, sets[i], NULL), now, before, 0);
    }
    *before = *now;
}
