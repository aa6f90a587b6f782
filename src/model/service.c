/* SPDX-License-Identifier: Apache-2.0 */
/* SANs are parsed once, when the service arrives, not on every handshake that expects them. */
#include "model/service.h"

#include <string.h>

#include "base/mem.h"
#include "model/const_int.h"
#include "model/gateway_int.h"
#include "model/intern.h"
#include "model/pack_int.h"

/* ---- making */

static int check(const struct service *from, struct diag *why)
{
    if (!from->hostname || from->hostname[0] == '\0') {
        return FAIL(why, -ERR_SYNTAX, "service without hostname");
    }
    if (from->vip_count > SERVICE_VIPS_MAX || from->san_count > SERVICE_SANS_MAX ||
        from->weighted_count > SERVICE_WEIGHTED_MAX ||
        from->scope_count > ARRAY_LEN(from->scopes)) {
        return FAIL(why, -ERR_LIMIT, "service %.64s has too many VIPs, SANs or waypoints",
                    from->hostname);
    }
    return 0;
}

static const char *pack_key(struct pack *p, const struct service *from)
{
    const char *ns = from->ns ? from->ns : "";
    size_t ns_len = strlen(ns);
    size_t host_len = strlen(from->hostname);
    char *key = pack_room(p, ns_len + host_len + 2, 1);

    if (key) {
        memcpy(key, ns, ns_len);
        key[ns_len] = '/';
        memcpy(key + ns_len + 1, from->hostname, host_len + 1);
    }
    return key;
}

static const struct service_vip *pack_vips(struct pack *p, const struct service *from,
                                           struct intern *pool)
{
    struct service_vip *to =
        pack_room(p, from->vip_count * sizeof(*to), _Alignof(struct service_vip));

    for (unsigned i = 0; to && i < from->vip_count; i++) {
        to[i] = from->vips[i];
        to[i].network = intern_text(pool, from->vips[i].network);
    }
    return to;
}

static const struct weighted_gateway *pack_weighted(struct pack *p, const struct service *from,
                                                    struct intern *pool)
{
    struct weighted_gateway *to =
        pack_room(p, from->weighted_count * sizeof(*to), _Alignof(struct weighted_gateway));

    for (unsigned i = 0; to && i < from->weighted_count; i++) {
        to[i].weight = from->weighted[i].weight;
        to[i].gateway = gateway_copy(&from->weighted[i].gateway, pool);
    }
    return to;
}

/* The SANs as text, and those that are identities as such. */
static void pack_sans(struct pack *p, const struct service *from, struct service *to,
                      struct intern *pool)
{
    const char **sans = pack_room(p, from->san_count * sizeof(*sans), _Alignof(const char *));
    const struct identity **ids =
        pack_room(p, from->san_count * sizeof(*ids), _Alignof(const struct identity *));

    to->identity_count = 0;
    for (unsigned i = 0; i < from->san_count; i++) {
        const char *san = pack_text(p, from->sans[i]);
        AUTO(identity) const struct identity *id = NULL;
        if (!sans || !ids) {
            continue;
        }
        sans[i] = san;
        if (identity_parse(&id, san, strlen(san), NULL) == 0) {
            ids[to->identity_count++] = intern_same(pool, id);
        }
    }
    to->sans = sans;
    to->identities = ids;
}

static struct service *lay_out(struct pack *p, const struct service *from, struct intern *pool)
{
    struct service *room = pack_room(p, sizeof(*room), _Alignof(struct service));
    struct service s = *from;

    s.vips = pack_vips(p, from, pool);
    s.weighted = pack_weighted(p, from, pool);
    s.waypoint = gateway_pack(p, from->waypoint, pool);
    pack_sans(p, from, &s, pool);
    s.ports =
        pack_copy(p, from->ports, from->port_count * sizeof(*s.ports), _Alignof(struct port_pair));
    s.key = pack_key(p, from);
    s.ns = pack_text(p, from->ns);
    s.name = pack_text(p, from->name);
    s.version = pack_text(p, from->version);
    if (!room) {
        return NULL;
    }
    s.hostname = s.key + strlen(s.ns) + 1;
    aref_init(&s.refs);
    memcpy(room, &s, sizeof(s));
    return room;
}

int service_new(const struct service **out, const struct service *from, struct intern *pool,
                struct diag *why)
{
    struct pack p = {.base = NULL};
    int r = check(from, why);

    if (r < 0) {
        return r;
    }
    (void)lay_out(&p, from, pool); /* measures */
    if (p.used > SERVICE_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "service of %zu bytes", p.used);
    }
    p = (struct pack){.base = mem_alloc(p.used)};
    *out = lay_out(&p, from, pool);
    return 0;
}

/* ---- living */

const struct service *service_ref(const struct service *s)
{
    if (s) {
        aref_get(&((struct service *)unconst(s))->refs);
    }
    return s;
}

static void destroy(struct service *s)
{
    for (unsigned i = 0; i < s->vip_count; i++) {
        text_unref(s->vips[i].network);
    }
    for (unsigned i = 0; i < s->weighted_count; i++) {
        gateway_release(&s->weighted[i].gateway);
    }
    for (unsigned i = 0; i < s->identity_count; i++) {
        identity_unref(s->identities[i]);
    }
    gateway_release(s->waypoint);
    mem_free(s);
}

const struct service *service_unref(const struct service *s)
{
    struct service *mine = unconst(s);

    if (mine && aref_put(&mine->refs)) {
        destroy(mine);
    }
    return NULL;
}

/* ---- comparing */

static bool same_numbers(const struct service *a, const struct service *b)
{
    return a->mode == b->mode && a->health == b->health && a->ip_families == b->ip_families &&
           a->visibility == b->visibility && a->canonical == b->canonical &&
           a->has_load_balancing == b->has_load_balancing && a->scope_count == b->scope_count &&
           memcmp(a->scopes, b->scopes, a->scope_count) == 0 && a->vip_count == b->vip_count &&
           a->port_count == b->port_count && a->san_count == b->san_count &&
           a->weighted_count == b->weighted_count;
}

static bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->len == b->len && ip_equal(&a->ip, &b->ip);
}

static bool same_lists(const struct service *a, const struct service *b)
{
    for (unsigned i = 0; i < a->vip_count; i++) {
        if (!prefix_equal(&a->vips[i].prefix, &b->vips[i].prefix) ||
            strcmp(a->vips[i].network, b->vips[i].network) != 0) {
            return false;
        }
    }
    for (unsigned i = 0; i < a->san_count; i++) {
        if (strcmp(a->sans[i], b->sans[i]) != 0) {
            return false;
        }
    }
    for (unsigned i = 0; i < a->weighted_count; i++) {
        if (a->weighted[i].weight != b->weighted[i].weight ||
            !gateway_equal(&a->weighted[i].gateway, &b->weighted[i].gateway)) {
            return false;
        }
    }
    return a->port_count == 0 || memcmp(a->ports, b->ports, a->port_count * sizeof(*a->ports)) == 0;
}

bool service_equal(const struct service *a, const struct service *b)
{
    return a == b ||
           (same_numbers(a, b) && strcmp(a->key, b->key) == 0 && strcmp(a->ns, b->ns) == 0 &&
            strcmp(a->name, b->name) == 0 && strcmp(a->version, b->version) == 0 &&
            gateway_equal(a->waypoint, b->waypoint) && same_lists(a, b));
}

/* ---- asking */

bool service_vip_is_cidr(const struct service_vip *v)
{
    return v->prefix.len < 8 * ip_size(&v->prefix.ip);
}

bool service_has_vip(const struct service *s, const char *network, const struct ip *ip)
{
    for (unsigned i = 0; i < s->vip_count; i++) {
        const struct service_vip *v = &s->vips[i];
        if (!service_vip_is_cidr(v) && ip_equal(&v->prefix.ip, ip) &&
            strcmp(v->network, network) == 0) {
            return true;
        }
    }
    return false;
}

const struct port_pair *service_port(const struct service *s, uint16_t port)
{
    for (unsigned i = 0; i < s->port_count; i++) {
        if (s->ports[i].service_port == port) {
            return &s->ports[i];
        }
    }
    return NULL;
}

bool service_is_visible(const struct service *s, const char *client_ns)
{
    return s->visibility == VISIBLE_PUBLIC || strcmp(s->ns, client_ns) == 0;
}

bool service_allows_family(const struct service *s, enum ip_family family)
{
    switch ((enum ip_families)s->ip_families) {
    case FAMILIES_IPV4:
        return family == IP_V4;
    case FAMILIES_IPV6:
        return family == IP_V6;
    case FAMILIES_AUTOMATIC:
    case FAMILIES_DUAL:
        break;
    }
    return true;
}
