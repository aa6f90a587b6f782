/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

enum { LIST_MAX = 16 };

NO_RETURN static void wrong(const char *what, struct slice s)
{
    (void)fprintf(stderr, "test mesh: %s: %.*s\n", what, (int)s.len, s.p ? s.p : "");
    exit(2);
}

static void must(int r, const char *what)
{
    if (r < 0) {
        wrong(what, slice_of(err_name(r)));
    }
}

/* Text pieces of one object, freed with it. */
struct scrap {
    char *text[128];
    unsigned count;
};

static const char *keep(struct scrap *sc, struct slice s)
{
    if (sc->count == ARRAY_LEN(sc->text)) {
        wrong("too many texts", s);
    }
    sc->text[sc->count] = mem_dup(s.p, s.len);
    return sc->text[sc->count++];
}

static void scrap_fini(struct scrap *sc)
{
    for (unsigned i = 0; i < sc->count; i++) {
        mem_free(sc->text[i]);
    }
}

static unsigned split(const char *list, char sep, struct slice out[static LIST_MAX])
{
    struct slice rest = slice_of(list ? list : "");
    unsigned n = 0;

    while (rest.len > 0) {
        if (n == LIST_MAX) {
            wrong("too long a list", rest);
        }
        struct slice behind;
        (void)slice_cut(rest, sep, &out[n++], &behind);
        rest = behind;
    }
    return n;
}

struct ip mesh_ip(const char *text)
{
    struct ip ip;

    must(ip_parse(&ip, text, strlen(text)), text);
    return ip;
}

static uint16_t port_of(struct slice s)
{
    uint32_t v;

    must(num_parse_u32(s.p, s.len, 65535, &v), "port");
    return (uint16_t)v;
}

static unsigned ports_of(struct slice list, char sep, struct port_pair out[static LIST_MAX],
                         struct scrap *sc)
{
    struct slice item[LIST_MAX];
    unsigned n = split(keep(sc, list), sep, item);

    for (unsigned i = 0; i < n; i++) {
        struct slice a, b;
        if (!slice_cut(item[i], ':', &a, &b)) {
            wrong("not PORT:PORT", item[i]);
        }
        out[i] = (struct port_pair){port_of(a), port_of(b)};
    }
    return n;
}

static struct gateway gateway_of(struct slice s, struct scrap *sc)
{
    struct gateway g = {.kind = GATEWAY_NONE};
    struct slice a, b, host;
    const char *colon;

    if (s.len == 0) {
        return g;
    }
    if (slice_cut(s, '|', &a, &b)) {
        struct endpoint e;
        must(endpoint_parse(&e, b.p, b.len), "gateway address");
        g = (struct gateway){.kind = GATEWAY_ADDRESS, .network = keep(sc, a), .ip = e.ip};
        g.hbone_mtls_port = e.port;
        return g;
    }
    colon = memchr(s.p, ':', s.len);
    if (!colon || !slice_cut((struct slice){s.p, (size_t)(colon - s.p)}, '/', &a, &host)) {
        wrong("not NS/HOST:PORT", s);
    }
    g = (struct gateway){.kind = GATEWAY_HOSTNAME, .ns = keep(sc, a), .hostname = keep(sc, host)};
    g.hbone_mtls_port = port_of((struct slice){colon + 1, s.len - (size_t)(colon - s.p) - 1});
    return g;
}

void mesh_init(struct mesh *m)
{
    m->pool = intern_new();
    m->world = world_new(NULL);
    m->delta = world_delta_new(m->world);
}

void mesh_fini(struct mesh *m)
{
    world_delta_free(m->delta);
    world_unref(m->world);
    intern_free(m->pool);
}

void mesh_commit(struct mesh *m)
{
    const struct world *next = world_next(m->delta);

    world_unref(m->world);
    m->world = next;
    m->delta = world_delta_new(next);
}

static unsigned members_of(const struct pod *p, struct workload_service *out,
                           struct port_pair ports[LIST_MAX][LIST_MAX], struct scrap *sc)
{
    struct slice item[LIST_MAX];
    unsigned n = split(p->services, ',', item);

    for (unsigned i = 0; i < n; i++) {
        struct slice key, list;
        (void)slice_cut(item[i], '=', &key, &list);
        unsigned count = ports_of(list, ' ', ports[i], sc);
        out[i] = (struct workload_service){keep(sc, key), ports[i], count};
    }
    return n;
}

const struct workload *mesh_make_pod(struct mesh *m, const struct pod *p)
{
    static struct port_pair ports[LIST_MAX][LIST_MAX];
    const char *name = p->name ? p->name : "p";
    const char *ns = p->ns ? p->ns : "shop";
    char uid[256], sa[128];
    struct scrap sc = {.count = 0};
    struct slice item[LIST_MAX];
    struct ip ips[LIST_MAX];
    const char *policies[LIST_MAX];
    struct workload_service members[LIST_MAX];
    struct gateway waypoint = gateway_of(slice_of(p->waypoint), &sc);
    struct gateway gateway = gateway_of(slice_of(p->gateway), &sc);
    const struct workload *made;

    (void)snprintf(uid, sizeof(uid), "c//Pod/%s/%s", ns, name);
    (void)snprintf(sa, sizeof(sa), "%s-sa", name);
    struct workload w = {
        .uid = p->uid ? p->uid : uid,
        .name = name,
        .version = p->version,
        .network = p->network,
        .node = p->node,
        .hostname = p->hostname,
        .region = p->region,
        .zone = p->zone,
        .subzone = p->subzone,
        .cluster_id = p->cluster,
        .capacity = p->weight == 0  ? 1
                    : p->weight < 0 ? 0
                                    : (uint32_t)p->weight,
        .tunnel_protocol = p->hbone ? TUNNEL_HBONE : TUNNEL_NONE,
        .status = p->unhealthy ? WORKLOAD_UNHEALTHY : WORKLOAD_HEALTHY,
        .network_mode = p->host_network ? NETWORK_HOST : NETWORK_STANDARD,
        .app_tunnel = (uint8_t)p->tunnel,
        .app_tunnel_port = p->tunnel_port,
        .waypoint = &waypoint,
        .network_gateway = &gateway,
        .ips = ips,
        .services = members,
        .policies = policies,
    };
    w.identity = intern_identity(m->pool, "cluster.local", ns, p->sa ? p->sa : sa);
    w.ip_count = (uint16_t)split(p->ips, ',', item);
    for (unsigned i = 0; i < w.ip_count; i++) {
        must(ip_parse(&ips[i], item[i].p, item[i].len), "pod address");
    }
    w.policy_count = (uint16_t)split(p->policies, ',', item);
    for (unsigned i = 0; i < w.policy_count; i++) {
        policies[i] = keep(&sc, item[i]);
    }
    w.service_count = (uint16_t)members_of(p, members, ports, &sc);
    must(workload_new(&made, &w, m->pool, NULL), "workload");
    identity_unref(w.identity);
    scrap_fini(&sc);
    return made;
}

static uint8_t scope_of(char c)
{
    static const char letters[] = "?RZSNCW"; /* in the order of enum balance_scope */
    const char *at = strchr(letters, c);

    if (!at) {
        wrong("scope", (struct slice){&c, 1});
    }
    return (uint8_t)(at - letters);
}

static unsigned vips_of(const struct svc *s, struct service_vip *out, struct scrap *sc)
{
    struct slice item[LIST_MAX];
    unsigned n = split(s->vips, ',', item);

    for (unsigned i = 0; i < n; i++) {
        struct slice network, prefix;
        if (!slice_cut(item[i], '|', &network, &prefix)) {
            wrong("not NETWORK|PREFIX", item[i]);
        }
        out[i].network = keep(sc, network);
        must(ip_prefix_parse(&out[i].prefix, prefix.p, prefix.len), "VIP");
    }
    return n;
}

static unsigned weighted_of(const struct svc *s, struct weighted_gateway *out, struct scrap *sc)
{
    struct slice item[LIST_MAX];
    unsigned n = split(s->weighted, ',', item);

    for (unsigned i = 0; i < n; i++) {
        struct slice weight, gateway;
        if (!slice_cut(item[i], '*', &weight, &gateway)) {
            wrong("not WEIGHT*GATEWAY", item[i]);
        }
        out[i] = (struct weighted_gateway){gateway_of(gateway, sc), port_of(weight)};
    }
    return n;
}

const struct service *mesh_make_svc(struct mesh *m, const struct svc *s)
{
    struct scrap sc = {.count = 0};
    struct slice item[LIST_MAX];
    struct service_vip vips[LIST_MAX];
    struct port_pair ports[LIST_MAX];
    const char *sans[LIST_MAX];
    struct weighted_gateway weighted[LIST_MAX];
    struct gateway waypoint = gateway_of(slice_of(s->waypoint), &sc);
    const struct service *made;
    struct service v = {
        .ns = s->ns ? s->ns : "shop",
        .hostname = s->host ? s->host : "web.local",
        .version = s->version,
        .mode = (uint8_t)s->mode,
        .health = s->any_health ? HEALTH_ALLOW_ALL : HEALTH_ONLY_HEALTHY,
        .ip_families = (uint8_t)s->families,
        .visibility = s->hidden ? VISIBLE_NAMESPACE : VISIBLE_PUBLIC,
        .canonical = s->canonical,
        .waypoint = &waypoint,
        .vips = vips,
        .ports = ports,
        .sans = sans,
        .weighted = weighted,
    };

    for (const char *c = s->scopes ? s->scopes : ""; *c; c++) {
        v.scopes[v.scope_count++] = scope_of(*c);
    }
    v.vip_count = (uint16_t)vips_of(s, vips, &sc);
    v.port_count = (uint16_t)ports_of(slice_of(s->ports), ',', ports, &sc);
    v.weighted_count = (uint16_t)weighted_of(s, weighted, &sc);
    v.san_count = (uint16_t)split(s->sans, ',', item);
    for (unsigned i = 0; i < v.san_count; i++) {
        sans[i] = keep(&sc, item[i]);
    }
    must(service_new(&made, &v, m->pool, NULL), "service");
    scrap_fini(&sc);
    return made;
}

bool mesh_pod(struct mesh *m, const struct pod *p)
{
    return world_put_workload(m->delta, mesh_make_pod(m, p));
}

bool mesh_svc(struct mesh *m, const struct svc *s)
{
    return world_put_service(m->delta, mesh_make_svc(m, s));
}

bool mesh_policy(struct mesh *m, const struct policy *p)
{
    return world_put_policy(m->delta, p);
}
