/* SPDX-License-Identifier: Apache-2.0 */
#include "control/status_writer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "kube/call.h"
#include "kube/resource.h"

static struct log_scope scope = LOG_SCOPE("status");

#define GATEWAY_API "gateway.networking.k8s.io"

static const struct kube_resource resources[WRITE_RESOURCES] = {
    [WRITE_POLICY] = {.group = "security.istio.io",
                      .version = "v1",
                      .plural = "authorizationpolicies",
                      .namespaced = true},
    [WRITE_AUTHENTICATION] = {.group = "security.istio.io",
                              .version = "v1",
                              .plural = "requestauthentications",
                              .namespaced = true},
    [WRITE_SERVICE] = {.group = "", .version = "v1", .plural = "services", .namespaced = true},
    [WRITE_ACCOUNT] = {.group = "",
                       .version = "v1",
                       .plural = "serviceaccounts",
                       .namespaced = true},
    [WRITE_DEPLOYMENT] = {.group = "apps",
                          .version = "v1",
                          .plural = "deployments",
                          .namespaced = true},
    [WRITE_GATEWAY] = {.group = GATEWAY_API,
                       .version = "v1",
                       .plural = "gateways",
                       .namespaced = true},
    [WRITE_CLASS] = {.group = GATEWAY_API, .version = "v1", .plural = "gatewayclasses"},
    [WRITE_HTTP_ROUTE] = {.group = GATEWAY_API,
                          .version = "v1",
                          .plural = "httproutes",
                          .namespaced = true},
    [WRITE_GRPC_ROUTE] = {.group = GATEWAY_API,
                          .version = "v1",
                          .plural = "grpcroutes",
                          .namespaced = true},
    [WRITE_TCP_ROUTE] = {.group = GATEWAY_API,
                         .version = "v1alpha2",
                         .plural = "tcproutes",
                         .namespaced = true},
    [WRITE_RULE] = {.group = "networking.istio.io",
                    .version = "v1",
                    .plural = "destinationrules",
                    .namespaced = true},
};

static const enum kube_verb verbs[] = {[VERB_APPLY] = KUBE_APPLY,
                                       [VERB_MERGE] = KUBE_MERGE_PATCH,
                                       [VERB_CREATE] = KUBE_CREATE,
                                       [VERB_DELETE] = KUBE_DELETE};

struct status_write {
    struct list in_writer; /* under way, or waiting */
    struct index_write what;
    struct kube_call *call; /* NULL while waiting */
    bool is_asking;         /* the call reads what is there (index_write.label) */
    bool was_told;          /* in the log, that it is not written */
    unsigned tries;         /* that were answered */
    uint64_t due_ms;
};

struct status_writer {
    struct task task;
    struct timer timer;
    struct loop *loop;
    struct kube_client *client;
    struct index *index;
    struct list writing;
    struct list waiting;
    unsigned writing_count;
    unsigned waiting_count;
    struct status_writer_stats stats;
};

static void write_free(struct status_write *x)
{
    list_remove(&x->in_writer);
    kube_call_free(x->call);
    json_unref(x->what.body);
    mem_free(x);
}

/* The observed generation is a text, as the definition of the kind has it. */
static struct json *condition_of(const struct index_status *s)
{
    struct json *c = json_new_object();
    char text[CLOCK_TEXT];

    json_set_str(c, "type", "ZtunnelAccepted");
    json_set_str(c, "status", s->status ? "True" : "False");
    json_set_str(c, "reason", s->reason);
    json_set_str(c, "message", s->message);
    (void)snprintf(text, sizeof(text), "%lld", (long long)s->generation);
    json_set_str(c, "observedGeneration", text);
    clock_format(clock_wall_ns() / 1000000000u * 1000000000u, text, sizeof(text));
    (void)snprintf(text + 19, sizeof(text) - 19, "Z"); /* Kubernetes' times have whole seconds */
    json_set_str(c, "lastTransitionTime", text);
    return c;
}

/* The manager of this condition alone, so that writers of other conditions are not in its way. */
static struct index_write policy_write(const struct index_status *s)
{
    struct json *body =
        written_object("security.istio.io/v1", "AuthorizationPolicy", s->ns, s->name);

    json_append(json_make_array(body, "status.conditions"), condition_of(s));
    return (struct index_write){.resource = WRITE_POLICY,
                                .verb = VERB_APPLY,
                                .manager = "istio-ambient-ztunnel-policy",
                                .sub = "status",
                                .body = body};
}

static struct status_write *write_new(const struct index_write *take_w)
{
    struct status_write *x = mem_new(struct status_write);

    list_init(&x->in_writer);
    x->what = *take_w;
    return x;
}

static const char *ns_of(const struct status_write *x)
{
    return json_str_at(x->what.body, "metadata.namespace", "");
}

static const char *name_of(const struct status_write *x)
{
    return json_str_at(x->what.body, "metadata.name", "");
}

static void call(struct status_writer *w, struct status_write *x, const struct kube_ask *ask)
{
    x->call = kube_call_new(w->client, ask, &w->task);
    list_append(&w->writing, &x->in_writer);
    w->writing_count++;
}

static void begin_asking(struct status_writer *w, struct status_write *x)
{
    struct kube_ask ask = {.verb = KUBE_GET,
                           .resource = &resources[x->what.resource],
                           .ns = ns_of(x),
                           .name = name_of(x)};

    x->is_asking = true;
    call(w, x, &ask);
}

/* options: of VERB_DELETE, else NULL. */
static void begin_writing(struct status_writer *w, struct status_write *x,
                          const struct json *options)
{
    struct kube_ask ask = {.verb = verbs[x->what.verb],
                           .resource = &resources[x->what.resource],
                           .ns = ns_of(x),
                           .name = x->what.verb == VERB_CREATE ? NULL : name_of(x),
                           .sub = x->what.sub,
                           .body = x->what.verb == VERB_DELETE ? options : x->what.body,
                           .field_manager = x->what.manager,
                           .force = x->what.verb == VERB_APPLY};

    x->is_asking = false;
    call(w, x, &ask);
}

static void begin(struct status_writer *w, struct status_write *x)
{
    if (x->what.label) {
        begin_asking(w, x);
    } else {
        begin_writing(w, x, NULL);
    }
}

/* What a service asks for and has not is for the log too: its connections may be refused. */
static void log_trouble(const struct status_write *x)
{
    const struct json *c = json_item(json_at(x->what.body, "status.conditions"), 0);

    if (x->what.resource == WRITE_SERVICE && strcmp(json_str_at(c, "status", ""), "False") == 0) {
        log_warn(&scope, "a service has not the waypoint that it asks for",
                 F_STR("namespace", ns_of(x)), F_STR("service", name_of(x)),
                 F_STR("reason", json_str_at(c, "reason", "")),
                 F_STR("why", json_str_at(c, "message", "")));
    }
}

/* Gone objects need no second try, nor do conflicts: what is there now comes by the watch. But where
 * the object was read first, what came between may be no news to the index, as a Deployment's status. */
static bool is_done(const struct status_write *x, int r)
{
    return r == 0 || r == -ERR_NOT_FOUND || r == -ERR_EXISTS ||
           (r == -ERR_CONFLICT && !x->what.label);
}

/* It was the server's word about this object, not that it is away or has no time. */
static bool is_answer(int r)
{
    return r == -ERR_DENIED || r == -ERR_SYNTAX || r == -ERR_VERSION || r == -ERR_CONFLICT ||
           r == -ERR_HTTP_STATUS;
}

static void settle(struct status_writer *w, struct status_write *x, int r, const struct diag *why)
{
    bool done = is_done(x, r);

    w->stats.written += r == 0;
    if (r == 0) {
        log_trouble(x);
    }
    w->stats.failed += !done;
    x->tries += is_answer(r);
    if (!done && !x->was_told) {
        x->was_told = true;
        log_warn(&scope, "an object was not written",
                 F_STR("kind", resources[x->what.resource].plural), F_STR("namespace", ns_of(x)),
                 F_STR("name", name_of(x)), F_DIAG(why));
    }
    if (done || x->tries >= STATUS_TRIES || w->waiting_count >= STATUS_RETRIES_MAX) {
        write_free(x);
        return;
    }
    kube_call_free(x->call);
    x->call = NULL;
    x->due_ms = loop_now_ms(w->loop) + STATUS_RETRY_MS;
    list_append(&w->waiting, &x->in_writer);
    w->waiting_count++;
}

/* ---- what is there already */

static bool is_owned(const struct json *object, const struct json *as)
{
    const struct json *all = json_array_at(object, "metadata.ownerReferences");
    const char *uid =
        json_str_at(json_item(json_array_at(as, "metadata.ownerReferences"), 0), "uid", "");

    for (size_t i = 0; i < json_count(all); i++) {
        if (strcmp(json_str_at(json_item(all, i), "uid", ""), uid) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_ours(const struct status_write *x, const struct json *object)
{
    const struct json *ours = json_object_at(x->what.body, "metadata.labels");
    const char *label =
        json_str(json_get(json_object_at(object, "metadata.labels"), x->what.label), NULL);

    return label && (x->what.verb == VERB_DELETE
                         ? is_owned(object, x->what.body)
                         : strcmp(label, json_str(json_get(ours, x->what.label), "")) == 0);
}

static struct json *delete_options(const struct json *object)
{
    struct json *o = written_object("v1", "DeleteOptions", "", "");
    struct json *only = json_make_object(o, "preconditions");

    (void)json_remove(o, "metadata");
    json_set_str(only, "uid", json_str_at(object, "metadata.uid", ""));
    json_set_str(only, "resourceVersion", json_str_at(object, "metadata.resourceVersion", ""));
    return o;
}

/* As it was seen: a change meanwhile is a conflict, and comes by the watch. */
static void write_over(struct status_writer *w, struct status_write *x, const struct json *object)
{
    AUTO(json) struct json *options = NULL;

    if (x->what.verb == VERB_DELETE) {
        options = delete_options(object);
    } else {
        json_set_str(json_get(x->what.body, "metadata"), "resourceVersion",
                     json_str_at(object, "metadata.resourceVersion", ""));
    }
    begin_writing(w, x, options);
}

/* True: it goes on. */
static bool go_on(struct status_writer *w, struct status_write *x, int r, const struct json *object)
{
    bool is_missing = r == -ERR_NOT_FOUND && x->what.verb != VERB_DELETE;

    if (is_missing) {
        (void)json_remove(json_get(x->what.body, "metadata"), "resourceVersion");
    } else if (r < 0) {
        return false;
    }
    kube_call_free(x->call);
    x->call = NULL;
    if (is_missing) {
        begin_writing(w, x, NULL);
    } else if (is_ours(x, object)) {
        write_over(w, x, object);
    } else {
        write_free(x);
    }
    return true;
}

static int take(struct status_write *x, struct kube_answer *answer, struct diag *why)
{
    int r = kube_call_take(x->call, answer, why);

    return r == 0 ? kube_answer_error(answer, why) : r;
}

static void collect(struct status_writer *w)
{
    list_for_each_safe (n, &w->writing) {
        struct status_write *x = container_of(n, struct status_write, in_writer);
        struct kube_answer answer = {.body = NULL};
        struct diag why = {0};
        int r = take(x, &answer, &why);
        if (r == -EAGAIN) {
            continue;
        }
        list_remove(n);
        w->writing_count--;
        if (!x->is_asking || !go_on(w, x, r, answer.body)) {
            settle(w, x, r, &why);
        }
        kube_answer_fini(&answer);
    }
}

/* Those whose time has come, in the order in which they failed; then new ones. */
static void start_more(struct status_writer *w)
{
    struct index_status s;
    struct index_write next;

    while (w->writing_count < STATUS_WRITES_MAX && !list_is_empty(&w->waiting)) {
        struct status_write *x = container_of(w->waiting.next, struct status_write, in_writer);
        if (x->due_ms > loop_now_ms(w->loop)) {
            timer_set(&w->timer, &w->task, x->due_ms - loop_now_ms(w->loop));
            break;
        }
        list_remove(&x->in_writer);
        w->waiting_count--;
        begin(w, x);
    }
    while (w->writing_count < STATUS_WRITES_MAX && index_next_status(w->index, &s)) {
        next = policy_write(&s);
        begin(w, write_new(&next));
    }
    while (w->writing_count < STATUS_WRITES_MAX && index_next_write(w->index, &next)) {
        begin(w, write_new(&next));
    }
}

static void run(struct task *t, unsigned why)
{
    struct status_writer *w = container_of(t, struct status_writer, task);

    (void)why; /* every wake is a hint */
    collect(w);
    start_more(w);
}

struct status_writer *status_writer_new(struct loop *l, struct kube_client *client,
                                        struct index *index)
{
    struct status_writer *w = mem_new(struct status_writer);

    w->loop = l;
    w->client = client;
    w->index = index;
    list_init(&w->writing);
    list_init(&w->waiting);
    task_init(&w->task, l, "status writer", run);
    return w;
}

void status_writer_free(struct status_writer *w)
{
    if (!w) {
        return;
    }
    list_for_each_safe (n, &w->writing) {
        write_free(container_of(n, struct status_write, in_writer));
    }
    list_for_each_safe (n, &w->waiting) {
        write_free(container_of(n, struct status_write, in_writer));
    }
    timer_clear(&w->timer);
    task_fini(&w->task);
    mem_free(w);
}

void status_writer_poke(struct status_writer *w)
{
    task_wake(&w->task, WAKE_CONFIG);
}

const struct status_writer_stats *status_writer_stats(const struct status_writer *w)
{
    return &w->stats;
}
