/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets by path, of type SOCK_STREAM or SOCK_SEQPACKET, that only their owner's user and root may
 * use. All descriptors are non-blocking and the caller's.
 */
#pragma once

#include "base/err.h"
#include "io/loop.h"

/* A listening descriptor at path, with mode 0600; a stale socket there is replaced. */
MUST_USE int unix_listen(const char *path, int type, struct diag *why);
/* The next connection of somebody who may come; others are turned away. -EAGAIN (the watch's task is
 * woken when it is worth repeating), or a failure of accept. */
MUST_USE int unix_accept(struct fd_watch *listener);
/* A connected descriptor. Connecting is immediate; a full queue is -EAGAIN and is not followed by a
 * wake: try again later. */
MUST_USE int unix_connect(const char *path, int type, struct diag *why);
