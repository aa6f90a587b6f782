/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pods.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

static struct log_scope scope = LOG_SCOPE("pods");

enum handle_step {
    HANDLE_STARTING, /* the plane was told to start it */
    HANDLE_UP,
    HANDLE_STOPPING, /* the plane was told to stop it */
    HANDLE_GONE      /* its plane has nothing of it any more */
};

/* One pod on one plane. Crosses between two loops by its mails; each field belongs to one of them. */
struct handle {
    struct mail start;
    struct mail started;
    struct mail stop;
    struct mail stopped;
    struct list in_pods;
    struct pods *pods;
    struct plane *plane;
    struct pod *pod; /* the plane's */
    struct pod_info info;
    struct netns *netns;
    enum handle_step step;
    bool stop_wanted; /* while it was still starting */
    bool own;         /* the proxy itself */
    uint64_t drain_ms;
    int result;
    struct diag why;
};

/* What the agent knows by one uid. */
struct entry {
    struct map_node by_uid;
    struct pod_info info;
    struct netns *netns;
    struct handle *handle; /* NULL while pending */
    bool named;            /* in the snapshot under way */
};

struct pods {
    struct task task;
    struct timer retry;
    struct task *owner;
    struct plane *const *planes;
    unsigned plane_count;
    unsigned *load; /* pods of each plane */
    struct map entries;
    struct list handles;
    struct handle *awaited; /* the order under way; NULL: none */
    int result;
    struct diag why;
    struct pods_counts counts;
    bool own_failed;
    struct diag own_why;
};

/* ---- handles, on the plane's loop */

static void on_started(struct pod *p, int result, const struct diag *why)
{
    struct handle *h = p->arg;

    h->result = result;
    h->why = *why;
    if (result < 0) {
        h->pod = NULL;
    }
    loop_post(h->pods->task.loop, &h->started);
}

static void on_stopped(struct pod *p)
{
    struct handle *h = p->arg;

    h->pod = NULL;
    loop_post(h->pods->task.loop, &h->stopped);
}

static void deliver_start(struct mail *m)
{
    struct handle *h = container_of(m, struct handle, start);
    struct pod_spec spec = {.info = &h->info,
                            .netns = h->netns,
                            .started = on_started,
                            .stopped = on_stopped,
                            .arg = h};

    h->pod = pod_start(h->plane, &spec);
}

static void deliver_stop(struct mail *m)
{
    struct handle *h = container_of(m, struct handle, stop);

    pod_stop(h->pod, h->drain_ms);
}

/* ---- handles, on the control loop */

static void handle_free(struct handle *h)
{
    list_remove(&h->in_pods);
    pod_info_fini(&h->info);
    netns_unref(h->netns);
    mem_free(h);
}

static void handle_stop(struct handle *h, uint64_t drain_ms)
{
    if (h->step == HANDLE_STARTING) {
        h->stop_wanted = true;
        h->drain_ms = drain_ms;
        return;
    }
    /* A second stop may cut a drain short; the mail of the first has long been delivered by then only
     * if it was an order apart, so it is sent once. */
    if (h->step == HANDLE_UP) {
        h->step = HANDLE_STOPPING;
        h->drain_ms = drain_ms; /* the plane's from here on */
        h->pods->counts.active -= !h->own;
        loop_post(h->plane->loop, &h->stop);
    }
}

static void gone(struct handle *h)
{
    struct pods *p = h->pods;

    h->step = HANDLE_GONE;
    p->counts.alive--;
    for (unsigned i = 0; i < p->plane_count; i++) {
        p->load[i] -= p->planes[i] == h->plane;
    }
}

static void settle(struct pods *p, struct handle *h, int result, const struct diag *why)
{
    if (p->awaited == h) {
        p->awaited = NULL;
        p->result = result;
        if (why) {
            p->why = *why;
        }
    }
    task_wake(p->owner, WAKE_CHILD);
}

static struct entry *entry_of(struct pods *p, const struct handle *h)
{
    map_for_each (n, &p->entries) {
        struct entry *e = container_of(n, struct entry, by_uid);
        if (e->handle == h) {
            return e;
        }
    }
    return NULL;
}

static void start_failed(struct handle *h)
{
    struct pods *p = h->pods;
    struct entry *e = entry_of(p, h);

    log_error(&scope, "failed to start proxy", F_QUOTED("uid", h->info.uid), F_DIAG(&h->why));
    gone(h);
    if (e) {
        e->handle = NULL;
        p->counts.pending++;
        /* Its entry is there and it was to stop: the proxy drains, and nothing starts any more. */
        if (!h->stop_wanted && !timer_is_armed(&p->retry)) {
            timer_set(&p->retry, &p->task, PODS_RETRY_MS);
        }
    }
    if (h->own) {
        p->own_failed = true;
        p->own_why = h->why;
    }
    settle(p, h, h->result, &h->why);
    handle_free(h);
}

static void deliver_started(struct mail *m)
{
    struct handle *h = container_of(m, struct handle, started);

    if (h->result < 0) {
        start_failed(h);
        return;
    }
    h->step = HANDLE_UP;
    h->pods->counts.active += !h->own;
    h->pods->counts.started += !h->own;
    if (h->stop_wanted) {
        handle_stop(h, h->drain_ms);
        return;
    }
    settle(h->pods, h, 0, NULL);
}

static void deliver_stopped(struct mail *m)
{
    struct handle *h = container_of(m, struct handle, stopped);

    h->pods->counts.stopped += !h->own;
    gone(h);
    settle(h->pods, h, 0, NULL);
    handle_free(h);
}

static unsigned least_loaded(const struct pods *p)
{
    unsigned best = 0;

    for (unsigned i = 1; i < p->plane_count; i++) {
        best = p->load[i] < p->load[best] ? i : best;
    }
    return best;
}

static struct handle *handle_start(struct pods *p, const struct pod_info *info, struct netns *netns)
{
    struct handle *h = mem_new(struct handle);
    unsigned at = least_loaded(p);

    h->start.deliver = deliver_start;
    h->started.deliver = deliver_started;
    h->stop.deliver = deliver_stop;
    h->stopped.deliver = deliver_stopped;
    h->pods = p;
    h->plane = p->planes[at];
    pod_info_copy(&h->info, info);
    h->own = netns == NULL;
    h->netns = netns ? netns_ref(netns) : NULL;
    list_append(&p->handles, &h->in_pods);
    p->load[at]++;
    p->counts.alive++;
    loop_post(h->plane->loop, &h->start);
    return h;
}

/* ---- entries */

static struct entry *entry_find(const struct pods *p, const char *uid)
{
    for (struct map_node *n = map_find(&p->entries, map_hash_str(uid)); n; n = map_find_next(n)) {
        struct entry *e = container_of(n, struct entry, by_uid);
        if (strcmp(e->info.uid, uid) == 0) {
            return e;
        }
    }
    return NULL;
}

static void entry_free(struct pods *p, struct entry *e)
{
    if (!e->handle && e->netns) {
        p->counts.pending--;
    }
    map_remove(&p->entries, &e->by_uid);
    pod_info_fini(&e->info);
    netns_unref(e->netns);
    mem_free(e);
}

static struct entry *entry_make(struct pods *p, const struct pod_info *info)
{
    struct entry *e = mem_new(struct entry);

    pod_info_copy(&e->info, info);
    map_insert(&p->entries, &e->by_uid, map_hash_str(info->uid));
    return e;
}

static void answer_now(struct pods *p, int result)
{
    p->awaited = NULL;
    p->result = result;
    task_wake(p->owner, WAKE_CHILD);
}

static bool says_the_same(const struct pod_info *a, const struct pod_info *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->ns, b->ns) == 0 &&
           strcmp(a->service_account, b->service_account) == 0;
}

/* What the agent hands over may be anything; the proxy's own namespace is no pod's. */
static int check_netns(const struct netns *netns, struct diag *why)
{
    struct netns *own = NULL;

    if (!netns_is_genuine(netns)) {
        return FAIL(why, -EINVAL, "the descriptor is no network namespace");
    }
    int r = netns_from_thread(&own, why);
    if (r == 0 && netns_is_same(netns, own)) {
        r = FAIL(why, -EINVAL, "the namespace is the node proxy's own");
    }
    netns_unref(own);
    return r;
}

/* A namespace is one pod's: two would share its ports, and each answer for the other. */
static void end_others(struct pods *p, const struct netns *netns)
{
    map_for_each (n, &p->entries) {
        struct entry *e = container_of(n, struct entry, by_uid);
        if (!netns_is_same(e->netns, netns)) {
            continue;
        }
        log_warn(&scope, "another pod has this one's namespace", F_QUOTED("uid", e->info.uid),
                 F_QUOTED("name", e->info.name));
        if (e->handle) {
            handle_stop(e->handle, 0);
        }
        entry_free(p, e);
    }
}

void pods_add(struct pods *p, const struct pod_info *info, struct netns *take_netns)
{
    struct entry *e = entry_find(p, info->uid);
    int r = check_netns(take_netns, &p->why);

    if (r < 0) {
        netns_unref(take_netns);
        answer_now(p, r);
        return;
    }
    if (e && e->handle && netns_is_same(e->netns, take_netns) && says_the_same(&e->info, info)) {
        e->named = true;
        netns_unref(take_netns);
        answer_now(p, 0);
        return;
    }
    if (!e && p->entries.count >= PODS_MAX) {
        netns_unref(take_netns);
        answer_now(p, FAIL(&p->why, -ERR_LIMIT, "more than %d pods", PODS_MAX));
        return;
    }
    if (e && e->handle) {
        handle_stop(e->handle, 0);
    }
    if (e) {
        entry_free(p, e);
    }
    end_others(p, take_netns);
    log_info(&scope, "pod received, starting proxy", F_QUOTED("uid", info->uid),
             F_QUOTED("name", info->name), F_QUOTED("namespace", info->ns));
    e = entry_make(p, info);
    e->netns = take_netns;
    e->named = true;
    e->handle = handle_start(p, &e->info, e->netns);
    p->awaited = e->handle;
}

void pods_remove(struct pods *p, const char *uid)
{
    struct entry *e = entry_find(p, uid);
    struct handle *h = e ? e->handle : NULL;

    if (e) {
        log_info(&scope, "pod removed", F_QUOTED("uid", uid), F_QUOTED("name", e->info.name));
        entry_free(p, e);
    }
    if (!h) {
        answer_now(p, 0);
        return;
    }
    p->awaited = h;
    handle_stop(h, 0);
}

void pods_start_own(struct pods *p, const struct pod_info *info)
{
    (void)handle_start(p, info, NULL); /* found again among the handles */
}

bool pods_own_failed(const struct pods *p, struct diag *why)
{
    if (p->own_failed) {
        *why = p->own_why;
    }
    return p->own_failed;
}

int pods_result(struct pods *p, struct diag *why)
{
    if (p->awaited) {
        return -EAGAIN;
    }
    if (p->result < 0) {
        *why = p->why;
    }
    return p->result;
}

void pods_snapshot_begin(struct pods *p)
{
    map_for_each (n, &p->entries) {
        container_of(n, struct entry, by_uid)->named = false;
    }
}

void pods_snapshot_keep(struct pods *p, const char *uid)
{
    struct entry *e = entry_find(p, uid);

    log_info(&scope, "pod keep received. will not delete it when snapshot is sent",
             F_QUOTED("uid", uid));
    if (e) {
        e->named = true;
    }
}

void pods_snapshot_end(struct pods *p)
{
    map_for_each (n, &p->entries) {
        struct entry *e = container_of(n, struct entry, by_uid);
        if (e->named) {
            continue;
        }
        if (e->handle) {
            handle_stop(e->handle, 0);
        }
        entry_free(p, e);
    }
}

void pods_drain(struct pods *p, uint64_t drain_ms)
{
    timer_clear(&p->retry);
    list_for_each (n, &p->handles) {
        handle_stop(container_of(n, struct handle, in_pods), drain_ms);
    }
}

static void run(struct task *t, unsigned why)
{
    struct pods *p = container_of(t, struct pods, task);

    (void)why; /* every wake is a hint */
    if (!timer_is_due(&p->retry)) {
        return;
    }
    timer_clear(&p->retry);
    map_for_each (n, &p->entries) {
        struct entry *e = container_of(n, struct entry, by_uid);
        if (!e->handle && e->netns) {
            p->counts.pending--;
            e->handle = handle_start(p, &e->info, e->netns);
        }
    }
}

struct pods *pods_new(struct loop *l, struct plane *const *planes, unsigned plane_count,
                      struct task *owner)
{
    struct pods *p = mem_new(struct pods);

    task_init(&p->task, l, "pods", run);
    p->owner = owner;
    p->planes = planes;
    p->plane_count = plane_count;
    p->load = mem_array(plane_count, sizeof(*p->load));
    map_init(&p->entries);
    list_init(&p->handles);
    return p;
}

void pods_free(struct pods *p)
{
    if (!p) {
        return;
    }
    timer_clear(&p->retry);
    map_for_each (n, &p->entries) {
        entry_free(p, container_of(n, struct entry, by_uid));
    }
    list_for_each_safe (n, &p->handles) {
        handle_free(container_of(n, struct handle, in_pods));
    }
    map_fini(&p->entries);
    task_fini(&p->task);
    mem_free(p->load);
    mem_free(p);
}

struct pods_counts pods_counts(const struct pods *p)
{
    return p->counts;
}

struct json *pods_to_json(const struct pods *p)
{
    struct json *all = json_new_object();

    map_for_each (n, &p->entries) {
        const struct entry *e = container_of(n, struct entry, by_uid);
        struct json *one = json_new_object();
        struct json *info = json_new_object();
        json_set_str(info, "name", e->info.name);
        json_set_str(info, "namespace", e->info.ns);
        json_set_str(info, "serviceAccount", e->info.service_account);
        json_set_str(one, "state", e->handle && e->handle->step == HANDLE_UP ? "Up" : "Pending");
        json_set(one, "info", info);
        json_set(all, e->info.uid, one);
    }
    return all;
}
