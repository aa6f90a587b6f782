/* SPDX-License-Identifier: Apache-2.0 */
#include "node/shim_watch.h"

#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node/procfs.h"

void shim_watch_init(struct shim_watch *w)
{
    *w = (struct shim_watch){.fd.fd = -1};
}

void shim_watch_stop(struct shim_watch *w)
{
    int fd = w->fd.fd;

    fd_watch_stop(&w->fd);
    if (fd >= 0) {
        close(fd);
    }
    w->fd.fd = -1;
}

static bool is_recorded(pid_t number, uint64_t start_time)
{
    char pid[16];
    uint64_t started;

    (void)snprintf(pid, sizeof(pid), "%d", (int)number); /* fits */
    return procfs_start_time_blocking("/proc", pid, &started) == 0 && started == start_time;
}

int shim_watch_start(struct shim_watch *w, struct loop *l, struct task *t, pid_t pid,
                     uint64_t start_time)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* no wrapper in this C library */

    if (fd < 0) {
        return neg_errno();
    }
    int r = is_recorded(pid, start_time) ? fd_watch_start(&w->fd, l, t, fd) : -ESRCH;
    if (r < 0) {
        close(fd);
        w->fd.fd = -1;
    }
    return r;
}

bool shim_watch_has_ended(const struct shim_watch *w)
{
    struct pollfd ended = {.fd = w->fd.fd, .events = POLLIN};

    return w->fd.fd < 0 || poll(&ended, 1, 0) > 0;
}

void shim_watch_wait(struct shim_watch *w)
{
    fd_watch_blocked(&w->fd, FD_READABLE);
}

int shim_watch_signal(struct shim_watch *w, int signal)
{
    if (w->fd.fd < 0) {
        return -ESRCH;
    }
    return syscall(SYS_pidfd_send_signal, w->fd.fd, signal, NULL, 0) < 0 ? neg_errno() : 0;
}
