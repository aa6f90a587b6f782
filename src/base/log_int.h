/* SPDX-License-Identifier: Apache-2.0 */
/* The log's queue and writer thread, apart from what a line looks like. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* How long the writer gathers behind a write. */
enum { LOG_GATHER_MS = 10 };

MUST_USE int log_queue_start(int fd, struct diag *why);
void log_queue_stop(void);
/* One line without its newline. Never waits: drops and counts when the queue is full. */
void log_queue_put(const char *line, size_t len);
uint64_t log_queue_dropped(void);
