/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DNS proxy of one pod (contract 8): UDP and TCP on loopback port 15053 inside the pod's network
 * namespace. Everything is bounded: queries under way, connections, what a connection may send.
 */
#pragma once

#include "ztunnel/pod.h"

enum {
    DNS_QUERIES_MAX =
        512, /* under way at once, in one pod: more are dropped, as a busy server does */
    DNS_CONNECTIONS_MAX = 64,
    DNS_TCP_IDLE_MS = 5000
};

struct dns_proxy;

/* Asks for its sockets; the pod's task is woken when dns_proxy_bind has news. */
struct dns_proxy *dns_proxy_new(struct pod *p);
void dns_proxy_free(struct dns_proxy *d);
/* (*) 0 once it serves. A pod without IPv6 loopback is served on IPv4 alone. */
MUST_USE int dns_proxy_bind(struct dns_proxy *d, struct diag *why);
