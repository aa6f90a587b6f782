/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/proxy.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "obs/job_metrics.h"
#include "proxy/metrics.h"

static struct log_scope scope = LOG_SCOPE("app");

const char proxy_state_manager[] = "state manager";

int proxy_open(struct proxy *p, const struct proxy_options *options, struct diag *why)
{
    p->settings = options->settings;
    p->title = options->title;
    p->name = options->name;
    p->loop = loop_new(why);
    if (!p->loop) {
        return surely_negative(why->code);
    }
    task_init(&p->task, p->loop, "control", options->run);
    spare_memory_init(&p->spare, p->loop);
    p->metrics = metrics_new(options->sets, options->set_count);
    p->shard = metrics_shard_new(p->metrics);
    metrics_probe_process(p->metrics);
    build_metrics_say(p->shard, options->component, p->settings->istio_version);
    p->readiness = readiness_new();
    readiness_block(p->readiness, proxy_state_manager);
    return quit_signals_open(&p->signals, p->loop, &p->task, why);
}

static void probe_jobs(struct proxy *p)
{
    const struct job_pool pools[] = {{"pool=\"handshakes\"", p->link.jobs},
                                     {"pool=\"lookups\"", p->link.lookups}};

    metrics_probe_jobs(p->metrics, pools, ARRAY_LEN(pools));
}

int proxy_open_link(struct proxy *p, bool impersonate, struct diag *why)
{
    const struct proxy_settings *s = p->settings;
    struct control_link_config config = {.xds_address = s->xds_address,
                                         .ca_address = s->ca_address,
                                         .xds_roots = s->xds_root_ca,
                                         .ca_roots = s->ca_root_ca,
                                         .xds_alt_host = s->alt_xds_host,
                                         .ca_alt_host = s->alt_ca_host,
                                         .token = s->auth_token,
                                         .cluster_id = s->cluster_id,
                                         .xds_headers = &s->xds_headers,
                                         .ca_headers = &s->ca_headers,
                                         .cert_ttl_s = (int64_t)(s->secret_ttl_ms / 1000),
                                         .impersonate = impersonate};

    int r = control_link_open(&p->link, p->loop, &config, why);
    if (r == 0) {
        p->meter.loop = p->loop;
        p->meter.tls = p->link.tls_loop;
        part_meter_start(&p->meter, p->shard);
        probe_jobs(p);
    }
    return r;
}

int proxy_make_workers(struct proxy *p, struct diag *why)
{
    unsigned n = p->settings->workers;

    p->worlds = mem_array(n, sizeof(*p->worlds));
    p->loops = mem_array(n + 1, sizeof(*p->loops));
    p->workers = mem_array(n, sizeof(*p->workers));
    for (; p->worker_count < n; p->worker_count++) {
        unsigned i = p->worker_count;
        char full[16];
        (void)snprintf(full, sizeof(full), "%.10s-%u", p->name, i % 1000);
        p->workers[i] = worker_new(full, why);
        if (!p->workers[i]) {
            return surely_negative(why->code);
        }
        p->loops[i] = worker_loop(p->workers[i]);
    }
    return 0;
}

int proxy_start_workers(struct proxy *p, struct diag *why)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < p->worker_count; i++) {
        r = worker_start(p->workers[i], WORKER_ANY_CPU, why);
    }
    return r;
}

void proxy_discover(struct proxy *p, const char *node_id, const struct ads_interest *interest)
{
    if (p->link.xds) {
        struct ads_config config = {.dialer = uplink_dialer(p->link.xds),
                                    .interest = interest,
                                    .node_id = node_id,
                                    .metadata = p->settings->metadata,
                                    .slots = p->worlds,
                                    .poke = p->loops,
                                    .slot_count = p->worker_count,
                                    .owner = &p->task};
        p->ads = ads_client_new(p->loop, &config);
    }
}

void proxy_make_admin(struct proxy *p, const struct proxy_page *pages, size_t count,
                      void *const *parts)
{
    unsigned n = p->worker_count;
    struct gather_source *next = mem_array(count * n, sizeof(*next));
    struct admin_options options = {.title = p->title,
                                    .metrics = p->metrics,
                                    .readiness = p->readiness,
                                    .log_directives = p->settings->log_level,
                                    .quit = &p->quit,
                                    .quit_task = &p->task};

    p->admin = admin_new(p->loop, &options);
    p->gathered = next;
    for (size_t k = 0; k < count; k++) {
        struct admin_page page = {.path = pages[k].path,
                                  .what = pages[k].what,
                                  .content_type = "application/json",
                                  .sources = next,
                                  .source_count = n};
        for (unsigned i = 0; i < n; i++) {
            *next++ = (struct gather_source){p->loops[i], pages[k].render, parts[i]};
        }
        admin_page(p->admin, &page);
    }
}

int proxy_open_admin(struct proxy *p, struct diag *why)
{
    const char *any = p->settings->ipv6 ? "::" : "0.0.0.0";
    struct diag lapse = {0};
    int r = admin_open(p->admin, ADMIN_DOOR, "127.0.0.1", PORT_ADMIN, why);

    if (r == 0 && admin_open(p->admin, ADMIN_DOOR, "::1", PORT_ADMIN, &lapse) < 0) {
        log_debug(&scope, "no admin port on IPv6", F_DIAG(&lapse)); /* the host has none */
    }
    if (r == 0) {
        r = admin_open(p->admin, ADMIN_STATS, any, PORT_STATS, why);
    }
    return r < 0 ? r : admin_open(p->admin, ADMIN_READINESS, any, PORT_READINESS, why);
}

void proxy_count(struct proxy *p)
{
    if (p->ads) {
        discovery_metrics_say(p->shard, p->ads, &p->counted);
    }
}

void proxy_stop(struct proxy *p)
{
    if (!p->loop) {
        return;
    }
    task_fini(&p->task); /* what it decides about may not be there yet, or no more */
    part_meter_stop(&p->meter);
    spare_memory_fini(&p->spare);
    admin_free(p->admin);
    p->admin = NULL;
    for (unsigned i = 0; i < p->worker_count; i++) {
        worker_stop(p->workers[i]);
    }
}

void proxy_settle(struct proxy *p)
{
    /* The workers have ended, so two turns hear all that they said. */
    for (int i = 0; i < 2 && p->loop; i++) {
        (void)loop_turn(p->loop, 0);
    }
}

void proxy_end_discovery(struct proxy *p)
{
    for (unsigned i = 0; i < p->worker_count; i++) { /* the turns above may have published */
        snap_slot_fini(&p->worlds[i]);
    }
    ads_client_free(p->ads);
    p->ads = NULL;
    control_link_end_certs(&p->link);
}

void proxy_close(struct proxy *p)
{
    if (!p->loop) {
        return;
    }
    /* Its jobs are the workers', too, and post to their loops. */
    control_link_close(&p->link, p->loop);
    for (unsigned i = 0; i < p->worker_count; i++) {
        worker_free(p->workers[i]);
    }
    mem_free(p->gathered);
    mem_free(p->worlds);
    mem_free(p->loops);
    mem_free(p->workers);
    readiness_free(p->readiness);
    timer_clear(&p->limit);
    quit_signals_close(&p->signals);
    loop_free(p->loop);
    metrics_free(p->metrics);
    *p = (struct proxy){.loop = NULL};
}
