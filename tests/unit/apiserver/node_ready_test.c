/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that live, and nodes that have fallen silent. */
#include "apiserver/node_ready.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "codec/json.h"
#include "io/loop.h"
#include "rig.h"
#include "t.h"

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
#define READY  "status.conditions"

enum { GRACE_MS = 40000 };

/* The loop is never turned: looks happen when the test says so. */
struct lab {
    struct rig g;
    struct loop *loop;
    struct node_ready *nodes;
    uint64_t base_ms;
    unsigned renewals;
};

static void begin(struct lab *lab)
{
    *lab = (struct lab){.loop = loop_new(NULL)};
    rig_start(&lab->g);
    rig_namespace(&lab->g, "kube-node-lease");
}

static void begin_looking(struct lab *lab)
{
    lab->nodes = node_ready_new(lab->g.api, lab->loop, GRACE_MS);
    lab->base_ms = clock_mono_ms();
}

static void end(struct lab *lab)
{
    node_ready_free(lab->nodes);
    rig_stop(&lab->g);
    loop_free(lab->loop);
}

static void look(struct lab *lab, uint64_t after_ms)
{
    node_ready_look(lab->nodes, lab->base_ms + after_ms, (int64_t)(1800000000u + after_ms / 1000));
    store_set_durable(lab->g.store, store_rv(lab->g.store));
}

static unsigned make(struct lab *lab, const char *path, const char *name)
{
    AUTO(strbuf) struct strbuf request = {0};
    AUTO(strbuf) struct strbuf body = {0};

    strbuf_printf(&request, "POST %s", path);
    strbuf_printf(&body, "{\"metadata\":{\"name\":\"%s\"}}", name);
    return rig_call(&lab->g, strbuf_text(&request), NULL, strbuf_text(&body));
}

static unsigned renew(struct lab *lab, const char *name)
{
    AUTO(strbuf) struct strbuf request = {0};
    AUTO(strbuf) struct strbuf body = {0};

    strbuf_printf(&request, "PATCH " LEASES "/%s", name);
    strbuf_printf(&body, "{\"spec\":{\"leaseTransitions\":%u}}", ++lab->renewals);
    return rig_call(&lab->g, strbuf_text(&request), "application/merge-patch+json",
                    strbuf_text(&body));
}

/* Of the node "a"; "" when it has none. */
static const char *ready(struct lab *lab, const char *field)
{
    if (rig_call(&lab->g, "GET /api/v1/nodes/a", NULL, NULL) != 200) {
        return "there is no such node";
    }
    const struct json *all = json_at(lab->g.body, READY);
    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), "Ready") == 0) {
            return json_str_at(json_item(all, i), field, "");
        }
    }
    return "";
}

TEST(a_node_is_ready_while_its_lease_is_renewed)
{
    struct lab lab;

    begin(&lab);
    begin_looking(&lab);
    CHECK_INT(make(&lab, "/api/v1/nodes", "a"), 201);
    look(&lab, 0);
    CHECK_STR(ready(&lab, "status"), "");
    CHECK_INT(make(&lab, LEASES, "a"), 201);
    look(&lab, 1000);
    CHECK_STR(ready(&lab, "status"), "True");
    CHECK_STR(ready(&lab, "reason"), "AgentAlive");
    CHECK_STR(ready(&lab, "lastTransitionTime"), "2027-01-15T08:00:01Z");
    look(&lab, 1000 + GRACE_MS - 1);
    CHECK_STR(ready(&lab, "status"), "True");
    look(&lab, 1000 + GRACE_MS);
    CHECK_STR(ready(&lab, "status"), "Unknown");
    CHECK_STR(ready(&lab, "reason"), "NodeStatusUnknown");
    CHECK_STR(ready(&lab, "lastTransitionTime"), "2027-01-15T08:00:41Z");
    CHECK_STR(ready(&lab, "lastHeartbeatTime"), "2027-01-15T08:00:01Z");
    CHECK_INT(renew(&lab, "a"), 200);
    look(&lab, 100000);
    CHECK_STR(ready(&lab, "status"), "True");
    CHECK_STR(ready(&lab, "lastTransitionTime"), "2027-01-15T08:01:40Z");
    end(&lab);
}

TEST(what_has_not_changed_is_not_written)
{
    struct lab lab;

    begin(&lab);
    begin_looking(&lab);
    CHECK_INT(make(&lab, "/api/v1/nodes", "a"), 201);
    CHECK_INT(make(&lab, LEASES, "a"), 201);
    look(&lab, 0);
    for (unsigned i = 1; i < NODE_READY_BEAT_MS / 1000; i++) {
        CHECK_INT(renew(&lab, "a"), 200);
        uint64_t rv = store_rv(lab.g.store);
        look(&lab, (uint64_t)i * 1000);
        CHECK_INT(store_rv(lab.g.store), rv);
    }
    look(&lab, NODE_READY_BEAT_MS);
    CHECK_STR(ready(&lab, "lastHeartbeatTime"), "2027-01-15T08:05:00Z");
    CHECK_STR(ready(&lab, "lastTransitionTime"), "2027-01-15T08:00:00Z");
    end(&lab);
}

/* As after a restart: the lease may be old, and the node may live all the same. */
TEST(nobody_is_silent_before_there_was_time_to_speak)
{
    struct lab lab;

    begin(&lab);
    CHECK_INT(make(&lab, "/api/v1/nodes", "a"), 201);
    CHECK_INT(make(&lab, LEASES, "a"), 201);
    begin_looking(&lab);
    look(&lab, 1000);
    CHECK_STR(ready(&lab, "status"), ""); /* what it says was said to somebody else */
    look(&lab, GRACE_MS / 2);
    CHECK_STR(ready(&lab, "status"), "");
    look(&lab, GRACE_MS);
    CHECK_STR(ready(&lab, "status"), "Unknown");
    end(&lab);
}

TEST(what_somebody_else_says_is_left)
{
    static const char *const no =
        "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"X\"},"
        "{\"type\":\"DiskPressure\",\"status\":\"False\"}]}}";
    struct lab lab;

    begin(&lab);
    begin_looking(&lab);
    CHECK_INT(make(&lab, "/api/v1/nodes", "a"), 201);
    CHECK_INT(rig_call(&lab.g, "PATCH /api/v1/nodes/a/status", "application/merge-patch+json", no),
              200);
    look(&lab, 2 * GRACE_MS); /* it has no lease */
    CHECK_STR(ready(&lab, "status"), "False");
    CHECK_INT(make(&lab, LEASES, "a"), 201);
    look(&lab, 2 * GRACE_MS + 1000);
    CHECK_STR(ready(&lab, "reason"), "X");
    look(&lab, 4 * GRACE_MS);
    CHECK_STR(ready(&lab, "status"), "Unknown");
    CHECK_INT(json_count(json_at(lab.g.body, READY)), 2);
    CHECK_INT(renew(&lab, "a"), 200);
    look(&lab, 4 * GRACE_MS + 1000);
    CHECK_STR(ready(&lab, "status"), "True");
    /* somebody takes the condition away: it is said again */
    CHECK_INT(rig_call(&lab.g, "PATCH /api/v1/nodes/a/status", "application/merge-patch+json",
                       "{\"status\":{\"conditions\":null}}"),
              200);
    look(&lab, 4 * GRACE_MS + 2000);
    CHECK_STR(ready(&lab, "status"), "True");
    end(&lab);
}

TEST(nodes_come_late_and_go)
{
    struct lab lab;

    begin(&lab);
    begin_looking(&lab);
    CHECK_INT(make(&lab, LEASES, "a"), 201);
    look(&lab, 0);
    CHECK_INT(make(&lab, "/api/v1/nodes", "a"), 201);
    look(&lab, 1000);
    CHECK_STR(ready(&lab, "status"), "True");
    CHECK_INT(rig_call(&lab.g, "DELETE " LEASES "/a", NULL, NULL), 200);
    look(&lab, GRACE_MS); /* without a lease it is silent */
    CHECK_STR(ready(&lab, "status"), "Unknown");
    CHECK_INT(rig_call(&lab.g, "DELETE /api/v1/nodes/a", NULL, NULL), 200);
    look(&lab, GRACE_MS + 1000);
    CHECK_INT(make(&lab, "/api/v1/nodes", "a"), 201);
    look(&lab, 3 * GRACE_MS); /* nothing is known of it any more */
    CHECK_STR(ready(&lab, "status"), "");
    end(&lab);
}

TEST(many_changes_are_spread)
{
    struct lab lab;
    enum { NODES = NODE_READY_CHANGES + 10 };

    begin(&lab);
    begin_looking(&lab);
    for (unsigned i = 0; i < NODES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "n%u", i);
        CHECK_INT(make(&lab, "/api/v1/nodes", name), 201);
        CHECK_INT(make(&lab, LEASES, name), 201);
    }
    uint64_t rv = store_rv(lab.g.store);
    look(&lab, 0);
    CHECK_INT(store_rv(lab.g.store) - rv, NODE_READY_CHANGES);
    look(&lab, 1000);
    CHECK_INT(store_rv(lab.g.store) - rv, NODES);
    end(&lab);
}
