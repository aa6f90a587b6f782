/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links, addresses, routes and policy rules through rtnetlink, in the namespace of the netlink socket
 * (protocol NETLINK_ROUTE). Blocking: job threads only.
 * Format: linux/rtnetlink.h, linux/if_link.h, linux/fib_rules.h.
 */
#pragma once

#include "base/ip.h"
#include "node/netlink.h"

/* -ENODEV if there is none of that name. */
MUST_USE int rtnl_link_find_blocking(struct netlink *n, const char *name, unsigned *out_index,
                                     struct diag *why);
MUST_USE int rtnl_link_up_blocking(struct netlink *n, unsigned index, struct diag *why);
/* Both ends of a veth go with one. */
MUST_USE int rtnl_link_delete_blocking(struct netlink *n, unsigned index, struct diag *why);
/* A pair: name here, peer in the namespace peer_netns (a descriptor). */
MUST_USE int rtnl_veth_add_blocking(struct netlink *n, const char *name, const char *peer,
                                    int peer_netns, struct diag *why);

/* No duplicate-address detection: these links have no neighbours to ask. */
MUST_USE int rtnl_address_add_blocking(struct netlink *n, unsigned index,
                                       const struct ip_prefix *address, struct diag *why);
/* An IPv6 address works some time after it was added and its link came up: the kernel does the rest
 * in the background. Waits for that, at most two seconds. */
MUST_USE int rtnl_address_await_blocking(struct netlink *n, const struct ip *address,
                                         struct diag *why);
/* Is this address configured on any link? */
MUST_USE int rtnl_has_address_blocking(struct netlink *n, const struct ip *address, bool *out,
                                       struct diag *why);

struct rtnl_route {
    struct ip_prefix to;  /* length 0 = the default route; the family is always needed */
    const struct ip *via; /* NULL: reached directly */
    unsigned link;        /* index */
    unsigned table;       /* 0 = main */
    bool local;           /* deliver here (type local) instead of forwarding */
};

/* Adds, or replaces what leads to the same place. */
MUST_USE int rtnl_route_set_blocking(struct netlink *n, const struct rtnl_route *route,
                                     struct diag *why);
MUST_USE int rtnl_route_delete_blocking(struct netlink *n, const struct rtnl_route *route,
                                        struct diag *why);

/* Packets whose mark has value under mask look into table. */
struct rtnl_rule {
    enum ip_family family;
    uint32_t value;
    uint32_t mask;
    unsigned table;
    unsigned priority;
};

/* -EEXIST and -ENOENT are left to the caller. */
MUST_USE int rtnl_rule_add_blocking(struct netlink *n, const struct rtnl_rule *rule,
                                    struct diag *why);
MUST_USE int rtnl_rule_delete_blocking(struct netlink *n, const struct rtnl_rule *rule,
                                       struct diag *why);
