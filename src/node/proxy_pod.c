/* SPDX-License-Identifier: Apache-2.0 */
#include "node/proxy_pod.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "io/loop.h"
#include "kube/call.h"
#include "kube/client.h"
#include "kube/resource.h"

static struct log_scope scope = LOG_SCOPE("agent");

static const struct kube_resource pods = {"", "v1", "pods", true};

struct proxy_pod {
    struct task task;
    struct timer rest; /* set: a write has failed */
    struct kube_client *client;
    char *namespace;
    char *name;
    bool is_connected;
    bool is_said; /* what the last write that went well has said is said_connected */
    bool said_connected;
    bool saying; /* what the call on its way says */
    struct kube_call *call;
    unsigned retry_ms; /* 0: it went well the last time */
};

/* ---- the status */

static struct json *condition(const char *type, bool is, const char *now)
{
    struct json *one = json_new_object();

    json_set_str(one, "type", type);
    json_set_str(one, "status", is ? "True" : "False");
    json_set_str(one, "lastTransitionTime", now);
    if (!is) {
        json_set_str(one, "reason", "ContainersNotReady");
        json_set_str(one, "message", "the node proxy is not connected to the node agent");
    }
    return one;
}

static struct json *container(bool ready, const char *now)
{
    struct json *one = json_new_object();

    json_set_str(one, "name", "ztunnel");
    json_set_str(one, "image", "local");
    json_set_str(one, "imageID", "");
    json_set_int(one, "restartCount", 0); /* nobody counts them */
    json_set_bool(one, "ready", ready);
    json_set_bool(one, "started", ready);
    json_set_str(json_make_object(one, ready ? "state.running" : "state.waiting"),
                 ready ? "startedAt" : "reason", ready ? now : "NotConnected");
    return one;
}

static struct json *body_of(bool ready)
{
    struct json *body = json_new_object();
    struct json *status = json_make_object(body, "status");
    struct json *conditions = json_make_array(status, "conditions");
    char now[CLOCK_TEXT];

    clock_format(clock_wall_ns(), now, sizeof(now));
    (void)snprintf(now + 19, sizeof(now) - 19, "Z"); /* Kubernetes' times have whole seconds */
    json_append(conditions, condition("ContainersReady", ready, now));
    json_append(conditions, condition("Ready", ready, now));
    json_append(json_make_array(status, "containerStatuses"), container(ready, now));
    return body;
}

/* ---- saying it */

static void say(struct proxy_pod *p)
{
    AUTO(json) struct json *body = body_of(p->is_connected);
    struct kube_ask ask = {.verb = KUBE_MERGE_PATCH,
                           .resource = &pods,
                           .ns = p->namespace,
                           .name = p->name,
                           .sub = "status",
                           .body = body};

    timer_clear(&p->rest);
    p->saying = p->is_connected;
    p->call = kube_call_new(p->client, &ask, &p->task);
}

static void settle(struct proxy_pod *p, int r, const struct diag *why)
{
    kube_call_free(MOVE(p->call));
    if (r == 0) {
        p->is_said = true;
        p->said_connected = p->saying;
        p->retry_ms = 0;
        return;
    }
    if (p->retry_ms == 0) {
        log_warn(&scope, "the node proxy's pod does not say how the proxy is",
                 F_STR("name", p->name), F_DIAG(why));
    }
    p->is_said = false; /* the write may have been made all the same */
    p->retry_ms = p->retry_ms == 0 ? (unsigned)PROXY_POD_RETRY_MIN_MS
                                   : MIN_OF(p->retry_ms * 2, (unsigned)PROXY_POD_RETRY_MAX_MS);
    timer_set(&p->rest, &p->task, p->retry_ms);
}

static void run(struct task *t, unsigned wake)
{
    struct proxy_pod *p = container_of(t, struct proxy_pod, task);
    struct diag why = {0};
    int r = p->call ? kube_call_done(p->call, &why) : -EAGAIN;

    (void)wake; /* what is there tells */
    if (r != -EAGAIN) {
        settle(p, r, &why);
    }
    bool resting = p->retry_ms > 0 && !timer_is_due(&p->rest);
    if (!p->call && !resting && (!p->is_said || p->said_connected != p->is_connected)) {
        say(p);
    }
}

struct proxy_pod *proxy_pod_new(struct kube_client *client, const char *namespace, const char *node)
{
    struct proxy_pod *p = mem_new(struct proxy_pod);
    struct strbuf name = {0};

    strbuf_printf(&name, "ztunnel-%s", node);
    p->client = client;
    p->namespace = mem_strdup(namespace);
    p->name = strbuf_take(&name);
    task_init(&p->task, kube_client_loop(client), "proxy pod", run);
    task_wake(&p->task, WAKE_START);
    return p;
}

void proxy_pod_free(struct proxy_pod *p)
{
    if (!p) {
        return;
    }
    kube_call_free(p->call);
    timer_clear(&p->rest);
    task_fini(&p->task);
    mem_free(p->namespace);
    mem_free(p->name);
    mem_free(p);
}

void proxy_pod_set(struct proxy_pod *p, bool connected)
{
    if (p->is_connected != connected) {
        p->is_connected = connected;
        task_wake(&p->task, WAKE_CHILD);
    }
}
