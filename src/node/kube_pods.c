/* SPDX-License-Identifier: Apache-2.0 */
#include "node/kube_pods.h"

#include <string.h>

#include "base/mem.h"
#include "kube/call.h"
#include "kube/client.h"
#include "kube/kube_watch.h"
#include "kube/resource.h"

static const struct kube_resource pods_resource = {
    .group = "", .version = "v1", .plural = "pods", .namespaced = true};
static const struct kube_resource accounts_resource = {
    .group = "", .version = "v1", .plural = "serviceaccounts", .namespaced = true};
static const struct kube_resource namespaces_resource = {
    .group = "", .version = "v1", .plural = "namespaces", .namespaced = false};

struct kube_pods {
    struct pod_source source;
    struct kube_client *client;
    struct kube_watch *pods; /* NULL until somebody reads */
    struct kube_watch *namespaces;
    struct pod_json_options options;
    char *mesh_namespace;
    char *selector;
    bool told_synced;
    bool was_away; /* the API, since SYNCED was told */
};

struct pod_write {
    struct kube_call *call; /* NULL once answered */
    int result;
    struct diag why;
    char *uid;    /* of a pod that was created */
    char *secret; /* of a token that was made */
    unsigned life_s;
};

static struct kube_pods *of(struct pod_source *s)
{
    return container_of(s, struct kube_pods, source);
}

/* ---- events */

static void own(struct pod_source *s, struct task *t)
{
    struct kube_pods *k = of(s);
    struct kube_watch_options pods = {.resource = &pods_resource, .field_selector = k->selector};
    struct kube_watch_options namespaces = {.resource = &namespaces_resource};

    kube_watch_free(k->pods);
    kube_watch_free(k->namespaces);
    k->pods = kube_watch_new(k->client, &pods, t);
    k->namespaces = kube_watch_new(k->client, &namespaces, t);
    k->told_synced = false;
    k->was_away = false;
}

/* An object that is no pod at all is passed over: -EAGAIN would say that there is no more. */
static bool read_pod_event(struct kube_pods *k, const struct kube_event *e, struct pod_event *out)
{
    *out = (struct pod_event){.kind = e->type == KUBE_DELETED ? POD_EVENT_POD_GONE : POD_EVENT_POD};
    return e->type != KUBE_SYNCED && pod_from_json(e->object, &k->options, &out->pod) == 0;
}

static bool read_namespace_event(const struct kube_event *e, struct pod_event *out)
{
    *out = (struct pod_event){.kind = e->type == KUBE_DELETED ? POD_EVENT_NAMESPACE_GONE
                                                              : POD_EVENT_NAMESPACE};
    return e->type != KUBE_SYNCED && pod_namespace_from_json(e->object, out) == 0;
}

static int next_namespace(struct kube_pods *k, struct pod_event *out)
{
    struct kube_event e;
    int r;

    while ((r = kube_watch_next(k->namespaces, &e)) > 0) {
        bool good = read_namespace_event(&e, out);
        (void)json_unref(e.object); /* returns NULL */
        if (good) {
            return 1;
        }
    }
    return r;
}

static int next_pod(struct kube_pods *k, struct pod_event *out)
{
    struct kube_event e;
    int r;

    while ((r = kube_watch_next(k->pods, &e)) > 0) {
        bool good = read_pod_event(k, &e, out);
        (void)json_unref(e.object); /* returns NULL */
        if (good) {
            return 1;
        }
    }
    return r;
}

/* Nothing more is to be told. Is that news? */
static bool is_newly_synced(struct kube_pods *k)
{
    bool is_well = kube_watch_diag(k->namespaces)->code == 0 && kube_watch_diag(k->pods)->code == 0;

    k->was_away = k->was_away || !is_well;
    if (!is_well || !kube_watch_is_synced(k->namespaces) || !kube_watch_is_synced(k->pods) ||
        (k->told_synced && !k->was_away)) {
        return false;
    }
    k->told_synced = true;
    k->was_away = false;
    return true;
}

/* Namespaces first: what a pod is depends on its namespace. */
static int next(struct pod_source *s, struct pod_event *out)
{
    struct kube_pods *k = of(s);
    int r = next_namespace(k, out);

    if (r <= 0) {
        r = next_pod(k, out);
    }
    if (r > 0) {
        return r;
    }
    if (is_newly_synced(k)) {
        *out = (struct pod_event){.kind = POD_EVENT_SYNCED};
        return 1;
    }
    return -EAGAIN;
}

/* ---- requests */

/* Takes the body. */
static struct pod_write *start(struct pod_source *s, struct task *t, struct kube_ask ask,
                               struct json *take_body)
{
    AUTO(json) struct json *body = take_body;
    struct pod_write *w = mem_new(struct pod_write);

    if (!ask.resource) {
        ask.resource = &pods_resource;
    }
    ask.body = body;
    w->call = kube_call_new(of(s)->client, &ask, t);
    return w;
}

static struct pod_write *announce(struct pod_source *s, struct task *t, const struct pod *pod,
                                  bool enabled)
{
    struct kube_ask ask = {
        .verb = KUBE_MERGE_PATCH, .ns = pod->namespace, .name = pod->name, .sub = "status"};

    return start(s, t, ask, pod_announce_patch(pod->uid, enabled));
}

static struct pod_write *create(struct pod_source *s, struct task *t, const struct pod_spec *spec)
{
    struct kube_ask ask = {.verb = KUBE_CREATE, .ns = spec->namespace};

    return start(s, t, ask, pod_create_body(spec));
}

static struct pod_write *set_phase(struct pod_source *s, struct task *t,
                                   const struct pod_spec *spec, enum pod_phase phase, bool ready)
{
    struct kube_ask ask = {
        .verb = KUBE_MERGE_PATCH, .ns = spec->namespace, .name = spec->name, .sub = "status"};

    return start(s, t, ask, pod_status_patch(spec, phase, ready));
}

static struct pod_write *remove_pod(struct pod_source *s, struct task *t, const char *namespace,
                                    const char *name)
{
    struct kube_ask ask = {.verb = KUBE_DELETE, .ns = namespace, .name = name};

    return start(s, t, ask, pod_delete_body());
}

static struct pod_write *token(struct pod_source *s, struct task *t, const struct pod_spec *spec,
                               const char *uid)
{
    struct kube_ask ask = {.verb = KUBE_CREATE,
                           .resource = &accounts_resource,
                           .ns = spec->namespace,
                           .name = spec->service_account,
                           .sub = "token"};

    return start(s, t, ask, pod_token_body(spec, uid));
}

/* What the server says of its end is not compared with our clock: how long was asked for is. */
static void take_secret(struct pod_write *w, const struct json *body)
{
    const char *text = json_str_at(body, "status.token", NULL);

    if (text) {
        w->secret = mem_strdup(text);
        w->life_s = (unsigned)json_int_at(body, "spec.expirationSeconds", POD_TOKEN_LIFE_S);
    }
}

static void settle(struct pod_write *w, int r, struct kube_answer *answer)
{
    if (r == 0) {
        r = kube_answer_error(answer, &w->why);
        w->uid = mem_strdup(json_str_at(answer->body, "metadata.uid", ""));
        take_secret(w, answer->body);
        kube_answer_fini(answer);
    }
    w->result = r;
    kube_call_free(MOVE(w->call));
}

static int result(struct pod_write *w, struct diag *why)
{
    struct kube_answer answer = {0};

    if (w->call) {
        int r = kube_call_take(w->call, &answer, &w->why);
        if (r == -EAGAIN) {
            return r;
        }
        settle(w, r, &answer);
    }
    if (w->result < 0) {
        *why = w->why;
    }
    return w->result;
}

static const char *uid(const struct pod_write *w)
{
    return w->uid ? w->uid : "";
}

static const char *secret(const struct pod_write *w, unsigned *out_life_s)
{
    *out_life_s = w->life_s;
    return w->secret ? w->secret : "";
}

static void drop(struct pod_write *w)
{
    if (w) {
        if (w->secret) {
            mem_free_secret(w->secret, strlen(w->secret));
        }
        kube_call_free(w->call);
        mem_free(w->uid);
        mem_free(w);
    }
}

static const struct pod_source_ops ops = {.own = own,
                                          .next = next,
                                          .announce = announce,
                                          .create = create,
                                          .set_phase = set_phase,
                                          .remove = remove_pod,
                                          .token = token,
                                          .result = result,
                                          .uid = uid,
                                          .secret = secret,
                                          .drop = drop};

struct kube_pods *kube_pods_new(struct kube_client *client, const char *node,
                                const struct pod_json_options *options)
{
    struct kube_pods *k = mem_new(struct kube_pods);
    struct strbuf selector = {0};

    k->source.ops = &ops;
    k->client = client;
    k->mesh_namespace = mem_strdup(options->mesh_namespace);
    k->options =
        (struct pod_json_options){.dns = options->dns, .mesh_namespace = k->mesh_namespace};
    strbuf_printf(&selector, "spec.nodeName=%s", node);
    k->selector = strbuf_take(&selector);
    return k;
}

void kube_pods_free(struct kube_pods *k)
{
    if (!k) {
        return;
    }
    kube_watch_free(k->pods);
    kube_watch_free(k->namespaces);
    mem_free(k->mesh_namespace);
    mem_free(k->selector);
    mem_free(k);
}

struct pod_source *kube_pods_source(struct kube_pods *k)
{
    return &k->source;
}
