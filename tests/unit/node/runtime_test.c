/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fake_api.h"
#include "fake_proxy.h"
#include "node/netlink.h"
#include "node/rtnl.h"
#include "node/runtime_api.h"
#include "node/shim.h"
#include "node/short_log.h"
#include "podnet.h"
#include "t.h"

/* The runtime starts its own program as the shim: that is this one. Otherwise the test gets a node of
 * its own: network and mounts. Its files are in a file system that goes with it, so that nothing is
 * left behind even where a test fails or is killed. */
__attribute__((constructor)) static void early(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "shim") == 0) {
        _exit(shim_main(argv[2]));
    }
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/mnt", "tmpfs", 0, "mode=0755") < 0) {
        printf("Bail out! no namespaces\n");
        exit(1);
    }
}

enum { PATIENCE_MS = 60000 }; /* programs start slowly on a busy machine */

struct rig {
    struct loop *loop;
    struct jobs *jobs;
    struct fake_api api;
    struct fake_proxy proxy;
    struct agent *agent;
    struct runtime *runtime;
    char dir[32];
    char zds[64];
    char socket[64];
    char program[64]; /* of waypoints */
};

static void must(int r, const struct diag *why)
{
    if (r < 0) {
        printf("Bail out! %s (%d)\n", why->text, r);
        exit(1);
    }
}

static void agent_start(struct rig *g)
{
    struct ip_prefix cidrs[2];
    struct diag why = {0};
    char netns_dir[64];
    struct agent_config a = {.loop = g->loop,
                             .jobs = g->jobs,
                             .capture = &capture_kernel,
                             .source = &g->api.source,
                             .zds_path = g->zds,
                             .netns_dir = netns_dir,
                             .told_ms = 1};

    (void)snprintf(netns_dir, sizeof(netns_dir), "%s/netns", g->dir);
    fake_api_replay(&g->api);
    must(agent_new(&a, &g->agent, &why), &why);
    must(ip_prefix_parse(&cidrs[0], "10.88.1.0/24", 12), &why);
    must(ip_prefix_parse(&cidrs[1], "fd88:1::/64", 11), &why);
    struct runtime_config r = {.loop = g->loop,
                               .jobs = g->jobs,
                               .agent = g->agent,
                               .source = &g->api.source,
                               .node = "node-a",
                               .run_dir = g->dir,
                               .cidrs = cidrs,
                               .cidr_count = 2,
                               .socket_path = g->socket,
                               .waypoints = {.program = g->program,
                                             .discovery = "https://192.0.2.1:15012",
                                             .trust_domain = "cluster.local",
                                             .node = "node-a"}};
    must(runtime_new(&r, &g->runtime, &why), &why);
}

static void agent_stop(struct rig *g)
{
    runtime_free(MOVE(g->runtime));
    agent_free(MOVE(g->agent));
    g->api.reader = NULL; /* it went with the agent */
}

static void rig_start(struct rig *g, const char *mode)
{
    *g = (struct rig){.dir = "/mnt/node-run-XXXXXX"};
    g->loop = loop_new(NULL);
    g->jobs = jobs_new(2, 64, 64, NULL);
    if (!g->loop || !g->jobs || !mkdtemp(g->dir)) {
        exit(1);
    }
    (void)snprintf(g->zds, sizeof(g->zds), "%s/zds.sock", g->dir);
    (void)snprintf(g->socket, sizeof(g->socket), "%s/runtime.sock", g->dir);
    (void)snprintf(g->program, sizeof(g->program), "%s/waypoint", g->dir);
    fake_api_start(&g->api);
    (void)snprintf(g->api.mode, sizeof(g->api.mode), "%s", mode);
    fake_proxy_start(&g->proxy, g->zds);
    agent_start(g);
}

static void turn(struct rig *g)
{
    (void)loop_turn(g->loop, 2);
    while (fake_proxy_pump(&g->proxy)) {
        (void)loop_turn(g->loop, 0);
    }
}

static void rig_stop(struct rig *g)
{
    char path[64];

    agent_stop(g);
    for (int i = 0; i < 10; i++) {
        turn(g);
    }
    jobs_free(g->jobs);
    fake_proxy_stop(&g->proxy);
    fake_api_stop(&g->api);
    loop_free(g->loop);
    (void)snprintf(path, sizeof(path), "%s/local", g->dir);
    rmdir(path);
    (void)snprintf(path, sizeof(path), "%s/netns", g->dir);
    rmdir(path);
    (void)snprintf(path, sizeof(path), "%s/secrets", g->dir);
    rmdir(path);
    unlink(g->program);
    rmdir(g->dir);
}

/* ---- a client */

struct client {
    int fd;
    int out; /* our end of the command's output; -1 */
    char said[2048];
    size_t len;
};

static void client_close(struct client *c)
{
    podnet_close_fd(c->fd);
    podnet_close_fd(c->out);
    c->fd = -1;
    c->out = -1;
}

static struct client client_open(const struct rig *g)
{
    struct client c = {.out = -1};
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(a.sun_path, g->socket, strlen(g->socket));
    if (connect(c.fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        exit(1);
    }
    return c;
}

static void client_send(struct client *c, const char *line)
{
    if (send(c->fd, line, strlen(line), MSG_NOSIGNAL) < 0) {
        exit(1);
    }
}

/* With standard input from nowhere and both outputs into a pipe. */
static void client_send_attached(struct client *c, const char *line)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int pipe_fd[2];
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(3 * sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec bytes = {(void *)(uintptr_t)line, strlen(line)};
    struct msghdr m = {.msg_iov = &bytes,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.room)};

    if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0) {
        exit(1);
    }
    int fds[3] = {null, pipe_fd[1], pipe_fd[1]};
    memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
    if (sendmsg(c->fd, &m, MSG_NOSIGNAL) < 0) {
        exit(1);
    }
    close(null);
    close(pipe_fd[1]);
    c->out = pipe_fd[0];
}

/* Until something with this text was said, the agent has closed, or our patience is at its end. */
static bool await(struct rig *g, struct client *c, const char *text)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;

    while (!strstr(c->said, text)) {
        turn(g);
        ssize_t n = recv(c->fd, c->said + c->len, sizeof(c->said) - 1 - c->len, MSG_DONTWAIT);
        if (n == 0 || clock_mono_ms() > deadline) {
            printf("# wanted %s, got %s\n", text, c->said);
            return false;
        }
        c->len += n > 0 ? (size_t)n : 0;
        c->said[c->len] = '\0';
    }
    return true;
}

static bool await_closed(struct rig *g, struct client *c)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    char byte[256];
    ssize_t n;

    while ((n = recv(c->fd, byte, sizeof(byte), MSG_DONTWAIT)) != 0) {
        turn(g);
        if (clock_mono_ms() > deadline || (n < 0 && errno != EAGAIN)) {
            return n < 0 && errno == ECONNRESET;
        }
    }
    return true;
}

static char *read_all(int fd)
{
    struct strbuf out = {0};
    char piece[1024];
    ssize_t n;

    while ((n = read(fd, piece, sizeof(piece))) > 0) {
        strbuf_add(&out, piece, (size_t)n);
    }
    return strbuf_take(&out);
}

/* ---- what is left */

static unsigned count_dir(const struct rig *g, const char *name)
{
    char path[64];
    unsigned count = 0;

    (void)snprintf(path, sizeof(path), "%s/%s", g->dir, name);
    DIR *d = opendir(path);
    while (d && readdir(d)) { // the stream is ours
        count++;
    }
    if (d) {
        closedir(d);
    }
    return count > 2 ? count - 2 : 0; /* . and .. */
}

static unsigned count_links(void)
{
    struct if_nameindex *links = if_nameindex();
    unsigned count = 0;

    for (struct if_nameindex *l = links; l && l->if_index > 0; l++) {
        count += strncmp(l->if_name, "amb", 3) == 0;
    }
    if_freenameindex(links);
    return count;
}

static bool nothing_is_left(const struct rig *g)
{
    bool clean = count_dir(g, "netns") == 0 && count_dir(g, "local") == 0 && count_links() == 0 &&
                 fake_proxy_pods(&g->proxy) == 0 && fake_api_phase(&g->api, "cart") == -1;

    if (!clean) {
        printf("# left: %u namespaces, %u folders, %u links, %u pods at the proxy, phase %d\n",
               count_dir(g, "netns"), count_dir(g, "local"), count_links(),
               fake_proxy_pods(&g->proxy), fake_api_phase(&g->api, "cart"));
    }
    return clean;
}

#define RUN(attach, command)                                                                       \
    "{\"op\":\"run\",\"attach\":" attach ",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\","    \
    "\"command\":" command "}}\n"

/* ---- waypoints */

/* A waypoint for tests. It is ready once it has seen that it is nobody, that its token is there, for
 * it to read and not to change, and that it knows its names; "kill" in its token's folder ends it. */
static const char stand_in[] =
    "#!/usr/bin/python3\n"
    "import http.server, os, signal, threading\n"
    "token = os.environ['AUTH_TOKEN']\n"
    "drained = threading.Event()\n"
    "def good():\n"
    "    e = os.environ\n"
    "    return (os.getuid() >= 1879100000 and open(token).read().startswith('token-')\n"
    "            and not os.access(token, os.W_OK) and e['GATEWAY'] == 'way'\n"
    "            and e['NAMESPACE'] == 'shop' and e['SERVICE_ACCOUNT'] == 'way'\n"
    "            and e['INSTANCE_IP'].startswith('10.88.1.'))\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200 if good() and not drained.is_set() else 503)\n"
    "        self.end_headers()\n"
    "        if self.path == '/crash':\n"
    "            os._exit(3)\n"
    "    def log_message(self, *a):\n"
    "        pass\n"
    "signal.signal(signal.SIGTERM, lambda *a: drained.set())\n"
    "server = http.server.ThreadingHTTPServer(('', 15021), H)\n"
    "threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()\n"
    "drained.wait()\n"
    "drained.clear()\n"
    "threading.Event().wait(0.3)\n";

static void install(const struct rig *g, const char *text)
{
    int fd = open(g->program, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

    if (fd < 0 || write(fd, text, strlen(text)) < 0 || chmod(g->program, 0755) < 0 ||
        chmod(g->dir, 0711) < 0) {
        exit(1);
    }
    close(fd);
}

static bool await_ready(struct rig *g, const char *name, bool ready)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;

    while (fake_api_is_ready(&g->api, name) != ready) {
        turn(g);
        if (clock_mono_ms() > deadline) {
            const struct local_pod *p = runtime_find(g->runtime, "shop", name);
            AUTO(json) struct json *all = runtime_list(g->runtime);
            AUTO(strbuf) struct strbuf b = {0};
            json_print(all, 0, &b);
            printf("# %s never was%s ready: %s\n", name, ready ? "" : " not", strbuf_text(&b));
            return p == NULL && !ready;
        }
    }
    return true;
}

static bool await_gone(struct rig *g, const char *name)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;

    while (runtime_find(g->runtime, "shop", name) && clock_mono_ms() < deadline) {
        turn(g);
    }
    return !runtime_find(g->runtime, "shop", name);
}

/* Asks the stand-in for a page that it does not survive. */
static void crash(const struct rig *g, const char *name)
{
    const struct local_record *r = local_pod_record(runtime_find(g->runtime, "shop", name));
    struct endpoint at = {.ip = r->ips[0], .port = 15021};
    struct sockaddr_storage to;
    socklen_t len = endpoint_to_sockaddr(&at, &to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte[64];

    if (connect(fd, (struct sockaddr *)&to, len) < 0 ||
        write(fd, "GET /crash HTTP/1.0\r\n\r\n", 23) < 0) {
        exit(1);
    }
    while (read(fd, byte, sizeof(byte)) > 0) {
    }
    close(fd);
}

/* ---- tests */

TEST(a_command_runs_as_nobody_in_a_network_of_its_own_and_leaves_nothing)
{
    struct rig g;
    rig_start(&g, "");
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
    rig_stop(&g);
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
    struct rig g;
    int forgotten = dup(STDERR_FILENO);
    rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sh\",\"-c\",\"echo fd:; ls /proc/$$/fd\"]"));
    bool exited = await(&g, &c, "\"exited\"");
    AUTO(text) char *out = read_all(c.out);
    client_close(&c);
    rig_stop(&g);
    close(forgotten);
    CHECK(forgotten > STDERR_FILENO);
    CHECK(exited);
    CHECK(strstr(out, "fd:\n0\n1\n2\n"));
    CHECK(!strpbrk(strstr(out, "fd:\n") + 4, "3456789"));
}

/* No server is there: only a captured connection is accepted. */
TEST(a_labelled_command_is_captured_from_its_first_instruction)
{
    struct rig g;
    rig_start(&g, "ambient");
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
    rig_stop(&g);
    CHECK(started);
    CHECK(in);
    CHECK(exited);
    CHECK_STR(out, "captured\nsix\n");
    CHECK(clean);
}

TEST(a_detached_command_runs_until_it_is_stopped_with_all_its_children)
{
    struct rig g;
    rig_start(&g, "ambient");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sh\",\"-c\",\"setsid sleep 1000 & exec sleep 1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (fake_api_phase(&g.api, "cart") != POD_RUNNING && clock_mono_ms() < deadline) {
        turn(&g);
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
    rig_stop(&g);
    CHECK(started);
    CHECK_INT(running, POD_RUNNING);
    CHECK(closed);
    CHECK(listed);
    CHECK(stopped);
    CHECK(by_signal);
    CHECK(clean);
}

TEST(a_client_that_goes_away_takes_its_command_along)
{
    struct rig g;
    rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (runtime_find(g.runtime, "shop", "cart") && clock_mono_ms() < deadline) {
        turn(&g);
    }
    bool clean = nothing_is_left(&g);
    rig_stop(&g);
    CHECK(started);
    CHECK(clean);
}

TEST(an_attached_client_passes_signals_on)
{
    struct rig g;
    rig_start(&g, "");
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
    rig_stop(&g);
    CHECK(started);
    CHECK(said);
    CHECK(exited);
    CHECK(code);
}

/* The agent dies and comes back; the command never notices, and its end is followed up. */
TEST(a_command_survives_the_agent)
{
    struct rig g;
    rig_start(&g, "ambient");
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    pid_t shim = local_pod_record(runtime_find(g.runtime, "shop", "cart"))->shim;
    agent_stop(&g);
    for (int i = 0; i < 10; i++) {
        turn(&g);
    }
    bool alive = kill(shim, 0) == 0;
    bool served = fake_proxy_pods(&g.proxy) == 1;
    agent_start(&g);
    c = client_open(&g);
    client_send(&c, "{\"op\":\"ps\"}\n");
    bool listed = await(&g, &c, "\"state\":\"running\"");
    client_close(&c);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!agent_is_ready(g.agent) && clock_mono_ms() < deadline) {
        turn(&g);
    }
    bool kept = fake_proxy_pods(&g.proxy) == 1;
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    bool by_signal = strstr(c.said, "\"signal\":15") != NULL;
    bool clean = nothing_is_left(&g);
    client_close(&c);
    rig_stop(&g);
    CHECK(started);
    CHECK(alive);
    CHECK(served);
    CHECK(listed);
    CHECK(kept);
    CHECK(stopped);
    CHECK(by_signal);
    CHECK(clean);
}

TEST(a_command_that_fails_is_started_again_where_that_was_asked)
{
    struct rig g;
    rig_start(&g, "");
    struct client c = client_open(&g);
    client_send(&c,
                "{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\",\"command\":"
                "[\"false\"],\"restart\":\"on-failure\"}}\n");
    bool started = await(&g, &c, "\"started\"");
    client_close(&c);
    struct local_pod *p = runtime_find(g.runtime, "shop", "cart");
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (local_pod_record(p)->restarts < 2 && clock_mono_ms() < deadline) {
        turn(&g);
    }
    unsigned restarts = local_pod_record(p)->restarts;
    c = client_open(&g);
    client_send(&c, "{\"op\":\"stop\",\"namespace\":\"shop\",\"name\":\"cart\"}\n");
    bool stopped = await(&g, &c, "\"stopped\"");
    bool clean = nothing_is_left(&g);
    client_close(&c);
    rig_stop(&g);
    CHECK(started);
    CHECK_INT(restarts, 2);
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
    struct rig g;

    rig_start(&g, "");
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
    rig_stop(&g);
}

TEST(a_name_that_is_taken_is_refused_and_the_first_one_runs_on)
{
    struct rig g;
    rig_start(&g, "");
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
    rig_stop(&g);
    CHECK(started);
    CHECK(refused);
    CHECK(runs);
    CHECK(stopped);
}

/* How many requests a short life makes, with the one of that number failing (-1: none). */
static int short_life(int fail_at, bool *out_clean)
{
    struct rig g;
    rig_start(&g, "ambient");
    g.api.fail_at = fail_at;
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"true\"]"));
    bool told = await(&g, &c, "\"event\"");
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (runtime_find(g.runtime, "shop", "cart") && clock_mono_ms() < deadline) {
        turn(&g);
    }
    *out_clean = told && nothing_is_left(&g);
    int requests = g.api.requests;
    client_close(&c);
    rig_stop(&g);
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
    struct rig g;

    rig_start(&g, "");
    g.api.is_away = true;
    struct client c = client_open(&g);
    client_send(&c, RUN("false", "[\"true\"]"));
    bool failed = await(&g, &c, "\"failed\"");
    client_close(&c);
    g.api.is_away = false;
    while (runtime_find(g.runtime, "shop", "cart")) {
        turn(&g);
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
        turn(&g);
    }
    bool clean = nothing_is_left(&g);
    rig_stop(&g);
    CHECK(failed);
    CHECK(started);
    CHECK(refused);
    CHECK(exited);
    CHECK(clean);
}

TEST(what_is_left_is_removed_as_soon_as_the_api_is_back)
{
    enum { TRIES = 8, STEP_MS = 200, PAUSE_MS = 20000 };
    struct rig g;

    rig_start(&g, "");
    struct client c = client_open(&g);
    client_send_attached(&c, RUN("true", "[\"sleep\",\"1000\"]"));
    bool started = await(&g, &c, "\"started\"");
    g.api.is_away = true;
    client_close(&c);
    int tries = g.api.requests;
    while (g.api.requests < tries + TRIES) {
        turn(&g);
        if (g.api.requests > tries) { /* the command has ended: only the pauses take time */
            loop_advance(g.loop, STEP_MS);
        }
    }
    for (int i = 0; i < 20; i++) {
        turn(&g); /* the last one is refused, and the pause has grown beyond PAUSE_MS */
    }
    g.api.is_away = false;
    struct task *reader = g.api.reader;
    fake_api_replay(&g.api); /* for another reader, it thinks */
    g.api.reader = reader;
    task_wake(reader, WAKE_CHILD);
    uint64_t back_ms = clock_mono_ms();
    while (runtime_find(g.runtime, "shop", "cart")) {
        turn(&g);
    }
    uint64_t took_ms = clock_mono_ms() - back_ms;
    bool clean = nothing_is_left(&g);
    rig_stop(&g);
    CHECK(started);
    CHECK(clean);
    CHECK(took_ms < PAUSE_MS);
}

TEST(a_request_without_an_end_is_cut_off)
{
    struct rig g;
    rig_start(&g, "");
    struct client c = client_open(&g);
    char piece[2048];

    memset(piece, ' ', sizeof(piece));
    for (int i = 0; i < RUNTIME_API_LINE_MAX / (int)sizeof(piece) + 1; i++) {
        (void)!send(c.fd, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
        turn(&g);
    }
    bool closed = await_closed(&g, &c);
    client_close(&c);
    c = client_open(&g);
    turn(&g);
    loop_advance(g.loop, 10001);
    bool slow_closed = await_closed(&g, &c);
    client_close(&c);
    rig_stop(&g);
    CHECK(closed);
    CHECK(slow_closed);
}

TEST(a_pod_that_asks_for_a_waypoint_gets_one_with_a_token_that_is_ready_when_it_says_so)
{
    struct rig g;
    rig_start(&g, "ambient");
    install(&g, stand_in);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = await_ready(&g, "cart", true);
    int phase = fake_api_phase(&g.api, "cart");
    unsigned captured = fake_proxy_pods(&g.proxy);
    fake_api_unask(&g.api, "cart");
    bool told = await_ready(&g, "cart", false);
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
    rig_stop(&g);
    CHECK(ready);
    CHECK_INT(phase, POD_RUNNING);
    CHECK_INT(captured, 0);
    CHECK(told);
    CHECK(gone);
    CHECK(clean);
}

TEST(a_waypoint_that_dies_is_not_ready_and_comes_back_at_its_address)
{
    struct rig g;
    rig_start(&g, "");
    install(&g, stand_in);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = await_ready(&g, "cart", true);
    struct ip before = local_pod_record(runtime_find(g.runtime, "shop", "cart"))->ips[0];
    crash(&g, "cart");
    bool down = await_ready(&g, "cart", false);
    bool back = await_ready(&g, "cart", true);
    const struct local_record *r = local_pod_record(runtime_find(g.runtime, "shop", "cart"));
    bool same = ip_equal(&before, &r->ips[0]);
    unsigned restarts = r->restarts;
    fake_api_unask(&g.api, "cart");
    bool gone = await_gone(&g, "cart");
    rig_stop(&g);
    CHECK(ready);
    CHECK(down);
    CHECK(back);
    CHECK(same);
    CHECK_INT(restarts, 1);
    CHECK(gone);
}

TEST(a_waypoint_survives_the_agent_and_goes_if_its_pod_went_meanwhile)
{
    struct rig g;
    rig_start(&g, "");
    install(&g, stand_in);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = await_ready(&g, "cart", true);
    pid_t shim = local_pod_record(runtime_find(g.runtime, "shop", "cart"))->shim;
    agent_stop(&g);
    agent_start(&g);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (g.api.tokens < 2 && clock_mono_ms() < deadline) {
        turn(&g);
    }
    bool kept = fake_api_is_ready(&g.api, "cart") && kill(shim, 0) == 0 &&
                runtime_find(g.runtime, "shop", "cart");
    unsigned tokens = g.api.tokens;
    agent_stop(&g);
    fake_api_unask(&g.api, "cart");
    agent_start(&g);
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
    rig_stop(&g);
    CHECK(ready);
    CHECK(kept);
    CHECK_INT(tokens, 2); /* a new agent does not know how old the first one is */
    CHECK(gone);
    CHECK(clean);
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

TEST(a_token_is_renewed_at_half_of_its_life)
{
    struct rig g;
    rig_start(&g, "");
    g.api.token_life_s = 2;
    install(&g, stand_in);
    fake_api_ask_waypoint(&g.api, "cart");
    bool ready = await_ready(&g, "cart", true);
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (g.api.tokens < 3 && clock_mono_ms() < deadline) {
        turn(&g);
    }
    unsigned tokens = g.api.tokens;
    bool still = await_ready(&g, "cart", true);
    fake_api_unask(&g.api, "cart");
    bool gone = await_gone(&g, "cart");
    rig_stop(&g);
    CHECK(ready);
    CHECK_INT(tokens, 3);
    CHECK(still);
    CHECK(gone);
}

TEST(what_cannot_start_is_tried_again_and_its_pod_stays)
{
    struct rig g;
    rig_start(&g, "");
    chmod(g.dir, 0711);
    fake_api_ask_waypoint(&g.api, "cart"); /* there is no program yet */
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!runtime_find(g.runtime, "shop", "cart") && clock_mono_ms() < deadline) {
        turn(&g);
    }
    bool failed = await_gone(&g, "cart");
    bool there = fake_api_phase(&g.api, "cart") >= 0;
    bool said = strstr(fake_api_trouble(&g.api, "cart"), g.program) != NULL;
    install(&g, stand_in);
    bool ready = await_ready(&g, "cart", true);
    bool forgotten = fake_api_trouble(&g.api, "cart")[0] == '\0';
    fake_api_unask(&g.api, "cart");
    bool gone = await_gone(&g, "cart");
    bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
    rig_stop(&g);
    CHECK(said);
    CHECK(forgotten);
    CHECK(failed);
    CHECK(there);
    CHECK(ready);
    CHECK(gone);
    CHECK(clean);
}

TEST(whatever_request_for_a_waypoint_fails_once_it_gets_ready_and_goes)
{
    for (int at = 0; at < 6; at++) {
        struct rig g;
        rig_start(&g, "");
        install(&g, stand_in);
        g.api.fail_at = at;
        fake_api_ask_waypoint(&g.api, "cart");
        bool ready = await_ready(&g, "cart", true);
        fake_api_unask(&g.api, "cart");
        bool gone = await_gone(&g, "cart");
        bool clean = nothing_is_left(&g) && count_dir(&g, "secrets") == 0;
        rig_stop(&g);
        CHECK(ready);
        CHECK(gone);
        CHECK(clean);
    }
}

TEST(a_node_that_is_taken_down_starts_no_waypoint_any_more)
{
    struct rig g;
    rig_start(&g, "");
    install(&g, stand_in);
    struct client c = client_open(&g);
    client_send(&c, "{\"op\":\"hold\"}\n");
    bool held = await(&g, &c, "\"held\"");
    client_close(&c);
    fake_api_ask_waypoint(&g.api, "cart");
    for (int i = 0; i < 100; i++) {
        turn(&g);
    }
    bool started = runtime_find(g.runtime, "shop", "cart") != NULL;
    rig_stop(&g);
    CHECK(held);
    CHECK(!started);
}

TEST(nobody_asks_over_the_socket_for_a_waypoint)
{
    struct rig g;
    rig_start(&g, "");
    struct client c = client_open(&g);
    client_send(&c, "{\"op\":\"run\",\"spec\":{\"namespace\":\"shop\",\"name\":\"cart\","
                    "\"command\":[\"true\"],\"waypoint\":\"way\"}}\n");
    bool refused = await(&g, &c, "come from the API");
    client_close(&c);
    rig_stop(&g);
    CHECK(refused);
}
