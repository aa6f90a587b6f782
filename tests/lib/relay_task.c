/* SPDX-License-Identifier: Apache-2.0 */
#include "relay_task.h"

#include "base/mem.h"

struct relay_task {
    struct task task;
    struct relay relay;
    relay_done_fn *done;
    void *arg;
    int abort;
};

static void run(struct task *t, unsigned why)
{
    struct relay_task *x = container_of(t, struct relay_task, task);
    int r = x->abort < 0 ? x->abort : relay_run(&x->relay, t);
    relay_done_fn *done = x->done;
    void *arg = x->arg;

    (void)why;
    if (r == -EAGAIN) {
        return;
    }
    struct relay_stats stats = relay_stats(&x->relay);
    struct diag diag = r < 0 ? relay_why(&x->relay, r) : (struct diag){.code = 0};
    relay_close(&x->relay, r);
    task_fini(&x->task);
    mem_free(x);
    done(arg, r, stats, &diag);
}

static struct relay_task *make(struct loop *l, relay_done_fn *done, void *arg)
{
    struct relay_task *x = mem_new(struct relay_task);

    task_init(&x->task, l, "relay", run);
    x->done = done;
    x->arg = arg;
    return x;
}

struct relay_task *relay_task_new(struct loop *l, struct stream *near, struct stream *far,
                                  relay_done_fn *done, void *arg)
{
    struct relay_task *x = make(l, done, arg);

    relay_start(&x->relay, near, far, &x->task);
    return x;
}

void relay_task_abort(struct relay_task *x, int why)
{
    x->abort = why;
    task_wake(&x->task, WAKE_DRAIN);
}

void relay_task_take_apart(struct relay_task *x, struct relay_parts *out)
{
    out->legs = relay_detach(&x->relay);
    out->relay = x->relay;
    task_fini(&x->task);
    mem_free(x);
}

struct relay_task *relay_task_assemble(struct loop *l, const struct relay_parts *parts,
                                       relay_done_fn *done, void *arg)
{
    struct relay_task *x = make(l, done, arg);

    x->relay = parts->relay;
    relay_attach(&x->relay, parts->legs, &x->task);
    return x;
}
