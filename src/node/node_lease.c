/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node_lease.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "io/loop.h"
#include "kube/call.h"
#include "kube/client.h"
#include "kube/resource.h"

static struct log_scope scope = LOG_SCOPE("agent");

static const char lease_namespace[] = "kube-node-lease";

static const struct kube_resource leases = {
    .group = "coordination.k8s.io", .version = "v1", .plural = "leases", .namespaced = true};

enum step {
    RENEW,  /* the Lease is being changed */
    CREATE, /* there is none: it is being made */
    REST    /* until the next turn */
};

struct node_lease {
    struct task task;
    struct timer timer;
    struct kube_client *client;
    char *node;
    enum step step;
    struct kube_call *call;
    bool complained; /* once, until it works again */
};

static struct json *body_of(const struct node_lease *n)
{
    struct json *body = json_new_object();
    struct json *spec = json_make_object(body, "spec");
    char now[CLOCK_TEXT];

    if (n->step == CREATE) {
        json_set_str(body, "apiVersion", "coordination.k8s.io/v1");
        json_set_str(body, "kind", "Lease");
        json_set_str(json_make_object(body, "metadata"), "name", n->node);
        json_set_str(json_get(body, "metadata"), "namespace", lease_namespace);
    }
    clock_format(clock_wall_ns(), now, sizeof(now));
    json_set_str(spec, "holderIdentity", n->node);
    json_set_int(spec, "leaseDurationSeconds", NODE_LEASE_S);
    json_set_str(spec, "renewTime", now);
    return body;
}

static void begin(struct node_lease *n, enum step next)
{
    n->step = next;
    AUTO(json) struct json *body = body_of(n);
    struct kube_ask ask = {.verb = next == CREATE ? KUBE_CREATE : KUBE_MERGE_PATCH,
                           .resource = &leases,
                           .ns = lease_namespace,
                           .name = next == CREATE ? NULL : n->node,
                           .body = body,
                           .limit_ms = NODE_LEASE_RENEW_MS};
    n->call = kube_call_new(n->client, &ask, &n->task);
}

static void settle(struct node_lease *n, int r, const struct diag *why)
{
    kube_call_free(MOVE(n->call));
    if (n->step == RENEW && r == -ERR_NOT_FOUND) {
        begin(n, CREATE);
        return;
    }
    if (r < 0 && !n->complained) {
        log_warn(&scope, "the node's lease is not renewed", F_STR("node", n->node), F_DIAG(why));
    }
    n->complained = r < 0;
    n->step = REST;
    timer_set(&n->timer, &n->task, NODE_LEASE_RENEW_MS);
}

static void run(struct task *t, unsigned wake)
{
    struct node_lease *n = container_of(t, struct node_lease, task);
    struct diag why = {0};

    (void)wake; /* the step knows what it waits for */
    if (n->step == REST && timer_is_due(&n->timer)) {
        timer_clear(&n->timer);
        begin(n, RENEW);
    }
    if (!n->call) {
        return;
    }
    int r = kube_call_done(n->call, &why);
    if (r != -EAGAIN) {
        settle(n, r, &why);
    }
}

struct node_lease *node_lease_new(struct loop *l, struct kube_client *client, const char *node)
{
    struct node_lease *n = mem_new(struct node_lease);

    n->client = client;
    n->node = mem_strdup(node);
    task_init(&n->task, l, "node lease", run);
    begin(n, RENEW);
    return n;
}

void node_lease_free(struct node_lease *n)
{
    if (!n) {
        return;
    }
    kube_call_free(n->call);
    timer_clear(&n->timer);
    task_fini(&n->task);
    mem_free(n->node);
    mem_free(n);
}
