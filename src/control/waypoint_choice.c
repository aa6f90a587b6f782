/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which waypoint a service or pod has (contract 3.4.2, 3.4.3), and what is published where it asks for
 * one and has none. Istio then lets traffic pass; here it is refused: see docs/compatibility.md.
 */

#include "control/index_int.h"
#include "control/reconcile.h"

static bool is_allowed(const struct gateway_item *g, const struct space *from)
{
    switch (g->f.allows) {
    case ALLOWS_SAME:
        return g->space == from;
    case ALLOWS_ALL:
        return true;
    case ALLOWS_SELECTOR:
        return label_selector_matches(g->f.selector, &from->labels);
    case ALLOWS_NONE:
        break;
    }
    return false;
}

static struct waypoint_choice judge(struct gateway_item *g, const struct space *from,
                                    enum gateway_traffic wanted)
{
    struct waypoint_choice c = {WAYPOINT_BOUND, g};

    if (!g->object || g->f.address.kind == GATEWAY_NONE) {
        c.state = WAYPOINT_NOT_READY;
    } else if (!is_allowed(g, from)) {
        c.state = WAYPOINT_DENIED;
    } else if (g->f.traffic != wanted && g->f.traffic != TRAFFIC_ALL) {
        c.state = WAYPOINT_UNSUPPORTED;
    }
    return c;
}

bool waypoint_is_fit(struct gateway_item *g, const struct service_item *s)
{
    return judge(g, s->space, TRAFFIC_SERVICE).state == WAYPOINT_BOUND;
}

struct waypoint_choice waypoint_asked(const struct service_item *s)
{
    const struct waypoint_wish *w = s->wish.is_set ? &s->wish : &s->space->wish;
    const struct waypoint_choice none = {WAYPOINT_NONE, NULL};

    return !s->exists || s->f.is_waypoint || !w->gateway
               ? none
               : judge(w->gateway, s->space, TRAFFIC_SERVICE);
}

/* One that is leaving its waypoint has it until node proxies know what its guards have become. */
static struct gateway_item *turned_to(const struct service_item *s)
{
    switch (s->turn.kind) {
    case TURN_DETACH:
    case TURN_PERMIT:
        return s->turn.gateway;
    case TURN_MOVE:
        return s->turn.next;
    case TURN_NONE:
    case TURN_ATTACH:
    case TURN_REST:
        break;
    }
    return NULL;
}

struct waypoint_choice waypoint_of_service(const struct index *x, const struct service_item *s)
{
    struct gateway_item *g = turned_to(s);

    (void)x;
    return g && s->exists && waypoint_is_fit(g, s) ? (struct waypoint_choice){WAYPOINT_BOUND, g}
                                                   : waypoint_asked(s);
}

bool is_waypoint_pod(const struct index *x, const struct pod_item *p)
{
    const char *name = labels_get(&p->f.labels, GATEWAY_LABEL);
    const struct gateway_item *g = name ? gateway_find(x, p->f.ns, name) : NULL;

    return g && g->object;
}

/* What a pod only inherits and cannot have is no error: it is meant for the namespace's services. */
static struct waypoint_choice waypoint_of_pod(const struct index *x, const struct pod_item *p)
{
    const struct waypoint_wish *w = p->wish.is_set ? &p->wish : &p->space->wish;
    struct waypoint_choice c = {WAYPOINT_NONE, NULL};

    if (w->gateway && !is_waypoint_pod(x, p)) {
        c = judge(w->gateway, p->space, TRAFFIC_WORKLOAD);
    }
    if (c.state != WAYPOINT_BOUND && !p->wish.is_set) {
        c = (struct waypoint_choice){WAYPOINT_NONE, NULL};
    }
    return c;
}

/* ---- policy */

static bool any_enforced(const struct list *aims)
{
    list_for_each (n, aims) {
        const struct aim *aim = container_of(n, struct aim, in_target);
        if (aim->binds && l7_policy_is_enforced(aim->policy)) {
            return true;
        }
    }
    return false;
}

/* Of the service itself, of the gateway it asks for, or of all waypoints. */
static bool has_policy(const struct index *x, const struct service_item *s,
                       const struct gateway_item *g)
{
    return any_enforced(&s->aims) || any_enforced(&g->aims) || any_enforced(&x->class_aims);
}

/* A waypoint for other traffic may have policy that is meant for that; what names the service is not. */
static bool is_meant_for(const struct service_item *s)
{
    return any_enforced(&s->aims);
}

static bool may_bypass(const struct service_item *s, const struct gateway_item *g)
{
    return s->f.allows_bypass || g->f.allows_bypass;
}

static bool is_enforced_by(const struct index *x, const struct service_item *s,
                           const struct waypoint_choice *c)
{
    bool is_ours = c->gateway && (c->gateway->f.is_ours || !c->gateway->object);
    bool is_meant = c->state == WAYPOINT_UNSUPPORTED ? is_meant_for(s)
                                                     : is_ours && has_policy(x, s, c->gateway);

    return is_ours && is_meant && !may_bypass(s, c->gateway);
}

struct gateway_item *waypoint_guard(const struct index *x, const struct service_item *s)
{
    struct waypoint_choice c = waypoint_of_service(x, s);
    struct waypoint_choice other = {WAYPOINT_BOUND, turn_other(&s->turn)};
    bool is_guarded =
        is_enforced_by(x, s, &c) || (s->turn.kind != TURN_REST && is_enforced_by(x, s, &other));

    return is_guarded ? c.gateway : NULL;
}

/* ---- what is published */

/* A waypoint that nobody finds. Its name is what people will look for, unless something has it. */
static const struct gateway *nobody(const struct index *x, const struct gateway_item *g,
                                    struct gateway *room, struct arena *a)
{
    AUTO(strbuf) struct strbuf host = {0};
    const struct service_item *s = service_find(x, g->space->name, g->name);

    strbuf_printf(&host, "%s%s.%s.svc.%s", s && s->exists ? "refused." : "", g->name,
                  g->space->name, x->mesh->domain);
    *room = (struct gateway){.kind = GATEWAY_HOSTNAME,
                             .hbone_mtls_port = 15008,
                             .ns = g->space->name,
                             .hostname = arena_text(a, strbuf_text(&host), host.len)};
    return room;
}

static const struct gateway *published(const struct index *x, const struct waypoint_choice *c,
                                       struct gateway *room)
{
    *room = c->gateway->f.address;
    room->network = room->kind == GATEWAY_ADDRESS ? x->network : NULL;
    return room;
}

/* A gateway that is being set up and guards nothing yet is waited for at layer 4. */
static bool is_refused(const struct index *x, const struct service_item *s,
                       const struct waypoint_choice *c)
{
    if (c->state == WAYPOINT_DENIED) {
        return true;
    }
    if (c->state == WAYPOINT_UNSUPPORTED) {
        return is_meant_for(s);
    }
    return c->state == WAYPOINT_NOT_READY && (!c->gateway->object || has_policy(x, s, c->gateway));
}

bool waypoint_is_awaited(const struct service_item *s, const struct waypoint_choice *c)
{
    return c->state == WAYPOINT_NOT_READY && c->gateway->object && !may_bypass(s, c->gateway);
}

const struct gateway *waypoint_for_service(const struct index *x, const struct service_item *s,
                                           struct gateway *room, struct arena *a)
{
    struct waypoint_choice c = waypoint_of_service(x, s);

    if (c.state == WAYPOINT_BOUND) {
        return published(x, &c, room);
    }
    if (c.gateway && !may_bypass(s, c.gateway) && is_refused(x, s, &c)) {
        return nobody(x, c.gateway, room, a);
    }
    return NULL;
}

const struct gateway *waypoint_for_pod(const struct index *x, const struct pod_item *p,
                                       struct gateway *room, struct arena *a)
{
    struct waypoint_choice c = waypoint_of_pod(x, p);

    if (c.state == WAYPOINT_BOUND) {
        return published(x, &c, room);
    }
    bool is_missing = c.state == WAYPOINT_NOT_READY && !c.gateway->object;
    if (c.gateway && !c.gateway->f.allows_bypass && (is_missing || c.state == WAYPOINT_DENIED)) {
        return nobody(x, c.gateway, room, a);
    }
    return NULL;
}
