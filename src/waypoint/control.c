/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/control.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "ca/cert_json.h"
#include "io/memory_guard.h"
#include "obs/l7_json.h"
#include "obs/l7_why.h"
#include "obs/world_json.h"
#include "proxy/proxy.h"
#include "waypoint/doors.h"
#include "waypoint/engine.h"
#include "waypoint/request.h"
#include "waypoint/routes_sink.h"
#include "waypoint/stats.h"

enum {
    BUDGET_ALL_BYTES = 512 << 20, /* received and not yet taken, all engines together */
    DRAIN_LOOK_MS = 100,          /* how often it is asked whether the last connection is gone */
    DRAIN_NOTICE_MS = 1000 /* ready no more, but still accepting: clients take a moment to hear */
};

static struct log_scope scope = LOG_SCOPE("app");

enum control_step {
    CONTROL_SYNC,   /* waits for the control plane's first answers and for the certificate */
    CONTROL_RUN,    /* serves */
    CONTROL_NOTICE, /* asked to end: not ready any more, still accepts */
    CONTROL_DRAIN,  /* connections finish */
    CONTROL_DONE
};

struct control {
    struct proxy proxy;
    const struct config *config;
    enum control_step step;
    uint64_t drain_due_ms;
    int exit_status;
    uint64_t rejected; /* counted so far */
    const struct identity *identity;
    bool uses_identity;      /* the manager keeps its certificate fresh */
    struct cert_wait *first; /* the certificate that readiness waits for */
    bool certified;
    struct snap_slot *l7s;
    struct engine **engines; /* one a worker, as the tables */
    struct routes_sink *routes;
    struct doors doors;
    struct memory_guard guard;
};

static const char proxy_manager[] = "listeners";

/* ---- steps */

static void enter(struct control *c, enum control_step next)
{
    struct diag why = {0};

    c->step = next;
    timer_clear(&c->proxy.limit);
    switch (next) {
    case CONTROL_RUN:
        if (doors_open(&c->doors, c->proxy.loop, c->config, c->engines, &why) < 0) {
            log_error(&scope, "cannot listen", F_DIAG(&why));
            c->exit_status = 1;
            enter(c, CONTROL_DONE);
            return;
        }
        readiness_clear(c->proxy.readiness, proxy_manager);
        log_info(&scope, "serving", F_U64("port", c->config->hbone_port),
                 F_U64("engines", c->config->common.workers));
        break;
    case CONTROL_NOTICE:
        readiness_block(c->proxy.readiness, proxy_manager); /* never ready again */
        c->drain_due_ms = loop_now_ms(c->proxy.loop) + c->config->drain_ms;
        timer_set(&c->proxy.limit, &c->proxy.task,
                  c->config->drain_ms < DRAIN_NOTICE_MS ? c->config->drain_ms : DRAIN_NOTICE_MS);
        break;
    case CONTROL_DRAIN:
        doors_take_waiting(&c->doors);
        doors_close(&c->doors);
        for (unsigned i = 0; i < c->config->common.workers; i++) {
            engine_drain(c->engines[i]);
        }
        timer_set(&c->proxy.limit, &c->proxy.task, DRAIN_LOOK_MS);
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

    if (asked && c->step == CONTROL_SYNC) {
        enter(c, CONTROL_DONE);
    } else if (asked && c->step == CONTROL_RUN) {
        log_info(&scope, "shutting down", F_U64("drain_ms", c->config->drain_ms));
        enter(c, CONTROL_NOTICE);
    } else if (asked && (c->step == CONTROL_NOTICE || c->step == CONTROL_DRAIN) && !c->proxy.quit) {
        enter(c, CONTROL_DONE); /* asked twice */
    }
    c->proxy.quit = false;
}

static void look_for_certificate(struct control *c)
{
    struct credential *credential = NULL;
    struct diag why = {0};
    int r = c->first ? cert_wait_result(c->first, &credential, &why) : 0;

    if (!c->first || r == -EAGAIN) {
        return;
    }
    cert_wait_free(c->first);
    c->first = NULL;
    if (r == 0) {
        c->certified = true;
        credential_unref(credential);
    } else {
        log_warn(&scope, "no certificate yet", F_DIAG(&why));
        timer_set(&c->proxy.limit, &c->proxy.task, OWN_RETRY_MS);
    }
}

static void step_sync(struct control *c)
{
    look_for_certificate(c);
    if (!c->certified && !c->first && timer_is_due(&c->proxy.limit)) {
        c->first = cert_wait_new(c->proxy.link.certs, c->identity, CERT_REALTIME, &c->proxy.task);
        timer_clear(&c->proxy.limit);
    }
    if (c->proxy.ads && !ads_client_is_synced(c->proxy.ads)) {
        return;
    }
    readiness_clear(c->proxy.readiness, proxy_state_manager);
    if (c->certified) {
        log_info(&scope, "the control plane has told us what it knows");
        enter(c, CONTROL_RUN);
    }
}

static unsigned load(const struct control *c)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < c->config->common.workers; i++) {
        sum += atomic_load_explicit(&c->engines[i]->load, memory_order_relaxed);
    }
    return sum;
}

static void step_drain(struct control *c)
{
    if (load(c) == 0 || loop_now_ms(c->proxy.loop) >= c->drain_due_ms) {
        enter(c, CONTROL_DONE);
    } else if (!timer_is_armed(&c->proxy.limit)) {
        timer_set(&c->proxy.limit, &c->proxy.task, DRAIN_LOOK_MS);
    }
}

static void run(struct task *t, unsigned why)
{
    struct control *c = container_of(t, struct control, proxy.task);

    (void)why; /* every wake is a hint */
    look_for_end(c);
    proxy_count(&c->proxy);
    stats_rejected(c->proxy.shard, c->proxy.counted.rejected, &c->rejected);
    if (c->step == CONTROL_SYNC) {
        step_sync(c);
    }
    if (c->step == CONTROL_NOTICE && timer_is_due(&c->proxy.limit)) {
        enter(c, CONTROL_DRAIN);
    }
    if (c->step == CONTROL_DRAIN) {
        step_drain(c);
    }
}

/* ---- pages */

static void render_dump(void *arg, struct slice query, unsigned *status, struct strbuf *out)
{
    struct control *c = arg;
    AUTO(json) struct json *all = json_new_object();

    (void)query;
    (void)status; /* always 200 */
    if (c->proxy.ads) {
        world_json(all, ads_client_world(c->proxy.ads));
        json_set(all, "controlPlane", ads_client_json(c->proxy.ads));
    }
    l7_json(all, routes_sink_now(c->routes));
    json_set(all, "certificates", cert_manager_json(c->proxy.link.certs));
    json_set(all, "config", config_to_json(c->config));
    json_set_str(all, "version", AMBIT_VERSION);
    json_print(all, JSON_PRINT_SORTED | JSON_PRINT_INDENT, out);
}

static void render_why(void *arg, struct slice query, unsigned *status, struct strbuf *out)
{
    const struct control *c = arg;

    l7_why_render(routes_sink_now(c->routes), query, status, out);
}

static void render_open(void *arg, struct strbuf *out)
{
    recorder_write_open(((const struct engine *)arg)->recorder, out);
}

static void render_recent(void *arg, struct strbuf *out)
{
    recorder_write_recent(((const struct engine *)arg)->recorder, out);
}

static void render_edges(void *arg, struct strbuf *out)
{
    recorder_write_edges(((const struct engine *)arg)->recorder, out);
}

static void render_requests(void *arg, struct strbuf *out)
{
    request_store_write_recent(((const struct engine *)arg)->requests, out);
}

static const struct proxy_page engine_pages[] = {
    {"/requests/recent", "the latest requests", render_requests},
    {"/access/open", "access records of the TCP connections that are open now", render_open},
    {"/access/recent", "access records of the latest TCP connections that have ended",
     render_recent},
    {"/access/edges", "who talked to whom over TCP, how often, how it ended", render_edges},
};

/* ---- building: each returns 0 or an error with why filled */

static int build_link(struct control *c, struct diag *why)
{
    int r = proxy_open_link(&c->proxy, false, why);

    if (r == 0) {
        c->identity =
            identity_new(c->config->common.trust_domain, c->config->ns, c->config->service_account);
        cert_manager_use(c->proxy.link.certs, c->identity);
        c->uses_identity = true;
        c->first = cert_wait_new(c->proxy.link.certs, c->identity, CERT_REALTIME, &c->proxy.task);
    }
    return r;
}

/* Half of what there is may be bytes that wait for somebody; each loop has its share. */
static size_t budget_of(const struct config *c)
{
    uint64_t all = c->memory_bytes > 0 ? MIN_OF(c->memory_bytes / 2, (uint64_t)BUDGET_ALL_BYTES)
                                       : BUDGET_ALL_BYTES;

    return (size_t)all / c->common.workers;
}

static int build_engine(struct control *c, unsigned i, struct diag *why)
{
    struct engine_options o = {.loop = c->proxy.loops[i],
                               .config = c->config,
                               .identity = c->identity,
                               .certs = c->proxy.link.certs,
                               .jobs = c->proxy.link.jobs,
                               .tls = c->proxy.link.tls,
                               .shard = metrics_shard_new(c->proxy.metrics),
                               .worlds = &c->proxy.worlds[i],
                               .l7s = &c->l7s[i],
                               .guard = &c->guard,
                               .budget_bytes = budget_of(c->config)};
    return engine_new(&c->engines[i], &o, why);
}

static int build_engines(struct control *c, struct diag *why)
{
    unsigned n = c->config->common.workers;
    int r = proxy_make_workers(&c->proxy, why);

    c->engines = mem_array(n, sizeof(*c->engines));
    for (unsigned i = 0; r == 0 && i < n; i++) {
        r = build_engine(c, i, why);
    }
    return r < 0 ? r : proxy_start_workers(&c->proxy, why);
}

static void build_discovery(struct control *c)
{
    AUTO(text) char *node_id = config_node_id(c->config);

    proxy_discover(&c->proxy, node_id, routes_sink_interest(c->routes));
}

static int build_admin(struct control *c, struct diag *why)
{
    struct admin_page dump = {.path = "/config_dump",
                              .what = "dump the current state and configuration",
                              .content_type = "application/json",
                              .render = render_dump,
                              .arg = c};
    struct admin_page why_page = {.path = "/why",
                                  .what = "what would become of a request, and because of what",
                                  .content_type = "application/json",
                                  .render = render_why,
                                  .arg = c};

    proxy_make_admin(&c->proxy, engine_pages, ARRAY_LEN(engine_pages), (void *const *)c->engines);
    admin_page(c->proxy.admin, &dump);
    admin_page(c->proxy.admin, &why_page);
    return proxy_open_admin(&c->proxy, why);
}

static void init(struct control *c)
{
    unsigned n = c->config->common.workers;

    c->l7s = mem_array(n, sizeof(*c->l7s));
    c->routes = routes_sink_new(c->l7s, n);
    readiness_block(c->proxy.readiness, proxy_manager);
    memory_guard_init(&c->guard, c->proxy.loop, c->config->memory_bytes);
}

int control_new(struct control **out, const struct config *config, struct diag *why)
{
    AUTO(control) struct control *c = mem_new(struct control);
    struct proxy_options options = {.settings = &config->common,
                                    .run = run,
                                    .title = "ambit-waypoint",
                                    .name = "waypoint",
                                    .component = "proxy",
                                    .sets = stats_sets,
                                    .set_count = STATS_SETS};

    c->config = config;
    int r = proxy_open(&c->proxy, &options, why);
    if (r < 0) {
        return r;
    }
    init(c);
    r = build_link(c, why);
    if (r == 0) {
        r = build_engines(c, why);
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

static void free_engines(struct control *c)
{
    for (unsigned i = 0; c->engines && i < c->config->common.workers; i++) {
        engine_free(c->engines[i]);
    }
}

static void free_l7s(struct control *c)
{
    for (unsigned i = 0; c->l7s && i < c->config->common.workers; i++) {
        snap_slot_fini(&c->l7s[i]);
    }
}

static void free_identity(struct control *c)
{
    cert_wait_free(c->first);
    if (c->uses_identity) {
        cert_manager_unuse(c->proxy.link.certs, c->identity);
    }
}

void control_free(struct control *c)
{
    if (!c) {
        return;
    }
    memory_guard_fini(&c->guard);
    doors_close(&c->doors);
    proxy_stop(&c->proxy);
    free_engines(c);
    free_identity(c);
    proxy_settle(&c->proxy);
    free_l7s(c); /* discovery published until now */
    proxy_end_discovery(&c->proxy);
    routes_sink_free(c->routes);
    identity_unref(c->identity);
    proxy_close(&c->proxy);
    mem_free(c->l7s);
    mem_free(c->engines);
    mem_free(c);
}
