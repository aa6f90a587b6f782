/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners of the data path: one for tunnels, one for each port that takes plain connections.
 * On the control loop; what they accept goes to the engine with the fewest connections, because few
 * and long-lived ones arrive.
 */
#pragma once

#include "base/err.h"
#include "io/task.h"
#include "waypoint/config.h"

struct engine;
struct loop;

struct door {
    struct task task;
    struct doors *doors;
    struct listener *listener;
    const struct plain_listener *plain; /* NULL: tunnels */
};

struct doors { /* embedded; all zero: closed */
    struct loop *loop;
    const struct config *config;
    struct engine *const *engines; /* one a worker */
    struct door door[1 + PLAIN_LISTENERS_MAX];
    unsigned count;
};

/* All that config names. Everything is borrowed until doors_close, which is due after a failure too. */
MUST_USE int doors_open(struct doors *d, struct loop *loop, const struct config *config,
                        struct engine *const *engines, struct diag *why);
/* Who waits at a door that closes would be reset. */
void doors_take_waiting(struct doors *d);
void doors_close(struct doors *d);
