/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets by path: streams for administration, packets for control channels (io/packet.h). */
#pragma once

#include <sys/types.h>

#include "base/err.h"

enum unix_kind { UNIX_STREAM, UNIX_PACKET };

struct unix_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* A listening descriptor, non-blocking. The path's mode is set before anybody can connect. A path
 * left by a process that has gone is replaced; -EADDRINUSE if somebody listens there. */
MUST_USE int unix_listen(const char *path, enum unix_kind kind, mode_t mode, struct diag *why);
/* A connected descriptor, non-blocking. Connecting is immediate; a full queue is -EAGAIN and is not
 * followed by a wake: try again later. */
MUST_USE int unix_connect(const char *path, enum unix_kind kind, struct diag *why);
/* Who opened the other end, told by the kernel. */
MUST_USE int unix_peer(int fd, struct unix_peer *out);
