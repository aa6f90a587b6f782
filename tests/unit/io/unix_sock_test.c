/* SPDX-License-Identifier: Apache-2.0 */
#include "io/unix_sock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/sock.h"
#include "t.h"

struct host {
    struct task task;
    struct fd_watch watch;
    unsigned wakes;
};

static void note(struct task *t, unsigned why)
{
    (void)why;
    container_of(t, struct host, task)->wakes++;
}

static int listen_at(struct host *h, struct loop *l, const char *path)
{
    int fd = unix_listen(path, SOCK_SEQPACKET, NULL);

    task_init(&h->task, l, "host", note);
    return fd < 0 || fd_watch_start(&h->watch, l, &h->task, fd) < 0 ? -1 : fd;
}

static void unlisten(struct host *h, int *fd)
{
    fd_watch_stop(&h->watch);
    task_fini(&h->task);
    sock_close(fd);
}

TEST(who_connects_is_accepted_and_a_path_left_behind_is_replaced)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    char dir[] = "/tmp/unix_sock_test.XXXXXX";
    char path[64];
    struct stat st;

    CHECK(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/sock", dir);
    CHECK_INT(unix_connect(path, SOCK_SEQPACKET, NULL), -ENOENT);
    for (int generation = 0; generation < 2; generation++) {
        struct host h = {.wakes = 0};
        int fd = listen_at(&h, l, path);
        CHECK(fd >= 0);
        CHECK_INT(stat(path, &st), 0);
        CHECK_INT(st.st_mode & 0777, 0600);
        CHECK_INT(unix_accept(&h.watch), -EAGAIN);
        int client = unix_connect(path, SOCK_SEQPACKET, NULL);
        CHECK(client >= 0);
        (void)loop_turn(l, 100);
        CHECK(h.wakes > 0);
        int got = unix_accept(&h.watch);
        CHECK(got >= 0);
        sock_close(&got);
        sock_close(&client);
        unlisten(&h, &fd); /* the path stays behind */
        CHECK_INT(unix_connect(path, SOCK_SEQPACKET, NULL), -ECONNREFUSED);
    }
    (void)unlink(path);
    (void)rmdir(dir);
}

TEST(a_path_that_no_address_holds_is_refused)
{
    char path[200];
    struct diag why = {0};

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    CHECK_INT(unix_connect(path, SOCK_STREAM, &why), -ENAMETOOLONG);
    CHECK_INT(unix_listen(path, SOCK_STREAM, &why), -ENAMETOOLONG);
    CHECK_INT(unix_connect("", SOCK_STREAM, &why), -ENAMETOOLONG);
}

/* Should the path's mode not keep it out. */
TEST(another_user_is_turned_away_at_the_door)
{
    enum { NOBODY = 65534 };
    char dir[] = "/tmp/unix-sock-XXXXXX";
    char path[64];
    struct stat s;
    int status = -1;

    CHECK(mkdtemp(dir) && chmod(dir, 0755) == 0);
    (void)snprintf(path, sizeof(path), "%s/door", dir);
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct host h = {.wakes = 0};
    int fd = listen_at(&h, l, path);
    CHECK(fd >= 0 && stat(path, &s) == 0);
    CHECK_INT(s.st_mode & 0777, 0600);
    CHECK_INT(chmod(path, 0666), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        int door = setuid(NOBODY) == 0 ? unix_connect(path, SOCK_SEQPACKET, NULL) : -1;
        struct timeval limit = {.tv_sec = 30};
        (void)setsockopt(door, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        int flags = fcntl(door, F_GETFL);
        (void)fcntl(door, F_SETFL, flags & ~O_NONBLOCK);
        _exit(door >= 0 && recv(door, &byte, 1, 0) == 0 ? 0 : 1);
    }
    for (pid_t ended = 0; ended == 0; ended = waitpid(child, &status, WNOHANG)) {
        CHECK_INT(unix_accept(&h.watch), -EAGAIN);
        (void)loop_turn(l, 10);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    unlisten(&h, &fd);
    CHECK(unlink(path) == 0 && rmdir(dir) == 0);
}
