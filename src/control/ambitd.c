/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ambitd.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ca/authority.h"
#include "ca/ca_service.h"
#include "codec/json.h"
#include "control/access_file.h"
#include "control/feed.h"
#include "control/front.h"
#include "control/index.h"
#include "control/listen.h"
#include "control/published.h"
#include "control/report.h"
#include "control/server_cert.h"
#include "control/standalone.h"
#include "control/status_writer.h"
#include "control/waypoint_pods.h"
#include "io/file.h"
#include "io/jobs.h"
#include "io/sock.h"
#include "kube/client.h"
#include "kube/config.h"
#include "obs/admin.h"
#include "obs/job_metrics.h"
#include "obs/part_meter.h"
#include "xds/ads_server.h"

static struct log_scope scope = LOG_SCOPE("ambitd");

enum {
    HANDSHAKE_THREADS = 2,
    JOBS_MAX = 4096,
    REPORT_MS = 1000,
    TROUBLE_MS = 10000 /* between two complaints about a cluster that does not answer */
};

/* Callers share the room for handshakes by their addresses. */
static const struct tls_loop_options room = {.lane_max = TLS_HANDSHAKES_MAX};

static const char cluster_sync[] = "cluster sync";

struct ambitd {
    struct task task;
    struct timer tick;
    struct loop *loop;
    const struct settings *settings;
    struct mesh mesh;
    struct fd_watch signals;
    int signal_fd;
    bool quit; /* POST /quitquitquit */
    struct jobs *jobs;
    struct tls_ctx *tls;
    struct tls_loop *tls_loop;
    struct authority *authority;
    struct standalone *standalone; /* NULL with a cluster */
    struct kube_client *client;
    struct catalog *catalogs[ADS_TYPES];
    struct index *index;
    struct ads_server *ads;
    struct feed *feed;
    struct ca_service *ca;
    struct server_cert *cert;
    struct front *front;
    struct status_writer *status;
    struct waypoint_pods *waypoint_pods; /* NULL with a cluster, which has Deployments */
    struct report *report;
    struct part_meter meter;
    struct readiness *readiness;
    struct admin *admin;
    struct endpoint at; /* where discovery really listens */
    struct endpoint monitoring_at;
    uint64_t complained_ms;
    bool was_synced;
};

/* ---- what happens */

static bool is_asked_to_end(struct ambitd *a)
{
    struct signalfd_siginfo info;
    bool any = a->quit;

    while (read(a->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        any = true;
    }
    fd_watch_blocked(&a->signals, FD_READABLE);
    return any;
}

static void complain(struct ambitd *a)
{
    AUTO(strbuf) struct strbuf trouble = {0};
    uint64_t now = loop_now_ms(a->loop);

    if (now - a->complained_ms < TROUBLE_MS) {
        return;
    }
    feed_write_trouble(a->feed, &trouble);
    if (trouble.len > 0) {
        a->complained_ms = now;
        log_warn(&scope, "the API server does not tell us everything: what is known stays in force",
                 F_STR("trouble", strbuf_text(&trouble)));
    }
}

/* Whoever asks why we are not ready learns which kinds are waited for. */
static void name_blockers(struct ambitd *a)
{
    for (unsigned k = 0; k < INDEX_KINDS; k++) {
        if (feed_waits_for(a->feed, (enum index_kind)k)) {
            readiness_block(a->readiness, feed_kind((enum index_kind)k));
        } else {
            readiness_clear(a->readiness, feed_kind((enum index_kind)k));
        }
    }
}

static void tick(struct ambitd *a)
{
    struct report_sources s = {
        .index = a->index,
        .ads = ads_server_stats(a->ads),
        .ca = ca_service_stats(a->ca),
        .front = front_stats(a->front),
        .status = status_writer_stats(a->status),
        .pods = a->waypoint_pods ? waypoint_pods_stats(a->waypoint_pods) : NULL,
        .root_expires_s = authority_facts(a->authority)->not_after_s - clock_wall_s()};

    index_tick(a->index, loop_now_ms(a->loop));
    ads_server_changed(a->ads);
    report_update(a->report, &s);
    name_blockers(a);
    complain(a);
    timer_set(&a->tick, &a->task, REPORT_MS);
}

static void run(struct task *t, unsigned why)
{
    struct ambitd *a = container_of(t, struct ambitd, task);

    if (is_asked_to_end(a)) {
        log_info(&scope, "shutting down", F_U64("streams", ads_server_stats(a->ads)->streams));
        loop_stop(a->loop);
        return;
    }
    if (!a->was_synced && feed_is_synced(a->feed)) {
        a->was_synced = true;
        readiness_clear(a->readiness, cluster_sync);
        name_blockers(a);
        log_info(&scope, "ready");
    }
    if (a->was_synced) { /* half a cluster says wrong things */
        status_writer_poke(a->status);
    }
    if (why & (WAKE_TIMER | WAKE_START)) {
        tick(a);
    }
}

/* ---- who may have whose certificate (contract 6.3) */

static bool is_proxy(void *arg, const struct ca_caller *c)
{
    const struct ambitd *a = arg;
    AUTO(strbuf) struct strbuf name = {0};

    strbuf_printf(&name, "%s/%s", c->ns, c->account);
    for (unsigned i = 0; i < a->settings->accounts.count; i++) {
        if (strcmp(a->settings->accounts.at[i], strbuf_text(&name)) == 0) {
            return true;
        }
    }
    return false;
}

static bool may_impersonate(void *arg, const struct ca_caller *c, const struct identity *id)
{
    const struct ambitd *a = arg;
    struct index_pod pod;

    return is_proxy(arg, c) && *c->pod_name && *c->pod_uid &&
           index_find_pod(a->index, c->ns, c->pod_name, &pod) && strcmp(pod.uid, c->pod_uid) == 0 &&
           strcmp(pod.account, c->account) == 0 && *pod.node &&
           index_runs_on(a->index, pod.node, id->ns, id->service_account);
}

static bool is_gateway(void *arg, const char *ns, const char *gateway, const char *account)
{
    const struct ambitd *a = arg;

    return index_is_gateway(a->index, ns, gateway, account);
}

/* ---- pages */

static void render_clients(void *arg, struct slice query, unsigned *status, struct strbuf *out)
{
    const struct ambitd *a = arg;
    const struct ads_server_stats *s = ads_server_stats(a->ads);
    AUTO(json) struct json *j = json_new_object();

    (void)query;
    (void)status;
    json_set_int(j, "streams", s->streams);
    json_set_int(j, "cut", (int64_t)s->cut);
    json_set_int(j, "addresses", (int64_t)catalog_count(a->catalogs[ADS_ADDRESS]));
    json_set_int(j, "policies", (int64_t)catalog_count(a->catalogs[ADS_AUTHORIZATION]));
    json_set_int(j, "bindings", (int64_t)catalog_count(a->catalogs[ADS_L7_BINDING]));
    json_set_int(j, "routes", (int64_t)catalog_count(a->catalogs[ADS_L7_ROUTE]));
    json_set_int(j, "waypointPolicies", (int64_t)catalog_count(a->catalogs[ADS_L7_POLICY]));
    json_set_int(j, "traffic", (int64_t)catalog_count(a->catalogs[ADS_L7_TRAFFIC]));
    json_set_bool(j, "synced", feed_is_synced(a->feed));
    json_set_str(j, "lastReject", s->last_reject.code < 0 ? s->last_reject.text : "");
    json_print(j, JSON_PRINT_INDENT, out);
}

/* For the API server's clients; it asks from its own thread, so this may come before all is known. */
static void render_published(void *arg, const char *path, unsigned *status, struct strbuf *out)
{
    const struct ambitd *a = arg;

    if (!a->was_synced) {
        *status = 503;
        strbuf_puts(out, "the control plane does not know everything yet");
        return;
    }
    struct published_sources s = {a->catalogs, a->ads, a->settings->mesh_namespace};
    published_render(&s, path, status, out);
}

/* ---- building: each returns 0 or an error with why filled */

static int build_signals(struct ambitd *a, struct diag *why)
{
    sigset_t set;

    (void)sigemptyset(&set);        /* cannot fail */
    (void)sigaddset(&set, SIGTERM); /* cannot fail for these */
    (void)sigaddset(&set, SIGINT);
    a->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (a->signal_fd < 0) {
        return FAIL(why, neg_errno(), "signalfd");
    }
    return fd_watch_start(&a->signals, a->loop, &a->task, a->signal_fd);
}

static void start_meter(struct ambitd *a)
{
    const struct job_pool pool = {"pool=\"handshakes\"", a->jobs};

    metrics_probe_jobs(report_metrics(a->report), &pool, 1);
    a->meter.loop = a->loop;
    a->meter.tls = a->tls_loop;
    part_meter_start(&a->meter, report_shard(a->report));
}

static int build_security_blocking(struct ambitd *a, struct diag *why)
{
    AUTO(strbuf) struct strbuf folder = {0};
    AUTO(strbuf) struct strbuf root = {0};
    const char *data = a->settings->data;
    int r = access_prepare_blocking(data, why);

    a->jobs = jobs_new(HANDSHAKE_THREADS, JOBS_MAX, JOBS_MAX, why);
    if (r < 0 || !a->jobs) {
        return surely_negative(why->code);
    }
    strbuf_printf(&folder, "%s/ca", data);
    strbuf_printf(&root, "%s/root-cert.pem", data);
    r = authority_open_blocking(&a->authority, strbuf_text(&folder), a->settings->trust_domain,
                                why);
    if (r == 0) {
        const char *pem = authority_root_pem(a->authority);
        r = file_write_blocking(strbuf_text(&root), pem, strlen(pem), 0644, why);
    }
    if (r == 0) {
        r = tls_ctx_new(&a->tls, NULL, why);
    }
    if (r == 0) {
        a->tls_loop = tls_loop_new(a->loop, a->jobs, a->tls, &room);
        start_meter(a);
    }
    return r;
}

static int build_client_blocking(struct ambitd *a, struct diag *why)
{
    AUTO(kube_config) struct kube_config *config = NULL;
    int r = 0;

    if (a->settings->standalone) {
        struct extra extra = {PUBLISHED_PREFIX, a->loop, render_published, a};
        r = standalone_new_blocking(&a->standalone, a->settings, a->authority, a->tls, &extra, why);
        if (r == 0) {
            r = kube_config_parse_blocking(slice_of(standalone_kubeconfig(a->standalone)), ".",
                                           NULL, why, &config);
        }
    } else {
        r = kube_config_load_blocking(a->settings->kubeconfig, NULL, why, &config);
    }
    return r == 0 ? kube_client_new(a->loop, a->jobs, config, "ambitd", why, &a->client) : r;
}

static void build_discovery(struct ambitd *a)
{
    const struct settings *s = a->settings;

    a->mesh = (struct mesh){.cluster_id = s->cluster_id,
                            .trust_domain = s->trust_domain,
                            .aliases = (const char *const *)s->aliases.at,
                            .root_ns = s->mesh_namespace,
                            .system_ns = s->mesh_namespace,
                            .domain = "cluster.local",
                            .revision = s->revision,
                            .is_standalone = s->standalone,
                            .waypoint_image = s->standalone ? NULL : s->waypoint_image,
                            .discovery = s->waypoint_discovery};
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        a->catalogs[t] = catalog_new(ads_type_urls[t], t != ADS_AUTHORIZATION);
    }
    a->index = index_new(&a->mesh, a->catalogs);
    struct ads_server_options ads = {.is_gateway = is_gateway, .arg = a};
    a->ads = ads_server_new(a->loop, a->catalogs, &ads);
    a->status = status_writer_new(a->loop, a->client, a->index);
    a->feed = feed_new(a->loop, a->client, a->index, a->ads, &a->task);
    if (s->standalone) {
        a->waypoint_pods = waypoint_pods_new(a->loop, a->client);
    }
}

static int build_front(struct ambitd *a, struct diag *why)
{
    struct ca_service_config ca = {.jobs = a->jobs,
                                   .authority = a->authority,
                                   .trust_domain = a->settings->trust_domain,
                                   .may_impersonate = may_impersonate,
                                   .arg = a};
    int fd = -1;
    int r = server_cert_new(&a->cert, a->loop, a->authority, a->settings, why);

    if (r < 0) {
        return r;
    }
    a->ca = ca_service_new(a->loop, &ca);
    struct front_options o = {.cluster_id = a->settings->cluster_id,
                              .trust_domain = a->settings->trust_domain,
                              .client = a->client,
                              .feed = a->feed,
                              .ads = a->ads,
                              .ca = a->ca,
                              .is_proxy = is_proxy,
                              .arg = a};
    struct grpc_server_options grpc = {
        .http = {.tls = a->tls_loop, .spec = server_cert_spec(a->cert), .connections_max = 16384},
        .message_bytes = ADS_REQUEST_BYTES_MAX};
    a->front = front_new(a->loop, &grpc, &o);
    r = listen_at("listen", a->settings->listen, &fd, &a->at, why);
    if (r == 0) {
        r = front_listen(a->front, fd, why);
    }
    if (r == 0 && *a->settings->pod_listen) {
        struct endpoint unused;
        r = listen_at("pod-listen", a->settings->pod_listen, &fd, &unused, why);
        r = r < 0 ? r : front_listen(a->front, fd, why);
    }
    return r;
}

struct page_door {
    const char *flag;
    const char *address;
    int (*listen)(struct admin *a, int take_fd, struct diag *why);
    struct endpoint *at;
};

static int build_admin(struct ambitd *a, struct diag *why)
{
    struct admin_options o = {.title = "ambitd",
                              .metrics = report_metrics(a->report),
                              .readiness = a->readiness,
                              .log_directives = a->settings->log_level,
                              .quit = &a->quit,
                              .quit_task = &a->task};
    const struct settings *s = a->settings;
    struct endpoint unused;
    const struct page_door doors[] = {
        {"monitoring", s->monitoring, admin_listen_stats, &a->monitoring_at},
        {"readiness", s->readiness, admin_listen_readiness, &unused},
        {"admin", s->admin, admin_listen, &unused}};
    static const char json_type[] = "application/json";
    struct admin_page clients = {.path = "/debug/discovery",
                                 .what = "what is known and who listens",
                                 .content_type = json_type,
                                 .render = render_clients,
                                 .arg = a};

    a->admin = admin_new(a->loop, &o);
    admin_page(a->admin, &clients);
    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        int fd = -1;
        int r = *doors[i].address
                    ? listen_at(doors[i].flag, doors[i].address, &fd, doors[i].at, why)
                    : 0;
        if (r == 0 && fd >= 0) {
            r = doors[i].listen(a->admin, fd, why);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Where everything listens, for whoever started us with a port of the kernel's choice. */
static int write_addresses_blocking(const struct ambitd *a, struct diag *why)
{
    AUTO(json) struct json *j = json_new_object();
    AUTO(strbuf) struct strbuf path = {0};
    AUTO(strbuf) struct strbuf text = {0};
    char buf[ENDPOINT_TEXT];

    json_set_str(j, "discovery", endpoint_format(&a->at, buf));
    json_set_str(j, "monitoring", endpoint_format(&a->monitoring_at, buf));
    if (a->standalone) {
        struct endpoint api = standalone_address(a->standalone);
        json_set_str(j, "api", endpoint_format(&api, buf));
    }
    json_print(j, JSON_PRINT_INDENT, &text);
    strbuf_putc(&text, '\n');
    strbuf_printf(&path, "%s/addresses.json", a->settings->data);
    return file_write_blocking(strbuf_text(&path), text.p, text.len, 0644, why);
}

static int build_blocking(struct ambitd *a, struct diag *why)
{
    int r = build_signals(a, why);

    if (r == 0) {
        r = build_security_blocking(a, why);
    }
    if (r == 0) {
        r = build_client_blocking(a, why);
    }
    if (r == 0) {
        build_discovery(a);
        r = build_front(a, why);
    }
    if (r == 0) {
        r = build_admin(a, why);
    }
    return r == 0 ? write_addresses_blocking(a, why) : r;
}

int ambitd_new_blocking(struct ambitd **out, const struct settings *settings, struct diag *why)
{
    AUTO(ambitd) struct ambitd *a = mem_new(struct ambitd);

    a->settings = settings;
    a->signal_fd = -1;
    a->loop = loop_new(why);
    if (!a->loop) {
        return surely_negative(why->code);
    }
    task_init(&a->task, a->loop, "ambitd", run);
    a->report = report_new();
    a->readiness = readiness_new();
    readiness_block(a->readiness, cluster_sync);
    int r = build_blocking(a, why);
    if (r < 0) {
        return r;
    }
    task_wake(&a->task, WAKE_START);
    *out = MOVE(a);
    return 0;
}

int ambitd_run(struct ambitd *a)
{
    char at[ENDPOINT_TEXT];

    log_info(&scope, "listening", F_STR("discovery", endpoint_format(&a->at, at)),
             F_STR("data", a->settings->data));
    loop_run(a->loop);
    return 0;
}

void ambitd_free(struct ambitd *a)
{
    if (!a) {
        return;
    }
    admin_free(a->admin);
    part_meter_stop(&a->meter);
    front_free(a->front);
    ca_service_free(a->ca);
    feed_free(a->feed);
    waypoint_pods_free(a->waypoint_pods);
    status_writer_free(a->status);
    ads_server_free(a->ads);
    index_free(a->index);
    for (unsigned t = 0; t < ADS_TYPES; t++) {
        catalog_free(a->catalogs[t]);
    }
    if (a->loop) {
        loop_end_orphans(a->loop); /* answers under way stand on what is freed next */
    }
    kube_client_free(a->client);
    standalone_free(a->standalone);
    server_cert_free(a->cert);
    tls_loop_free(a->tls_loop);
    jobs_free(a->jobs);
    tls_ctx_free(a->tls);
    authority_free(a->authority);
    readiness_free(a->readiness);
    report_free(a->report);
    timer_clear(&a->tick);
    fd_watch_stop(&a->signals);
    sock_close(&a->signal_fd);
    if (a->loop) {
        task_fini(&a->task);
    }
    loop_free(a->loop);
    mem_free(a);
}
