/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds are built on one thread while loops decide on others; meant to run under TSan too. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "mesh.h"
#include "model/rbac.h"
#include "model/route.h"
#include "t.h"

enum { LOOPS = 3, ROUNDS = 300, PODS = 64 };

static struct snap_slot slots[LOOPS];
static struct snap_bin bin;
static atomic_bool stop;
static atomic_uint decided;
static atomic_uint wrong;

static void put_round(struct mesh *m, unsigned round)
{
    for (unsigned i = round % 4; i < PODS; i += 4) {
        char name[16], ip[32], node[32];
        (void)snprintf(name, sizeof(name), "p%u", i);
        (void)snprintf(ip, sizeof(ip), "10.0.0.%u", i);
        (void)snprintf(node, sizeof(node), "node-%u", round); /* a string that comes and goes */
        mesh_pod(m, &(struct pod){.name = name,
                                  .ips = ip,
                                  .node = node,
                                  .hbone = true,
                                  .services = "shop/web.local=80:8080",
                                  .policies = "shop/p"});
    }
    struct policy p = {.ns = "shop",
                       .name = "p",
                       .scope = SCOPED_WORKLOAD,
                       .action = round % 2 ? POLICY_ALLOW : POLICY_DENY,
                       .rules = &(struct policy_rule){NULL, 0},
                       .rule_count = 1};
    const struct policy *made = NULL;
    if (policy_new(&made, &p, NULL) == 0) {
        mesh_policy(m, made);
    }
}

/* One connection: a route to the service, and the verdict of whoever it reaches. */
static void decide(const struct world *w, uint64_t seed)
{
    struct route r;
    struct route_query q = {
        .source = world_workload(w, "c//Pod/shop/p0"), .network = "", .seed = seed};

    q.src.ip = mesh_ip("10.0.0.0");
    q.dst = (struct endpoint){mesh_ip("10.96.0.1"), 80};
    route_decide(&r, w, &q);
    if (r.kind == ROUTE_HBONE) {
        struct rbac_conn c = {.src = q.src, .dst = {r.tcp.ip, r.target_port}};
        struct rbac_verdict v = rbac_decide(w, r.workload, &c);
        atomic_fetch_add(&wrong, v.outcome == RBAC_HOLD || v.reason == RBAC_UNDECIDED);
        atomic_fetch_add(&decided, 1);
    } else {
        atomic_fetch_add(&wrong, 1);
    }
    route_fini(&r);
}

static void *loop_main(void *arg)
{
    struct snap_slot *slot = arg;
    const struct workload *kept = NULL; /* by a connection that outlives its world */

    for (uint64_t turn = 0; !atomic_load(&stop); turn++) {
        (void)snap_adopt(slot);
        if (!snap_now(slot)) {
            continue;
        }
        decide(world_now(slot), turn);
        if (turn % 16 == 0) {
            workload_unref(kept);
            kept = workload_ref(world_workload(world_now(slot), "c//Pod/shop/p1"));
        }
        atomic_fetch_add(&wrong, strncmp(kept->node, "node-", 5) != 0);
    }
    workload_unref(kept);
    return NULL;
}

TEST(loops_decide_while_the_next_world_is_built)
{
    pthread_t thread[LOOPS];
    struct mesh m;

    mesh_init(&m);
    world_delta_free(m.delta);
    world_unref(m.world);
    m.world = world_new(&bin);
    m.delta = world_delta_new(m.world);
    mesh_svc(&m, &(struct svc){.vips = "|10.96.0.1", .ports = "80:8080"});
    for (unsigned i = 0; i < 4; i++) {
        put_round(&m, i);
    }
    mesh_commit(&m);
    snap_publish(slots, LOOPS, world_snap(world_ref(m.world)));
    for (int i = 0; i < LOOPS; i++) {
        CHECK_INT(pthread_create(&thread[i], NULL, loop_main, &slots[i]), 0);
    }
    for (unsigned round = 4; round < ROUNDS || atomic_load(&decided) < 10 * LOOPS; round++) {
        put_round(&m, round);
        mesh_commit(&m);
        snap_publish(slots, LOOPS, world_snap(world_ref(m.world)));
        intern_sweep(m.pool);
        (void)snap_bin_empty(&bin);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LOOPS; i++) {
        (void)pthread_join(thread[i], NULL);
        snap_slot_fini(&slots[i]);
    }
    mesh_fini(&m);
    (void)snap_bin_empty(&bin);
    CHECK_INT(wrong, 0);
    CHECK(decided > 0);
}
