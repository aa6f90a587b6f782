/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "control/translate.h"

static void prefer(struct service *s, const uint8_t *scopes, unsigned count)
{
    s->has_load_balancing = true;
    s->mode = BALANCE_FAILOVER;
    s->scope_count = (uint8_t)count;
    memcpy(s->scopes, scopes, count);
}

/* Contract 3.3.3. Each service has its own message: one that is shared leaks settings of one service
 * into another. */
static void balance(struct service *s, const struct service_facts *f,
                    enum distribution of_namespace)
{
    static const uint8_t zone[] = {SCOPE_NETWORK, SCOPE_REGION, SCOPE_ZONE};
    static const uint8_t node[] = {SCOPE_NETWORK, SCOPE_REGION, SCOPE_ZONE, SCOPE_SUBZONE,
                                   SCOPE_NODE};
    enum distribution d =
        f->distribution == DISTRIBUTION_UNSET ? of_namespace : (enum distribution)f->distribution;

    if (f->is_local) {
        s->has_load_balancing = true;
        s->mode = BALANCE_STRICT;
        s->scope_count = 1;
        s->scopes[0] = SCOPE_NODE;
    } else if (d == DISTRIBUTION_SAME_ZONE) {
        prefer(s, zone, sizeof(zone));
    } else if (d == DISTRIBUTION_SAME_NODE) {
        prefer(s, node, sizeof(node));
    }
    if (f->wants_not_ready) {
        s->has_load_balancing = true;
        s->health = HEALTH_ALLOW_ALL;
    }
}

void translate_service(struct service *out, struct xds_service_more *more,
                       const struct service_facts *f, const struct service_context *c,
                       struct arena *a)
{
    struct service_vip *vips = arena_array(a, f->vip_count, sizeof(*vips));
    struct port_pair *ports = arena_array(a, f->port_count, sizeof(*ports));
    uint8_t *apps = arena_alloc(a, f->port_count);

    for (unsigned i = 0; i < f->vip_count; i++) {
        vips[i] =
            (struct service_vip){c->network, {f->vips[i], (uint8_t)(ip_size(&f->vips[i]) * 8)}};
    }
    for (unsigned i = 0; i < f->port_count; i++) {
        ports[i] = (struct port_pair){f->ports[i].port, f->ports[i].target};
        apps[i] = f->ports[i].app;
    }
    *out = (struct service){.ip_families = f->families,
                            .canonical = true,
                            .ns = f->ns,
                            .hostname = f->hostname,
                            .name = f->name,
                            .vip_count = (uint16_t)f->vip_count,
                            .vips = vips,
                            .port_count = (uint16_t)f->port_count,
                            .ports = ports,
                            .waypoint = c->waypoint};
    *more = (struct xds_service_more){.app_protocols = apps,
                                      .ingress_use_waypoint = c->ingress_use_waypoint};
    balance(out, f, c->of_namespace);
}
