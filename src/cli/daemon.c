/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/daemon.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "io/file.h"
#include "io/sock.h"

enum { START_TIME_FIELD = 22, KILL_WAIT_MS = 5000 };

/* ---- who is it */

/* proc(5): the name in field 2 may hold anything, so fields are counted from its ")". False: gone, or
 * only waiting to be reaped. */
static bool read_start_time(pid_t pid, uint64_t *out)
{
    AUTO(text) char *text = NULL;
    char path[32];
    struct slice rest;
    struct slice field = {NULL, 0};

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid); /* fits */
    if (file_read_blocking(path, &text, NULL, NULL) < 0) {
        return false;
    }
    const char *end = strrchr(text, ')');
    if (!end || end[1] != ' ' || end[2] == 'Z' || end[2] == 'X') {
        return false;
    }
    rest = slice_of(end + 2);
    for (int i = 3; i <= START_TIME_FIELD; i++) {
        if (!slice_cut(rest, ' ', &field, &rest)) {
            return false;
        }
    }
    return num_parse_u64(field.p, field.len, UINT64_MAX, out) == 0;
}

bool daemon_is_alive(const struct daemon *d)
{
    uint64_t start_time;

    return d->pid > 0 && read_start_time(d->pid, &start_time) && start_time == d->start_time;
}

/* ---- starting */

static char **words_of(const struct json *list)
{
    size_t n = json_count(list);
    char **words = mem_array(n + 1, sizeof(*words));

    for (size_t i = 0; i < n; i++) {
        words[i] = (char *)(uintptr_t)json_str(json_item(list, i), "");
    }
    return words;
}

/* Between fork and exec: system calls only. The failure goes to the parent through report_fd. */
static NO_RETURN void become(char **argv, char **env, int null_fd, int log_fd, int report_fd)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;

    (void)sigemptyset(&none);                    /* cannot fail */
    (void)sigaction(SIGPIPE, &usual, NULL);      /* cannot fail for this signal */
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* fails only for a wrong first argument */
    if (setsid() >= 0 && chdir("/") == 0 && dup2(null_fd, STDIN_FILENO) >= 0 &&
        dup2(log_fd, STDOUT_FILENO) >= 0 && dup2(log_fd, STDERR_FILENO) >= 0 &&
        syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) == 0) {
        (void)execve(argv[0], argv, env); /* what it returns with is in errno */
    }
    int failure = errno;
    ssize_t n = write(report_fd, &failure, sizeof(failure));
    _exit(n == (ssize_t)sizeof(failure) ? 127 : 126);
}

/* What the child had to say: 0 = it has become the program. */
static int hear_blocking(int fd)
{
    int failure = 0;
    ssize_t n;

    do {
        n = read(fd, &failure, sizeof(failure));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(failure) ? surely_negative(-failure) : 0;
}

static int fork_blocking(char **argv, char **env, int null_fd, int log_fd, struct daemon *out)
{
    int report[2];
    struct daemon d;

    if (pipe2(report, O_CLOEXEC) < 0) {
        return neg_errno();
    }
    d.pid = fork();
    if (d.pid == 0) {
        become(argv, env, null_fd, log_fd, report[1]);
    }
    int r = d.pid < 0 ? neg_errno() : 0;
    close(report[1]);
    if (r == 0) {
        r = hear_blocking(report[0]);
    }
    close(report[0]);
    if (d.pid > 0 && (r < 0 || !read_start_time(d.pid, &d.start_time))) {
        (void)waitpid(d.pid, NULL, WNOHANG); /* it has ended, or will be init's */
        r = r < 0 ? r : -ESRCH;
    }
    if (r == 0) {
        *out = d;
    }
    return r;
}

int daemon_start_blocking(const struct json *argv, const struct json *env, const char *log,
                          struct daemon *out, struct diag *why)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    int r = null_fd < 0 || log_fd < 0
                ? FAIL(why, neg_errno(), "open %s: %s", log, err_text(neg_errno()))
                : 0;

    if (r == 0) {
        AUTO(mem) void *words = words_of(argv);
        AUTO(mem) void *variables = words_of(env);
        r = fork_blocking(words, variables, null_fd, log_fd, out);
        if (r < 0) {
            r = FAIL(why, r, "start %s: %s", json_str(json_item(argv, 0), ""), err_text(r));
        }
    }
    sock_close(&null_fd);
    sock_close(&log_fd);
    return r;
}

/* ---- ending */

/* 1 = it has ended, 0 = not within the time. */
static int wait_end_blocking(int pidfd, uint64_t limit_ms)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    uint64_t until_ms = clock_mono_ms() + limit_ms;
    uint64_t now = clock_mono_ms();

    do {
        int r = poll(&p, 1, (int)(until_ms - now));
        if (r > 0) {
            return 1;
        }
        if (r < 0 && errno != EINTR) {
            return neg_errno();
        }
        now = clock_mono_ms();
    } while (now < until_ms);
    return 0;
}

static int send_signal(int pidfd, int number)
{
    long r = syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);

    return r < 0 && errno != ESRCH ? neg_errno() : 0;
}

static int end_blocking(int pidfd, uint64_t limit_ms)
{
    int r = send_signal(pidfd, SIGTERM);

    if (r == 0) {
        r = wait_end_blocking(pidfd, limit_ms);
    }
    if (r != 0) {
        return r < 0 ? r : 0;
    }
    r = send_signal(pidfd, SIGKILL);
    if (r == 0) {
        r = wait_end_blocking(pidfd, KILL_WAIT_MS);
    }
    return r < 0 ? r : r > 0 ? 1 : -ERR_DEADLINE;
}

int daemon_stop_blocking(const struct daemon *d, uint64_t limit_ms, struct diag *why)
{
    int pidfd = d->pid > 0 ? (int)syscall(SYS_pidfd_open, d->pid, 0) : -1;
    int r;

    /* The handle comes first: what is alive now is what it names. */
    if (pidfd < 0 || !daemon_is_alive(d)) {
        sock_close(&pidfd);
        return 0;
    }
    r = end_blocking(pidfd, limit_ms);
    sock_close(&pidfd);
    (void)waitpid(d->pid, NULL, WNOHANG); /* only who was started by this process is ours to reap */
    return r < 0 ? FAIL(why, r, "end process %d: %s", (int)d->pid, err_text(r)) : r;
}
