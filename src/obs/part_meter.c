/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/part_meter.h"

/* ---- families */

static const struct metric_family socket_families[] = {
    METRIC_OF(COUNTER, loop_counts, accept_pauses, "ambit_accept_pauses",
              "Times a listener paused for want of descriptors or memory."),
    METRIC_OF(COUNTER, loop_counts, datagrams_lost, "ambit_datagrams_lost",
              "Datagrams that could not be sent, or were too large to be read."),
    METRIC_OF(COUNTER, loop_counts, splices, "ambit_splices",
              "Times bytes began to be moved by the kernel instead of being copied.")};
const struct metric_set socket_metrics = {.families = socket_families,
                                          .family_count = ARRAY_LEN(socket_families)};

static const struct metric_family host_name_families[] = {
    METRIC_OF(COUNTER, host_names_stats, asked, "ambit_host_lookups",
              "Host names of workloads that name servers were asked for."),
    METRIC_OF(COUNTER, host_names_stats, failed, "ambit_host_lookup_failures",
              "Lookups that found no address."),
    METRIC_OF(COUNTER, host_names_stats, refused, "ambit_host_lookups_refused",
              "Lookups not begun because too many were under way."),
    METRIC_OF(GAUGE, host_names_stats, names, "ambit_host_names", "Host names kept.")};
const struct metric_set host_name_metrics = {.families = host_name_families,
                                             .family_count = ARRAY_LEN(host_name_families)};

static const struct metric_family dns_upstream_families[] = {
    METRIC_OF(COUNTER, dns_upstream_stats, tries, "ambit_dns_upstream_tries",
              "Times a name server was asked on behalf of a client."),
    METRIC_OF(COUNTER, dns_upstream_stats, streams, "ambit_dns_upstream_tcp_tries",
              "Of these, those over TCP."),
    METRIC_OF(COUNTER, dns_upstream_stats, refused, "ambit_dns_upstream_refused",
              "Queries not forwarded: malformed, or too many under way."),
    METRIC_OF(COUNTER, dns_upstream_stats, strangers, "ambit_dns_upstream_strangers",
              "Datagrams of name servers that answered nothing that was asked.")};
const struct metric_set dns_upstream_metrics = {.families = dns_upstream_families,
                                                .family_count = ARRAY_LEN(dns_upstream_families)};

static const struct metric_family handshake_families[] = {
    METRIC_OF(GAUGE, tls_loop_stats, handshakes, "ambit_tls_handshakes_pending",
              "TLS handshakes under way."),
    METRIC_OF(COUNTER, tls_loop_stats, done, "ambit_tls_handshakes",
              "TLS handshakes that succeeded."),
    METRIC_OF(COUNTER, tls_loop_stats, failed, "ambit_tls_handshake_failures",
              "TLS handshakes that failed, refused ones, too."),
    METRIC_OF(COUNTER, tls_loop_stats, refused, "ambit_tls_handshakes_refused",
              "TLS handshakes not begun because too many were under way."),
    METRIC_OF(COUNTER, tls_loop_stats, displaced, "ambit_tls_handshakes_displaced",
              "TLS handshakes ended for one of an address that had less than its share of them."),
    METRIC_OF(COUNTER, tls_loop_stats, chains_known, "ambit_tls_chains_known",
              "Of the TLS handshakes that succeeded, those whose peer's certificates had been "
              "verified before.")};
const struct metric_set handshake_metrics = {.families = handshake_families,
                                             .family_count = ARRAY_LEN(handshake_families)};

static const struct metric_family tunnel_families[] = {
    METRIC_OF(GAUGE, hbone_stats, tunnels, "ambit_tunnels", "Tunnels, both ends."),
    METRIC_OF(GAUGE, hbone_stats, streams, "ambit_tunnel_streams",
              "Streams of tunnels, both ends."),
    METRIC_OF(GAUGE, hbone_stats, buffered_bytes, "ambit_tunnel_buffered_bytes",
              "Received through tunnels and not passed on yet.", .unit = "bytes"),
    METRIC_OF(COUNTER, hbone_stats, protocol, "ambit_tunnel_protocol_errors",
              "Tunnels ended because the peer broke the protocol or asked too much."),
    METRIC_OF(COUNTER, hbone_stats, abuse, "ambit_tunnel_abuses",
              "Tunnels ended because the peer asked too much."),
    METRIC_OF(COUNTER, hbone_stats, refused, "ambit_tunnel_streams_refused",
              "Streams refused because the tunnel had too many."),
    METRIC_OF(COUNTER, hbone_stats, hoarders, "ambit_tunnel_streams_reset",
              "Streams reset because memory was short."),
    METRIC_OF(COUNTER, hbone_stats, retries, "ambit_tunnel_dial_retries",
              "Streams that were opened on another tunnel than at first.")};
const struct metric_set tunnel_metrics = {.families = tunnel_families,
                                          .family_count = ARRAY_LEN(tunnel_families)};

/* ---- counting */

static void tell(struct part_meter *m, const struct metric_set *set, const void *now, void *told,
                 size_t size)
{
    series_follow(metrics_series(m->shard, set, NULL), now, told, size);
}

static void run(struct task *t, unsigned why)
{
    struct part_meter *m = container_of(t, struct part_meter, task);

    (void)why; /* the timer's */
    tell(m, &socket_metrics, loop_counts(m->loop), &m->sockets, sizeof(m->sockets));
    if (m->hosts) {
        struct host_names_stats now = host_names_stats(m->hosts);
        tell(m, &host_name_metrics, &now, &m->names, sizeof(now));
    }
    if (m->upstream) {
        struct dns_upstream_stats now = dns_upstream_stats(m->upstream);
        tell(m, &dns_upstream_metrics, &now, &m->forwarded, sizeof(now));
    }
    if (m->tls) {
        struct tls_loop_stats now = tls_loop_stats(m->tls);
        tell(m, &handshake_metrics, &now, &m->handshakes, sizeof(now));
    }
    if (m->hbone) {
        tell(m, &tunnel_metrics, hbone_loop_stats(m->hbone), &m->tunnels, sizeof(m->tunnels));
    }
    timer_set(&m->next, &m->task, PART_METER_MS);
}

void part_meter_start(struct part_meter *m, struct metrics_shard *shard)
{
    m->shard = shard;
    task_init(&m->task, m->loop, "meter", run);
    task_wake(&m->task, WAKE_START);
}

void part_meter_stop(struct part_meter *m)
{
    if (m->shard) {
        timer_clear(&m->next);
        task_fini(&m->task);
        m->shard = NULL;
    }
}
