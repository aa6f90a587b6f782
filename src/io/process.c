/* SPDX-License-Identifier: Apache-2.0 */
#include "io/process.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "io/sock.h"

static struct log_scope scope = LOG_SCOPE("process");

/* The threads that allocate beside loops of data: control, log, handshakes, look-ups. */
enum { OTHER_ARENAS = 5 };

/* An arena for each thread: a loop that shares one waits for whoever holds its lock, which may be a
 * thread without a processor, or one that gives back what a snapshot has left free. And a page fault
 * costs as much as ten system calls: freed memory of the data path stays with us. */
static void tune_malloc(unsigned loops)
{
    (void)mallopt(M_ARENA_MAX, (int)loops + OTHER_ARENAS); /* best effort, like the next two */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

static sigset_t quit_set(void)
{
    sigset_t set;

    (void)sigemptyset(&set);        /* cannot fail */
    (void)sigaddset(&set, SIGTERM); /* cannot fail for these */
    (void)sigaddset(&set, SIGINT);
    return set;
}

void process_prepare(unsigned loops)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set = quit_set();

    tune_malloc(loops);
    (void)sigaction(SIGPIPE, &ignore, NULL);      /* cannot fail for this signal */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* fails only for a wrong first argument */
}

void process_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            log_warn(&scope, "file descriptor limit not raised", F_U64("limit", before));
            return;
        }
        log_info(&scope, "file descriptor limit", F_U64("from", before),
                 F_U64("to", limit.rlim_cur));
    }
}

int quit_signals_open(struct quit_signals *q, struct loop *l, struct task *t, struct diag *why)
{
    sigset_t set = quit_set();

    q->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (q->fd < 0) {
        return FAIL(why, neg_errno(), "signalfd");
    }
    q->open = true;
    return fd_watch_start(&q->watch, l, t, q->fd);
}

bool quit_signals_take(struct quit_signals *q)
{
    struct signalfd_siginfo info;
    bool any = false;

    while (read(q->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        any = true;
    }
    fd_watch_blocked(&q->watch, FD_READABLE);
    return any;
}

void quit_signals_close(struct quit_signals *q)
{
    if (q->open) {
        fd_watch_stop(&q->watch);
        sock_close(&q->fd);
        q->open = false;
    }
}
