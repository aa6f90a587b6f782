/* SPDX-License-Identifier: Apache-2.0 */
#include "io/unix_sock.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "io/sock.h"

static struct log_scope scope = LOG_SCOPE("socket");

enum { BACKLOG = 16 };

/* A socket, and the address that path is. */
static int make(const char *path, int type, struct sockaddr_un *out)
{
    size_t len = strlen(path);

    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof(out->sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(out->sun_path, path, len);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return neg_errno();
    }
    return fd;
}

static int bind_and_listen(int fd, const struct sockaddr_un *at)
{
    if (unlink(at->sun_path) < 0 && errno != ENOENT) {
        return neg_errno();
    }
    if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 || chmod(at->sun_path, 0600) < 0 ||
        listen(fd, BACKLOG) < 0) {
        return neg_errno();
    }
    return 0;
}

int unix_listen(const char *path, int type, struct diag *why)
{
    struct sockaddr_un at;
    int fd = make(path, type, &at);
    int r = fd < 0 ? fd : bind_and_listen(fd, &at);

    if (r < 0) {
        sock_close(&fd);
        return FAIL(why, r, "listen on %s: %s", path, err_text(r));
    }
    return fd;
}

static bool may_come(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

int unix_accept(struct fd_watch *listener)
{
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0 && may_come(fd)) {
            return fd;
        }
        if (fd >= 0) {
            log_warn(&scope, "a stranger was turned away", F_I64("listener", listener->fd));
            sock_close(&fd);
        } else if (errno == EAGAIN) {
            fd_watch_blocked(listener, FD_READABLE);
            return -EAGAIN;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return neg_errno();
        }
    }
}

int unix_connect(const char *path, int type, struct diag *why)
{
    struct sockaddr_un at;
    int fd = make(path, type, &at);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
        int r = neg_errno();
        sock_close(&fd);
        return FAIL(why, r, "connect to %s: %s", path, err_text(r));
    }
    return fd < 0 ? FAIL(why, fd, "connect to %s: %s", path, err_text(fd)) : fd;
}
