/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain copy hop: what a node proxy costs at least when it copies and does nothing else. One thread,
 * one read and one write a batch of 128 KiB, memory only for what a socket refuses.
 *
 *   bench_hop PORT THERE           connects to where the redirected connection was going, to port THERE
 *   bench_hop PORT THERE local     to the address it was accepted on
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_net.h"

enum { ORIGINAL_DST = 80 }; /* SO_ORIGINAL_DST, whose header does not go with libc's */
enum { BATCH = 128 << 10, EVENTS = 256, READS_A_TURN = 4, MARK = 0x539 };

struct leg {
    struct hop *hop;
    struct leg *other;
    int fd;
    uint32_t events;
    uint8_t *stuck; /* read here, refused by the other leg */
    size_t at;
    size_t end;
    bool ended;
    bool told; /* the other leg has been shut */
};

struct hop {
    struct leg in;
    struct leg out;
    struct hop *next_gone;
    bool gone;
};

static int epoll_fd;
static uint8_t *batch;
static uint16_t there;
static bool to_local;
static struct hop *gone;

static void end(struct hop *h)
{
    if (!h->gone) {
        h->gone = true;
        (void)close(h->in.fd);
        (void)close(h->out.fd);
        h->next_gone = gone;
        gone = h;
    }
}

static void free_gone(void)
{
    while (gone) {
        struct hop *h = gone;
        gone = h->next_gone;
        free(h->in.stuck);
        free(h->out.stuck);
        free(h);
    }
}

static void interest(struct leg *l)
{
    uint32_t want = (l->ended || l->end > 0 ? 0 : (uint32_t)EPOLLIN) |
                    (l->other->end > 0 ? (uint32_t)EPOLLOUT : 0);

    if (want != l->events) {
        change_fd(epoll_fd, l->fd, want, (uint64_t)(uintptr_t)l);
        l->events = want;
    }
}

/* 1: all of it is gone; 0: the rest waits; -1: broken. */
static int give(struct leg *l, const uint8_t *from, size_t len, size_t *done)
{
    while (*done < len) {
        ssize_t n = send(l->other->fd, from + *done, len - *done, MSG_NOSIGNAL);

        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        *done += (size_t)n;
    }
    return 1;
}

static void tell_end(struct leg *l)
{
    if (l->ended && l->end == 0 && !l->told) {
        l->told = true;
        (void)shutdown(l->other->fd, SHUT_WR); /* a reset shows itself elsewhere */
    }
}

static int give_stuck(struct leg *l)
{
    int r = l->end > 0 ? give(l, l->stuck, l->end, &l->at) : 1;

    if (r == 1 && l->end > 0) {
        free(l->stuck);
        l->stuck = NULL;
        l->at = l->end = 0;
    }
    tell_end(l);
    return r;
}

static int keep(struct leg *l, size_t from, size_t len)
{
    l->stuck = need(malloc(len - from));
    memcpy(l->stuck, batch + from, len - from);
    l->at = 0;
    l->end = len - from;
    return 0;
}

static int copy(struct leg *l)
{
    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t n = recv(l->fd, batch, BATCH, 0);
        size_t done = 0;

        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        if (n == 0) {
            l->ended = true;
            tell_end(l);
            return 0;
        }
        int r = give(l, batch, (size_t)n, &done);
        if (r <= 0) {
            return r < 0 ? r : keep(l, done, (size_t)n);
        }
        if (n < BATCH) {
            break;
        }
    }
    return 0;
}

static void on_leg(struct leg *l, uint32_t events)
{
    struct hop *h = l->hop;
    int r = h->gone ? -1 : 0;

    if (r == 0 && (events & EPOLLOUT)) {
        r = give_stuck(l->other);
    }
    if (r >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !l->ended && l->end == 0) {
        r = copy(l);
    }
    bool over = l->told && l->other->told;
    if (r < 0 || over) {
        end(h);
        return;
    }
    interest(l);
    interest(l->other);
}

static struct sockaddr_in destination(int fd)
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof(a);
    int r = to_local ? getsockname(fd, (struct sockaddr *)&a, &len)
                     : getsockopt(fd, SOL_IP, ORIGINAL_DST, &a, &len);

    if (r < 0) {
        die("destination");
    }
    a.sin_port = htons(there);
    return a;
}

static void start_leg(struct hop *h, struct leg *l, struct leg *other, int fd)
{
    *l = (struct leg){.hop = h, .other = other, .fd = fd, .events = EPOLLIN};
    watch_fd(epoll_fd, fd, EPOLLIN, (uint64_t)(uintptr_t)l);
}

static void take_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct hop *h = need(calloc(1, sizeof(*h)));
        struct sockaddr_in to = destination(fd);

        set_nodelay(fd);
        start_leg(h, &h->in, &h->out, fd);
        start_leg(h, &h->out, &h->in, connect_to(&to, MARK));
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];

    if (argc < 3) {
        (void)fprintf(stderr, "usage: bench_hop PORT THERE [local]\n");
        return 2;
    }
    raise_limits();
    there = (uint16_t)number(argv[2]);
    to_local = argc > 3;
    batch = need(malloc(BATCH));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_at((uint16_t)number(argv[1]));
    watch_fd(epoll_fd, listener, EPOLLIN, 0);
    (void)printf("ready\n");
    (void)fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == 0) {
                take_all(listener);
            } else {
                on_leg((struct leg *)(uintptr_t)events[i].data.u64, events[i].events);
            }
        }
        free_gone();
    }
}
