/* SPDX-License-Identifier: Apache-2.0 */
/* Hundreds of workloads name the same waypoint: the strings in a reference are the pool's. */
#include "model/gateway.h"

#include "model/gateway_int.h"

bool gateway_equal(const struct gateway *a, const struct gateway *b)
{
    if (!gateway_is_set(a) || !gateway_is_set(b)) {
        return gateway_is_set(a) == gateway_is_set(b);
    }
    if (a->kind != b->kind || a->hbone_mtls_port != b->hbone_mtls_port) {
        return false;
    }
    return a->kind == GATEWAY_HOSTNAME
               ? strcmp(a->ns, b->ns) == 0 && strcmp(a->hostname, b->hostname) == 0
               : ip_equal(&a->ip, &b->ip) && strcmp(a->network, b->network) == 0;
}

struct gateway gateway_copy(const struct gateway *from, struct intern *pool)
{
    struct gateway g = {.kind = from->kind, .hbone_mtls_port = from->hbone_mtls_port};

    if (from->kind == GATEWAY_ADDRESS) {
        g.ip = from->ip;
        g.network = intern_text(pool, from->network);
    } else if (from->kind == GATEWAY_HOSTNAME) {
        g.ns = intern_text(pool, from->ns);
        g.hostname = intern_text(pool, from->hostname);
    }
    return g;
}

const struct gateway *gateway_pack(struct pack *p, const struct gateway *from, struct intern *pool)
{
    struct gateway *to;

    if (!gateway_is_set(from)) {
        return NULL;
    }
    to = pack_room(p, sizeof(*to), PACK_ALIGN);
    if (to) {
        *to = gateway_copy(from, pool);
    }
    return to;
}

void gateway_release(const struct gateway *g)
{
    if (g) {
        text_unref(g->network);
        text_unref(g->ns);
        text_unref(g->hostname);
    }
}
