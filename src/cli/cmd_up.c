/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/fix.h"
#include "cli/http_get.h"
#include "cli/node_where.h"
#include "cli/runtime_client.h"
#include "cli/up_api.h"
#include "cli/up_lock.h"
#include "cli/up_log.h"
#include "cli/up_plan.h"
#include "cli/up_settings.h"
#include "codec/json.h"
#include "io/file.h"

enum { LOOK_MS = 50, STOP_MS = 10000, LOG_LINES = 5, PROBE_MS = 1000 };

struct up {
    struct cli *cli;
    struct up_config config;
    struct json *state;
    bool is_new;                /* nothing was up before this call */
    bool started[UP_PARTS];     /* by this call */
    struct json *did[UP_PARTS]; /* what the document says of those; borrowed */
    size_t log_from[UP_PARTS];
};

/* ---- is a part ready? */

static bool answers_ready(uint16_t port)
{
    struct http_where where = {.at = {{IP_V4, {127, 0, 0, 1}}, port}, .limit_ms = PROBE_MS};
    struct http_answer a;

    if (http_get_blocking(&where, "/healthz/ready", &a, NULL) < 0) {
        return false;
    }
    bool ready = a.status == 200;
    http_answer_fini(&a);
    return ready;
}

static bool control_is_ready(const struct up *u)
{
    AUTO(text) char *file = up_path(u->config.data, "admin", ".kubeconfig");

    return answers_ready(UP_PORT_CONTROL_READY) && file_exists_blocking(file);
}

/* Its socket is there; it is ready only with a proxy. */
static bool agent_listens(const struct up *u)
{
    AUTO(text) char *path = up_path(u->config.run_dir, "runtime", ".sock");
    struct runtime_client c;

    if (runtime_open(&c, path, NULL) < 0) {
        return false;
    }
    runtime_close(&c);
    return true;
}

static bool all_are_ready(const struct up *u)
{
    (void)u; /* they listen where they always do */
    return answers_ready(NODE_PORT_READINESS) && answers_ready(UP_PORT_AGENT_READY);
}

/* ---- saying */

/* What a part has written to its log since this call started it: the last lines of it. */
static void put_log(struct up *u, enum up_part p, const char *text)
{
    const char *from = text + strlen(text);

    for (int lines = 0; from > text; from--) {
        lines += from[-1] == '\n';
        if (lines > LOG_LINES) {
            break;
        }
    }
    struct slice rest = slice_of(from);
    struct slice line;
    for (bool more = true; more;) {
        more = slice_cut(rest, '\n', &line, &rest);
        if (line.len > 0) {
            cli_evidence(u->cli, "%.*s", (int)line.len, line.p);
        }
    }
    cli_evidence(u->cli, "all of it: %s/%s.log", u->config.log_dir, up_part_name(p));
}

static char *read_log(const struct up *u, enum up_part p)
{
    AUTO(text) char *path = up_path(u->config.log_dir, up_part_name(p), ".log");
    AUTO(text) char *text = NULL;
    size_t len = 0;

    if (file_read_blocking(path, &text, &len, NULL) < 0 || len < u->log_from[p]) {
        return mem_strdup("");
    }
    return mem_strdup(text + u->log_from[p]);
}

static enum answer fail_part(struct up *u, enum up_part p, const char *what)
{
    AUTO(text) char *text = read_log(u, p);
    AUTO(strbuf) struct strbuf reason = {0};
    AUTO(strbuf) struct strbuf fix = {0};
    bool known = up_log_reason(text, &reason, &fix);

    (void)cli_fail(u->cli, ANSWER_NO, NULL, "%s %s%s%s", up_part_name(p), what, known ? ": " : "",
                   strbuf_text(&reason));
    put_log(u, p, text);
    cli_helps(u->cli, fix.len > 0 ? strbuf_text(&fix) : "ambit up, once the cause is gone");
    return ANSWER_NO;
}

/* ---- starting */

static enum answer start(struct up *u, enum up_part p)
{
    AUTO(json) struct json *argv = up_argv(&u->config, p);
    AUTO(json) struct json *env = up_env(&u->config, p);
    AUTO(text) char *log = up_path(u->config.log_dir, up_part_name(p), ".log");
    struct daemon d = up_state_daemon(u->state, p);
    struct diag why = {0};

    if (daemon_is_alive(&d)) {
        (void)cli_did(u->cli, "", up_part_name(p), "unchanged");
        cli_say(u->cli, "%-14s runs already (pid %d)", up_part_name(p), (int)d.pid);
        return ANSWER_YES;
    }
    struct stat old;
    u->log_from[p] = stat(log, &old) == 0 ? (size_t)old.st_size : 0;
    int r = daemon_start_blocking(argv, env, log, &d, &why);
    if (r == 0) {
        u->started[p] = true;
        u->did[p] = cli_did(u->cli, "", up_part_name(p), "started");
        up_state_set_daemon(u->state, p, &d);
        r = up_state_save_blocking(u->config.run_dir, u->state, &why);
    }
    return r < 0 ? cli_fail(u->cli, ANSWER_NO, NULL, "%s", why.text) : ANSWER_YES;
}

static enum answer wait_for(struct up *u, enum up_part p, bool (*is_ready)(const struct up *u))
{
    struct daemon d = up_state_daemon(u->state, p);
    struct progress progress;
    bool ready;

    progress_begin(&progress, &u->cli->term, up_part_name(p));
    while (!(ready = is_ready(u)) && daemon_is_alive(&d) &&
           progress_ms(&progress) < args_ms(&u->cli->args, "timeout")) {
        progress_tick(&progress);
        (void)poll(NULL, 0, LOOK_MS); /* a signal only makes us look earlier */
    }
    progress_end(&progress);
    if (!daemon_is_alive(&d)) {
        return fail_part(u, p, "has ended");
    }
    if (!ready) {
        return fail_part(u, p, "is not ready in time");
    }
    if (u->started[p]) {
        cli_say(u->cli, "%-14s ready after %llu ms (pid %d)", up_part_name(p),
                (unsigned long long)progress_ms(&progress), (int)d.pid);
    }
    return ANSWER_YES;
}

static enum answer prepare_api(struct up *u)
{
    struct diag why = {0};

    if (up_api_prepare_blocking(u->cli, &u->config, &why) < 0) {
        return cli_fail(u->cli, ANSWER_NO, NULL, "prepare the API: %s", cli_words(u->cli, &why));
    }
    return ANSWER_YES;
}

static enum answer start_all(struct up *u)
{
    enum answer a = start(u, UP_CONTROL);

    if (a == ANSWER_YES) {
        a = wait_for(u, UP_CONTROL, control_is_ready);
    }
    if (a == ANSWER_YES) {
        a = prepare_api(u);
    }
    if (a == ANSWER_YES) {
        a = start(u, UP_AGENT);
    }
    if (a == ANSWER_YES) {
        a = wait_for(u, UP_AGENT, agent_listens);
    }
    if (a == ANSWER_YES) {
        a = start(u, UP_PROXY);
    }
    return a == ANSWER_YES ? wait_for(u, UP_PROXY, all_are_ready) : a;
}

/* What this call has started goes again; what ran before stays. */
static void roll_back(struct up *u)
{
    for (int p = UP_PARTS - 1; p >= 0; p--) {
        struct daemon d = up_state_daemon(u->state, (enum up_part)p);
        struct diag why = {0};
        if (!u->started[p]) {
            continue;
        }
        int r = daemon_stop_blocking(&d, STOP_MS, &why);
        if (r < 0) {
            (void)cli_fail(u->cli, ANSWER_NO, "ambit down", "%s", why.text);
            return;
        }
        json_set_str(u->did[p], "result", r == 0 ? "ended" : "killed");
    }
    if (u->is_new) {
        up_state_forget_blocking(u->config.run_dir);
    }
}

/* ---- files */

static int make_folder(const char *path, mode_t mode, struct diag *why)
{
    return mkdir(path, mode) < 0 && errno != EEXIST
               ? FAIL(why, neg_errno(), "make %s: %s", path, err_text(neg_errno()))
               : 0;
}

static int make_folders(const struct up_config *c, struct diag *why)
{
    AUTO(text) char *nodes = up_path(c->run_dir, "nodes", ""); /* the lock is in RUN-DIR already */
    int r = make_folder(nodes, 0755, why);

    return r < 0 ? r : make_folder(c->log_dir, 0750, why);
}

static int describe_node(const struct up_config *c, struct diag *why)
{
    AUTO(json) struct json *j = up_node_file(c);
    AUTO(strbuf) struct strbuf path = {0};
    AUTO(strbuf) struct strbuf text = {0};

    strbuf_printf(&path, "%s/nodes/%s.json", c->run_dir, c->node);
    json_print(j, JSON_PRINT_INDENT, &text);
    return file_write_blocking(strbuf_text(&path), text.p, text.len, 0644, why);
}

static int load_state(struct up *u, struct diag *why)
{
    int r = up_state_load_blocking(args_text(&u->cli->args, "run-dir"), &u->state, why);

    u->is_new = r == -ENOENT;
    if (u->is_new) {
        u->state = json_new_object();
        json_set_int(u->state, "version", UP_STATE_VERSION);
        r = 0;
    }
    return r;
}

/* ---- the whole */

static enum answer bring_up(struct up *u)
{
    struct diag why = {0};

    if (make_folders(&u->config, &why) < 0) {
        return cli_fail(u->cli, ANSWER_NO, NULL, "%s", why.text);
    }
    up_settings_keep(u->state, u->config.settings);
    enum answer a = start_all(u);
    if (a == ANSWER_YES && describe_node(&u->config, &why) < 0) {
        a = cli_fail(u->cli, ANSWER_NO, NULL, "%s", why.text);
    }
    if (a != ANSWER_YES) {
        roll_back(u);
        return a;
    }
    cli_say(u->cli, "OK: the mesh is up on node %s", u->config.node);
    cli_say(u->cli, "next: ambit label ns default istio.io/dataplane-mode=ambient");
    cli_say(u->cli, "      ambit run --name web -- COMMAND");
    cli_say(u->cli, "      ambit status");
    return ANSWER_YES;
}

/* The programs that run would not know of what is wanted now. */
static enum answer refuse_others(struct up *u)
{
    AUTO(strbuf) struct strbuf said = {0};
    AUTO(strbuf) struct strbuf fix = {0};

    if (!up_settings_clash(&u->cli->args, u->state, &said)) {
        return ANSWER_YES;
    }
    strbuf_puts(&fix, "ambit down && ");
    fix_again(u->cli, false, "", &fix);
    return cli_fail(u->cli, ANSWER_NO, strbuf_text(&fix), "%s", strbuf_text(&said));
}

static enum answer run_alone(struct cli *c)
{
    AUTO(strbuf) struct strbuf fix = {0};
    struct up u = {.cli = c};
    struct diag why = {0};
    enum answer a = ANSWER_YES;

    if (geteuid() == 0 && load_state(&u, &why) < 0) {
        a = cli_fail_diag(c, NULL, &why);
    } else if (up_config_read(&c->args, u.state, &u.config, &why) < 0) {
        a = cli_fail(c, ANSWER_USAGE, "ambit help up", "%s", why.text);
    } else if (geteuid() != 0) {
        fix_again(c, true, "", &fix);
        a = cli_fail(c, ANSWER_NO, strbuf_text(&fix),
                     "only root may make network namespaces and rules");
    } else {
        a = refuse_others(&u);
    }
    if (a == ANSWER_YES) {
        a = bring_up(&u);
    }
    json_unref(u.state);
    up_config_fini(&u.config);
    return a;
}

/* Two at once would each start what the other does not see yet. */
static enum answer run(struct cli *c)
{
    const char *run_dir = args_text(&c->args, "run-dir");
    struct diag why = {0};
    int lock = -1;
    int r = geteuid() == 0 ? up_lock_blocking(run_dir, true, &lock, &why) : 0;

    if (r < 0) {
        return cli_fail(c, ANSWER_NO, r == -EBUSY ? "ambit up, once it has ended" : NULL, "%s",
                        why.text);
    }
    enum answer a = run_alone(c);
    up_unlock_blocking(run_dir, lock);
    return a;
}

static const struct arg_option *const tables[] = {options_up, options_up_where, options_result,
                                                  options_common, NULL};

const struct command cmd_up = {
    .name = "up",
    .operands = "",
    .summary = "start a mesh on this machine: control plane, node agent, node proxy",
    .about =
        "No cluster is needed: the control plane holds a Kubernetes API of its own, which kubectl "
        "works with as well (`ambit kubeconfig`). Starts what does not run yet, one part after the "
        "other, and says when each is ready; run again it changes nothing: what the first call was "
        "told holds until `ambit down`. When a part does not come up, the reason and the end of "
        "its log are shown, and what this call has started is ended again. `ambit down` takes all "
        "of it away.",
    .examples = "sudo ambit up\tstart, or start again what has died\n"
                "sudo ambit up --node n1 --pod-cidr 10.20.0.0/24\tanother name, other addresses",
    .tables = tables,
    .run = run};
