/* SPDX-License-Identifier: Apache-2.0 */
/* Local sockets that only the agent's own user and root may use. */
#pragma once

#include "base/err.h"
#include "io/loop.h"

/* A non-blocking listener, the caller's, at path with mode 0600; a stale socket there is replaced.
 * type: SOCK_STREAM or SOCK_SEQPACKET. */
MUST_USE int unix_socket_listen(const char *path, int type, int *out_fd, struct diag *why);

/* The next connection of somebody who may come, the caller's; others are turned away. -EAGAIN (the
 * watch's task is woken when it is worth repeating), or a failure of accept. */
MUST_USE int unix_socket_accept(struct fd_watch *listener);
