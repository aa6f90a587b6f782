/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node_note.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"
#include "io/loop.h"
#include "kube/call.h"
#include "kube/client.h"
#include "kube/resource.h"

static struct log_scope scope = LOG_SCOPE("agent");

#define LABEL_RUNS "ambit.io/runs-waypoints"

enum { RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 60000 };

static const struct kube_resource nodes = {
    .group = "", .version = "v1", .plural = "nodes", .namespaced = false};

enum step {
    PATCH,  /* the object is being changed */
    CREATE, /* there is none: it is being made */
    AGAIN,  /* something failed; the next attempt is due later */
    SAID
};

struct node_note {
    struct task task;
    struct timer timer;
    struct kube_client *client;
    char *node;
    bool runs;
    enum step step;
    struct kube_call *call;
    unsigned retry_ms;
};

static struct json *body_of(const struct node_note *n)
{
    struct json *body = json_new_object();
    struct json *labels = json_make_object(body, "metadata.labels");

    if (n->step == CREATE) {
        json_set_str(body, "apiVersion", "v1");
        json_set_str(body, "kind", "Node");
        json_set_str(json_get(body, "metadata"), "name", n->node);
    }
    json_set(labels, LABEL_RUNS, n->runs ? json_new_str("true") : json_new_null());
    return body;
}

static void begin(struct node_note *n, enum step next)
{
    n->step = next;
    AUTO(json) struct json *body = body_of(n);
    struct kube_ask ask = {.verb = next == CREATE ? KUBE_CREATE : KUBE_MERGE_PATCH,
                           .resource = &nodes,
                           .name = next == CREATE ? NULL : n->node,
                           .body = body};
    n->call = kube_call_new(n->client, &ask, &n->task);
}

static void put_off(struct node_note *n, const struct diag *why)
{
    log_warn(&scope, "the node object does not say yet what runs here", F_STR("node", n->node),
             F_DIAG(why));
    n->step = AGAIN;
    n->retry_ms =
        n->retry_ms > 0 ? MIN_OF(n->retry_ms * 2, RETRY_LAST_MS) : (unsigned)RETRY_FIRST_MS;
    timer_set(&n->timer, &n->task, n->retry_ms);
}

static void settle(struct node_note *n, int r, const struct diag *why)
{
    kube_call_free(MOVE(n->call));
    if (r == 0) {
        n->step = SAID;
    } else if (n->step == PATCH && r == -ERR_NOT_FOUND) {
        begin(n, CREATE);
    } else if (n->step == CREATE && r == -ERR_EXISTS) {
        begin(n, PATCH);
    } else {
        put_off(n, why);
    }
}

static void run(struct task *t, unsigned wake)
{
    struct node_note *n = container_of(t, struct node_note, task);
    struct diag why = {0};

    (void)wake; /* the step knows what it waits for */
    if (n->step == AGAIN && timer_is_due(&n->timer)) {
        timer_clear(&n->timer);
        begin(n, PATCH);
    }
    if (!n->call) {
        return;
    }
    int r = kube_call_done(n->call, &why);
    if (r != -EAGAIN) {
        settle(n, r, &why);
    }
}

struct node_note *node_note_new(struct loop *l, struct kube_client *client, const char *node,
                                bool runs_waypoints)
{
    struct node_note *n = mem_new(struct node_note);

    n->client = client;
    n->node = mem_strdup(node);
    n->runs = runs_waypoints;
    task_init(&n->task, l, "node note", run);
    begin(n, PATCH);
    return n;
}

void node_note_free(struct node_note *n)
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

bool node_note_is_said(const struct node_note *n)
{
    return n->step == SAID;
}
