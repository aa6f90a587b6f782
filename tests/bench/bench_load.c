/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of the benchmark and the server it talks to. Each client prints one JSON object at its end.
 *
 *   bench_load server PORT
 *   bench_load bulk HOST PORT CONNS WRITE_BYTES TOTAL_BYTES
 *   bench_load rr HOST PORT CONNS SIZE COUNT GAP_US       COUNT 0: until standard input ends
 *   bench_load conn HOST PORT COUNT LANES [ROW]           connect, one exchange of 64 bytes, end
 *   bench_load idle HOST PORT COUNT LANES [ROW]           the same, but all stay open until standard input ends
 *
 * With ROW, connection number n goes to 10.x.(y + n / ROW).(z + n % ROW) where HOST is 10.x.y.z.
 * The server discards what comes on a connection that begins with S and answers its end with one
 * byte; everything else it echoes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench_net.h"

enum { BUFFER = 256 << 10, EVENTS = 256, SMALL = 64, STUCK_MS = 20000 };

static int epoll_fd;
static uint8_t *buffer;

/* ---- latencies */

struct samples {
    uint64_t *ns;
    size_t count;
    size_t room;
};

static void add(struct samples *s, uint64_t ns)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 4096;
        s->ns = need(realloc(s->ns, s->room * sizeof(*s->ns)));
    }
    s->ns[s->count++] = ns;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double at_us(const struct samples *s, double part)
{
    return s->count == 0 ? 0 : (double)s->ns[(size_t)(part * (double)(s->count - 1))] / 1000;
}

static void report(struct samples *s, uint64_t began, uint64_t failed)
{
    double seconds = (double)(now_ns() - began) / 1e9;

    qsort(s->ns, s->count, sizeof(*s->ns), by_size);
    (void)printf("{\"count\": %zu, \"failed\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, "
                 "\"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
                 s->count, (unsigned long long)failed, seconds, at_us(s, 0.5), at_us(s, 0.99),
                 at_us(s, 0.999), at_us(s, 1));
    (void)fflush(stdout);
}

/* ---- server */

static void echo(int fd, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, buffer + done, len - done, MSG_NOSIGNAL);

        if (n > 0) {
            done += (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        } else {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            (void)poll(&p, 1, -1); /* whatever it says, the next send knows */
        }
    }
}

enum { KEY_DISCARD = 1, KEY_ECHO = 2, KEY_NEW = 3 };

static void serve(int fd, uint64_t what)
{
    ssize_t n = recv(fd, buffer, BUFFER, 0);

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        if (n == 0 && what == KEY_DISCARD) {
            (void)send(fd, "E", 1, MSG_NOSIGNAL); /* best effort: the client counts it */
        }
        (void)close(fd);
        return;
    }
    if (what == KEY_NEW) {
        what = buffer[0] == 'S' ? KEY_DISCARD : KEY_ECHO;
        change_fd(epoll_fd, fd, EPOLLIN, what << 32 | (uint64_t)fd);
    }
    if (what == KEY_ECHO) {
        echo(fd, (size_t)n);
    }
}

static void take_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        set_nodelay(fd);
        watch_fd(epoll_fd, fd, EPOLLIN, (uint64_t)KEY_NEW << 32 | (uint64_t)fd);
    }
}

_Noreturn static void server(char **arg)
{
    struct epoll_event events[EVENTS];
    int listener = listen_at((uint16_t)number(arg[0]));

    watch_fd(epoll_fd, listener, EPOLLIN, (uint64_t)listener);
    (void)printf("ready\n");
    (void)fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            uint64_t what = events[i].data.u64 >> 32;

            if (what == 0) {
                take_all(listener);
            } else {
                serve((int)(uint32_t)events[i].data.u64, what);
            }
        }
    }
}

/* ---- clients */

struct client {
    int fd;
    bool connected;
    size_t left;  /* bytes to send or to get back */
    uint64_t at;  /* when the exchange began, or is to begin */
    bool waiting; /* for its time */
};

static int connect_blocking(const struct sockaddr_in *to)
{
    int fd = connect_to(to, 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof(error);

    if (poll(&p, 1, STUCK_MS) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
        error) {
        errno = error;
        die("connect");
    }
    return fd;
}

static int wait_events(struct epoll_event *events)
{
    int n = epoll_wait(epoll_fd, events, EVENTS, STUCK_MS);

    if (n <= 0) {
        (void)fprintf(stderr, "bench_load: nothing happens\n");
        exit(3);
    }
    return n;
}

static void push(struct client *c, uint64_t key, size_t piece, unsigned *done)
{
    uint8_t ack = 0;

    if (c->left > 0) {
        ssize_t n = send(c->fd, buffer, c->left < piece ? c->left : piece, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN) {
            die("send");
        }
        c->left -= n > 0 ? (size_t)n : 0;
        if (c->left == 0) {
            (void)shutdown(c->fd, SHUT_WR); /* a reset shows itself in recv */
            change_fd(epoll_fd, c->fd, EPOLLIN, key);
        }
    } else if (recv(c->fd, &ack, 1, 0) == 1 && ack == 'E') {
        (void)close(c->fd);
        ++*done;
    } else if (errno != EAGAIN) {
        die("no acknowledgement");
    }
}

static int bulk(char **arg)
{
    struct sockaddr_in to = address(arg[0], (uint16_t)number(arg[1]));
    unsigned count = (unsigned)number(arg[2]);
    size_t piece = number(arg[3]);
    size_t each = number(arg[4]) / count;
    struct client *all = need(calloc(count, sizeof(*all)));
    struct epoll_event events[EVENTS];
    struct samples none = {0};
    unsigned done = 0;

    memset(buffer, 'S', BUFFER);
    for (unsigned i = 0; i < count; i++) {
        all[i] = (struct client){.fd = connect_blocking(&to), .left = each};
        watch_fd(epoll_fd, all[i].fd, EPOLLOUT, i);
    }
    uint64_t began = now_ns();
    while (done < count) {
        int n = wait_events(events);

        for (int i = 0; i < n; i++) {
            push(&all[events[i].data.u64], events[i].data.u64, piece, &done);
        }
    }
    report(&none, began, 0);
    return 0;
}

struct rr {
    struct client *all;
    unsigned count;
    size_t size;
    uint64_t gap_ns;
    uint64_t wanted; /* 0: until standard input ends */
    struct samples samples;
};

static void ask(struct rr *r, struct client *c)
{
    c->waiting = false;
    c->at = now_ns();
    c->left = r->size;
    if (send(c->fd, buffer, r->size, MSG_NOSIGNAL) != (ssize_t)r->size) {
        die("send");
    }
}

static void hear(struct rr *r, struct client *c)
{
    static uint8_t into[16384];
    ssize_t n = recv(c->fd, into, c->left < sizeof(into) ? c->left : sizeof(into), 0);

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        die("recv");
    }
    c->left -= (size_t)n;
    if (c->left > 0) {
        return;
    }
    uint64_t now = now_ns();
    add(&r->samples, now - c->at);
    if (r->gap_ns == 0) {
        ask(r, c);
        return;
    }
    c->waiting = true;
    c->at = now + r->gap_ns;
}

/* Those whose time has come; ns until the next one. */
static uint64_t due(struct rr *r)
{
    uint64_t next = (uint64_t)STUCK_MS * 1000000;
    uint64_t now = now_ns();

    for (unsigned i = 0; r->gap_ns > 0 && i < r->count; i++) {
        struct client *c = &r->all[i];

        if (c->waiting && c->at <= now) {
            ask(r, c);
        } else if (c->waiting && c->at - now < next) {
            next = c->at - now;
        }
    }
    return next;
}

static bool rr_turn(struct rr *r)
{
    struct epoll_event events[EVENTS];
    uint64_t wait = due(r);
    struct timespec patience = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
    int n = epoll_pwait2(epoll_fd, events, EVENTS, &patience, NULL);

    if (n < 0 || (n == 0 && wait == (uint64_t)STUCK_MS * 1000000)) {
        (void)fprintf(stderr, "bench_load: no answer\n");
        exit(3);
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == r->count) {
            return false; /* standard input */
        }
        hear(r, &r->all[events[i].data.u64]);
    }
    return r->wanted == 0 || r->samples.count < r->wanted;
}

static int rr(char **arg)
{
    struct sockaddr_in to = address(arg[0], (uint16_t)number(arg[1]));
    struct rr r = {.count = (unsigned)number(arg[2]),
                   .size = number(arg[3]),
                   .wanted = number(arg[4]),
                   .gap_ns = number(arg[5]) * 1000};

    memset(buffer, 'E', BUFFER);
    r.all = need(calloc(r.count, sizeof(*r.all)));
    for (unsigned i = 0; i < r.count; i++) {
        r.all[i].fd = connect_blocking(&to);
        watch_fd(epoll_fd, r.all[i].fd, EPOLLIN, i);
    }
    if (r.wanted == 0) {
        watch_fd(epoll_fd, STDIN_FILENO, EPOLLIN, r.count);
    }
    uint64_t began = now_ns();
    for (unsigned i = 0; i < r.count; i++) {
        ask(&r, &r.all[i]);
    }
    while (rr_turn(&r)) {
    }
    report(&r.samples, began, 0);
    return 0;
}

struct conn_load {
    struct sockaddr_in to;
    struct client *all;
    uint64_t count;
    uint64_t started;
    uint64_t done;
    uint64_t failed;
    uint32_t row; /* 0: one address */
    bool stay;
    struct samples samples;
};

static void start_one(struct conn_load *l)
{
    struct sockaddr_in to = l->to;
    uint64_t i = l->started++;

    if (l->row) {
        uint32_t far = (uint32_t)i / l->row * 256 + (uint32_t)i % l->row;
        to.sin_addr.s_addr = htonl(ntohl(to.sin_addr.s_addr) + far);
    }
    l->all[i] = (struct client){.at = now_ns(), .left = SMALL};
    l->all[i].fd = connect_to(&to, 0);
    watch_fd(epoll_fd, l->all[i].fd, EPOLLOUT, i);
}

static void finish_one(struct conn_load *l, struct client *c, bool good)
{
    l->failed += !good;
    l->done++;
    add(&l->samples, now_ns() - c->at);
    if (!l->stay || !good) {
        (void)close(c->fd);
    } else if (epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL) < 0) {
        die("epoll");
    }
    if (l->started < l->count) {
        start_one(l);
    }
}

static void go_on(struct conn_load *l, uint64_t key)
{
    struct client *c = &l->all[key];
    uint8_t into[SMALL];

    if (!c->connected) {
        c->connected = true;
        if (send(c->fd, buffer, SMALL, MSG_NOSIGNAL) != SMALL) {
            finish_one(l, c, false);
            return;
        }
        change_fd(epoll_fd, c->fd, EPOLLIN, key);
        return;
    }
    ssize_t n = recv(c->fd, into, c->left, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    c->left -= n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->left == 0) {
        finish_one(l, c, n > 0);
    }
}

static int conn(char **arg, bool stay)
{
    struct conn_load l = {.to = address(arg[0], (uint16_t)number(arg[1])),
                          .count = number(arg[2]),
                          .row = arg[4] ? (uint32_t)number(arg[4]) : 0,
                          .stay = stay};
    uint64_t lanes = number(arg[3]);
    struct epoll_event events[EVENTS];
    char end;

    memset(buffer, 'E', BUFFER);
    l.all = need(calloc(l.count, sizeof(*l.all)));
    uint64_t began = now_ns();
    for (uint64_t i = 0; i < lanes && i < l.count; i++) {
        start_one(&l);
    }
    while (l.done < l.count) {
        int n = wait_events(events);

        for (int i = 0; i < n; i++) {
            go_on(&l, events[i].data.u64);
        }
    }
    report(&l.samples, began, l.failed);
    while (stay && read(STDIN_FILENO, &end, 1) > 0) {
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";

    raise_limits();
    buffer = need(malloc(BUFFER));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (strcmp(mode, "server") == 0) {
        server(argv + 2);
    }
    if (strcmp(mode, "bulk") == 0 && argc == 7) {
        return bulk(argv + 2);
    }
    if (strcmp(mode, "rr") == 0 && argc == 8) {
        return rr(argv + 2);
    }
    if ((strcmp(mode, "conn") == 0 || strcmp(mode, "idle") == 0) && (argc == 6 || argc == 7)) {
        return conn(argv + 2, mode[0] == 'i');
    }
    (void)fprintf(stderr, "bench_load: see the top of its source\n");
    return 2;
}
