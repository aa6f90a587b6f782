/* SPDX-License-Identifier: Apache-2.0 */
#include "io/unix_sock.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/sock.h"

enum { BACKLOG = 64 };

static int make(enum unix_kind kind)
{
    int type = kind == UNIX_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return neg_errno();
    }
    return fd;
}

static int fill(struct sockaddr_un *out, const char *path)
{
    size_t len = strlen(path);

    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof(out->sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(out->sun_path, path, len);
    return 0;
}

static int connect_to(const struct sockaddr_un *at, enum unix_kind kind)
{
    int fd = make(kind);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0) {
        int r = neg_errno();
        sock_close(&fd);
        return r;
    }
    return fd;
}

/* Nobody answers there any more: the file is all that is left of a socket. */
static int remove_stale(const struct sockaddr_un *at, enum unix_kind kind)
{
    int fd = connect_to(at, kind);

    if (fd != -ECONNREFUSED) {
        sock_close(&fd);
        return -EADDRINUSE;
    }
    return unlink(at->sun_path) < 0 ? neg_errno() : 0;
}

static int bind_to(int fd, const struct sockaddr_un *at)
{
    return bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 ? neg_errno() : 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *at, enum unix_kind kind, mode_t mode)
{
    int r = bind_to(fd, at);

    if (r == -EADDRINUSE) {
        r = remove_stale(at, kind);
        r = r < 0 ? r : bind_to(fd, at);
    }
    if (r == 0 && (chmod(at->sun_path, mode) < 0 || listen(fd, BACKLOG) < 0)) {
        r = neg_errno();
    }
    return r;
}

int unix_listen(const char *path, enum unix_kind kind, mode_t mode, struct diag *why)
{
    struct sockaddr_un at;
    int r = fill(&at, path);
    int fd = r < 0 ? r : make(kind);

    r = fd < 0 ? fd : bind_and_listen(fd, &at, kind, mode);
    if (r < 0) {
        sock_close(&fd);
        return FAIL(why, r, "listen on %s", path);
    }
    return fd;
}

int unix_connect(const char *path, enum unix_kind kind, struct diag *why)
{
    struct sockaddr_un at;
    int r = fill(&at, path);

    r = r < 0 ? r : connect_to(&at, kind);
    return r < 0 ? FAIL(why, r, "connect to %s: %s", path, err_text(r)) : r;
}

int unix_peer(int fd, struct unix_peer *out)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0) {
        return neg_errno();
    }
    *out = (struct unix_peer){.pid = who.pid, .uid = who.uid, .gid = who.gid};
    return 0;
}
