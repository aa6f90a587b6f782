/* SPDX-License-Identifier: Apache-2.0 */
#include "node/ready_probe.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"

enum { HEAD_BYTES = 16 }; /* "HTTP/1.1 200 " */

enum step {
    PAUSE, /* until the next attempt */
    SEND,  /* the connection is being made, then the request is sent */
    HEAR   /* for the status line */
};

static const unsigned may_go[] = {
    [PAUSE] = BIT(SEND) | BIT(PAUSE),
    [SEND] = BIT(HEAR) | BIT(PAUSE),
    [HEAR] = BIT(PAUSE),
};

struct ready_probe {
    struct task task;
    struct task *owner;
    struct timer timer;
    struct fd_watch watch; /* fd -1 in PAUSE */
    struct endpoint at;
    enum step step;
    enum ready_verdict verdict;
    unsigned failures; /* in a row */
    char head[HEAD_BYTES];
    size_t head_len;
};

static void enter(struct ready_probe *p, enum step next, uint64_t limit_ms)
{
    assert(may_go[p->step] & BIT(next));
    p->step = next;
    if (limit_ms > 0) {
        timer_set(&p->timer, &p->task, limit_ms);
    }
}

static void hang_up(struct ready_probe *p)
{
    int fd = p->watch.fd;

    fd_watch_stop(&p->watch);
    if (fd >= 0) {
        close(fd);
    }
    p->watch.fd = -1;
}

static int conclude(struct ready_probe *p, bool yes)
{
    enum ready_verdict before = p->verdict;

    hang_up(p);
    p->failures = yes ? 0 : p->failures + 1;
    if (yes) {
        p->verdict = READY_YES;
    } else if (p->failures >= READY_PROBE_FAILURES) {
        p->verdict = READY_NO;
    }
    if (p->verdict != before) {
        task_wake(p->owner, WAKE_CHILD);
    }
    enter(p, PAUSE, p->verdict == READY_YES ? READY_PROBE_PERIOD_MS : READY_PROBE_FIRST_MS);
    return -EAGAIN;
}

static int dial(struct ready_probe *p)
{
    struct sockaddr_storage to;
    socklen_t len = endpoint_to_sockaddr(&p->at, &to);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    enter(p, SEND, READY_PROBE_LIMIT_MS);
    p->head_len = 0;
    if (fd < 0) {
        return conclude(p, false);
    }
    p->watch.fd = fd;
    if ((connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS) ||
        fd_watch_start(&p->watch, p->task.loop, &p->task, fd) < 0) {
        return conclude(p, false);
    }
    return 0;
}

/* Small enough for an empty socket buffer: all of it goes at once. */
static int send_request(struct ready_probe *p)
{
    static const char text[] =
        "GET /healthz/ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";
    ssize_t n = send(p->watch.fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
        fd_watch_blocked(&p->watch, FD_WRITABLE);
        return -EAGAIN;
    }
    if (n != (ssize_t)sizeof(text) - 1) {
        return conclude(p, false);
    }
    enter(p, HEAR, 0); /* within the same limit */
    return 0;
}

static int hear(struct ready_probe *p)
{
    size_t room = sizeof(p->head) - 1 - p->head_len;
    ssize_t n = recv(p->watch.fd, p->head + p->head_len, room, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN) {
        fd_watch_blocked(&p->watch, FD_READABLE);
        return -EAGAIN;
    }
    if (n <= 0) {
        return conclude(p, false);
    }
    p->head_len += (size_t)n;
    p->head[p->head_len] = '\0';
    if (p->head_len < 13) {
        return 0;
    }
    return conclude(p,
                    strncmp(p->head, "HTTP/1.", 7) == 0 && strncmp(p->head + 8, " 200 ", 5) == 0);
}

static int step(struct ready_probe *p)
{
    if (timer_is_due(&p->timer)) {
        timer_clear(&p->timer);
        return p->step == PAUSE ? dial(p) : conclude(p, false);
    }
    return p->step == SEND ? send_request(p) : p->step == HEAR ? hear(p) : -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct ready_probe *p = container_of(t, struct ready_probe, task);

    (void)why; /* the step knows what it waits for */
    while (step(p) == 0) {
    }
}

struct ready_probe *ready_probe_new(struct loop *l, const struct endpoint *at, struct task *owner)
{
    struct ready_probe *p = mem_new(struct ready_probe);

    p->owner = owner;
    p->at = *at;
    p->watch.fd = -1;
    task_init(&p->task, l, "readiness probe", run);
    enter(p, PAUSE, READY_PROBE_FIRST_MS);
    return p;
}

void ready_probe_free(struct ready_probe *p)
{
    if (!p) {
        return;
    }
    hang_up(p);
    timer_clear(&p->timer);
    task_fini(&p->task);
    mem_free(p);
}

enum ready_verdict ready_probe_verdict(const struct ready_probe *p)
{
    return p->verdict;
}
