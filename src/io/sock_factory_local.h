/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A factory that makes the sockets itself, by moving the calling thread into the namespace and back
 * around socket(), bind() and listen(). That is allowed on a loop's thread because nothing in it
 * waits: the two moves cost 1.7 us next to the 6.6 us of socket() and close(), where a hand-off to
 * another thread costs 25 us of CPU and adds 35 us of latency. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
 */
#pragma once

#include "io/sock_factory.h"

/* Its own namespace is the calling thread's. */
struct sock_factory *sock_factory_local_new(struct diag *why);
/* Whether this process may do what the factory needs (contract 7.5): moves into its own namespace and
 * marks a socket. */
MUST_USE int sock_factory_local_check(uint32_t mark, struct diag *why);
