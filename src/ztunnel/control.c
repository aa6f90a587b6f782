/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/control.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "ca/cert_json.h"
#include "ca/control_link.h"
#include "io/file.h"
#include "io/process.h"
#include "io/spare_memory.h"
#include "io/worker.h"
#include "obs/admin.h"
#include "obs/why.h"
#include "obs/world_json.h"
#include "xds/ads_client.h"
#include "ztunnel/dump.h"
#include "ztunnel/pods.h"
#include "ztunnel/stats.h"
#include "ztunnel/zds_client.h"

enum {
    BUDGET_ALL_BYTES = 512 << 20, /* received and not yet taken, all planes together */
    FORCED_END_MS = 2000          /* from the drain deadline to giving up on what is left */
};

static struct log_scope scope = LOG_SCOPE("app");

enum control_step {
    CONTROL_SYNC,  /* waits for the control plane's first answers */
    CONTROL_RUN,   /* serves pods */
    CONTROL_DRAIN, /* asked to end; pods finish */
    CONTROL_DONE
};

struct control {
    struct task task;
    struct timer limit; /* of CONTROL_DRAIN */
    struct loop *loop;
    const struct config *config;
    enum control_step step;
    int exit_status;
    struct quit_signals signals;
    bool quit; /* POST /quitquitquit */
    struct stats *stats;
    struct control_link link;
    struct resolv_conf resolv;
    struct snap_slot *worlds;  /* one a plane */
    struct loop **plane_loops; /* NULL-terminated */
    struct worker **workers;
    struct plane **planes;
    unsigned plane_count;
    struct ads_client *ads;
    struct pods *pods;
    struct zds_client *zds;
    struct readiness *readiness;
    struct admin *admin;
    struct spare_memory spare;
    struct gather_source *gathered; /* one a plane, for each page in plane_pages */
};

static const char state_manager[] = "state manager";
static const char proxy_manager[] = "workload proxy manager";

/* ---- what happens */

/* Only a proxy that knows its own name can be a workload of the mesh (contract 1.3.1). */
static void start_own(struct control *c)
{
    const struct config *f = c->config;
    struct pod_info info = {.uid = f->pod_name,
                            .name = f->pod_name,
                            .ns = f->pod_namespace,
                            .service_account = f->service_account};

    if (f->pod_name[0] && f->pod_namespace[0] && f->service_account[0]) {
        pods_start_own(c->pods, &info);
    }
}

static void enter(struct control *c, enum control_step next)
{
    c->step = next;
    timer_clear(&c->limit);
    switch (next) {
    case CONTROL_RUN:
        start_own(c);
        c->zds = zds_client_new(c->loop, c->config->inpod_uds, c->pods, &c->task);
        break;
    case CONTROL_DRAIN:
        readiness_block(c->readiness, proxy_manager); /* never ready again */
        if (c->zds) {
            zds_client_stop(c->zds);
        }
        /* Who gives up does not wait for connections, only for its pods to be taken down. */
        pods_drain(c->pods, c->exit_status ? 0 : c->config->drain_ms);
        timer_set(&c->limit, &c->task, (c->exit_status ? 0 : c->config->drain_ms) + FORCED_END_MS);
        break;
    case CONTROL_DONE:
        loop_stop(c->loop);
        break;
    case CONTROL_SYNC:
        break;
    }
}

static void look_for_end(struct control *c)
{
    bool asked = quit_signals_take(&c->signals) || c->quit;

    if (asked && (c->step == CONTROL_SYNC || c->step == CONTROL_RUN)) {
        log_info(&scope, "shutting down", F_U64("drain_ms", c->config->drain_ms));
        enter(c, CONTROL_DRAIN);
    } else if (asked && c->step == CONTROL_DRAIN && !c->quit) {
        enter(c, CONTROL_DONE); /* asked twice */
    }
    c->quit = false;
}

static void step_sync(struct control *c)
{
    if (!c->ads || ads_client_is_synced(c->ads)) {
        readiness_clear(c->readiness, state_manager);
        log_info(&scope, "the control plane has told us what it knows",
                 F_U64("planes", c->plane_count));
        enter(c, CONTROL_RUN);
    }
}

static void step_run(struct control *c)
{
    struct diag why = {0};

    zds_client_poke(c->zds);
    if (pods_own_failed(c->pods, &why)) {
        log_error(&scope, "the proxy's own listener cannot be bound", F_DIAG(&why));
        c->exit_status = 1;
        enter(c, CONTROL_DONE);
        return;
    }
    if (zds_client_is_broken(c->zds)) {
        c->exit_status = 1;
        enter(c, CONTROL_DRAIN);
        return;
    }
    if (zds_client_is_synced(c->zds) && pods_counts(c->pods).pending == 0) {
        readiness_clear(c->readiness, proxy_manager);
    } else if (!zds_client_is_synced(c->zds)) {
        readiness_block(c->readiness, proxy_manager);
    }
}

static void step_drain(struct control *c)
{
    if (pods_counts(c->pods).alive == 0 || timer_is_due(&c->limit)) {
        enter(c, CONTROL_DONE);
    }
}

static void run(struct task *t, unsigned why)
{
    struct control *c = container_of(t, struct control, task);
    struct pods_counts counts = pods_counts(c->pods);

    (void)why; /* every wake is a hint */
    look_for_end(c);
    if (c->ads) {
        stats_xds(c->stats, ads_client_stats(c->ads));
    }
    stats_pods(c->stats, &counts);
    if (c->step == CONTROL_SYNC) {
        step_sync(c);
    }
    if (c->step == CONTROL_RUN) {
        step_run(c);
    }
    if (c->step == CONTROL_DRAIN) {
        step_drain(c);
    }
}

/* ---- pages */

/* The pods' entries get the connections that the planes have told of. */
static void add_connections(struct json *states, const struct json *told)
{
    for (struct json_iter it = {0}; json_each(states, &it);) {
        if (strcmp(json_str_at(it.value, "state", ""), "Up") == 0) {
            (void)json_make_array(it.value, "connections.inbound");
            (void)json_make_array(it.value, "connections.outbound");
        }
    }
    for (size_t i = 0; i < json_count(told); i++) {
        const struct json *one = json_item(told, i);
        struct json *state = json_get(states, json_str_at(one, "workload", ""));
        struct json *all =
            json_get(json_get(state, "connections"), json_str_at(one, "direction", ""));
        if (all) {
            json_append(all, json_ref(json_get(one, "connection")));
        }
    }
}

static void compose_dump(void *arg, const struct strbuf *gathered, struct strbuf *out)
{
    struct control *c = arg;
    AUTO(json) struct json *all = json_new_object();
    AUTO(json) struct json *told = NULL;
    struct json *states = pods_to_json(c->pods);
    struct diag why;

    if (json_parse(&told, strbuf_text(gathered), gathered->len, NULL, &why) == 0) {
        add_connections(states, told);
    }
    world_json(all, ads_client_world(c->ads));
    json_set(all, "certificates", cert_manager_json(c->link.certs));
    json_set(all, "config", dump_config(c->config));
    json_set(all, "version", dump_version(c->config));
    json_set(all, "workloadState", states);
    json_set(all, "controlPlane", ads_client_json(c->ads));
    json_set(all, "stagedServices", json_new_object());
    json_print(all, JSON_PRINT_SORTED | JSON_PRINT_INDENT, out);
}

static void render_why(void *arg, struct slice query, unsigned *status, struct strbuf *out)
{
    struct control *c = arg;

    why_render(ads_client_world(c->ads), c->config->network, query, status, out);
}

static void render_connections(void *arg, struct strbuf *out)
{
    struct plane *p = arg;
    bool first = true;

    list_for_each (n, &p->pods) {
        struct pod *pod = container_of(n, struct pod, in_plane);
        list_for_each (m, &pod->conns) {
            struct pod_conn *x = container_of(m, struct pod_conn, in_pod);
            if (!x->ops->describe) {
                continue;
            }
            strbuf_printf(out, "%s{\"workload\":", first ? "" : ",");
            log_json_string(out, slice_of(pod->info.uid));
            strbuf_printf(out, ",\"direction\":\"%s\",\"connection\":", x->ops->direction);
            x->ops->describe(x, out);
            strbuf_putc(out, '}');
            first = false;
        }
    }
}

static void render_open(void *arg, struct strbuf *out)
{
    recorder_write_open(((const struct plane *)arg)->recorder, out);
}

static void render_recent(void *arg, struct strbuf *out)
{
    recorder_write_recent(((const struct plane *)arg)->recorder, out);
}

static void render_edges(void *arg, struct strbuf *out)
{
    recorder_write_edges(((const struct plane *)arg)->recorder, out);
}

static const struct plane_page { /* gathered from all planes */
    const char *path;
    const char *what;
    void (*render)(void *arg, struct strbuf *out);
} plane_pages[] = {
    {"/connections", "list the connections that are open now", render_connections},
    {"/access/open", "access records of the connections that are open now", render_open},
    {"/access/recent", "access records of the latest connections that have ended", render_recent},
    {"/access/edges", "who talked to whom, how often, how it ended", render_edges},
};

/* ---- building: each returns 0 or an error with why filled */

static int build_link(struct control *c, struct diag *why)
{
    const struct config *f = c->config;
    struct control_link_config config = {.xds_address = f->xds_address,
                                         .ca_address = f->ca_address,
                                         .xds_roots = f->xds_root_ca,
                                         .ca_roots = f->ca_root_ca,
                                         .xds_alt_host = f->alt_xds_host,
                                         .ca_alt_host = f->alt_ca_host,
                                         .token = f->auth_token,
                                         .cluster_id = f->cluster_id,
                                         .xds_headers = &f->xds_headers,
                                         .ca_headers = &f->ca_headers,
                                         .cert_ttl_s = (int64_t)(f->secret_ttl_ms / 1000),
                                         .impersonate = true};

    return control_link_open(&c->link, c->loop, &config, why);
}

static int build_plane(struct control *c, unsigned i, struct diag *why)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "ztunnel-%u", i % 100);
    c->workers[i] = worker_new(name, why);
    if (!c->workers[i]) {
        return surely_negative(why->code);
    }
    c->plane_loops[i] = worker_loop(c->workers[i]);
    struct plane_options o = {.loop = c->plane_loops[i],
                              .config = c->config,
                              .certs = c->link.certs,
                              .jobs = c->link.jobs,
                              .tls = c->link.tls,
                              .shard = metrics_shard_new(stats_metrics(c->stats)),
                              .worlds = &c->worlds[i],
                              .resolv = &c->resolv,
                              .budget_bytes = BUDGET_ALL_BYTES / c->config->workers};
    return plane_new(&c->planes[i], &o, why);
}

static void read_resolv_conf(struct control *c)
{
    AUTO(text) char *text = NULL;
    size_t len = 0;
    struct diag why = {0};

    if (file_read_blocking("/etc/resolv.conf", &text, &len, &why) < 0) {
        log_warn(&scope, "no name servers known, using the one on this host", F_DIAG(&why));
    }
    resolv_conf_parse(text ? text : "", len, &c->resolv);
}

static int build_planes(struct control *c, struct diag *why)
{
    unsigned n = c->config->workers;

    read_resolv_conf(c);
    c->worlds = mem_array(n, sizeof(*c->worlds));
    c->plane_loops = mem_array(n + 1, sizeof(*c->plane_loops));
    c->workers = mem_array(n, sizeof(*c->workers));
    c->planes = mem_array(n, sizeof(*c->planes));
    for (; c->plane_count < n; c->plane_count++) {
        int r = build_plane(c, c->plane_count, why);
        if (r < 0) {
            return r;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        int r = worker_start(c->workers[i], WORKER_ANY_CPU, why);
        if (r < 0) {
            return r;
        }
    }
    c->pods = pods_new(c->loop, c->planes, n, &c->task);
    return 0;
}

static void build_discovery(struct control *c)
{
    AUTO(text) char *node_id = config_node_id(c->config);
    struct ads_config config = {.dialer = uplink_dialer(c->link.xds),
                                .node_id = node_id,
                                .metadata = c->config->metadata,
                                .slots = c->worlds,
                                .poke = c->plane_loops,
                                .slot_count = c->plane_count,
                                .owner = &c->task};

    c->ads = ads_client_new(c->loop, &config);
}

static int build_doors(struct control *c, struct diag *why)
{
    const char *any = c->config->ipv6 ? "::" : "0.0.0.0";
    int r = admin_open(c->admin, ADMIN_DOOR, "127.0.0.1", PORT_ADMIN, why);

    struct diag lapse = {0};
    if (r == 0 && admin_open(c->admin, ADMIN_DOOR, "::1", PORT_ADMIN, &lapse) < 0) {
        log_debug(&scope, "no admin port on IPv6", F_DIAG(&lapse)); /* the host has none */
    }
    if (r == 0) {
        r = admin_open(c->admin, ADMIN_STATS, any, PORT_STATS, why);
    }
    return r < 0 ? r : admin_open(c->admin, ADMIN_READINESS, any, PORT_READINESS, why);
}

static void build_plane_pages(struct control *c)
{
    struct gather_source *next = mem_array(ARRAY_LEN(plane_pages) * c->plane_count, sizeof(*next));

    c->gathered = next;
    for (size_t k = 0; k < ARRAY_LEN(plane_pages); k++) {
        struct admin_page page = {.path = plane_pages[k].path,
                                  .what = plane_pages[k].what,
                                  .content_type = "application/json",
                                  .sources = next,
                                  .source_count = c->plane_count};
        for (unsigned i = 0; i < c->plane_count; i++) {
            *next++ =
                (struct gather_source){c->plane_loops[i], plane_pages[k].render, c->planes[i]};
        }
        admin_page(c->admin, &page);
    }
}

static int build_admin(struct control *c, struct diag *why)
{
    struct admin_options o = {.title = "ambit-ztunnel",
                              .metrics = stats_metrics(c->stats),
                              .readiness = c->readiness,
                              .log_directives = c->config->log_level,
                              .quit = &c->quit,
                              .quit_task = &c->task};
    struct admin_page dump = {.path = "/config_dump",
                              .what = "dump the current state and configuration",
                              .content_type = "application/json",
                              .compose = compose_dump,
                              .arg = c};

    c->admin = admin_new(c->loop, &o);
    build_plane_pages(c);
    dump.sources = c->gathered; /* those of the first page, the connections */
    dump.source_count = c->plane_count;
    if (c->ads) {
        struct admin_page why_page = {.path = "/why",
                                      .what = "would ?from= reach ?to= at ?port=, and who decides",
                                      .content_type = "application/json",
                                      .render = render_why,
                                      .arg = c};
        admin_page(c->admin, &dump);
        admin_page(c->admin, &why_page);
    }
    return build_doors(c, why);
}

int control_new(struct control **out, const struct config *config, struct diag *why)
{
    AUTO(control) struct control *c = mem_new(struct control);

    c->config = config;
    c->loop = loop_new(why);
    if (!c->loop) {
        return surely_negative(why->code);
    }
    task_init(&c->task, c->loop, "control", run);
    c->stats = stats_new(config->istio_version);
    c->readiness = readiness_new();
    readiness_block(c->readiness, state_manager);
    readiness_block(c->readiness, proxy_manager);
    int r = quit_signals_open(&c->signals, c->loop, &c->task, why);
    if (r == 0) {
        r = build_link(c, why);
    }
    if (r == 0) {
        r = build_planes(c, why);
    }
    if (r == 0 && c->link.xds) {
        build_discovery(c);
    }
    if (r == 0) {
        r = build_admin(c, why);
    }
    if (r < 0) {
        return r;
    }
    spare_memory_init(&c->spare, c->loop);
    task_wake(&c->task, WAKE_START);
    *out = MOVE(c);
    return 0;
}

int control_run(struct control *c)
{
    loop_run(c->loop);
    return c->exit_status;
}

static void free_planes(struct control *c)
{
    for (unsigned i = 0; i < c->config->workers && c->workers; i++) {
        worker_stop(c->workers[i]);
    }
    for (unsigned i = 0; i < c->config->workers && c->planes; i++) {
        plane_free(c->planes[i]);
    }
    for (unsigned i = 0; i < c->config->workers && c->worlds; i++) {
        snap_slot_fini(&c->worlds[i]);
    }
}

void control_free(struct control *c)
{
    if (!c) {
        return;
    }
    spare_memory_fini(&c->spare);
    admin_free(c->admin);
    zds_client_free(c->zds);
    free_planes(c);
    /* What the planes said last: they have ended, so two turns hear all of it. */
    for (int i = 0; i < 2 && c->loop; i++) {
        (void)loop_turn(c->loop, 0);
    }
    pods_free(c->pods);
    ads_client_free(c->ads);
    control_link_end_certs(&c->link);
    for (unsigned i = 0; i < c->config->workers && c->workers; i++) {
        worker_free(c->workers[i]);
    }
    mem_free(c->gathered);
    mem_free(c->worlds);
    mem_free(c->plane_loops);
    mem_free(c->workers);
    mem_free(c->planes);
    control_link_close(&c->link, c->loop);
    readiness_free(c->readiness);
    stats_free(c->stats);
    timer_clear(&c->limit);
    quit_signals_close(&c->signals);
    task_fini(&c->task);
    loop_free(c->loop);
    mem_free(c);
}
