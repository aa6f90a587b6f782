/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kinds of text: what is a workload's own lies in its allocation, what it shares with others is
 * the pool's. The two tables below are the whole difference.
 */
#include "model/workload.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "model/const_int.h"
#include "model/gateway_int.h"
#include "model/intern.h"
#include "model/pack_int.h"

/* Strings that many workloads share, and those that are a workload's own. */
static const size_t shared[] = {
    offsetof(struct workload, network),
    offsetof(struct workload, node),
    offsetof(struct workload, cluster_id),
    offsetof(struct workload, canonical_name),
    offsetof(struct workload, canonical_revision),
    offsetof(struct workload, workload_name),
    offsetof(struct workload, region),
    offsetof(struct workload, zone),
    offsetof(struct workload, subzone),
};
static const size_t own[] = {
    offsetof(struct workload, uid),
    offsetof(struct workload, version),
    offsetof(struct workload, name),
    offsetof(struct workload, hostname),
};

static const char **text_at(struct workload *w, size_t offset)
{
    return (const char **)(void *)((char *)w + offset);
}

static const char *text_of(const struct workload *w, size_t offset)
{
    const char *s = *text_at(unconst(w), offset);

    return s ? s : "";
}

/* ---- making */

static int check(const struct workload *from, struct diag *why)
{
    if (!from->uid || from->uid[0] == '\0') {
        return FAIL(why, -ERR_SYNTAX, "workload without uid");
    }
    if (from->ip_count > WORKLOAD_IPS_MAX || from->service_count > WORKLOAD_SERVICES_MAX ||
        from->policy_count > WORKLOAD_POLICIES_MAX) {
        return FAIL(why, -ERR_LIMIT, "workload %.64s has too many addresses, services or policies",
                    from->uid);
    }
    for (unsigned i = 0; i < from->service_count; i++) {
        const struct workload_service *s = &from->services[i];
        if (!s->key || !strchr(s->key, '/')) {
            return FAIL(why, -ERR_SYNTAX, "service key %.64s has no '/'", s->key ? s->key : "");
        }
        if (s->port_count > WORKLOAD_PORTS_MAX) {
            return FAIL(why, -ERR_LIMIT, "service %.64s of a workload has too many ports", s->key);
        }
    }
    return 0;
}

static const struct workload_service *pack_services(struct pack *p, const struct workload *from,
                                                    struct intern *pool)
{
    struct workload_service *to =
        pack_room(p, from->service_count * sizeof(*to), _Alignof(struct workload_service));

    for (unsigned i = 0; i < from->service_count; i++) {
        const struct workload_service *s = &from->services[i];
        const struct port_pair *ports =
            pack_copy(p, s->ports, s->port_count * sizeof(*ports), _Alignof(struct port_pair));
        if (to) {
            to[i] = (struct workload_service){intern_text(pool, s->key), ports, s->port_count};
        }
    }
    return to;
}

static const char *const *pack_policies(struct pack *p, const struct workload *from,
                                        struct intern *pool)
{
    const char **to = pack_room(p, from->policy_count * sizeof(*to), _Alignof(const char *));

    for (unsigned i = 0; to && i < from->policy_count; i++) {
        to[i] = intern_text(pool, from->policies[i]);
    }
    return to;
}

/* Both runs of struct pack; returns the object in the second. */
static struct workload *lay_out(struct pack *p, const struct workload *from, struct intern *pool)
{
    struct workload *room = pack_room(p, sizeof(*room), _Alignof(struct workload));
    struct workload w = *from;

    w.waypoint = gateway_pack(p, from->waypoint, pool);
    w.network_gateway = gateway_pack(p, from->network_gateway, pool);
    w.services = pack_services(p, from, pool);
    w.policies = pack_policies(p, from, pool);
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        *text_at(&w, own[i]) = pack_text(p, *text_at(&w, own[i]));
    }
    w.ips = pack_copy(p, from->ips, from->ip_count * sizeof(*w.ips), _Alignof(struct ip));
    if (!room) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        *text_at(&w, shared[i]) = intern_text(pool, *text_at(&w, shared[i]));
    }
    w.identity = intern_same(pool, from->identity);
    aref_init(&w.refs);
    memcpy(room, &w, sizeof(w));
    return room;
}

int workload_new(const struct workload **out, const struct workload *from, struct intern *pool,
                 struct diag *why)
{
    struct pack p = {.base = NULL};
    int r = check(from, why);

    if (r < 0) {
        return r;
    }
    (void)lay_out(&p, from, pool); /* measures */
    if (p.used > WORKLOAD_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "workload of %zu bytes", p.used);
    }
    p = (struct pack){.base = mem_alloc(p.used)};
    *out = lay_out(&p, from, pool);
    return 0;
}

/* ---- living */

const struct workload *workload_ref(const struct workload *w)
{
    if (w) {
        aref_get(&((struct workload *)unconst(w))->refs);
    }
    return w;
}

static void destroy(struct workload *w)
{
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        text_unref(*text_at(w, shared[i]));
    }
    for (unsigned i = 0; i < w->service_count; i++) {
        text_unref(w->services[i].key);
    }
    for (unsigned i = 0; i < w->policy_count; i++) {
        text_unref(w->policies[i]);
    }
    gateway_release(w->waypoint);
    gateway_release(w->network_gateway);
    identity_unref(w->identity);
    mem_free(w);
}

const struct workload *workload_unref(const struct workload *w)
{
    struct workload *mine = unconst(w);

    if (mine && aref_put(&mine->refs)) {
        destroy(mine);
    }
    return NULL;
}

/* ---- comparing */

static bool same_numbers(const struct workload *a, const struct workload *b)
{
    return a->capacity == b->capacity && a->tunnel_protocol == b->tunnel_protocol &&
           a->type == b->type && a->status == b->status && a->network_mode == b->network_mode &&
           a->app_tunnel == b->app_tunnel && a->native_tunnel == b->native_tunnel &&
           a->app_tunnel_port == b->app_tunnel_port && a->ip_count == b->ip_count &&
           a->service_count == b->service_count && a->policy_count == b->policy_count;
}

static bool same_texts(const struct workload *a, const struct workload *b, const size_t *offsets,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text_of(a, offsets[i]), text_of(b, offsets[i])) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_lists(const struct workload *a, const struct workload *b)
{
    for (unsigned i = 0; i < a->ip_count; i++) {
        if (!ip_equal(&a->ips[i], &b->ips[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < a->policy_count; i++) {
        if (strcmp(a->policies[i], b->policies[i]) != 0) {
            return false;
        }
    }
    for (unsigned i = 0; i < a->service_count; i++) {
        const struct workload_service *s = &a->services[i];
        const struct workload_service *t = &b->services[i];
        if (strcmp(s->key, t->key) != 0 || s->port_count != t->port_count ||
            (s->port_count > 0 &&
             memcmp(s->ports, t->ports, s->port_count * sizeof(*s->ports)) != 0)) {
            return false;
        }
    }
    return true;
}

bool workload_equal(const struct workload *a, const struct workload *b)
{
    return a == b ||
           (same_numbers(a, b) && same_texts(a, b, own, ARRAY_LEN(own)) &&
            same_texts(a, b, shared, ARRAY_LEN(shared)) &&
            identity_equal(a->identity, b->identity) && gateway_equal(a->waypoint, b->waypoint) &&
            gateway_equal(a->network_gateway, b->network_gateway) && same_lists(a, b));
}

/* ---- asking */

bool workload_has_ip(const struct workload *w, const struct ip *ip)
{
    for (unsigned i = 0; i < w->ip_count; i++) {
        if (ip_equal(&w->ips[i], ip)) {
            return true;
        }
    }
    return false;
}

const struct workload_service *workload_member_of(const struct workload *w, const char *key)
{
    for (unsigned i = 0; i < w->service_count; i++) {
        if (w->services[i].key == key || strcmp(w->services[i].key, key) == 0) {
            return &w->services[i];
        }
    }
    return NULL;
}

/* "ns/ambit_only_..._PORT", 0 for all ports (control/guard.c). Kubernetes allows no '_' in names. */
bool workload_is_guarded(const struct workload *w, uint16_t port)
{
    static const char mark[] = "/ambit_only_";

    for (uint16_t i = 0; i < w->policy_count; i++) {
        const char *name = strchr(w->policies[i], '/');
        const char *end = strrchr(w->policies[i], '_');
        uint32_t guarded = 0;
        if (name && strncmp(name, mark, sizeof(mark) - 1) == 0 && end > name &&
            num_parse_u32(end + 1, strlen(end + 1), UINT16_MAX, &guarded) == 0 &&
            (guarded == 0 || guarded == port)) {
            return true;
        }
    }
    return false;
}

uint16_t workload_service_port(const struct workload_service *s, uint16_t service_port)
{
    for (unsigned i = 0; i < s->port_count; i++) {
        if (s->ports[i].service_port == service_port) {
            return s->ports[i].target_port;
        }
    }
    return 0;
}

const char *workload_type_name(const struct workload *w)
{
    switch ((enum workload_type)w->type) {
    case WORKLOAD_CRONJOB:
        return "cronjob";
    case WORKLOAD_POD:
        return "pod";
    case WORKLOAD_JOB:
        return "job";
    case WORKLOAD_DEPLOYMENT:
        break;
    }
    return "deployment";
}
