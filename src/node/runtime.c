/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "node/local_json.h"
#include "node/local_token.h"
#include "node/pod_source.h"
#include "node/runtime_api.h"

static struct log_scope scope = LOG_SCOPE("local");

enum { RETRY_FIRST_MS = 1000, RETRY_LAST_MS = 60000 };

struct entry {
    struct list in_runtime;
    struct local_pod *pod;
};

/* A waypoint that could not be started. */
struct retry {
    struct list in_runtime;
    char *uid;
    uint64_t due_ms;
    unsigned pause_ms;
    bool is_wanted; /* its pod still exists */
};

struct runtime {
    struct local_env env;
    struct task task;
    struct agent_watcher watcher;
    struct runtime_api *api;
    struct list entries;
    struct list retries;
    struct timer next_retry;
    struct waypoint_setup waypoints;
    bool held;
    unsigned count;
    char *node;
    char run_dir[LOCAL_RUN_DIR_MAX];
    struct ip_prefix cidrs[RUNTIME_CIDRS_MAX];
    uint32_t cursor[RUNTIME_CIDRS_MAX]; /* the host number given out last */
    unsigned cidr_count;
};

/* ---- addresses */

static struct ip host_in(const struct ip_prefix *p, uint32_t number)
{
    struct ip ip = p->ip;
    size_t at = ip_size(&ip) - sizeof(number);

    be32_put(ip.bytes + at, be32_get(ip.bytes + at) | number);
    return ip;
}

static bool is_taken(const struct runtime *r, const struct ip *ip)
{
    list_for_each (n, &r->entries) {
        const struct local_record *record =
            local_pod_record(container_of(n, struct entry, in_runtime)->pod);
        for (unsigned i = 0; i < record->ip_count; i++) {
            if (ip_equal(&record->ips[i], ip)) {
                return true;
            }
        }
    }
    return false;
}

/* The first number, the last one (a broadcast address) and .1 (often a gateway) are not given out.
 * One that was just freed comes last, for others may still take it for the old pod. */
static int pick(struct runtime *r, unsigned i, struct ip *out, struct diag *why)
{
    enum { FIRST = 2, HOST_BITS_MAX = 16 };
    const struct ip_prefix *p = &r->cidrs[i];
    unsigned bits = (unsigned)ip_size(&p->ip) * 8 - p->len;
    uint32_t end = (1u << MIN_OF(bits, (unsigned)HOST_BITS_MAX)) - 1;

    for (uint32_t tries = FIRST; tries < end; tries++) {
        r->cursor[i] =
            r->cursor[i] + 1 < end ? MAX_OF(r->cursor[i] + 1, (uint32_t)FIRST) : (uint32_t)FIRST;
        struct ip ip = host_in(p, r->cursor[i]);
        if (!is_taken(r, &ip)) {
            *out = ip;
            return 0;
        }
    }
    return FAIL(why, -ERR_LIMIT, "no address is free");
}

/* ---- pods */

static void add(struct runtime *r, struct local_pod *pod)
{
    struct entry *e = mem_new(struct entry);

    e->pod = pod;
    list_append(&r->entries, &e->in_runtime);
    r->count++;
}

static int admit(const struct runtime *r, const struct local_spec *s, struct diag *why)
{
    if (r->count == RUNTIME_PODS_MAX) {
        return FAIL(why, -ERR_LIMIT, "%d local workloads run already", RUNTIME_PODS_MAX);
    }
    if (runtime_find(r, s->namespace, s->name)) {
        return FAIL(why, -ERR_EXISTS, "%s/%s runs already", s->namespace, s->name);
    }
    return 0;
}

static int pick_all(struct runtime *r, struct local_record *record, struct diag *why)
{
    int result = 0;

    for (unsigned i = 0; result == 0 && i < r->cidr_count; i++) {
        result = pick(r, i, &record->ips[i], why);
        record->ip_count++;
    }
    return result;
}

static int make_record(struct runtime *r, const struct json *spec, struct local_record *out,
                       struct diag *why)
{
    struct local_record record = {.json = json_clone(spec)};
    int result = local_spec_read(record.json, &record.spec, why);

    if (result == 0 && record.spec.waypoint) {
        result = FAIL(why, -ERR_SYNTAX, "waypoint: those come from the API (ambit waypoint apply)");
    }
    if (result == 0) {
        result = admit(r, &record.spec, why);
    }
    if (result == 0) {
        result = pick_all(r, &record, why);
    }
    if (result < 0) {
        local_record_fini(&record);
        return result;
    }
    record.uid = mem_strdup("");
    memcpy(record.run_dir, r->run_dir, sizeof(record.run_dir));
    *out = record;
    return 0;
}

int runtime_run(struct runtime *r, const struct json *spec, int stdio[static LOCAL_STDIO],
                struct local_pod **out, struct diag *why)
{
    struct local_record record;
    int result = make_record(r, spec, &record, why);

    if (result < 0) {
        return result;
    }
    *out = local_pod_new(&r->env, &record, stdio, &r->task);
    add(r, *out);
    return 0;
}

struct local_pod *runtime_find(const struct runtime *r, const char *namespace, const char *name)
{
    list_for_each (n, &r->entries) {
        struct local_pod *p = container_of(n, struct entry, in_runtime)->pod;
        const struct local_spec *s = &local_pod_record(p)->spec;
        if (strcmp(s->namespace, namespace) == 0 && strcmp(s->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

/* ---- waypoints: pods that the API asks for */

static struct local_pod *find_by_uid(const struct runtime *r, const char *uid)
{
    list_for_each (n, &r->entries) {
        struct local_pod *p = container_of(n, struct entry, in_runtime)->pod;
        if (strcmp(local_pod_record(p)->uid, uid) == 0) {
            return p;
        }
    }
    return NULL;
}

static unsigned free_slot(const struct runtime *r)
{
    bool taken[RUNTIME_PODS_MAX] = {false};
    unsigned slot;

    list_for_each (n, &r->entries) {
        const struct local_pod *p = container_of(n, struct entry, in_runtime)->pod;
        const struct local_spec *s = &local_pod_record(p)->spec;
        if (s->waypoint && waypoint_slot(s->user, &slot) && slot < RUNTIME_PODS_MAX) {
            taken[slot] = true;
        }
    }
    for (slot = 0; slot < RUNTIME_PODS_MAX && taken[slot]; slot++) {
    }
    return slot; /* there are fewer pods than slots: admit saw to it */
}

static int make_waypoint_record(struct runtime *r, const struct pod *pod, struct local_record *out,
                                struct diag *why)
{
    AUTO(strbuf) struct strbuf token = {0};
    struct local_record record = {.uid = mem_strdup(pod->uid)};
    struct local_spec names = {.namespace = pod->namespace, .name = pod->name};
    int result = admit(r, &names, why);

    memcpy(record.run_dir, r->run_dir, sizeof(record.run_dir));
    if (result == 0) {
        result = pick_all(r, &record, why);
    }
    if (result == 0) {
        result = local_token_path(&record, &token);
    }
    if (result == 0) {
        record.json =
            waypoint_spec(&r->waypoints, pod, free_slot(r), &record.ips[0], strbuf_text(&token));
        result = local_spec_read(record.json, &record.spec, why);
    }
    if (result < 0) {
        local_record_fini(&record);
        return result;
    }
    *out = record;
    return 0;
}

static struct retry *find_retry(const struct runtime *r, const char *uid)
{
    list_for_each (n, &r->retries) {
        struct retry *x = container_of(n, struct retry, in_runtime);
        if (strcmp(x->uid, uid) == 0) {
            return x;
        }
    }
    return NULL;
}

/* What failed is tried again, later each time; what has not run for long counts as failed. */
static void put_off(struct runtime *r, const char *uid)
{
    struct retry *x = find_retry(r, uid);

    if (!x) {
        x = mem_new(struct retry);
        x->uid = mem_strdup(uid);
        list_append(&r->retries, &x->in_runtime);
    }
    x->pause_ms = x->pause_ms > 0 ? MIN_OF(x->pause_ms * 2, (unsigned)RETRY_LAST_MS)
                                  : (unsigned)RETRY_FIRST_MS;
    x->due_ms = loop_now_ms(r->env.loop) + x->pause_ms;
}

static void retry_free(struct retry *x)
{
    list_remove(&x->in_runtime);
    mem_free(x->uid);
    mem_free(x);
}

static void start_waypoint(struct runtime *r, const struct pod *pod)
{
    int stdio[LOCAL_STDIO] = {-1, -1, -1};
    struct local_record record;
    struct diag why = {0};

    if (make_waypoint_record(r, pod, &record, &why) < 0) {
        log_warn(&scope, "waypoint cannot be run", F_STR("namespace", pod->namespace),
                 F_STR("name", pod->name), F_DIAG(&why));
        put_off(r, pod->uid);
        return;
    }
    log_info(&scope, "waypoint starts", F_STR("namespace", pod->namespace),
             F_STR("name", pod->name), F_STR("gateway", pod->gateway));
    add(r, local_pod_new(&r->env, &record, stdio, &r->task));
}

static void follow_pod(void *arg, const struct pod *pod)
{
    struct runtime *r = arg;

    if (!pod->gateway || pod->is_ending || pod->is_terminal) {
        return;
    }
    struct retry *x = find_retry(r, pod->uid);
    bool is_due = !x || x->due_ms <= loop_now_ms(r->env.loop);
    const struct local_pod *running = find_by_uid(r, pod->uid);
    if (x) {
        x->is_wanted = !running || !local_pod_has_started(running);
    }
    if (!running && is_due && !r->held) {
        start_waypoint(r, pod);
    }
}

/* Its pod is gone or going. A command's pod is made by us, and known once it has started. */
static void stop_unwanted(struct runtime *r)
{
    list_for_each (n, &r->entries) {
        struct local_pod *p = container_of(n, struct entry, in_runtime)->pod;
        const struct local_record *record = local_pod_record(p);
        const struct enrolment *e = agent_find(r->env.agent, record->uid);
        if (e ? enrolment_pod(e)->is_ending : record->spec.waypoint || local_pod_has_started(p)) {
            local_pod_stop(p);
        }
    }
}

static void follow_pods(struct runtime *r)
{
    uint64_t now = loop_now_ms(r->env.loop);
    uint64_t next = UINT64_MAX;

    if (!agent_is_synced(r->env.agent)) {
        return;
    }
    stop_unwanted(r);
    if (!r->waypoints.discovery) {
        return;
    }
    list_for_each (n, &r->retries) {
        container_of(n, struct retry, in_runtime)->is_wanted = false;
    }
    agent_each_pod(r->env.agent, follow_pod, r);
    timer_clear(&r->next_retry);
    list_for_each_safe (n, &r->retries) {
        struct retry *x = container_of(n, struct retry, in_runtime);
        if (!x->is_wanted) {
            retry_free(x);
        } else if (x->due_ms > now) {
            next = MIN_OF(next, x->due_ms);
        }
    }
    if (next != UINT64_MAX) {
        timer_set(&r->next_retry, &r->task, next - now);
    }
}

void runtime_hold(struct runtime *r)
{
    r->held = true;
}

struct json *runtime_list(const struct runtime *r)
{
    struct json *list = json_new_array();

    list_for_each (n, &r->entries) {
        json_append(list, local_json(container_of(n, struct entry, in_runtime)->pod));
    }
    return list;
}

static void put_repairs(struct json *into, const struct repairs *repairs)
{
    json_set_int(into, "times", (int64_t)repairs->count);
    json_set_int(into, "last_s", repairs->last_s);
}

struct repaired { /* a walk over the agent's pods */
    const struct agent *agent;
    struct json *list;
};

static void add_repaired(void *arg, const struct pod *p)
{
    const struct repaired *walk = arg;
    const struct repairs *repairs = enrolment_repairs(agent_find(walk->agent, p->uid));

    if (repairs->count > 0) {
        struct json *one = json_new_object();
        json_set_str(one, "namespace", p->namespace);
        json_set_str(one, "name", p->name);
        put_repairs(one, repairs);
        json_append(walk->list, one);
    }
}

static void describe_repairs(const struct agent *a, const struct repairs *host, struct json *into)
{
    struct repaired walk = {.agent = a, .list = json_make_array(into, "repaired")};

    agent_each_pod(a, add_repaired, &walk);
    if (host->count > 0) {
        put_repairs(json_make_object(into, "host_repaired"), host);
    }
}

struct json *runtime_status(const struct runtime *r)
{
    struct agent_counts c = agent_counts(r->env.agent);
    struct json *j = json_new_object();

    json_set_bool(j, "ready", agent_is_ready(r->env.agent));
    json_set_int(j, "proxies", c.proxies);
    json_set_int(j, "pods", c.pods);
    json_set_int(j, "pods_max", AGENT_PODS_MAX);
    json_set_int(j, "turned_away", c.turned_away);
    json_set_int(j, "joining", c.joining);
    json_set_int(j, "members", c.members);
    json_set_int(j, "leaving", c.leaving);
    describe_repairs(r->env.agent, &c.host_repairs, j);
    return j;
}

/* ---- the task: the agent or a pod has news */

static void bury(struct runtime *r, struct entry *e)
{
    const struct local_record *record = local_pod_record(e->pod);
    const char *text;

    if (record->spec.waypoint && local_pod_failure(e->pod, &text) < 0) {
        put_off(r, record->uid);
    }
    list_remove(&e->in_runtime);
    r->count--;
    local_pod_free(e->pod);
    mem_free(e);
}

static void run(struct task *t, unsigned why)
{
    struct runtime *r = container_of(t, struct runtime, task);

    (void)why; /* who it was is not said */
    list_for_each_safe (n, &r->entries) {
        struct entry *e = container_of(n, struct entry, in_runtime);
        runtime_api_changed(r->api, e->pod);
        if (local_pod_state(e->pod) != LOCAL_GONE) {
            local_pod_poke(e->pod);
            continue;
        }
        bury(r, e);
    }
    follow_pods(r);
}

/* ---- taking over */

static void adopt(struct runtime *r, const char *dir)
{
    struct local_record record;
    struct diag why = {0};

    if (local_record_load_blocking(dir, &record, &why) < 0) {
        log_warn(&scope, "record cannot be read", F_STR("folder", dir), F_DIAG(&why));
        return;
    }
    add(r, local_pod_adopt(&r->env, &record, &r->task));
}

static void adopt_all(struct runtime *r)
{
    const struct dirent *e;
    char path[2 * LOCAL_PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/local", r->run_dir); /* fits */
    DIR *d = opendir(path);
    while (d && (e = readdir(d))) { // the stream is ours
        (void)snprintf(path, sizeof(path), "%s/local/%s", r->run_dir, e->d_name); /* fits */
        if (e->d_name[0] != '.') {
            adopt(r, path);
        }
    }
    if (d) {
        closedir(d);
    }
}

int runtime_new(const struct runtime_config *config, struct runtime **out, struct diag *why)
{
    AUTO(runtime) struct runtime *r = mem_new(struct runtime);

    list_init(&r->entries);
    list_init(&r->retries);
    list_init(&r->watcher.in_agent);
    task_init(&r->task, config->loop, "local runtime", run);
    int len = snprintf(r->run_dir, sizeof(r->run_dir), "%s", config->run_dir);
    if (len <= 0 || (size_t)len >= sizeof(r->run_dir)) {
        return FAIL(why, -ERR_RANGE, "run folder %s", config->run_dir);
    }
    if (config->cidr_count > RUNTIME_CIDRS_MAX) {
        return FAIL(why, -ERR_RANGE, "at most %d pod ranges", RUNTIME_CIDRS_MAX);
    }
    r->node = mem_strdup(config->node);
    r->waypoints = config->waypoints;
    r->cidr_count = config->cidr_count;
    memcpy(r->cidrs, config->cidrs, config->cidr_count * sizeof(r->cidrs[0]));
    r->env = (struct local_env){.loop = config->loop,
                                .jobs = config->jobs,
                                .agent = config->agent,
                                .source = config->source,
                                .node = r->node};
    int result = runtime_api_new(config->loop, r, config->socket_path, &r->api, why);
    if (result < 0) {
        return result;
    }
    adopt_all(r);
    agent_watch(config->agent, &r->watcher, &r->task);
    *out = MOVE(r);
    return 0;
}

void runtime_free(struct runtime *r)
{
    struct list *n;

    if (!r) {
        return;
    }
    list_remove(&r->watcher.in_agent);
    runtime_api_free(r->api);
    while ((n = list_take_first(&r->entries))) {
        struct entry *e = container_of(n, struct entry, in_runtime);
        local_pod_free(e->pod);
        mem_free(e);
    }
    while (!list_is_empty(&r->retries)) {
        retry_free(container_of(r->retries.next, struct retry, in_runtime));
    }
    timer_clear(&r->next_retry);
    task_fini(&r->task);
    mem_free(r->node);
    mem_free(r);
}
