/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UDP socket on a loop. Each datagram comes with its sender and with the address it was sent to, so
 * that an answer can leave from there: a client behind redirection, or on a host with several
 * addresses, drops an answer from elsewhere.
 */
#pragma once

#include <sys/types.h>

#include "base/ip.h"
#include "io/loop.h"

struct udp_meta {
    struct endpoint peer;
    struct ip local; /* where it arrived; when sending: from where (IP_NONE leaves it to routing) */
    struct endpoint original; /* before transparent redirection; family IP_NONE when not told */
};

struct udp_sock;

void udp_close(struct udp_sock *u);
/* Takes fd, a non-blocking bound datagram socket; closed on failure. owner is woken with WAKE_START
 * at once, later with WAKE_IO. */
struct udp_sock *udp_new(struct loop *l, int take_fd, struct task *owner, struct diag *why)
    FREED_BY(udp_close);
AUTO_DEFINE(udp_sock, struct udp_sock *, udp_close);

/* Length of one datagram (0 is one, too); -EAGAIN promises a wake. Larger ones than room are dropped
 * (the loop counts them). An error a peer caused (ICMP) is told once and is not final. */
MUST_USE ssize_t udp_receive(struct udp_sock *u, void *into, size_t room, struct udp_meta *out);
/* All or nothing: 0; -EAGAIN promises a wake, but for most datagrams dropping is the better answer. */
MUST_USE int udp_send(struct udp_sock *u, const void *from, size_t len, const struct udp_meta *to);

int udp_fd(const struct udp_sock *u); /* borrowed */
