/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a world. Only three tables own what they hold; the others are ways to find it, and hold
 * by construction nothing that the owning tables of the same world do not.
 */
#include "model/world.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/const_int.h"
#include "model/world_int.h"

/* ---- what the tables own */

static void own_workload(const void *w)
{
    (void)workload_ref(w); /* its argument again */
}

static void disown_workload(const void *w)
{
    (void)workload_unref(w); /* NULL */
}

static void own_service(const void *s)
{
    (void)service_ref(s); /* its argument again */
}

static void disown_service(const void *s)
{
    (void)service_unref(s); /* NULL */
}

static void own_policy(const void *p)
{
    (void)policy_ref(p); /* its argument again */
}

static void disown_policy(const void *p)
{
    (void)policy_unref(p); /* NULL */
}

const struct table_owner *world_owner(enum world_index i)
{
    static const struct table_owner owners[] = {
        [INDEX_UID] = {own_workload, disown_workload},
        [INDEX_KEY] = {own_service, disown_service},
        [INDEX_POLICY] = {own_policy, disown_policy},
    };
    return i < ARRAY_LEN(owners) ? &owners[i] : NULL;
}

/* ---- hashes */

uint64_t world_hash_at(const char *network, const struct ip *ip)
{
    uint64_t parts[] = {map_hash_str(network), map_hash(ip->bytes, ip_size(ip))};

    return map_hash(parts, sizeof(parts));
}

uint64_t world_hash_two(const char *a, const char *b)
{
    uint64_t parts[] = {map_hash_str(a), map_hash_str(b)};

    return map_hash(parts, sizeof(parts));
}

uint64_t world_hash_self(const char *name, const char *ns, const char *service_account)
{
    uint64_t parts[] = {map_hash_str(name), map_hash_str(ns), map_hash_str(service_account)};

    return map_hash(parts, sizeof(parts));
}

uint64_t world_hash_scope(const char *ns)
{
    return ns ? map_hash_str(ns) : world_hash_two("", "");
}

/* ---- life */

static struct world *of_snap(struct snap *s)
{
    return container_of(s, struct world, snap);
}

static void on_free(struct snap *s)
{
    struct world *w = of_snap(s);

    for (unsigned i = 0; i < INDEX_COUNT; i++) {
        table_fini(&w->table[i], world_owner((enum world_index)i));
    }
    mem_free(w);
}

struct world *world_alloc(struct snap_bin *bin)
{
    struct world *w = mem_new(struct world);

    snap_init(&w->snap, bin, on_free);
    return w;
}

const struct world *world_new(struct snap_bin *bin)
{
    return world_alloc(bin);
}

struct snap *world_snap(const struct world *w)
{
    return &((struct world *)unconst(w))->snap;
}

const struct world *world_of_snap(struct snap *s)
{
    return s ? of_snap(s) : NULL;
}

const struct world *world_ref(const struct world *w)
{
    return w ? of_snap(snap_ref(world_snap(w))) : NULL;
}

const struct world *world_unref(const struct world *w)
{
    if (w) {
        snap_unref(world_snap(w));
    }
    return NULL;
}

uint64_t world_generation(const struct world *w)
{
    return w->generation;
}

uint64_t world_policy_generation(const struct world *w)
{
    return w->policy_generation;
}

/* ---- workloads */

static struct table_seek seek(const struct world *w, enum world_index i, uint64_t hash)
{
    return table_seek(&w->table[i], hash);
}

const struct workload *world_workload(const struct world *w, const char *uid)
{
    struct table_seek s = seek(w, INDEX_UID, map_hash_str(uid));

    for (const struct workload *v; (v = table_seek_next(&s));) {
        if (strcmp(v->uid, uid) == 0) {
            return v;
        }
    }
    return NULL;
}

/* Who speaks for an address that several share (contract 3.2.3). */
static int preference(const struct workload *w)
{
    return (strstr(w->uid, "//Pod/") ? 2 : 0) + (w->tunnel_protocol == TUNNEL_HBONE ? 1 : 0);
}

const struct workload *world_workload_at(const struct world *w, const char *network,
                                         const struct ip *ip)
{
    struct table_seek s = seek(w, INDEX_IP, world_hash_at(network, ip));
    const struct workload *best = NULL;

    for (const struct workload *v; (v = table_seek_next(&s));) {
        if (strcmp(v->network, network) == 0 && workload_has_ip(v, ip) &&
            (!best || preference(v) >= preference(best))) {
            best = v;
        }
    }
    return best;
}

const struct workload *world_workload_named(const struct world *w, const char *ns,
                                            const char *hostname)
{
    struct table_seek s = seek(w, INDEX_NAMED, world_hash_two(ns, hostname));

    for (const struct workload *v; (v = table_seek_next(&s));) {
        if (strcmp(v->hostname, hostname) == 0 && strcmp(v->identity->ns, ns) == 0) {
            return v;
        }
    }
    return NULL;
}

const struct workload *world_self(const struct world *w, const char *node, const char *name,
                                  const char *ns, const char *service_account)
{
    struct table_seek s = seek(w, INDEX_SELF, world_hash_self(name, ns, service_account));
    bool any_node = !node || node[0] == '\0';

    for (const struct workload *v; (v = table_seek_next(&s));) {
        if (strcmp(v->name, name) == 0 && strcmp(v->identity->ns, ns) == 0 &&
            strcmp(v->identity->service_account, service_account) == 0 &&
            (any_node || strcmp(v->node, node) == 0)) {
            return v;
        }
    }
    return NULL;
}

/* The next entry of one hash behind the cursor, which counts from the start of its bucket. */
static const void *seek_on(const struct world *w, enum world_index i, uint64_t hash,
                           struct world_cursor *c)
{
    struct table_seek s = seek(w, i, hash);
    uint32_t start = s.at;
    const void *v;

    s.at += (uint32_t)c->at;
    v = table_seek_next(&s);
    c->at = s.at - start;
    return v;
}

bool world_each_backend(const struct world *w, const char *service_key, struct world_cursor *c,
                        struct backend *out)
{
    uint64_t hash = map_hash_str(service_key);

    for (const struct workload *v; (v = seek_on(w, INDEX_BACKENDS, hash, c));) {
        const struct workload_service *member = workload_member_of(v, service_key);
        if (member) {
            *out = (struct backend){v, member};
            return true;
        }
    }
    return false;
}

/* ---- services */

const struct service *world_service(const struct world *w, const char *key)
{
    struct table_seek s = seek(w, INDEX_KEY, map_hash_str(key));

    for (const struct service *v; (v = table_seek_next(&s));) {
        if (strcmp(v->key, key) == 0) {
            return v;
        }
    }
    return NULL;
}

const struct service *world_service_named(const struct world *w, const char *ns,
                                          const char *hostname)
{
    struct table_seek s = seek(w, INDEX_HOSTNAME, map_hash_str(hostname));

    for (const struct service *v; (v = table_seek_next(&s));) {
        if (strcmp(v->hostname, hostname) == 0 && strcmp(v->ns, ns) == 0) {
            return v;
        }
    }
    return NULL;
}

/* Candidates for a name or address, best first: the client's own namespace, the canonical one seen
 * last or first, the preferred namespace, the first. */
struct choice {
    const char *client_ns;
    const char *preferred_ns;
    bool last_canonical;
    const struct service *own;
    const struct service *canonical;
    const struct service *preferred;
    const struct service *first;
};

static void consider(struct choice *c, const struct service *s)
{
    if (!service_is_visible(s, c->client_ns)) {
        return;
    }
    if (!c->own && strcmp(s->ns, c->client_ns) == 0) {
        c->own = s;
    }
    if (s->canonical && (!c->canonical || c->last_canonical)) {
        c->canonical = s;
    }
    if (!c->preferred && c->preferred_ns && strcmp(s->ns, c->preferred_ns) == 0) {
        c->preferred = s;
    }
    if (!c->first) {
        c->first = s;
    }
}

static const struct service *chosen(const struct choice *c)
{
    if (c->own || c->canonical) {
        return c->own ? c->own : c->canonical;
    }
    return c->preferred ? c->preferred : c->first;
}

static const struct service *exact_vip(const struct world *w, const char *network,
                                       const struct ip *ip, const char *client_ns)
{
    struct table_seek s = seek(w, INDEX_VIP, world_hash_at(network, ip));
    struct choice c = {.client_ns = client_ns, .last_canonical = true};

    for (const struct service *v; (v = table_seek_next(&s));) {
        if (service_has_vip(v, network, ip)) {
            consider(&c, v);
        }
    }
    return chosen(&c);
}

/* The longest CIDR VIP of s that holds ip; -1: none. */
static int longest_prefix(const struct service *s, const char *network, const struct ip *ip)
{
    int longest = -1;

    for (unsigned i = 0; i < s->vip_count; i++) {
        const struct service_vip *v = &s->vips[i];
        if (service_vip_is_cidr(v) && strcmp(v->network, network) == 0 &&
            ip_prefix_has(&v->prefix, ip) && v->prefix.len > longest) {
            longest = v->prefix.len;
        }
    }
    return longest;
}

/* In order of weight: own namespace, prefix length, canonical. */
static int cidr_rank(const struct service *s, const char *client_ns, int prefix_len)
{
    return (strcmp(s->ns, client_ns) == 0 ? 1024 : 0) + prefix_len * 2 + s->canonical;
}

static const struct service *cidr_vip(const struct world *w, const char *network,
                                      const struct ip *ip, const char *client_ns)
{
    struct table_seek s = seek(w, INDEX_CIDR, map_hash_str(network));
    const struct service *best = NULL;
    int best_rank = -1;

    for (const struct service *v; (v = table_seek_next(&s));) {
        int len = service_is_visible(v, client_ns) ? longest_prefix(v, network, ip) : -1;
        if (len >= 0 && cidr_rank(v, client_ns, len) > best_rank) {
            best_rank = cidr_rank(v, client_ns, len);
            best = v;
        }
    }
    return best;
}

const struct service *world_service_at(const struct world *w, const char *network,
                                       const struct ip *ip, const char *client_ns)
{
    const struct service *s = exact_vip(w, network, ip, client_ns);

    return s ? s : cidr_vip(w, network, ip, client_ns);
}

static bool has_exact_vip(const struct service *s)
{
    for (unsigned i = 0; i < s->vip_count; i++) {
        if (!service_vip_is_cidr(&s->vips[i])) {
            return true;
        }
    }
    return false;
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t len = strlen(s);
    size_t tail = strlen(suffix);

    return len >= tail && strcmp(s + len - tail, suffix) == 0;
}

const struct service *world_service_for_host(const struct world *w, const char *hostname,
                                             const struct host_query *q)
{
    struct table_seek s = seek(w, INDEX_HOSTNAME, map_hash_str(hostname));
    struct choice c = {.client_ns = q->client_ns, .preferred_ns = q->preferred_ns};

    for (const struct service *v; (v = table_seek_next(&s));) {
        if (strcmp(v->hostname, hostname) == 0 && (!q->headless_suffix || has_exact_vip(v) ||
                                                   ends_with(v->hostname, q->headless_suffix))) {
            consider(&c, v);
        }
    }
    return chosen(&c);
}

/* ---- policies */

const struct policy *world_policy(const struct world *w, const char *key)
{
    struct table_seek s = seek(w, INDEX_POLICY, map_hash_str(key));

    for (const struct policy *v; (v = table_seek_next(&s));) {
        if (strcmp(v->key, key) == 0) {
            return v;
        }
    }
    return NULL;
}

static bool is_scoped(const struct policy *p, const char *ns)
{
    return ns ? p->scope == SCOPED_NAMESPACE && strcmp(p->ns, ns) == 0 : p->scope == SCOPED_GLOBAL;
}

const struct policy *world_each_scoped(const struct world *w, const char *ns,
                                       struct world_cursor *c)
{
    uint64_t hash = world_hash_scope(ns);
    const struct policy *v;

    while ((v = seek_on(w, INDEX_SCOPED, hash, c)) && !is_scoped(v, ns)) {
    }
    return v;
}

/* ---- everything */

size_t world_workload_count(const struct world *w)
{
    return w->table[INDEX_UID].count;
}

size_t world_service_count(const struct world *w)
{
    return w->table[INDEX_KEY].count;
}

size_t world_policy_count(const struct world *w)
{
    return w->table[INDEX_POLICY].count;
}

const struct workload *world_each_workload(const struct world *w, struct world_cursor *c)
{
    return table_each(&w->table[INDEX_UID], &c->shard, &c->at);
}

const struct service *world_each_service(const struct world *w, struct world_cursor *c)
{
    return table_each(&w->table[INDEX_KEY], &c->shard, &c->at);
}

const struct policy *world_each_policy(const struct world *w, struct world_cursor *c)
{
    return table_each(&w->table[INDEX_POLICY], &c->shard, &c->at);
}
