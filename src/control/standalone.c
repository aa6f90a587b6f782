/* SPDX-License-Identifier: Apache-2.0 */
#include "control/standalone.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "apiserver/api.h"
#include "apiserver/bootstrap.h"
#include "apiserver/endpoints.h"
#include "apiserver/node_ready.h"
#include "apiserver/serve.h"
#include "apiserver/store.h"
#include "apiserver/store_writer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "control/access_file.h"
#include "control/listen.h"
#include "control/server_cert.h"
#include "io/file.h"
#include "io/jobs.h"
#include "io/sock.h"
#include "io/worker.h"

static struct log_scope scope = LOG_SCOPE("standalone");

/* Callers share the room for handshakes by their addresses. */
static const struct tls_loop_options room = {.lane_max = TLS_HANDSHAKES_MAX};

enum { THREADS = 2, JOBS_MAX = 512, BOOTSTRAP_TURN_MS = 100, BOOTSTRAP_TURNS = 300 };

/* Reads the credentials' folder in the pool. */
struct access_scan {
    struct job job;
    char *data;
    struct access_list list;
    struct diag why;
    int result;
};

struct standalone {
    struct task task;
    struct worker *worker;
    struct loop *loop;
    struct jobs *jobs;
    struct store *store;
    struct store_writer *writer;
    struct api *api;
    struct tls_loop *tls;
    struct server_cert *cert;
    struct serve *serve;
    struct endpoints *endpoints;
    struct node_ready *nodes;
    struct endpoint at;
    const struct settings *settings;
    struct extra extra;
    struct fd_watch changes; /* of the credentials' folder */
    int inotify_fd;
    struct access_scan *scan; /* under way */
    bool scan_again;
    struct access_list known; /* who has been let in */
    char *self;               /* kubeconfig of the control plane */
};

/* ---- credentials */

static const char *const admin_groups[] = {"system:masters", "system:authenticated", NULL};
static const char *const node_groups[] = {"system:nodes", "system:authenticated", NULL};

static void let_in(struct standalone *s, const char *name, const char *token)
{
    AUTO(strbuf) struct strbuf user = {0};
    struct serve_user u = {.token = token, .name = name};
    size_t head = strlen(ACCESS_NODE);

    if (strcmp(name, ACCESS_ADMIN) == 0) {
        u.groups = admin_groups;
        u.is_admin = true;
    } else if (strncmp(name, ACCESS_NODE, head) == 0) {
        u.groups = node_groups;
        u.node = name + head;
        strbuf_printf(&user, "system:node:%s", u.node);
        u.name = strbuf_text(&user);
    } else {
        return; /* no credential of ours */
    }
    if (serve_add_user(s->serve, &u) < 0) {
        log_error(&scope, "too many credentials: one does not count", F_STR("name", name));
    }
}

static bool is_listed(const struct access_list *l, const char *name)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (strcmp(l->at[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whoever has no file any more gets a token that nobody knows. Takes l. */
static void let_all_in(struct standalone *s, struct access_list *take_l)
{
    for (unsigned i = 0; i < s->known.count; i++) {
        if (!is_listed(take_l, s->known.at[i].name)) {
            AUTO(text) char *nobody_knows = access_token_new();
            let_in(s, s->known.at[i].name, nobody_knows);
        }
    }
    for (unsigned i = 0; i < take_l->count; i++) {
        let_in(s, take_l->at[i].name, take_l->at[i].token);
    }
    access_list_fini(&s->known);
    s->known = *take_l;
    *take_l = (struct access_list){.at = NULL};
}

static void scan_free(struct access_scan *x)
{
    access_list_fini(&x->list);
    mem_free(x->data);
    mem_free(x);
}

static void scan_work(struct job *j)
{
    struct access_scan *x = container_of(j, struct access_scan, job);

    x->result = access_list_blocking(x->data, &x->list, &x->why);
}

static void scan_abandoned(struct job *j)
{
    scan_free(container_of(j, struct access_scan, job));
}

static void scan_start(struct standalone *s)
{
    if (s->scan) {
        s->scan_again = true;
        return;
    }
    struct access_scan *x = mem_new(struct access_scan);
    x->job = (struct job){.work = scan_work, .abandoned = scan_abandoned};
    x->data = mem_strdup(s->settings->data);
    s->scan_again = false;
    if (jobs_submit(s->jobs, &x->job, 0, &s->task) < 0) {
        log_warn(&scope, "a new credential was not read: too much to do", F_STR("data", x->data));
        scan_free(x);
        return;
    }
    s->scan = x;
}

static void scan_end(struct standalone *s)
{
    struct access_scan *x = s->scan;

    if (!x || !job_is_done(&x->job)) {
        return;
    }
    s->scan = NULL;
    if (x->result < 0) {
        log_warn(&scope, "credentials were not read", F_DIAG(&x->why));
    } else {
        let_all_in(s, &x->list);
    }
    scan_free(x);
    if (s->scan_again) {
        scan_start(s);
    }
}

static void run(struct task *t, unsigned why)
{
    struct standalone *s = container_of(t, struct standalone, task);
    char events[4096];
    bool any = false;

    (void)why; /* every wake is a hint */
    while (read(s->inotify_fd, events, sizeof(events)) > 0) {
        any = true;
    }
    fd_watch_blocked(&s->changes, FD_READABLE);
    scan_end(s);
    if (any) {
        scan_start(s);
    }
}

/* A folder that changes while it is read is read again: the watch comes first. */
static int open_credentials_blocking(struct standalone *s, struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};
    struct access_list l = {.at = NULL};

    strbuf_printf(&path, "%s/credentials", s->settings->data);
    s->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->inotify_fd < 0 || inotify_add_watch(s->inotify_fd, strbuf_text(&path),
                                               IN_CLOSE_WRITE | IN_MOVE | IN_DELETE) < 0) {
        return FAIL(why, neg_errno(), "watch folder %s", strbuf_text(&path));
    }
    int r = fd_watch_start(&s->changes, s->loop, &s->task, s->inotify_fd);
    if (r == 0) {
        r = access_list_blocking(s->settings->data, &l, why);
    }
    if (r == 0) {
        let_all_in(s, &l);
    }
    return r;
}

/* How this process reaches the server: "all addresses" is the loopback one. */
static struct endpoint own_address(const struct standalone *s)
{
    struct endpoint at = s->at;

    if (ip_is_unspecified(&at.ip)) {
        at.ip = (struct ip){.family = IP_V4, .bytes = {127, 0, 0, 1}};
    }
    return at;
}

/* "https://HOST:PORT" for nodes: as advertised, else as it listens. */
static void server_url(const struct standalone *s, struct strbuf *out)
{
    char text[ENDPOINT_TEXT];
    const char *said = s->settings->advertise;
    struct endpoint at = own_address(s);

    if (!said || ip_parse(&at.ip, said, strlen(said)) == 0) {
        strbuf_printf(out, "https://%s", endpoint_format(&at, text));
    } else if (strrchr(said, ':')) {
        strbuf_printf(out, "https://%s", said);
    } else {
        strbuf_printf(out, "https://%s:%u", said, s->at.port);
    }
}

static int write_credentials_blocking(struct standalone *s, const struct authority *authority,
                                      struct diag *why)
{
    AUTO(strbuf) struct strbuf url = {0};
    AUTO(strbuf) struct strbuf path = {0};
    AUTO(text) char *file = NULL;

    server_url(s, &url);
    /* For the command that makes a node's credential later. */
    strbuf_printf(&path, "%s/api-server", s->settings->data);
    int r = file_write_blocking(strbuf_text(&path), url.p, url.len, 0644, why);
    if (r == 0) {
        r = access_kubeconfig_blocking(s->settings->data, ACCESS_ADMIN, strbuf_text(&url),
                                       authority_root_pem(authority), &file, why);
    }
    for (unsigned i = 0; r == 0 && i < s->settings->nodes.count; i++) {
        AUTO(strbuf) struct strbuf name = {0};
        AUTO(text) char *node_file = NULL;
        strbuf_printf(&name, "%s%s", ACCESS_NODE, s->settings->nodes.at[i]);
        r = access_kubeconfig_blocking(s->settings->data, strbuf_text(&name), strbuf_text(&url),
                                       authority_root_pem(authority), &node_file, why);
    }
    return r;
}

/* The control plane's own credential never touches the disk. */
static int let_self_in(struct standalone *s, const struct authority *authority)
{
    char *token = access_token_new();
    AUTO(strbuf) struct strbuf url = {0};
    struct strbuf text = {0};
    struct endpoint at = own_address(s);
    char buf[ENDPOINT_TEXT];
    struct serve_user u = {
        .token = token, .name = "system:ambitd", .groups = admin_groups, .is_admin = true};
    int r = serve_add_user(s->serve, &u);

    strbuf_printf(&url, "https://%s", endpoint_format(&at, buf));
    access_kubeconfig_text(&text, strbuf_text(&url), authority_root_pem(authority), token);
    s->self = strbuf_take(&text);
    mem_free_secret(token, strlen(token));
    return r;
}

/* ---- what has to be there */

static void create(struct api *api, const char *target, const char *name)
{
    struct api_user self = {.name = "system:ambitd", .is_admin = true};
    AUTO(json) struct json *object = json_new_object();
    AUTO(strbuf) struct strbuf body = {0};
    struct api_response out = {0};

    json_set_str(json_make_object(object, "metadata"), "name", name);
    json_print(object, 0, &body);
    struct api_request rq = {.method = slice_of("POST"),
                             .target = slice_of(target),
                             .body = {body.p, body.len},
                             .user = &self,
                             .now_ns = clock_wall_ns()};
    api_handle(api, &rq, &out); /* one that is there already is fine */
    api_response_fini(&out);
}

static int bootstrap_blocking(struct standalone *s, struct diag *why)
{
    const char *ns = s->settings->mesh_namespace;
    AUTO(strbuf) struct strbuf accounts = {0};

    bootstrap(s->api, clock_wall_s());
    create(s->api, "/api/v1/namespaces", ns);
    strbuf_printf(&accounts, "/api/v1/namespaces/%s/serviceaccounts", ns);
    create(s->api, strbuf_text(&accounts), "ztunnel");
    for (unsigned i = 0; store_durable(s->store) < store_rv(s->store); i++) {
        if (i == BOOTSTRAP_TURNS) {
            return FAIL(why, -ERR_DEADLINE, "the store in %s takes no changes", s->settings->data);
        }
        (void)loop_turn(s->loop, BOOTSTRAP_TURN_MS); /* how much ran is of no interest */
    }
    return 0;
}

/* ---- building */

static int add_cidrs(struct api_config *c, const struct text_list *cidrs, struct diag *why)
{
    for (unsigned i = 0; i < cidrs->count; i++) {
        struct ip_prefix p;
        if (ip_prefix_parse(&p, cidrs->at[i], strlen(cidrs->at[i])) < 0) {
            return FAIL(why, -ERR_SYNTAX, "service-cidr: %s is no range of addresses",
                        cidrs->at[i]);
        }
        *(p.ip.family == IP_V4 ? &c->service_cidr4 : &c->service_cidr6) = p;
    }
    return 0;
}

static int open_store_blocking(struct standalone *s, struct diag *why)
{
    AUTO(strbuf) struct strbuf path = {0};
    struct api_config config = {.audience = NULL};
    int r = add_cidrs(&config, &s->settings->cidrs, why);

    if (r < 0) {
        return r;
    }
    strbuf_printf(&path, "%s/state.db", s->settings->data);
    s->store = store_new();
    r = store_writer_open_blocking(strbuf_text(&path), s->store, why, &s->writer);
    if (r == 0) {
        r = api_new(s->store, &config, why, &s->api);
    }
    if (r == 0) {
        store_writer_start(s->writer, s->loop, s->jobs);
        r = bootstrap_blocking(s, why);
    }
    return r;
}

static int open_server(struct standalone *s, const struct authority *authority, struct tls_ctx *tls,
                       struct diag *why)
{
    int fd = -1;
    int r = server_cert_new(&s->cert, s->loop, authority, s->settings, why);

    if (r < 0) {
        return r;
    }
    s->tls = tls_loop_new(s->loop, s->jobs, tls, &room);
    struct http_server_options http = {.tls = s->tls, .spec = server_cert_spec(s->cert)};
    s->serve = serve_new(s->loop, s->api, &http);
    serve_extra(s->serve, &s->extra);
    s->endpoints = endpoints_new(s->api, s->loop);
    s->nodes = node_ready_new(s->api, s->loop, NODE_READY_GRACE_MS);
    r = listen_at("api-listen", s->settings->api_listen, &fd, &s->at, why);
    return r < 0 ? r : serve_listen(s->serve, fd, why);
}

static int build_blocking(struct standalone *s, const struct authority *authority,
                          struct tls_ctx *tls, struct diag *why)
{
    s->worker = worker_new("api", why);
    s->jobs = jobs_new(THREADS, JOBS_MAX, JOBS_MAX, why);
    if (!s->worker || !s->jobs) {
        return surely_negative(why->code);
    }
    s->loop = worker_loop(s->worker);
    task_init(&s->task, s->loop, "credentials", run);
    int r = open_store_blocking(s, why);
    if (r == 0) {
        r = open_server(s, authority, tls, why);
    }
    if (r == 0) {
        r = write_credentials_blocking(s, authority, why);
    }
    if (r == 0) {
        r = open_credentials_blocking(s, why);
    }
    if (r == 0) {
        r = let_self_in(s, authority);
    }
    return r == 0 ? worker_start(s->worker, WORKER_ANY_CPU, why) : r;
}

int standalone_new_blocking(struct standalone **out, const struct settings *settings,
                            const struct authority *authority, struct tls_ctx *tls,
                            const struct extra *extra, struct diag *why)
{
    AUTO(standalone) struct standalone *s = mem_new(struct standalone);

    s->settings = settings;
    s->extra = *extra;
    s->inotify_fd = -1;
    int r = build_blocking(s, authority, tls, why);
    if (r == 0) {
        *out = MOVE(s);
    }
    return r;
}

void standalone_free(struct standalone *s)
{
    if (!s) {
        return;
    }
    worker_stop(s->worker);
    endpoints_free(s->endpoints);
    node_ready_free(s->nodes);
    serve_free(s->serve);
    if (s->scan) {
        job_abandon(&s->scan->job);
    }
    access_list_fini(&s->known);
    if (s->loop) {
        loop_end_orphans(s->loop); /* answers under way stand on what is freed next */
    }
    server_cert_free(s->cert);
    tls_loop_free(s->tls);
    store_writer_close(s->writer);
    api_free(s->api);
    store_free(s->store);
    jobs_free(s->jobs);
    fd_watch_stop(&s->changes);
    sock_close(&s->inotify_fd);
    if (s->loop) {
        task_fini(&s->task);
    }
    worker_free(s->worker);
    if (s->self) {
        mem_free_secret(s->self, strlen(s->self));
    }
    mem_free(s);
}

const char *standalone_kubeconfig(const struct standalone *s)
{
    return s->self;
}

struct endpoint standalone_address(const struct standalone *s)
{
    return s->at;
}
