/* SPDX-License-Identifier: Apache-2.0 */
#include "io/relay.h"

/* Between tasks: small enough that one bulk connection does not make the others wait, large enough
 * for a few full batches. */
enum { TURN_BUDGET = 512 << 10 };

void relay_start(struct relay *r, struct stream *take_near, struct stream *take_far,
                 struct task *owner)
{
    pump_init(&r->out, take_near, take_far);
    pump_init(&r->in, take_far, take_near);
    relay_attach(r, (struct relay_legs){take_near, take_far}, owner);
}

int relay_run(struct relay *r, struct task *owner)
{
    int out = pump_run(&r->out, r->near, r->far, owner->loop, TURN_BUDGET);
    int in = out < 0 ? 0 : pump_run(&r->in, r->far, r->near, owner->loop, TURN_BUDGET);

    if (out < 0 || in < 0) {
        return out < 0 ? out : in;
    }
    if (out == PUMP_FINISHED && in == PUMP_FINISHED) {
        return 0;
    }
    if (out == PUMP_AGAIN || in == PUMP_AGAIN) {
        task_wake(owner, WAKE_IO);
    }
    return -EAGAIN;
}

struct diag relay_why(const struct relay *r, int result)
{
    struct stream *const legs[] = {r->near, r->far};
    struct diag why = {.code = result};

    for (unsigned i = 0; i < 2; i++) {
        const struct diag *said = legs[i] ? stream_diag(legs[i]) : NULL;
        if (said && said->code == result && said->text[0]) {
            return *said;
        }
    }
    (void)diag_note(&why, result, "%s", err_text(result)); /* the code is known */
    return why;
}

struct relay_stats relay_stats(const struct relay *r)
{
    return (struct relay_stats){.sent = r->out.moved, .received = r->in.moved};
}

void relay_close(struct relay *r, int result)
{
    stream_close(r->near, result);
    stream_close(r->far, result);
    pump_fini(&r->out);
    pump_fini(&r->in);
    *r = (struct relay){.near = NULL};
}

struct relay_legs relay_detach(struct relay *r)
{
    struct relay_legs legs = {.near = r->near, .far = r->far};

    stream_own(legs.near, NULL);
    stream_own(legs.far, NULL);
    r->near = NULL;
    r->far = NULL;
    return legs;
}

void relay_attach(struct relay *r, struct relay_legs take, struct task *owner)
{
    r->near = take.near;
    r->far = take.far;
    stream_own(take.near, owner);
    stream_own(take.far, owner);
    task_wake(owner, WAKE_START);
}
_Static_assert(sizeof(struct relay) <= 64, "per-connection memory is a budget");
