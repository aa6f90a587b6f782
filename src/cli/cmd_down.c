/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/runtime_client.h"
#include "cli/span.h"
#include "cli/up_lock.h"
#include "cli/up_plan.h"
#include "codec/json.h"
#include "io/file.h"

enum { ASK_MS = 5000, WORKLOAD_MS = 60000, PART_MS = 15000 };

struct down {
    struct cli *cli;
    const char *run_dir;
    struct json *state;
    struct json *workloads; /* that run */
    bool has_agent;
    unsigned left; /* files that could not be removed */
};

/* ---- workloads */

/* An agent that does not run has none that could be asked to end. */
static void list_workloads(struct down *d)
{
    AUTO(text) char *path = up_path(d->run_dir, "runtime", ".sock");
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();
    struct diag why = {0};

    json_set_str(request, "op", "ps");
    if (runtime_ask_blocking(path, request, ASK_MS, &answer, &why) == 0) {
        json_unref(d->workloads);
        d->workloads = json_ref(json_get(answer, "workloads"));
        d->has_agent = true;
    }
}

/* Of an agent that does not run; only an agent can end them, which takes them over when it starts. */
static unsigned count_orphans(const struct down *d)
{
    AUTO(text) char *path = up_path(d->run_dir, "local", "");
    DIR *folder = d->has_agent ? NULL : opendir(path);
    struct dirent *e;
    unsigned n = 0;

    while (folder && (e = readdir(folder)) != NULL) {
        n += e->d_name[0] != '.';
    }
    if (folder) {
        closedir(folder);
    }
    return n;
}

/* What the API asks for does not start again what we are about to end. */
static void hold_back(struct down *d)
{
    AUTO(text) char *path = up_path(d->run_dir, "runtime", ".sock");
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();

    json_set_str(request, "op", "hold");
    if (runtime_ask_blocking(path, request, ASK_MS, &answer, NULL) < 0) {
        return; /* an agent that is not there starts nothing */
    }
}

static enum answer stop_workload(struct down *d, const struct json *w)
{
    AUTO(text) char *path = up_path(d->run_dir, "runtime", ".sock");
    AUTO(json) struct json *answer = NULL;
    struct json *request = json_new_object();
    struct diag why = {0};
    const char *ns = json_str_at(w, "namespace", "");
    const char *name = json_str_at(w, "name", "");

    json_set_str(request, "op", "stop");
    json_set_str(request, "namespace", ns);
    json_set_str(request, "name", name);
    int r = runtime_ask_blocking(path, request, WORKLOAD_MS, &answer, &why);
    if (r < 0 && r != -ERR_NOT_FOUND) {
        return cli_fail(d->cli, ANSWER_NO, "ambit ps", "%s/%s: %s", ns, name, why.text);
    }
    (void)cli_did(d->cli, ns, name, "ended");
    cli_say(d->cli, "%s/%s ended", ns, name);
    return ANSWER_YES;
}

static enum answer stop_workloads(struct down *d)
{
    enum answer a = ANSWER_YES;
    struct progress p;

    progress_begin(&p, &d->cli->term, "ending workloads");
    for (size_t i = 0; i < json_count(d->workloads); i++) {
        enum answer one = stop_workload(d, json_item(d->workloads, i));
        a = one == ANSWER_YES ? a : one;
        progress_tick(&p);
    }
    progress_end(&p);
    return a;
}

/* Only "y" or "yes" is a yes. */
static enum answer confirm(struct down *d)
{
    AUTO(strbuf) struct strbuf b = {0};
    char line[16] = {0};
    size_t count = json_count(d->workloads);

    if (count == 0 || args_has(&d->cli->args, "yes")) {
        return ANSWER_YES;
    }
    strbuf_printf(&b, "%zu running workload%s will be ended:", count, count == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        const struct json *w = json_item(d->workloads, i);
        strbuf_printf(&b, " %s/%s", json_str_at(w, "namespace", ""), json_str_at(w, "name", ""));
    }
    if (!isatty(STDIN_FILENO)) {
        return cli_fail(d->cli, ANSWER_USAGE, "ambit down --yes", "%s", strbuf_text(&b));
    }
    strbuf_puts(&b, "\nGo on? [y/N] ");
    term_err(&d->cli->term, &b);
    ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);
    line[strcspn(line, "\r\n")] = '\0';
    bool yes = n > 0 && (strcmp(line, "y") == 0 || strcmp(line, "yes") == 0);
    return yes ? ANSWER_YES : cli_fail(d->cli, ANSWER_NO, NULL, "nothing was ended");
}

/* ---- parts */

static enum answer stop_part(struct down *d, enum up_part p)
{
    struct daemon daemon = up_state_daemon(d->state, p);
    struct progress progress;
    struct diag why = {0};

    if (!daemon_is_alive(&daemon)) {
        (void)cli_did(d->cli, "", up_part_name(p), "absent");
        cli_say(d->cli, "%-14s does not run", up_part_name(p));
        return ANSWER_YES;
    }
    progress_begin(&progress, &d->cli->term, up_part_name(p));
    int r = daemon_stop_blocking(&daemon, PART_MS, &why);
    if (r < 0) {
        return cli_fail(d->cli, ANSWER_NO, NULL, "%s: %s", up_part_name(p), why.text);
    }
    (void)cli_did(d->cli, "", up_part_name(p), r == 0 ? "ended" : "killed");
    cli_say(d->cli, "%-14s %s after %llu ms", up_part_name(p),
            r == 0 ? "ended" : "had to be killed", (unsigned long long)progress_ms(&progress));
    return ANSWER_YES;
}

static enum answer stop_parts(struct down *d)
{
    static const enum up_part order[] = {UP_PROXY, UP_AGENT, UP_CONTROL};
    enum answer a = ANSWER_YES;

    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        enum answer one = stop_part(d, order[i]);
        a = one == ANSWER_YES ? a : one;
    }
    return a;
}

/* ---- files: only those that are known to be ours */

/* What is not there is gone; a folder that holds something else stays. */
static void remove_one(struct down *d, const char *dir, const char *name)
{
    AUTO(text) char *path = up_path(dir, name, "");
    struct stat st;

    if (lstat(path, &st) < 0) {
        return;
    }
    int r = S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path);
    if (r < 0) {
        (void)cli_fail(d->cli, ANSWER_NO, NULL, "%s is left: %s", path, err_text(neg_errno()));
        d->left++;
    }
}

static void remove_ending(struct down *d, const char *dir, const char *ending)
{
    DIR *folder = opendir(dir);
    struct dirent *e;

    while (folder && (e = readdir(folder)) != NULL) {
        size_t len = strlen(e->d_name);
        size_t n = strlen(ending);
        if (e->d_name[0] != '.' && len >= n && strcmp(e->d_name + len - n, ending) == 0) {
            remove_one(d, dir, e->d_name);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

/* What an agent needs to take workloads over stays, and so does what says that `ambit up` is to start it. */
static void remove_run_files(struct down *d, bool has_orphans)
{
    static const char *const files[] = {"runtime.sock", "zds.sock", "ztunnel.token"};
    static const char *const needed[] = {"up.json", "netns", "local", "secrets", "up.lock", ""};
    AUTO(text) char *nodes = up_path(d->run_dir, "nodes", "");
    AUTO(text) char *own = up_path("", json_str_at(d->state, "node", ""), ".json");

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        remove_one(d, d->run_dir, files[i]);
    }
    remove_one(d, nodes, own + 1);
    remove_one(d, d->run_dir, "nodes");
    for (size_t i = 0; !has_orphans && i < ARRAY_LEN(needed); i++) {
        remove_one(d, d->run_dir, needed[i]);
    }
}

static void purge(struct down *d)
{
    static const char *const files[] = {"admin.kubeconfig", "api-server",      "addresses.json",
                                        "root-cert.pem",    "state.db",        "state.db-wal",
                                        "state.db-shm",     "state.db-journal"};
    static const char *const folders[] = {"ca", "credentials", "nodes"};
    const char *data = json_str_at(d->state, "data", "");
    const char *logs = json_str_at(d->state, "logDir", "");

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        AUTO(text) char *folder = up_path(data, folders[i], "");
        remove_ending(d, folder, "");
        remove_one(d, data, folders[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        remove_one(d, data, files[i]);
    }
    remove_one(d, data, "");
    remove_ending(d, logs, ".log");
    remove_one(d, logs, "");
}

/* ---- the whole */

/* Their Pod objects cannot be removed without the API, and it is `ambit up` that brings it back. */
static enum answer stays_up(struct down *d)
{
    struct daemon control = up_state_daemon(d->state, UP_CONTROL);

    if (!daemon_is_alive(&control)) {
        return cli_fail(d->cli, ANSWER_NO, "ambit up",
                        "the mesh stays up: the control plane does not run, and without it what is "
                        "left of them cannot be removed; --force leaves it behind");
    }
    return cli_fail(d->cli, ANSWER_NO, "ambit down --force",
                    "the mesh stays up: without it, what is left of them would stay for ever");
}

static enum answer remove_files(struct down *d)
{
    d->has_agent = false; /* it has ended */
    unsigned orphans = count_orphans(d);

    remove_run_files(d, orphans > 0);
    if (args_has(&d->cli->args, "purge")) {
        purge(d);
    }
    if (d->left > 0) {
        return cli_fail(d->cli, ANSWER_NO, NULL, "%u file%s could not be removed", d->left,
                        span_plural(d->left));
    }
    if (orphans > 0) {
        return cli_fail(d->cli, ANSWER_NO, "ambit up",
                        "nothing of the mesh runs here any more, and what is left of %u workload%s "
                        "is in %s/local: the next `ambit up` takes over what runs and removes "
                        "what has ended",
                        orphans, span_plural(orphans), d->run_dir);
    }
    return ANSWER_YES;
}

static enum answer take_down(struct down *d)
{
    enum answer a = confirm(d);

    if (a != ANSWER_YES) {
        return a;
    }
    if (count_orphans(d) > 0 && !args_has(&d->cli->args, "force")) {
        return cli_fail(d->cli, ANSWER_NO, "ambit up",
                        "workloads are left that the node agent would have to end, and it does not "
                        "run; --force leaves them behind");
    }
    hold_back(d);
    list_workloads(d); /* as of now */
    enum answer workloads = stop_workloads(d);
    if (workloads != ANSWER_YES && !args_has(&d->cli->args, "force")) {
        return stays_up(d);
    }
    a = stop_parts(d);
    if (a == ANSWER_YES) {
        a = remove_files(d);
    }
    if (a != ANSWER_YES) {
        return a;
    }
    cli_say(d->cli, "OK: nothing of the mesh runs here any more");
    if (!args_has(&d->cli->args, "purge")) {
        cli_say(d->cli, "kept: %s (keys and objects; --purge removes them)",
                json_str_at(d->state, "data", ""));
    }
    return workloads;
}

static enum answer run_alone(struct cli *c)
{
    struct down d = {.cli = c, .run_dir = args_text(&c->args, "run-dir")};
    struct diag why = {0};
    int r = up_state_load_blocking(d.run_dir, &d.state, &why);

    if (r == -ENOENT) {
        cli_say(c, "OK: nothing is up here (%s)", d.run_dir);
        return ANSWER_YES;
    }
    if (r < 0) {
        return cli_fail_diag(c, NULL, &why);
    }
    list_workloads(&d);
    enum answer a = take_down(&d);
    json_unref(d.workloads);
    json_unref(d.state);
    return a;
}

/* Without a lock that could be held, nothing was started that an `ambit up` would still add to. */
static enum answer run(struct cli *c)
{
    const char *run_dir = args_text(&c->args, "run-dir");
    struct diag why = {0};
    int lock = -1;

    if (up_lock_blocking(run_dir, false, &lock, &why) == -EBUSY) {
        return cli_fail(c, ANSWER_NO, "ambit down, once it has ended", "%s", why.text);
    }
    enum answer a = run_alone(c);
    up_unlock_blocking(run_dir, lock);
    return a;
}

static const struct arg_option own[] = {
    {"run-dir", 0, ARG_TEXT, "DIR", "/run/ambit", "as `ambit up` was told"},
    {"yes", 'y', ARG_FLAG, NULL, NULL, "do not ask about workloads that run"},
    {"force", 0, ARG_FLAG, NULL, NULL, "go on when a workload does not end"},
    {"purge", 0, ARG_FLAG, NULL, NULL, "remove keys, objects and logs, too"},
    {0}};
static const struct arg_option *const tables[] = {own, options_result, options_common, NULL};

const struct command cmd_down = {
    .name = "down",
    .operands = "",
    .summary = "end what `ambit up` started, workloads first",
    .about =
        "Ends the workloads that `ambit run` started (it says how many and asks), then node proxy, "
        "node agent and control plane, and removes their files: exactly what `ambit up` made, "
        "nothing else. Keys and objects are kept for the next `ambit up` unless --purge is said. "
        "Run again it does nothing.",
    .examples = "sudo ambit down\task, then end everything\n"
                "sudo ambit down --yes --purge\tas if it had never been there",
    .tables = tables,
    .run = run};
