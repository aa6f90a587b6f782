/* SPDX-License-Identifier: Apache-2.0 */
#include "node/program.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "kube/client.h"
#include "kube/config.h"
#include "node/agent.h"
#include "node/host_rules.h"
#include "node/kube_pods.h"
#include "node/node_facts.h"
#include "node/node_note.h"
#include "node/proxy_pod.h"
#include "node/proxy_token.h"
#include "node/runtime.h"
#include "obs/admin.h"
#include "obs/job_metrics.h"
#include "obs/part_meter.h"

static struct log_scope scope = LOG_SCOPE("agent");

enum {
    NETNS_THREADS = 4, /* a replaced rule set sleeps about 14 ms in the kernel */
    LOCAL_THREADS = 2,
    JOBS_MAX = 4096,
    LANE_MAX = 64,
    LISTEN_BACKLOG = 16
};

struct program {
    struct loop *loop;
    struct jobs *netns_jobs;
    struct jobs *local_jobs;
    struct kube_client *client;
    struct kube_pods *pods;
    struct agent *agent;
    struct runtime *runtime;         /* NULL: no local workloads */
    struct node_note *note;          /* likewise */
    char *server;                    /* URL of the API server */
    struct proxy_token *proxy_token; /* NULL: the kubelet sees to it, and to the pod */
    struct proxy_pod *proxy_pod;
    struct metrics *metrics;
    struct part_meter meter;
    struct readiness *readiness;
    struct admin *admin;
    struct task task; /* signals, readiness */
    struct agent_watcher watcher;
    struct fd_watch signals;
    char netns_dir[128];
};

/* ---- signals and readiness */

static void take_signals(struct program *p)
{
    struct signalfd_siginfo info;
    ssize_t n;

    while ((n = read(p->signals.fd, &info, sizeof(info))) == sizeof(info)) {
        log_info(&scope, "asked to end", F_U64("signal", info.ssi_signo));
        loop_stop(p->loop);
    }
    if (n < 0 && errno == EAGAIN) {
        fd_watch_blocked(&p->signals, FD_READABLE);
    }
}

static void update_readiness(struct program *p)
{
    if (agent_is_ready(p->agent)) {
        readiness_clear(p->readiness, "node proxy");
    } else {
        readiness_block(p->readiness, "node proxy");
    }
    if (p->note && !node_note_was_tried(p->note)) {
        readiness_block(p->readiness, "node object");
    } else {
        readiness_clear(p->readiness, "node object");
    }
}

static void run(struct task *t, unsigned why)
{
    struct program *p = container_of(t, struct program, task);

    (void)why; /* all are cheap */
    take_signals(p);
    update_readiness(p);
    if (p->proxy_pod) {
        proxy_pod_set(p->proxy_pod, agent_counts(p->agent).proxies > 0);
    }
}

static int watch_signals(struct program *p, struct diag *why)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return FAIL(why, neg_errno(), "signals");
    }
    int r = fd_watch_start(&p->signals, p->loop, &p->task, fd);
    if (r < 0) {
        close(fd);
        p->signals.fd = -1;
        return FAIL(why, r, "watch signals");
    }
    return 0;
}

/* ---- what others may ask */

static int64_t read_proxies(void *arg)
{
    return agent_counts(arg).proxies;
}

static int64_t read_pods(void *arg)
{
    return agent_counts(arg).pods;
}

static int64_t read_turned_away(void *arg)
{
    return agent_counts(arg).turned_away;
}

static int64_t read_members(void *arg)
{
    return agent_counts(arg).members;
}

static int64_t read_on_the_way(void *arg)
{
    struct agent_counts c = agent_counts(arg);

    return c.joining + c.leaving;
}

static int64_t read_repairs(void *arg)
{
    return (int64_t)agent_counts(arg).repairs;
}

static void add_metrics(struct program *p)
{
    static const struct metric_set *const sets[] = {&socket_metrics};
    const struct job_pool pools[] = {{"pool=\"namespaces\"", p->netns_jobs},
                                     {"pool=\"local\"", p->local_jobs}};
    const struct metric_probe probes[] = {
        {"ztunnel_connected", "Node proxies that are connected.", read_proxies, p->agent},
        {"ambit_agent_pods", "Pods of this node that may join the mesh.", read_pods, p->agent},
        {"ambit_agent_turned_away",
         "Pods of this node that are kept out of the mesh because there are too many.",
         read_turned_away, p->agent},
        {"ambit_agent_members", "Pods that are in the mesh.", read_members, p->agent},
        {"ambit_agent_changing", "Pods that are joining or leaving.", read_on_the_way, p->agent},
        {"ambit_agent_repairs",
         "Rules that were changed inside of a pod, or the host's for probes, and put back.",
         read_repairs, p->agent, NULL, true},
    };

    p->metrics = metrics_new(sets, ARRAY_LEN(sets));
    p->meter.loop = p->loop;
    part_meter_start(&p->meter, metrics_shard_new(p->metrics));
    metrics_probe_process(p->metrics);
    metrics_probe_jobs(p->metrics, pools, ARRAY_LEN(pools));
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        metrics_probe(p->metrics, &probes[i]);
    }
}

static int listen_at(const char *text, int *out_fd, struct diag *why)
{
    struct sockaddr_storage ss;
    struct endpoint e;
    int on = 1;

    if (endpoint_parse(&e, text, strlen(text)) < 0) {
        return FAIL(why, -ERR_SYNTAX, "%s is no address:port", text);
    }
    socklen_t len = endpoint_to_sockaddr(&e, &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        int r = FAIL(why, neg_errno(), "listen at %s", text);
        if (fd >= 0) {
            close(fd);
        }
        return r;
    }
    *out_fd = fd;
    return 0;
}

static int listen_all(struct program *p, const struct options *o, struct diag *why)
{
    int fd;
    int r = 0;

    if (o->readiness && (r = listen_at(o->readiness, &fd, why)) == 0) {
        r = admin_listen_readiness(p->admin, fd, why);
    }
    if (r == 0 && o->stats && (r = listen_at(o->stats, &fd, why)) == 0) {
        r = admin_listen_stats(p->admin, fd, why);
    }
    return r;
}

static int start_admin(struct program *p, const struct options *o, struct diag *why)
{
    add_metrics(p);
    p->readiness = readiness_new();
    struct admin_options a = {.title = "ambit-agent",
                              .metrics = p->metrics,
                              .readiness = p->readiness,
                              .log_directives = o->log_level};
    p->admin = admin_new(p->loop, &a);
    return listen_all(p, o, why);
}

/* ---- making the parts */

static int start_kube(struct program *p, const struct options *o, struct diag *why)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    struct pod_json_options pods = {.dns = o->dns, .mesh_namespace = o->mesh_namespace};
    int r = kube_config_load_blocking(o->kubeconfig, NULL, why, &config);

    if (r == 0) {
        p->server = mem_strdup(config->server);
        r = kube_client_new(p->loop, p->local_jobs, config, "ambit-agent", why, &p->client);
    }
    if (r == 0) {
        p->pods = kube_pods_new(p->client, o->node, &pods);
    }
    return r;
}

static int start_agent(struct program *p, const struct options *o, struct diag *why)
{
    struct agent_config a = {.loop = p->loop,
                             .jobs = p->netns_jobs,
                             .capture = &capture_kernel,
                             .source = kube_pods_source(p->pods),
                             .zds_path = o->zds_path,
                             .netns_dir = p->netns_dir,
                             .excluded = (const char *const *)o->excluded,
                             .probes = o->probes};

    return agent_new(&a, &p->agent, why);
}

static int start_runtime(struct program *p, const struct options *o, struct diag *why)
{
    char path[128];
    struct runtime_config r = {.loop = p->loop,
                               .jobs = p->local_jobs,
                               .agent = p->agent,
                               .source = kube_pods_source(p->pods),
                               .node = o->node,
                               .run_dir = o->run_dir,
                               .cidrs = o->cidrs,
                               .cidr_count = o->cidr_count,
                               .socket_path = path,
                               .waypoints = {.program = o->waypoint_program,
                                             .discovery = o->discovery,
                                             .root_cert = o->root_cert,
                                             .trust_domain = o->trust_domain,
                                             .cluster_id = o->cluster_id,
                                             .network = o->network,
                                             .node = o->node}};

    struct node_note_words words = {.ranges = o->cidrs,
                                    .range_count = o->cidr_count,
                                    .runs_waypoints = o->discovery != NULL,
                                    .owner = &p->task};

    if (o->cidr_count == 0) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%s/runtime.sock", o->run_dir); /* checked by prepare */
    int result = runtime_new(&r, &p->runtime, why);
    if (result == 0) {
        words.facts = node_facts_blocking(p->server);
        p->note = node_note_new(p->client, o->node, &words);
    }
    return result;
}

static void start_proxy(struct program *p, const struct options *o)
{
    struct proxy_token_config t = {.client = p->client,
                                   .jobs = p->local_jobs,
                                   .path = o->proxy_token,
                                   .namespace = o->mesh_namespace,
                                   .node = o->node};

    if (o->proxy_token) {
        p->proxy_token = proxy_token_new(&t);
        p->proxy_pod = proxy_pod_new(p->client, o->mesh_namespace, o->node);
    }
}

/* The folder that path is in, if only that is missing. */
static int make_parent(const char *path, struct diag *why)
{
    const char *slash = strrchr(path, '/');
    AUTO(text) char *dir = mem_strdup(path);

    if (!slash || slash == path) {
        return 0;
    }
    dir[slash - path] = '\0';
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        return FAIL(why, neg_errno(), "make %s", dir);
    }
    return 0;
}

static int prepare(struct program *p, const struct options *o, struct diag *why)
{
    if (strlen(o->run_dir) >= LOCAL_RUN_DIR_MAX) {
        return FAIL(why, -ERR_RANGE, "run-dir: at most %d bytes", LOCAL_RUN_DIR_MAX - 1);
    }
    /* What is in it guards itself; a waypoint goes through it to its token. */
    int r = folder_make_blocking(o->run_dir, 0711, why);
    (void)snprintf(p->netns_dir, sizeof(p->netns_dir), "%s/netns", o->run_dir); /* fits */
    if (r == 0) {
        r = make_parent(o->zds_path, why);
    }
    return r == 0 && o->probes ? host_rules_ensure_blocking(why) : r;
}

static int start_threads(struct program *p, struct diag *why)
{
    p->loop = loop_new(why);
    if (!p->loop) {
        return surely_negative(why->code);
    }
    p->netns_jobs = jobs_new(NETNS_THREADS, JOBS_MAX, LANE_MAX, why);
    p->local_jobs = p->netns_jobs ? jobs_new(LOCAL_THREADS, JOBS_MAX, LANE_MAX, why) : NULL;
    return p->local_jobs ? 0 : surely_negative(why->code);
}

static int start_all(struct program *p, const struct options *o, struct diag *why)
{
    int r = start_kube(p, o, why);

    if (r == 0) {
        r = start_agent(p, o, why);
    }
    if (r == 0) {
        r = start_runtime(p, o, why);
    }
    if (r == 0) {
        start_proxy(p, o);
    }
    return r < 0 ? r : start_admin(p, o, why);
}

int program_new(const struct options *o, struct program **out, struct diag *why)
{
    AUTO(program) struct program *p = mem_new(struct program);
    int r = prepare(p, o, why);

    p->signals.fd = -1;
    if (r == 0) {
        r = start_threads(p, why);
    }
    if (r < 0) {
        return r;
    }
    task_init(&p->task, p->loop, "program", run);
    r = watch_signals(p, why);
    if (r == 0) {
        r = start_all(p, o, why);
    }
    if (r < 0) {
        return r;
    }
    agent_watch(p->agent, &p->watcher, &p->task);
    task_wake(&p->task, WAKE_START);
    *out = MOVE(p);
    return 0;
}

void program_run(struct program *p)
{
    loop_run(p->loop);
}

/* Threads end before what they work for. */
void program_free(struct program *p)
{
    if (!p) {
        return;
    }
    admin_free(p->admin);
    readiness_free(p->readiness);
    part_meter_stop(&p->meter);
    metrics_free(p->metrics);
    node_note_free(p->note);
    mem_free(p->server);
    proxy_token_free(p->proxy_token);
    proxy_pod_free(p->proxy_pod);
    runtime_free(p->runtime);
    agent_free(p->agent);
    kube_pods_free(p->pods);
    kube_client_free(p->client);
    jobs_free(p->local_jobs);
    jobs_free(p->netns_jobs);
    if (p->loop) {
        (void)loop_turn(p->loop, 0); /* what was abandoned while it ran is freed here */
    }
    int fd = p->signals.fd;
    fd_watch_stop(&p->signals);
    if (fd >= 0) {
        close(fd);
    }
    if (p->loop) {
        task_fini(&p->task);
    }
    loop_free(p->loop);
    mem_free(p);
}
