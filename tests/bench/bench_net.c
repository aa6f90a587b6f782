/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { BACKLOG = 4096 };

_Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

void *need(void *p)
{
    if (!p) {
        die("memory");
    }
    return p;
}

uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t number(const char *text)
{
    char *end = NULL;
    uint64_t n = strtoull(text, &end, 10);

    if (end == text || *end) {
        die(text);
    }
    return n;
}

void raise_limits(void)
{
    struct rlimit l;

    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for this signal */
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l); /* too few descriptors show themselves */
    }
}

struct sockaddr_in address(const char *host, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        die(host);
    }
    return a;
}

void set_nodelay(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* still works without */
}

int listen_at(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0) {
        die("listen");
    }
    return fd;
}

int connect_to(const struct sockaddr_in *to, uint32_t mark)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)) {
        die("socket");
    }
    set_nodelay(fd);
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) {
        die("connect");
    }
    return fd;
}

void watch_fd(int epoll, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event e = {.events = events, .data.u64 = key};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
        die("epoll");
    }
}

void change_fd(int epoll, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event e = {.events = events, .data.u64 = key};

    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) < 0) {
        die("epoll");
    }
}
