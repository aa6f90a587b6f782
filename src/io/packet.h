/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected Unix socket of packets (SOCK_SEQPACKET) on a loop: one message, one packet, and
 * descriptors beside it (contract 7.1). Nothing is buffered here.
 */
#pragma once

#include <sys/types.h>

#include "io/loop.h"

enum { PACKET_FDS_MAX = 16 }; /* beside one packet; a packet with more is refused whole */

struct packet_fds { /* the caller's, once received; closed by packet_fds_close */
    int fd[PACKET_FDS_MAX];
    unsigned count;
};
void packet_fds_close(struct packet_fds *f);

struct packet_conn;

void packet_close(struct packet_conn *c);
/* Takes fd; closed on failure. owner is woken with WAKE_START at once, later with WAKE_IO. */
struct packet_conn *packet_new(struct loop *l, int take_fd, struct task *owner, struct diag *why)
    FREED_BY(packet_close);
AUTO_DEFINE(packet_conn, struct packet_conn *, packet_close);

/* Length of one packet, 0 when the peer has gone; -EAGAIN promises a wake. -ERR_TRUNCATED: the packet
 * was larger than room or had more descriptors than fit; it is gone, its descriptors are closed.
 * Received descriptors are close-on-exec. */
MUST_USE ssize_t packet_receive(struct packet_conn *c, void *into, size_t room,
                                struct packet_fds *out_fds, struct diag *why);
/* All or nothing: 0; -EAGAIN promises a wake. fds may be NULL, and stay the caller's. */
MUST_USE int packet_send(struct packet_conn *c, const void *from, size_t len,
                         const struct packet_fds *fds, struct diag *why);
int packet_fd(const struct packet_conn *c); /* borrowed */
