/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rtnl.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"

static int af_of(unsigned family)
{
    return family == IP_V4 ? AF_INET : AF_INET6;
}

/* Most requests are one message with one acknowledgement. */
static int call(struct netlink *n, const struct nl_batch *b, const char *what, struct diag *why)
{
    return netlink_commit_blocking(n, b, b->seq, what, why);
}

static void link_message(struct nl_batch *b, unsigned type, unsigned flags, unsigned index, bool up)
{
    struct ifinfomsg m = {
        .ifi_index = (int)index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = up ? IFF_UP : 0};

    nl_batch_init(b);
    nl_message(b, type, NLM_F_ACK | flags, &m, sizeof(m));
}

int rtnl_link_find_blocking(struct netlink *n, const char *name, unsigned *out_index,
                            struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    struct ifinfomsg m = {0};
    struct nl_view v;

    nl_batch_init(&b);
    nl_message(&b, RTM_GETLINK, 0, &m, sizeof(m));
    nl_put_str(&b, IFLA_IFNAME, name);
    int r = netlink_ask_blocking(n, &b, why);
    if (r == 0) {
        r = netlink_next_blocking(n, &v, why);
    }
    if (r <= 0 || nl_read_fixed(&v.body, &m, sizeof(m)) < 0) {
        return FAIL(why, r < 0 ? r : -ERR_SYNTAX, "find link %s", name);
    }
    *out_index = (unsigned)m.ifi_index;
    return 0;
}

int rtnl_link_up_blocking(struct netlink *n, unsigned index, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    link_message(&b, RTM_NEWLINK, 0, index, true);
    return call(n, &b, "bring link up", why);
}

int rtnl_link_delete_blocking(struct netlink *n, unsigned index, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    link_message(&b, RTM_DELLINK, 0, index, false);
    return call(n, &b, "delete link", why);
}

int rtnl_veth_add_blocking(struct netlink *n, const char *name, const char *peer, int peer_netns,
                           struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    struct ifinfomsg m = {0};

    link_message(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, false);
    nl_put_str(&b, IFLA_IFNAME, name);
    size_t info = nl_nest(&b, IFLA_LINKINFO);
    nl_put_str(&b, IFLA_INFO_KIND, "veth");
    size_t data = nl_nest(&b, IFLA_INFO_DATA);
    size_t other = nl_nest(&b, VETH_INFO_PEER);
    strbuf_add(&b.bytes, &m, sizeof(m)); /* the peer's attributes follow a link header of its own */
    nl_put_str(&b, IFLA_IFNAME, peer);
    nl_put_u32(&b, IFLA_NET_NS_FD, (uint32_t)peer_netns);
    nl_nest_end(&b, other);
    nl_nest_end(&b, data);
    nl_nest_end(&b, info);
    return call(n, &b, "make veth pair", why);
}

int rtnl_address_add_blocking(struct netlink *n, unsigned index, const struct ip_prefix *address,
                              struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    struct ifaddrmsg m = {.ifa_family = (uint8_t)af_of(address->ip.family),
                          .ifa_prefixlen = address->len,
                          .ifa_flags = IFA_F_NODAD,
                          .ifa_index = index};
    size_t len = ip_size(&address->ip);

    nl_batch_init(&b);
    nl_message(&b, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
    nl_put(&b, IFA_LOCAL, address->ip.bytes, len);
    nl_put(&b, IFA_ADDRESS, address->ip.bytes, len);
    return call(n, &b, "add address", why);
}

/* Would a packet to this address be delivered here? */
static int is_local(struct netlink *n, const struct ip *address, bool *out, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    struct rtmsg m = {.rtm_family = (uint8_t)af_of(address->family),
                      .rtm_dst_len = (uint8_t)(ip_size(address) * 8)};
    struct nl_view v;

    nl_batch_init(&b);
    nl_message(&b, RTM_GETROUTE, 0, &m, sizeof(m));
    nl_put(&b, RTA_DST, address->bytes, ip_size(address));
    int r = netlink_ask_blocking(n, &b, why);
    if (r == 0) {
        r = netlink_next_blocking(n, &v, why);
    }
    if (r == -ENETUNREACH || r == -EHOSTUNREACH) {
        *out = false;
        return 0;
    }
    if (r <= 0 || nl_read_fixed(&v.body, &m, sizeof(m)) < 0) {
        return FAIL(why, r < 0 ? r : -ERR_SYNTAX, "look up own address");
    }
    *out = m.rtm_type == RTN_LOCAL;
    return 0;
}

int rtnl_address_await_blocking(struct netlink *n, const struct ip *address, struct diag *why)
{
    enum { LIMIT_MS = 2000 };
    uint64_t start = clock_mono_ms();
    bool local = false;
    int r;

    while ((r = is_local(n, address, &local, why)) == 0 && !local) {
        if (clock_mono_ms() - start > LIMIT_MS) {
            return FAIL(why, -ERR_DEADLINE, "address does not come to work");
        }
        (void)poll(NULL, 0, 1); /* a millisecond: there is nothing to be woken by */
    }
    return r;
}

/* IPv6 links have only IFA_ADDRESS; for IPv4 it is the peer's on point-to-point links. */
static bool is_about(const struct nl_view *v, const struct ip *address)
{
    struct nl_reader body = v->body;
    struct ifaddrmsg m;
    struct nl_attr a;
    unsigned attr = address->family == IP_V4 ? IFA_LOCAL : IFA_ADDRESS;

    return nl_read_fixed(&body, &m, sizeof(m)) == 0 && nl_find_attr(&body, attr, &a) > 0 &&
           a.value.left == ip_size(address) && memcmp(a.value.p, address->bytes, a.value.left) == 0;
}

int rtnl_has_address_blocking(struct netlink *n, const struct ip *address, bool *out,
                              struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    struct ifaddrmsg m = {.ifa_family = (uint8_t)af_of(address->family)};
    struct nl_view v;
    bool found = false;

    nl_batch_init(&b);
    nl_message(&b, RTM_GETADDR, NLM_F_DUMP, &m, sizeof(m));
    int r = netlink_ask_blocking(n, &b, why);
    while (r == 0 && (r = netlink_next_blocking(n, &v, why)) > 0) {
        found |= is_about(&v, address);
        r = 0;
    }
    if (r < 0) {
        return r;
    }
    *out = found;
    return 0;
}

static void route_message(struct nl_batch *b, unsigned type, unsigned flags,
                          const struct rtnl_route *route)
{
    bool to_link = !route->via && !route->local && route->to.ip.family == IP_V4;
    struct rtmsg m = {
        .rtm_family = (uint8_t)af_of(route->to.ip.family),
        .rtm_dst_len = route->to.len,
        .rtm_table = RT_TABLE_UNSPEC,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = route->local ? RT_SCOPE_HOST
                     : to_link    ? RT_SCOPE_LINK
                                  : RT_SCOPE_UNIVERSE,
        .rtm_type = route->local ? RTN_LOCAL : RTN_UNICAST,
        /* Our gateways are link-local addresses that no prefix covers. */
        .rtm_flags = route->via ? RTNH_F_ONLINK : 0,
    };

    nl_batch_init(b);
    nl_message(b, type, NLM_F_ACK | flags, &m, sizeof(m));
    nl_put_u32(b, RTA_TABLE, route->table > 0 ? route->table : RT_TABLE_MAIN);
    if (route->to.len > 0) {
        nl_put(b, RTA_DST, route->to.ip.bytes, ip_size(&route->to.ip));
    }
    if (route->via) {
        nl_put(b, RTA_GATEWAY, route->via->bytes, ip_size(route->via));
    }
    nl_put_u32(b, RTA_OIF, route->link);
}

int rtnl_route_set_blocking(struct netlink *n, const struct rtnl_route *route, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    route_message(&b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
    return call(n, &b, "set route", why);
}

int rtnl_route_delete_blocking(struct netlink *n, const struct rtnl_route *route, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    route_message(&b, RTM_DELROUTE, 0, route);
    return call(n, &b, "delete route", why);
}

static void rule_message(struct nl_batch *b, unsigned type, unsigned flags,
                         const struct rtnl_rule *rule)
{
    struct fib_rule_hdr m = {.family = (uint8_t)af_of(rule->family), .action = FR_ACT_TO_TBL};

    nl_batch_init(b);
    nl_message(b, type, NLM_F_ACK | flags, &m, sizeof(m));
    nl_put_u32(b, FRA_PRIORITY, rule->priority);
    nl_put_u32(b, FRA_FWMARK, rule->value);
    nl_put_u32(b, FRA_FWMASK, rule->mask);
    nl_put_u32(b, FRA_TABLE, rule->table);
}

int rtnl_rule_add_blocking(struct netlink *n, const struct rtnl_rule *rule, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    rule_message(&b, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
    return call(n, &b, "add policy rule", why);
}

int rtnl_rule_delete_blocking(struct netlink *n, const struct rtnl_rule *rule, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    rule_message(&b, RTM_DELRULE, 0, rule);
    return call(n, &b, "delete policy rule", why);
}
