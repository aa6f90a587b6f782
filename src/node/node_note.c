/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node_note.h"

#include "base/clock.h"
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

static const struct kube_resource nodes = {"", "v1", "nodes", false};
static const struct kube_resource leases = {"coordination.k8s.io", "v1", "leases", true};

enum step {
    PATCH,  /* the object is being changed */
    CREATE, /* there is none: it is being made */
    REST,   /* until the next turn */
    SAID
};

/* One object. */
struct said {
    struct task task;
    struct timer timer;
    struct node_note *note;
    const struct kind *kind;
    enum step step;
    struct kube_call *call;
    unsigned retry_ms; /* 0: it went well the last time */
};

struct node_note {
    struct kube_client *client;
    char *node;
    struct node_note_words words;
    bool was_tried;
    struct said object;
    struct said status; /* once the object is said: then there is one */
    struct said lease;
};

struct kind {
    const char *what; /* is not done, as the log says it */
    const struct kube_resource *resource;
    const char *api_version;
    const char *name; /* of the kind */
    const char *ns;
    const char *sub;   /* NULL: the object itself, which is made if there is none */
    unsigned every_ms; /* 0: once is enough */
    void (*fill)(const struct node_note *n, struct json *body);
};

/* Both at once: waypoints are for a node whose addresses the API takes. */
static void fill_object(const struct node_note *n, struct json *body)
{
    struct json *ranges = json_make_array(body, "spec.podCIDRs");

    json_set(json_make_object(body, "metadata.labels"), LABEL_RUNS,
             n->words.runs_waypoints ? json_new_str("true") : json_new_null());
    for (unsigned i = 0; i < n->words.range_count; i++) {
        char text[IP_PREFIX_TEXT];
        json_append_str(ranges, ip_prefix_format(&n->words.ranges[i], text));
    }
    json_set_str(json_get(body, "spec"), "podCIDR", json_str(json_item(ranges, 0), ""));
}

static void fill_status(const struct node_note *n, struct json *body)
{
    json_set(body, "status", json_clone(n->words.facts));
}

static void fill_lease(const struct node_note *n, struct json *body)
{
    struct json *spec = json_make_object(body, "spec");
    char now[CLOCK_TEXT];

    clock_format(clock_wall_ns(), now, sizeof(now));
    json_set_str(spec, "holderIdentity", n->node);
    json_set_int(spec, "leaseDurationSeconds", NODE_LEASE_S);
    json_set_str(spec, "renewTime", now);
}

static const struct kind kind_object = {
    .what = "the node object does not say yet what its range is and what runs here",
    .resource = &nodes,
    .api_version = "v1",
    .name = "Node",
    .fill = fill_object};
static const struct kind kind_status = {.what =
                                            "the node object does not say yet what the machine is",
                                        .resource = &nodes,
                                        .sub = "status",
                                        .fill = fill_status};
static const struct kind kind_lease = {.what = "the node's lease is not renewed",
                                       .resource = &leases,
                                       .api_version = "coordination.k8s.io/v1",
                                       .name = "Lease",
                                       .ns = "kube-node-lease",
                                       .every_ms = NODE_LEASE_RENEW_MS,
                                       .fill = fill_lease};

static void begin(struct said *s, enum step next)
{
    AUTO(json) struct json *body = json_new_object();
    const char *node = s->note->node;
    struct kube_ask ask = {.verb = next == CREATE ? KUBE_CREATE : KUBE_MERGE_PATCH,
                           .resource = s->kind->resource,
                           .ns = s->kind->ns,
                           .name = next == CREATE ? NULL : node,
                           .sub = s->kind->sub,
                           .body = body,
                           .limit_ms = s->kind->every_ms};

    s->step = next;
    if (next == CREATE) {
        struct json *metadata = json_make_object(body, "metadata");
        json_set_str(body, "apiVersion", s->kind->api_version);
        json_set_str(body, "kind", s->kind->name);
        json_set_str(metadata, "name", node);
        if (s->kind->ns) {
            json_set_str(metadata, "namespace", s->kind->ns);
        }
    }
    s->kind->fill(s->note, body);
    s->call = kube_call_new(s->note->client, &ask, &s->task);
}

/* What is said again and again anyway is not put off for longer. */
static void rest(struct said *s, bool good)
{
    unsigned longer = MIN_OF(s->retry_ms * 2, (unsigned)RETRY_LAST_MS);

    s->retry_ms = good ? 0 : s->retry_ms > 0 ? longer : (unsigned)RETRY_FIRST_MS;
    s->step = REST;
    timer_set(&s->timer, &s->task, s->kind->every_ms > 0 ? s->kind->every_ms : s->retry_ms);
}

/* With whatever end: that the API is away is told by others. */
static void note_try(struct said *s)
{
    struct node_note *n = s->note;

    if (s == &n->object && !n->was_tried) {
        n->was_tried = true;
        task_wake(n->words.owner, WAKE_CHILD);
    }
}

static void is_said(struct said *s)
{
    s->step = SAID;
    note_try(s);
    if (s == &s->note->object) {
        begin(&s->note->status, PATCH);
    }
}

static void settle(struct said *s, int r, const struct diag *why)
{
    kube_call_free(MOVE(s->call));
    if (s->step == PATCH && r == -ERR_NOT_FOUND && !s->kind->sub) {
        begin(s, CREATE);
    } else if (s->step == CREATE && r == -ERR_EXISTS) {
        begin(s, PATCH);
    } else if (r == 0 && s->kind->every_ms == 0) {
        is_said(s);
    } else {
        note_try(s);
        if (r < 0 && s->retry_ms == 0) {
            log_warn(&scope, s->kind->what, F_STR("node", s->note->node), F_DIAG(why));
        }
        rest(s, r == 0);
    }
}

static void run(struct task *t, unsigned wake)
{
    struct said *s = container_of(t, struct said, task);
    struct diag why = {0};

    (void)wake; /* the step knows what it waits for */
    if (s->step == REST && timer_is_due(&s->timer)) {
        timer_clear(&s->timer);
        begin(s, PATCH);
    }
    int r = s->call ? kube_call_done(s->call, &why) : -EAGAIN;
    if (r != -EAGAIN) {
        settle(s, r, &why);
    }
}

static void said_init(struct said *s, struct node_note *n, const struct kind *kind)
{
    s->note = n;
    s->kind = kind;
    task_init(&s->task, kube_client_loop(n->client), "node note", run);
}

static void said_fini(struct said *s)
{
    kube_call_free(s->call);
    timer_clear(&s->timer);
    task_fini(&s->task);
}

struct node_note *node_note_new(struct kube_client *client, const char *node,
                                const struct node_note_words *words)
{
    struct node_note *n = mem_new(struct node_note);

    n->client = client;
    n->node = mem_strdup(node);
    n->words = *words;
    said_init(&n->object, n, &kind_object);
    said_init(&n->status, n, &kind_status);
    said_init(&n->lease, n, &kind_lease);
    begin(&n->object, PATCH);
    begin(&n->lease, PATCH);
    return n;
}

void node_note_free(struct node_note *n)
{
    if (n) {
        said_fini(&n->object);
        said_fini(&n->status);
        json_unref(n->words.facts);
        said_fini(&n->lease);
        mem_free(n->node);
        mem_free(n);
    }
}

bool node_note_was_tried(const struct node_note *n)
{
    return n->was_tried;
}
