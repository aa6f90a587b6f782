/* SPDX-License-Identifier: Apache-2.0 */
#include "control/report.h"

#include "base/mem.h"
#include "obs/part_meter.h"

/* ---- by type of resource */

enum { PUSHES, RESPONSES, RESOURCES, REJECTS };
static const struct metric_family by_type_families[] = {
    [PUSHES] = {.name = "pilot_xds_pushes",
                .help = "Responses sent because something changed.",
                .type = METRIC_COUNTER},
    [RESPONSES] = {.name = "pilot_xds_responses",
                   .help = "Responses sent because a client asked.",
                   .type = METRIC_COUNTER},
    [RESOURCES] = {.name = "pilot_xds_resources",
                   .help = "Resources sent.",
                   .type = METRIC_COUNTER},
    [REJECTS] = {.name = "pilot_total_xds_rejects",
                 .help = "Responses that a client has refused.",
                 .type = METRIC_COUNTER}};
static const char *const by_type_labels[] = {"type"};
static const struct metric_set by_type = {.families = by_type_families,
                                          .family_count = ARRAY_LEN(by_type_families),
                                          .labels = by_type_labels,
                                          .label_count = 1};

/* ---- the rest: a counter or a gauge each, in sets of at most METRIC_FAMILIES_MAX */

static const struct metric_family xds_families[] = {
    METRIC_OF(GAUGE, ads_server_stats, streams, "pilot_xds", "Streams that are open."),
    METRIC_OF(GAUGE, ads_server_stats, buffered, "ambit_xds_buffered_bytes",
              "Responses that are being sent."),
    METRIC_OF(COUNTER, ads_server_stats, opened, "ambit_xds_streams", "Streams that were opened."),
    METRIC_OF(COUNTER, ads_server_stats, refused, "ambit_xds_streams_refused",
              "Streams refused because too many were open."),
    METRIC_OF(COUNTER, ads_server_stats, cut, "ambit_xds_cut",
              "Streams ended because the client was too slow."),
    METRIC_OF(COUNTER, ads_server_stats, bytes, "ambit_xds_sent_bytes", "Responses, in bytes.",
              .unit = "bytes")};
static const struct metric_set xds_set = {.families = xds_families,
                                          .family_count = ARRAY_LEN(xds_families)};

static const struct metric_family front_families[] = {
    METRIC_OF(COUNTER, front_stats, refused_early, "ambit_refused_early",
              "Calls before the cluster was known."),
    METRIC_OF(COUNTER, front_stats, unauthenticated, "citadel_server_authentication_failure_count",
              "Calls without a good credential.")};
static const struct metric_set front_set = {.families = front_families,
                                            .family_count = ARRAY_LEN(front_families)};

static const struct metric_family ca_families[] = {
    METRIC_OF(COUNTER, ca_service_stats, requests, "citadel_server_csr_count",
              "Certificate requests."),
    METRIC_OF(COUNTER, ca_service_stats, issued, "citadel_server_success_cert_issuance_count",
              "Certificates issued."),
    METRIC_OF(COUNTER, ca_service_stats, denied, "ambit_ca_denied",
              "Identities that the caller may not have."),
    METRIC_OF(COUNTER, ca_service_stats, failed, "citadel_server_csr_sign_err_count",
              "Requests that could not be signed.")};
static const struct metric_set ca_set = {.families = ca_families,
                                         .family_count = ARRAY_LEN(ca_families)};

static const struct metric_family status_families[] = {
    METRIC_OF(COUNTER, status_writer_stats, written, "ambit_status_writes", "Conditions written."),
    METRIC_OF(COUNTER, status_writer_stats, failed, "ambit_status_write_failures",
              "Conditions that were not written.")};
static const struct metric_set status_set = {.families = status_families,
                                             .family_count = ARRAY_LEN(status_families)};

static const struct metric_family replica_families[] = {
    METRIC_OF(GAUGE, waypoint_pods_stats, gateways, "ambit_waypoint_gateways",
              "Gateways that are waypoints."),
    METRIC_OF(GAUGE, waypoint_pods_stats, pods, "ambit_waypoint_pods", "Pods of waypoints."),
    METRIC_OF(COUNTER, waypoint_pods_stats, made, "ambit_waypoint_pods_made",
              "Pods of waypoints that were made."),
    METRIC_OF(COUNTER, waypoint_pods_stats, ended, "ambit_waypoint_pods_ended",
              "Pods of waypoints that were ended."),
    METRIC_OF(COUNTER, waypoint_pods_stats, failed, "ambit_waypoint_pod_failures",
              "Pods of waypoints that could not be made or ended.")};
static const struct metric_set replica_set = {.families = replica_families,
                                              .family_count = ARRAY_LEN(replica_families)};

enum { ROOT_EXPIRY, KNOWN_PODS, KNOWN_SERVICES, KNOWN_POLICIES, KNOWN_PEERS };
static const struct metric_family known_families[] = {
    [ROOT_EXPIRY] = {.name = "citadel_server_root_cert_expiry_seconds",
                     .help = "Seconds until the root certificate ends.",
                     .type = METRIC_GAUGE},
    [KNOWN_PODS] = {.name = "ambit_pods", .help = "Pods that are known.", .type = METRIC_GAUGE},
    [KNOWN_SERVICES] = {.name = "pilot_services",
                        .help = "Services that are known.",
                        .type = METRIC_GAUGE},
    [KNOWN_POLICIES] = {.name = "ambit_authorization_policies",
                        .help = "AuthorizationPolicies that are known.",
                        .type = METRIC_GAUGE},
    [KNOWN_PEERS] = {.name = "ambit_peer_authentications",
                     .help = "PeerAuthentications that are known.",
                     .type = METRIC_GAUGE}};
static const struct metric_set known_set = {.families = known_families,
                                            .family_count = ARRAY_LEN(known_families)};

struct report {
    struct metrics *metrics;
    struct metrics_shard *shard;
    struct series *types[ADS_TYPES];
    struct ads_server_stats ads; /* as last taken over; likewise the others */
    struct ca_service_stats ca;
    struct front_stats front;
    struct status_writer_stats status;
    struct waypoint_pods_stats pods;
};

struct report *report_new(void)
{
    static const struct metric_set *const sets[] = {
        &by_type,     &xds_set,   &front_set,      &ca_set,           &status_set,
        &replica_set, &known_set, &socket_metrics, &handshake_metrics};
    static const char *const names[ADS_TYPES] = {
        [ADS_ADDRESS] = "Address",  [ADS_AUTHORIZATION] = "Authorization",
        [ADS_L7_POLICY] = "Policy", [ADS_L7_TRAFFIC] = "Traffic",
        [ADS_L7_ROUTE] = "Route",   [ADS_L7_BINDING] = "Binding"};
    struct report *r = mem_new(struct report);

    r->metrics = metrics_new(sets, ARRAY_LEN(sets));
    metrics_probe_process(r->metrics);
    r->shard = metrics_shard_new(r->metrics);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        struct slice label = slice_of(names[t]);
        r->types[t] = metrics_series(r->shard, &by_type, &label);
    }
    return r;
}

void report_free(struct report *r)
{
    if (r) {
        metrics_free(r->metrics);
        mem_free(r);
    }
}

struct metrics *report_metrics(struct report *r)
{
    return r->metrics;
}

struct metrics_shard *report_shard(struct report *r)
{
    return r->shard;
}

static void update_types(struct report *r, const struct ads_server_stats *now)
{
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        struct series *s = r->types[t];
        series_add(s, PUSHES, now->pushes[t] - r->ads.pushes[t]);
        series_add(s, RESPONSES, now->responses[t] - r->ads.responses[t]);
        series_add(s, RESOURCES, now->resources[t] - r->ads.resources[t]);
        series_add(s, REJECTS, now->rejects[t] - r->ads.rejects[t]);
    }
}

static void follow(struct report *r, const struct metric_set *set, const void *now, void *told,
                   size_t size)
{
    series_follow(metrics_series(r->shard, set, NULL), now, told, size);
}

static void update_known(struct report *r, const struct report_sources *s)
{
    struct series *x = metrics_series(r->shard, &known_set, NULL);

    series_set(x, ROOT_EXPIRY, s->root_expires_s);
    series_set(x, KNOWN_PODS, (int64_t)index_count(s->index, INDEX_POD));
    series_set(x, KNOWN_SERVICES, (int64_t)index_count(s->index, INDEX_SERVICE));
    series_set(x, KNOWN_POLICIES, (int64_t)index_count(s->index, INDEX_AUTHORIZATION));
    series_set(x, KNOWN_PEERS, (int64_t)index_count(s->index, INDEX_PEER));
}

void report_update(struct report *r, const struct report_sources *s)
{
    update_types(r, s->ads);
    follow(r, &xds_set, s->ads, &r->ads, sizeof(r->ads));
    follow(r, &front_set, s->front, &r->front, sizeof(r->front));
    follow(r, &ca_set, s->ca, &r->ca, sizeof(r->ca));
    follow(r, &status_set, s->status, &r->status, sizeof(r->status));
    if (s->pods) {
        follow(r, &replica_set, s->pods, &r->pods, sizeof(r->pods));
    }
    update_known(r, s);
}
