/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's eye on a shim (shim.h), by the kernel's handle on the process: whether it has ended, and
 * signals for it, never for another process that got its number. Embedded; lives on a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"

struct shim_watch {
    struct fd_watch fd; /* a pidfd while it runs, else -1 */
};

void shim_watch_init(struct shim_watch *w);
/* -ESRCH: the process of that number is not the one that began at start_time (procfs.h). */
MUST_USE int shim_watch_start(struct shim_watch *w, struct loop *l, struct task *t, pid_t pid,
                              uint64_t start_time);
void shim_watch_stop(struct shim_watch *w);
/* Nobody is watched, or it has ended. */
bool shim_watch_has_ended(const struct shim_watch *w);
/* It has not: its end wakes the task. */
void shim_watch_wait(struct shim_watch *w);
/* -ESRCH if it does not run. */
/* -ESRCH if it does not run. */
int shim_watch_signal(struct shim_watch *w, int signal);
