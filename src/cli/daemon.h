/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs in the background: started in a session of their own with their output in a file, found
 * again by pid and start time (pids are used again), ended by the kernel's handle on the process.
 * Nothing watches over them: who wants to know looks. Blocking.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct json;

struct daemon {
    pid_t pid;           /* 0 = none */
    uint64_t start_time; /* of the process, in the kernel's ticks */
};

/* argv and env are arrays of strings; argv[0] is a path. Returns once the program has been executed.
 * log is appended to. */
MUST_USE int daemon_start_blocking(const struct json *argv, const struct json *env, const char *log,
                                   struct daemon *out, struct diag *why);
bool daemon_is_alive(const struct daemon *d);
/* SIGTERM, and SIGKILL when it has not ended after limit_ms. 0: it has ended; 1: it was killed. */
MUST_USE int daemon_stop_blocking(const struct daemon *d, uint64_t limit_ms, struct diag *why);
