/* SPDX-License-Identifier: Apache-2.0 */
#include "node/host_rules.h"

#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>

#include "node/netlink.h"
#include "node/nft.h"
#include "node/nft_expr.h"
#include "node/rules.h"

enum { PRIORITY_FILTER = 0, PRIORITY_SRCNAT = 100 };
/* linux/netfilter_bridge.h, which does not go with net/if.h */
enum { BRIDGE_FORWARD = 2, PRIORITY_BRIDGED = -200 };

static const enum ip_family families[] = {IP_V4, IP_V6};

static const char *set_name(unsigned family)
{
    return family == IP_V4 ? "probes4" : "probes6";
}

static struct ip probe_address(unsigned family)
{
    const char *text = family == IP_V4 ? RULES_PROBE_V4 : RULES_PROBE_V6;
    struct ip ip = {0};

    return ip_parse(&ip, text, strlen(text)) == 0 ? ip : (struct ip){0};
}

static void add_probe_rule(struct nl_batch *b, enum ip_family family)
{
    struct ip probe = probe_address(family);
    size_t r = nft_rule_begin(b, HOST_RULES_TABLE, "probes");

    nft_if_l4proto(b, IPPROTO_TCP);
    nft_if_local_socket(b);
    nft_if_destination_in(b, family, set_name(family));
    nft_snat(b, &probe);
    nft_rule_end(b, r);
}

static void add_guard_rule(struct nl_batch *b, enum ip_family family)
{
    struct ip probe = probe_address(family);
    size_t r = nft_rule_begin(b, HOST_RULES_TABLE, "guard");

    nft_if_source(b, &probe);
    nft_drop(b);
    nft_rule_end(b, r);
}

static void add_chains(struct nl_batch *b)
{
    struct nft_chain probes = {.table = HOST_RULES_TABLE,
                               .name = "probes",
                               .type = "nat",
                               .hook = NF_INET_POST_ROUTING,
                               .priority = PRIORITY_SRCNAT};
    struct nft_chain guard = {.table = HOST_RULES_TABLE,
                              .name = "guard",
                              .type = "filter",
                              .hook = NF_INET_FORWARD,
                              .priority = PRIORITY_FILTER};

    nft_chain_add(b, &probes);
    nft_chain_add(b, &guard);
}

static int commit(struct nl_batch *b, const char *what, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    uint32_t acked = nft_commit(b);
    int r = netlink_open_blocking(NETLINK_NETFILTER, &n, why);

    return r < 0 ? r : netlink_commit_blocking(n, b, acked, what, why);
}

/* Two pods on one bridge: what passes between them is no routed packet. */
static int guard_bridges(struct diag *why)
{
    static const struct nft_chain guard = {.table = HOST_RULES_TABLE,
                                           .name = "guard",
                                           .type = "filter",
                                           .hook = BRIDGE_FORWARD,
                                           .priority = PRIORITY_BRIDGED};
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    nft_bridged(&b);
    nft_table_add(&b, HOST_RULES_TABLE, "ambit probe guard 1", true);
    nft_chain_add(&b, &guard);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        add_guard_rule(&b, families[i]);
    }
    int r = commit(&b, "guard the probes' address on bridges", why);
    return r == -EEXIST ? 0 : r;
}

/* The guards come first: the exemption is nothing without them. */
int host_rules_ensure_blocking(struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    int r = guard_bridges(why);

    if (r < 0) {
        return r;
    }
    nl_batch_init(&b);
    nft_begin(&b);
    nft_table_add(&b, HOST_RULES_TABLE, "ambit probe rules 1", true);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        nft_set_add(&b, HOST_RULES_TABLE, set_name(families[i]), families[i]);
    }
    add_chains(&b);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        add_probe_rule(&b, families[i]);
        add_guard_rule(&b, families[i]);
    }
    r = commit(&b, "add probe rules", why);
    return r == -EEXIST ? 0 : r;
}

int host_rules_remove_blocking(struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    nft_table_add(&b, HOST_RULES_TABLE, NULL, false); /* so that deleting cannot fail */
    nft_table_delete(&b, HOST_RULES_TABLE);
    nft_bridged(&b);
    nft_table_add(&b, HOST_RULES_TABLE, NULL, false);
    nft_table_delete(&b, HOST_RULES_TABLE);
    return commit(&b, "remove probe rules", why);
}

/* An element that is there keeps its comment when it is added again, so it goes first. */
int host_rules_put_blocking(const struct ip *ip, const char *uid, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    const char *set = set_name(ip->family);

    nl_batch_init(&b);
    nft_begin(&b);
    nft_set_put(&b, HOST_RULES_TABLE, set, ip, NULL); /* so that deleting cannot fail */
    nft_set_delete(&b, HOST_RULES_TABLE, set, ip);
    nft_set_put(&b, HOST_RULES_TABLE, set, ip, uid);
    return commit(&b, "add pod to probe rules", why);
}

int host_rules_drop_blocking(const struct ip *ip, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;

    nl_batch_init(&b);
    nft_begin(&b);
    nft_set_put(&b, HOST_RULES_TABLE, set_name(ip->family), ip, NULL);
    nft_set_delete(&b, HOST_RULES_TABLE, set_name(ip->family), ip);
    return commit(&b, "drop pod from probe rules", why);
}
