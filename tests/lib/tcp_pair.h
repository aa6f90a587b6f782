/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of one TCP connection over loopback, for tests. */
#pragma once

#include "base/ip.h"
#include "io/loop.h"
#include "io/stream.h"

/* A listening socket on 127.0.0.1 (or ::1) at a port of the kernel's choice, non-blocking; exits when
 * the machine has none. */
int tcp_test_listener(enum ip_family family, struct endpoint *out_at);
/* Connected non-blocking descriptors: [0] connected, [1] accepted. */
void tcp_pair_fds(int out[2]);
/* The same as streams on l: without owners yet. */
void tcp_pair(struct loop *l, struct stream *out[2]);
/* A connected Unix stream pair as streams. */
void unix_pair(struct loop *l, struct stream *out[2]);
