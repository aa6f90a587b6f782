/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/cluster.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "model/balance.h"

struct cluster {
    struct map_node in_map;
    struct clusters *home;
    char *key; /* of the service, or the workload's uid */
    uint16_t port;
    enum upstream_protocol protocol;
    struct ip ip;        /* of a workload's own; IP_NONE: a service */
    uint64_t generation; /* of the world it was made from, and of the l7 */
    uint64_t l7_generation;
    uint64_t used_ms;
    const struct service *service;    /* counted */
    const struct l7_service *bound;   /* counted; holds traffic */
    const struct l7_traffic *traffic; /* NULL: defaults */
    struct l7_endpoint *points;
    struct upstream **upstreams; /* used; beside points */
    size_t count;
    uint64_t turn;
    unsigned retries; /* under way */
    struct l7_ring *ring;
    struct l7_all *all;
    size_t ejected;          /* points that are marked so */
    uint64_t ejections;      /* of the loop, when they were marked */
    uint64_t next_return_ms; /* of the first of them */
};

struct clusters {
    struct engine *engine;
    struct map all;
    unsigned own_count; /* of workloads' own addresses */
    uint64_t ejections;
    uint64_t retry_overflows;
};

/* Least request between equals, with or without a region of preference. */
static const enum balance_scope failover_scopes[] = {SCOPE_REGION, SCOPE_ZONE, SCOPE_SUBZONE};

static void drop_points(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        upstream_unuse(c->upstreams[i]);
    }
    mem_free(c->points);
    mem_free(c->upstreams);
    l7_ring_free(c->ring);
    l7_all_free(c->all);
    c->points = NULL;
    c->upstreams = NULL;
    c->ring = NULL;
    c->all = NULL;
    c->count = 0;
}

static void cluster_free(struct cluster *c)
{
    drop_points(c);
    c->home->own_count -= c->ip.family != IP_NONE;
    map_remove(&c->home->all, &c->in_map);
    service_unref(c->service);
    l7_service_unref(c->bound);
    mem_free(c->key);
    mem_free(c);
}

/* ---- from the world */

struct making {
    struct cluster *c;
    size_t room;
    struct l7_endpoint *points;
    struct upstream **upstreams;
    size_t count;
    struct service order; /* scopes to rank by */
    const struct workload *self;
};

static void add(struct making *m, const struct workload *w, const struct endpoint *at,
                uint32_t weight)
{
    struct upstream_key key = {.workload = w, .at = *at, .protocol = m->c->protocol};

    if (m->count == m->room) {
        m->room = m->room > 0 ? m->room * 2 : 8;
        m->points = mem_resize(m->points, m->room * sizeof(*m->points));
        m->upstreams = mem_resize((void *)m->upstreams, m->room * sizeof(*m->upstreams));
    }
    struct upstream *u = upstream_use(m->c->home->engine->upstreams, &key);
    m->upstreams[m->count] = u;
    m->points[m->count++] =
        (struct l7_endpoint){.id = l7_hash(slice_of(w->uid)),
                             .weight = weight,
                             .in_flight = &u->in_flight,
                             .rank = m->self ? balance_rank(&m->order, m->self, w) : 0};
}

/* IPv4 first; IP_NONE: none. */
static struct ip address_of(const struct workload *w)
{
    for (unsigned i = 0; i < w->ip_count; i++) {
        if (w->ips[i].family == IP_V4) {
            return w->ips[i];
        }
    }
    return w->ip_count > 0 ? w->ips[0] : (struct ip){.family = IP_NONE};
}

static void set_order(struct making *m)
{
    const struct cluster *c = m->c;
    const struct service *s = c->service;

    m->order.scope_count = 0;
    if (c->traffic && c->traffic->locality_failover) {
        m->order.scope_count = ARRAY_LEN(failover_scopes);
        for (unsigned i = 0; i < ARRAY_LEN(failover_scopes); i++) {
            m->order.scopes[i] = (uint8_t)failover_scopes[i];
        }
    } else if (s->mode == BALANCE_FAILOVER || s->mode == BALANCE_STRICT) {
        m->order.scope_count = s->scope_count;
        memcpy(m->order.scopes, s->scopes, sizeof(s->scopes));
    }
}

/* Whoever may write EndpointSlices makes a service of another namespace out of any pod. Its guard would
 * let us in, and policy of its own service would not be asked. */
static bool is_guarded_elsewhere(const struct service *s, const struct workload *w, uint16_t target)
{
    return strcmp(w->identity->ns, s->ns) != 0 && workload_is_guarded(w, target);
}

static bool is_located(const struct workload *w, const struct ip *ip)
{
    return ip->family != IP_NONE || (w->hostname && *w->hostname);
}

static void gather_service(struct making *m, const struct world *w)
{
    struct cluster *c = m->c;
    struct world_cursor cursor = {0};
    struct backend b;

    set_order(m);
    while (world_each_backend(w, c->key, &cursor, &b)) {
        uint16_t target = balance_target_port(c->service, &b, c->port);
        struct endpoint at = {.ip = address_of(b.workload), .port = target};
        bool out_of_reach =
            c->service->mode == BALANCE_STRICT &&
            (!m->self || balance_rank(&m->order, m->self, b.workload) < c->service->scope_count);
        if (target > 0 && is_located(b.workload, &at.ip) && b.workload->capacity > 0 &&
            !out_of_reach && !is_guarded_elsewhere(c->service, b.workload, target) &&
            balance_is_healthy(c->service, b.workload)) {
            add(m, b.workload, &at, b.workload->capacity);
        }
    }
}

static void learn_traffic(struct cluster *c)
{
    const struct l7 *l7 = engine_l7(c->home->engine);
    const struct l7_service *s = l7 && c->service ? l7_service_find(l7, c->key) : NULL;

    l7_service_unref(c->bound);
    c->bound = l7_service_ref(s);
    c->traffic = s ? l7_service_traffic(s, c->port) : NULL;
    c->l7_generation = l7 ? l7_generation(l7) : 0;
}

static void make(struct cluster *c, const struct world *w, const struct workload *alone)
{
    struct making m = {.c = c, .self = engine_self(c->home->engine)};

    learn_traffic(c);
    if (alone) {
        struct endpoint at = {.ip = c->ip, .port = c->port};
        add(&m, alone, &at, 1);
    } else {
        gather_service(&m, w);
    }
    drop_points(c); /* after: what stays was used twice meanwhile and keeps its connections */
    c->points = m.points;
    c->upstreams = m.upstreams;
    c->count = m.count;
    c->all = l7_all_new(c->points, c->count);
    c->ejected = 0;
    c->next_return_ms = 0; /* they are not marked yet */
    c->generation = world_generation(w);
    if (c->traffic && c->traffic->balance == L7_CONSISTENT_HASH && c->count > 0) {
        c->ring = l7_ring_new(c->points, c->count);
    }
}

/* ---- finding */

static bool is(const struct cluster *c, const char *key, const struct ip *ip, uint16_t port,
               enum upstream_protocol protocol)
{
    return c->port == port && c->protocol == protocol && ip_equal(&c->ip, ip) &&
           strcmp(c->key, key) == 0;
}

/* Which port of a workload is asked for is its clients' choice, and there are many. */
static void make_room(struct clusters *all)
{
    if (all->own_count < CLUSTERS_OWN_MAX) {
        return;
    }
    map_for_each (n, &all->all) {
        struct cluster *c = container_of(n, struct cluster, in_map);
        if (c->ip.family != IP_NONE && c->retries == 0) {
            cluster_free(c);
        }
    }
}

static struct cluster *find(struct clusters *all, const char *key, const struct ip *ip,
                            uint16_t port, enum upstream_protocol protocol)
{
    uint64_t hash = map_hash_str(key) + port * 4u + (uint64_t)protocol;

    for (struct map_node *n = map_find(&all->all, hash); n; n = map_find_next(n)) {
        struct cluster *c = container_of(n, struct cluster, in_map);
        if (is(c, key, ip, port, protocol)) {
            return c;
        }
    }
    if (ip->family != IP_NONE) {
        make_room(all);
        all->own_count++;
    }
    struct cluster *c = mem_new(struct cluster);
    c->home = all;
    c->key = mem_strdup(key);
    c->ip = *ip;
    c->port = port;
    c->protocol = protocol;
    c->generation = UINT64_MAX;
    map_insert(&all->all, &c->in_map, hash);
    return c;
}

static bool is_current(const struct cluster *c, const struct world *w)
{
    const struct l7 *l7 = engine_l7(c->home->engine);

    return c->generation == world_generation(w) && c->l7_generation == (l7 ? l7_generation(l7) : 0);
}

struct cluster *cluster_of_service(struct clusters *all, const char *key, uint16_t port,
                                   enum upstream_protocol protocol)
{
    const struct world *w = engine_world(all->engine);
    const struct service *s = w ? world_service(w, key) : NULL;
    struct ip none = {.family = IP_NONE};

    if (!s) {
        return NULL;
    }
    struct cluster *c = find(all, key, &none, port, protocol);
    c->used_ms = loop_now_ms(all->engine->loop);
    if (!is_current(c, w)) {
        service_unref(c->service);
        c->service = service_ref(s);
        make(c, w, NULL);
    }
    return c;
}

struct cluster *cluster_of_workload(struct clusters *all, const struct workload *alone,
                                    const struct ip *ip, uint16_t port,
                                    enum upstream_protocol protocol)
{
    const struct world *w = engine_world(all->engine);
    struct cluster *c = find(all, alone->uid, ip, port, protocol);

    c->used_ms = loop_now_ms(all->engine->loop);
    if (!is_current(c, w)) {
        make(c, w, alone);
    }
    return c;
}

/* ---- choosing */

/* An ejection may be another cluster's finding: endpoints are shared. Until there is a new one, or the
 * first comes back, the marks are right. */
static void mark_ejected(struct cluster *c)
{
    uint64_t now = loop_now_ms(c->home->engine->loop);

    if (c->ejections == c->home->ejections && now < c->next_return_ms) {
        return;
    }
    c->ejections = c->home->ejections;
    c->ejected = 0;
    c->next_return_ms = UINT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        const struct l7_health *h = &c->upstreams[i]->health;
        c->points[i].ejected = l7_is_ejected(h, now);
        if (c->points[i].ejected) {
            c->ejected++;
            c->next_return_ms = MIN_OF(c->next_return_ms, h->until_ms);
        }
    }
}

static void mark_tried(struct cluster *c, const struct cluster_ask *ask, bool tried)
{
    for (unsigned k = 0; k < ask->tried_count; k++) {
        for (size_t i = 0; i < c->count; i++) {
            c->points[i].tried = tried && (c->points[i].tried || c->upstreams[i] == ask->tried[k]);
        }
    }
}

struct upstream *cluster_pick(struct cluster *c, const struct cluster_ask *ask)
{
    const struct l7_traffic *t = c->traffic;
    struct l7_choice how = {
        .how = t ? t->balance : L7_LEAST_REQUEST,
        .failover = c->count > 0 && c->service &&
                    (c->service->mode == BALANCE_FAILOVER || (t && t->locality_failover)),
        .min_health_percent = t ? t->outlier.min_health_percent : 0,
        .seed = ask->seed,
        .turn = &c->turn,
        .ring = c->ring,
        .has_key = ask->has_hash,
        .key = ask->hash};

    mark_ejected(c);
    mark_tried(c, ask, true);
    how.all = c->ejected == 0 && ask->tried_count == 0 && !how.failover ? c->all : NULL;
    ssize_t at = l7_choose(c->points, c->count, &how);
    mark_tried(c, ask, false);
    if (at < 0) {
        return NULL;
    }
    struct upstream *u = c->upstreams[at];
    u->users++;
    u->limits = t ? t->limits : (struct l7_limits){0}; /* it may be another service's, too */
    return u;
}

const struct l7_traffic *cluster_traffic(const struct cluster *c)
{
    return c->traffic;
}

static size_t ejected_now(const struct cluster *c, uint64_t now)
{
    size_t n = 0;

    for (size_t i = 0; i < c->count; i++) {
        n += l7_is_ejected(&c->upstreams[i]->health, now);
    }
    return n;
}

void cluster_result(struct cluster *c, struct upstream *u, unsigned status)
{
    const struct l7_outlier *o = c->traffic ? &c->traffic->outlier : NULL;
    uint64_t now = loop_now_ms(c->home->engine->loop);

    if (!o || (o->consecutive_5xx == 0 && o->consecutive_gateway == 0)) {
        return;
    }
    if (l7_health_result(&u->health, o, l7_result_of(status), now) &&
        l7_may_eject(o, ejected_now(c, now), c->count)) {
        l7_eject(&u->health, o, now);
        c->home->ejections++;
    }
}

/* ---- all */

struct clusters *clusters_new(struct engine *e)
{
    struct clusters *all = mem_new(struct clusters);

    all->engine = e;
    map_init(&all->all);
    return all;
}

void clusters_free(struct clusters *all)
{
    if (!all) {
        return;
    }
    map_for_each (n, &all->all) {
        cluster_free(container_of(n, struct cluster, in_map));
    }
    map_fini(&all->all);
    mem_free(all);
}

void clusters_sweep(struct clusters *all)
{
    uint64_t now = loop_now_ms(all->engine->loop);

    map_for_each (n, &all->all) {
        struct cluster *c = container_of(n, struct cluster, in_map);
        if (c->retries == 0 && now - c->used_ms > CLUSTER_UNUSED_MS) {
            cluster_free(c);
        }
    }
}

uint64_t clusters_ejections(const struct clusters *all)
{
    return all->ejections;
}

bool cluster_retry_begin(struct cluster *c)
{
    uint32_t most = c->traffic ? c->traffic->limits.retries : 0;

    if (most > 0 && c->retries >= most) {
        c->home->retry_overflows++;
        return false;
    }
    c->retries++;
    return true;
}

void cluster_retry_end(struct cluster *c)
{
    c->retries--;
}

uint64_t clusters_retry_overflows(const struct clusters *all)
{
    return all->retry_overflows;
}
