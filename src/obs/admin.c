/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/admin.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/url.h"
#include "io/sock_factory.h"

enum { GATHERS_MAX = 32, DOORS = 3 };

/* One of the three servers. */
struct door {
    struct admin *admin;
    enum admin_door kind;
    struct task task;
    struct http_server *server;
};

/* A request whose answer is gathered from several loops. */
struct pending {
    struct task task;
    struct list in_admin;
    struct admin *admin;
    const struct admin_page *page;
    struct exchange *exchange;
    struct gather *gather;
};

struct admin {
    struct loop *loop;
    struct admin_options options;
    struct door doors[DOORS];
    struct admin_page pages[ADMIN_PAGES_MAX];
    unsigned page_count;
    struct list pending;
    unsigned pending_count;
};

/* ---- answers; each takes x */

static void answer_status(struct admin *a, struct exchange *take_x, unsigned status)
{
    exchange_reply_text(a->loop, take_x, status, NULL, "");
}

static void answer_text(struct admin *a, struct exchange *take_x, unsigned status, const char *type,
                        struct strbuf *take_body)
{
    AUTO(message) struct message head = {.status = status};

    if (type) {
        message_puts(&head, "content-type", type);
    }
    exchange_reply(a->loop, take_x, &head, take_body);
}

static void answer_index(struct admin *a, struct exchange *take_x)
{
    struct strbuf b = {0};

    strbuf_printf(
        &b, "<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body><h1>%s</h1>\n<table>\n",
        a->options.title, a->options.title);
    for (unsigned i = 0; i < a->page_count; i++) {
        strbuf_printf(&b, "<tr><td><a href=\"%s\">%s</a></td><td>%s</td></tr>\n", a->pages[i].path,
                      a->pages[i].path, a->pages[i].what);
    }
    strbuf_puts(&b, "<tr><td>/logging</td><td>query or change log levels (POST)</td></tr>\n");
    if (a->options.quit) {
        strbuf_puts(&b, "<tr><td>/quitquitquit</td><td>shut down (POST)</td></tr>\n");
    }
    strbuf_puts(&b, "</table></body></html>\n");
    answer_text(a, take_x, 200, "text/html; charset=utf-8", &b);
}

static bool is_post(const struct exchange *x)
{
    return message_is_method(&x->in, "POST");
}

/* The wanted levels out of the query: an error leaves them as they were, and *level is what was wrong. */
static int change_levels(struct admin *a, struct slice query, struct strbuf *level)
{
    struct slice raw = {"", 0};
    bool reset = message_query_find(query, "reset", &raw) && a->options.log_directives;

    if (message_query_find(query, "level", &raw) && url_decode(level, raw, URL_FORM) < 0) {
        return -ERR_SYNTAX;
    }
    if (!reset) {
        return log_set_level(strbuf_text(level), NULL);
    }
    AUTO(strbuf) struct strbuf all = {0};
    strbuf_printf(&all, "%s,%s", a->options.log_directives, strbuf_text(level));
    return log_reset_level(strbuf_text(&all), NULL);
}

static void answer_logging(struct admin *a, struct exchange *take_x)
{
    static const char usage[] =
        "usage: POST /logging                  (the current level)\n"
        "usage: POST /logging?level=<level>    (off, error, warn, info, debug or trace)\n"
        "usage: POST /logging?level=<scope>=<level>,<level>\n"
        "usage: POST /logging?reset            (what it was at start)\n";
    AUTO(strbuf) struct strbuf level = {0};
    struct strbuf b = {0};
    struct slice path;
    struct slice query;

    if (!is_post(take_x)) {
        strbuf_printf(&b, "Invalid HTTP method\n%s", usage);
        answer_text(a, take_x, 405, "text/plain", &b);
        return;
    }
    message_target(&take_x->in, &path, &query);
    if (change_levels(a, query, &level) < 0) {
        strbuf_printf(&b, "Invalid level provided: %s\n%s", strbuf_text(&level), usage);
        answer_text(a, take_x, 400, "text/plain", &b);
        return;
    }
    strbuf_puts(&b, "current log level is ");
    log_get_level(&b);
    strbuf_putc(&b, '\n');
    answer_text(a, take_x, 200, "text/plain", &b);
}

static void answer_quit(struct admin *a, struct exchange *take_x)
{
    if (!is_post(take_x)) {
        answer_status(a, take_x, 405);
        return;
    }
    *a->options.quit = true;
    task_wake(a->options.quit_task, WAKE_DRAIN);
    exchange_reply_text(a->loop, take_x, 200, "text/plain", "shutdown now\n");
}

/* ---- pages */

static void pending_free(struct pending *p)
{
    list_remove(&p->in_admin);
    p->admin->pending_count--;
    task_fini(&p->task);
    gather_free(p->gather);
    exchange_close(p->exchange, -ERR_CANCELLED);
    mem_free(p);
}

static void pending_run(struct task *t, unsigned why)
{
    struct pending *p = container_of(t, struct pending, task);
    struct strbuf b = {0};

    (void)why; /* every wake is a hint */
    if (!gather_is_done(p->gather)) {
        return;
    }
    gather_write(p->gather, &b);
    if (p->page->compose) {
        struct strbuf gathered = b;
        b = (struct strbuf){0};
        p->page->compose(p->page->arg, &gathered, &b);
        strbuf_fini(&gathered);
    } else {
        strbuf_putc(&b, '\n');
    }
    answer_text(p->admin, p->exchange, 200, p->page->content_type, &b);
    p->exchange = NULL;
    pending_free(p);
}

static void gather_page(struct admin *a, struct exchange *take_x, const struct admin_page *page)
{
    if (a->pending_count >= GATHERS_MAX) {
        answer_status(a, take_x, 503);
        return;
    }
    struct pending *p = mem_new(struct pending);
    task_init(&p->task, a->loop, "admin page", pending_run);
    p->admin = a;
    p->page = page;
    p->exchange = take_x;
    stream_own(&take_x->s, &p->task);
    list_append(&a->pending, &p->in_admin);
    a->pending_count++;
    p->gather = gather_start(a->loop, page->sources, page->source_count, &p->task);
}

static void answer_page(struct admin *a, struct exchange *take_x, const struct admin_page *page)
{
    struct strbuf b = {0};
    struct slice path;
    struct slice query;
    unsigned status = 200;

    if (!page->render) {
        gather_page(a, take_x, page);
        return;
    }
    message_target(&take_x->in, &path, &query);
    page->render(page->arg, query, &status, &b);
    answer_text(a, take_x, status, status == 200 ? page->content_type : "text/plain", &b);
}

/* ---- doors */

static void serve_admin(struct admin *a, struct exchange *take_x, struct slice path)
{
    if (slice_is(path, "/")) {
        answer_index(a, take_x);
        return;
    }
    if (slice_is(path, "/logging")) {
        answer_logging(a, take_x);
        return;
    }
    if (slice_is(path, "/quitquitquit") && a->options.quit) {
        answer_quit(a, take_x);
        return;
    }
    for (unsigned i = 0; i < a->page_count; i++) {
        if (slice_is(path, a->pages[i].path)) {
            answer_page(a, take_x, &a->pages[i]);
            return;
        }
    }
    answer_status(a, take_x, 404);
}

static void serve_stats(struct admin *a, struct exchange *take_x, struct slice path)
{
    struct strbuf b = {0};
    struct slice accept = {NULL, 0};

    if (!slice_is(path, "/metrics") && !slice_is(path, "/stats/prometheus")) {
        answer_status(a, take_x, 404);
        return;
    }
    (void)message_find(&take_x->in, "accept", &accept); /* without one: plain text */
    bool open_metrics =
        accept.len > 0 && memmem(accept.p, accept.len, "application/openmetrics-text", 28) != NULL;
    metrics_write(a->options.metrics, &b);
    answer_text(a, take_x, 200,
                open_metrics ? "application/openmetrics-text;charset=utf-8;version=1.0.0"
                             : "text/plain; charset=utf-8",
                &b);
}

static void serve_readiness(struct admin *a, struct exchange *take_x, struct slice path)
{
    struct strbuf b = {0};

    if (!slice_is(path, "/healthz/ready")) {
        answer_status(a, take_x, 404);
        return;
    }
    if (!message_is_method(&take_x->in, "GET")) {
        answer_status(a, take_x, 405);
        return;
    }
    if (readiness_is_ready(a->options.readiness)) {
        exchange_reply_text(a->loop, take_x, 200, "text/plain", "ready\n");
        return;
    }
    strbuf_puts(&b, "not ready, pending: ");
    readiness_write(a->options.readiness, &b);
    strbuf_putc(&b, '\n');
    answer_text(a, take_x, 500, "text/plain", &b);
}

static void serve(struct door *d, struct exchange *take_x)
{
    struct slice path;
    struct slice query;

    message_target(&take_x->in, &path, &query);
    switch (d->kind) {
    case ADMIN_DOOR:
        serve_admin(d->admin, take_x, path);
        break;
    case ADMIN_STATS:
        serve_stats(d->admin, take_x, path);
        break;
    case ADMIN_READINESS:
        serve_readiness(d->admin, take_x, path);
        break;
    }
}

static void door_run(struct task *t, unsigned why)
{
    struct door *d = container_of(t, struct door, task);
    struct exchange *x = NULL;

    (void)why; /* every wake is a hint */
    while (http_server_next(d->server, &x) > 0) {
        serve(d, x);
    }
}

static void door_open(struct admin *a, enum admin_door kind)
{
    struct door *d = &a->doors[kind];
    struct http_server_options o = {.protocol = HTTP_ONLY_H1,
                                    .h1 = {.header_ms = 2000, .body_bytes = 64 << 10}};

    d->admin = a;
    d->kind = kind;
    task_init(&d->task, a->loop, "admin", door_run);
    d->server = http_server_new(a->loop, &o, &d->task);
}

struct admin *admin_new(struct loop *l, const struct admin_options *options)
{
    struct admin *a = mem_new(struct admin);

    a->loop = l;
    a->options = *options;
    list_init(&a->pending);
    door_open(a, ADMIN_DOOR);
    door_open(a, ADMIN_STATS);
    door_open(a, ADMIN_READINESS);
    return a;
}

void admin_page(struct admin *a, const struct admin_page *page)
{
    if (a->page_count < ADMIN_PAGES_MAX) {
        a->pages[a->page_count++] = *page;
    }
}

int admin_listen(struct admin *a, int take_fd, struct diag *why)
{
    return http_server_listen(a->doors[ADMIN_DOOR].server, take_fd, why);
}

int admin_listen_stats(struct admin *a, int take_fd, struct diag *why)
{
    return http_server_listen(a->doors[ADMIN_STATS].server, take_fd, why);
}

int admin_listen_readiness(struct admin *a, int take_fd, struct diag *why)
{
    return http_server_listen(a->doors[ADMIN_READINESS].server, take_fd, why);
}

int admin_open(struct admin *a, enum admin_door door, const char *address, uint16_t port,
               struct diag *why)
{
    struct sock_spec spec = {.role = SOCK_ROLE_LISTEN, .at.port = port, .backlog = 128};
    struct diag lapse = {0};
    int r = ip_parse(&spec.at.ip, address, strlen(address));

    if (r < 0) {
        return FAIL(why, r, "'%s' is not an address", address);
    }
    spec.family = (enum ip_family)spec.at.ip.family;
    int fd = sock_spec_make(&spec, &lapse, why);
    return fd < 0 ? fd : http_server_listen(a->doors[door].server, fd, why);
}

void admin_free(struct admin *a)
{
    if (!a) {
        return;
    }
    list_for_each_safe (n, &a->pending) {
        pending_free(container_of(n, struct pending, in_admin));
    }
    for (unsigned i = 0; i < DOORS; i++) {
        http_server_free(a->doors[i].server);
        task_fini(&a->doors[i].task);
    }
    mem_free(a);
}
