/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop_int.h"
#include "io/sock.h"
#include "io/splice_int.h"

/* Whether writing to a connection that has gone is an error here and not a death. */
static bool is_safe_from_sigpipe(void)
{
    struct sigaction a;
    sigset_t blocked;

    if (sigaction(SIGPIPE, NULL, &a) == 0 && a.sa_handler != SIG_DFL) {
        return true;
    }
    return pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGPIPE) == 1;
}

static void pipe_free(struct splice_pipe *p)
{
    p->loop->pipes--;
    sock_close(&p->read_end);
    sock_close(&p->write_end);
    mem_free(p);
}

/* A pipe that cannot be as large as wanted would cost more calls than copying. */
static struct splice_pipe *pipe_make(struct loop *l)
{
    int fds[2];

    if (!is_safe_from_sigpipe() || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return NULL;
    }
    struct splice_pipe *p = mem_new(struct splice_pipe);
    list_init(&p->in_loop);
    p->loop = l;
    p->read_end = fds[0];
    p->write_end = fds[1];
    l->pipes++;
    if (fcntl(fds[1], F_SETPIPE_SZ, SPLICE_PIPE_BYTES) < SPLICE_PIPE_BYTES) {
        pipe_free(p);
        return NULL;
    }
    return p;
}

struct splice_pipe *splice_pipe_get(struct loop *l)
{
    struct list *idle = list_take_first(&l->idle_pipes);

    l->counts.splices++;
    if (idle) {
        l->idle_pipe_count--;
        return container_of(idle, struct splice_pipe, in_loop);
    }
    return l->pipes < SPLICE_PIPES_A_LOOP ? pipe_make(l) : NULL;
}

void splice_pipe_put(struct splice_pipe *p)
{
    if (!p) {
        return;
    }
    if (p->len > 0 || p->loop->idle_pipe_count >= SPLICE_IDLE_PIPES) {
        pipe_free(p);
    } else {
        list_prepend(&p->loop->idle_pipes, &p->in_loop);
        p->loop->idle_pipe_count++;
    }
}

void splice_pipes_fini(struct loop *l)
{
    for (struct list *n = list_take_first(&l->idle_pipes); n; n = list_take_first(&l->idle_pipes)) {
        pipe_free(container_of(n, struct splice_pipe, in_loop));
    }
}
