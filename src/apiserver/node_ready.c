/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/node_ready.h"

#include <string.h>

#include "apiserver/api.h"
#include "apiserver/change.h"
#include "apiserver/kind.h"
#include "apiserver/meta.h"
#include "apiserver/object.h"
#include "apiserver/store.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "io/loop.h"

static const char lease_namespace[] = "kube-node-lease";
static const char reason_alive[] = "AgentAlive";

enum word {
    WORD_NONE, /* it has not been heard of since this process began, and that is not long ago */
    WORD_ALIVE,
    WORD_SILENT,
};

/* One Lease. */
struct beat {
    struct map_node node;
    char *name;
    uint64_t lease_rv;
    uint64_t renewed_ms;
    bool renewed; /* since this process began */
    /* What was looked at last; another look at the same would find the same. */
    enum word word;
    uint64_t node_rv;
    uint64_t looked_ms;
};

struct node_ready {
    struct task task;
    struct timer timer;
    struct api *api;
    uint64_t grace_ms;
    struct map beats;
    const struct kind *nodes;
    const struct kind *leases;
};

static struct beat *find(struct node_ready *n, const char *name)
{
    for (struct map_node *m = map_find(&n->beats, map_hash_str(name)); m; m = map_find_next(m)) {
        struct beat *b = container_of(m, struct beat, node);
        if (strcmp(b->name, name) == 0) {
            return b;
        }
    }
    return NULL;
}

static struct beat *beat_new(struct node_ready *n, const struct object *lease, uint64_t now_ms)
{
    struct beat *b = mem_new(struct beat);

    b->name = mem_strdup(lease->name);
    b->lease_rv = lease->rv;
    b->renewed_ms = now_ms;
    map_insert(&n->beats, &b->node, map_hash_str(b->name));
    return b;
}

static void beat_free(struct beat *b)
{
    mem_free(b->name);
    mem_free(b);
}

/* is_first: what stands there was written at some time before this process began. */
static void hear(struct node_ready *n, uint64_t now_ms, bool is_first)
{
    struct cursor at;
    struct object *o = NULL;

    if (cursor_init(&at, api_store(n->api), n->leases, lease_namespace, 0) < 0) {
        return; /* the newest state is always there */
    }
    while ((o = cursor_next(&at)) != NULL) {
        struct beat *b = find(n, o->name);
        if (!b) {
            b = beat_new(n, o, now_ms);
            b->renewed = !is_first;
        } else if (b->lease_rv != o->rv) {
            b->lease_rv = o->rv;
            b->renewed_ms = now_ms;
            b->renewed = true;
        }
    }
    cursor_fini(&at);
}

static enum word word_of(const struct node_ready *n, const struct beat *b, uint64_t now_ms)
{
    if (now_ms - b->renewed_ms >= n->grace_ms) {
        return WORD_SILENT;
    }
    return b->renewed ? WORD_ALIVE : WORD_NONE;
}

static struct json *ready_of(struct json *node)
{
    const struct json *all = json_at(node, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "type", ""), "Ready") == 0) {
            return json_item(all, i);
        }
    }
    return NULL;
}

static struct json *make_ready(struct json *node)
{
    struct json *c = json_new_object();

    json_set_str(c, "type", "Ready");
    json_append(json_make_array(node, "status.conditions"), c);
    return c;
}

static void say(struct node_ready *n, struct json *node, enum word word, int64_t now_s)
{
    struct json *c = ready_of(node);
    char time[TIME_TEXT];
    bool alive = word == WORD_ALIVE;
    const char *status = alive ? "True" : "Unknown";

    if (!c) {
        c = make_ready(node);
    }
    meta_format_time(now_s, time, sizeof(time));
    if (strcmp(json_str_at(c, "status", ""), status) != 0) {
        json_set_str(c, "status", status);
        json_set_str(c, "lastTransitionTime", time);
    }
    if (alive || !json_get(c, "lastHeartbeatTime")) {
        json_set_str(c, "lastHeartbeatTime", time);
    }
    json_set_str(c, "reason", alive ? reason_alive : "NodeStatusUnknown");
    json_set_str(c, "message",
                 alive ? "the node's agent renews its lease"
                       : "the node's agent has stopped renewing its lease");
    (void)change_put(n->api, n->nodes, node); /* nobody asked for the object */
}

static bool is_to_be_said(struct json *node, enum word word, int64_t now_s)
{
    const struct json *c = ready_of(node);
    const char *status = json_str_at(c, "status", "Unknown");

    if (word == WORD_SILENT) {
        return !c || strcmp(status, "Unknown") != 0;
    }
    int64_t beat_s = meta_parse_time(json_str_at(c, "lastHeartbeatTime", ""));
    bool ours = strcmp(json_str_at(c, "reason", ""), reason_alive) == 0;
    return strcmp(status, "Unknown") == 0 || (ours && now_s - beat_s >= NODE_READY_BEAT_MS / 1000);
}

/* Whether something was written. */
static bool settle(struct node_ready *n, struct beat *b, uint64_t now_ms, int64_t now_s)
{
    const struct object *o = store_find(api_store(n->api), n->nodes, "", b->name);
    enum word word = word_of(n, b, now_ms);

    if (!o || word == WORD_NONE ||
        (word == b->word && o->rv == b->node_rv && now_ms - b->looked_ms < NODE_READY_BEAT_MS)) {
        return false;
    }
    AUTO(json) struct json *node = object_parse(o, "v1");
    bool changes = node && is_to_be_said(node, word, now_s);
    if (changes) {
        say(n, node, word, now_s);
        o = store_find(api_store(n->api), n->nodes, "", b->name);
    }
    b->word = word;
    b->node_rv = o ? o->rv : 0;
    b->looked_ms = now_ms;
    return changes;
}

/* Neither the node nor the lease is there any more. */
static bool is_over(struct node_ready *n, const struct beat *b)
{
    const struct store *s = api_store(n->api);

    return !store_find(s, n->leases, lease_namespace, b->name) &&
           !store_find(s, n->nodes, "", b->name);
}

void node_ready_look(struct node_ready *n, uint64_t now_ms, int64_t now_s)
{
    unsigned written = 0;

    hear(n, now_ms, false);
    map_for_each (m, &n->beats) {
        struct beat *b = container_of(m, struct beat, node);
        if (is_over(n, b)) {
            map_remove(&n->beats, m);
            beat_free(b);
        } else if (written < NODE_READY_CHANGES && store_accepts(api_store(n->api))) {
            written += settle(n, b, now_ms, now_s);
        }
    }
}

static void run(struct task *t, unsigned why)
{
    struct node_ready *n = container_of(t, struct node_ready, task);

    (void)why; /* it is time to look */
    node_ready_look(n, clock_mono_ms(), clock_wall_s());
    timer_set(&n->timer, t, NODE_READY_LOOK_MS);
}

struct node_ready *node_ready_new(struct api *api, struct loop *l, uint64_t grace_ms)
{
    struct node_ready *n = mem_new(struct node_ready);

    n->api = api;
    n->grace_ms = grace_ms;
    n->nodes = kind_named("", "Node");
    n->leases = kind_named("coordination.k8s.io", "Lease");
    map_init(&n->beats);
    task_init(&n->task, l, "nodes", run);
    hear(n, clock_mono_ms(), true);
    task_wake(&n->task, WAKE_START);
    return n;
}

void node_ready_free(struct node_ready *n)
{
    if (!n) {
        return;
    }
    timer_clear(&n->timer);
    task_fini(&n->task);
    map_for_each (m, &n->beats) {
        map_remove(&n->beats, m);
        beat_free(container_of(m, struct beat, node));
    }
    map_fini(&n->beats);
    mem_free(n);
}
