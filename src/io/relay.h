/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two pumps, one task: the life of a proxied connection once both legs exist. A half-close is passed
 * on; an error on either leg ends both, and reaches the other leg as a reset, so that a cut transfer
 * never looks complete.
 */
#pragma once

#include "io/pump.h"

struct relay;

struct relay_stats {
    uint64_t sent;     /* near to far, accepted by far */
    uint64_t received; /* far to near */
};

/* Called once, as the last act of the relay's own task, after both legs are closed. diag says which
 * leg failed and how when result < 0. */
typedef void relay_done_fn(void *arg, int result, struct relay_stats stats,
                           const struct diag *diag);

/* Takes both streams; they may hold data already. */
struct relay *relay_new(struct loop *l, struct stream *near, struct stream *far,
                        relay_done_fn *done, void *arg);
/* Ends soon with result why (< 0): both legs are reset, done is called from the relay's task. */
void relay_abort(struct relay *r, int why);
struct relay_stats relay_stats(const struct relay *r);

/* Takes the relay apart for hand-over: the streams go to the caller, bytes read and not yet accepted
 * are in the pumps, done is not called. */
struct relay_parts {
    struct stream *near;
    struct stream *far;
    struct pump out; /* near to far; the caller ends it with pump_fini */
    struct pump in;
};
void relay_take_apart(struct relay *r, struct relay_parts *out);
/* Takes the parts; the other end of relay_take_apart. The pumps' streams are set here. */
struct relay *relay_assemble(struct loop *l, const struct relay_parts *parts, relay_done_fn *done,
                             void *arg);
