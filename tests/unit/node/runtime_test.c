/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/local_json.h"
#include "node/rules.h"
#include "node/runtime_api.h"
#include "node/short_log.h"
#include "runtime_rig.h"
#include "t.h"

TEST(a_command_runs_as_nobody_in_a_network_of_its_own_and_leaves_nothing)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(
        &c, RUN("true", "[\"sh\",\"-c\",\"id -u; hostname; cat /etc/resolv.conf; ip -o addr;"
                        " ip route; grep -c cart /etc/hosts; echo $HOME; exit 7\"]"));
    bool started = await(&g, &c, "\"started\"");
    bool exited = await(&g, &c, "\"exited\"");
    AUTO(text) char *out = read_all(c.out);
    bool clean = nothing_is_left(&g);
    bool code = strstr(c.said, "\"code\":7") != NULL;
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(exited);
    CHECK(code);
    CHECK(clean);
    CHECK(strncmp(out, "65534\ncart\nnameserver 169.254.1.1\n", 34) == 0);
    CHECK(strstr(out, "search shop.svc.cluster.local"));
    CHECK(strstr(out, "10.88.1.2/32"));
    CHECK(strstr(out, "fd88:1::2/128"));
    CHECK(strstr(out, "default via 169.254.1.1 dev eth0"));
}

/* A library of the agent's may forget to mark a descriptor. */
TEST(a_command_has_no_descriptor_of_the_agent)
{
    struct runtime_rig g;
    int forgotten = dup(STDERR_FILENO);
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sh\",\"-c\",\"echo fd:; ls /proc/$$/fd\"]"));
    bool exited = await(&g, &c, "\"exited\"");
    AUTO(text) char *out = read_all(c.out);
    client_close(&c);
    runtime_rig_stop(&g);
    close(forgotten);
    CHECK(forgotten > STDERR_FILENO);
    CHECK(exited);
    CHECK(strstr(out, "fd:\n0\n1\n2\n"));
    CHECK(!strpbrk(strstr(out, "fd:\n") + 4, "3456789"));
}

/* No server is there: only a captured connection is accepted. */
TEST(a_labelled_command_is_captured_from_its_first_instruction)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "ambient");
    struct client c = client_open(&g);
    client_send_attached(
        &c, RUN("true", "[\"bash\",\"-c\",\"exec 3<>/dev/tcp/192.0.2.9/80 && echo captured;"
                        " exec 4<>/dev/tcp/2001:db8::9/80 && echo six; sleep 0.3\"]"));
    bool started = await(&g, &c, "\"started\"");
    bool in = strstr(c.said, "\"mesh\":\"in\"") != NULL;
    bool exited = await(&g, &c, "\"exited\"");
    AUTO(text) char *out = read_all(c.out);
    bool clean = nothing_is_left(&g);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(in);
    CHECK(exited);
    CHECK_STR(out, "captured\nsix\n");
    CHECK(clean);
}

TEST(a_detached_command_runs_until_it_is_stopped_with_all_its_children)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "ambient");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sh\",\"-c\",\"setsid sleep 1000 & exec sleep 1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (fake_api_phase(&g.api, "cart") != POD_RUNNING && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    int running = fake_api_phase(&g.api, "cart");
    bool closed = await_closed(&g, &c);
    client_close(&c);
    c = client_open(&g);
    client_send(&c, "{\"op\":\"ps\"}\n");
    bool listed = await(&g, &c, "\"state\":\"running\"");
    client_close(&c);
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    bool by_signal = strstr(c.said, "\"signal\":15") != NULL;
    bool clean = nothing_is_left(&g);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK_INT(running, POD_RUNNING);
    CHECK(closed);
    CHECK(listed);
    CHECK(stopped);
    CHECK(by_signal);
    CHECK(clean);
}

/* Nothing of it is left to be looked at, so whoever started it hears of it. The clock stands: that moment lasts. */
TEST(a_detached_command_that_ends_at_once_is_told_with_its_last_words)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    loop_stop_clock(g.loop);
    struct client c = client_open(&g);
    client_send(
        &c, RUN("false",
                "[\"sh\",\"-c\",\"echo first; printf '\\\\377last words\\\\n\\\\n'; exit 3\"]"));
    bool told = await(&g, &c, "\"exited\"");
    bool status = strstr(c.said, "\"code\":3") != NULL;
    bool words = strstr(c.said, "\"output\":\"?last words\"") != NULL;
    bool closed = await_closed(&g, &c);
    bool clean = nothing_is_left(&g);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(told);
    CHECK(status);
    CHECK(words);
    CHECK(closed);
    CHECK(clean);
}

TEST(a_client_that_goes_away_takes_its_command_along)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    bool clean = await_gone(&g, "cart") && nothing_is_left(&g);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(clean);
}

TEST(an_attached_client_passes_signals_on)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(
        &c, RUN("true", "[\"bash\",\"-c\",\"trap 'exit 42' USR1; echo up; while :; do sleep 0.05;"
                        " done\"]"));
    bool started = await(&g, &c, "\"started\"");
    struct pollfd up = {.fd = c.out, .events = POLLIN};
    bool said = poll(&up, 1, PATIENCE_MS) == 1;
    client_send(&c, "{\"op\":\"signal\",\"signal\":10}\n");
    bool exited = await(&g, &c, "\"exited\"");
    bool code = strstr(c.said, "\"code\":42") != NULL;
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(said);
    CHECK(exited);
    CHECK(code);
}

struct filler { /* of the job pool */
    struct job job;
    pthread_mutex_t *held; /* while this is, nothing in the pool ends */
};

enum { FILLERS = 80, POOL_THREADS = 2 /* runtime_rig_start */ };

static atomic_uint filling; /* threads of the pool that are held */

static void fill(struct job *j)
{
    struct filler *f = container_of(j, struct filler, job);

    atomic_fetch_add(&filling, 1);
    (void)pthread_mutex_lock(f->held);
    (void)pthread_mutex_unlock(f->held);
}

static void unfill(struct job *j)
{
    (void)j;
}

static void be_woken(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

/* Each in a lane of its own, so that none has a share left; and every thread is held before the queue
 * is filled: what it does for the runtime would end, and make room. How many. */
static unsigned fill_pool(struct runtime_rig *g, struct filler *at, pthread_mutex_t *held,
                          struct task *t)
{
    unsigned n = 0;

    atomic_store(&filling, 0);
    for (bool is_full = false; n < FILLERS && !is_full; n += !is_full) {
        while (n >= POOL_THREADS && atomic_load(&filling) < POOL_THREADS) {
            (void)poll(NULL, 0, 1);
        }
        at[n] = (struct filler){.job = {.work = fill, .abandoned = unfill}, .held = held};
        is_full = jobs_submit(g->jobs, &at[n].job, n + 1, t) < 0;
    }
    return n;
}

TEST(how_a_command_ended_is_learned_although_the_job_pool_is_full)
{
    static struct filler fillers[FILLERS];
    pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
    struct runtime_rig g;
    struct task nobody;
    runtime_rig_start(&g, "");
    task_init(&nobody, g.loop, "nobody", be_woken);
    struct client c = client_open(&g);
    client_send_attached(
        &c, RUN("true", "[\"bash\",\"-c\",\"trap 'exit 42' USR1; echo up; while :; do sleep 0.05;"
                        " done\"]"));
    bool started = await(&g, &c, "\"started\"");
    struct pollfd up = {.fd = c.out, .events = POLLIN};
    bool said = poll(&up, 1, PATIENCE_MS) == 1;
    (void)pthread_mutex_lock(&held);
    unsigned count = fill_pool(&g, fillers, &held, &nobody);
    uint64_t refused = jobs_stats(g.jobs).refused;
    client_send(&c, "{\"op\":\"signal\",\"signal\":10}\n");
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (jobs_stats(g.jobs).refused < refused + 2 && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    bool waited = strstr(c.said, "\"exited\"") == NULL;
    refused = jobs_stats(g.jobs).refused - refused;
    (void)pthread_mutex_unlock(&held);
    bool exited = await(&g, &c, "\"exited\"");
    bool code = strstr(c.said, "\"code\":42") != NULL;
    for (unsigned i = 0; i < count; i++) {
        while (!job_is_done(&fillers[i].job)) {
            runtime_rig_turn(&g);
        }
    }
    bool clean = nothing_is_left(&g);
    client_close(&c);
    task_fini(&nobody);
    runtime_rig_stop(&g);
    (void)pthread_mutex_destroy(&held);
    CHECK(started);
    CHECK(said);
    CHECK(count > POOL_THREADS && count < FILLERS);
    CHECK(refused >= 2); /* asked again */
    CHECK(waited);
    CHECK(exited);
    CHECK(code);
    CHECK(clean);
}

static int remove_rules(const struct runtime_rig *g, const char *uid)
{
    NETNS_VISIT(visit);
    char path[128];
    int fd = -1;

    (void)snprintf(path, sizeof(path), "%s/netns/%s", g->dir, uid);
    int r = netns_open(path, &fd, NULL);
    if (r == 0) {
        r = netns_enter_blocking(&visit, fd, NULL);
        close(fd);
    }
    return r < 0 ? r : rules_remove_blocking(NULL);
}

TEST(whose_rules_were_changed_is_in_the_status)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "ambient");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    int removed = remove_rules(&g, local_pod_record(runtime_find(g.runtime, "shop", "cart"))->uid);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (agent_counts(g.agent).repairs == 0 && clock_mono_ms() < deadline) {
        loop_advance(g.loop, 1000); /* it looks once a minute */
        runtime_rig_turn(&g);
    }
    c = client_open(&g);
    client_send(&c, "{\"op\":\"status\"}\n");
    bool said = await(
        &g, &c, "\"repaired\":[{\"namespace\":\"shop\",\"name\":\"cart\",\"times\":1,\"last_s\":");
    bool host = strstr(c.said, "host_repaired") != NULL;
    client_close(&c);
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    bool clean = nothing_is_left(&g);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK_INT(removed, 0);
    CHECK(said);
    CHECK(!host);
    CHECK(stopped);
    CHECK(clean);
}

/* The agent dies and comes back; the command never notices, and its end is followed up. */
TEST(a_command_survives_the_agent)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "ambient");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    pid_t shim = local_pod_record(runtime_find(g.runtime, "shop", "cart"))->shim;
    runtime_rig_agent_stop(&g);
    for (int i = 0; i < 10; i++) {
        runtime_rig_turn(&g);
    }
    bool alive = kill(shim, 0) == 0;
    bool served = fake_proxy_pods(&g.proxy) == 1;
    runtime_rig_agent_start(&g);
    c = client_open(&g);
    client_send(&c, "{\"op\":\"ps\"}\n");
    bool listed = await(&g, &c, "\"state\":\"running\"");
    client_close(&c);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!agent_is_ready(g.agent) && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    bool kept = fake_proxy_pods(&g.proxy) == 1;
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    bool by_signal = strstr(c.said, "\"signal\":15") != NULL;
    bool clean = nothing_is_left(&g);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(alive);
    CHECK(served);
    CHECK(listed);
    CHECK(kept);
    CHECK(stopped);
    CHECK(by_signal);
    CHECK(clean);
}

TEST(a_command_whose_pod_went_while_no_agent_ran_ends)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    runtime_rig_agent_stop(&g);
    fake_api_delete(&g.api, "cart");
    runtime_rig_agent_start(&g);
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(gone);
    CHECK(clean);
}

TEST(a_command_that_fails_is_started_again_where_that_was_asked)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send(&c,
                "{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":"
                "[\"false\"],\"restart\":\"on-failure\"}}\n");
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    struct local_pod *p = runtime_find(g.runtime, "shop", "cart");
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (local_pod_record(p)->restarts < 2 && clock_mono_ms() < deadline) {
        runtime_rig_turn(&g);
    }
    unsigned restarts = local_pod_record(p)->restarts;
    AUTO(json)
    struct json *waiting = local_json(p); /* for the pause behind the second end */
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    bool clean = nothing_is_left(&g);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK_INT(restarts, 2);
    CHECK_STR(json_str_at(waiting, "state", ""), "waiting");
    CHECK_STR(json_str_at(waiting, "trouble", ""), "ended with status 1, is started again");
    CHECK(stopped);
    CHECK(clean);
}

TEST(what_cannot_start_is_said_and_leaves_nothing)
{
    static const struct {
        const char *line;
        const char *said;
    } cases[] = {
        {RUN("false", "[\"/no/such/program\"]"), "start /no/such/program: No such file"},
        {RUN("false", "[]"), "command: nothing to run"},
        {RUN("false", "\"ls\""), "command: a list of texts is needed"},
        {"{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"../"
         "x\",\"command\":[\"ls\"]}}\n",
         "name: lower-case letters"},
        {"{\"op\":\"run\",\"spec\":{\"name\":\"cart\",\"command\":[\"ls\"]}}\n",
         "namespace: lower-case letters"},
        {"{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":[\"ls\"],"
         "\"user\":\"root\"}}\n",
         "user root is root, which was not asked for"},
        {"{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":[\"ls\"],"
         "\"user\":\"0:0\"}}\n",
         "which was not asked for"},
        {"{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":[\"ls\"],"
         "\"user\":\"no-such-user\"}}\n",
         "no user no-such-user"},
        {"{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":[\"ls\"],"
         "\"workdir\":\"/no/such\"}}\n",
         "go to /no/such"},
        {"{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":[\"ls\"],"
         "\"restart\":\"perhaps\"}}\n",
         "restart: never, on-failure or always"},
        {"{\"op\":\"run\",\"attach\":true,\"spec\":{}}\n", "attach needs three descriptors"},
        {"{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n", "no such workload"},
        {"{\"op\":\"dance\"}\n", "op: run, stop, signal, ps, hold or status"},
        {"{\"op\"\n", "ERR_SYNTAX"},
        {"[]\n", "op: run"},
        {"\n", "ERR_SYNTAX"},
    };
    struct runtime_rig g;

    runtime_rig_start(&g, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c = client_open(&g);
        client_send(&c, cases[i].line);
        bool said = await(&g, &c, cases[i].said);
        bool closed = await_closed(&g, &c);
        bool clean = nothing_is_left(&g);
        client_close(&c);
        CHECK(said);
        CHECK(closed);
        CHECK(clean);
    }
    runtime_rig_stop(&g);
}

TEST(a_name_that_is_taken_is_refused_and_the_first_one_runs_on)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    c = client_open(&g);
    client_send(&c, RUN("false", "[\"sleep\",\"1000\"]"));
    bool refused = await(&g, &c, "ERR_EXISTS");
    bool runs = fake_api_phase(&g.api, "cart") >= 0;
    client_close(&c);
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(refused);
    CHECK(runs);
    CHECK(stopped);
}

/* How many requests a short life makes, with the one of that number failing (-1: none). */
static int short_life(int fail_at, bool *out_clean)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "ambient");
    g.api.fail_at = fail_at;
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"true\"]"));
    bool told = await(&g, &c, "\"event\"");
    *out_clean = await_gone(&g, "cart") && told && nothing_is_left(&g);
    int requests = g.api.requests;
    client_close(&c);
    runtime_rig_stop(&g);
    return requests;
}

TEST(whatever_request_to_the_api_fails_once_nothing_is_left_behind)
{
    bool clean;
    int requests = short_life(-1, &clean);

    CHECK(clean);
    CHECK(requests >= 4);
    for (int i = 0; i < requests; i++) {
        (void)short_life(i, &clean);
        if (!clean) {
            printf("# request %d fails\n", i);
        }
        CHECK(clean);
    }
}

/* What is left is removed when it can be; clients are not kept waiting for that. */
TEST(clients_are_told_at_once_while_the_api_is_away)
{
    static const char stop[] = "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n";
    struct runtime_rig g;

    runtime_rig_start(&g, "");
    g.api.is_away = true;
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"true\"]"));
    bool failed = await(&g, &c, "\"failed\"");
    client_close(&c);
    g.api.is_away = false;
    while (runtime_find(g.runtime, "shop", "cart")) {
        runtime_rig_turn(&g);
    }
    c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    g.api.is_away = true;
    struct client other = client_open(&g);
    client_send(&other, stop);
    bool refused = await(&g, &other, "cannot be removed yet");
    bool exited = await(&g, &c, "\"exited\"") && strstr(c.said, "143");
    client_close(&other);
    client_close(&c);
    g.api.is_away = false;
    while (runtime_find(g.runtime, "shop", "cart")) {
        runtime_rig_turn(&g);
    }
    bool clean = nothing_is_left(&g);
    runtime_rig_stop(&g);
    CHECK(failed);
    CHECK(started);
    CHECK(refused);
    CHECK(exited);
    CHECK(clean);
}

TEST(what_is_left_is_removed_as_soon_as_the_api_is_back)
{
    enum { TRIES = 8, STEP_MS = 200, PAUSE_MS = 20000 };
    struct runtime_rig g;

    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    g.api.is_away = true;
    client_close(&c);
    int tries = g.api.requests;
    while (g.api.requests < tries + TRIES) {
        runtime_rig_turn(&g);
        if (g.api.requests > tries) { /* the command has ended: only the pauses take time */
            loop_advance(g.loop, STEP_MS);
        }
    }
    for (int i = 0; i < 20; i++) {
        runtime_rig_turn(&g); /* the last one is refused, and the pause has grown beyond PAUSE_MS */
    }
    g.api.is_away = false;
    struct task *reader = g.api.reader;
    fake_api_replay(&g.api); /* for another reader, it thinks */
    g.api.reader = reader;
    task_wake(reader, WAKE_CHILD);
    uint64_t back_ms = clock_mono_ms();
    while (runtime_find(g.runtime, "shop", "cart")) {
        runtime_rig_turn(&g);
    }
    uint64_t took_ms = clock_mono_ms() - back_ms;
    bool clean = nothing_is_left(&g);
    runtime_rig_stop(&g);
    CHECK(started);
    CHECK(clean);
    CHECK(took_ms < PAUSE_MS);
}

TEST(a_request_without_an_end_is_cut_off)
{
    struct runtime_rig g;
    runtime_rig_start(&g, "");
    struct client c = client_open(&g);
    char piece[2048];

    memset(piece, ' ', sizeof(piece));
    for (int i = 0; i < RUNTIME_API_LINE_MAX / (int)sizeof(piece) + 1; i++) {
        (void)!send(c.fd, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
        runtime_rig_turn(&g);
    }
    bool closed = await_closed(&g, &c);
    client_close(&c);
    c = client_open(&g);
    runtime_rig_turn(&g);
    loop_advance(g.loop, 10001);
    bool slow_closed = await_closed(&g, &c);
    client_close(&c);
    runtime_rig_stop(&g);
    CHECK(closed);
    CHECK(slow_closed);
}

/* The log of a workload, the one of its writer or not. */
TEST(a_log_does_not_grow_for_ever_and_other_files_are_left_alone)
{
    char dir[] = "/tmp/node-log-XXXXXX";
    char path[64];
    char aside[64];
    char other[64];
    char line[100];
    struct stat st;

    if (!mkdtemp(dir)) {
        exit(1);
    }
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    (void)snprintf(aside, sizeof(aside), "%s/log.1", dir);
    (void)snprintf(other, sizeof(other), "%s/other", dir);
    memset(line, 'x', sizeof(line));
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int file = open(other, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ssize_t wrote = write(log, line, 100) + write(file, line, 100);
    short_log_keep_blocking(dir, log, 100);
    bool kept = stat(path, &st) == 0 && st.st_size == 100 && stat(aside, &st) < 0;
    wrote += write(log, line, 100);
    short_log_keep_blocking(dir, log, 100);
    bool moved =
        stat(path, &st) == 0 && st.st_size == 0 && stat(aside, &st) == 0 && st.st_size == 200;
    wrote += write(log, line, 50);
    bool goes_on = stat(path, &st) == 0 && st.st_size == 50;
    short_log_keep_blocking(dir, file, 10);
    bool alone = stat(other, &st) == 0 && st.st_size == 100;
    close(log);
    close(file);
    unlink(path);
    unlink(aside);
    unlink(other);
    rmdir(dir);
    CHECK_INT(wrote, 350);
    CHECK(kept);
    CHECK(moved);
    CHECK(goes_on);
    CHECK(alone);
}
