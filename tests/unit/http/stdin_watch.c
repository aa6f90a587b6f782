/* SPDX-License-Identifier: Apache-2.0 */
#include "stdin_watch.h"

#include <fcntl.h>
#include <unistd.h>

static void run(struct task *t, unsigned why)
{
    struct stdin_watch *w = container_of(t, struct stdin_watch, task);
    char waste[64];
    ssize_t n;

    (void)why;
    do {
        n = read(STDIN_FILENO, waste, sizeof(waste));
    } while (n > 0);
    if (n == 0) {
        loop_stop(t->loop);
    } else {
        fd_watch_blocked(&w->watch, FD_READABLE);
    }
}

void stdin_watch_start(struct stdin_watch *w, struct loop *l)
{
    *w = (struct stdin_watch){0};
    (void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    task_init(&w->task, l, "stdin", run);
    if (fd_watch_start(&w->watch, l, &w->task, STDIN_FILENO) == 0) {
        task_wake(&w->task, WAKE_START);
    }
}

void stdin_watch_stop(struct stdin_watch *w)
{
    fd_watch_stop(&w->watch);
    task_fini(&w->task);
}
