/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/upstream.h"

#include "rig.h"
#include "t.h"

enum { TURNS = 4000 };

static struct upstream *application(struct rig *r)
{
    struct upstream_key key = {.workload = world_workload(engine_world(r->engine), "uid-web"),
                               .at = r->at};

    return upstream_use(r->engine->upstreams, &key);
}

static bool is_granted(struct rig *r, struct lease *l)
{
    for (unsigned i = 0; i < TURNS && lease_result(l) == -EAGAIN; i++) {
        (void)loop_turn(r->loop, 1);
    }
    return lease_result(l) == 0;
}

/* Two connections that nobody uses. */
static bool have_two_idle(struct rig *r, struct upstream *u, struct task *asker)
{
    struct lease l[2];
    bool granted = lease_start(&l[0], u, asker, true) == -EAGAIN &&
                   lease_start(&l[1], u, asker, true) == -EAGAIN && is_granted(r, &l[0]) &&
                   is_granted(r, &l[1]);

    lease_end(&l[0]);
    lease_end(&l[1]);
    for (unsigned i = 0; i < TURNS && upstreams_count(r->engine->upstreams).idle < 2; i++) {
        (void)loop_turn(r->loop, 1);
    }
    return granted && upstreams_count(r->engine->upstreams).idle == 2;
}

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

TEST(so_many_requests_are_under_way_and_no_more_however_many_connections_are_free)
{
    struct rig r = {.seen = NULL};
    struct task asker;
    struct lease a, b;

    rig_start(&r);
    task_init(&asker, r.loop, "asker", nothing);
    struct upstream *u = application(&r);
    CHECK(have_two_idle(&r, u, &asker));
    u->limits.requests = 1;
    CHECK_INT(lease_start(&a, u, &asker, false), 0);
    CHECK_INT(lease_start(&b, u, &asker, false), -ERR_LIMIT);
    CHECK_INT(lease_result(&b), -ERR_LIMIT);
    CHECK_INT(upstreams_count(r.engine->upstreams).overflowed, 1);
    lease_end(&b); /* it is none */
    CHECK_INT(u->in_flight, 1);
    lease_end(&a);
    CHECK_INT(lease_start(&b, u, &asker, false), 0);
    lease_end(&b);
    upstream_unuse(u);
    task_fini(&asker);
    rig_end(&r);
}
