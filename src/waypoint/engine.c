/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/engine.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/sock.h"
#include "tls/token_cache.h"
#include "waypoint/arrival.h"
#include "waypoint/cluster.h"
#include "waypoint/entry.h"
#include "waypoint/inlet.h"
#include "waypoint/request.h"
#include "waypoint/upstream.h"

/* LOOK_MS is for the clients' proxies to hear, too: who comes back goes the other way then. */
enum { TICK_MS = 2000, LOOK_MS = 200 };
/* A turn, but a connection is not left half way: it has a hundred requests at most. A policy takes a
 * microsecond or few, a signature that nobody remembers up to a hundred. */
enum { JUDGED_MAX = 32, LOOKED_AT_MAX = 2048 };

/* ---- configuration */

/* Who was looked at goes to the end, where those are, too, who came meanwhile: when policies change once
 * more before all had their turn, the ones that waited longest are still the first. */
static void reconsider_some(struct engine *e)
{
    unsigned judged = 0;

    e->unjudged = MIN_OF(e->unjudged, e->entry_count);
    for (unsigned i = 0; e->unjudged > 0 && i < LOOKED_AT_MAX && judged < JUDGED_MAX; i++) {
        struct list *n = e->entries.next;
        list_remove(n);
        list_append(&e->entries, n);
        e->unjudged--;
        struct entry *x = container_of(n, struct entry, in_engine);
        judged += x->ops->reconsider(x);
    }
    if (e->unjudged > 0) {
        task_wake_late(&e->task, WAKE_CONFIG); /* the next turn's */
    }
}

/* Connections that are kept for further requests would bring them here for hours. Those to a pod that is
 * guarded by now would get around its service's policy: its node proxy lets us in. */
static void drain_left(struct engine *e)
{
    list_for_each_safe (n, &e->entries) {
        struct entry *x = container_of(n, struct entry, in_engine);
        if (entry_is_guarded(x)) {
            x->ops->abort(x, -ERR_POLICY_CHANGED);
        } else if (x->ops->leave && entry_was_left(x)) {
            x->ops->leave(x);
        }
    }
}

static void adopt(struct loop_hook *h)
{
    struct engine *e = container_of(h, struct engine, adopt);
    uint64_t before = engine_l7(e) ? l7_policy_generation(engine_l7(e)) : 0;
    bool world = snap_adopt(e->worlds);
    bool l7 = snap_adopt(e->l7s);

    if (l7 && l7_policy_generation(engine_l7(e)) != before) {
        e->unjudged = e->entry_count;
        task_wake(&e->task, WAKE_CONFIG);
    }
    if (l7) {
        drain_left(e);
    }
    if (world) {
        e->self = NULL; /* asked for again where it is needed */
        if (!timer_is_armed(&e->look)) {
            timer_set(&e->look, &e->task, LOOK_MS);
        }
    }
}

const struct workload *engine_self(struct engine *e)
{
    const struct world *w = engine_world(e);
    struct ip ip;

    if (!w || (e->self_generation == world_generation(w) && e->self)) {
        return w ? e->self : NULL;
    }
    e->self_generation = world_generation(w);
    e->self = NULL;
    if (ip_parse(&ip, e->config->instance_ip, strlen(e->config->instance_ip)) == 0) {
        e->self = world_workload_at(w, e->config->network, &ip);
    }
    return e->self;
}

bool engine_is_at(struct engine *e, const struct ip *at)
{
    const struct workload *self = engine_self(e);
    struct ip ip;

    return self ? workload_has_ip(self, at)
                : ip_parse(&ip, e->config->instance_ip, strlen(e->config->instance_ip)) == 0 &&
                      ip_equal(&ip, at);
}

bool engine_is_overloaded(const struct engine *e)
{
    return memory_guard_is_over(e->guard) ||
           e->budget.used_bytes >= e->budget.limit_bytes / 100 * MEMORY_HARD_PERCENT;
}

/* ---- connections handed over */

struct handed {
    struct mail mail;
    struct engine *engine;
    int fd;
    struct endpoint peer;
    const struct plain_listener *plain;
};

/* Tunnels count, too: what they carry is counted once more, as entries. */
static bool is_full(const struct engine *e)
{
    return atomic_load_explicit(&e->load, memory_order_relaxed) > ENTRIES_MAX;
}

static void refuse(struct handed *h)
{
    struct endpoint door = {.port = 0};

    if (sock_local(h->fd, &door) < 0) { /* it is for the record alone */
        door = (struct endpoint){.port = 0};
    }
    access_refused(h->engine->recorder, ACCESS_WAYPOINT, &h->peer, &door, -ERR_LIMIT,
                   "too many connections");
    sock_close(&h->fd);
    atomic_fetch_sub_explicit(&h->engine->load, 1, memory_order_relaxed);
}

static void delivered(struct mail *m)
{
    struct handed *h = container_of(m, struct handed, mail);

    if (is_full(h->engine)) {
        refuse(h);
    } else if (h->plain) {
        arrival_open_plain(h->engine, h->fd, &h->peer, h->plain);
    } else {
        inlet_open(h->engine, h->fd, &h->peer);
    }
    mem_free(h);
}

void engine_take(struct engine *e, int take_fd, const struct endpoint *peer,
                 const struct plain_listener *plain)
{
    struct handed *h = mem_new(struct handed);

    h->mail.deliver = delivered;
    h->engine = e;
    h->fd = take_fd;
    h->peer = *peer;
    h->plain = plain;
    atomic_fetch_add_explicit(&e->load, 1, memory_order_relaxed);
    loop_post(e->loop, &h->mail);
}

/* ---- now and then, and the end */

static void count(struct engine *e)
{
    struct upstreams_count u = upstreams_count(e->upstreams);
    struct request_counts r = request_store_counts(e->requests);
    struct token_cache_stats tokens = token_cache_stats(e->tokens);
    struct engine_counts now = {.retries = r.retried,
                                .mirrors = r.mirrored,
                                .mirrors_dropped = r.mirrors_dropped,
                                .overloaded = e->overloaded,
                                .policy_cuts = e->policy_cuts,
                                .retry_overflows = clusters_retry_overflows(e->clusters),
                                .ejections = clusters_ejections(e->clusters),
                                .token_hits = tokens.hits,
                                .token_misses = tokens.misses,
                                .connects = u.opened,
                                .connect_failures = u.failed,
                                .overflows = u.overflowed,
                                .reuses = u.reused,
                                .entries = e->entry_count,
                                .upstream_connections = u.connections,
                                .upstream_idle = u.idle,
                                .upstream_waiting = u.waiting};

    stats_engine(e->shard, &now, &e->counted);
}

static void look_at_clock(struct engine *e)
{
    e->wall_offset_ns = clock_wall_ns() - clock_mono_ns();
}

static void tick(struct engine *e)
{
    look_at_clock(e);
    count(e);
    list_for_each (n, &e->entries) {
        struct entry *x = container_of(n, struct entry, in_engine);
        x->ops->account(x);
    }
    upstreams_sweep(e->upstreams);
    clusters_sweep(e->clusters);
    timer_set(&e->tick, &e->task, TICK_MS);
}

/* Of heads that are on their way nothing is judged before they are whole, and they may take their time. */
static void shed(struct engine *e)
{
    timer_set(&e->shed, &e->task, MEMORY_LOOK_MS);
    if (!engine_is_overloaded(e)) {
        return;
    }
    list_for_each (n, &e->entries) {
        struct entry *x = container_of(n, struct entry, in_engine);
        e->overloaded += x->ops->shed && x->ops->shed(x);
    }
}

static void start_drain(struct engine *e)
{
    e->draining = true;
    list_for_each_safe (n, &e->inlets) {
        inlet_drain(container_of(n, struct inlet, in_engine));
    }
    list_for_each_safe (n, &e->entries) {
        struct entry *x = container_of(n, struct entry, in_engine);
        x->ops->drain(x);
    }
    upstreams_drain(e->upstreams);
}

static void run(struct task *t, unsigned why)
{
    struct engine *e = container_of(t, struct engine, task);

    reconsider_some(e);
    if (timer_is_due(&e->tick)) {
        tick(e);
    }
    if (timer_is_due(&e->shed)) {
        shed(e);
    }
    if (timer_is_due(&e->look)) {
        timer_clear(&e->look);
        drain_left(e);
    }
    if ((why & WAKE_DRAIN) && !e->draining) {
        start_drain(e);
    }
}

struct drain_mail {
    struct mail mail;
    struct engine *engine;
};

static void drain_delivered(struct mail *m)
{
    struct drain_mail *d = container_of(m, struct drain_mail, mail);

    task_wake(&d->engine->task, WAKE_DRAIN);
    mem_free(d);
}

void engine_drain(struct engine *e)
{
    struct drain_mail *d = mem_new(struct drain_mail);

    d->mail.deliver = drain_delivered;
    d->engine = e;
    loop_post(e->loop, &d->mail);
}

/* ---- making one */

static struct hbone_limits limits_of(const struct config *c)
{
    return (struct hbone_limits){.stream_window_bytes = c->stream_window_bytes,
                                 .conn_window_bytes = c->connection_window_bytes,
                                 .server_streams = c->tunnel_streams,
                                 .pool_streams = c->pool_streams,
                                 .response_ms = UPSTREAM_CONNECT_MS,
                                 .idle_ms = c->pool_idle_ms};
}

/* Without name servers the waypoint serves all but endpoints that are known by name. */
static void start_host_names(struct engine *e)
{
    struct resolver_options o = {.try_ms = 1000, .tries = 2};

    host_source_init(&e->asked);
    e->resolver = resolver_new(e->loop, &o, NULL);
    e->hosts = e->resolver ? host_names_new(e->loop, e->resolver) : NULL;
}

int engine_new(struct engine **out, const struct engine_options *o, struct diag *why)
{
    struct engine *e = mem_new(struct engine);
    struct hbone_limits limits = limits_of(o->config);
    struct hbone_dialer dialer;

    (void)why; /* nothing in here fails yet */
    e->loop = o->loop;
    e->config = o->config;
    e->identity = o->identity;
    e->guard = o->guard;
    e->worlds = o->worlds;
    e->l7s = o->l7s;
    e->shard = o->shard;
    list_init(&e->entries);
    list_init(&e->inlets);
    rand_seq_init(&e->random, rand_u64());
    budget_init(&e->budget, o->budget_bytes, NULL);
    e->tls = tls_loop_new(o->loop, o->jobs, o->tls, NULL);
    e->hbone = hbone_loop_new(o->loop, &limits, &e->budget);
    e->tunnels = hbone_pool_new(e->hbone, upstream_dialer(e, &dialer), &e->budget);
    e->recorder = recorder_new(o->shard, NULL);
    start_host_names(e);
    e->upstreams = upstreams_new(e);
    e->clusters = clusters_new(e);
    e->requests = request_store_new(e);
    e->tokens = token_cache_new();
    task_init(&e->task, o->loop, "engine", run);
    timer_set(&e->tick, &e->task, TICK_MS);
    timer_set(&e->shed, &e->task, MEMORY_LOOK_MS);
    look_at_clock(e);
    own_init(&e->own, o->loop, o->certs, o->identity);
    e->adopt.turn = adopt;
    loop_hook_start(e->loop, &e->adopt);
    loop_meter_start(&e->meter, e->loop, e->shard);
    e->parts =
        (struct part_meter){.loop = e->loop, .hosts = e->hosts, .tls = e->tls, .hbone = e->hbone};
    part_meter_start(&e->parts, e->shard);
    *out = e;
    return 0;
}

static void cut_everything(struct engine *e)
{
    list_for_each (n, &e->entries) {
        struct entry *x = container_of(n, struct entry, in_engine);
        x->ops->abort(x, -ERR_DRAINED);
    }
    /* Their tasks end them; two turns, for what one of them wakes. */
    for (int i = 0; i < 4 && !list_is_empty(&e->entries); i++) {
        (void)loop_turn(e->loop, 0);
    }
    list_for_each_safe (n, &e->inlets) {
        inlet_abort(container_of(n, struct inlet, in_engine), -ERR_DRAINED);
    }
}

void engine_free(struct engine *e)
{
    if (!e) {
        return;
    }
    cut_everything(e);
    loop_hook_stop(&e->adopt);
    loop_meter_stop(&e->meter);
    part_meter_stop(&e->parts);
    timer_clear(&e->tick);
    timer_clear(&e->shed);
    timer_clear(&e->look);
    task_fini(&e->task);
    request_store_free(e->requests);
    token_cache_free(e->tokens);
    clusters_free(e->clusters);
    upstreams_free(e->upstreams);
    host_source_fini(&e->asked);
    host_names_free(e->hosts);
    resolver_free(e->resolver);
    hbone_pool_free(e->tunnels);
    loop_end_orphans(e->loop);
    own_fini(&e->own);
    hbone_loop_free(e->hbone);
    tls_loop_free(e->tls);
    recorder_free(e->recorder);
    mem_free(e);
}
