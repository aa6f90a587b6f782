/* SPDX-License-Identifier: Apache-2.0 */
#include "http/linger.h"

#include "base/mem.h"

enum linger_step { LINGER_SEND, LINGER_SHUT, LINGER_DISCARD, LINGER_DONE };

struct linger {
    struct task task;
    struct timer timer; /* the whole of it */
    struct loop_orphan orphan;
    struct stream *below;
    struct bytes out;
    size_t discarded;
    enum linger_step step;
};

static void finish(struct linger *g, int why)
{
    loop_orphan_remove(&g->orphan);
    timer_clear(&g->timer);
    task_fini(&g->task);
    stream_close(g->below, why);
    bytes_fini(&g->out);
    mem_free(g);
}

static int step_send(struct linger *g)
{
    if (g->out.len == 0) {
        g->step = LINGER_SHUT;
        return 0;
    }
    ssize_t n = stream_write(g->below, bytes_peek(&g->out), g->out.len);
    if (n > 0) {
        bytes_skip(&g->out, (size_t)n);
    }
    return n < 0 ? (int)n : 0;
}

static int step_shut(struct linger *g)
{
    int r = stream_flush(g->below);

    r = r < 0 ? r : stream_shut(g->below);
    g->step = r == 0 ? LINGER_DISCARD : LINGER_SHUT;
    return r;
}

static int step_discard(struct linger *g)
{
    char waste[4096];
    ssize_t n = stream_read(g->below, waste, sizeof(waste));

    if (n == 0) {
        g->step = LINGER_DONE;
    }
    g->discarded += n > 0 ? (size_t)n : 0;
    return n < 0 ? (int)n : g->discarded > LINGER_DISCARD_BYTES ? -ERR_TOO_LARGE : 0;
}

static int step(struct linger *g)
{
    switch (g->step) {
    case LINGER_SEND:
        return step_send(g);
    case LINGER_SHUT:
        return step_shut(g);
    case LINGER_DISCARD:
        return step_discard(g);
    case LINGER_DONE:
        break;
    }
    return 0;
}

static void run(struct task *t, unsigned why)
{
    struct linger *g = container_of(t, struct linger, task);
    int r = timer_is_due(&g->timer) ? -ERR_DEADLINE : 0;

    (void)why; /* every wake is a hint */
    while (r == 0 && g->step != LINGER_DONE) {
        r = step(g);
    }
    if (r != -EAGAIN) {
        finish(g, r);
    }
}

static void end(struct loop_orphan *o)
{
    struct linger *g = container_of(o, struct linger, orphan);

    /* A reset would take along what was said. */
    finish(g, g->step == LINGER_DISCARD ? 0 : -ERR_CANCELLED);
}

void linger_start(struct loop *l, struct stream *take_below, struct bytes *take_out)
{
    struct linger *g = mem_new(struct linger);

    task_init(&g->task, l, "linger", run);
    g->orphan.end = end;
    loop_orphan_add(l, &g->orphan);
    g->below = take_below;
    g->out = *take_out;
    bytes_init(take_out, take_out->limit);
    stream_own(g->below, &g->task);
    timer_set(&g->timer, &g->task, LINGER_MS);
    task_wake(&g->task, WAKE_START);
}
