/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listener.h"

#include "base/mem.h"
#include "base/num.h"
#include "io/sock.h"

enum listener_step {
    LISTENER_OPEN,  /* accept() is tried when the socket is ready */
    LISTENER_PAUSED /* the timer runs; accept() is not tried */
};

/* Lost connections skipped in one call; beyond that the owner gets a turn for others. */
enum { LOST_A_CALL = 64 };

struct listener {
    struct fd_watch watch;
    struct timer resume;
    uint64_t pause_ms; /* of the next pause; doubles while pauses follow each other */
    enum listener_step step;
};

enum verdict { VERDICT_LOST, VERDICT_SHORT, VERDICT_BROKEN };

/* accept(2): "already pending network errors on the new socket" are errors of accept(). */
static enum verdict judge(int r)
{
    switch (-r) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
    case EPERM: /* a firewall's */
        return VERDICT_LOST;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return VERDICT_SHORT;
    default:
        return VERDICT_BROKEN;
    }
}

static void enter(struct listener *l, enum listener_step next)
{
    l->step = next;
    timer_clear(&l->resume);
    if (next == LISTENER_PAUSED) {
        loop_counts(l->watch.loop)->accept_pauses++;
        timer_set(&l->resume, l->watch.task, l->pause_ms);
        l->pause_ms = MIN_OF(l->pause_ms * 2, (uint64_t)LISTENER_PAUSE_MAX_MS);
    }
}

struct listener *listener_new(struct loop *l, int take_fd, struct task *owner, struct diag *why)
{
    struct listener *n = mem_new(struct listener);
    int r = fd_watch_start(&n->watch, l, owner, take_fd);

    if (r < 0) {
        (void)FAIL(why, r, "watch a listening socket");
        sock_close(&take_fd);
        mem_free(n);
        return NULL;
    }
    n->pause_ms = LISTENER_PAUSE_MIN_MS;
    task_wake(owner, WAKE_START);
    return n;
}

void listener_close(struct listener *l)
{
    if (l) {
        timer_clear(&l->resume);
        fd_watch_stop(&l->watch);
        sock_close(&l->watch.fd);
        mem_free(l);
    }
}

/* A descriptor, -EINTR for "try once more", or the answer. */
static int try_accept(struct listener *l, struct endpoint *out_peer)
{
    int r = sock_accept(l->watch.fd, out_peer);

    if (r >= 0) {
        l->pause_ms = LISTENER_PAUSE_MIN_MS;
        return r;
    }
    if (r == -EAGAIN) {
        fd_watch_blocked(&l->watch, FD_READABLE);
        return r;
    }
    switch (judge(r)) {
    case VERDICT_LOST:
        return -EINTR;
    case VERDICT_SHORT:
        enter(l, LISTENER_PAUSED);
        return -EAGAIN;
    case VERDICT_BROKEN:
        break;
    }
    return r;
}

int listener_accept(struct listener *l, struct endpoint *out_peer)
{
    if (l->step == LISTENER_PAUSED && timer_is_armed(&l->resume)) {
        return -EAGAIN;
    }
    enter(l, LISTENER_OPEN);
    if (!(l->watch.ready & FD_READABLE)) {
        return -EAGAIN;
    }
    for (int lost = 0; lost < LOST_A_CALL; lost++) {
        int r = try_accept(l, out_peer);
        if (r != -EINTR) {
            return r;
        }
    }
    task_wake(l->watch.task, WAKE_IO);
    return -EAGAIN;
}

void listener_look(struct listener *l)
{
    l->watch.ready |= FD_READABLE;
}

int listener_fd(const struct listener *l)
{
    return l->watch.fd;
}
