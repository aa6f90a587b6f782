/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of a local workload: a namespace, a link to the node, addresses, routes. A pod has its
 * addresses alone (/32, /128) and reaches everything through a link-local gateway on the node's end,
 * as point-to-point CNI plugins do it. Acts between the namespace the thread is in (the node's) and
 * the new one. Blocking: job threads only.
 */
#pragma once

#include <net/if.h>

#include "base/err.h"
#include "base/ip.h"

#define LOCAL_NET_GATEWAY_V4 "169.254.1.1"
#define LOCAL_NET_GATEWAY_V6 "fe80::1"

/* The node's end of the link of the pod with this uid. */
void local_net_link_name(const char *uid, char out[static IFNAMSIZ]);

struct local_net {
    const char *netns_path; /* made and removed */
    const char *link;
    const struct ip *ips;
    unsigned ip_count;
};

/* On failure nothing is left. */
MUST_USE int local_net_make_blocking(const struct local_net *n, struct diag *why);
/* Ends what still runs in it, then takes it away. Fine if it is not there, or only half. */
MUST_USE int local_net_unmake_blocking(const struct local_net *n, struct diag *why);
/* Forwarding between pods and the outside, where the node does not do it already. */
MUST_USE int local_net_prepare_node_blocking(struct diag *why);
