/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/admin.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "io/worker.h"
#include "t.h"
#include "tcp_pair.h"
#include "wire.h"

enum { DOORS = 3, WORKERS = 3, PATIENCE_MS = 30000 };
enum { ADMIN, STATS, READINESS };

struct rig {
    struct loop *loop;
    struct metrics *metrics;
    struct readiness *readiness;
    struct admin *admin;
    struct endpoint at[DOORS];
    struct task quit_task;
    bool quit;
    unsigned quit_why;
    struct worker *worker[WORKERS];
    struct gather_source sources[WORKERS];
};

static void note_quit(struct task *t, unsigned why)
{
    container_of(t, struct rig, quit_task)->quit_why |= why;
}

static void render_dump(void *arg, struct slice query, unsigned *status, struct strbuf *out)
{
    if (slice_is(query, "fail")) {
        *status = 500;
    }
    strbuf_puts(out, arg);
}

/* On its own loop. */
static void render_part(void *arg, struct strbuf *out)
{
    struct worker **w = arg;

    strbuf_printf(out, "\"%u\"", worker_loop(*w) ? 1u : 0u);
}

static void start_workers(struct rig *g)
{
    for (int i = 0; i < WORKERS; i++) {
        g->worker[i] = worker_new("part", NULL);
        g->sources[i] = (struct gather_source){
            .loop = worker_loop(g->worker[i]), .render = render_part, .arg = &g->worker[i]};
    }
}

static bool rig_start(struct rig *g)
{
    static const struct metric_set *const sets[] = {NULL};

    *g = (struct rig){.loop = loop_new(NULL), .readiness = readiness_new()};
    g->metrics = metrics_new(sets, 0);
    task_init(&g->quit_task, g->loop, "quit", note_quit);
    struct admin_options o = {.title = "Test",
                              .metrics = g->metrics,
                              .readiness = g->readiness,
                              .log_directives = "info",
                              .quit = &g->quit,
                              .quit_task = &g->quit_task};
    g->admin = admin_new(g->loop, &o);
    start_workers(g);
    static char dump[] = "{\n}";
    admin_page(g->admin, &(struct admin_page){.path = "/config_dump",
                                              .what = "everything",
                                              .content_type = "application/json",
                                              .render = render_dump,
                                              .arg = dump});
    admin_page(g->admin, &(struct admin_page){.path = "/parts",
                                              .what = "of all loops",
                                              .content_type = "application/json",
                                              .sources = g->sources,
                                              .source_count = WORKERS});
    return admin_listen(g->admin, tcp_test_listener(IP_V4, &g->at[ADMIN]), NULL) == 0 &&
           admin_listen_stats(g->admin, tcp_test_listener(IP_V4, &g->at[STATS]), NULL) == 0 &&
           admin_listen_readiness(g->admin, tcp_test_listener(IP_V4, &g->at[READINESS]), NULL) == 0;
}

static void rig_stop(struct rig *g)
{
    admin_free(g->admin);
    for (int i = 0; i < WORKERS; i++) {
        worker_free(g->worker[i]);
    }
    (void)settle(g->loop); /* answers that came too late are thrown away here */
    loop_advance(g->loop, 60000);
    (void)settle(g->loop);
    task_fini(&g->quit_task);
    metrics_free(g->metrics);
    readiness_free(g->readiness);
    loop_free(g->loop);
}

/* What the door says to one request on its own connection. */
static char *ask(struct rig *g, int door, const char *method, const char *path, const char *fields)
{
    AUTO(strbuf) struct strbuf text = {0};
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    struct wire w;

    strbuf_printf(&text, "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", method, path,
                  fields);
    wire_start(&w, g->loop, tcp_stream_connect(g->loop, fd, &g->at[door], 2000), text.p, text.len);
    for (uint64_t end = clock_mono_ms() + PATIENCE_MS;
         !w.ended && w.failure == 0 && clock_mono_ms() < end;) {
        (void)loop_turn(g->loop, 5);
    }
    char *answer = mem_strdup(wire_text(&w));
    wire_stop(&w, 0);
    return answer;
}

static const char *body_of(const char *answer)
{
    const char *at = strstr(answer, "\r\n\r\n");

    return at ? at + 4 : "";
}

static bool says(const char *answer, const char *status, const char *type, const char *body,
                 bool whole)
{
    char want[128];
    bool typed = strstr(answer, "\r\ncontent-type: ") != NULL;

    (void)snprintf(want, sizeof(want), "\r\ncontent-type: %s\r\n", type ? type : "");
    return strncmp(answer + 9, status, 3) == 0 && (type ? strstr(answer, want) != NULL : !typed) &&
           (whole ? strcmp(body_of(answer), body) == 0
                  : strncmp(body_of(answer), body, strlen(body)) == 0);
}

/* In order: the level is state. As recorded, with our own scopes. */
static const struct {
    int door;
    const char *method;
    const char *path;
    const char *fields;
    const char *status;
    const char *type;
    const char *body;
    bool whole;
} table[] = {
    {ADMIN, "GET", "/", "", "200", "text/html; charset=utf-8", "<!DOCTYPE html>", false},
    {ADMIN, "POST", "/", "", "200", "text/html; charset=utf-8", "<!DOCTYPE html>", false},
    {ADMIN, "HEAD", "/", "", "200", "text/html; charset=utf-8", "", true},
    {ADMIN, "GET", "/config_dump", "", "200", "application/json", "{\n}", true},
    {ADMIN, "POST", "/config_dump", "", "200", "application/json", "{\n}", true},
    {ADMIN, "GET", "/config_dump?x=1", "", "200", "application/json", "{\n}", true},
    {ADMIN, "GET", "/config_dump?fail", "", "500", "text/plain", "{\n}", true},
    {ADMIN, "GET", "/config_dump/", "", "404", NULL, "", true},
    {ADMIN, "GET", "/logging", "", "405", "text/plain", "Invalid HTTP method\n", false},
    {ADMIN, "PUT", "/logging?level=debug", "", "405", "text/plain", "Invalid HTTP method\n", false},
    {ADMIN, "POST", "/logging", "", "200", "text/plain", "current log level is info\n", true},
    {ADMIN, "POST", "/logging?level=debug", "", "200", "text/plain", "current log level is debug\n",
     true},
    {ADMIN, "POST", "/logging?level=access=trace", "", "200", "text/plain",
     "current log level is access=trace,debug\n", true},
    {ADMIN, "POST", "/logging?level=info%2Chyper%3Doff", "", "200", "text/plain",
     "current log level is access=trace,hyper=off,info\n", true},
    {ADMIN, "POST", "/logging?level=foo:debug", "", "400", "text/plain",
     "Invalid level provided: foo:debug\n", false},
    {ADMIN, "POST", "/logging?level=bogus", "", "400", "text/plain",
     "Invalid level provided: bogus\n", false},
    {ADMIN, "POST", "/logging?level=", "", "200", "text/plain",
     "current log level is access=trace,hyper=off,info\n", true},
    {ADMIN, "POST", "/logging?level=xds=bogus", "", "400", "text/plain",
     "Invalid level provided: xds=bogus\n", false},
    {ADMIN, "POST", "/logging?x=1", "", "200", "text/plain",
     "current log level is access=trace,hyper=off,info\n", true},
    {ADMIN, "POST", "/logging?reset=1", "", "200", "text/plain", "current log level is info\n",
     true},
    {ADMIN, "POST", "/logging?reset&level=warn", "", "200", "text/plain",
     "current log level is warn\n", true},
    {ADMIN, "POST", "/logging?level=off", "", "200", "text/plain", "current log level is off\n",
     true},
    {ADMIN, "POST", "/logging?reset", "", "200", "text/plain", "current log level is info\n", true},
    {ADMIN, "GET", "/quitquitquit", "", "405", NULL, "", true},
    {ADMIN, "GET", "/nope", "", "404", NULL, "", true},
    {ADMIN, "GET", "/stats/prometheus", "", "404", NULL, "", true},
    {STATS, "GET", "/metrics", "", "200", "text/plain; charset=utf-8", "# EOF\n", true},
    {STATS, "POST", "/metrics", "", "200", "text/plain; charset=utf-8", "# EOF\n", true},
    {STATS, "HEAD", "/metrics", "", "200", "text/plain; charset=utf-8", "", true},
    {STATS, "GET", "/stats/prometheus?format=x", "Accept: text/plain\r\n", "200",
     "text/plain; charset=utf-8", "# EOF\n", true},
    {STATS, "GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n", "200",
     "application/openmetrics-text;charset=utf-8;version=1.0.0", "# EOF\n", true},
    {STATS, "GET", "/metrics/", "", "404", NULL, "", true},
    {STATS, "GET", "/", "", "404", NULL, "", true},
    {STATS, "GET", "/config_dump", "", "404", NULL, "", true},
    {READINESS, "GET", "/healthz/ready", "", "200", "text/plain", "ready\n", true},
    {READINESS, "GET", "/healthz/ready?x=1", "", "200", "text/plain", "ready\n", true},
    {READINESS, "POST", "/healthz/ready", "", "405", NULL, "", true},
    {READINESS, "HEAD", "/healthz/ready", "", "405", NULL, "", true},
    {READINESS, "GET", "/healthz/ready/", "", "404", NULL, "", true},
    {READINESS, "GET", "/ready", "", "404", NULL, "", true},
    {READINESS, "GET", "/", "", "404", NULL, "", true},
};

TEST(every_recorded_request_gets_the_recorded_answer)
{
    struct rig g;

    CHECK_INT(log_set_level("info", NULL), 0);
    CHECK(rig_start(&g));
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        AUTO(text)
        char *answer = ask(&g, table[i].door, table[i].method, table[i].path, table[i].fields);
        if (!says(answer, table[i].status, table[i].type, table[i].body, table[i].whole)) {
            printf("# %s %s: %.300s\n", table[i].method, table[i].path, answer);
            test_fail(t, __FILE__, __LINE__, table[i].path);
        }
    }
    rig_stop(&g);
}

TEST(readiness_names_what_is_missing)
{
    struct rig g;

    CHECK(rig_start(&g));
    readiness_block(g.readiness, "workload proxy manager");
    readiness_block(g.readiness, "state manager");
    readiness_block(g.readiness, "state manager");
    AUTO(text) char *both = ask(&g, READINESS, "GET", "/healthz/ready", "");
    CHECK(says(both, "500", "text/plain",
               "not ready, pending: state manager, workload proxy manager\n", true));
    readiness_clear(g.readiness, "state manager");
    readiness_clear(g.readiness, "never set");
    CHECK(!readiness_is_ready(g.readiness));
    AUTO(text) char *one = ask(&g, READINESS, "GET", "/healthz/ready", "");
    CHECK(says(one, "500", "text/plain", "not ready, pending: workload proxy manager\n", true));
    readiness_clear(g.readiness, "workload proxy manager");
    AUTO(text) char *none = ask(&g, READINESS, "GET", "/healthz/ready", "");
    CHECK(says(none, "200", "text/plain", "ready\n", true));
    rig_stop(&g);
}

TEST(quitting_answers_first_and_wakes_who_has_to_know)
{
    struct rig g;

    CHECK(rig_start(&g));
    AUTO(text) char *answer = ask(&g, ADMIN, "POST", "/quitquitquit", "");
    CHECK(says(answer, "200", "text/plain", "shutdown now\n", true));
    CHECK(g.quit);
    CHECK(g.quit_why & WAKE_DRAIN);
    rig_stop(&g);
}

TEST(a_page_is_gathered_from_all_loops)
{
    struct rig g;

    CHECK(rig_start(&g));
    for (int i = 0; i < WORKERS; i++) {
        CHECK_INT(worker_start(g.worker[i], WORKER_ANY_CPU, NULL), 0);
    }
    for (int i = 0; i < 20; i++) {
        AUTO(text) char *answer = ask(&g, ADMIN, "GET", "/parts", "");
        CHECK(says(answer, "200", "application/json", "[\"1\",\"1\",\"1\"]\n", true));
    }
    for (int i = 0; i < WORKERS; i++) {
        worker_stop(g.worker[i]);
    }
    rig_stop(&g);
}

TEST(an_asker_that_goes_away_leaves_nothing_behind)
{
    struct rig g;

    CHECK(rig_start(&g)); /* the workers do not run: nobody answers */
    static const char text[] = "GET /parts HTTP/1.1\r\nHost: a\r\n\r\n";
    struct wire w;
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    wire_start(&w, g.loop, tcp_stream_connect(g.loop, fd, &g.at[ADMIN], 2000), text,
               sizeof(text) - 1);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.loop, 2);
    }
    CHECK_INT(w.got.len, 0);
    wire_stop(&w, -ECONNRESET);
    for (int i = 0; i < 20; i++) {
        (void)loop_turn(g.loop, 2);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_INT(worker_start(g.worker[i], WORKER_ANY_CPU, NULL), 0);
    }
    AUTO(text)
    char *answer = ask(&g, ADMIN, "GET", "/parts", ""); /* behind the one that was given up */
    CHECK(says(answer, "200", "application/json", "[\"1\",\"1\",\"1\"]\n", true));
    rig_stop(&g);
}
