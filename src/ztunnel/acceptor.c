/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/acceptor.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/sock.h"
#include "ztunnel/stats.h"

enum {
    ACCEPTS_A_RUN = 64, /* then the other tasks have their turn */
    WAITING_MAX = 1024  /* beyond every backlog */
};

static struct log_scope scope = LOG_SCOPE("accept");

struct acceptor {
    struct task task;
    struct pod *pod;
    struct listener *listener;
    acceptor_open *open;
    enum pod_way way;
};

static void accepted(struct acceptor *a, int fd, const struct endpoint *peer)
{
    if (pod_is_full(a->pod, a->way)) {
        stats_refused(a->pod->plane->shard, a->way == POD_OUT);
        sock_close(&fd);
        return;
    }
    a->open(a->pod, fd, peer);
}

/* True: there may be more. */
static bool accept_some(struct acceptor *a, int most)
{
    struct endpoint peer;

    for (int i = 0; i < most; i++) {
        int fd = listener_accept(a->listener, &peer);
        if (fd == -EAGAIN) {
            return false;
        }
        if (fd < 0) {
            log_error(&scope, "listener failed", F_STR("pod", a->pod->info.name),
                      F_STR("error", err_text(fd)));
            return false;
        }
        accepted(a, fd, &peer);
    }
    return true;
}

static void run(struct task *t, unsigned why)
{
    (void)why; /* every wake is a hint */
    if (accept_some(container_of(t, struct acceptor, task), ACCEPTS_A_RUN)) {
        task_wake(t, WAKE_IO);
    }
}

void acceptor_take_waiting(struct acceptor *a)
{
    listener_look(a->listener);
    (void)accept_some(a, WAITING_MAX); /* more cannot wait */
}

struct acceptor *acceptor_new(struct pod *p, int take_fd, acceptor_open *open, enum pod_way way,
                              struct diag *why)
{
    struct acceptor *a = mem_new(struct acceptor);

    task_init(&a->task, p->plane->loop, "accept", run);
    a->pod = p;
    a->open = open;
    a->way = way;
    a->listener = listener_new(p->plane->loop, take_fd, &a->task, why);
    if (!a->listener) {
        acceptor_free(a);
        return NULL;
    }
    return a;
}

void acceptor_free(struct acceptor *a)
{
    if (a) {
        listener_close(a->listener);
        task_fini(&a->task);
        mem_free(a);
    }
}
