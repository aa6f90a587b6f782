/* SPDX-License-Identifier: Apache-2.0 */
#include "node/local_work.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "codec/utf8.h"
#include "io/file.h"
#include "node/local_net.h"
#include "node/local_token.h"
#include "node/procfs.h"
#include "node/shim.h"

enum { START_LIMIT_MS = 20000 };

/* ---- preparing */

static int make_dir(const char *path, struct diag *why)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return FAIL(why, neg_errno(), "make %s", path);
    }
    return 0;
}

static int write_file(const char *dir, const char *name, const struct strbuf *text,
                      struct diag *why)
{
    char path[LOCAL_PATH_MAX + 16];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name); /* names are short */
    return file_write_blocking(path, strbuf_text(text), text->len, 0644, why);
}

static int write_hosts(const char *dir, const struct local_record *r, struct diag *why)
{
    AUTO(strbuf) struct strbuf b = {0};
    char ip[IP_TEXT];

    strbuf_puts(&b, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (unsigned i = 0; i < r->ip_count; i++) {
        strbuf_printf(&b, "%s %s\n", ip_format(&r->ips[i], ip), r->spec.name);
    }
    return write_file(dir, "hosts", &b, why);
}

/* Whoever is named as server, a captured pod's questions reach the node proxy; a pod outside the mesh
 * learns at once from its gateway that nobody answers. */
static int write_resolv_conf(const char *dir, const struct local_record *r, struct diag *why)
{
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_printf(&b,
                  "nameserver %s\nsearch %s.svc.cluster.local svc.cluster.local cluster.local\n",
                  LOCAL_NET_GATEWAY_V4, r->spec.namespace);
    strbuf_puts(&b, "options ndots:5\n");
    return write_file(dir, "resolv.conf", &b, why);
}

static int make_folders(const struct local_record *r, const char *dir, struct diag *why)
{
    char path[LOCAL_PATH_MAX];
    static const char *const names[] = {"local", "netns"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", r->run_dir, names[i]); /* fits */
        int result = make_dir(path, why);
        if (result < 0) {
            return result;
        }
    }
    return make_dir(dir, why);
}

static int prepare(const struct local_work *w, const char *dir, const struct local_record *r,
                   struct diag *why)
{
    int result = make_folders(r, dir, why);

    if (result == 0) {
        result = write_hosts(dir, r, why);
    }
    if (result == 0) {
        result = write_resolv_conf(dir, r, why);
    }
    return result < 0 ? result : local_record_save_blocking(dir, w->record, why);
}

/* ---- the network */

struct net_names {
    char path[LOCAL_PATH_MAX];
    char link[IFNAMSIZ];
};

/* -ERR_SYNTAX: there can be no network for such a uid. */
static int net_of(const struct local_record *r, struct net_names *names, struct local_net *out)
{
    int result = local_record_netns(r, names->path);

    if (result == 0) {
        local_net_link_name(r->uid, names->link);
        *out = (struct local_net){
            .netns_path = names->path, .link = names->link, .ips = r->ips, .ip_count = r->ip_count};
    }
    return result;
}

static int make_network(const struct local_work *w, const char *dir, const struct local_record *r,
                        struct diag *why)
{
    struct net_names names;
    struct local_net net;
    int result = net_of(r, &names, &net);

    if (result < 0) {
        return FAIL(why, result, "strange uid");
    }
    result = local_record_save_blocking(dir, w->record, why);
    if (result == 0) {
        result = local_net_prepare_node_blocking(why);
    }
    return result < 0 ? result : local_net_make_blocking(&net, why);
}

/* ---- launching */

/* Standard input is empty and output goes to the log where none were given. */
static int open_stdio(const char *dir, const int given[static LOCAL_STDIO],
                      int out[static LOCAL_STDIO], struct diag *why)
{
    char log[LOCAL_PATH_MAX + 16];

    (void)snprintf(log, sizeof(log), "%s/log", dir); /* fits */
    for (int i = 0; i < LOCAL_STDIO; i++) {
        out[i] = given[i] >= 0 ? fcntl(given[i], F_DUPFD_CLOEXEC, SHIM_STATUS_FD + 1)
                 : i == 0      ? open("/dev/null", O_RDONLY | O_CLOEXEC)
                               : open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (out[i] < 0) {
            return FAIL(why, neg_errno(), "standard %s", i == 0 ? "input" : "output");
        }
    }
    return 0;
}

void local_stdio_close(int fds[static LOCAL_STDIO])
{
    for (int i = 0; i < LOCAL_STDIO; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
        fds[i] = -1;
    }
}

static int spawn(const char *dir, const int stdio[static LOCAL_STDIO], int status, pid_t *out)
{
    char program[] = "ambit-agent";
    char mode[] = "shim";
    char where[LOCAL_PATH_MAX];
    char *argv[] = {program, mode, where, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;

    (void)snprintf(where, sizeof(where), "%s", dir); /* as long as dir may be */
    (void)sigemptyset(&none);
    (void)posix_spawn_file_actions_init(&files); /* these only store what they are given */
    (void)posix_spawnattr_init(&attr);
    for (int i = 0; i < LOCAL_STDIO; i++) {
        (void)posix_spawn_file_actions_adddup2(&files, stdio[i], i);
    }
    (void)posix_spawn_file_actions_adddup2(&files, status, SHIM_STATUS_FD);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    int r = posix_spawn(out, "/proc/self/exe", &files, &attr, argv, environ);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attr);
    return r > 0 ? -r : 0;
}

static int read_pid(const char *text, pid_t *out)
{
    uint32_t pid;
    int r = num_parse_u32(text, strlen(text), INT32_MAX, &pid);

    if (r == 0) {
        *out = (pid_t)pid;
    }
    return r;
}

/* What the shim says of the start: "ok" and the command's pid, or an error and what went wrong. */
static int await_start(int status, pid_t *out, struct diag *why)
{
    struct pollfd p = {.fd = status, .events = POLLIN};
    char said[sizeof(why->text)];

    if (poll(&p, 1, START_LIMIT_MS) <= 0) {
        return FAIL(why, -ERR_DEADLINE, "start of the command");
    }
    ssize_t n = read(status, said, sizeof(said) - 1);
    if (n <= 0) {
        return FAIL(why, -EIO, "shim ended without a word");
    }
    said[n] = '\0';
    char *blank = strchr(said, ' ');
    const char *sentence = blank ? blank + 1 : said;
    if (blank) {
        *blank = '\0';
    }
    if (strcmp(said, "ok") != 0 || read_pid(sentence, out) < 0) {
        int code = err_of_name(said);
        return FAIL(why, code == -EAGAIN ? -ERR_LIMIT : code, "%s", sentence); /* not: later */
    }
    return 0;
}

static int start_shim(struct local_work *w, const char *dir, const int stdio[static LOCAL_STDIO],
                      struct diag *why)
{
    int status[2];

    if (pipe2(status, O_CLOEXEC) < 0) {
        return FAIL(why, neg_errno(), "make pipe");
    }
    /* Above the numbers that the shim's own descriptors get. */
    int far = fcntl(status[1], F_DUPFD_CLOEXEC, SHIM_STATUS_FD + 1);
    close(status[1]);
    int r = far < 0 ? neg_errno() : spawn(dir, stdio, far, &w->shim);
    if (far >= 0) {
        close(far);
    }
    r = r < 0 ? FAIL(why, r, "start shim") : await_start(status[0], &w->command, why);
    close(status[0]);
    return r;
}

static int note_shim(struct local_work *w, const char *dir, struct diag *why)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)w->shim); /* fits */
    int r = procfs_start_time_blocking("/proc", pid, &w->start_time);
    if (r < 0) {
        return FAIL(why, r, "shim has ended");
    }
    json_set_int(w->record, "pid", w->command);
    json_set_int(w->record, "shim", w->shim);
    json_set_int(w->record, "startTime", (int64_t)w->start_time);
    return local_record_save_blocking(dir, w->record, why);
}

static void remove_exit(const char *dir)
{
    char path[LOCAL_PATH_MAX + 16];

    (void)snprintf(path, sizeof(path), "%s/exit.json", dir); /* fits */
    (void)unlink(path); /* of the run before; mostly there is none */
}

static int launch(struct local_work *w, const char *dir, struct diag *why)
{
    int stdio[LOCAL_STDIO] = {-1, -1, -1};

    remove_exit(dir);
    int r = open_stdio(dir, w->stdio, stdio, why);
    if (r == 0) {
        r = start_shim(w, dir, stdio, why);
    }
    local_stdio_close(stdio);
    if (r == 0) {
        r = note_shim(w, dir, why);
    }
    if (r < 0 && w->shim > 0) {
        (void)kill(w->shim, SIGKILL); /* it has not been waited for, so the pid is still its */
        (void)waitpid(w->shim, NULL, 0);
    }
    return r;
}

/* ---- the end */

/* Anything may stand in a log; what is handed on is text. */
static void put_clean(const char *text, size_t len, char *out)
{
    for (size_t i = 0; i < len;) {
        size_t n = (unsigned char)text[i] >= ' ' ? utf8_char_len(text + i, len - i) : 0;
        memcpy(out, n > 0 ? text + i : "?", n > 0 ? n : 1);
        out += n > 0 ? n : 1;
        i += n > 0 ? n : 1;
    }
    *out = '\0';
}

/* The end of what a workload without a terminal said: its folder goes with it. */
static void read_last(const struct local_record *r, struct local_exit *e)
{
    char path[LOCAL_LOG_MAX];
    char text[LOCAL_LAST_MAX];
    struct stat about;

    local_record_log(r, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t from = fd >= 0 && fstat(fd, &about) == 0 && about.st_size >= (off_t)sizeof(text)
                     ? about.st_size - (off_t)sizeof(text) + 1
                     : 0;
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, from) : -1;
    if (fd >= 0) {
        close(fd);
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) {
        n--;
    }
    ssize_t at = n;
    while (at > 0 && text[at - 1] != '\n') {
        at--;
    }
    if (n > at) {
        put_clean(text + at, (size_t)(n - at), e->last);
    }
}

static int read_exit(struct local_work *w, const char *dir, const struct local_record *r)
{
    if (r->shim > 0) {
        (void)waitpid(r->shim, NULL, WNOHANG); /* not ours if an agent before us started it */
    }
    if (local_exit_load_blocking(dir, &w->exit, NULL) < 0) {
        w->exit = (struct local_exit){.code = 128 + SIGKILL, .signal = SIGKILL};
    }
    read_last(r, &w->exit);
    return 0;
}

static int remove_file(const char *dir, const char *name, const char *suffix, struct diag *why)
{
    char path[LOCAL_PATH_MAX + 24];

    (void)snprintf(path, sizeof(path), "%s/%s%s", dir, name, suffix); /* names are short */
    if (unlink(path) < 0 && errno != ENOENT) {
        return FAIL(why, neg_errno(), "remove %s", path);
    }
    return 0;
}

/* The shim may have been killed while it was writing: then a file is there under its first name. */
static int remove_dir(const char *dir, struct diag *why)
{
    static const char *const names[] = {"hosts", "resolv.conf", "log",
                                        "log.1", "exit.json",   "record.json"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int r = remove_file(dir, names[i], "", why);
        if (r == 0) {
            r = remove_file(dir, names[i], ".new", why);
        }
        if (r < 0) {
            return r;
        }
    }
    if (rmdir(dir) < 0 && errno != ENOENT) {
        return FAIL(why, neg_errno(), "remove %s", dir);
    }
    return 0;
}

static int tear_down(const char *dir, const struct local_record *r, struct diag *why)
{
    struct net_names names;
    struct local_net net;
    int result = net_of(r, &names, &net) < 0 ? 0 : local_net_unmake_blocking(&net, why);

    if (r->shim > 0) {
        (void)waitpid(r->shim, NULL, WNOHANG); /* in case it was killed */
    }
    if (result == 0) {
        result = local_token_remove_blocking(r, why);
    }
    return result < 0 ? result : remove_dir(dir, why);
}

/* ---- the job */

static int call(struct local_work *w, const char *dir, const struct local_record *r)
{
    switch (w->kind) {
    case LOCAL_WORK_PREPARE:
        return prepare(w, dir, r, &w->why);
    case LOCAL_WORK_NETWORK:
        return make_network(w, dir, r, &w->why);
    case LOCAL_WORK_LAUNCH:
        return launch(w, dir, &w->why);
    case LOCAL_WORK_EXIT:
        return read_exit(w, dir, r);
    case LOCAL_WORK_TEARDOWN:
        return tear_down(dir, r, &w->why);
    }
    return -ERR_UNSUPPORTED;
}

static void work(struct job *j)
{
    struct local_work *w = container_of(j, struct local_work, job);
    struct local_record r = {0};
    char dir[LOCAL_PATH_MAX];

    w->result = local_record_read(w->record, &r, &w->why);
    if (w->result == 0) {
        local_record_dir(&r, dir);
        w->result = call(w, dir, &r);
    }
    local_record_fini(&r);
}

static void release(struct local_work *w)
{
    local_stdio_close(w->stdio);
    w->record = json_unref(w->record);
    mem_free(w);
}

static void abandoned(struct job *j)
{
    release(container_of(j, struct local_work, job));
}

struct local_work *local_work_start(struct jobs *jobs, enum local_work_kind kind,
                                    const struct local_record *r,
                                    const int stdio[static LOCAL_STDIO], struct task *t)
{
    struct local_work *w = mem_new(struct local_work);

    w->job.work = work;
    w->job.abandoned = abandoned;
    w->kind = kind;
    w->record = local_record_to_json(r);
    for (int i = 0; i < LOCAL_STDIO; i++) {
        w->stdio[i] = stdio[i] >= 0 ? fcntl(stdio[i], F_DUPFD_CLOEXEC, 0) : -1;
    }
    if (jobs_submit(jobs, &w->job, (uint64_t)(uintptr_t)t, t) < 0) {
        release(w);
        return NULL;
    }
    return w;
}

void local_work_drop(struct local_work *w)
{
    if (w) {
        job_abandon(&w->job);
    }
}
