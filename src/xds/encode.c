/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to the wire (contract 5.7): fields in the order of their numbers, but for GatewayAddress,
 * whose port comes first in what istiod sends. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/pbwrite.h"
#include "xds/resource.h"

enum { ADDRESS_WORKLOAD = 1, ADDRESS_SERVICE = 2 };

static const char default_trust_domain[] = "cluster.local";

static void put_network_address(struct strbuf *out, uint32_t field, const char *network,
                                const struct ip *ip)
{
    size_t at = pb_open(out, field);

    pb_put_text(out, 1, network);
    pb_put_bytes(out, 2, ip->bytes, ip_size(ip));
    pb_close(out, at);
}

static void put_gateway(struct strbuf *out, uint32_t field, const struct gateway *g)
{
    if (!gateway_is_set(g)) {
        return;
    }
    size_t at = pb_open(out, field);
    pb_put_number(out, 3, g->hbone_mtls_port);
    if (g->kind == GATEWAY_HOSTNAME) {
        size_t host = pb_open(out, 1);
        pb_put_text(out, 1, g->ns);
        pb_put_text(out, 2, g->hostname);
        pb_close(out, host);
    } else {
        put_network_address(out, 2, g->network, &g->ip);
    }
    pb_close(out, at);
}

static void put_port(struct strbuf *out, uint32_t field, const struct port_pair *p, unsigned app)
{
    size_t at = pb_open(out, field);

    pb_put_number(out, 1, p->service_port);
    pb_put_number(out, 2, p->target_port);
    pb_put_number(out, 3, app);
    pb_close(out, at);
}

/* ---- workloads */

static int by_key(const void *a, const void *b)
{
    const struct workload_service *const *x = a;
    const struct workload_service *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

static void put_member(struct strbuf *out, const struct workload_service *m)
{
    size_t entry = pb_open(out, 22);

    pb_put_text(out, 1, m->key);
    size_t ports = pb_open(out, 2);
    for (unsigned i = 0; i < m->port_count; i++) {
        put_port(out, 1, &m->ports[i], 0);
    }
    pb_close(out, ports);
    pb_close(out, entry);
}

static void put_members(struct strbuf *out, const struct workload *w)
{
    if (w->service_count == 0) {
        return;
    }
    const struct workload_service **sorted = mem_array(w->service_count, sizeof(void *));
    for (unsigned i = 0; i < w->service_count; i++) {
        sorted[i] = &w->services[i];
    }
    qsort(sorted, w->service_count, sizeof(void *), by_key);
    for (unsigned i = 0; i < w->service_count; i++) {
        put_member(out, sorted[i]);
    }
    mem_free(sorted);
}

static bool is_set(const char *text)
{
    return text && *text;
}

static void put_app_tunnel(struct strbuf *out, const struct workload *w)
{
    if (w->app_tunnel == APP_TUNNEL_ABSENT) {
        return;
    }
    size_t at = pb_open(out, 23);
    pb_put_number(out, 1, w->app_tunnel == APP_TUNNEL_PROXY);
    pb_put_number(out, 2, w->app_tunnel_port);
    pb_close(out, at);
}

static void put_locality(struct strbuf *out, const struct workload *w)
{
    if (!is_set(w->region) && !is_set(w->zone) && !is_set(w->subzone)) {
        return;
    }
    size_t at = pb_open(out, 24);
    pb_put_text(out, 1, w->region);
    pb_put_text(out, 2, w->zone);
    pb_put_text(out, 3, w->subzone);
    pb_close(out, at);
}

static void put_who(struct strbuf *out, const struct workload *w)
{
    const struct identity *id = w->identity;

    pb_put_text(out, 1, w->name);
    pb_put_text(out, 2, id->ns);
    for (unsigned i = 0; i < w->ip_count; i++) {
        pb_put_element(out, 3, w->ips[i].bytes, ip_size(&w->ips[i]));
    }
    pb_put_text(out, 4, w->network);
    pb_put_number(out, 5, w->tunnel_protocol);
    if (strcmp(id->trust_domain, default_trust_domain) != 0) {
        pb_put_text(out, 6, id->trust_domain);
    }
    pb_put_text(out, 7, id->service_account);
    put_gateway(out, 8, w->waypoint);
}

static void put_what(struct strbuf *out, const struct workload *w)
{
    pb_put_text(out, 9, w->node);
    pb_put_text(out, 10, w->canonical_name);
    pb_put_text(out, 11, w->canonical_revision);
    pb_put_number(out, 12, w->type);
    pb_put_text(out, 13, w->workload_name);
    pb_put_number(out, 14, w->native_tunnel);
    for (unsigned i = 0; i < w->policy_count; i++) {
        pb_put_element(out, 16, w->policies[i], strlen(w->policies[i]));
    }
    pb_put_number(out, 17, w->status);
    pb_put_text(out, 18, w->cluster_id);
    put_gateway(out, 19, w->network_gateway);
    pb_put_text(out, 20, w->uid);
    pb_put_text(out, 21, w->hostname);
}

void xds_workload_encode(struct strbuf *out, const struct workload *w)
{
    size_t at = pb_open(out, ADDRESS_WORKLOAD);

    put_who(out, w);
    put_what(out, w);
    put_members(out, w);
    put_app_tunnel(out, w);
    put_locality(out, w);
    pb_put_number(out, 25, w->network_mode);
    if (w->capacity != 1) { /* what it means when it is absent */
        size_t wrapped = pb_open(out, 27);
        pb_put_number(out, 1, w->capacity);
        pb_close(out, wrapped);
    }
    pb_close(out, at);
}

/* ---- services */

static void put_vip(struct strbuf *out, const struct service_vip *v)
{
    size_t at = pb_open(out, 4);

    pb_put_text(out, 1, v->network);
    pb_put_bytes(out, 2, v->prefix.ip.bytes, ip_size(&v->prefix.ip));
    if (service_vip_is_cidr(v)) { /* present even where it is 0: a varint of its own */
        pb_put_varint(out, 3u << 3);
        pb_put_varint(out, v->prefix.len);
    }
    pb_close(out, at);
}

static void put_balancing(struct strbuf *out, const struct service *s)
{
    if (!s->has_load_balancing) {
        return;
    }
    size_t at = pb_open(out, 8);
    pb_put_bytes(out, 1, s->scopes, s->scope_count); /* packed; each is one octet */
    pb_put_number(out, 2, s->mode);
    pb_put_number(out, 3, s->health);
    pb_close(out, at);
}

static void put_weighted(struct strbuf *out, const struct weighted_gateway *g)
{
    size_t at = pb_open(out, 13);

    put_gateway(out, 1, &g->gateway);
    pb_put_number(out, 2, g->weight);
    pb_close(out, at);
}

void xds_service_encode(struct strbuf *out, const struct service *s,
                        const struct xds_service_more *more)
{
    size_t at = pb_open(out, ADDRESS_SERVICE);

    pb_put_text(out, 1, s->name);
    pb_put_text(out, 2, s->ns);
    pb_put_text(out, 3, s->hostname);
    for (unsigned i = 0; i < s->vip_count; i++) {
        put_vip(out, &s->vips[i]);
    }
    for (unsigned i = 0; i < s->port_count; i++) {
        put_port(out, 5, &s->ports[i],
                 more->app_protocols ? more->app_protocols[i] : (unsigned)APP_UNKNOWN);
    }
    for (unsigned i = 0; i < s->san_count; i++) {
        pb_put_element(out, 6, s->sans[i], strlen(s->sans[i]));
    }
    put_gateway(out, 7, s->waypoint);
    put_balancing(out, s);
    pb_put_number(out, 9, s->ip_families);
    pb_put_number(out, 11, s->canonical);
    pb_put_number(out, 12, more->ingress_use_waypoint);
    for (unsigned i = 0; i < s->weighted_count; i++) {
        put_weighted(out, &s->weighted[i]);
    }
    pb_put_number(out, 14, s->visibility);
    pb_close(out, at);
}
