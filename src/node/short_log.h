/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a workload's log from growing for ever: when DIR/log is longer than SHORT_LOG_BYTES it becomes
 * DIR/log.1, and goes on empty. Its writer has it open for appending and notices nothing; what it
 * writes in the moment between may be lost. Blocking: the shim.
 */
#pragma once

#include <stdint.h>

enum { SHORT_LOG_BYTES = 8 << 20 };

/* fd: what the workload writes to; another file than DIR/log is left alone. */
void short_log_keep_blocking(const char *dir, int fd, int64_t limit_bytes);
