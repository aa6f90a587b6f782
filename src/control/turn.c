/* SPDX-License-Identifier: Apache-2.0 */
#include "control/turn.h"

#include "control/index_int.h"

void turn_init(struct turn *t)
{
    *t = (struct turn){.kind = TURN_NONE};
    list_init(&t->in_index);
}

void turn_fini(struct index *x, struct turn *t)
{
    struct gateway_item *g = t->gateway;

    list_remove(&t->in_index);
    turn_init(t);
    if (g) {
        gateway_unuse(x, g);
    }
}

static void begin(struct index *x, struct turn *t, enum turn_kind kind,
                  const struct gateway_item *g)
{
    t->kind = kind;
    t->gateway = gateway_use(x, g->space->name, g->name);
    list_append(&x->turns, &t->in_index);
}

/* Policy is in force behind a waypoint that works, and no waypoint is asked for any more. */
static bool is_leaving(const struct service_item *s, const struct waypoint_choice *asked,
                       struct gateway_item *from)
{
    return asked->state == WAYPOINT_NONE && from && waypoint_is_fit(from, s);
}

static bool is_arriving(const struct service_item *s, const struct waypoint_choice *asked)
{
    return s->guarding.is_known && !s->guarding.by && !s->guarding.bound &&
           asked->state == WAYPOINT_BOUND && asked->gateway->f.is_ours;
}

static bool still_holds(const struct service_item *s, const struct waypoint_choice *asked)
{
    const struct turn *t = &s->turn;

    return t->kind == TURN_DETACH ? is_leaving(s, asked, t->gateway)
                                  : asked->state == WAYPOINT_BOUND && asked->gateway == t->gateway;
}

void turn_follow(struct index *x, struct service_item *s)
{
    struct waypoint_choice asked = waypoint_asked(s);

    if (!s->exists || !x->is_live) {
        return;
    }
    if (s->turn.kind != TURN_NONE && !still_holds(s, &asked)) {
        turn_fini(x, &s->turn);
        mark_binding(x, s); /* it may be only its layer 7 that is being settled */
    }
    if (s->turn.kind != TURN_NONE) {
        return;
    }
    if (is_leaving(s, &asked, s->guarding.by)) {
        begin(x, &s->turn, TURN_DETACH, s->guarding.by);
    } else if (is_arriving(s, &asked)) {
        begin(x, &s->turn, TURN_ATTACH, asked.gateway);
    }
}

static bool is_over(struct turn *t, const struct index_heard *h, uint64_t now_ms)
{
    if (t->due_ms == 0 && h->published >= t->seq) {
        t->due_ms = now_ms + TURN_WAIT_MS;
    }
    return t->due_ms > 0 && (h->acknowledged >= t->seq || now_ms >= t->due_ms);
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
}
