/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_api.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct fake_pod {
    struct list in_api;
    struct pod *pod;
    enum pod_phase phase;
    bool ready;
    char trouble[200];
};

struct fake_event {
    struct list in_api;
    struct pod_event event;
};

struct pod_write {
    struct task *task;
    int asked; /* the first answer is: later */
    int result;
    char uid[32];
    char secret[32];
    unsigned life_s;
};

static struct fake_api *of(struct pod_source *s)
{
    return container_of(s, struct fake_api, source);
}

static struct fake_pod *find(const struct fake_api *a, const char *name)
{
    list_for_each (n, &a->pods) {
        struct fake_pod *p = container_of(n, struct fake_pod, in_api);
        if (strcmp(p->pod->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

static void tell(struct fake_api *a, enum pod_event_kind kind, const struct pod *pod)
{
    struct fake_event *e = mem_new(struct fake_event);

    e->event.kind = kind;
    e->event.pod = pod ? pod_dup(pod) : NULL;
    (void)snprintf(e->event.namespace, sizeof(e->event.namespace), "shop");
    memcpy(e->event.mode, a->mode, sizeof(e->event.mode));
    list_append(&a->events, &e->in_api);
    if (a->reader) {
        task_wake(a->reader, WAKE_CHILD);
    }
}

static void own(struct pod_source *s, struct task *t)
{
    of(s)->reader = t;
}

static int next(struct pod_source *s, struct pod_event *out)
{
    struct list *n = list_take_first(&of(s)->events);

    if (!n) {
        return -EAGAIN;
    }
    struct fake_event *e = container_of(n, struct fake_event, in_api);
    *out = e->event;
    mem_free(e);
    return 1;
}

/* NULL when this is the request that fails. */
static struct pod_write *begin(struct fake_api *a, struct task *t, bool *out_fails)
{
    struct pod_write *w = mem_new(struct pod_write);

    w->task = t;
    *out_fails = a->requests++ == a->fail_at || a->is_away;
    w->result = *out_fails ? -ERR_UNAVAILABLE : 0;
    return w;
}

static struct pod_write *announce(struct pod_source *s, struct task *t, const struct pod *pod,
                                  bool enabled)
{
    bool fails;
    struct pod_write *w = begin(of(s), t, &fails);
    struct fake_pod *p = find(of(s), pod->name);

    if (!fails && !p) {
        w->result = -ERR_NOT_FOUND;
    } else if (!fails) {
        p->pod->is_announced = enabled;
        tell(of(s), POD_EVENT_POD, p->pod);
    }
    return w;
}

static struct pod_write *create(struct pod_source *s, struct task *t, const struct pod_spec *spec)
{
    bool fails;
    struct fake_api *a = of(s);
    struct pod_write *w = begin(a, t, &fails);

    if (!fails && find(a, spec->name)) {
        w->result = -ERR_EXISTS;
    } else if (!fails) {
        struct fake_pod *p = mem_new(struct fake_pod);
        (void)snprintf(w->uid, sizeof(w->uid), "uid-%u", ++a->uids);
        p->pod = mem_new(struct pod);
        p->pod->uid = mem_strdup(w->uid);
        p->pod->namespace = mem_strdup(spec->namespace);
        p->pod->name = mem_strdup(spec->name);
        p->pod->service_account = mem_strdup(spec->service_account);
        list_append(&a->pods, &p->in_api);
        tell(a, POD_EVENT_POD, p->pod);
    }
    return w;
}

static struct pod_write *set_phase(struct pod_source *s, struct task *t,
                                   const struct pod_spec *spec, enum pod_phase phase, bool ready)
{
    bool fails;
    struct pod_write *w = begin(of(s), t, &fails);
    struct fake_pod *p = find(of(s), spec->name);

    if (!fails && !p) {
        w->result = -ERR_NOT_FOUND;
    } else if (!fails) {
        p->phase = phase;
        p->ready = ready;
        (void)snprintf(p->trouble, sizeof(p->trouble), "%s", spec->trouble ? spec->trouble : "");
        memcpy(p->pod->ips, spec->ips, spec->ip_count * sizeof(spec->ips[0]));
        p->pod->ip_count = spec->ip_count;
        tell(of(s), POD_EVENT_POD, p->pod);
    }
    return w;
}

static void forget(struct fake_pod *p)
{
    list_remove(&p->in_api);
    pod_free(p->pod);
    mem_free(p);
}

static struct pod_write *remove_pod(struct pod_source *s, struct task *t, const char *namespace,
                                    const char *name)
{
    bool fails;
    struct pod_write *w = begin(of(s), t, &fails);
    struct fake_pod *p = find(of(s), name);

    (void)namespace;
    if (!fails && !p) {
        w->result = -ERR_NOT_FOUND;
    } else if (!fails) {
        tell(of(s), POD_EVENT_POD_GONE, p->pod);
        forget(p);
    }
    return w;
}

static struct pod_write *token(struct pod_source *s, struct task *t, const struct pod_spec *spec,
                               const char *uid)
{
    bool fails;
    struct fake_api *a = of(s);
    struct pod_write *w = begin(a, t, &fails);
    const struct fake_pod *p = find(a, spec->name);

    if (!fails && (!p || strcmp(p->pod->uid, uid) != 0)) {
        w->result = -ERR_NOT_FOUND;
    } else if (!fails) {
        (void)snprintf(w->secret, sizeof(w->secret), "token-%u", ++a->tokens);
        w->life_s = a->token_life_s;
    }
    return w;
}

static int result(struct pod_write *w, struct diag *why)
{
    if (w->asked++ == 0) {
        task_wake(w->task, WAKE_CHILD);
        return -EAGAIN;
    }
    return w->result < 0 ? FAIL(why, w->result, "API: %s", err_text(w->result)) : 0;
}

static const char *uid(const struct pod_write *w)
{
    return w->uid;
}

static const char *secret(const struct pod_write *w, unsigned *out_life_s)
{
    *out_life_s = w->life_s;
    return w->secret;
}

static void drop(struct pod_write *w)
{
    mem_free(w);
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

void fake_api_start(struct fake_api *a)
{
    *a = (struct fake_api){.source.ops = &ops, .fail_at = -1, .token_life_s = 3600};
    list_init(&a->pods);
    list_init(&a->events);
}

static void drop_events(struct fake_api *a)
{
    struct list *n;

    while ((n = list_take_first(&a->events))) {
        struct fake_event *e = container_of(n, struct fake_event, in_api);
        pod_free(e->event.pod);
        mem_free(e);
    }
}

void fake_api_stop(struct fake_api *a)
{
    drop_events(a);
    while (!list_is_empty(&a->pods)) {
        forget(container_of(a->pods.next, struct fake_pod, in_api));
    }
}

void fake_api_replay(struct fake_api *a)
{
    drop_events(a);
    a->reader = NULL;
    tell(a, POD_EVENT_NAMESPACE, NULL);
    list_for_each (n, &a->pods) {
        tell(a, POD_EVENT_POD, container_of(n, struct fake_pod, in_api)->pod);
    }
    tell(a, POD_EVENT_SYNCED, NULL);
}

void fake_api_ask_waypoint(struct fake_api *a, const char *name)
{
    struct fake_pod *p = mem_new(struct fake_pod);
    char uid[32];

    (void)snprintf(uid, sizeof(uid), "uid-%u", ++a->uids);
    p->pod = mem_new(struct pod);
    p->pod->uid = mem_strdup(uid);
    p->pod->namespace = mem_strdup("shop");
    p->pod->name = mem_strdup(name);
    p->pod->service_account = mem_strdup("way");
    p->pod->gateway = mem_strdup("way");
    p->pod->dataplane_mode = mem_strdup("none");
    list_append(&a->pods, &p->in_api);
    tell(a, POD_EVENT_POD, p->pod);
}

void fake_api_unask(struct fake_api *a, const char *name)
{
    struct fake_pod *p = find(a, name);

    p->pod->is_ending = true;
    tell(a, POD_EVENT_POD, p->pod);
}

void fake_api_delete(struct fake_api *a, const char *name)
{
    struct fake_pod *p = find(a, name);

    tell(a, POD_EVENT_POD_GONE, p->pod);
    forget(p);
}

bool fake_api_is_ready(const struct fake_api *a, const char *name)
{
    const struct fake_pod *p = find(a, name);

    return p && p->ready;
}

const char *fake_api_trouble(const struct fake_api *a, const char *name)
{
    const struct fake_pod *p = find(a, name);

    return p ? p->trouble : "";
}

int fake_api_phase(const struct fake_api *a, const char *name)
{
    const struct fake_pod *p = find(a, name);

    return p ? (int)p->phase : -1;
}
