/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a CONNECT may reach, decided before policy is asked: the checks keep a tunnel's client from
 * choosing a destination that is not this workload.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/gateway_find_int.h"
#include "model/route.h"

enum { HOSTNAME_MAX = 255 };

PRINTF_LIKE(4, 5)
static void refuse(struct inbound *out, unsigned status, enum route_reason reason, const char *fmt,
                   ...)
{
    char what[sizeof(out->detail.text)];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    out->status = status;
    out->reason = reason;
    (void)diag_note(&out->detail, -ERR_UNAVAILABLE, "%s%s%s", route_reason_text(reason),
                    what[0] != '\0' ? ": " : "", what);
}

static bool is_local(const struct world *w, const struct inbound_query *q, const struct gateway *g)
{
    const struct service *s;
    const struct workload *waypoint;

    if (!gateway_is_set(g)) {
        return false;
    }
    s = gateway_service(w, g, q->local->identity->ns);
    if (s) {
        return workload_member_of(q->local, s->key) != NULL;
    }
    waypoint = gateway_workload(w, g);
    return waypoint && workload_has_ip(waypoint, &q->tcp_dst);
}

/* Does the address behind the authority have a waypoint that the local workload is part of? Then
 * this is a waypoint that takes what is meant for others (contract 3.4 step 4). */
static bool is_waypoint_for(const struct world *w, const struct inbound_query *q)
{
    const struct workload *target = world_workload_at(w, q->network, &q->authority_ip);
    const struct service *s =
        world_service_at(w, q->network, &q->authority_ip, q->local->identity->ns);
    bool is = (target && is_local(w, q, target->waypoint)) || (s && is_local(w, q, s->waypoint));

    for (unsigned i = 0; s && i < s->weighted_count && !is; i++) {
        is = is_local(w, q, &s->weighted[i].gateway);
    }
    return is;
}

static bool check_ip(struct inbound *out, const struct world *w, const struct inbound_query *q)
{
    char have[IP_TEXT], want[IP_TEXT];

    if (ip_equal(&q->authority_ip, &q->tcp_dst) || q->local->app_tunnel != APP_TUNNEL_ABSENT ||
        is_waypoint_for(w, q)) {
        out->rbac_dst.port = q->authority_port;
        return true;
    }
    refuse(out, 400, ROUTE_IP_MISMATCH, "%s != %s", ip_format(&q->tcp_dst, have),
           ip_format(&q->authority_ip, want));
    return false;
}

/* Contract 2.12: the local workload's own number for the port, else the service's. */
static uint16_t resolve_port(const struct workload *local, const struct service *s, uint16_t port)
{
    const struct workload_service *member = workload_member_of(local, s->key);
    const struct port_pair *pair = service_port(s, port);
    uint16_t own = member ? workload_service_port(member, port) : 0;

    if (own > 0) {
        return own;
    }
    return pair ? pair->target_port : 0;
}

static bool check_host(struct inbound *out, const struct world *w, const struct inbound_query *q)
{
    struct host_query by = {.client_ns = q->local->identity->ns};
    const struct service *s = NULL;
    char host[HOSTNAME_MAX + 1];

    if (q->authority_host.len <= HOSTNAME_MAX) {
        (void)snprintf(host, sizeof(host), "%.*s", (int)q->authority_host.len, q->authority_host.p);
        s = world_service_for_host(w, host, &by);
    }
    if (!s) {
        refuse(out, 503, ROUTE_NO_HOST, "%.*s", (int)q->authority_host.len, q->authority_host.p);
        return false;
    }
    out->rbac_dst.port = resolve_port(q->local, s, q->authority_port);
    if (out->rbac_dst.port == 0) {
        refuse(out, 503, ROUTE_NO_PORT, "%s:%u", s->hostname, q->authority_port);
        return false;
    }
    out->service = service_ref(s);
    return true;
}

static bool is_illegal(const struct inbound_query *q, uint16_t port)
{
    for (unsigned i = 0; i < q->illegal_count; i++) {
        if (q->illegal_ports[i] == port) {
            return true;
        }
    }
    return false;
}

/* An exact VIP to name in the PROXY header: own network first, then IPv4 (contract 2.13). */
static const struct service_vip *best_vip(const struct service *s, const char *network)
{
    const struct service_vip *best = NULL;
    int best_rank = -1;

    for (unsigned i = 0; i < s->vip_count; i++) {
        const struct service_vip *v = &s->vips[i];
        int rank =
            (strcmp(v->network, network) == 0 ? 2 : 0) + (v->prefix.ip.family == IP_V4 ? 1 : 0);
        if (!service_vip_is_cidr(v) && rank > best_rank) {
            best_rank = rank;
            best = v;
        }
    }
    return best;
}

static struct ip loopback_of(const struct ip *like)
{
    return like->family == IP_V4 ? (struct ip){.family = IP_V4, .bytes = {127, 0, 0, 1}}
                                 : (struct ip){.family = IP_V6, .bytes = {[15] = 1}};
}

/* Step 6. False: refused. */
static bool enter_app_tunnel(struct inbound *out, const struct inbound_query *q)
{
    if (q->local->app_tunnel_port > 0) {
        out->rbac_dst.port = q->local->app_tunnel_port;
    }
    out->connect = out->rbac_dst;
    if (q->local->app_tunnel != APP_TUNNEL_PROXY) {
        return true;
    }
    out->proxy_dst = (struct endpoint){q->authority_ip, q->authority_port};
    if (out->service) {
        const struct service_vip *v = best_vip(out->service, q->network);
        if (!v) {
            refuse(out, 503, ROUTE_NO_VIP, "%s", out->service->hostname);
            return false;
        }
        out->proxy_dst.ip = v->prefix.ip;
    }
    out->proxy_protocol = true;
    if (q->localhost_app_tunnel) {
        out->connect.ip = loopback_of(&q->tcp_dst);
        out->keep_source = false;
    }
    return true;
}

void inbound_decide(struct inbound *out, const struct world *w, const struct inbound_query *q)
{
    bool by_host = q->authority_ip.family == IP_NONE;

    *out = (struct inbound){.status = 503, .keep_source = true, .rbac_dst = {.ip = q->tcp_dst}};
    if (!(by_host ? check_host(out, w, q) : check_ip(out, w, q))) {
        return;
    }
    if (is_illegal(q, out->rbac_dst.port)) {
        refuse(out, 503, ROUTE_RECURSIVE, "port %u", out->rbac_dst.port);
        return;
    }
    out->connect = out->rbac_dst;
    if (q->local->app_tunnel != APP_TUNNEL_ABSENT && !enter_app_tunnel(out, q)) {
        return;
    }
    out->status = 200;
}

void inbound_fini(struct inbound *in)
{
    in->service = service_unref(in->service);
}

/* ---- labels */

static bool has_target(const struct world *w, const struct workload_service *m, uint16_t port)
{
    const struct service *s = world_service(w, m->key);

    for (unsigned i = 0; i < m->port_count; i++) {
        if (m->ports[i].target_port == port) {
            return true;
        }
    }
    for (unsigned i = 0; s && i < s->port_count; i++) {
        if (s->ports[i].target_port == port && port > 0) {
            return true;
        }
    }
    return false;
}

const struct service *inbound_service(const struct world *w, const struct workload *local,
                                      const char *forwarded_host, uint16_t dst_port)
{
    for (unsigned i = 0; forwarded_host && i < local->service_count; i++) {
        const struct service *s = world_service(w, local->services[i].key);
        if (s && strcmp(s->hostname, forwarded_host) == 0) {
            return s;
        }
    }
    const struct workload_service *best = NULL;
    for (unsigned i = 0; i < local->service_count; i++) {
        const struct workload_service *m = &local->services[i];
        bool is_before = !best || strcmp(m->key, best->key) < 0;
        if (is_before && world_service(w, m->key) && has_target(w, m, dst_port)) {
            best = m;
        }
    }
    return best ? world_service(w, best->key) : NULL;
}
