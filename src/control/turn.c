/* SPDX-License-Identifier: Apache-2.0 */
#include "control/turn.h"

#include "control/index_int.h"
#include "control/reconcile.h"

void turn_init(struct turn *t)
{
    *t = (struct turn){.kind = TURN_NONE};
    list_init(&t->in_index);
}

void turn_fini(struct index *x, struct turn *t)
{
    struct gateway_item *g = t->gateway;
    struct gateway_item *next = t->next;

    list_remove(&t->in_index);
    turn_init(t);
    if (g) {
        gateway_unuse(x, g);
    }
    if (next) {
        gateway_unuse(x, next);
    }
}

static struct gateway_item *use(struct index *x, const struct gateway_item *g)
{
    return g ? gateway_use(x, g->space->name, g->name) : NULL;
}

static void begin(struct index *x, struct turn *t, enum turn_kind kind,
                  const struct gateway_item *g, const struct gateway_item *next)
{
    t->kind = kind;
    t->gateway = use(x, g);
    t->next = use(x, next);
    list_append(&x->turns, &t->in_index);
}

/* Policy is in force behind a waypoint that works, and no waypoint is asked for any more. */
static bool is_leaving(const struct service_item *s, const struct waypoint_choice *asked,
                       struct gateway_item *from)
{
    return asked->state == WAYPOINT_NONE && from && waypoint_is_fit(from, s);
}

static bool is_bound_to_ours(const struct waypoint_choice *asked)
{
    return asked->state == WAYPOINT_BOUND && asked->gateway->f.is_ours;
}

static bool is_arriving(const struct service_item *s, const struct waypoint_choice *asked)
{
    return s->guarding.is_known && !s->guarding.by && !s->guarding.bound && is_bound_to_ours(asked);
}

/* From a waypoint that works to another one that does. */
static bool is_moving(const struct service_item *s, const struct waypoint_choice *asked,
                      struct gateway_item *from)
{
    return is_bound_to_ours(asked) && from && from != asked->gateway && waypoint_is_fit(from, s);
}

static bool still_holds(const struct service_item *s, const struct waypoint_choice *asked)
{
    const struct turn *t = &s->turn;

    switch (t->kind) {
    case TURN_NONE:
        break;
    case TURN_ATTACH:
        return asked->state == WAYPOINT_BOUND && asked->gateway == t->gateway;
    case TURN_DETACH:
        return is_leaving(s, asked, t->gateway);
    case TURN_PERMIT:
        return is_moving(s, asked, t->gateway) && asked->gateway == t->next;
    case TURN_MOVE: /* to be ended before the next one begins: nobody knows who is where */
        return is_bound_to_ours(asked) && waypoint_is_fit(t->next, s);
    case TURN_REST:
        return asked->state == WAYPOINT_BOUND && asked->gateway == t->next;
    }
    return false;
}

static void first_step(struct index *x, struct service_item *s, const struct waypoint_choice *asked)
{
    if (is_leaving(s, asked, s->guarding.by)) {
        begin(x, &s->turn, TURN_DETACH, s->guarding.by, NULL);
    } else if (is_arriving(s, asked)) {
        begin(x, &s->turn, TURN_ATTACH, asked->gateway, NULL);
    } else if (is_moving(s, asked, s->guarding.bound)) {
        begin(x, &s->turn, TURN_PERMIT, s->guarding.bound, asked->gateway);
    }
}

void turn_follow(struct index *x, struct service_item *s)
{
    struct waypoint_choice asked = waypoint_asked(s);

    if (!s->exists || !x->is_live) {
        return;
    }
    if (s->turn.kind != TURN_NONE) {
        if (still_holds(s, &asked)) {
            return;
        }
        turn_fini(x, &s->turn);
        mark_binding(x, s); /* it may be only its layer 7 that is being settled */
    }
    first_step(x, s, &asked);
}

struct gateway_item *turn_other(const struct turn *t)
{
    return t->kind == TURN_PERMIT                         ? t->next
           : t->kind == TURN_MOVE || t->kind == TURN_REST ? t->gateway
                                                          : NULL;
}

static bool is_over(struct turn *t, const struct index_heard *h, uint64_t now_ms)
{
    if (t->due_ms == 0 && h->published >= t->seq) {
        t->due_ms = now_ms + TURN_WAIT_MS;
    }
    return t->due_ms > 0 && (h->acknowledged >= t->seq || now_ms >= t->due_ms);
}

static void next_step(struct index *x, struct turn *t, uint64_t now_ms)
{
    t->seq = 0;
    t->due_ms = 0;
    if (t->kind == TURN_PERMIT) {
        t->kind = TURN_MOVE;
    } else if (t->kind == TURN_MOVE) {
        t->kind = TURN_REST;
        t->due_ms = now_ms + TURN_REST_MS;
        list_remove(&t->in_index);
        list_append(&x->resting, &t->in_index);
    } else {
        turn_fini(x, t);
    }
}

void index_hear(struct index *x, const struct index_heard *h, uint64_t now_ms)
{
    if (!index_is_settled(x)) {
        return; /* not all of it is in the catalogs */
    }
    uint64_t seq = catalog_seq(x->addresses);
    list_for_each_safe (n, &x->turns) {
        struct turn *t = container_of(n, struct turn, in_index);
        if (t->seq == 0) {
            t->seq = seq;
        }
        if (is_over(t, h, now_ms)) {
            struct service_item *s = container_of(t, struct service_item, turn);
            next_step(x, t, now_ms);
            mark_binding(x, s);
        }
    }
}

static bool is_aimed_at(struct turn *t, const struct service_item *s, const struct gateway_item *g)
{
    if (s) {
        return container_of(t, struct service_item, turn) == s;
    }
    return !g || t->gateway == g || t->next == g;
}

void turn_policies_changed(struct index *x, const struct service_item *s,
                           const struct gateway_item *g)
{
    list_for_each (n, &x->resting) {
        struct turn *t = container_of(n, struct turn, in_index);
        t->is_stale = t->is_stale || is_aimed_at(t, s, g);
    }
}

/* Its own service goes with it, so that until then node proxies would know no way. */
void turn_gateway_gone(struct index *x, const struct gateway_item *g)
{
    list_for_each (n, &x->turns) {
        struct turn *t = container_of(n, struct turn, in_index);
        if (is_aimed_at(t, NULL, g)) {
            mark_binding(x, container_of(t, struct service_item, turn));
        }
    }
}

static uint64_t rests_until(const struct turn *t, const struct service_item *s)
{
    bool is_short = t->is_stale || !waypoint_is_fit(t->gateway, s);

    return is_short ? t->due_ms : t->due_ms - TURN_REST_MS + TURN_REST_MOST_MS;
}

void turn_tick(struct index *x, uint64_t now_ms)
{
    list_for_each_safe (n, &x->resting) {
        struct turn *t = container_of(n, struct turn, in_index);
        struct service_item *s = container_of(t, struct service_item, turn);
        if (rests_until(t, s) <= now_ms) {
            turn_fini(x, t);
            mark_binding(x, s);
        }
    }
}

bool index_is_turning(const struct index *x)
{
    return !list_is_empty(&x->turns);
}

void index_live(struct index *x)
{
    x->is_live = true;
    reconcile_orphans(x);
    mark_all_gateways(x); /* what could not be said before */
}
