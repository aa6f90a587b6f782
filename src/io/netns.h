/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace, held by a descriptor: while somebody holds it the kernel keeps the namespace
 * alive, so it is let go as soon as its workload goes. Immutable and counted, any thread.
 *
 * Two descriptors name the same namespace when device and inode agree (contract 7.4).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"

struct netns;

struct netns *netns_ref(struct netns *n);
struct netns *netns_unref(struct netns *n); /* returns NULL */
static inline void netns_release(struct netns *n)
{
    (void)netns_unref(n); /* its answer is always NULL */
}
AUTO_DEFINE(netns, struct netns *, netns_release);

/* Takes fd, on failure too. What is no namespace at all fails only when it is entered. */
MUST_USE int netns_from_fd(struct netns **out, int fd, struct diag *why);
MUST_USE int netns_from_path(struct netns **out, const char *path, struct diag *why);
/* The calling thread's own. */
MUST_USE int netns_from_thread(struct netns **out, struct diag *why);

bool netns_is_same(const struct netns *a, const struct netns *b);
/* Whether the descriptor is a network namespace and not some other file. */
bool netns_is_genuine(const struct netns *n);
int netns_fd(const struct netns *n); /* borrowed */

/* Moves the calling thread, and only it. Needs CAP_SYS_ADMIN. Takes about a microsecond and does not
 * wait for anything. Whoever enters goes home in the same function. */
MUST_USE int netns_enter(const struct netns *n, struct diag *why);
/* Cannot fail: a thread that is stuck in a workload's namespace must not go on, so it aborts. */
void netns_go_home(const struct netns *home);
