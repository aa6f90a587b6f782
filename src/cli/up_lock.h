/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One `ambit up` or `ambit down` of a run directory at a time: RUN-DIR/up.lock, which the kernel lets go
 * when its process ends, however that is. Only root can hold it. Blocking, but never waits.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* make: with the directory, if there is none. *out_fd is the caller's. -EBUSY: another process holds it,
 * as why says; -ENOENT: make was not said, and there is none. */
MUST_USE int up_lock_blocking(const char *run_dir, bool make, int *out_fd, struct diag *why);
/* Takes the file away first where nothing is up any more; -1 is fine. */
void up_unlock_blocking(const char *run_dir, int take_fd);
