/* SPDX-License-Identifier: Apache-2.0 */
#include "node/agent.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

static struct log_scope scope = LOG_SCOPE("agent");

struct known_namespace {
    struct map_node by_name;
    char name[64];
    char mode[16];
};

struct known_pod {
    struct map_node by_uid;
    struct enrolment *enrolment;
    struct pod *moved; /* the same in another network namespace: taken in when this one is over */
};

/* One for which there is no room: as the API told of it last. */
struct away_pod {
    struct list in_agent;
    struct pod *pod;
};

struct agent {
    struct enrolment_env env;
    struct task task;
    struct list watchers;
    struct map pods;
    struct list away; /* whom the API told of last is the last to be taken in */
    unsigned away_count;
    struct map namespaces;
    char **excluded; /* NULL at the end */
    char *netns_dir;
    unsigned syncs;
    struct repairs repairs;
    struct repairs host_repairs;
    bool open; /* proxies are served */
};

static struct known_namespace *find_namespace(const struct agent *a, const char *name)
{
    for (struct map_node *n = map_find(&a->namespaces, map_hash_str(name)); n;
         n = map_find_next(n)) {
        struct known_namespace *k = container_of(n, struct known_namespace, by_name);
        if (strcmp(k->name, name) == 0) {
            return k;
        }
    }
    return NULL;
}

static struct known_pod *find_pod(const struct agent *a, const char *uid)
{
    for (struct map_node *n = map_find(&a->pods, map_hash_str(uid)); n; n = map_find_next(n)) {
        struct known_pod *k = container_of(n, struct known_pod, by_uid);
        if (strcmp(enrolment_pod(k->enrolment)->uid, uid) == 0) {
            return k;
        }
    }
    return NULL;
}

static bool is_excluded(const struct agent *a, const char *namespace)
{
    for (char **name = a->excluded; *name; name++) {
        if (strcmp(*name, namespace) == 0) {
            return true;
        }
    }
    return false;
}

static bool wants_mesh(const struct agent *a, const struct pod *p)
{
    const struct known_namespace *k = find_namespace(a, p->namespace);

    return !is_excluded(a, p->namespace) && pod_wants_mesh(p, k ? k->mode : NULL);
}

/* ---- events */

static void part_with(struct known_pod *k)
{
    struct pod *last = pod_dup(enrolment_pod(k->enrolment)); /* the event may hold names alone */

    last->is_ending = true;
    pod_free(MOVE(k->moved));
    enrolment_update(k->enrolment, last, false);
    enrolment_end(k->enrolment);
}

/* Whoever had its name and place is gone: while the API was away nobody could say so. */
static void part_with_namesakes(struct agent *a, const struct pod *p)
{
    map_for_each (n, &a->pods) {
        struct known_pod *k = container_of(n, struct known_pod, by_uid);
        const struct pod *other = enrolment_pod(k->enrolment);
        if (strcmp(other->name, p->name) == 0 && strcmp(other->namespace, p->namespace) == 0) {
            part_with(k);
        }
    }
}

/* ---- pods beyond the limit: they wait for others to end */

static struct pod *take_away(struct agent *a, struct away_pod *w)
{
    struct pod *p = w->pod;

    list_remove(&w->in_agent);
    a->away_count--;
    mem_free(w);
    return p;
}

/* It comes anew, or is gone, and so is whoever had its name. Whether it was there. */
static bool drop_away(struct agent *a, const struct pod *p)
{
    bool found = false;

    list_for_each_safe (n, &a->away) {
        struct away_pod *w = container_of(n, struct away_pod, in_agent);
        bool same = strcmp(w->pod->uid, p->uid) == 0;
        if (same ||
            (strcmp(w->pod->name, p->name) == 0 && strcmp(w->pod->namespace, p->namespace) == 0)) {
            pod_free(take_away(a, w));
        }
        found |= same;
    }
    return found;
}

static void turn_away(struct agent *a, struct pod *take_pod, bool is_news)
{
    if (is_news) {
        log_error(&scope,
                  "too many pods on this node: this one is kept out of the mesh until others end; "
                  "start it on another node",
                  F_STR("namespace", take_pod->namespace), F_STR("name", take_pod->name),
                  F_U64("limit", AGENT_PODS_MAX));
    }
    if (a->away_count == AGENT_AWAY_MAX) {
        pod_free(take_pod);
        return;
    }
    struct away_pod *w = mem_new(struct away_pod);
    w->pod = take_pod;
    list_append(&a->away, &w->in_agent);
    a->away_count++;
}

/* A pod whose sandbox died gets another one, with another address. What was found, and what proxies hold,
 * is the namespace of the first. */
static bool has_moved(const struct known_pod *k, const struct pod *now)
{
    const struct pod *was = enrolment_pod(k->enrolment);

    return k->moved || (enrolment_standing(k->enrolment) != ENROLMENT_OUT && was->ip_count > 0 &&
                        now->ip_count > 0 && !ip_equal(&was->ips[0], &now->ips[0]));
}

static void on_pod(struct agent *a, struct pod *take_pod)
{
    struct known_pod *k = find_pod(a, take_pod->uid);
    bool wanted = wants_mesh(a, take_pod);

    if (k && !take_pod->is_terminal && has_moved(k, take_pod)) {
        pod_free(k->moved);
        k->moved = take_pod;
        enrolment_end(k->enrolment);
        return;
    }
    if (k) {
        bool ended = take_pod->is_terminal;
        pod_free(MOVE(k->moved));
        enrolment_update(k->enrolment, take_pod, wanted);
        if (ended) {
            enrolment_end(k->enrolment);
        }
        return;
    }
    part_with_namesakes(a, take_pod);
    bool was_away = drop_away(a, take_pod);
    if (take_pod->is_terminal || take_pod->host_network || take_pod->is_node_proxy) {
        pod_free(take_pod);
        return;
    }
    if (a->pods.count == AGENT_PODS_MAX) {
        turn_away(a, take_pod, !was_away);
        return;
    }
    k = mem_new(struct known_pod);
    map_insert(&a->pods, &k->by_uid, map_hash_str(take_pod->uid));
    k->enrolment = enrolment_new(&a->env, take_pod, wanted, &a->task);
}

static void on_pod_gone(struct agent *a, struct pod *take_pod)
{
    struct known_pod *k = find_pod(a, take_pod->uid);

    if (k) {
        part_with(k);
    }
    (void)drop_away(a, take_pod); /* whether it was there */
    pod_free(take_pod);
}

static void reconsider(struct agent *a, const char *namespace)
{
    map_for_each (n, &a->pods) {
        struct enrolment *e = container_of(n, struct known_pod, by_uid)->enrolment;
        if (strcmp(enrolment_pod(e)->namespace, namespace) == 0) {
            struct pod *same = pod_dup(enrolment_pod(e));
            enrolment_update(e, same, wants_mesh(a, same));
        }
    }
}

static void on_namespace(struct agent *a, const struct pod_event *event)
{
    struct known_namespace *k = find_namespace(a, event->namespace);

    if (!k && a->namespaces.count == AGENT_NAMESPACES_MAX) {
        log_error(&scope, "too many namespaces", F_STR("name", event->namespace));
        return;
    }
    if (!k) {
        k = mem_new(struct known_namespace);
        memcpy(k->name, event->namespace, sizeof(k->name));
        map_insert(&a->namespaces, &k->by_name, map_hash_str(k->name));
    }
    memcpy(k->mode, event->mode, sizeof(k->mode));
    reconsider(a, k->name);
}

static void on_namespace_gone(struct agent *a, const struct pod_event *event)
{
    struct known_namespace *k = find_namespace(a, event->namespace);

    if (k) {
        map_remove(&a->namespaces, &k->by_name);
        mem_free(k);
        reconsider(a, event->namespace);
    }
}

static void on_event(struct agent *a, struct pod_event *event)
{
    switch (event->kind) {
    case POD_EVENT_POD:
        on_pod(a, MOVE(event->pod));
        break;
    case POD_EVENT_POD_GONE:
        on_pod_gone(a, MOVE(event->pod));
        break;
    case POD_EVENT_NAMESPACE:
        on_namespace(a, event);
        break;
    case POD_EVENT_NAMESPACE_GONE:
        on_namespace_gone(a, event);
        break;
    case POD_EVENT_SYNCED:
        a->syncs++;
        log_info(&scope, "pods are known", F_U64("pods", a->pods.count));
        break;
    }
}

/* ---- the task */

static void bury(struct agent *a)
{
    map_for_each (n, &a->pods) {
        struct known_pod *k = container_of(n, struct known_pod, by_uid);
        if (enrolment_standing(k->enrolment) != ENROLMENT_OVER) {
            continue;
        }
        enrolment_free(MOVE(k->enrolment));
        if (k->moved) {
            bool wanted = wants_mesh(a, k->moved);
            k->enrolment = enrolment_new(&a->env, MOVE(k->moved), wanted, &a->task);
        } else {
            map_remove(&a->pods, n);
            mem_free(k);
        }
    }
}

static void fill_room(struct agent *a)
{
    while (a->pods.count < AGENT_PODS_MAX && !list_is_empty(&a->away)) {
        on_pod(a, take_away(a, container_of(a->away.next, struct away_pod, in_agent)));
    }
}

static bool all_located(const struct agent *a)
{
    map_for_each (n, &a->pods) {
        if (!enrolment_is_located(container_of(n, struct known_pod, by_uid)->enrolment)) {
            return false;
        }
    }
    return true;
}

static void run(struct task *t, unsigned why)
{
    struct agent *a = container_of(t, struct agent, task);
    struct pod_event event = {0};

    (void)why; /* events and changed standings are both looked at each time */
    while (a->env.source->ops->next(a->env.source, &event) > 0) {
        on_event(a, &event);
        event = (struct pod_event){0};
    }
    bury(a);
    fill_room(a);
    if (a->syncs > 0 && !a->open && all_located(a)) {
        a->open = true;
        zds_server_open(a->env.zds);
    }
    list_for_each (n, &a->watchers) {
        task_wake(container_of(n, struct agent_watcher, in_agent)->task, WAKE_CHILD);
    }
}

static char **dup_list(const char *const *list)
{
    size_t count = 0;

    while (list && list[count]) {
        count++;
    }
    char **copy = mem_array(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        copy[i] = mem_strdup(list[i]);
    }
    return copy;
}

static void free_list(char **list)
{
    for (char **at = list; at && *at; at++) {
        mem_free(*at);
    }
    mem_free(list);
}

int agent_new(const struct agent_config *config, struct agent **out, struct diag *why)
{
    AUTO(agent) struct agent *a = mem_new(struct agent);

    list_init(&a->watchers);
    map_init(&a->pods);
    list_init(&a->away);
    map_init(&a->namespaces);
    task_init(&a->task, config->loop, "agent", run);
    a->netns_dir = mem_strdup(config->netns_dir);
    a->env = (struct enrolment_env){
        .loop = config->loop,
        .jobs = config->jobs,
        .capture = config->capture,
        .source = config->source,
        .netns_dir = a->netns_dir,
        .told_ms = config->told_ms > 0 ? config->told_ms : ENROLMENT_TOLD_MS,
        .repairs = &a->repairs,
        .host = &a->host_repairs,
        .probes = config->probes,
    };
    a->excluded = dup_list(config->excluded);
    int r = zds_server_new(config->loop, config->zds_path, &a->task, &a->env.zds, why);
    if (r < 0) {
        return r;
    }
    config->source->ops->own(config->source, &a->task);
    task_wake(&a->task, WAKE_START);
    *out = MOVE(a);
    return 0;
}

void agent_free(struct agent *a)
{
    if (!a) {
        return;
    }
    map_for_each (n, &a->pods) {
        struct known_pod *k = container_of(n, struct known_pod, by_uid);
        enrolment_free(k->enrolment);
        pod_free(k->moved);
        mem_free(k);
    }
    list_for_each_safe (n, &a->away) {
        pod_free(take_away(a, container_of(n, struct away_pod, in_agent)));
    }
    map_for_each (n, &a->namespaces) {
        mem_free(container_of(n, struct known_namespace, by_name));
    }
    map_fini(&a->pods);
    map_fini(&a->namespaces);
    zds_server_free(a->env.zds);
    task_fini(&a->task);
    free_list(a->excluded);
    mem_free(a->netns_dir);
    mem_free(a);
}

bool agent_is_ready(const struct agent *a)
{
    return a->open && zds_server_proxies(a->env.zds) > 0;
}

const struct enrolment *agent_find(const struct agent *a, const char *uid)
{
    const struct known_pod *k = find_pod(a, uid);

    return k ? k->enrolment : NULL;
}

void agent_each_pod(const struct agent *a, void (*each)(void *arg, const struct pod *p), void *arg)
{
    map_for_each (n, &a->pods) {
        each(arg, enrolment_pod(container_of(n, struct known_pod, by_uid)->enrolment));
    }
}

bool agent_is_synced(const struct agent *a)
{
    return a->syncs > 0;
}

unsigned agent_syncs(const struct agent *a)
{
    return a->syncs;
}

void agent_watch(struct agent *a, struct agent_watcher *w, struct task *t)
{
    w->task = t;
    list_append(&a->watchers, &w->in_agent);
}

struct agent_counts agent_counts(const struct agent *a)
{
    struct agent_counts c = {.pods = (unsigned)a->pods.count,
                             .turned_away = a->away_count,
                             .proxies = zds_server_proxies(a->env.zds),
                             .repairs = a->repairs.count + a->host_repairs.count,
                             .host_repairs = a->host_repairs};

    map_for_each (n, &a->pods) {
        enum enrolment_standing s =
            enrolment_standing(container_of(n, struct known_pod, by_uid)->enrolment);
        c.joining += s == ENROLMENT_JOINING;
        c.members += s == ENROLMENT_IN;
        c.leaving += s == ENROLMENT_LEAVING;
    }
    return c;
}
