/* SPDX-License-Identifier: Apache-2.0 */
#include "control/waypoint_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "t.h"

/* A small cluster that does what the plan says. */
enum { PODS_MAX = 32, NODES = 3 };

static const struct plan_node nodes[NODES] = {{"a"}, {"b"}, {"c"}};

struct cluster {
    struct plan_pod pods[PODS_MAX];
    char names[PODS_MAX][16];
    unsigned count;
    unsigned made;
    unsigned want;
    unsigned node_count;
};

static void add(struct cluster *c, const char *node, bool ready)
{
    struct plan_pod *p = &c->pods[c->count];

    (void)snprintf(c->names[c->count], sizeof(c->names[0]), "p%u", c->made++);
    *p = (struct plan_pod){.name = c->names[c->count],
                           .node = node,
                           .is_own = true,
                           .is_current = true,
                           .is_ready = ready};
    c->count++;
}

static struct plan_pod *find(struct cluster *c, const char *name)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (strcmp(c->pods[i].name, name) == 0) {
            return &c->pods[i];
        }
    }
    abort();
}

static unsigned apply(struct cluster *c)
{
    struct plan_step steps[PLAN_STEPS_MAX];
    struct plan_input in = {.replicas = c->want,
                            .pods = c->pods,
                            .pod_count = c->count,
                            .nodes = nodes,
                            .node_count = c->node_count};
    unsigned n = waypoint_plan(&in, steps);

    for (unsigned i = 0; i < n; i++) {
        if (steps[i].kind == PLAN_MAKE) {
            add(c, steps[i].node, false);
        } else {
            find(c, steps[i].pod)->is_ending = true;
        }
    }
    return n;
}

static void remove_at(struct cluster *c, unsigned at)
{
    for (unsigned i = at; i + 1 < c->count; i++) {
        c->pods[i] = c->pods[i + 1];
        memcpy(c->names[i], c->names[i + 1], sizeof(c->names[0]));
        c->pods[i].name = c->names[i];
    }
    c->count--;
}

/* Time passes: what ends is gone, what was made is ready. */
static void pass(struct cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->pods[i].is_ending) {
            remove_at(c, i--);
        } else {
            c->pods[i].is_ready = true;
        }
    }
}

static unsigned count(const struct cluster *c, const char *node, bool ready)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->count; i++) {
        const struct plan_pod *p = &c->pods[i];
        n += !p->is_ending && (!node || strcmp(p->node, node) == 0) && (!ready || p->is_ready);
    }
    return n;
}

static void make_old(struct cluster *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        c->pods[i].is_current = false;
    }
}

TEST(replicas_are_spread_over_the_nodes)
{
    struct cluster c = {.want = 5, .node_count = NODES};

    CHECK_INT(apply(&c), 5);
    CHECK_INT(apply(&c), 0);
    CHECK_INT(count(&c, "a", false), 2);
    CHECK_INT(count(&c, "b", false), 2);
    CHECK_INT(count(&c, "c", false), 1);
}

TEST(others_on_a_node_count_for_its_load)
{
    struct cluster c = {.want = 1, .node_count = 2};

    add(&c, "a", true);
    c.pods[0].is_own = false;
    CHECK_INT(apply(&c), 1);
    CHECK_STR(c.pods[1].node, "b");
}

TEST(without_a_node_it_waits)
{
    struct cluster c = {.want = 2};

    CHECK_INT(apply(&c), 0);
    c.node_count = 1;
    CHECK_INT(apply(&c), 2);
}

TEST(fewer_are_wanted_and_those_that_are_not_ready_go_first)
{
    struct cluster c = {.want = 1, .node_count = NODES};

    add(&c, "a", true);
    add(&c, "b", false);
    add(&c, "a", true);
    CHECK_INT(apply(&c), 2);
    CHECK(c.pods[1].is_ending);
    CHECK_INT(count(&c, NULL, true), 1);
    CHECK_INT(apply(&c), 0);
}

TEST(none_is_wanted_and_all_go)
{
    struct cluster c = {.node_count = NODES};

    add(&c, "a", true);
    add(&c, "b", true);
    c.pods[1].is_current = false;
    CHECK_INT(apply(&c), 2);
    CHECK_INT(count(&c, NULL, false), 0);
    CHECK_INT(apply(&c), 0);
}

/* At no moment are fewer ready than wanted, nor more than one too many there. */
TEST(rolling_never_has_fewer_ready_than_wanted)
{
    for (unsigned want = 1; want <= 4; want++) {
        struct cluster c = {.want = want, .node_count = NODES};
        unsigned rounds = 0;
        CHECK_INT(apply(&c), want);
        pass(&c);
        make_old(&c);
        while (apply(&c) > 0 || count(&c, NULL, false) > want) {
            CHECK(count(&c, NULL, true) >= want);
            CHECK(count(&c, NULL, false) <= want + 1);
            pass(&c);
            CHECK(rounds++ < 20);
        }
        for (unsigned i = 0; i < c.count; i++) {
            CHECK(c.pods[i].is_current);
        }
        CHECK_INT(count(&c, NULL, true), want);
    }
}

TEST(a_new_one_that_never_gets_ready_ends_no_old_one)
{
    struct cluster c = {.want = 2, .node_count = NODES};

    CHECK_INT(apply(&c), 2);
    pass(&c);
    make_old(&c);
    CHECK_INT(apply(&c), 1);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(apply(&c), 0);
    }
    CHECK_INT(count(&c, NULL, true), 2);
}

/* Otherwise a template that cannot get ready could not be replaced by one that can. */
TEST(old_ones_that_are_not_ready_make_room)
{
    struct cluster c = {.want = 2, .node_count = NODES};

    CHECK_INT(apply(&c), 2);
    make_old(&c);
    CHECK_INT(apply(&c), 1);
    for (int i = 0; i < 10 && (apply(&c) > 0 || count(&c, NULL, true) < 2); i++) {
        for (unsigned k = 0; k < c.count; k++) {
            c.pods[k].is_ready = c.pods[k].is_current;
        }
    }
    CHECK_INT(count(&c, NULL, true), 2);
}

TEST(what_nobody_runs_is_dropped_and_made_again)
{
    struct cluster c = {.want = 1, .node_count = NODES};
    struct plan_step steps[PLAN_STEPS_MAX];

    add(&c, "gone", true);
    c.pods[0].is_over = true;
    struct plan_input in = {
        .replicas = 1, .pods = c.pods, .pod_count = 1, .nodes = nodes, .node_count = 1};
    CHECK_INT(waypoint_plan(&in, steps), 2);
    CHECK_INT(steps[0].kind, PLAN_DROP);
    CHECK_STR(steps[0].pod, "p0");
    CHECK_INT(steps[1].kind, PLAN_MAKE);
}

/* Whatever happens to pods, it ends with what was wanted. */
TEST(it_gets_there_from_anywhere)
{
    uint32_t x = 12345;

    for (int run = 0; run < 2000; run++) {
        struct cluster c = {.node_count = NODES};
        for (unsigned i = 0; i < 6; i++) {
            x = x * 1103515245 + 12345;
            add(&c, nodes[(x >> 8) % NODES].name, x >> 16 & 1);
            c.pods[i].is_current = x >> 17 & 1;
            c.pods[i].is_ending = (x >> 18 & 3) == 0;
            c.pods[i].is_own = (x >> 20 & 7) != 0;
        }
        for (unsigned i = 0; i < c.count; i++) {
            if (!c.pods[i].is_own) {
                remove_at(&c, i--);
            }
        }
        c.want = (x >> 24) % 5;
        unsigned rounds = 0;
        while (apply(&c) > 0 || rounds < 2) {
            CHECK(rounds++ < 40);
            pass(&c);
        }
        CHECK_INT(count(&c, NULL, true), c.want);
    }
}
