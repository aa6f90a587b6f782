/* SPDX-License-Identifier: Apache-2.0 */
#include "io/packet.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/listener.h"
#include "io/sock.h"
#include "io/unix_sock.h"
#include "t.h"

struct end {
    struct task task;
    struct packet_conn *c;
    unsigned wakes;
};

static void note(struct task *t, unsigned why)
{
    container_of(t, struct end, task)->wakes += (why & WAKE_IO) != 0;
}

static void pair(struct loop *l, struct end e[2])
{
    int fds[2];

    (void)socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    for (int i = 0; i < 2; i++) {
        e[i] = (struct end){.wakes = 0};
        task_init(&e[i].task, l, "end", note);
        e[i].c = packet_new(l, fds[i], &e[i].task, NULL);
    }
    (void)loop_turn(l, 0);
}

static void unpair(struct end e[2])
{
    for (int i = 0; i < 2; i++) {
        packet_close(e[i].c);
        task_fini(&e[i].task);
    }
}

static struct packet_fds some_fds(unsigned count)
{
    struct packet_fds f = {.count = count};

    for (unsigned i = 0; i < count; i++) {
        f.fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    return f;
}

TEST(a_packet_arrives_whole_with_its_descriptors)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end e[2];
    struct packet_fds got = {.count = 0};
    char buf[32];
    int before = test_fd_count();

    pair(l, e);
    CHECK_INT(packet_receive(e[1].c, buf, sizeof(buf), &got, NULL), -EAGAIN);
    struct packet_fds f = some_fds(2);
    CHECK_INT(packet_send(e[0].c, "with", 4, &f, NULL), 0);
    CHECK_INT(packet_send(e[0].c, "without", 7, NULL, NULL), 0);
    packet_fds_close(&f);
    (void)loop_turn(l, 100);
    CHECK(e[1].wakes >= 1);
    CHECK_INT(packet_receive(e[1].c, buf, sizeof(buf), &got, NULL), 4);
    CHECK_INT(got.count, 2);
    CHECK(fcntl(got.fd[1], F_GETFD) & FD_CLOEXEC);
    packet_fds_close(&got);
    CHECK_INT(packet_receive(e[1].c, buf, sizeof(buf), &got, NULL), 7);
    CHECK_INT(got.count, 0);
    packet_close(e[0].c);
    e[0].c = NULL;
    (void)loop_turn(l, 100);
    CHECK_INT(packet_receive(e[1].c, buf, sizeof(buf), &got, NULL), 0);
    unpair(e);
    CHECK_INT(test_fd_count(), before);
}

TEST(a_packet_too_large_or_with_too_many_descriptors_leaves_none_behind)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end e[2];
    struct packet_fds got = {.count = 0};
    struct diag why;
    char buf[8];
    int before = test_fd_count();

    pair(l, e);
    struct packet_fds f = some_fds(3);
    CHECK_INT(packet_send(e[0].c, "longer than eight", 17, &f, NULL), 0);
    CHECK_INT(packet_receive(e[1].c, buf, sizeof(buf), &got, &why), -ERR_TRUNCATED);
    packet_fds_close(&f);
    int many[PACKET_FDS_MAX + 4] = {0}; /* standard input, more often than there is room for */
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(many))] = {0};
    struct iovec v = {buf, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
    m.msg_controllen = sizeof(control);
    *CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(many));
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), many, sizeof(many));
    CHECK_INT(sendmsg(packet_fd(e[0].c), &m, 0), 1);
    CHECK_INT(packet_receive(e[1].c, buf, sizeof(buf), &got, &why), -ERR_TRUNCATED);
    CHECK_INT(got.count, 0);
    unpair(e);
    CHECK_INT(test_fd_count(), before);
}

TEST(a_full_channel_refuses_and_wakes)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end e[2];
    struct packet_fds got = {.count = 0};
    char buf[1000] = {0};
    int sent = 0;
    int r = 0;

    pair(l, e);
    while (r == 0 && sent < 100000) {
        r = packet_send(e[0].c, buf, sizeof(buf), NULL, NULL);
        sent += r == 0;
    }
    CHECK_INT(r, -EAGAIN);
    (void)loop_turn(l, 0);
    unsigned wakes = e[0].wakes;
    while (packet_receive(e[1].c, buf, sizeof(buf), &got, NULL) > 0) {
        sent--;
    }
    CHECK_INT(sent, 0);
    (void)loop_turn(l, 100);
    CHECK(e[0].wakes > wakes);
    CHECK_INT(packet_send(e[0].c, buf, sizeof(buf), NULL, NULL), 0);
    unpair(e);
}

TEST(a_path_is_replaced_only_when_nobody_listens)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end host = {.wakes = 0};
    struct endpoint peer;
    struct unix_peer who;
    struct stat st;
    struct diag why;
    char dir[] = "/tmp/unix_sock_test.XXXXXX";
    char path[64];

    CHECK(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/sock", dir);
    CHECK_INT(unix_connect(path, UNIX_PACKET, &why), -ENOENT);
    int fd = unix_listen(path, UNIX_PACKET, 0600, &why);
    CHECK(fd >= 0);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_INT(unix_listen(path, UNIX_PACKET, 0600, &why), -EADDRINUSE);
    int client = unix_connect(path, UNIX_PACKET, &why);
    CHECK(client >= 0);
    task_init(&host.task, l, "host", note);
    struct listener *n = listener_new(l, fd, &host.task, NULL);
    int got = listener_accept(n, &peer);
    CHECK(got >= 0);
    CHECK_INT(peer.ip.family, IP_NONE);
    CHECK_INT(unix_peer(got, &who), 0);
    CHECK_INT(who.pid, getpid());
    CHECK_INT(who.uid, getuid());
    listener_close(n); /* the path stays behind */
    task_fini(&host.task);
    fd = unix_listen(path, UNIX_STREAM, 0660, &why);
    CHECK(fd >= 0);
    sock_close(&fd);
    sock_close(&client);
    sock_close(&got);
    (void)unlink(path);
    (void)rmdir(dir);
    memset(path, 'x', sizeof(path));
    path[63] = '\0';
    char longer[200];
    (void)snprintf(longer, sizeof(longer), "/tmp/%s%s", path, path);
    CHECK_INT(unix_connect(longer, UNIX_STREAM, &why), -ENAMETOOLONG);
}
