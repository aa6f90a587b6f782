/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of contract 3.2.1 in their order, each with its own lookup: step 5 asks on the proxy's
 * network and prefers workloads, step 7 on the source's network and prefers services. The
 * difference is old and visible, so it is kept.
 */
#include "model/route.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "model/balance.h"
#include "model/gateway_find_int.h"

const char *route_reason_text(enum route_reason r)
{
    static const char *const texts[] = {
#define ROUTE_TEXT(name, text) [name] = (text),
        ROUTE_REASONS(ROUTE_TEXT)
#undef ROUTE_TEXT
    };
    return texts[r];
}

/* One decision in the making. */
struct routing {
    const struct world *world;
    const struct route_query *q;
    struct rand_seq chance;
    struct route *out;
};

/* A workload that TCP may go to, and how it was found. */
struct hop {
    const struct workload *workload;
    const struct service *service; /* NULL: not through a service */
    uint16_t port;
    struct ip asked;       /* the address it was asked for by; IP_NONE by name */
    enum ip_family family; /* preferred where it has several addresses */
};

static bool is_illegal(const struct route_query *q, uint16_t port)
{
    for (unsigned i = 0; i < q->illegal_count; i++) {
        if (q->illegal_ports[i] == port) {
            return true;
        }
    }
    return false;
}

PRINTF_LIKE(3, 4)
static void deny(struct route *out, enum route_reason reason, const char *fmt, ...)
{
    char what[sizeof(out->detail.text)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    out->kind = ROUTE_DENY;
    out->reason = reason;
    (void)diag_note(&out->detail, -ERR_UNAVAILABLE, "%s%s%s", route_reason_text(reason),
                    what[0] != '\0' ? ": " : "", what);
}

/* ---- finding workloads */

static bool pick(struct routing *r, const struct service *s, uint16_t port,
                 enum balance_for purpose, struct hop *out)
{
    struct balance_query q = {.source = r->q->source,
                              .service = s,
                              .port = port,
                              .purpose = purpose,
                              .seed = rand_seq_next(&r->chance)};
    struct balance_pick picked;

    if (s->mode == BALANCE_PASSTHROUGH || !balance_choose(r->world, &q, &picked)) {
        return false;
    }
    out->workload = picked.backend.workload;
    out->service = s;
    out->port = picked.target_port;
    return true;
}

/* The workload behind a waypoint or network gateway (contract 3.2.2, 3.2.5). */
static enum route_reason follow(struct routing *r, const struct gateway *g,
                                enum balance_for purpose, struct hop *out)
{
    bool by_name = g->kind == GATEWAY_HOSTNAME;
    const struct service *s = gateway_service(r->world, g, r->q->source->identity->ns);

    *out = (struct hop){.port = g->hbone_mtls_port,
                        .asked = by_name ? (struct ip){.family = IP_NONE} : g->ip,
                        .family = (enum ip_family)(by_name ? r->q->src.ip.family : g->ip.family)};
    if (s) {
        return pick(r, s, g->hbone_mtls_port, purpose, out) ? ROUTE_OK : ROUTE_NO_UPSTREAM;
    }
    out->workload = gateway_workload(r->world, g);
    return out->workload ? ROUTE_OK : ROUTE_NO_WAYPOINT;
}

/* ---- writing down where it goes */

static const struct identity **expected(const struct service *s, const struct workload *w,
                                        unsigned *count)
{
    unsigned sans = s ? s->identity_count : 0;
    const struct identity **list = mem_array(sans + 1u, sizeof(const struct identity *));

    *count = 0;
    for (unsigned i = 0; i < sans; i++) {
        list[(*count)++] = identity_ref(s->identities[i]);
    }
    if (w) {
        list[(*count)++] = identity_ref(w->identity);
    }
    return list;
}

static bool take_ip(const struct hop *h, enum ip_family only, struct ip *out)
{
    const struct workload *w = h->workload;

    for (unsigned i = 0; i < w->ip_count; i++) {
        enum ip_family family = (enum ip_family)w->ips[i].family;
        if ((only == IP_NONE || family == only) &&
            (!h->service || service_allows_family(h->service, family))) {
            *out = w->ips[i];
            return true;
        }
    }
    return false;
}

/* Contract 3.2.4. False: it has no address that may be used. */
static bool choose_ip(const struct hop *h, struct ip *out)
{
    if (h->asked.family != IP_NONE && workload_has_ip(h->workload, &h->asked)) {
        *out = h->asked;
        return true;
    }
    return take_ip(h, h->family, out) || take_ip(h, IP_NONE, out);
}

/* TCP goes to the hop, on that port; who answers must be one of the expected. False: it was
 * denied. */
static bool go_to(struct routing *r, const struct hop *h, uint16_t port)
{
    struct route *out = r->out;

    out->next = workload_ref(h->workload);
    out->tcp = (struct endpoint){.port = port};
    if (choose_ip(h, &out->tcp.ip)) {
        return true;
    }
    if (h->workload->hostname[0] == '\0') {
        deny(r->out, ROUTE_NO_ADDRESS, "%s", h->workload->uid);
        return false;
    }
    out->resolve = out->next->hostname;
    out->resolve_family = h->family;
    return true;
}

static void write_authority(struct route *out, const struct endpoint *e)
{
    char text[ENDPOINT_TEXT];

    if (e->ip.family == IP_NONE) {
        return; /* route_resolve will know it */
    }
    (void)snprintf(out->authority, sizeof(out->authority), "%s", endpoint_format(e, text));
}

static void set_service(struct routing *r, const struct service *s)
{
    r->out->service = service_ref(s);
    r->out->service_port = s ? r->q->dst.port : 0;
}

/* ---- the four ways out */

static void by_waypoint(struct routing *r, const struct hop *h)
{
    struct route *out = r->out;

    if (!go_to(r, h, h->port)) {
        return;
    }
    out->kind = ROUTE_WAYPOINT;
    out->target_port = r->q->dst.port;
    out->expect = expected(h->service, h->workload, &out->expect_count);
    write_authority(out, &r->q->dst);
}

/* Through the gateway of a workload on another network (contract 2.11, 3.2.5). */
static void by_gateway(struct routing *r, const struct workload *far, const struct service *s)
{
    struct route *out = r->out;
    enum route_reason found;
    struct hop h;

    if (!s) {
        deny(r->out, ROUTE_NOT_A_SERVICE, "%s is on network '%s'", far->uid, far->network);
        return;
    }
    if (!gateway_is_set(far->network_gateway)) {
        deny(r->out, ROUTE_NO_GATEWAY, "%s is on network '%s'", far->uid, far->network);
        return;
    }
    found = follow(r, far->network_gateway, BALANCE_STANDARD, &h);
    if (found != ROUTE_OK) {
        deny(r->out, found == ROUTE_NO_UPSTREAM ? ROUTE_GATEWAY_NO_UPSTREAM : ROUTE_NO_GATEWAY,
             "of network '%s'", far->network);
        return;
    }
    if (!go_to(r, &h, h.port)) {
        return;
    }
    out->kind = ROUTE_DOUBLE;
    out->workload = workload_ref(far);
    out->target_port = r->q->dst.port;
    out->expect = expected(h.service, h.workload, &out->expect_count);
    out->inner_expect = expected(s, NULL, &out->inner_expect_count);
    (void)snprintf(out->authority, sizeof(out->authority), "%.255s:%u", s->hostname,
                   r->q->dst.port);
}

static void directly(struct routing *r, const struct hop *h)
{
    struct route *out = r->out;
    bool tunnel = h->workload->tunnel_protocol == TUNNEL_HBONE;

    if (!go_to(r, h, tunnel ? HBONE_PORT : h->port)) {
        return;
    }
    out->workload = workload_ref(h->workload);
    out->target_port = h->port;
    out->kind = tunnel ? ROUTE_HBONE : ROUTE_TCP;
    if (tunnel) {
        out->expect = expected(h->service, h->workload, &out->expect_count);
        write_authority(out, &(struct endpoint){out->tcp.ip, h->port});
    }
}

static void pass_through(struct routing *r)
{
    r->out->kind = ROUTE_PASSTHROUGH;
    r->out->tcp = r->q->dst;
    r->out->target_port = r->q->dst.port;
}

/* ---- the steps */

/* Weighted waypoints first, in proportion; where no weight is positive, the single one. */
static const struct gateway *waypoint_of(struct routing *r, const struct service *s)
{
    uint64_t total = 0;
    uint64_t at;

    for (unsigned i = 0; i < s->weighted_count; i++) {
        total += s->weighted[i].weight;
    }
    if (total == 0) {
        return gateway_is_set(s->waypoint) ? s->waypoint : NULL;
    }
    at = rand_seq_below(&r->chance, total);
    for (unsigned i = 0; i < s->weighted_count; i++) {
        if (at < s->weighted[i].weight) {
            return &s->weighted[i].gateway;
        }
        at -= s->weighted[i].weight;
    }
    return NULL;
}

static void deny_waypoint(struct routing *r, enum route_reason found, const char *whose)
{
    deny(r->out, found == ROUTE_NO_UPSTREAM ? ROUTE_WAYPOINT_NO_UPSTREAM : ROUTE_NO_WAYPOINT,
         "of %s", whose);
}

/* A waypoint's own traffic to what it guards must not come back to it. */
static bool is_from_waypoint(const struct routing *r, const struct gateway *g)
{
    return gateway_is_set(g) &&
           gateway_has_member(r->world, g, r->q->source->identity, &r->q->src.ip);
}

static bool is_from_waypoint_of(const struct routing *r, const struct service *s)
{
    bool from = is_from_waypoint(r, s->waypoint);

    for (unsigned i = 0; i < s->weighted_count && !from; i++) {
        from = is_from_waypoint(r, &s->weighted[i].gateway);
    }
    return from;
}

/* Step 6. False: the service has no waypoint, or the connection comes from it. */
static bool through_service_waypoint(struct routing *r, const struct service *s)
{
    const struct gateway *g = waypoint_of(r, s);
    enum route_reason found;
    struct hop h;

    if (!g || is_from_waypoint_of(r, s)) {
        return false;
    }
    set_service(r, s);
    found = follow(r, g, BALANCE_WAYPOINT, &h);
    if (found != ROUTE_OK) {
        deny_waypoint(r, found, s->key);
    } else if (strcmp(h.workload->network, r->q->source->network) != 0) {
        by_gateway(r, h.workload, s);
    } else {
        by_waypoint(r, &h);
    }
    return true;
}

/* Step 11. Only service traffic crosses networks: there is no name that the far side could route by. */
static void through_workload_waypoint(struct routing *r, const struct workload *w)
{
    struct hop h;
    enum route_reason found = follow(r, w->waypoint, BALANCE_WAYPOINT, &h);

    if (found != ROUTE_OK) {
        deny_waypoint(r, found, w->uid);
    } else if (strcmp(h.workload->network, r->q->source->network) != 0) {
        deny(r->out, ROUTE_NOT_A_SERVICE, "waypoint %s is on network '%s'", h.workload->uid,
             h.workload->network);
    } else {
        by_waypoint(r, &h);
        r->out->workload = workload_ref(w);
    }
}

/* Steps 9 to 12. */
static void to_workload(struct routing *r, const struct hop *h)
{
    const struct workload *w = h->workload;

    if (strcmp(w->network, r->q->source->network) != 0) {
        by_gateway(r, w, h->service);
        return;
    }
    if (h->service || !gateway_is_set(w->waypoint) || is_from_waypoint(r, w->waypoint)) {
        directly(r, h);
        return;
    }
    through_workload_waypoint(r, w);
}

/* Steps 7 and 8. addressed: what step 5 found. A service that only step 7 finds, because a workload has the
 * same address, is not gone around either. */
static void without_service_waypoint(struct routing *r, const struct service *addressed)
{
    const struct route_query *q = r->q;
    const struct service *s =
        world_service_at(r->world, q->source->network, &q->dst.ip, q->source->identity->ns);
    struct hop h = {
        .port = q->dst.port, .asked = q->dst.ip, .family = (enum ip_family)q->dst.ip.family};
    bool found;

    if (s && s != addressed && through_service_waypoint(r, s)) {
        return;
    }
    if (s) {
        set_service(r, s);
        if (s->mode == BALANCE_PASSTHROUGH) {
            pass_through(r);
            return;
        }
        found = pick(r, s, q->dst.port, BALANCE_STANDARD, &h);
    } else {
        h.workload = world_workload_at(r->world, q->source->network, &q->dst.ip);
        found = h.workload != NULL;
    }
    if (found) {
        to_workload(r, &h);
    } else if (s || (addressed && addressed->mode != BALANCE_PASSTHROUGH)) {
        char text[ENDPOINT_TEXT];
        deny(r->out, ROUTE_NO_UPSTREAM, "%s", endpoint_format(&q->dst, text)); /* as recorded */
    } else {
        pass_through(r);
    }
}

void route_decide(struct route *out, const struct world *w, const struct route_query *q)
{
    struct routing r = {.world = w, .q = q, .out = out};
    const struct service *addressed = NULL;

    *out = (struct route){.kind = ROUTE_DENY};
    rand_seq_init(&r.chance, q->seed);
    if (ip_is_loopback(&q->dst.ip) && is_illegal(q, q->dst.port)) {
        deny(out, ROUTE_RECURSIVE, "port %u", q->dst.port);
        return;
    }
    if (!world_workload_at(w, q->network, &q->dst.ip)) {
        addressed = world_service_at(w, q->network, &q->dst.ip, q->source->identity->ns);
    }
    if (!addressed || !through_service_waypoint(&r, addressed)) {
        without_service_waypoint(&r, addressed);
    }
}

/* What a name server says must not lead to this proxy's own ports, nor to nobody's address. */
static bool may_dial(const struct route *r, const struct route_query *q, const struct ip *ip)
{
    return !ip_is_unspecified(ip) && !ip_is_multicast(ip) &&
           !(ip_is_loopback(ip) && is_illegal(q, r->tcp.port));
}

static const struct ip *choose_any(const struct route *r, const struct route_query *q,
                                   enum ip_family family, const struct ip *ips, unsigned count)
{
    const struct ip *chosen = NULL;
    struct rand_seq chance;
    unsigned seen = 0;

    rand_seq_init(&chance, q->seed);
    for (unsigned i = 0; i < count; i++) {
        bool fits = family == IP_NONE || ips[i].family == family;
        if (fits && may_dial(r, q, &ips[i]) && rand_seq_below(&chance, ++seen) == 0) {
            chosen = &ips[i];
        }
    }
    return chosen;
}

void route_resolve(struct route *r, const struct route_query *q, const struct ip *ips,
                   unsigned count)
{
    const struct ip *ip = choose_any(r, q, r->resolve_family, ips, count);

    ip = ip ? ip : choose_any(r, q, IP_NONE, ips, count);
    if (!ip) {
        deny(r, ROUTE_BAD_ADDRESS, "%s", r->resolve);
        return;
    }
    r->tcp.ip = *ip;
    r->resolve = NULL;
    if (r->kind == ROUTE_HBONE) {
        write_authority(r, &(struct endpoint){*ip, r->target_port});
    }
}

static void release(const struct identity **list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        identity_unref(list[i]);
    }
    mem_free((void *)list);
}

void route_fini(struct route *r)
{
    release(r->expect, r->expect_count);
    release(r->inner_expect, r->inner_expect_count);
    workload_unref(r->next);
    workload_unref(r->workload);
    service_unref(r->service);
    *r = (struct route){.kind = ROUTE_DENY};
}
