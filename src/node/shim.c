/* SPDX-License-Identifier: Apache-2.0 */
#include "node/shim.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "io/netns.h"
#include "node/confine.h"
#include "node/local_record.h"
#include "node/procfs.h"
#include "node/short_log.h"

struct user {
    uid_t uid;
    gid_t gid;
    const char *name; /* NULL: only numbers were given */
    const char *home;
};

/* ---- who the command becomes */

static int parse_numbers(const char *text, struct user *out)
{
    struct slice uid;
    struct slice gid;
    uint32_t u;
    uint32_t g;

    if (!slice_cut(slice_of(text), ':', &uid, &gid) ||
        num_parse_u32(uid.p, uid.len, INT32_MAX, &u) < 0 ||
        num_parse_u32(gid.p, gid.len, INT32_MAX, &g) < 0) {
        return -ERR_SYNTAX;
    }
    *out = (struct user){.uid = u, .gid = g, .home = "/"};
    return 0;
}

static int find_user(const struct local_spec *s, struct user *out, struct diag *why)
{
    struct user u = {0};

    if (parse_numbers(s->user, &u) < 0) {
        const struct passwd *p = getpwnam(s->user); // one thread
        if (!p) {
            return FAIL(why, -ERR_NOT_FOUND, "no user %s", s->user);
        }
        u = (struct user){p->pw_uid, p->pw_gid, s->user, p->pw_dir};
    }
    if ((u.uid == 0 || u.gid == 0) && !s->allow_root) {
        return FAIL(why, -EPERM, "user %s is root, which was not asked for", s->user);
    }
    *out = u;
    return 0;
}

/* What would lead out of the namespace, or past its capture, even for root. */
static int drop_capabilities(void)
{
    static const int dropped[] = {CAP_NET_ADMIN,  CAP_NET_RAW,   CAP_SYS_ADMIN, CAP_SYS_PTRACE,
                                  CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT,  CAP_MKNOD,
                                  CAP_BPF,        CAP_PERFMON};

    for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
        if (prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0) < 0) {
            return neg_errno();
        }
    }
    return 0;
}

static int become(const struct user *u, struct diag *why)
{
    int groups = u->name ? initgroups(u->name, u->gid) : setgroups(0, NULL);

    if (drop_capabilities() < 0) {
        return FAIL(why, -EPERM, "drop capabilities");
    }
    if (groups < 0 || setgid(u->gid) < 0 || setuid(u->uid) < 0) {
        return FAIL(why, neg_errno(), "become user %u", u->uid);
    }
    /* A set-user-id program would be root of the whole node. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return FAIL(why, neg_errno(), "forbid new privileges");
    }
    return confine(why);
}

/* ---- where it lives */

static int bind_file(const char *dir, const char *name, const char *target, struct diag *why)
{
    char path[LOCAL_PATH_MAX + 16];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name); /* names are short */
    if (mount(path, target, NULL, MS_BIND, NULL) < 0) {
        return FAIL(why, neg_errno(), "mount %s", target);
    }
    return 0;
}

/* Name services that answer over local sockets would get round the resolver: they seem to be away. */
static int hide_name_services(struct diag *why)
{
    static const char *const sockets[] = {"/run/systemd/resolve/io.systemd.Resolve",
                                          "/run/nscd/socket"};

    for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
        if (mount("/dev/null", sockets[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT) {
            return FAIL(why, neg_errno(), "hide %s", sockets[i]);
        }
    }
    return 0;
}

static int enter_namespaces(const struct local_record *r, struct diag *why)
{
    char path[LOCAL_PATH_MAX];
    int netns;

    if (local_record_netns(r, path) < 0) {
        return FAIL(why, -ERR_SYNTAX, "strange uid");
    }
    int result = netns_open(path, &netns, why);
    if (result < 0) {
        return result;
    }
    if (setns(netns, CLONE_NEWNET) < 0 || unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
        sethostname(r->spec.name, strlen(r->spec.name)) < 0) {
        result = FAIL(why, neg_errno(), "enter namespaces");
    }
    close(netns);
    return result;
}

static int settle_in(const char *dir, const struct local_record *r, struct diag *why)
{
    int result = enter_namespaces(r, why);

    if (result == 0) {
        result = bind_file(dir, "hosts", "/etc/hosts", why);
    }
    if (result == 0) {
        result = bind_file(dir, "resolv.conf", "/etc/resolv.conf", why);
    }
    return result < 0 ? result : hide_name_services(why);
}

/* ---- the command */

static char **texts_of(const struct json *array, size_t more)
{
    char **out = mem_array(json_count(array) + more + 1, sizeof(char *));

    for (size_t i = 0; i < json_count(array); i++) {
        out[i] = mem_strdup(json_str(json_item(array, i), ""));
    }
    return out;
}

static char **environment(const struct local_spec *s, const struct user *u)
{
    char **env = texts_of(s->env, 2);
    size_t n = json_count(s->env);
    struct strbuf home = {0};

    strbuf_printf(&home, "HOME=%s", u->home);
    env[n] = mem_strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    env[n + 1] = strbuf_take(&home);
    return env;
}

/* The folder of a program that an administrator installed need not be open to its user. A script is
 * found by its name again, as its interpreter does it. */
static int start_program(int program, char **argv, char **env)
{
    environ = env; /* so that the command is looked for in its own PATH */
    if (program >= 0) {
        (void)syscall(SYS_execveat, program, "", argv, env, AT_EMPTY_PATH); /* comes back if not */
    }
    if (program < 0 || errno == ENOENT) {
        (void)execvp(argv[0], argv); /* comes back only when it fails */
    }
    return neg_errno();
}

/* In the child. Comes back only when it fails. */
static int turn_into(const struct local_spec *s, const struct user *u, struct diag *why)
{
    char **argv = texts_of(s->command, 0);
    char **env = environment(s, u);
    int program = s->waypoint ? open(argv[0], O_PATH | O_CLOEXEC) : -1;
    sigset_t none;

    int r = become(u, why);
    if (r < 0) {
        return r;
    }
    (void)sigemptyset(&none);
    if (chdir(s->workdir) < 0) {
        return FAIL(why, neg_errno(), "go to %s", s->workdir);
    }
    /* After the change of user, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
        sigprocmask(SIG_SETMASK, &none, NULL) < 0) {
        return FAIL(why, neg_errno(), "prepare to start");
    }
    return FAIL(why, start_program(program, argv, env), "start %s", argv[0]);
}

/* The pid, once the command runs. A child that fails sends what it has to say and ends. */
static int launch(const struct local_spec *s, const struct user *u, struct diag *why)
{
    struct diag said = {0};
    int pipe_fd[2];

    if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
        return FAIL(why, neg_errno(), "make pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)setsid(); /* a fresh child leads no group: this cannot fail */
        close(SHIM_STATUS_FD);
        int r = turn_into(s, u, &said);
        ssize_t n = write(pipe_fd[1], &said, sizeof(said));
        _exit(r < 0 && n > 0 ? 127 : 126);
    }
    close(pipe_fd[1]);
    ssize_t n = pid < 0 ? -1 : read(pipe_fd[0], &said, sizeof(said));
    close(pipe_fd[0]);
    if (pid < 0) {
        return FAIL(why, neg_errno(), "fork");
    }
    if (n > 0) {
        *why = said;
        (void)waitpid(pid, NULL, 0); /* it has ended */
        return surely_negative(said.code);
    }
    return pid;
}

/* ---- waiting for it */

struct watch {
    pid_t command;
    unsigned grace_s;
    struct local_exit how;
    uint64_t kill_at_ms; /* 0: nobody has asked it to end */
};

static void note_end(struct watch *w, const siginfo_t *info)
{
    bool by_itself = info->si_code == CLD_EXITED;

    w->how = (struct local_exit){.code = by_itself ? info->si_status : 128 + info->si_status,
                                 .signal = by_itself ? 0 : info->si_status};
}

/* True once the command has ended. What it leaves behind becomes ours, for we are its reaper. */
static bool reap(struct watch *w)
{
    siginfo_t info = {0};
    bool ended = false;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) {
        if (info.si_pid == w->command) {
            note_end(w, &info);
            ended = true;
        }
        info = (siginfo_t){0};
    }
    return ended;
}

/* The next signal, at most a second later: 0 if none came. */
static int next_signal(const sigset_t *all)
{
    const struct timespec second = {.tv_sec = 1};
    int s = sigtimedwait(all, NULL, &second);

    return s > 0 ? s : 0;
}

static void pass_on(struct watch *w, int s)
{
    if (s == SIGTERM && w->kill_at_ms == 0) {
        w->kill_at_ms = clock_mono_ms() + w->grace_s * UINT64_C(1000);
    }
    if (s > 0 && s != SIGCHLD) {
        (void)kill(-w->command, s); /* it may have ended meanwhile */
    }
    if (w->kill_at_ms > 0 && clock_mono_ms() >= w->kill_at_ms) {
        (void)kill(-w->command, SIGKILL);
    }
}

static void end_children(void)
{
    char pids[4096];
    struct slice pid;
    uint32_t number;

    while (waitpid(-1, NULL, WNOHANG) >= 0) {
        size_t len = procfs_read_blocking("/proc", "thread-self", "children", pids, sizeof(pids));
        struct slice rest = {pids, len};
        while (slice_cut(rest, ' ', &pid, &rest)) {
            if (num_parse_u32(pid.p, pid.len, INT32_MAX, &number) == 0) {
                (void)kill((pid_t)number, SIGKILL); /* a child of ours, so its pid is still its */
            }
        }
        (void)waitpid(-1, NULL, 0);
    }
}

static struct local_exit await_end(const char *dir, pid_t command, unsigned grace_s,
                                   const sigset_t *all)
{
    struct watch w = {.command = command, .grace_s = grace_s};

    while (!reap(&w)) {
        pass_on(&w, next_signal(all));
        short_log_keep_blocking(dir, STDOUT_FILENO, SHORT_LOG_BYTES);
    }
    end_children();
    return w.how;
}

/* ---- the whole */

static void report(const char *text)
{
    ssize_t n = write(SHIM_STATUS_FD, text, strlen(text));

    (void)n; /* an agent that is gone does not listen */
    close(SHIM_STATUS_FD);
}

static unsigned grace_s_of(const struct local_spec *s)
{
    return s->waypoint ? SHIM_WAYPOINT_GRACE_S : SHIM_GRACE_S;
}

static int start(const char *dir, unsigned *out_grace_s, struct diag *why)
{
    struct local_record r = {0};
    struct user u = {0};
    int result = local_record_load_blocking(dir, &r, why);

    if (result == 0) {
        result = find_user(&r.spec, &u, why);
    }
    if (result == 0) {
        result = settle_in(dir, &r, why);
    }
    if (result == 0) {
        *out_grace_s = grace_s_of(&r.spec);
        result = launch(&r.spec, &u, why);
    }
    local_record_fini(&r);
    return result;
}

int shim_main(const char *dir)
{
    struct diag why = {0};
    char said[sizeof(why.text) + 64];
    unsigned grace_s = SHIM_GRACE_S;
    sigset_t all;

    (void)sigfillset(&all);
    if (sigprocmask(SIG_BLOCK, &all, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ||
        fcntl(SHIM_STATUS_FD, F_SETFD, FD_CLOEXEC) < 0 ||
        close_range(SHIM_STATUS_FD + 1, UINT_MAX, 0) < 0) { /* whatever the agent has is not ours */
        return EXIT_FAILURE;
    }
    pid_t command = start(dir, &grace_s, &why);
    if (command < 0) {
        (void)snprintf(said, sizeof(said), "%s %s: %s", err_name(command), why.text,
                       err_text(command)); /* cut at worst */
        report(said);
        return EXIT_FAILURE;
    }
    (void)snprintf(said, sizeof(said), "ok %d", (int)command); /* fits */
    report(said);
    struct local_exit how = await_end(dir, command, grace_s, &all);
    return local_exit_save_blocking(dir, &how, NULL) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
