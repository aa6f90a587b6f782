/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two pumps: the life of a proxied connection once both legs exist. A half-close is passed on; an
 * error on either leg ends both, and reaches the other leg as a reset, so that a cut transfer never
 * looks complete.
 *
 * By value in the connection, whose task runs it: an idle connection is hardly more than this. Zeroed:
 * it has no legs yet, which is fine for all but relay_run.
 */
#pragma once

#include "io/pump.h"

struct relay {
    struct stream *near;
    struct stream *far;
    struct pump out; /* near to far */
    struct pump in;
};

struct relay_stats {
    uint64_t sent;     /* near to far, accepted by far */
    uint64_t received; /* far to near */
};

/* Takes both streams, for owner, which is woken; they may hold data already. */
void relay_start(struct relay *r, struct stream *take_near, struct stream *take_far,
                 struct task *owner);
/* A turn's work. -EAGAIN: owner is woken when there is more to do; 0: both directions have ended; else
 * what failed. Not to be run again after that. */
MUST_USE int relay_run(struct relay *r, struct task *owner);
/* Which leg failed with result (< 0) and how, or what result means; before relay_close. */
struct diag relay_why(const struct relay *r, int result);
struct relay_stats relay_stats(const struct relay *r);
/* Closes the legs, if there are any: result < 0 resets both. */
void relay_close(struct relay *r, int result);

/* For hand-over: the streams go to the caller; what was read and not yet accepted stays in the pumps,
 * and the relay may be copied. With two streams in their places it goes on. */
struct relay_legs {
    struct stream *near;
    struct stream *far;
};
struct relay_legs relay_detach(struct relay *r);
void relay_attach(struct relay *r, struct relay_legs take, struct task *owner);
