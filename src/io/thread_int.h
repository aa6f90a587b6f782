/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a thread of ours: named, and deaf to signals, which belong to the main thread. */
#pragma once

#include <pthread.h>

#include "base/err.h"

enum { THREAD_NAME = 16 }; /* the kernel's limit, terminator included; longer names are cut */

MUST_USE int thread_start(pthread_t *out, const char *name, void *(*main_fn)(void *), void *arg,
                          struct diag *why);
