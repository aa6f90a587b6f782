/* SPDX-License-Identifier: Apache-2.0 */
#include "io/relay.h"

#include "base/mem.h"

/* Between tasks: small enough that one bulk connection does not make the others wait, large enough
 * for a few full batches. */
enum { TURN_BUDGET = 512 << 10 };

struct relay {
    struct task task;
    struct pump out; /* near to far; both streams are the relay's */
    struct pump in;
    relay_done_fn *done;
    void *arg;
    int abort; /* < 0: asked to end with this result */
};

static const struct diag *diag_of(const struct relay *r, int result)
{
    const struct diag *near = stream_diag(r->out.src);

    return near->code == result ? near : stream_diag(r->out.dst);
}

static void finish(struct relay *r, int result)
{
    relay_done_fn *done = r->done;
    void *arg = r->arg;
    struct relay_stats stats = relay_stats(r);
    struct diag diag = {.code = result};

    if (result < 0 && diag_of(r, result)->code == result) {
        diag = *diag_of(r, result);
    } else if (result < 0) {
        (void)diag_note(&diag, result, "%s", err_text(result));
    }
    task_fini(&r->task);
    stream_close(r->out.src, result);
    stream_close(r->out.dst, result);
    pump_fini(&r->out);
    pump_fini(&r->in);
    mem_free(r);
    done(arg, result, stats, &diag);
}

static void run(struct task *t, unsigned why)
{
    struct relay *r = container_of(t, struct relay, task);

    (void)why; /* every wake is a hint */
    int out = r->abort < 0 ? r->abort : pump_run(&r->out, t->loop, TURN_BUDGET);
    int in = out < 0 ? 0 : pump_run(&r->in, t->loop, TURN_BUDGET);
    if (out < 0 || in < 0) {
        finish(r, out < 0 ? out : in);
    } else if (out == PUMP_FINISHED && in == PUMP_FINISHED) {
        finish(r, 0);
    } else if (out == PUMP_AGAIN || in == PUMP_AGAIN) {
        task_wake(t, WAKE_IO);
    }
}

static struct relay *make(struct loop *l, struct stream *near, struct stream *far,
                          relay_done_fn *done, void *arg)
{
    struct relay *r = mem_new(struct relay);

    task_init(&r->task, l, "relay", run);
    r->done = done;
    r->arg = arg;
    stream_own(near, &r->task);
    stream_own(far, &r->task);
    task_wake(&r->task, WAKE_START);
    return r;
}

struct relay *relay_new(struct loop *l, struct stream *near, struct stream *far,
                        relay_done_fn *done, void *arg)
{
    struct relay *r = make(l, near, far, done, arg);

    pump_init(&r->out, near, far);
    pump_init(&r->in, far, near);
    return r;
}

struct relay *relay_assemble(struct loop *l, const struct relay_parts *parts, relay_done_fn *done,
                             void *arg)
{
    struct relay *r = make(l, parts->near, parts->far, done, arg);

    r->out = parts->out;
    r->out.src = parts->near;
    r->out.dst = parts->far;
    r->in = parts->in;
    r->in.src = parts->far;
    r->in.dst = parts->near;
    return r;
}

void relay_take_apart(struct relay *r, struct relay_parts *out)
{
    *out = (struct relay_parts){.near = r->out.src, .far = r->out.dst, .out = r->out, .in = r->in};
    stream_own(out->near, NULL);
    stream_own(out->far, NULL);
    task_fini(&r->task);
    mem_free(r);
}

void relay_abort(struct relay *r, int why)
{
    r->abort = surely_negative(why);
    task_wake(&r->task, WAKE_DRAIN);
}

struct relay_stats relay_stats(const struct relay *r)
{
    return (struct relay_stats){.sent = r->out.moved, .received = r->in.moved};
}
_Static_assert(sizeof(struct relay) <= 152, "per-connection memory is a budget");
