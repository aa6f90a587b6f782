/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rules_set.h"

#include <linux/netfilter.h>
#include <netinet/in.h>
#include <string.h>

#include "node/nft.h"
#include "node/nft_expr.h"

enum { PRIORITY_RAW = -300, PRIORITY_MANGLE = -150, PRIORITY_NAT = -100 };
enum { DNS_PORT = 53, PROXY_DNS_ZONE = 1 };

static const char pre[] = "pre";
static const char out[] = "out";
static const char zone_in[] = "zone_in";
static const char zone_out[] = "zone_out";

/* Shown by nft list; the number is for people, contents are what is compared. */
static const char comment[] = "ambit capture rules 1";

static struct ip probe_address(enum ip_family family)
{
    const char *text = family == IP_V4 ? RULES_PROBE_V4 : RULES_PROBE_V6;
    struct ip ip = {0};

    return ip_parse(&ip, text, strlen(text)) == 0 ? ip : (struct ip){0};
}

static size_t rule(struct nl_batch *b, const char *chain)
{
    return nft_rule_begin(b, RULES_TABLE, chain);
}

static void end_accept(struct nl_batch *b, size_t r)
{
    nft_accept(b);
    nft_rule_end(b, r);
}

static void if_proxy(struct nl_batch *b)
{
    nft_if_mark(b, RULES_MARK_PROXY, RULES_MARK_MASK);
}

/* The proxy's connection to the application arrives on lo with the client's address as its source.
 * Its mark is turned into the one that the application's socket inherits (tcp_fwmark_accept) and that
 * routes the answers back to lo. */
static void add_return_rule(struct nl_batch *b)
{
    size_t r = rule(b, pre);

    nft_if_iifname(b, "lo");
    if_proxy(b);
    nft_set_mark(b, RULES_MARK_RETURN, RULES_MARK_MASK);
    end_accept(b, r);
}

static void add_virtual_link(struct nl_batch *b, const char *name)
{
    size_t r = rule(b, pre);

    nft_if_iifname(b, name);
    nft_if_l4proto(b, IPPROTO_TCP);
    nft_set_mark(b, RULES_MARK_RETURN, RULES_MARK_MASK);
    nft_tproxy(b, RULES_PORT_OUTBOUND);
    end_accept(b, r);
}

static void add_inbound_exemptions(struct nl_batch *b)
{
    size_t r = rule(b, pre);
    nft_if_not_l4proto(b, IPPROTO_TCP);
    end_accept(b, r);

    add_return_rule(b);

    r = rule(b, pre);
    nft_if_iifname(b, "lo");
    end_accept(b, r);

    r = rule(b, pre);
    nft_if_l4proto(b, IPPROTO_TCP);
    nft_if_dport(b, RULES_PORT_HBONE);
    end_accept(b, r);
}

static void add_probe_exemption(struct nl_batch *b, const char *chain)
{
    static const enum ip_family families[] = {IP_V4, IP_V6};

    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct ip probe = probe_address(families[i]);
        size_t r = rule(b, chain);
        if (chain == pre) {
            nft_if_source(b, &probe);
        } else {
            nft_if_destination(b, &probe);
        }
        end_accept(b, r);
    }
}

/* TPROXY alone would let a packet through to the application when no proxy listens; the second rule
 * makes that a reset. */
static void add_inbound_capture(struct nl_batch *b)
{
    size_t r = rule(b, pre);
    nft_if_l4proto(b, IPPROTO_TCP);
    nft_tproxy(b, RULES_PORT_INBOUND);
    end_accept(b, r);

    r = rule(b, pre);
    nft_if_l4proto(b, IPPROTO_TCP);
    nft_if_tcp_syn(b);
    nft_reject_reset(b);
    nft_rule_end(b, r);
}

static void add_inbound(struct nl_batch *b, const struct rules *rules)
{
    for (unsigned i = 0; i < rules->virtual_count; i++) {
        add_virtual_link(b, rules->virtual_links[i]);
    }
    add_inbound_exemptions(b);
    if (rules->inbound) {
        if (rules->probes) {
            add_probe_exemption(b, pre);
        }
        add_inbound_capture(b);
    }
}

static void add_outbound_exemptions(struct nl_batch *b)
{
    size_t r = rule(b, out);
    if_proxy(b);
    end_accept(b, r);

    r = rule(b, out);
    nft_if_mark(b, RULES_MARK_RETURN, RULES_MARK_MASK);
    end_accept(b, r);

    r = rule(b, out);
    nft_if_oifname(b, "lo");
    end_accept(b, r);
}

static void add_redirect_of_tcp(struct nl_batch *b, uint16_t dport, uint16_t to)
{
    size_t r = rule(b, out);

    nft_if_l4proto(b, IPPROTO_TCP);
    if (dport > 0) {
        nft_if_dport(b, dport);
    }
    nft_if_tcp_syn(b);
    nft_redirect(b, to);
    nft_rule_end(b, r);
}

static void add_dns_redirect(struct nl_batch *b)
{
    size_t r = rule(b, out);

    nft_if_l4proto(b, IPPROTO_UDP);
    nft_if_dport(b, DNS_PORT);
    nft_redirect(b, RULES_PORT_DNS);
    nft_rule_end(b, r);
    add_redirect_of_tcp(b, DNS_PORT, RULES_PORT_DNS);
}

static void add_outbound(struct nl_batch *b, const struct rules *rules)
{
    add_outbound_exemptions(b);
    if (rules->probes && rules->inbound) {
        add_probe_exemption(b, out);
    }
    if (rules->dns) {
        add_dns_redirect(b);
    }
    add_redirect_of_tcp(b, 0, RULES_PORT_OUTBOUND);
}

/* The proxy may ask its own DNS server from a port that an application's redirected query used: in a
 * zone of their own its queries never meet that entry. */
static void add_dns_zones(struct nl_batch *b)
{
    size_t r = rule(b, zone_in);
    nft_if_l4proto(b, IPPROTO_UDP);
    nft_if_sport(b, DNS_PORT);
    nft_if_not_mark(b, RULES_MARK_PROXY, RULES_MARK_MASK);
    nft_set_zone(b, PROXY_DNS_ZONE);
    nft_rule_end(b, r);

    r = rule(b, zone_out);
    nft_if_l4proto(b, IPPROTO_UDP);
    nft_if_dport(b, DNS_PORT);
    if_proxy(b);
    nft_set_zone(b, PROXY_DNS_ZONE);
    nft_rule_end(b, r);
}

static void add_chain(struct nl_batch *b, const char *name, const char *type, unsigned hook,
                      int priority)
{
    struct nft_chain c = {
        .table = RULES_TABLE, .name = name, .type = type, .hook = hook, .priority = priority};

    nft_chain_add(b, &c);
}

static void add_chains(struct nl_batch *b, const struct rules *rules)
{
    add_chain(b, pre, "filter", NF_INET_PRE_ROUTING, PRIORITY_MANGLE);
    add_chain(b, out, "nat", NF_INET_LOCAL_OUT, PRIORITY_NAT);
    if (rules->dns) {
        add_chain(b, zone_in, "filter", NF_INET_PRE_ROUTING, PRIORITY_RAW);
        add_chain(b, zone_out, "filter", NF_INET_LOCAL_OUT, PRIORITY_RAW);
    }
}

void rules_set_capture(struct nl_batch *b, const struct rules *rules, bool exclusive)
{
    nft_table_add(b, RULES_TABLE, comment, exclusive);
    add_chains(b, rules);
    add_inbound(b, rules);
    add_outbound(b, rules);
    if (rules->dns) {
        add_dns_zones(b);
    }
}

/* The chains for DNS are missing where the rules were installed without: they are made first, since what
 * cannot be emptied would undo the whole. */
void rules_set_leave(struct nl_batch *b, const struct rules *rules)
{
    add_chains(b, rules);
    nft_chain_flush(b, RULES_TABLE, pre);
    nft_chain_flush(b, RULES_TABLE, out);
    if (rules->dns) {
        nft_chain_flush(b, RULES_TABLE, zone_in);
        nft_chain_flush(b, RULES_TABLE, zone_out);
    }
    add_return_rule(b);
    if (rules->dns) {
        add_dns_zones(b);
    }
}

void rules_set_left(struct nl_batch *b, const struct rules *rules)
{
    nft_table_add(b, RULES_TABLE, comment, false);
    add_chains(b, rules);
    add_return_rule(b);
    if (rules->dns) {
        add_dns_zones(b);
    }
}

static unsigned count_of(struct nl_reader r, unsigned type)
{
    struct nl_attr a;
    unsigned n = 0;

    while (nl_read_attr(&r, &a) > 0) {
        n += a.type == type;
    }
    return n;
}

/* The attribute with which got answers the one of want's that starts at at. */
static bool find_answer(struct nl_reader want, const uint8_t *at, unsigned type,
                        struct nl_reader got, struct nl_attr *answer)
{
    unsigned nth = count_of((struct nl_reader){want.p, (size_t)(at - want.p)}, type);

    while (nl_read_attr(&got, answer) > 0) {
        if (answer->type == type && nth-- == 0) {
            return true;
        }
    }
    return false;
}

struct pair {
    struct nl_reader want;
    struct nl_reader got;
};

/* Pairs still to compare: a rule of ours has at most a dozen expressions on one level. */
enum { PAIRS_MAX = 64 };

struct pairs {
    struct pair at[PAIRS_MAX];
    unsigned count;
};

static bool compare_level(struct pair level, struct pairs *deeper)
{
    struct nl_reader rest = level.want;
    struct nl_attr want;
    struct nl_attr got;

    for (const uint8_t *at = rest.p; nl_read_attr(&rest, &want) > 0; at = rest.p) {
        if (count_of(level.want, want.type) != count_of(level.got, want.type) ||
            !find_answer(level.want, at, want.type, level.got, &got)) {
            return false;
        }
        if (want.nested) {
            if (deeper->count == PAIRS_MAX) {
                return false;
            }
            deeper->at[deeper->count++] = (struct pair){want.value, got.value};
        } else if (want.value.left != got.value.left ||
                   memcmp(want.value.p, got.value.p, want.value.left) != 0) {
            return false;
        }
    }
    return true;
}

bool rules_set_says(struct nl_reader want, struct nl_reader got)
{
    struct pairs pairs = {.at = {{want, got}}, .count = 1};

    while (pairs.count > 0) {
        struct pair level = pairs.at[--pairs.count];
        if (!compare_level(level, &pairs)) {
            return false;
        }
    }
    return true;
}
