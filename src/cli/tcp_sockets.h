/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP sockets of a network namespace, from the kernel's sock_diag (linux/inet_diag.h), and which
 * of a captured workload's connections bypass its proxy. Marks are seen with CAP_NET_ADMIN only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

enum { TCP_SOCKETS_MAX = 1 << 17 };

struct tcp_socket {
    struct endpoint local;
    struct endpoint remote;
    uint32_t mark;
    bool listens;
};

struct tcp_sockets {
    struct tcp_socket *at;
    unsigned count;
};

/* Established and listening ones. netns: a path. */
MUST_USE int tcp_sockets_list_blocking(const char *netns, struct tcp_sockets *out,
                                       struct diag *why);
void tcp_sockets_fini(struct tcp_sockets *s);

/* Is s the application's end of a connection that no proxy carries? Pure. A carried connection has
 * its other end in the same namespace: the proxy's listener (15001, 15006, 15053; contract 1.3) or
 * the socket with which the proxy went on to the application; what the proxy opens has its mark. */
bool tcp_socket_is_direct(const struct tcp_sockets *all, const struct tcp_socket *s);
/* The application accepted it. */
bool tcp_socket_is_accepted(const struct tcp_sockets *all, const struct tcp_socket *s);
