/* SPDX-License-Identifier: Apache-2.0 */
/* Ends a driver program's loop when its standard input ends, that is: when the test goes away. */
#pragma once

#include "io/loop.h"

struct stdin_watch {
    struct task task;
    struct fd_watch watch;
};

void stdin_watch_start(struct stdin_watch *w, struct loop *l);
void stdin_watch_stop(struct stdin_watch *w);
