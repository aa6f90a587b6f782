/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/node_ask.h"
#include "cli/node_where.h"
#include "cli/run_spec.h"
#include "cli/runtime_client.h"
#include "codec/json.h"

enum { SIGNAL_ANSWER = 128, READY_MS = 0, PATIENCE_MS = 250, EARLY_MS = 2000 };

/* ---- signals go to the command, not to us */

static int catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t set;

    (void)sigemptyset(&set); /* cannot fail */
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        (void)sigaddset(&set, numbers[i]); /* cannot fail for these */
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
        return neg_errno();
    }
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? neg_errno() : fd;
}

/* Before the command runs, a signal ends us and with us the start: 128+N. 0 = go on. */
static int forward_signals(struct runtime_client *r, int signal_fd, bool runs, struct diag *why)
{
    struct signalfd_siginfo info;

    while (signal_fd >= 0 && read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (!runs) {
            return SIGNAL_ANSWER + (int)info.ssi_signo;
        }
        struct json *request = json_new_object();
        json_set_str(request, "op", "signal");
        json_set_int(request, "signal", info.ssi_signo);
        int sent = runtime_send_blocking(r, request, NULL, why);
        if (sent < 0) {
            return sent;
        }
    }
    return 0;
}

/* ---- what the agent says */

static void say_started(struct cli *c, const struct json *answer)
{
    const char *mesh = json_str_at(answer, "mesh", "out");
    const struct json *ips = json_get(answer, "ips");
    AUTO(strbuf) struct strbuf b = {0};
    struct json *did = cli_did(c, json_str_at(answer, "namespace", ""),
                               json_str_at(answer, "name", ""), "started");

    json_set(did, "ips", json_clone(ips));
    json_set_str(did, "serviceAccount", json_str_at(answer, "serviceAccount", "default"));
    json_set_str(did, "mesh", mesh);
    if (args_has(&c->args, "quiet")) {
        return;
    }
    strbuf_printf(&b, "%s/%s runs at", json_str_at(answer, "namespace", ""),
                  json_str_at(answer, "name", ""));
    for (size_t i = 0; i < json_count(ips); i++) {
        strbuf_printf(&b, " %s", json_str(json_item(ips, i), ""));
    }
    strbuf_printf(&b, " as account %s, ", json_str_at(answer, "serviceAccount", "default"));
    strbuf_puts(&b, strcmp(mesh, "in") == 0 ? "in the mesh\n" : "not in the mesh\n");
    term_err(&c->term, &b);
}

/* The agent was reached, and did not start it: the API said no, or the system of the command. */
static bool is_answer(int code)
{
    static const int codes[] = {ERR_DENIED, ENOENT, EACCES,  EPERM, ENOTDIR,
                                EISDIR,     ELOOP,  ENOEXEC, E2BIG};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (code == -codes[i]) {
            return true;
        }
    }
    return false;
}

static enum answer say_refused(struct cli *c, const struct diag *why)
{
    AUTO(strbuf) struct strbuf said = {0};
    AUTO(strbuf) struct strbuf fix = {0};
    bool is_open = !is_answer(why->code) && cli_answer_of(why->code) == ANSWER_UNKNOWN;
    const char *help = run_spec_fix(&c->args, why->text, &said, &fix) ? strbuf_text(&fix)
                       : is_open || why->code == -EIO ? "ambit status" /* it knows more */
                                                      : NULL;

    if (said.len > 0) {
        return cli_fail(c, ANSWER_NO, help, "%s", said.p);
    }
    return is_answer(why->code) ? cli_fail(c, ANSWER_NO, help, "%s", why->text)
                                : cli_fail_diag(c, help, why);
}

enum event { EVENT_MORE, EVENT_DONE };

/* One that was to run by itself. */
static int say_ended(struct cli *c, const struct json *answer)
{
    int signal = (int)json_int_at(answer, "signal", 0);
    int code = (int)json_int_at(answer, "code", 0);
    const char *output = json_str_at(answer, "output", "");
    const struct json *did = json_item(c->items, 0);

    if (signal == 0 && code == 0) {
        return ANSWER_YES;
    }
    (void)cli_fail(c, ANSWER_NO, NULL, "%s/%s has ended at once %s %d",
                   json_str_at(did, "namespace", ""), json_str_at(did, "name", ""),
                   signal > 0 ? "by signal" : "with status", signal > 0 ? signal : code);
    if (*output) {
        cli_evidence(c, "%s", output);
    }
    return ANSWER_NO;
}

static enum event take(struct cli *c, const struct json *answer, bool attach, int *status)
{
    const char *event = json_str_at(answer, "event", "");
    struct diag why = {0};

    if (runtime_failure(answer, &why) < 0) {
        bool refused_signal = strcmp(event, "error") == 0 && *status >= 0;
        *status = (int)say_refused(c, &why);
        return refused_signal ? EVENT_MORE : EVENT_DONE;
    }
    if (strcmp(event, "started") == 0) {
        say_started(c, answer);
        *status = 0;
        return EVENT_MORE;
    }
    if (strcmp(event, "exited") == 0 && !attach) {
        *status = say_ended(c, answer);
        return EVENT_DONE;
    }
    if (strcmp(event, "exited") == 0) {
        int signal = (int)json_int_at(answer, "signal", 0);
        *status = signal > 0 ? SIGNAL_ANSWER + signal : (int)json_int_at(answer, "code", 0);
        return EVENT_DONE;
    }
    return EVENT_MORE;
}

/* The next answer if there is one: 1, 0 = not yet, or the end. */
static int next(struct runtime_client *r, struct json **out, struct diag *why)
{
    int n = runtime_next_blocking(r, READY_MS, out, why);

    if (n == -ERR_DEADLINE) {
        return 0;
    }
    return n == 0
               ? FAIL(why, -ERR_TRUNCATED, "the node agent went away; the command may have ended")
               : n;
}

static void wait_for_news(const struct runtime_client *r, int signal_fd)
{
    struct pollfd fds[] = {{.fd = r->fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};

    (void)poll(fds, ARRAY_LEN(fds), PATIENCE_MS); /* everything is tried anyway */
}

/* What is asked of us as an exit status; negative = go on. */
static int turn(struct cli *c, struct runtime_client *r, int signal_fd, bool attach, int *status)
{
    AUTO(json) struct json *answer = NULL;
    struct diag why = {0};
    int n = forward_signals(r, signal_fd, *status >= 0, &why);

    if (n > 0) {
        return n;
    }
    if (n == 0) {
        n = next(r, &answer, &why);
    }
    if (n < 0 && !attach && *status >= 0) {
        return *status; /* it has heard long enough that it runs */
    }
    if (n < 0) {
        return (int)cli_fail(c, ANSWER_UNKNOWN, "ambit ps", "%s", why.text);
    }
    return n > 0 && take(c, answer, attach, status) == EVENT_DONE ? *status : -1;
}

static int converse(struct cli *c, struct runtime_client *r, int signal_fd, bool attach)
{
    struct progress p;
    int status = -1; /* not started */
    int end = -1;
    uint64_t early = 0; /* until then one that is to run by itself may be seen to end at once */

    progress_begin(&p, &c->term, "starting");
    while (end < 0) {
        wait_for_news(r, signal_fd);
        if (status < 0) {
            progress_tick(&p);
        }
        end = turn(c, r, signal_fd, attach, &status);
        if (status >= 0) {
            progress_end(&p);
            early = early > 0 ? early : clock_mono_ms() + EARLY_MS;
        }
        if (end < 0 && early > 0 && !attach && clock_mono_ms() > early) {
            end = status;
        }
    }
    progress_end(&p);
    return end;
}

static int start(struct cli *c, const struct node_where *n, struct json *take_request, bool attach)
{
    static const int stdio[RUNTIME_STDIO] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    AUTO(json) struct json *request = take_request;
    struct runtime_client r;
    struct diag why = {0};

    if (runtime_open(&r, n->runtime, &why) < 0) {
        return (int)cli_fail(c, ANSWER_UNKNOWN, cli_fix(c, why.code, "ambit up"), "node %s: %s",
                             n->name, why.text);
    }
    int signal_fd = attach ? catch_signals() : -1;
    int sent = runtime_send_blocking(&r, MOVE(request), attach ? stdio : NULL, &why);
    int status = sent < 0 ? (int)cli_fail(c, ANSWER_UNKNOWN, NULL, "%s", why.text)
                          : converse(c, &r, signal_fd, attach);
    if (signal_fd >= 0) {
        close(signal_fd);
    }
    runtime_close(&r);
    return status;
}

static enum answer run(struct cli *c)
{
    AUTO(json) struct json *request = NULL;
    struct diag why = {0};
    struct nodes nodes;
    bool attach = !args_has(&c->args, "detach");

    if (attach && cli_wants_json(c)) {
        return cli_fail(c, ANSWER_USAGE, "ambit run -d -o json ...",
                        "standard output is the command's: -o json needs --detach");
    }
    if (run_spec_make(&c->args, attach, &request, &why) < 0) {
        return cli_fail(c, ANSWER_USAGE, "ambit help run", "%s", why.text);
    }
    if (nodes_find_blocking(&c->args, &nodes, &why) < 0) {
        return nodes_fail(c, &why);
    }
    if (nodes.count > 1) {
        nodes_fini(&nodes);
        return cli_fail(c, ANSWER_USAGE, "ambit run --node NAME ...",
                        "there are several nodes here; say which one");
    }
    int status = start(c, &nodes.at[0], MOVE(request), attach);
    nodes_fini(&nodes);
    return (enum answer)status; /* the command's own */
}

static const struct arg_option *const tables[] = {options_run_spec, options_result, options_node,
                                                  options_common, NULL};

const struct command cmd_run = {
    .name = "run",
    .operands = "",
    .summary = "run a command as a workload: its own network namespace, address and identity",
    .about =
        "The node agent makes a network namespace with an address, registers a Pod object and, "
        "when "
        "the namespace is labelled for the mesh, captures the workload before the command starts. "
        "Input, output, signals and the exit status are the command's (128+N for signal N); 1 when "
        "the agent refuses, 3 when there is no agent. When this program goes away the command is "
        "ended, unless it was started with --detach; one of those that fails at once is told with "
        "its last line, and 1. The command does not run as root unless "
        "--user root is said; then it is root of this machine's files and processes, not of a "
        "container: it can read every key on the machine, those of the mesh too. It cannot change "
        "or leave its network: those capabilities are taken away, whoever the user is. Nor can it "
        "trace, read or signal processes of others that run as its user (by Landlock: signals from "
        "Linux 6.12, the rest from 5.19, before 6.12 at the price that it cannot mount).",
    .examples =
        "ambit run -n shop --sa cart -- /usr/sbin/nginx -g 'daemon off;'\tserve as account cart\n"
        "ambit run -n shop --sa web -- curl -s http://cart.shop/\tcall it by name\n"
        "ambit run -d -n shop --name cache -l app=cache -- redis-server\tin the background",
    .tables = tables,
    .takes_command = true,
    .run = run};
