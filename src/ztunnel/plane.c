/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/plane.h"

#include "base/mem.h"
#include "base/num.h"
#include "hbone/frame.h"
#include "io/sock_factory_local.h"
#include "ztunnel/pod.h"

enum { END_TURNS = 16 }; /* a pod takes one: its connections', then its own task */

static void adopt(struct loop_hook *h)
{
    struct plane *p = container_of(h, struct plane, adopt);

    if (!snap_adopt(p->worlds)) {
        return;
    }
    list_for_each (n, &p->pods) {
        struct pod *pod = container_of(n, struct pod, in_plane);
        task_wake(&pod->task, WAKE_CONFIG);
    }
}

static struct hbone_limits limits_of(const struct config *c)
{
    return (struct hbone_limits){.stream_window_bytes = c->stream_window_bytes,
                                 .conn_window_bytes = c->connection_window_bytes,
                                 .frame_bytes = MIN_OF(c->frame_bytes, FRAME_SIZE_MAX),
                                 .pool_streams = c->pool_streams,
                                 .idle_ms = c->pool_idle_ms};
}

/* Asked from this process' own namespace (contract 3.2.4). */
static bool start_host_names(struct plane *p, const struct resolv_conf *conf, struct diag *why)
{
    AUTO(strbuf) struct strbuf servers = {0};
    char text[ENDPOINT_TEXT];

    for (unsigned i = 0; i < conf->server_count; i++) {
        strbuf_printf(&servers, "%s%s", i > 0 ? "," : "", endpoint_format(&conf->servers[i], text));
    }
    /* Both families are asked for: one that is never answered must leave time for the other. */
    struct resolver_options o = {.servers = strbuf_text(&servers), .try_ms = 1000, .tries = 2};
    p->resolver = resolver_new(p->loop, &o, why);
    p->hosts = p->resolver ? host_names_new(p->loop, p->resolver) : NULL;
    return p->hosts != NULL;
}

int plane_new(struct plane **out, const struct plane_options *o, struct diag *why)
{
    AUTO(plane) struct plane *p = mem_new(struct plane);
    struct hbone_limits limits = limits_of(o->config);

    p->loop = o->loop;
    p->config = o->config;
    p->certs = o->certs;
    p->jobs = o->jobs;
    p->worlds = o->worlds;
    list_init(&p->pods);
    rand_seq_init(&p->random, rand_u64());
    budget_init(&p->budget, o->budget_bytes, NULL);
    p->hbone = hbone_loop_new(o->loop, &limits, &p->budget);
    p->tls = tls_loop_new(o->loop, o->jobs, o->tls, NULL);
    p->shard = o->shard;
    p->recorder = recorder_new(o->shard, NULL);
    p->sockets = sock_factory_local_new(why);
    if (!p->sockets) {
        return why->code;
    }
    struct dns_upstream_options names = {.servers = o->resolv->servers,
                                         .server_count = o->resolv->server_count,
                                         .mark = o->config->packet_mark};
    p->names = dns_upstream_new(o->loop, p->sockets, &names, why);
    if (!p->names) {
        return surely_negative(why->code);
    }
    if (!start_host_names(p, o->resolv, why)) {
        return surely_negative(why->code);
    }
    p->answers.bytes_max = DNS_CACHE_SHARE_BYTES;
    p->adopt.turn = adopt;
    loop_hook_start(p->loop, &p->adopt);
    loop_meter_start(&p->meter, p->loop, p->shard);
    p->parts = (struct part_meter){
        .loop = p->loop, .hosts = p->hosts, .upstream = p->names, .tls = p->tls, .hbone = p->hbone};
    part_meter_start(&p->parts, p->shard);
    *out = MOVE(p);
    return 0;
}

/* Who was asked twice to end did not wait for its pods. What the control loop has asked for comes first:
 * it is of pods, too. */
static void end_pods(struct plane *p)
{
    for (int i = 0; i < END_TURNS && (i == 0 || !list_is_empty(&p->pods)); i++) {
        (void)loop_turn(p->loop, 0); /* how much was done is of no interest */
        list_for_each_safe (n, &p->pods) {
            pod_stop(container_of(n, struct pod, in_plane), 0);
        }
    }
}

void plane_free(struct plane *p)
{
    if (!p) {
        return;
    }
    end_pods(p);
    loop_hook_stop(&p->adopt);
    loop_meter_stop(&p->meter);
    part_meter_stop(&p->parts);
    loop_end_orphans(p->loop);
    host_names_free(p->hosts);
    resolver_free(p->resolver);
    dns_upstream_free(p->names);
    sock_factory_free(p->sockets);
    hbone_loop_free(p->hbone);
    tls_loop_free(p->tls);
    recorder_free(p->recorder);
    mem_free(p);
}
