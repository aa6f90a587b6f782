/* SPDX-License-Identifier: Apache-2.0 */
#include "io/packet.h"

#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/sock.h"

enum { CONTROL_BYTES = CMSG_SPACE(PACKET_FDS_MAX * sizeof(int)) };

struct packet_conn {
    struct fd_watch watch;
};

void packet_fds_close(struct packet_fds *f)
{
    while (f->count > 0) {
        sock_close(&f->fd[--f->count]);
    }
}

struct packet_conn *packet_new(struct loop *l, int take_fd, struct task *owner, struct diag *why)
{
    struct packet_conn *c = mem_new(struct packet_conn);
    int r = fd_watch_start(&c->watch, l, owner, take_fd);

    if (r < 0) {
        (void)FAIL(why, r, "watch a control channel");
        sock_close(&take_fd);
        mem_free(c);
        return NULL;
    }
    task_wake(owner, WAKE_START);
    return c;
}

void packet_close(struct packet_conn *c)
{
    if (c) {
        fd_watch_stop(&c->watch);
        sock_close(&c->watch.fd);
        mem_free(c);
    }
}

/* Every descriptor that came, also of a packet that is refused afterwards. */
static void collect_fds(struct msghdr *m, struct packet_fds *out)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && out->count < PACKET_FDS_MAX; i++) {
            memcpy(&out->fd[out->count++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
        }
    }
}

static int call_failed(struct packet_conn *c, unsigned what, const char *verb, struct diag *why)
{
    int r = neg_errno();

    if (r == -EAGAIN) {
        fd_watch_blocked(&c->watch, what);
        return r;
    }
    return FAIL(why, r, "%s a packet", verb);
}

ssize_t packet_receive(struct packet_conn *c, void *into, size_t room, struct packet_fds *out_fds,
                       struct diag *why)
{
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
    struct packet_fds fds = {.count = 0};
    struct iovec v = {into, room};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};

    if (!(c->watch.ready & FD_READABLE)) {
        return -EAGAIN;
    }
    m.msg_controllen = sizeof(control);
    ssize_t n = recvmsg(c->watch.fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return call_failed(c, FD_READABLE, "receive", why);
    }
    collect_fds(&m, &fds);
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        packet_fds_close(&fds);
        return FAIL(why, -ERR_TRUNCATED,
                    "receive a packet of more than %zu bytes or %d descriptors", room,
                    PACKET_FDS_MAX);
    }
    *out_fds = fds;
    return n;
}

static void put_fds(struct msghdr *m, const struct packet_fds *fds)
{
    size_t len = fds->count * sizeof(int);

    m->msg_controllen = CMSG_SPACE(len);
    struct cmsghdr *h = CMSG_FIRSTHDR(m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(h), fds->fd, len);
}

int packet_send(struct packet_conn *c, const void *from, size_t len, const struct packet_fds *fds,
                struct diag *why)
{
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES] = {0};
    struct iovec v = {(void *)(uintptr_t)from, len};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

    if (!(c->watch.ready & FD_WRITABLE)) {
        return -EAGAIN;
    }
    if (fds && fds->count > 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        put_fds(&m, fds);
    }
    return sendmsg(c->watch.fd, &m, MSG_NOSIGNAL) < 0 ? call_failed(c, FD_WRITABLE, "send", why)
                                                      : 0;
}

int packet_fd(const struct packet_conn *c)
{
    return c->watch.fd;
}
