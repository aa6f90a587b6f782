/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "node/runtime_api.h"

static struct log_scope scope = LOG_SCOPE("local");

struct entry {
    struct list in_runtime;
    struct local_pod *pod;
};

struct runtime {
    struct local_env env;
    struct task task;
    struct agent_watcher watcher;
    struct runtime_api *api;
    struct list entries;
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

static int make_record(struct runtime *r, const struct json *spec, struct local_record *out,
                       struct diag *why)
{
    struct local_record record = {.json = json_clone(spec)};
    int result = local_spec_read(record.json, &record.spec, why);

    if (result == 0) {
        result = admit(r, &record.spec, why);
    }
    for (unsigned i = 0; result == 0 && i < r->cidr_count; i++) {
        result = pick(r, i, &record.ips[i], why);
        record.ip_count++;
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

struct json *runtime_list(const struct runtime *r)
{
    struct json *list = json_new_array();

    list_for_each (n, &r->entries) {
        json_append(list, local_pod_describe(container_of(n, struct entry, in_runtime)->pod));
    }
    return list;
}

struct json *runtime_status(const struct runtime *r)
{
    struct agent_counts c = agent_counts(r->env.agent);
    struct json *j = json_new_object();

    json_set_bool(j, "ready", agent_is_ready(r->env.agent));
    json_set_int(j, "proxies", c.proxies);
    json_set_int(j, "pods", c.pods);
    json_set_int(j, "joining", c.joining);
    json_set_int(j, "members", c.members);
    json_set_int(j, "leaving", c.leaving);
    return j;
}

/* ---- the task: the agent or a pod has news */

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
        list_remove(n);
        r->count--;
        local_pod_free(e->pod);
        mem_free(e);
    }
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
    while (d && (e = readdir(d))) { // NOLINT(concurrency-mt-unsafe): the stream is ours
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
    task_fini(&r->task);
    mem_free(r->node);
    mem_free(r);
}
