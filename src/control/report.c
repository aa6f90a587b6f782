/* SPDX-License-Identifier: Apache-2.0 */
#include "control/report.h"

#include "base/mem.h"
#include "obs/part_meter.h"

/* ---- by type of resource */

enum { BY_TYPE_PUSHES, BY_TYPE_RESPONSES, BY_TYPE_RESOURCES, BY_TYPE_REJECTS, BY_TYPE_FAMILIES };

static const struct metric_family by_type_families[BY_TYPE_FAMILIES] = {
    {"pilot_xds_pushes", "Responses sent because something changed.", NULL, METRIC_COUNTER, NULL,
     0},
    {"pilot_xds_responses", "Responses sent because a client asked.", NULL, METRIC_COUNTER, NULL,
     0},
    {"pilot_xds_resources", "Resources sent.", NULL, METRIC_COUNTER, NULL, 0},
    {"pilot_total_xds_rejects", "Responses that a client has refused.", NULL, METRIC_COUNTER, NULL,
     0},
};
static const char *const by_type_labels[] = {"type"};
static const struct metric_set by_type = {.families = by_type_families,
                                          .family_count = BY_TYPE_FAMILIES,
                                          .labels = by_type_labels,
                                          .label_count = 1};

/* ---- the rest: a counter or a gauge each, in sets of at most METRIC_FAMILIES_MAX */

enum {
    XDS_CONNECTED,
    XDS_BUFFERED,
    XDS_OPENED,
    XDS_REFUSED,
    XDS_CUT,
    XDS_SENT,
    XDS_EARLY,
    XDS_STRANGERS,
    XDS_FAMILIES
};

static const struct metric_family xds_families[XDS_FAMILIES] = {
    {"pilot_xds", "Streams that are open.", NULL, METRIC_GAUGE, NULL, 0},
    {"ambit_xds_buffered_bytes", "Responses that are being sent.", NULL, METRIC_GAUGE, NULL, 0},
    {"ambit_xds_streams", "Streams that were opened.", NULL, METRIC_COUNTER, NULL, 0},
    {"ambit_xds_streams_refused", "Streams refused because too many were open.", NULL,
     METRIC_COUNTER, NULL, 0},
    {"ambit_xds_cut", "Streams ended because the client was too slow.", NULL, METRIC_COUNTER, NULL,
     0},
    {"ambit_xds_sent_bytes", "Responses, in bytes.", "bytes", METRIC_COUNTER, NULL, 0},
    {"ambit_refused_early", "Calls before the cluster was known.", NULL, METRIC_COUNTER, NULL, 0},
    {"citadel_server_authentication_failure_count", "Calls without a good credential.", NULL,
     METRIC_COUNTER, NULL, 0},
};
static const struct metric_set xds_set = {.families = xds_families, .family_count = XDS_FAMILIES};

enum { CA_CSRS, CA_ISSUED, CA_DENIED, CA_FAILED, CA_ROOT, CA_WRITTEN, CA_UNWRITTEN, CA_FAMILIES };

static const struct metric_family ca_families[CA_FAMILIES] = {
    {"citadel_server_csr_count", "Certificate requests.", NULL, METRIC_COUNTER, NULL, 0},
    {"citadel_server_success_cert_issuance_count", "Certificates issued.", NULL, METRIC_COUNTER,
     NULL, 0},
    {"ambit_ca_denied", "Identities that the caller may not have.", NULL, METRIC_COUNTER, NULL, 0},
    {"citadel_server_csr_sign_err_count", "Requests that could not be signed.", NULL,
     METRIC_COUNTER, NULL, 0},
    {"citadel_server_root_cert_expiry_seconds", "Seconds until the root certificate ends.", NULL,
     METRIC_GAUGE, NULL, 0},
    {"ambit_status_writes", "Conditions written.", NULL, METRIC_COUNTER, NULL, 0},
    {"ambit_status_write_failures", "Conditions that were not written.", NULL, METRIC_COUNTER, NULL,
     0},
};
static const struct metric_set ca_set = {.families = ca_families, .family_count = CA_FAMILIES};

enum {
    REPLICA_GATEWAYS,
    REPLICA_PODS,
    REPLICA_MADE,
    REPLICA_ENDED,
    REPLICA_FAILED,
    REPLICA_FAMILIES
};

static const struct metric_family replica_families[REPLICA_FAMILIES] = {
    {"ambit_waypoint_gateways", "Gateways that are waypoints.", NULL, METRIC_GAUGE, NULL, 0},
    {"ambit_waypoint_pods", "Pods of waypoints.", NULL, METRIC_GAUGE, NULL, 0},
    {"ambit_waypoint_pods_made", "Pods of waypoints that were made.", NULL, METRIC_COUNTER, NULL,
     0},
    {"ambit_waypoint_pods_ended", "Pods of waypoints that were ended.", NULL, METRIC_COUNTER, NULL,
     0},
    {"ambit_waypoint_pod_failures", "Pods of waypoints that could not be made or ended.", NULL,
     METRIC_COUNTER, NULL, 0},
};
static const struct metric_set replica_set = {.families = replica_families,
                                              .family_count = REPLICA_FAMILIES};

enum { KNOWN_PODS, KNOWN_SERVICES, KNOWN_POLICIES, KNOWN_PEERS, KNOWN_FAMILIES };

static const struct metric_family known_families[KNOWN_FAMILIES] = {
    {"ambit_pods", "Pods that are known.", NULL, METRIC_GAUGE, NULL, 0},
    {"pilot_services", "Services that are known.", NULL, METRIC_GAUGE, NULL, 0},
    {"ambit_authorization_policies", "AuthorizationPolicies that are known.", NULL, METRIC_GAUGE,
     NULL, 0},
    {"ambit_peer_authentications", "PeerAuthentications that are known.", NULL, METRIC_GAUGE, NULL,
     0},
};
static const struct metric_set known_set = {.families = known_families,
                                            .family_count = KNOWN_FAMILIES};

struct report {
    struct metrics *metrics;
    struct metrics_shard *shard;
    struct series *types[ADS_TYPES];
    struct series *xds;
    struct series *ca;
    struct series *known;
    struct ads_server_stats ads; /* as last taken over; likewise the others */
    struct ca_service_stats ca_was;
    struct front_stats front;
    struct status_writer_stats status;
    struct waypoint_pods_stats pods;
};

struct report *report_new(void)
{
    static const struct metric_set *const sets[] = {
        &by_type, &xds_set, &ca_set, &replica_set, &known_set, &socket_metrics, &handshake_metrics};
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
    r->xds = metrics_series(r->shard, &xds_set, NULL);
    r->ca = metrics_series(r->shard, &ca_set, NULL);
    r->known = metrics_series(r->shard, &known_set, NULL);
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
        series_add(s, BY_TYPE_PUSHES, now->pushes[t] - r->ads.pushes[t]);
        series_add(s, BY_TYPE_RESPONSES, now->responses[t] - r->ads.responses[t]);
        series_add(s, BY_TYPE_RESOURCES, now->resources[t] - r->ads.resources[t]);
        series_add(s, BY_TYPE_REJECTS, now->rejects[t] - r->ads.rejects[t]);
    }
}

static void update_xds(struct report *r, const struct report_sources *s)
{
    series_set(r->xds, XDS_CONNECTED, s->ads->streams);
    series_set(r->xds, XDS_BUFFERED, (int64_t)s->ads->buffered);
    series_add(r->xds, XDS_OPENED, s->ads->opened - r->ads.opened);
    series_add(r->xds, XDS_REFUSED, s->ads->refused - r->ads.refused);
    series_add(r->xds, XDS_SENT, s->ads->bytes - r->ads.bytes);
    series_add(r->xds, XDS_CUT, s->ads->cut - r->ads.cut);
    series_add(r->xds, XDS_EARLY, s->front->refused_early - r->front.refused_early);
    series_add(r->xds, XDS_STRANGERS, s->front->unauthenticated - r->front.unauthenticated);
}

static void update_ca(struct report *r, const struct report_sources *s)
{
    series_add(r->ca, CA_CSRS, s->ca->requests - r->ca_was.requests);
    series_add(r->ca, CA_ISSUED, s->ca->issued - r->ca_was.issued);
    series_add(r->ca, CA_DENIED, s->ca->denied - r->ca_was.denied);
    series_add(r->ca, CA_FAILED, s->ca->failed - r->ca_was.failed);
    series_set(r->ca, CA_ROOT, s->root_expires_s);
    series_add(r->ca, CA_WRITTEN, s->status->written - r->status.written);
    series_add(r->ca, CA_UNWRITTEN, s->status->failed - r->status.failed);
}

static void update_replicas(struct report *r, const struct waypoint_pods_stats *now)
{
    struct series *x = metrics_series(r->shard, &replica_set, NULL);

    series_set(x, REPLICA_GATEWAYS, now->gateways);
    series_set(x, REPLICA_PODS, now->pods);
    series_add(x, REPLICA_MADE, now->made - r->pods.made);
    series_add(x, REPLICA_ENDED, now->ended - r->pods.ended);
    series_add(x, REPLICA_FAILED, now->failed - r->pods.failed);
    r->pods = *now;
}

void report_update(struct report *r, const struct report_sources *s)
{
    update_types(r, s->ads);
    update_xds(r, s);
    update_ca(r, s);
    if (s->pods) {
        update_replicas(r, s->pods);
    }
    series_set(r->known, KNOWN_PODS, (int64_t)index_count(s->index, INDEX_POD));
    series_set(r->known, KNOWN_SERVICES, (int64_t)index_count(s->index, INDEX_SERVICE));
    series_set(r->known, KNOWN_POLICIES, (int64_t)index_count(s->index, INDEX_AUTHORIZATION));
    series_set(r->known, KNOWN_PEERS, (int64_t)index_count(s->index, INDEX_PEER));
    r->ads = *s->ads;
    r->ca_was = *s->ca;
    r->front = *s->front;
    r->status = *s->status;
}
