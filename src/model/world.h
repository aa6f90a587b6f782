/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the proxy knows about the mesh at one moment: workloads, services, policies and the
 * tables to find them by. Immutable: a reader needs no lock and what it looked up lives as long as
 * the world it came from. A world is made from the one before and a delta; only touched shards (256
 * of each table) are copied, so that both share the rest.
 *
 * Order matters where several entries share a key (contract 3.2.3): an entry that was put again
 * counts as the last seen.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "model/policy.h"
#include "model/service.h"
#include "model/snap.h"
#include "model/workload.h"

struct world;
struct world_delta;

/* ---- making one (a control thread) */

/* One reference for the caller. bin may be NULL. */
const struct world *world_new(struct snap_bin *bin);
const struct world *world_ref(const struct world *w);
const struct world *world_unref(const struct world *w); /* returns NULL */
AUTO_DEFINE(world, const struct world *, world_unref);

/* Keeps a reference to base until world_next or world_delta_free. */
struct world_delta *world_delta_new(const struct world *base);
void world_delta_free(struct world_delta *d);
AUTO_DEFINE(world_delta, struct world_delta *, world_delta_free);

/* Each takes the caller's reference. The last word about a key wins. False when nothing changes:
 * base already holds an equal one (and keeps it, so that a resync costs no memory), or a broken
 * policy would replace a good one. */
bool world_put_workload(struct world_delta *d, const struct workload *take_w);
bool world_put_service(struct world_delta *d, const struct service *take_s);
bool world_put_policy(struct world_delta *d, const struct policy *take_p);
/* uid, or "namespace/hostname" of a service; of a policy "namespace/name". False: there was
 * none. */
bool world_remove_address(struct world_delta *d, const char *name);
bool world_remove_policy(struct world_delta *d, const char *key);

/* One reference for the caller; d is gone. */
const struct world *world_next(struct world_delta *take_d);

/* ---- publishing */

struct snap *world_snap(const struct world *w); /* the same object and count */
const struct world *world_of_snap(struct snap *s);
static inline const struct world *world_now(const struct snap_slot *slot)
{
    return world_of_snap(snap_now(slot));
}

/* ---- reading (any thread); what is returned is borrowed from the world */

uint64_t world_generation(const struct world *w);
/* Rises when a policy was put, replaced or removed: then live connections decide again (4.7). */
uint64_t world_policy_generation(const struct world *w);

const struct workload *world_workload(const struct world *w, const char *uid);
/* Several may share an address: pods before others, HBONE before plain, the last seen. Workloads on
 * the host's network are not found. */
const struct workload *world_workload_at(const struct world *w, const char *network,
                                         const struct ip *ip);
const struct workload *world_workload_named(const struct world *w, const char *ns,
                                            const char *hostname);
/* The workload that a captured pod is (contract 3.2.1 step 4). node NULL or "": on any node. */
const struct workload *world_self(const struct world *w, const char *node, const char *name,
                                  const char *ns, const char *service_account);
const struct service *world_service(const struct world *w, const char *key);
const struct service *world_service_named(const struct world *w, const char *ns,
                                          const char *hostname);
/* Exact VIP, then CIDR VIP, by the order of contract 3.2.3. */
const struct service *world_service_at(const struct world *w, const char *network,
                                       const struct ip *ip, const char *client_ns);
/* Of the services with this hostname that the client may see: its own namespace's, else a canonical
 * one, else the preferred namespace's, else the first seen (contract 2.12, 8.2). */
struct host_query {
    const char *client_ns;
    const char *preferred_ns; /* NULL: none */
    /* For DNS: only services with an exact VIP or a hostname that ends so (".svc.cluster.local")
     * are candidates. NULL: all are. */
    const char *headless_suffix;
};
const struct service *world_service_for_host(const struct world *w, const char *hostname,
                                             const struct host_query *q);
const struct policy *world_policy(const struct world *w, const char *key);

size_t world_workload_count(const struct world *w);
size_t world_service_count(const struct world *w);
size_t world_policy_count(const struct world *w);

/* Iteration: a zeroed cursor starts, NULL ends. The world must outlive it. */
struct world_cursor {
    unsigned shard;
    size_t at;
};
const struct workload *world_each_workload(const struct world *w, struct world_cursor *c);
const struct service *world_each_service(const struct world *w, struct world_cursor *c);
const struct policy *world_each_policy(const struct world *w, struct world_cursor *c);
/* The GLOBAL policies (ns NULL), or the NAMESPACE-scoped ones of ns. */
const struct policy *world_each_scoped(const struct world *w, const char *ns,
                                       struct world_cursor *c);

/* An endpoint of a service: the workload and its own port map. All members are visited, whatever
 * their health; balance.h knows who may be picked. */
struct backend {
    const struct workload *workload;
    const struct workload_service *member;
};
bool world_each_backend(const struct world *w, const char *service_key, struct world_cursor *c,
                        struct backend *out);
