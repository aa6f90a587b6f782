/* SPDX-License-Identifier: Apache-2.0 */
/* Which pods are started again; the plane's side is this file's: pods that start when a test says so. */
#include "ztunnel/pods.h"

#include <errno.h>

#include "base/mem.h"
#include "t.h"
#include "test_netns.h"

struct pod *__wrap_pod_start(struct plane *plane, const struct pod_spec *spec);

struct rig {
    struct loop *loop;
    struct plane plane;
    struct plane *planes[1];
    struct pods *pods;
    struct task owner;
    struct pod *starting; /* the last one; the test's */
    unsigned starts;
};

static struct rig *rig; /* of the running test */

struct pod *__wrap_pod_start(struct plane *plane, const struct pod_spec *spec)
{
    struct pod *p = mem_new(struct pod);

    (void)plane;
    p->started = spec->started;
    p->arg = spec->arg;
    rig->starting = p;
    rig->starts++;
    return p;
}

static void ignore(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void turns(struct rig *g)
{
    while (loop_turn(g->loop, 0) > 0) {
    }
}

/* One pod, and its start is under way. */
static void rig_start(struct rig *g)
{
    char uid[] = "uid", text[] = "any";
    struct pod_info info = {.uid = uid, .name = text, .ns = text, .service_account = text};

    *g = (struct rig){.loop = loop_new(NULL)};
    rig = g;
    loop_stop_clock(g->loop);
    g->plane.loop = g->loop;
    g->planes[0] = &g->plane;
    task_init(&g->owner, g->loop, "owner", ignore);
    g->pods = pods_new(g->loop, g->planes, 1, &g->owner);
    pods_add(g->pods, &info, test_netns_new());
    turns(g);
}

static void fail_start(struct rig *g)
{
    struct diag why = {.code = -EADDRINUSE};
    struct pod *p = MOVE(g->starting);

    p->started(p, -EADDRINUSE, &why);
    mem_free(p);
    turns(g);
}

static void wait_for_retry(struct rig *g)
{
    loop_advance(g->loop, 2 * PODS_RETRY_MS);
    turns(g);
}

static void rig_stop(struct rig *g)
{
    if (g->starting) {
        fail_start(g);
    }
    pods_free(g->pods);
    task_fini(&g->owner);
    loop_free(g->loop);
}

TEST(a_pod_whose_start_failed_is_started_again)
{
    struct rig g;

    rig_start(&g);
    CHECK_INT(g.starts, 1);
    fail_start(&g);
    CHECK_INT(pods_counts(g.pods).pending, 1);
    CHECK_INT(pods_counts(g.pods).alive, 0);
    wait_for_retry(&g);
    CHECK_INT(g.starts, 2);
    CHECK_INT(pods_counts(g.pods).pending, 0);
    rig_stop(&g);
}

TEST(a_pod_whose_start_fails_while_the_proxy_drains_stays_down)
{
    struct rig g;

    rig_start(&g);
    pods_drain(g.pods, 10000);
    turns(&g);
    fail_start(&g);
    CHECK_INT(pods_counts(g.pods).alive, 0);
    wait_for_retry(&g);
    CHECK_INT(g.starts, 1);
    CHECK_INT(pods_counts(g.pods).alive, 0);
    rig_stop(&g);
}

TEST(a_pod_that_is_to_be_started_again_is_not_once_the_proxy_drains)
{
    struct rig g;

    rig_start(&g);
    fail_start(&g);
    pods_drain(g.pods, 10000);
    wait_for_retry(&g);
    CHECK_INT(g.starts, 1);
    rig_stop(&g);
}
