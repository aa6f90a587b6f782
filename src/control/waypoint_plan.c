/* SPDX-License-Identifier: Apache-2.0 */
#include "control/waypoint_plan.h"

#include <string.h>

#include "base/num.h"

struct plan {
    const struct plan_input *in;
    struct plan_step *out;
    unsigned steps;
    unsigned current; /* alive, of the present template */
    unsigned current_ready;
    unsigned old; /* alive, of an older one */
};

static bool is_alive(const struct plan_pod *p)
{
    return p->is_own && !p->is_ending && !p->is_over;
}

static void add(struct plan *x, enum plan_kind kind, const char *node, const char *pod)
{
    if (x->steps < PLAN_STEPS_MAX) {
        x->out[x->steps++] = (struct plan_step){kind, node, pod};
    }
}

static void count(struct plan *x)
{
    for (unsigned i = 0; i < x->in->pod_count; i++) {
        const struct plan_pod *p = &x->in->pods[i];
        if (is_alive(p)) {
            x->current += p->is_current;
            x->current_ready += p->is_current && p->is_ready;
            x->old += !p->is_current;
        }
    }
}

/* ---- where to */

struct load {
    unsigned own;
    unsigned all;
};

/* What is about to be made counts; what is ending does not. */
static struct load load_of(const struct plan *x, const char *node)
{
    struct load l = {0};

    for (unsigned i = 0; i < x->in->pod_count; i++) {
        const struct plan_pod *p = &x->in->pods[i];
        if (!p->is_ending && !p->is_over && strcmp(p->node, node) == 0) {
            l.own += p->is_own;
            l.all++;
        }
    }
    for (unsigned i = 0; i < x->steps; i++) {
        if (x->out[i].kind == PLAN_MAKE && strcmp(x->out[i].node, node) == 0) {
            l.own++;
            l.all++;
        }
    }
    return l;
}

/* The node with the fewest of this waypoint's, then with the fewest of all; NULL without a node. */
static const char *pick_node(const struct plan *x)
{
    const char *best = NULL;
    struct load least = {0};

    for (unsigned i = 0; i < x->in->node_count; i++) {
        struct load l = load_of(x, x->in->nodes[i].name);
        if (!best || l.own < least.own || (l.own == least.own && l.all < least.all)) {
            best = x->in->nodes[i].name;
            least = l;
        }
    }
    return best;
}

static void make(struct plan *x, unsigned n)
{
    const char *node;

    while (n-- > 0 && x->steps < PLAN_STEPS_MAX && (node = pick_node(x)) != NULL) {
        add(x, PLAN_MAKE, node, NULL);
    }
}

/* ---- which one goes */

/* One that is not ready goes before one that is; then one whose node has more of them. */
static bool goes_before(const struct plan *x, const struct plan_pod *a, const struct plan_pod *b)
{
    if (a->is_ready != b->is_ready) {
        return !a->is_ready;
    }
    return load_of(x, a->node).own > load_of(x, b->node).own;
}

static bool is_chosen(const struct plan *x, const struct plan_pod *p)
{
    for (unsigned i = 0; i < x->steps; i++) {
        if (x->out[i].kind == PLAN_END && x->out[i].pod == p->name) {
            return true;
        }
    }
    return false;
}

static void end(struct plan *x, bool current, unsigned n)
{
    while (n-- > 0) {
        const struct plan_pod *first = NULL;
        for (unsigned i = 0; i < x->in->pod_count; i++) {
            const struct plan_pod *p = &x->in->pods[i];
            if (is_alive(p) && p->is_current == current && !is_chosen(x, p) &&
                (!first || goes_before(x, p, first))) {
                first = p;
            }
        }
        if (!first) {
            return;
        }
        add(x, PLAN_END, NULL, first->name);
    }
}

/* Old ones that are not ready serve nobody. */
static unsigned old_unready(const struct plan *x)
{
    unsigned n = 0;

    for (unsigned i = 0; i < x->in->pod_count; i++) {
        const struct plan_pod *p = &x->in->pods[i];
        n += is_alive(p) && !p->is_current && !p->is_ready;
    }
    return n;
}

/* One more than wanted while rolling; an old one goes for each new one that is ready. */
static void roll(struct plan *x)
{
    unsigned want = x->in->replicas;
    unsigned old_kept = want > x->current_ready ? want - x->current_ready : 0;

    if (x->current < want && x->current + x->old <= want) {
        make(x, 1);
    }
    if (x->old > old_kept) {
        end(x, false, x->old - old_kept);
    } else if (x->current + x->old > want) {
        end(x, false, MIN_OF(old_unready(x), x->current + x->old - want));
    }
}

static void drop_dead(struct plan *x)
{
    for (unsigned i = 0; i < x->in->pod_count; i++) {
        const struct plan_pod *p = &x->in->pods[i];
        if (p->is_own && p->is_over) {
            add(x, PLAN_DROP, NULL, p->name);
        }
    }
}

unsigned waypoint_plan(const struct plan_input *in, struct plan_step out[static PLAN_STEPS_MAX])
{
    struct plan x = {.in = in, .out = out};

    count(&x);
    drop_dead(&x);
    if (in->replicas == 0) {
        end(&x, true, x.current);
        end(&x, false, x.old);
    } else if (x.old > 0) {
        roll(&x);
    } else if (x.current < in->replicas) {
        make(&x, in->replicas - x.current);
    } else {
        end(&x, true, x.current - in->replicas);
    }
    return x.steps;
}
