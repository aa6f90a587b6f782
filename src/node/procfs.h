/* SPDX-License-Identifier: Apache-2.0 */
/* Small facts about processes, from a mount of proc. Blocking (the kernel makes the text at once). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* PROC/PID/NAME, zero-terminated and cut to room; its length, 0 if it cannot be read. */
size_t procfs_read_blocking(const char *proc, const char *pid, const char *name, char *out,
                            size_t room);
/* When the process started, in the kernel's ticks since boot: together with the pid it names one
 * process for ever. -ERR_NOT_FOUND. */
MUST_USE int procfs_start_time_blocking(const char *proc, const char *pid, uint64_t *out);
