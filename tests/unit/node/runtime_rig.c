/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
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
#include "node/shim.h"
#include "podnet.h"

/* The runtime starts its own program as the shim: that is this one, and it stays in the network where
 * it was started. Otherwise the test gets mounts of its own, as it gets a network of its own (t.c): its
 * files are in a file system that goes with it, so that nothing is left behind even where a test fails
 * or is killed. */
__attribute__((constructor(101))) static void early(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "shim") == 0) {
        _exit(shim_main(argv[2]));
    }
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/mnt", "tmpfs", 0, "mode=0755") < 0) {
        printf("Bail out! no namespaces\n");
        exit(1);
    }
}

static void must(int r, const struct diag *why)
{
    if (r < 0) {
        printf("Bail out! %s (%d)\n", why->text, r);
        exit(1);
    }
}

void runtime_rig_agent_start(struct runtime_rig *g)
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

void runtime_rig_agent_stop(struct runtime_rig *g)
{
    runtime_free(MOVE(g->runtime));
    agent_free(MOVE(g->agent));
    g->api.reader = NULL; /* it went with the agent */
}

void runtime_rig_start(struct runtime_rig *g, const char *mode)
{
    *g = (struct runtime_rig){.dir = "/mnt/node-run-XXXXXX"};
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
    runtime_rig_agent_start(g);
}

void runtime_rig_turn(struct runtime_rig *g)
{
    (void)loop_turn(g->loop, 2);
    while (fake_proxy_pump(&g->proxy)) {
        (void)loop_turn(g->loop, 0);
    }
}

void runtime_rig_stop(struct runtime_rig *g)
{
    char path[64];

    runtime_rig_agent_stop(g);
    for (int i = 0; i < 10; i++) {
        runtime_rig_turn(g);
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

void client_close(struct client *c)
{
    podnet_close_fd(c->fd);
    podnet_close_fd(c->out);
    c->fd = -1;
    c->out = -1;
}

struct client client_open(const struct runtime_rig *g)
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

void client_send(struct client *c, const char *line)
{
    if (send(c->fd, line, strlen(line), MSG_NOSIGNAL) < 0) {
        exit(1);
    }
}

void client_send_attached(struct client *c, const char *line)
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

bool await(struct runtime_rig *g, struct client *c, const char *text)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;

    while (!strstr(c->said, text)) {
        runtime_rig_turn(g);
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

bool await_closed(struct runtime_rig *g, struct client *c)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;
    char byte[256];
    ssize_t n;

    while ((n = recv(c->fd, byte, sizeof(byte), MSG_DONTWAIT)) != 0) {
        int failure = n < 0 ? errno : EAGAIN; /* before the turn has failures of its own */
        if (clock_mono_ms() > deadline || failure != EAGAIN) {
            return failure == ECONNRESET;
        }
        runtime_rig_turn(g);
    }
    return true;
}

char *read_all(int fd)
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

unsigned count_dir(const struct runtime_rig *g, const char *name)
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

bool nothing_is_left(const struct runtime_rig *g)
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

/* ---- waypoints */

/* A waypoint for tests. It is ready once it has seen that it is nobody, that its token is there, for
 * it to read and not to change, and that it knows its names. */
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

void waypoint_install(const struct runtime_rig *g)
{
    int fd = open(g->program, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

    if (fd < 0 || write(fd, stand_in, strlen(stand_in)) < 0 || chmod(g->program, 0755) < 0 ||
        chmod(g->dir, 0711) < 0) {
        exit(1);
    }
    close(fd);
}

bool waypoint_await_ready(struct runtime_rig *g, const char *name, bool ready)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;

    while (fake_api_is_ready(&g->api, name) != ready) {
        runtime_rig_turn(g);
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

bool await_gone(struct runtime_rig *g, const char *name)
{
    uint64_t deadline = clock_mono_ms() + PATIENCE_MS;

    while (runtime_find(g->runtime, "shop", name) && clock_mono_ms() < deadline) {
        runtime_rig_turn(g);
    }
    return !runtime_find(g->runtime, "shop", name);
}

void waypoint_crash(const struct runtime_rig *g, const char *name)
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
