/* SPDX-License-Identifier: Apache-2.0 */
#include "control/waypoint_pods.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"
#include "control/reconcile.h"
#include "control/waypoint_plan.h"
#include "io/loop.h"
#include "kube/call.h"
#include "kube/kube_watch.h"
#include "kube/resource.h"

static struct log_scope scope = LOG_SCOPE("waypoints");

#define LABEL_RUNS     "ambit.io/runs-waypoints"
#define NOTE_PROGRAM   "ambit.io/program"
#define NOTE_TEMPLATE  "ambit.io/template"
#define NOTE_REPLICAS  "ambit.io/replicas"
#define NOTE_RESTARTED "ambit.io/restarted-at"
#define GRACE_S        40 /* the agent gives it 35 s to drain */

enum { SEEN_LIMIT_MS = 5000, RETRY_FIRST_MS = 100, RETRY_LAST_MS = 30000, HASH_TEXT = 17 };

enum kind { GATEWAYS, CLASSES, NODES, PODS, LEASES, KINDS };

static const struct {
    struct kube_resource resource;
    const char *label_selector;
    const char *ns;
} kinds[KINDS] = {
    [GATEWAYS] = {{"gateway.networking.k8s.io", "v1", "gateways", true}, NULL},
    [CLASSES] = {{"gateway.networking.k8s.io", "v1", "gatewayclasses", false}, NULL},
    [NODES] = {{"", "v1", "nodes", false}, NULL},
    [PODS] = {{"", "v1", "pods", true}, MANAGED_LABEL "=" WAYPOINT_MANAGED},
    [LEASES] = {{"coordination.k8s.io", "v1", "leases", true}, NULL, "kube-node-lease"},
};

struct write {
    struct list in_writer;
    struct kube_call *call;
    enum plan_kind kind;
    char *ns;
    char *name; /* of a pod to be made: what is known once it is */
};

struct waypoint_pods {
    struct task task;
    struct timer retry; /* after writes that failed */
    struct timer seen;  /* while something is unseen */
    struct timer age;   /* leases grow old without a word */
    struct kube_client *client;
    struct kube_watch *watches[KINDS];
    struct json *known[KINDS]; /* objects by "namespace/name" */
    struct list writes;
    struct json *beats;  /* by node: when its Lease changed last, by our clock: theirs may differ */
    int64_t heard_ms;    /* the newest of them */
    struct json *unseen; /* "namespace/name" of pods: true when made, false when ended */
    uint64_t unseen_until_ms;
    unsigned retry_ms; /* 0: the last round went well */
    bool round_failed;
    struct waypoint_pods_stats stats;
};

/* ---- what a Gateway makes */

static const char *note(const struct json *o, const char *key, const char *fallback)
{
    return json_str(json_get(json_object_at(o, "metadata.annotations"), key), fallback);
}

static const char *label(const struct json *o, const char *key)
{
    return json_str(json_get(json_object_at(o, "metadata.labels"), key), "");
}

unsigned waypoint_replicas_of(const struct json *gateway)
{
    const char *text = note(gateway, NOTE_REPLICAS, "1");
    uint32_t n;

    return num_parse_u32(text, strlen(text), PLAN_REPLICAS_MAX, &n) == 0 ? n : 1;
}

static void set_labels(const struct json *gateway, struct json *labels)
{
    const char *name = json_str_at(gateway, "metadata.name", "");

    gateway_mark(gateway, labels);
    json_set_str(labels, "istio.io/dataplane-mode", "none"); /* it speaks HBONE itself */
    json_set_str(labels, "sidecar.istio.io/inject", "false");
    json_set_str(labels, "service.istio.io/canonical-name", name);
    json_set_str(labels, "service.istio.io/canonical-revision", "latest");
}

static struct json *container(void)
{
    static const struct {
        const char *name;
        int port;
    } ports[] = {{"mesh", 15008}, {"metrics", 15020}, {"status-port", 15021}};
    struct json *c = json_new_object();

    json_set_str(c, "name", "waypoint");
    json_set_str(c, "image", "local");
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        struct json *port = json_new_object();
        json_set_str(port, "name", ports[i].name);
        json_set_int(port, "containerPort", ports[i].port);
        json_append(json_make_array(c, "ports"), port);
    }
    return c;
}

/* FNV-1a: two templates must differ, nobody is to be resisted. */
static void hash_of(const struct json *j, char out[static HASH_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    AUTO(strbuf) struct strbuf text = {0};
    uint64_t h = 14695981039346656037u;

    json_print(j, JSON_PRINT_SORTED, &text);
    for (size_t i = 0; i < text.len; i++) {
        h = (h ^ (uint8_t)text.p[i]) * 1099511628211u;
    }
    for (int i = 0; i < HASH_TEXT - 1; i++) {
        out[i] = digits[h >> (4 * i) & 15];
    }
    out[HASH_TEXT - 1] = '\0';
}

struct json *waypoint_pod_of(const struct json *gateway)
{
    struct json *pod = json_new_object();
    struct json *metadata = json_make_object(pod, "metadata");
    struct json *spec = json_make_object(pod, "spec");
    const char *name = json_str_at(gateway, "metadata.name", "");
    AUTO(strbuf) struct strbuf prefix = {0};
    char hash[HASH_TEXT];

    strbuf_printf(&prefix, "%s-", name);
    json_set_str(pod, "apiVersion", "v1");
    json_set_str(pod, "kind", "Pod");
    json_set_str(metadata, "namespace", json_str_at(gateway, "metadata.namespace", ""));
    json_set_str(metadata, "generateName", strbuf_text(&prefix));
    set_labels(gateway, json_make_object(metadata, "labels"));
    gateway_pass_on(gateway, "annotations", json_make_object(metadata, "annotations"));
    json_set_str(json_get(metadata, "annotations"), NOTE_RESTARTED,
                 note(gateway, NOTE_RESTARTED, ""));
    json_set_str(json_get(metadata, "annotations"), NOTE_PROGRAM, "waypoint");
    json_append(json_make_array(metadata, "ownerReferences"), gateway_owner_reference(gateway));
    json_set_str(spec, "serviceAccountName", gateway_account_name(gateway));
    json_set_bool(spec, "automountServiceAccountToken", false);
    json_set_int(spec, "terminationGracePeriodSeconds", GRACE_S);
    json_append(json_make_array(spec, "containers"), container());
    hash_of(pod, hash);
    json_set_str(json_get(metadata, "annotations"), NOTE_TEMPLATE, hash);
    return pod;
}

/* ---- what is known */

static void key_of(const struct json *o, struct strbuf *out)
{
    strbuf_printf(out, "%s/%s", json_str_at(o, "metadata.namespace", ""),
                  json_str_at(o, "metadata.name", ""));
}

/* Nobody was heard for as long as makes a node silent: then it was we who did not hear, or the API that
 * took nothing, and who is first to be heard again is no more alive than the others were. */
static void forgive(struct waypoint_pods *w, int64_t now)
{
    struct json *beats = json_new_object();

    for (struct json_iter it = {0}; json_each(w->beats, &it);) {
        int64_t beat = json_int(it.value, 0);
        json_set_int(beats, it.key, w->heard_ms - beat < WAYPOINT_NODE_MS ? now : beat);
    }
    json_unref(w->beats);
    w->beats = beats;
}

static void hear(struct waypoint_pods *w, const char *node)
{
    int64_t now = (int64_t)loop_now_ms(w->task.loop);

    if (now - w->heard_ms >= WAYPOINT_NODE_MS) {
        forgive(w, now);
    }
    w->heard_ms = now;
    json_set_int(w->beats, node, now);
}

static void take(struct waypoint_pods *w, enum kind kind, const struct kube_event *e)
{
    AUTO(strbuf) struct strbuf key = {0};

    if (e->type == KUBE_SYNCED) {
        return;
    }
    key_of(e->object, &key);
    if (kind == LEASES) {
        hear(w, json_str_at(e->object, "metadata.name", ""));
        return;
    }
    if (e->type == KUBE_DELETED) {
        (void)json_remove(w->known[kind], strbuf_text(&key));
    } else {
        json_set(w->known[kind], strbuf_text(&key), json_ref(e->object));
    }
}

static void drain(struct waypoint_pods *w)
{
    struct kube_event e;

    for (unsigned k = 0; k < KINDS; k++) {
        while (kube_watch_next(w->watches[k], &e) == 1) {
            take(w, (enum kind)k, &e);
            json_unref(e.object);
        }
    }
}

static bool is_synced(const struct waypoint_pods *w)
{
    for (unsigned k = 0; k < KINDS; k++) {
        if (!kube_watch_is_synced(w->watches[k])) {
            return false;
        }
    }
    return true;
}

/* What the last round did has come back by the watch, or will not any more. */
static bool has_seen_all(struct waypoint_pods *w)
{
    if (loop_now_ms(w->task.loop) >= w->unseen_until_ms) {
        json_clear(w->unseen);
        return true;
    }
    for (struct json_iter it = {0}; json_each(w->unseen, &it);) {
        const struct json *pod = json_get(w->known[PODS], it.key);
        bool made = json_bool(it.value, false);
        if (made ? !pod : pod && !json_at(pod, "metadata.deletionTimestamp")) {
            return false;
        }
    }
    json_clear(w->unseen);
    return true;
}

static bool is_ours(const struct waypoint_pods *w, const struct json *gateway)
{
    const char *class = json_str_at(gateway, "spec.gatewayClassName", "");
    AUTO(strbuf) struct strbuf key = {0};

    strbuf_printf(&key, "/%s", class);
    const struct json *known = json_get(w->known[CLASSES], strbuf_text(&key));
    bool is_waypoint =
        known ? strcmp(json_str_at(known, "spec.controllerName", ""), WAYPOINT_CONTROLLER) == 0
              : strcmp(class, WAYPOINT_CLASS) == 0;
    return is_waypoint && gateway_is_managed(gateway) &&
           !json_at(gateway, "metadata.deletionTimestamp");
}

/* ---- planning */

struct facts {
    struct plan_pod *pods;
    const struct json **objects; /* of pods */
    unsigned pod_count;
    struct plan_node *nodes;
    unsigned node_count;
};

static bool is_ready(const struct json *pod)
{
    const struct json *all = json_array_at(pod, "status.conditions");

    for (size_t i = 0; i < json_count(all); i++) {
        const struct json *c = json_item(all, i);
        if (strcmp(json_str_at(c, "type", ""), "Ready") == 0) {
            return strcmp(json_str_at(c, "status", ""), "True") == 0;
        }
    }
    return false;
}

static bool runs_waypoints(const struct json *node)
{
    return strcmp(label(node, LABEL_RUNS), "true") == 0 &&
           !json_bool_at(node, "spec.unschedulable", false);
}

static bool is_silent(const struct waypoint_pods *w, const char *node)
{
    const struct json *beat = json_get(w->beats, node);
    int64_t now = (int64_t)loop_now_ms(w->task.loop);

    return beat && kube_watch_diag(w->watches[LEASES])->code == 0 &&
           now - json_int(beat, now) >= WAYPOINT_NODE_MS;
}

/* Somebody could take over. */
static bool has_live_node(const struct waypoint_pods *w)
{
    for (struct json_iter it = {0}; json_each(w->known[NODES], &it);) {
        if (runs_waypoints(it.value) && !is_silent(w, json_str_at(it.value, "metadata.name", ""))) {
            return true;
        }
    }
    return false;
}

static bool is_over(const struct waypoint_pods *w, const struct json *pod)
{
    const char *phase = json_str_at(pod, "status.phase", "");
    AUTO(strbuf) struct strbuf node = {0};

    strbuf_printf(&node, "/%s", json_str_at(pod, "spec.nodeName", ""));
    return strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0 ||
           !json_get(w->known[NODES], strbuf_text(&node)) ||
           (is_silent(w, json_str_at(pod, "spec.nodeName", "")) && has_live_node(w));
}

static void facts_read(const struct waypoint_pods *w, struct facts *f)
{
    *f = (struct facts){
        .pods = mem_array(json_count(w->known[PODS]) + 1, sizeof(*f->pods)),
        .objects = mem_array(json_count(w->known[PODS]) + 1, sizeof(*f->objects)),
        .nodes = mem_array(json_count(w->known[NODES]) + 1, sizeof(*f->nodes)),
    };
    for (struct json_iter it = {0}; json_each(w->known[PODS], &it);) {
        if (strcmp(note(it.value, NOTE_PROGRAM, ""), "waypoint") == 0) {
            f->objects[f->pod_count] = it.value;
            f->pods[f->pod_count++] = (struct plan_pod){
                .name = json_str_at(it.value, "metadata.name", ""),
                .node = json_str_at(it.value, "spec.nodeName", ""),
                .is_ready = is_ready(it.value),
                .is_ending = json_at(it.value, "metadata.deletionTimestamp") != NULL,
                .is_over = is_over(w, it.value),
            };
        }
    }
    for (struct json_iter it = {0}; json_each(w->known[NODES], &it);) {
        if (runs_waypoints(it.value) && !is_silent(w, json_str_at(it.value, "metadata.name", ""))) {
            f->nodes[f->node_count++].name = json_str_at(it.value, "metadata.name", "");
        }
    }
}

static void facts_fini(struct facts *f)
{
    mem_free(f->pods);
    mem_free(f->objects);
    mem_free(f->nodes);
}

static void mark_own(struct facts *f, const char *ns, const char *gateway, const char *template)
{
    for (unsigned i = 0; i < f->pod_count; i++) {
        const struct json *o = f->objects[i];
        f->pods[i].is_own = strcmp(json_str_at(o, "metadata.namespace", ""), ns) == 0 &&
                            strcmp(label(o, GATEWAY_LABEL), gateway) == 0;
        f->pods[i].is_current = strcmp(note(o, NOTE_TEMPLATE, ""), template) == 0;
    }
}

/* ---- writing */

static bool has_room(const struct waypoint_pods *w)
{
    unsigned n = 0;

    list_for_each (at, &w->writes) {
        n++;
    }
    return n < WAYPOINT_WRITES_MAX;
}

static void begin(struct waypoint_pods *w, enum plan_kind kind, const char *ns, const char *name,
                  const struct json *body)
{
    struct kube_ask ask = {.verb = kind == PLAN_MAKE ? KUBE_CREATE : KUBE_DELETE,
                           .resource = &kinds[PODS].resource,
                           .ns = ns,
                           .name = kind == PLAN_MAKE ? NULL : name,
                           .body = body};
    struct write *x = mem_new(struct write);

    x->kind = kind;
    x->ns = mem_strdup(ns);
    x->name = mem_strdup(name);
    x->call = kube_call_new(w->client, &ask, &w->task);
    list_append(&w->writes, &x->in_writer);
}

static void begin_make(struct waypoint_pods *w, const struct json *template, const char *node)
{
    AUTO(json) struct json *pod = json_clone(template);
    const char *ns = json_str_at(pod, "metadata.namespace", "");

    json_set_str(json_get(pod, "spec"), "nodeName", node);
    log_info(&scope, "a replica is made", F_STR("namespace", ns),
             F_STR("gateway", label(pod, GATEWAY_LABEL)), F_STR("node", node));
    begin(w, PLAN_MAKE, ns, "", pod);
}

static void begin_end(struct waypoint_pods *w, const char *ns, const struct plan_step *s)
{
    AUTO(json) struct json *options = json_new_object();

    json_set_str(options, "apiVersion", "v1");
    json_set_str(options, "kind", "DeleteOptions");
    if (s->kind == PLAN_DROP) {
        json_set_int(options, "gracePeriodSeconds", 0);
    }
    log_info(&scope, "a replica is ended", F_STR("namespace", ns), F_STR("name", s->pod));
    begin(w, s->kind, ns, s->pod, options);
}

static void write_free(struct write *x)
{
    list_remove(&x->in_writer);
    kube_call_free(x->call);
    mem_free(x->ns);
    mem_free(x->name);
    mem_free(x);
}

static void settle(struct waypoint_pods *w, struct write *x, int r,
                   const struct kube_answer *answer, const struct diag *why)
{
    AUTO(strbuf) struct strbuf key = {0};

    if (r < 0 && !(r == -ERR_NOT_FOUND && x->kind != PLAN_MAKE)) {
        log_warn(&scope, "replicas of a waypoint are not as they should be",
                 F_STR("namespace", x->ns), F_STR("name", x->name), F_DIAG(why));
        w->stats.failed++;
        w->round_failed = true;
        return;
    }
    w->retry_ms = 0;
    if (x->kind == PLAN_MAKE) {
        key_of(answer->body, &key);
        w->stats.made++;
    } else {
        strbuf_printf(&key, "%s/%s", x->ns, x->name);
        w->stats.ended++;
    }
    json_set_bool(w->unseen, strbuf_text(&key), x->kind == PLAN_MAKE);
    w->unseen_until_ms = loop_now_ms(w->task.loop) + SEEN_LIMIT_MS;
}

static void collect(struct waypoint_pods *w)
{
    list_for_each_safe (n, &w->writes) {
        struct write *x = container_of(n, struct write, in_writer);
        struct kube_answer answer = {.body = NULL};
        struct diag why = {0};
        int r = kube_call_take(x->call, &answer, &why);
        if (r == -EAGAIN) {
            continue;
        }
        r = r == 0 ? kube_answer_error(&answer, &why) : r;
        settle(w, x, r, &answer, &why);
        kube_answer_fini(&answer);
        write_free(x);
    }
}

/* ---- rounds */

static void plan_one(struct waypoint_pods *w, struct facts *f, const char *ns, const char *name,
                     const struct json *gateway)
{
    AUTO(json) struct json *template = gateway ? waypoint_pod_of(gateway) : NULL;
    struct plan_step steps[PLAN_STEPS_MAX];
    struct plan_input in = {.replicas = gateway ? waypoint_replicas_of(gateway) : 0,
                            .pods = f->pods,
                            .nodes = f->nodes,
                            .node_count = f->node_count,
                            .pod_count = f->pod_count};

    mark_own(f, ns, name, note(template, NOTE_TEMPLATE, ""));
    unsigned n = waypoint_plan(&in, steps);
    for (unsigned i = 0; i < n && has_room(w); i++) {
        if (steps[i].kind == PLAN_MAKE) {
            begin_make(w, template, steps[i].node);
        } else {
            begin_end(w, ns, &steps[i]);
        }
    }
}

/* Pods whose Gateway is gone. */
static void plan_orphans(struct waypoint_pods *w, struct facts *f)
{
    for (unsigned i = 0; i < f->pod_count && has_room(w); i++) {
        const struct json *o = f->objects[i];
        const char *ns = json_str_at(o, "metadata.namespace", "");
        AUTO(strbuf) struct strbuf key = {0};
        strbuf_printf(&key, "%s/%s", ns, label(o, GATEWAY_LABEL));
        const struct json *gateway = json_get(w->known[GATEWAYS], strbuf_text(&key));
        struct plan_step step = {f->pods[i].is_over ? PLAN_DROP : PLAN_END, NULL, f->pods[i].name};
        if ((!gateway || !is_ours(w, gateway)) && (!f->pods[i].is_ending || f->pods[i].is_over)) {
            begin_end(w, ns, &step);
        }
    }
}

static void plan_all(struct waypoint_pods *w)
{
    struct facts f;

    facts_read(w, &f);
    w->stats.gateways = 0;
    w->stats.pods = f.pod_count;
    for (struct json_iter it = {0}; json_each(w->known[GATEWAYS], &it);) {
        if (is_ours(w, it.value)) {
            w->stats.gateways++;
            plan_one(w, &f, json_str_at(it.value, "metadata.namespace", ""),
                     json_str_at(it.value, "metadata.name", ""), it.value);
        }
    }
    plan_orphans(w, &f);
    facts_fini(&f);
}

static void run(struct task *t, unsigned why)
{
    struct waypoint_pods *w = container_of(t, struct waypoint_pods, task);

    (void)why; /* every wake is a hint */
    drain(w);
    collect(w);
    if (!is_synced(w) || !list_is_empty(&w->writes)) {
        return;
    }
    if (w->round_failed) {
        w->round_failed = false;
        w->retry_ms = w->retry_ms > 0 ? MIN_OF(w->retry_ms * 2, (unsigned)RETRY_LAST_MS)
                                      : (unsigned)RETRY_FIRST_MS;
        timer_set(&w->retry, t, w->retry_ms);
    }
    if (timer_is_armed(&w->retry)) {
        return;
    }
    if (!has_seen_all(w)) {
        timer_set(&w->seen, t, SEEN_LIMIT_MS);
        return;
    }
    plan_all(w);
    if (json_count(w->beats) > 0) {
        timer_set(&w->age, t, WAYPOINT_NODE_MS / 4);
    }
}

/* ---- life */

struct waypoint_pods *waypoint_pods_new(struct loop *l, struct kube_client *client)
{
    struct waypoint_pods *w = mem_new(struct waypoint_pods);

    w->client = client;
    w->unseen = json_new_object();
    w->beats = json_new_object();
    list_init(&w->writes);
    task_init(&w->task, l, "waypoint pods", run);
    for (unsigned k = 0; k < KINDS; k++) {
        struct kube_watch_options o = {.resource = &kinds[k].resource,
                                       .ns = kinds[k].ns,
                                       .label_selector = kinds[k].label_selector};
        w->known[k] = json_new_object();
        w->watches[k] = kube_watch_new(client, &o, &w->task);
    }
    return w;
}

void waypoint_pods_free(struct waypoint_pods *w)
{
    if (!w) {
        return;
    }
    while (!list_is_empty(&w->writes)) {
        write_free(container_of(w->writes.next, struct write, in_writer));
    }
    for (unsigned k = 0; k < KINDS; k++) {
        kube_watch_free(w->watches[k]);
        json_unref(w->known[k]);
    }
    json_unref(w->unseen);
    json_unref(w->beats);
    timer_clear(&w->retry);
    timer_clear(&w->seen);
    timer_clear(&w->age);
    task_fini(&w->task);
    mem_free(w);
}

const struct waypoint_pods_stats *waypoint_pods_stats(const struct waypoint_pods *w)
{
    return &w->stats;
}
