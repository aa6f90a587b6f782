/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/control.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "ca/cert_json.h"
#include "ca/control_link.h"
#include "io/listener.h"
#include "io/process.h"
#include "io/sock.h"
#include "io/sock_factory.h"
#include "io/spare_memory.h"
#include "io/worker.h"
#include "obs/admin.h"
#include "obs/l7_json.h"
#include "obs/l7_why.h"
#include "obs/world_json.h"
#include "waypoint/engine.h"
#include "waypoint/request.h"
#include "waypoint/routes_sink.h"
#include "waypoint/stats.h"

enum {
    BUDGET_ALL_BYTES = 512 << 20, /* received and not yet taken, all engines together */
    LISTEN_BACKLOG = 4096,
    ACCEPTS_A_RUN = 64,    /* then the other tasks have their turn */
    DRAIN_LOOK_MS = 100,   /* how often it is asked whether the last connection is gone */
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

struct door { /* a listener of the data path */
    struct task task;
    struct control *control;
    struct listener *listener;
    const struct plain_listener *plain; /* NULL: tunnels */
};

struct control {
    struct task task;
    struct timer limit; /* of the step */
    struct loop *loop;
    const struct config *config;
    enum control_step step;
    uint64_t drain_due_ms;
    int exit_status;
    struct quit_signals signals;
    bool quit; /* POST /quitquitquit */
    struct stats *stats;
    struct control_link link;
    const struct identity *identity;
    bool uses_identity;      /* the manager keeps its certificate fresh */
    struct cert_wait *first; /* the certificate that readiness waits for */
    bool certified;
    struct snap_slot *worlds;
    struct snap_slot *l7s;
    struct loop **engine_loops; /* NULL-terminated */
    struct worker **workers;
    struct engine **engines;
    unsigned engine_count;
    struct routes_sink *routes;
    struct ads_client *ads;
    struct readiness *readiness;
    struct admin *admin;
    struct door doors[1 + PLAIN_LISTENERS_MAX];
    unsigned door_count;
    struct gather_source *gathered;
    struct spare_memory spare;
};

static const char state_manager[] = "state manager";
static const char proxy_manager[] = "listeners";

/* ---- listeners */

static struct engine *least_loaded(const struct control *c)
{
    struct engine *best = c->engines[0];
    unsigned least = UINT32_MAX;

    for (unsigned i = 0; i < c->engine_count; i++) {
        unsigned load = atomic_load_explicit(&c->engines[i]->load, memory_order_relaxed);
        if (load < least) {
            least = load;
            best = c->engines[i];
        }
    }
    return best;
}

static void door_run(struct task *t, unsigned why)
{
    struct door *d = container_of(t, struct door, task);
    struct endpoint peer;

    (void)why; /* every wake is a hint */
    for (int i = 0; i < ACCEPTS_A_RUN; i++) {
        int fd = listener_accept(d->listener, &peer);
        if (fd == -EAGAIN) {
            return;
        }
        if (fd < 0) {
            log_error(&scope, "listener failed", F_STR("error", err_text(fd)));
            return;
        }
        engine_take(least_loaded(d->control), fd, &peer, d->plain);
    }
    task_wake(t, WAKE_IO);
}

static int door_open(struct control *c, const struct endpoint *at,
                     const struct plain_listener *plain, struct diag *why)
{
    struct door *d = &c->doors[c->door_count];
    struct sock_spec spec = {.role = SOCK_ROLE_LISTEN,
                             .family = (enum ip_family)at->ip.family,
                             .at = *at,
                             .backlog = LISTEN_BACKLOG};
    struct diag lapse = {0};
    int fd = sock_spec_make(&spec, &lapse, why);

    if (fd < 0) {
        return fd;
    }
    d->control = c;
    d->plain = plain;
    task_init(&d->task, c->loop, "accept", door_run);
    c->door_count++;
    d->listener = listener_new(c->loop, fd, &d->task, why);
    return d->listener ? 0 : surely_negative(why->code);
}

static int open_doors(struct control *c, struct diag *why)
{
    struct endpoint at = {.ip = {.family = c->config->ipv6 ? IP_V6 : IP_V4},
                          .port = (uint16_t)c->config->hbone_port};
    int r = door_open(c, &at, NULL, why);

    for (unsigned i = 0; r == 0 && i < c->config->plain_count; i++) {
        r = door_open(c, &c->config->plain[i].at, &c->config->plain[i], why);
    }
    return r;
}

static void close_doors(struct control *c)
{
    for (unsigned i = 0; i < c->door_count; i++) {
        listener_close(c->doors[i].listener);
        task_fini(&c->doors[i].task);
    }
    c->door_count = 0;
}

/* ---- steps */

static void enter(struct control *c, enum control_step next)
{
    struct diag why = {0};

    c->step = next;
    timer_clear(&c->limit);
    switch (next) {
    case CONTROL_RUN:
        if (open_doors(c, &why) < 0) {
            log_error(&scope, "cannot listen", F_DIAG(&why));
            c->exit_status = 1;
            enter(c, CONTROL_DONE);
            return;
        }
        readiness_clear(c->readiness, proxy_manager);
        log_info(&scope, "serving", F_U64("port", c->config->hbone_port),
                 F_U64("engines", c->engine_count));
        break;
    case CONTROL_NOTICE:
        readiness_block(c->readiness, proxy_manager); /* never ready again */
        c->drain_due_ms = loop_now_ms(c->loop) + c->config->drain_ms;
        timer_set(&c->limit, &c->task,
                  c->config->drain_ms < DRAIN_NOTICE_MS ? c->config->drain_ms : DRAIN_NOTICE_MS);
        break;
    case CONTROL_DRAIN:
        close_doors(c);
        for (unsigned i = 0; i < c->engine_count; i++) {
            engine_drain(c->engines[i]);
        }
        timer_set(&c->limit, &c->task, DRAIN_LOOK_MS);
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

    if (asked && c->step == CONTROL_SYNC) {
        enter(c, CONTROL_DONE);
    } else if (asked && c->step == CONTROL_RUN) {
        log_info(&scope, "shutting down", F_U64("drain_ms", c->config->drain_ms));
        enter(c, CONTROL_NOTICE);
    } else if (asked && (c->step == CONTROL_NOTICE || c->step == CONTROL_DRAIN) && !c->quit) {
        enter(c, CONTROL_DONE); /* asked twice */
    }
    c->quit = false;
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
        timer_set(&c->limit, &c->task, OWN_RETRY_MS);
    }
}

static void step_sync(struct control *c)
{
    look_for_certificate(c);
    if (!c->certified && !c->first && timer_is_due(&c->limit)) {
        c->first = cert_wait_new(c->link.certs, c->identity, CERT_REALTIME, &c->task);
        timer_clear(&c->limit);
    }
    if (c->ads && !ads_client_is_synced(c->ads)) {
        return;
    }
    readiness_clear(c->readiness, state_manager);
    if (c->certified) {
        log_info(&scope, "the control plane has told us what it knows");
        enter(c, CONTROL_RUN);
    }
}

static unsigned load(const struct control *c)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < c->engine_count; i++) {
        sum += atomic_load_explicit(&c->engines[i]->load, memory_order_relaxed);
    }
    return sum;
}

static void step_drain(struct control *c)
{
    if (load(c) == 0 || loop_now_ms(c->loop) >= c->drain_due_ms) {
        enter(c, CONTROL_DONE);
    } else if (!timer_is_armed(&c->limit)) {
        timer_set(&c->limit, &c->task, DRAIN_LOOK_MS);
    }
}

static void run(struct task *t, unsigned why)
{
    struct control *c = container_of(t, struct control, task);

    (void)why; /* every wake is a hint */
    look_for_end(c);
    if (c->ads) {
        stats_xds(c->stats, ads_client_stats(c->ads));
    }
    if (c->step == CONTROL_SYNC) {
        step_sync(c);
    }
    if (c->step == CONTROL_NOTICE && timer_is_due(&c->limit)) {
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
    if (c->ads) {
        world_json(all, ads_client_world(c->ads));
        json_set(all, "controlPlane", ads_client_json(c->ads));
    }
    l7_json(all, routes_sink_now(c->routes));
    json_set(all, "certificates", cert_manager_json(c->link.certs));
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

static const struct engine_page { /* gathered from all engines */
    const char *path;
    const char *what;
    void (*render)(void *arg, struct strbuf *out);
} engine_pages[] = {
    {"/requests/recent", "the latest requests", render_requests},
    {"/access/open", "access records of the TCP connections that are open now", render_open},
    {"/access/recent", "access records of the latest TCP connections that have ended",
     render_recent},
    {"/access/edges", "who talked to whom over TCP, how often, how it ended", render_edges},
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
                                         .impersonate = false};

    int r = control_link_open(&c->link, c->loop, &config, why);
    if (r == 0) {
        c->identity = identity_new(f->trust_domain, f->ns, f->service_account);
        cert_manager_use(c->link.certs, c->identity);
        c->uses_identity = true;
        c->first = cert_wait_new(c->link.certs, c->identity, CERT_REALTIME, &c->task);
    }
    return r;
}

static int build_engine(struct control *c, unsigned i, struct diag *why)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "waypoint-%u", i % 1000);
    c->workers[i] = worker_new(name, why);
    if (!c->workers[i]) {
        return surely_negative(why->code);
    }
    c->engine_loops[i] = worker_loop(c->workers[i]);
    struct engine_options o = {.loop = c->engine_loops[i],
                               .config = c->config,
                               .identity = c->identity,
                               .certs = c->link.certs,
                               .jobs = c->link.jobs,
                               .tls = c->link.tls,
                               .shard = metrics_shard_new(stats_metrics(c->stats)),
                               .worlds = &c->worlds[i],
                               .l7s = &c->l7s[i],
                               .budget_bytes = BUDGET_ALL_BYTES / c->config->workers};
    return engine_new(&c->engines[i], &o, why);
}

static int build_engines(struct control *c, struct diag *why)
{
    unsigned n = c->config->workers;

    c->engine_loops = mem_array(n + 1, sizeof(struct loop *));
    c->workers = mem_array(n, sizeof(struct worker *));
    c->engines = mem_array(n, sizeof(struct engine *));
    for (; c->engine_count < n; c->engine_count++) {
        int r = build_engine(c, c->engine_count, why);
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
    return 0;
}

static void build_discovery(struct control *c)
{
    AUTO(text) char *node_id = config_node_id(c->config);
    struct ads_config config = {.dialer = uplink_dialer(c->link.xds),
                                .interest = routes_sink_interest(c->routes),
                                .node_id = node_id,
                                .metadata = c->config->metadata,
                                .slots = c->worlds,
                                .poke = c->engine_loops,
                                .slot_count = c->engine_count,
                                .owner = &c->task};

    c->ads = ads_client_new(c->loop, &config);
}

static void build_pages(struct control *c)
{
    struct gather_source *next =
        mem_array(ARRAY_LEN(engine_pages) * c->engine_count, sizeof(*next));
    struct admin_page dump = {.path = "/config_dump",
                              .what = "dump the current state and configuration",
                              .content_type = "application/json",
                              .render = render_dump,
                              .arg = c};
    struct admin_page why = {.path = "/why",
                             .what = "what would become of a request, and because of what",
                             .content_type = "application/json",
                             .render = render_why,
                             .arg = c};

    c->gathered = next;
    for (size_t k = 0; k < ARRAY_LEN(engine_pages); k++) {
        struct admin_page page = {.path = engine_pages[k].path,
                                  .what = engine_pages[k].what,
                                  .content_type = "application/json",
                                  .sources = next,
                                  .source_count = c->engine_count};
        for (unsigned i = 0; i < c->engine_count; i++) {
            *next++ =
                (struct gather_source){c->engine_loops[i], engine_pages[k].render, c->engines[i]};
        }
        admin_page(c->admin, &page);
    }
    admin_page(c->admin, &dump);
    admin_page(c->admin, &why);
}

static int build_admin(struct control *c, struct diag *why)
{
    const char *any = c->config->ipv6 ? "::" : "0.0.0.0";
    struct admin_options o = {.title = "ambit-waypoint",
                              .metrics = stats_metrics(c->stats),
                              .readiness = c->readiness,
                              .log_directives = c->config->log_level,
                              .quit = &c->quit,
                              .quit_task = &c->task};

    c->admin = admin_new(c->loop, &o);
    build_pages(c);
    int r = admin_open(c->admin, ADMIN_DOOR, "127.0.0.1", PORT_ADMIN, why);
    if (r == 0) {
        r = admin_open(c->admin, ADMIN_STATS, any, PORT_STATS, why);
    }
    return r < 0 ? r : admin_open(c->admin, ADMIN_READINESS, any, PORT_READINESS, why);
}

static void init(struct control *c)
{
    unsigned n = c->config->workers;

    task_init(&c->task, c->loop, "control", run);
    c->worlds = mem_array(n, sizeof(*c->worlds));
    c->l7s = mem_array(n, sizeof(*c->l7s));
    c->routes = routes_sink_new(c->l7s, n);
    c->stats = stats_new(c->config->istio_version, routes_sink_interest(c->routes));
    c->readiness = readiness_new();
    readiness_block(c->readiness, state_manager);
    readiness_block(c->readiness, proxy_manager);
    spare_memory_init(&c->spare, c->loop);
}

int control_new(struct control **out, const struct config *config, struct diag *why)
{
    AUTO(control) struct control *c = mem_new(struct control);

    c->config = config;
    c->loop = loop_new(why);
    if (!c->loop) {
        return surely_negative(why->code);
    }
    init(c);
    int r = quit_signals_open(&c->signals, c->loop, &c->task, why);
    if (r == 0) {
        r = build_link(c, why);
    }
    if (r == 0) {
        r = build_engines(c, why);
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
    task_wake(&c->task, WAKE_START);
    *out = MOVE(c);
    return 0;
}

int control_run(struct control *c)
{
    loop_run(c->loop);
    return c->exit_status;
}

static void free_engines(struct control *c)
{
    for (unsigned i = 0; i < c->config->workers && c->workers; i++) {
        worker_stop(c->workers[i]);
    }
    for (unsigned i = 0; i < c->config->workers && c->engines; i++) {
        engine_free(c->engines[i]);
    }
    for (unsigned i = 0; i < c->config->workers; i++) {
        snap_slot_fini(&c->worlds[i]);
        snap_slot_fini(&c->l7s[i]);
    }
}

static void free_identity(struct control *c)
{
    cert_wait_free(c->first);
    if (c->uses_identity) {
        cert_manager_unuse(c->link.certs, c->identity);
    }
    /* What the engines said last: they have ended, so two turns hear all of it. */
    for (int i = 0; i < 2 && c->loop; i++) {
        (void)loop_turn(c->loop, 0);
    }
}

void control_free(struct control *c)
{
    if (!c) {
        return;
    }
    if (!c->loop) {
        mem_free(c);
        return;
    }
    spare_memory_fini(&c->spare);
    close_doors(c);
    admin_free(c->admin);
    free_engines(c);
    free_identity(c);
    ads_client_free(c->ads);
    routes_sink_free(c->routes);
    control_link_end_certs(&c->link);
    identity_unref(c->identity);
    for (unsigned i = 0; i < c->config->workers && c->workers; i++) {
        worker_free(c->workers[i]);
    }
    mem_free(c->gathered);
    mem_free(c->worlds);
    mem_free(c->l7s);
    mem_free(c->engine_loops);
    mem_free(c->workers);
    mem_free(c->engines);
    control_link_close(&c->link, c->loop);
    readiness_free(c->readiness);
    stats_free(c->stats);
    timer_clear(&c->limit);
    quit_signals_close(&c->signals);
    task_fini(&c->task);
    loop_free(c->loop);
    mem_free(c);
}
