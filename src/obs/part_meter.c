/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/part_meter.h"

/* ---- families */

enum { ACCEPT_PAUSES, DATAGRAMS_LOST, SPLICES };
static const struct metric_family socket_families[] = {
    [ACCEPT_PAUSES] = {.name = "ambit_accept_pauses",
                       .help = "Times a listener paused for want of descriptors or memory.",
                       .type = METRIC_COUNTER},
    [DATAGRAMS_LOST] = {.name = "ambit_datagrams_lost",
                        .help = "Datagrams that could not be sent, or were too large to be read.",
                        .type = METRIC_COUNTER},
    [SPLICES] = {.name = "ambit_splices",
                 .help = "Times bytes began to be moved by the kernel instead of being copied.",
                 .type = METRIC_COUNTER}};
const struct metric_set socket_metrics = {.families = socket_families,
                                          .family_count = ARRAY_LEN(socket_families)};

enum { LOOKUPS, LOOKUP_FAILURES, LOOKUPS_REFUSED, NAMES };
static const struct metric_family host_name_families[] = {
    [LOOKUPS] = {.name = "ambit_host_lookups",
                 .help = "Host names of workloads that name servers were asked for.",
                 .type = METRIC_COUNTER},
    [LOOKUP_FAILURES] = {.name = "ambit_host_lookup_failures",
                         .help = "Lookups that found no address.",
                         .type = METRIC_COUNTER},
    [LOOKUPS_REFUSED] = {.name = "ambit_host_lookups_refused",
                         .help = "Lookups not begun because too many were under way.",
                         .type = METRIC_COUNTER},
    [NAMES] = {.name = "ambit_host_names", .help = "Host names kept.", .type = METRIC_GAUGE}};
const struct metric_set host_name_metrics = {.families = host_name_families,
                                             .family_count = ARRAY_LEN(host_name_families)};

enum { TRIES, STREAM_TRIES, QUERIES_REFUSED, STRANGERS };
static const struct metric_family dns_upstream_families[] = {
    [TRIES] = {.name = "ambit_dns_upstream_tries",
               .help = "Times a name server was asked on behalf of a client.",
               .type = METRIC_COUNTER},
    [STREAM_TRIES] = {.name = "ambit_dns_upstream_tcp_tries",
                      .help = "Of these, those over TCP.",
                      .type = METRIC_COUNTER},
    [QUERIES_REFUSED] = {.name = "ambit_dns_upstream_refused",
                         .help = "Queries not forwarded: malformed, or too many under way.",
                         .type = METRIC_COUNTER},
    [STRANGERS] = {.name = "ambit_dns_upstream_strangers",
                   .help = "Datagrams of name servers that answered nothing that was asked.",
                   .type = METRIC_COUNTER}};
const struct metric_set dns_upstream_metrics = {.families = dns_upstream_families,
                                                .family_count = ARRAY_LEN(dns_upstream_families)};

enum { SHAKING, SHAKEN, SHAKES_FAILED, SHAKES_REFUSED, SHAKES_DISPLACED, CHAINS_KNOWN };
static const struct metric_family handshake_families[] = {
    [SHAKING] = {.name = "ambit_tls_handshakes_pending",
                 .help = "TLS handshakes under way.",
                 .type = METRIC_GAUGE},
    [SHAKEN] = {.name = "ambit_tls_handshakes",
                .help = "TLS handshakes that succeeded.",
                .type = METRIC_COUNTER},
    [SHAKES_FAILED] = {.name = "ambit_tls_handshake_failures",
                       .help = "TLS handshakes that failed, refused ones, too.",
                       .type = METRIC_COUNTER},
    [SHAKES_REFUSED] = {.name = "ambit_tls_handshakes_refused",
                        .help = "TLS handshakes not begun because too many were under way.",
                        .type = METRIC_COUNTER},
    [SHAKES_DISPLACED] = {.name = "ambit_tls_handshakes_displaced",
                          .help =
                              "TLS handshakes ended for one of an address that had less than its "
                              "share of them.",
                          .type = METRIC_COUNTER},
    [CHAINS_KNOWN] = {.name = "ambit_tls_chains_known",
                      .help = "Of the TLS handshakes that succeeded, those whose peer's "
                              "certificates had been verified before.",
                      .type = METRIC_COUNTER}};
const struct metric_set handshake_metrics = {.families = handshake_families,
                                             .family_count = ARRAY_LEN(handshake_families)};

enum { TUNNELS, STREAMS, BUFFERED, PROTOCOL, ABUSE, REFUSED, HOARDERS, RETRIES };
static const struct metric_family tunnel_families[] = {
    [TUNNELS] = {.name = "ambit_tunnels", .help = "Tunnels, both ends.", .type = METRIC_GAUGE},
    [STREAMS] = {.name = "ambit_tunnel_streams",
                 .help = "Streams of tunnels, both ends.",
                 .type = METRIC_GAUGE},
    [BUFFERED] = {.name = "ambit_tunnel_buffered_bytes",
                  .help = "Received through tunnels and not passed on yet.",
                  .unit = "bytes",
                  .type = METRIC_GAUGE},
    [PROTOCOL] = {.name = "ambit_tunnel_protocol_errors",
                  .help = "Tunnels ended because the peer broke the protocol or asked too much.",
                  .type = METRIC_COUNTER},
    [ABUSE] = {.name = "ambit_tunnel_abuses",
               .help = "Tunnels ended because the peer asked too much.",
               .type = METRIC_COUNTER},
    [REFUSED] = {.name = "ambit_tunnel_streams_refused",
                 .help = "Streams refused because the tunnel had too many.",
                 .type = METRIC_COUNTER},
    [HOARDERS] = {.name = "ambit_tunnel_streams_reset",
                  .help = "Streams reset because memory was short.",
                  .type = METRIC_COUNTER},
    [RETRIES] = {.name = "ambit_tunnel_dial_retries",
                 .help = "Streams that were opened on another tunnel than at first.",
                 .type = METRIC_COUNTER}};
const struct metric_set tunnel_metrics = {.families = tunnel_families,
                                          .family_count = ARRAY_LEN(tunnel_families)};

/* ---- counting */

static void tell_sockets(struct part_meter *m)
{
    struct series *x = metrics_series(m->shard, &socket_metrics, NULL);
    struct loop_counts now = *loop_counts(m->loop);

    series_add(x, ACCEPT_PAUSES, now.accept_pauses - m->sockets.accept_pauses);
    series_add(x, DATAGRAMS_LOST, now.datagrams_lost - m->sockets.datagrams_lost);
    series_add(x, SPLICES, now.splices - m->sockets.splices);
    m->sockets = now;
}

static void tell_names(struct part_meter *m)
{
    struct series *x = metrics_series(m->shard, &host_name_metrics, NULL);
    struct host_names_stats now = host_names_stats(m->hosts);

    series_add(x, LOOKUPS, now.asked - m->names.asked);
    series_add(x, LOOKUP_FAILURES, now.failed - m->names.failed);
    series_add(x, LOOKUPS_REFUSED, now.refused - m->names.refused);
    series_set(x, NAMES, now.names);
    m->names = now;
}

static void tell_forwarded(struct part_meter *m)
{
    struct series *x = metrics_series(m->shard, &dns_upstream_metrics, NULL);
    struct dns_upstream_stats now = dns_upstream_stats(m->upstream);

    series_add(x, TRIES, now.tries - m->forwarded.tries);
    series_add(x, STREAM_TRIES, now.streams - m->forwarded.streams);
    series_add(x, QUERIES_REFUSED, now.refused - m->forwarded.refused);
    series_add(x, STRANGERS, now.strangers - m->forwarded.strangers);
    m->forwarded = now;
}

static void tell_handshakes(struct part_meter *m)
{
    struct series *x = metrics_series(m->shard, &handshake_metrics, NULL);
    struct tls_loop_stats now = tls_loop_stats(m->tls);

    series_set(x, SHAKING, now.handshakes);
    series_add(x, SHAKEN, now.done - m->handshakes.done);
    series_add(x, SHAKES_FAILED, now.failed - m->handshakes.failed);
    series_add(x, SHAKES_REFUSED, now.refused - m->handshakes.refused);
    series_add(x, SHAKES_DISPLACED, now.displaced - m->handshakes.displaced);
    series_add(x, CHAINS_KNOWN, now.chains_known - m->handshakes.chains_known);
    m->handshakes = now;
}

static void tell_tunnels(struct part_meter *m)
{
    struct series *x = metrics_series(m->shard, &tunnel_metrics, NULL);
    const struct hbone_stats *now = hbone_loop_stats(m->hbone);

    series_set(x, TUNNELS, (int64_t)now->tunnels);
    series_set(x, STREAMS, (int64_t)now->streams);
    series_set(x, BUFFERED, (int64_t)now->buffered_bytes);
    series_add(x, PROTOCOL, now->protocol - m->tunnels.protocol);
    series_add(x, ABUSE, now->abuse - m->tunnels.abuse);
    series_add(x, REFUSED, now->refused - m->tunnels.refused);
    series_add(x, HOARDERS, now->hoarders - m->tunnels.hoarders);
    series_add(x, RETRIES, now->retries - m->tunnels.retries);
    m->tunnels = *now;
}

static void run(struct task *t, unsigned why)
{
    struct part_meter *m = container_of(t, struct part_meter, task);

    (void)why; /* the timer's */
    tell_sockets(m);
    if (m->hosts) {
        tell_names(m);
    }
    if (m->upstream) {
        tell_forwarded(m);
    }
    if (m->tls) {
        tell_handshakes(m);
    }
    if (m->hbone) {
        tell_tunnels(m);
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
