/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/control.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "ca/cert_json.h"
#include "io/file.h"
#include "obs/why.h"
#include "obs/world_json.h"
#include "proxy/proxy.h"
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
    struct proxy proxy; /* the limit is CONTROL_DRAIN's */
    const struct config *config;
    enum control_step step;
    int exit_status;
    struct pods_counts counted;
    struct resolv_conf resolv;
    struct plane **planes; /* one a worker */
    struct pods *pods;
    struct zds_client *zds;
};

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
    timer_clear(&c->proxy.limit);
    switch (next) {
    case CONTROL_RUN:
        start_own(c);
        c->zds = zds_client_new(c->proxy.loop, c->config->inpod_uds, c->pods, &c->proxy.task);
        break;
    case CONTROL_DRAIN:
        readiness_block(c->proxy.readiness, proxy_manager); /* never ready again */
        if (c->zds) {
            zds_client_stop(c->zds);
        }
        /* Who gives up does not wait for connections, only for its pods to be taken down. */
        pods_drain(c->pods, c->exit_status ? 0 : c->config->drain_ms);
        timer_set(&c->proxy.limit, &c->proxy.task,
                  (c->exit_status ? 0 : c->config->drain_ms) + FORCED_END_MS);
        break;
    case CONTROL_DONE:
        loop_stop(c->proxy.loop);
        break;
    case CONTROL_SYNC:
        break;
    }
}

static void look_for_end(struct control *c)
{
    bool asked = quit_signals_take(&c->proxy.signals) || c->proxy.quit;

    if (asked && (c->step == CONTROL_SYNC || c->step == CONTROL_RUN)) {
        log_info(&scope, "shutting down", F_U64("drain_ms", c->config->drain_ms));
        enter(c, CONTROL_DRAIN);
    } else if (asked && c->step == CONTROL_DRAIN && !c->proxy.quit) {
        enter(c, CONTROL_DONE); /* asked twice */
    }
    c->proxy.quit = false;
}

static void step_sync(struct control *c)
{
    if (!c->proxy.ads || ads_client_is_synced(c->proxy.ads)) {
        readiness_clear(c->proxy.readiness, proxy_state_manager);
        log_info(&scope, "the control plane has told us what it knows",
                 F_U64("planes", c->config->common.workers));
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
        readiness_clear(c->proxy.readiness, proxy_manager);
    } else if (!zds_client_is_synced(c->zds)) {
        readiness_block(c->proxy.readiness, proxy_manager);
    }
}

static void step_drain(struct control *c)
{
    if (pods_counts(c->pods).alive == 0 || timer_is_due(&c->proxy.limit)) {
        enter(c, CONTROL_DONE);
    }
}

static void run(struct task *t, unsigned why)
{
    struct control *c = container_of(t, struct control, proxy.task);
    struct pods_counts counts = pods_counts(c->pods);

    (void)why; /* every wake is a hint */
    look_for_end(c);
    proxy_count(&c->proxy);
    stats_pods(c->proxy.shard, &counts, &c->counted);
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
    world_json(all, ads_client_world(c->proxy.ads));
    json_set(all, "certificates", cert_manager_json(c->proxy.link.certs));
    json_set(all, "config", dump_config(c->config));
    json_set(all, "version", dump_version(c->config));
    json_set(all, "workloadState", states);
    json_set(all, "controlPlane", ads_client_json(c->proxy.ads));
    json_set(all, "stagedServices", json_new_object());
    json_print(all, JSON_PRINT_SORTED | JSON_PRINT_INDENT, out);
}

static void render_why(void *arg, struct slice query, unsigned *status, struct strbuf *out)
{
    struct control *c = arg;

    why_render(ads_client_world(c->proxy.ads), c->config->network, query, status, out);
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
            strbuf_printf(out, ",\"direction\":\"%s\",\"connection\":",
                          x->ops->way == POD_IN ? "inbound" : "outbound");
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

static const struct proxy_page plane_pages[] = {
    {"/connections", "list the connections that are open now", render_connections},
    {"/access/open", "access records of the connections that are open now", render_open},
    {"/access/recent", "access records of the latest connections that have ended", render_recent},
    {"/access/edges", "who talked to whom, how often, how it ended", render_edges},
};

/* ---- building: each returns 0 or an error with why filled */

static int build_plane(struct control *c, unsigned i, struct diag *why)
{
    struct plane_options o = {.loop = c->proxy.loops[i],
                              .config = c->config,
                              .certs = c->proxy.link.certs,
                              .jobs = c->proxy.link.jobs,
                              .tls = c->proxy.link.tls,
                              .shard = metrics_shard_new(c->proxy.metrics),
                              .worlds = &c->proxy.worlds[i],
                              .resolv = &c->resolv,
                              .budget_bytes = BUDGET_ALL_BYTES / c->config->common.workers};

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
    unsigned n = c->config->common.workers;
    int r = proxy_make_workers(&c->proxy, why);

    read_resolv_conf(c);
    c->planes = mem_array(n, sizeof(*c->planes));
    for (unsigned i = 0; r == 0 && i < n; i++) {
        r = build_plane(c, i, why);
    }
    if (r == 0) {
        r = proxy_start_workers(&c->proxy, why);
    }
    if (r == 0) {
        c->pods = pods_new(c->proxy.loop, c->planes, n, &c->proxy.task);
    }
    return r;
}

static void build_discovery(struct control *c)
{
    AUTO(text) char *node_id = config_node_id(c->config);

    proxy_discover(&c->proxy, node_id, NULL);
}

static int build_admin(struct control *c, struct diag *why)
{
    proxy_make_admin(&c->proxy, plane_pages, ARRAY_LEN(plane_pages), (void *const *)c->planes);
    if (c->proxy.ads) {
        struct admin_page dump = {.path = "/config_dump",
                                  .what = "dump the current state and configuration",
                                  .content_type = "application/json",
                                  .compose = compose_dump,
                                  .sources = c->proxy.gathered, /* the connections' */
                                  .source_count = c->proxy.worker_count,
                                  .arg = c};
        struct admin_page why_page = {.path = "/why",
                                      .what = "would ?from= reach ?to= at ?port=, and who decides",
                                      .content_type = "application/json",
                                      .render = render_why,
                                      .arg = c};
        admin_page(c->proxy.admin, &dump);
        admin_page(c->proxy.admin, &why_page);
    }
    return proxy_open_admin(&c->proxy, why);
}

int control_new(struct control **out, const struct config *config, struct diag *why)
{
    AUTO(control) struct control *c = mem_new(struct control);
    struct proxy_options options = {.settings = &config->common,
                                    .run = run,
                                    .title = "ambit-ztunnel",
                                    .name = "ztunnel",
                                    .component = "ztunnel",
                                    .sets = stats_sets,
                                    .set_count = STATS_SETS};

    c->config = config;
    int r = proxy_open(&c->proxy, &options, why);
    if (r < 0) {
        return r;
    }
    readiness_block(c->proxy.readiness, proxy_manager);
    r = proxy_open_link(&c->proxy, true, why);
    if (r == 0) {
        r = build_planes(c, why);
    }
    if (r == 0) {
        build_discovery(c);
        r = build_admin(c, why);
    }
    if (r < 0) {
        return r;
    }
    task_wake(&c->proxy.task, WAKE_START);
    *out = MOVE(c);
    return 0;
}

int control_run(struct control *c)
{
    loop_run(c->proxy.loop);
    return c->exit_status;
}

void control_free(struct control *c)
{
    if (!c) {
        return;
    }
    zds_client_free(c->zds);
    proxy_stop(&c->proxy);
    for (unsigned i = 0; c->planes && i < c->config->common.workers; i++) {
        plane_free(c->planes[i]);
    }
    proxy_settle(&c->proxy);
    pods_free(c->pods);
    proxy_end_discovery(&c->proxy);
    proxy_close(&c->proxy);
    mem_free(c->planes);
    mem_free(c);
}
