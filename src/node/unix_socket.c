/* SPDX-License-Identifier: Apache-2.0 */
#include "node/unix_socket.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static struct log_scope scope = LOG_SCOPE("socket");

enum { BACKLOG = 16 };

static int bind_path(int fd, const char *path, struct diag *why)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len >= sizeof(a.sun_path)) {
        return FAIL(why, -ENAMETOOLONG, "socket path %s", path);
    }
    memcpy(a.sun_path, path, len);
    if (unlink(path) < 0 && errno != ENOENT) {
        return FAIL(why, neg_errno(), "remove stale %s", path);
    }
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(path, 0600) < 0 ||
        listen(fd, BACKLOG) < 0) {
        return FAIL(why, neg_errno(), "listen on %s", path);
    }
    return 0;
}

int unix_socket_listen(const char *path, int type, int *out_fd, struct diag *why)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "socket for %s", path);
    }
    int r = bind_path(fd, path, why);
    if (r < 0) {
        close(fd);
        return r;
    }
    *out_fd = fd;
    return 0;
}

static bool may_come(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

int unix_socket_accept(struct fd_watch *listener)
{
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0 && may_come(fd)) {
            return fd;
        }
        if (fd >= 0) {
            log_warn(&scope, "a stranger was turned away", F_I64("listener", listener->fd));
            close(fd);
        } else if (errno == EAGAIN) {
            fd_watch_blocked(listener, FD_READABLE);
            return -EAGAIN;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return neg_errno();
        }
    }
}
