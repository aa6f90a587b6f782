/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/args.h"
#include "cli/node_where.h"
#include "cli/up_log.h"
#include "cli/up_plan.h"
#include "cli/up_settings.h"
#include "codec/json.h"
#include "io/file.h"
#include "t.h"

static const struct arg_option *const tables[] = {options_up, options_up_where, NULL};

enum { WORDS_MAX = 8 };

static int read_config(struct args *a, struct up_config *c, const char *const *words,
                       struct diag *why)
{
    static char copies[WORDS_MAX][48];
    static char *argv[WORDS_MAX];
    int argc = 0;

    for (; words[argc]; argc++) {
        (void)snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    int r = args_parse(a, tables, false, argc, argv, why);
    return r < 0 ? r : up_config_read(a, NULL, c, why);
}

static bool has(const struct json *list, const char *text)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_str(json_item(list, i), ""), text) == 0) {
            return true;
        }
    }
    return false;
}

TEST(the_three_programs_are_told_the_same_places)
{
    static const char *const words[] = {
        "--node=n1",          "--run-dir=/r",           "--data=/d", "--programs=/p",
        "--listen=0.0.0.0:1", "--pod-cidr=10.9.0.0/24", NULL};
    struct args a;
    struct up_config c;

    CHECK_INT(read_config(&a, &c, words, NULL), 0);
    AUTO(json) struct json *control = up_argv(&c, UP_CONTROL);
    AUTO(json) struct json *agent = up_argv(&c, UP_AGENT);
    AUTO(json) struct json *proxy = up_argv(&c, UP_PROXY);
    AUTO(json) struct json *env = up_env(&c, UP_PROXY);
    up_config_fini(&c);
    CHECK_STR(json_str(json_item(control, 0), ""), "/p/ambitd");
    CHECK(has(control, "--standalone") && has(control, "--data=/d") && has(control, "--node=n1"));
    CHECK(has(control, "--listen=0.0.0.0:1") && has(control, "--service-cidr=10.96.0.0/16"));
    CHECK(has(agent, "--kubeconfig=/d/nodes/n1.kubeconfig") &&
          has(agent, "--zds-path=/r/zds.sock"));
    CHECK(has(agent, "--proxy-token=/r/ztunnel.token"));
    CHECK(has(agent, "--pod-cidr=10.9.0.0/24") && !has(agent, "--pod-cidr=10.244.0.0/16"));
    CHECK(has(agent, "--discovery=https://169.254.1.1:1") && has(control, "--name=169.254.1.1"));
    CHECK(has(agent, "--waypoint-program=/p/ambit-waypoint") &&
          has(agent, "--root-cert=/d/root-cert.pem"));
    CHECK_INT(json_count(proxy), 1);
    CHECK(has(env, "XDS_ADDRESS=https://127.0.0.1:1") && has(env, "INPOD_UDS=/r/zds.sock"));
    CHECK(has(env, "CA_ROOT_CA=/d/root-cert.pem") && has(env, "AUTH_TOKEN=/r/ztunnel.token"));
}

/* Waypoints do not reach the loopback of their host. */
TEST(waypoints_find_the_control_plane_wherever_it_listens)
{
    static const struct {
        const char *listen;
        const char *discovery;
        const char *more; /* of the control plane; NULL: it needs no listener of its own for them */
    } rows[] = {{"--listen=127.0.0.1:15012", "--discovery=https://169.254.1.1:15012",
                 "--pod-listen=169.254.1.1:15012"},
                {"--listen=[::]:7", "--discovery=https://169.254.1.1:7", NULL},
                {"--listen=192.0.2.7:9", "--discovery=https://192.0.2.7:9", NULL}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const words[] = {rows[i].listen, NULL};
        struct args a;
        struct up_config c;
        CHECK_INT(read_config(&a, &c, words, NULL), 0);
        AUTO(json) struct json *control = up_argv(&c, UP_CONTROL);
        AUTO(json) struct json *agent = up_argv(&c, UP_AGENT);
        up_config_fini(&c);
        CHECK(has(agent, rows[i].discovery));
        CHECK(!rows[i].more || has(control, rows[i].more));
        CHECK(rows[i].more || has(control, "--name=169.254.1.1"));
    }
}

TEST(arguments_that_no_program_would_take_are_refused)
{
    static const struct {
        const char *word;
        const char *said;
    } rows[] = {
        {"--listen=here", "--listen: here is no address:port"},
        {"--api-listen=127.0.0.1:0", "--api-listen: 127.0.0.1:0 is no address:port"},
        {"--pod-cidr=10.0.0.0/99", "--pod-cidr: 10.0.0.0/99 is no range of addresses"},
        {"--service-cidr=x", "--service-cidr: x is no range of addresses"},
        {"--pod-cidr=10.1.2.3", "--pod-cidr: 10.1.2.3 is no range of addresses"},
        {"--pod-cidr=10.1.2.0/30", "--pod-cidr: 10.1.2.0/30 has too few addresses"},
        {"--service-cidr=10.244.9.0/24",
         "--service-cidr: 10.244.9.0/24 has addresses of --pod-cidr"},
        {"--service-cidr=10.0.0.0/8", "--service-cidr: 10.0.0.0/8 has addresses of --pod-cidr"},
        {"--node=A B", "--node: A B is no name; write one like node-1"},
        {"--node=-a", "--node: -a is no name; write one like node-1"},
        {"--node=a..b", "--node: a..b is no name; write one like node-1"},
        {"--node=a-.b", "--node: a-.b is no name; write one like node-1"},
        {"--trust-domain=a/b", "--trust-domain: a/b is no name; write one like cluster.local"},
        {"--trust-domain=", "--trust-domain:  is no name; write one like cluster.local"},
        {"--data=relative", "--data: write an absolute path"},
        {"--run-dir=run", "--run-dir: write an absolute path"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const words[] = {rows[i].word, NULL};
        struct args a;
        struct up_config c;
        struct diag why = {0};
        CHECK_INT(read_config(&a, &c, words, &why), -ERR_SYNTAX);
        CHECK_STR(why.text, rows[i].said);
    }
}

TEST(a_family_has_one_range)
{
    static const char *const two[] = {"--pod-cidr=10.1.0.0/24", "--pod-cidr=10.2.0.0/24", NULL};
    static const char *const both[] = {"--pod-cidr=10.1.0.0/24", "--pod-cidr=fd00:1::/64",
                                       "--node=n-1.example", "--trust-domain=my_mesh.example",
                                       NULL};
    struct args a;
    struct up_config c;
    struct diag why = {0};

    CHECK_INT(read_config(&a, &c, two, &why), -ERR_SYNTAX);
    CHECK_STR(why.text, "--pod-cidr: 10.2.0.0/24 is a second range of its family");
    CHECK_INT(read_config(&a, &c, both, NULL), 0);
    up_config_fini(&c);
}

/* `ambit up` starts again what has died, with what it was told the first time. */
TEST(what_the_first_up_was_told_holds_until_down)
{
    static const char *const first[] = {"--node=n1", "--pod-cidr=10.9.0.0/24",
                                        "--listen=192.0.2.7:9", "--data=/d", NULL};
    static const char *const nothing[] = {NULL};
    static const char *const same[] = {"--node=n1", "--pod-cidr=10.9.0.0/24", NULL};
    static const char *const others[][2] = {{"--node=n2", NULL},
                                            {"--pod-cidr=10.8.0.0/24", NULL},
                                            {"--trust-domain=other", NULL},
                                            {"--data=/e", NULL}};
    AUTO(json) struct json *state = json_new_object();
    AUTO(strbuf) struct strbuf said = {0};
    struct args a;
    struct up_config c;

    CHECK_INT(read_config(&a, &c, first, NULL), 0);
    CHECK(!up_settings_clash(&a, NULL, &said));
    up_settings_keep(state, c.settings);
    up_config_fini(&c);
    CHECK_INT(read_config(&a, &c, nothing, NULL), 0);
    up_config_fini(&c);
    CHECK(!up_settings_clash(&a, state, &said));
    CHECK_INT(up_config_read(&a, state, &c, NULL), 0);
    AUTO(json) struct json *agent = up_argv(&c, UP_AGENT);
    CHECK(has(agent, "--node=n1") && has(agent, "--pod-cidr=10.9.0.0/24"));
    CHECK(has(agent, "--discovery=https://192.0.2.7:9") &&
          has(agent, "--root-cert=/d/root-cert.pem"));
    up_config_fini(&c);
    CHECK_INT(read_config(&a, &c, same, NULL), 0);
    up_config_fini(&c);
    CHECK(!up_settings_clash(&a, state, &said));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        strbuf_clear(&said);
        CHECK_INT(read_config(&a, &c, others[i], NULL), 0);
        up_config_fini(&c);
        CHECK(up_settings_clash(&a, state, &said));
    }
    CHECK_STR(strbuf_text(&said), "--data: the mesh that is up here has /d");
}

TEST(a_log_says_why_a_part_did_not_come_up)
{
    static const struct {
        const char *log;
        const char *reason; /* NULL: none */
        const char *fix;
    } rows[] = {
        {"", NULL, ""},
        {"t\tinfo\tready\n", NULL, ""},
        {"t\terror\tx\tcannot start\terror=\"the store in /d takes no changes\" "
         "code=ERR_DEADLINE\n",
         "the store in /d takes no changes", ""},
        {"t\terror\tx\tearlier\terror=\"a\" code=B\nt\terror\tx\tlast\terror=\"say "
         "\\\"x\\\"\"\nt\tinfo\tended\n",
         "say \"x\"", ""},
        {"t\terror\tx\tcannot start\terror=\"bind to 127.0.0.1:15000\" code=EADDRINUSE\n",
         "bind to 127.0.0.1:15000: Address already in use", "ss -ltnp 'sport = :15000'"},
        {"t\terror\tx\tcannot start\terror=\"listen: listen at [::1]:7: Address already in use\" "
         "code=EADDRINUSE\n",
         "listen: listen at [::1]:7: Address already in use", "ss -ltnp 'sport = :7'"},
        {"t\terror\tx\terror=\"cut sho", "cut sho", ""}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf reason = {0};
        AUTO(strbuf) struct strbuf fix = {0};
        CHECK_INT(up_log_reason(rows[i].log, &reason, &fix), rows[i].reason != NULL);
        CHECK_STR(strbuf_text(&reason), rows[i].reason ? rows[i].reason : "");
        CHECK_STR(strbuf_text(&fix), rows[i].fix);
    }
}

TEST(the_description_of_the_node_is_one_that_every_command_reads)
{
    static const char *const words[] = {"--node=n1", "--run-dir=/r", NULL};
    struct args a;
    struct up_config c;
    struct node_where n;
    AUTO(strbuf) struct strbuf text = {0};

    CHECK_INT(read_config(&a, &c, words, NULL), 0);
    AUTO(json) struct json *j = up_node_file(&c);
    up_config_fini(&c);
    json_print(j, 0, &text);
    CHECK_INT(node_where_read(text.p, text.len, "x", "/other", &n, NULL), 0);
    CHECK_STR(n.name, "n1");
    CHECK_STR(n.runtime, "/r/runtime.sock");
    node_where_fini(&n);
}

/* ---- processes */

static char folder[] = "/tmp/ambit-up-XXXXXX";

static bool make_folder(void)
{
    static bool made;

    made = made || mkdtemp(folder) != NULL;
    return made;
}

static struct json *command(const char *a, const char *b, const char *c)
{
    struct json *list = json_new_array();
    const char *const words[] = {a, b, c};

    for (size_t i = 0; i < ARRAY_LEN(words) && words[i]; i++) {
        json_append_str(list, words[i]);
    }
    return list;
}

TEST(a_daemon_is_found_again_and_ended)
{
    AUTO(json) struct json *argv = command("/bin/sh", "-c", "echo $X; exec sleep 100");
    AUTO(json) struct json *env = command("X=hello", "PATH=/usr/bin:/bin", NULL);
    AUTO(text) char *log = NULL;
    struct daemon d;

    CHECK(make_folder());
    log = up_path(folder, "one", ".log");
    CHECK_INT(daemon_start_blocking(argv, env, log, &d, NULL), 0);
    CHECK(daemon_is_alive(&d));
    CHECK_INT(getsid(d.pid), d.pid);
    struct daemon other = {d.pid, d.start_time + 1}; /* the pid is used again */
    CHECK(!daemon_is_alive(&other));
    CHECK_INT(daemon_stop_blocking(&other, 1000, NULL), 0);
    CHECK(daemon_is_alive(&d));
    bool heard = false;
    while (!heard) { /* the test's own deadline ends this */
        AUTO(text) char *said = NULL;
        heard = file_read_blocking(log, &said, NULL, NULL) == 0 && strcmp(said, "hello\n") == 0;
    }
    CHECK_INT(daemon_stop_blocking(&d, 10000, NULL), 0);
    CHECK(!daemon_is_alive(&d));
    CHECK_INT(daemon_stop_blocking(&d, 1000, NULL), 0);
}

TEST(a_daemon_that_does_not_want_to_end_is_killed)
{
    AUTO(json)
    struct json *argv =
        command("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 100; done");
    AUTO(json) struct json *env = command("PATH=/usr/bin:/bin", NULL, NULL);
    AUTO(text) char *log = NULL;
    struct daemon d;
    bool ready = false;

    CHECK(make_folder());
    log = up_path(folder, "two", ".log");
    CHECK_INT(daemon_start_blocking(argv, env, log, &d, NULL), 0);
    while (!ready) { /* the test's own deadline ends this */
        AUTO(text) char *said = NULL;
        ready = file_read_blocking(log, &said, NULL, NULL) == 0 && strcmp(said, "ready\n") == 0;
    }
    CHECK_INT(daemon_stop_blocking(&d, 50, NULL), 1);
    CHECK(!daemon_is_alive(&d));
    (void)kill(-d.pid, SIGKILL); /* its sleep */
}

TEST(a_program_that_is_not_there_is_said_at_once)
{
    AUTO(json) struct json *argv = command("/nonexistent/program", NULL, NULL);
    AUTO(json) struct json *env = json_new_array();
    AUTO(text) char *log = NULL;
    struct daemon d;
    struct diag why = {0};
    int before = test_fd_count();

    CHECK(make_folder());
    log = up_path(folder, "three", ".log");
    CHECK_INT(daemon_start_blocking(argv, env, log, &d, &why), -ENOENT);
    CHECK(strstr(why.text, "/nonexistent/program"));
    CHECK_INT(test_fd_count(), before);
}

TEST(what_was_started_is_remembered)
{
    AUTO(json) struct json *state = json_new_object();
    AUTO(json) struct json *back = NULL;
    struct daemon d = {12, 345678901234};
    struct diag why = {0};

    CHECK(make_folder());
    CHECK_INT(up_state_load_blocking("/nonexistent", &back, &why), -ENOENT);
    json_set_int(state, "version", UP_STATE_VERSION);
    up_state_set_daemon(state, UP_AGENT, &d);
    CHECK_INT(up_state_save_blocking(folder, state, NULL), 0);
    CHECK_INT(up_state_load_blocking(folder, &back, NULL), 0);
    struct daemon same = up_state_daemon(back, UP_AGENT);
    CHECK_INT(same.pid, d.pid);
    CHECK_INT(same.start_time, d.start_time);
    CHECK_INT(up_state_daemon(back, UP_PROXY).pid, 0);
    json_set_int(state, "version", UP_STATE_VERSION + 1);
    CHECK_INT(up_state_save_blocking(folder, state, NULL), 0);
    struct json *none = NULL;
    CHECK_INT(up_state_load_blocking(folder, &none, &why), -ERR_VERSION);
}

/* The last one: takes the folder away. */
TEST(traces_of_these_tests_are_removed)
{
    static const char *const files[] = {"one.log", "two.log", "three.log", "up.json"};

    CHECK(make_folder());
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        AUTO(text) char *path = up_path(folder, files[i], "");
        CHECK_INT(unlink(path), 0);
    }
    CHECK_INT(rmdir(folder), 0);
}
