/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets as the data path wants them: non-blocking, close-on-exec, with the options of contract 3.1
 * and 7.9. Thin: one call, one fact; nothing here waits or keeps state. What the contract calls best
 * effort returns an error that the caller may drop.
 *
 * In an IPv6 socket "any" takes IPv4 too (V6ONLY off), and options of the IP level are set for both
 * families, because one listener serves both.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

enum sock_type { SOCK_TYPE_STREAM, SOCK_TYPE_DATAGRAM };

struct sock_keepalive { /* contract 1.5: KEEPALIVE_* and USER_TIMEOUT_ENABLED */
    unsigned idle_s;    /* 0: no keepalive at all */
    unsigned interval_s;
    unsigned count;
    bool user_timeout; /* unacknowledged data gives up after idle + count x interval */
};

/* Closes unless negative, and forgets. */
void sock_close(int *fd);

/* A descriptor, or the failure. */
MUST_USE int sock_open(enum ip_family family, enum sock_type type, struct diag *why);
/* 0 means no mark and does nothing. Needs CAP_NET_ADMIN. */
MUST_USE int sock_set_mark(int fd, uint32_t mark, struct diag *why);
MUST_USE int sock_set_reuse_port(int fd, struct diag *why);
MUST_USE int sock_set_reuse_address(int fd, struct diag *why);
/* May bind to an address that the host gets later. */
MUST_USE int sock_set_freebind(int fd, struct diag *why);
/* May bind to, accept for and send from addresses that are not the host's. Needs CAP_NET_ADMIN once;
 * the permission stays with the socket. */
int sock_set_transparent(int fd, struct diag *why);
bool sock_is_transparent(int fd);
int sock_set_nodelay(int fd);
int sock_set_keepalive(int fd, const struct sock_keepalive *k);

MUST_USE int sock_bind(int fd, const struct endpoint *at, struct diag *why);
MUST_USE int sock_listen(int fd, unsigned backlog, struct diag *why);
/* Binds to an address that need not be local; fd was made transparent. The address has another owner,
 * who may have connections of its own to where fd is to connect, so the port is one that its kernel
 * would not choose. Where such ports are scarce it is of the kernel's choice at connect(), so that the
 * whole 4-tuple counts. */
MUST_USE int sock_bind_source(int fd, const struct ip *source, struct diag *why);

/* For datagrams: fixes the peer, at once. */
MUST_USE int sock_connect_datagram(int fd, const struct endpoint *to, struct diag *why);

/* A connection (non-blocking, close-on-exec) and who is at its other end; -EAGAIN when none waits. A
 * Unix peer has the endpoint zero. */
MUST_USE int sock_accept(int fd, struct endpoint *out_peer);
MUST_USE int sock_local(int fd, struct endpoint *out);
MUST_USE int sock_peer(int fd, struct endpoint *out);

enum sock_destination {
    SOCK_DESTINATION_NAT,  /* what the connection was redirected from */
    SOCK_DESTINATION_LOCAL /* no translation known: the address that accepted it */
};
/* Where the client meant to go (contract 3.1): which way it was learnt, or the failure. */
MUST_USE int sock_original_destination(int fd, struct endpoint *out);
/* How a socket of this domain (AF_INET, AF_INET6) writes the endpoint: IPv6 wants IPv4 mapped. The
 * length. */
socklen_t sock_address_for(int domain, const struct endpoint *e, struct sockaddr_storage *out);
/* AF_INET, AF_INET6, AF_UNIX, or the failure. */
MUST_USE int sock_domain(int fd);
/* The pending error of the socket, cleared: 0 or negative. */
int sock_error(int fd);
