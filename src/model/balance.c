/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is remembered between choices (contract 3.3): the same world, source and seed give the
 * same endpoint, in the proxy as in a simulation.
 */
#include "model/balance.h"

#include <string.h>

#include "base/rand.h"

bool balance_is_healthy(const struct service *s, const struct workload *endpoint)
{
    return endpoint->status == WORKLOAD_HEALTHY || s->health == HEALTH_ALLOW_ALL;
}

uint16_t balance_target_port(const struct service *s, const struct backend *b, uint16_t port)
{
    const struct port_pair *pair = service_port(s, port);
    uint16_t own = workload_service_port(b->member, port);

    if (own > 0) {
        return own;
    }
    if (pair && pair->target_port > 0) {
        return pair->target_port;
    }
    return b->workload->app_tunnel != APP_TUNNEL_ABSENT && b->workload->app_tunnel_port > 0 ? port
                                                                                            : 0;
}

static bool scope_matches(enum balance_scope scope, const struct workload *a,
                          const struct workload *b)
{
    switch (scope) {
    case SCOPE_REGION:
        return strcmp(a->region, b->region) == 0;
    case SCOPE_ZONE:
        return strcmp(a->zone, b->zone) == 0;
    case SCOPE_SUBZONE:
        return strcmp(a->subzone, b->subzone) == 0;
    case SCOPE_NODE:
        return strcmp(a->node, b->node) == 0;
    case SCOPE_CLUSTER:
        return strcmp(a->cluster_id, b->cluster_id) == 0;
    case SCOPE_NETWORK:
        return strcmp(a->network, b->network) == 0;
    case SCOPE_UNSPECIFIED:
        break;
    }
    return false;
}

static bool matches_all(const struct service *s, const struct workload *source,
                        const struct workload *endpoint)
{
    for (unsigned i = 0; i < s->scope_count; i++) {
        if (!scope_matches((enum balance_scope)s->scopes[i], source, endpoint)) {
            return false;
        }
    }
    return true;
}

/* The length of the prefix of scopes that match. NETWORK in first place is more: a match outweighs
 * all the others together, a mismatch is passed over (contract 3.3). */
unsigned balance_rank(const struct service *s, const struct workload *source,
                      const struct workload *endpoint)
{
    unsigned rank = 0;

    for (unsigned i = 0; i < s->scope_count; i++) {
        enum balance_scope scope = (enum balance_scope)s->scopes[i];
        bool leading_network = i == 0 && scope == SCOPE_NETWORK;
        if (scope_matches(scope, source, endpoint)) {
            rank += leading_network ? s->scope_count : 1u;
        } else if (!leading_network) {
            break;
        }
    }
    return rank;
}

/* Reachable at all: an address, a name to look up, or another network with a way in. */
static bool is_reachable(const struct workload *source, const struct workload *w)
{
    return w->ip_count > 0 || w->hostname[0] != '\0' ||
           (gateway_is_set(w->network_gateway) && strcmp(w->network, source->network) != 0);
}

static bool serves_port(const struct balance_query *q, const struct backend *b)
{
    const struct port_pair *pair = service_port(q->service, q->port);

    if (q->purpose == BALANCE_WAYPOINT && b->workload->app_tunnel != APP_TUNNEL_ABSENT) {
        return true;
    }
    return pair && (pair->target_port > 0 || workload_service_port(b->member, q->port) > 0);
}

static bool is_candidate(const struct balance_query *q, const struct backend *b)
{
    return balance_is_healthy(q->service, b->workload) && is_reachable(q->source, b->workload) &&
           serves_port(q, b) && balance_target_port(q->service, b, q->port) > 0 &&
           (q->service->mode != BALANCE_STRICT || matches_all(q->service, q->source, b->workload));
}

bool balance_choose(const struct world *w, const struct balance_query *q, struct balance_pick *out)
{
    bool by_rank = q->service->mode == BALANCE_FAILOVER;
    struct rand_seq chance;
    struct world_cursor c = {0};
    struct backend b;
    unsigned best = 0;
    uint64_t total = 0; /* of the weights of the best rank so far */

    rand_seq_init(&chance, q->seed);
    while (world_each_backend(w, q->service->key, &c, &b)) {
        unsigned rank = by_rank ? balance_rank(q->service, q->source, b.workload) : 0;
        if (rank < best || !is_candidate(q, &b)) {
            continue;
        }
        total = rank > best ? 0 : total;
        best = rank;
        total += b.workload->capacity;
        /* Each newcomer replaces the choice with its share of the total: one pass is fair to
         * all. */
        if (b.workload->capacity > 0 && rand_seq_below(&chance, total) < b.workload->capacity) {
            *out = (struct balance_pick){b, balance_target_port(q->service, &b, q->port)};
        }
    }
    return total > 0;
}
