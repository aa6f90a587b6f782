/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reference is resolved at the moment of a decision, never stored: what it names may come, go or
 * change kind with any world.
 */
#include "model/gateway_find_int.h"

const struct service *gateway_service(const struct world *w, const struct gateway *g,
                                      const char *client_ns)
{
    switch (g->kind) {
    case GATEWAY_ADDRESS:
        return world_service_at(w, g->network, &g->ip, client_ns);
    case GATEWAY_HOSTNAME:
        return world_service_named(w, g->ns, g->hostname);
    case GATEWAY_NONE:
        break;
    }
    return NULL;
}

const struct workload *gateway_workload(const struct world *w, const struct gateway *g)
{
    switch (g->kind) {
    case GATEWAY_ADDRESS:
        return world_workload_at(w, g->network, &g->ip);
    case GATEWAY_HOSTNAME:
        return world_workload_named(w, g->ns, g->hostname);
    case GATEWAY_NONE:
        break;
    }
    return NULL;
}

static bool is_it(const struct workload *w, const struct identity *id, const struct ip *ip)
{
    return identity_equal(w->identity, id) && workload_has_ip(w, ip);
}

bool gateway_has_member(const struct world *w, const struct gateway *g, const struct identity *id,
                        const struct ip *ip)
{
    /* As for any address that is asked about, a workload comes before a service (contract
     * 3.2.1). */
    const struct workload *one = g->kind == GATEWAY_ADDRESS ? gateway_workload(w, g) : NULL;
    const struct service *s = one ? NULL : gateway_service(w, g, id->ns);
    struct world_cursor c = {0};
    struct backend b;

    if (!s) {
        one = one ? one : gateway_workload(w, g);
        return one && is_it(one, id, ip);
    }
    while (world_each_backend(w, s->key, &c, &b)) {
        if (is_it(b.workload, id, ip)) {
            return true;
        }
    }
    return false;
}
