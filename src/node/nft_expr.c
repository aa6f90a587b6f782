/* SPDX-License-Identifier: Apache-2.0 */
/* All of our expressions use the one 16-byte register 1: load, mask, compare. */
#include "node/nft_expr.h"

#include <assert.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <netinet/in.h>

#include "base/num.h"

enum { IPV4_SOURCE = 12, IPV4_DESTINATION = 16, IPV6_SOURCE = 8, IPV6_DESTINATION = 24 };
enum { L4_SPORT = 0, L4_DPORT = 2, TCP_FLAGS = 13 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

struct expression {
    size_t element;
    size_t data;
};

static struct expression begin(struct nl_batch *b, const char *name)
{
    struct expression e = {.element = nl_nest(b, NFTA_LIST_ELEM)};

    nl_put_str(b, NFTA_EXPR_NAME, name);
    e.data = nl_nest(b, NFTA_EXPR_DATA);
    return e;
}

static void end(struct nl_batch *b, struct expression e)
{
    nl_nest_end(b, e.data);
    nl_nest_end(b, e.element);
}

static void put_value(struct nl_batch *b, unsigned attr, const void *value, size_t len)
{
    size_t data = nl_nest(b, attr);

    nl_put(b, NFTA_DATA_VALUE, value, len);
    nl_nest_end(b, data);
}

static void load_meta(struct nl_batch *b, unsigned key)
{
    struct expression e = begin(b, "meta");

    nl_put_u32be(b, NFTA_META_DREG, NFT_REG_1);
    nl_put_u32be(b, NFTA_META_KEY, key);
    end(b, e);
}

static void load_payload(struct nl_batch *b, unsigned base, unsigned offset, unsigned len)
{
    struct expression e = begin(b, "payload");

    nl_put_u32be(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    nl_put_u32be(b, NFTA_PAYLOAD_BASE, base);
    nl_put_u32be(b, NFTA_PAYLOAD_OFFSET, offset);
    nl_put_u32be(b, NFTA_PAYLOAD_LEN, len);
    end(b, e);
}

static void load_immediate(struct nl_batch *b, const void *value, size_t len)
{
    struct expression e = begin(b, "immediate");

    nl_put_u32be(b, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    put_value(b, NFTA_IMMEDIATE_DATA, value, len);
    end(b, e);
}

static void compare(struct nl_batch *b, unsigned op, const void *value, size_t len)
{
    struct expression e = begin(b, "cmp");

    nl_put_u32be(b, NFTA_CMP_SREG, NFT_REG_1);
    nl_put_u32be(b, NFTA_CMP_OP, op);
    put_value(b, NFTA_CMP_DATA, value, len);
    end(b, e);
}

/* register = (register & mask) ^ flip */
static void mask_register(struct nl_batch *b, const void *mask, const void *flip, unsigned len)
{
    struct expression e = begin(b, "bitwise");

    nl_put_u32be(b, NFTA_BITWISE_SREG, NFT_REG_1);
    nl_put_u32be(b, NFTA_BITWISE_DREG, NFT_REG_1);
    nl_put_u32be(b, NFTA_BITWISE_LEN, len);
    put_value(b, NFTA_BITWISE_MASK, mask, len);
    put_value(b, NFTA_BITWISE_XOR, flip, len);
    end(b, e);
}

static void verdict(struct nl_batch *b, unsigned code)
{
    struct expression e = begin(b, "immediate");

    nl_put_u32be(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    size_t data = nl_nest(b, NFTA_IMMEDIATE_DATA);
    size_t v = nl_nest(b, NFTA_DATA_VERDICT);
    nl_put_u32be(b, NFTA_VERDICT_CODE, code);
    nl_nest_end(b, v);
    nl_nest_end(b, data);
    end(b, e);
}

static void compare_l4proto(struct nl_batch *b, unsigned op, uint8_t proto)
{
    load_meta(b, NFT_META_L4PROTO);
    compare(b, op, &proto, sizeof(proto));
}

void nft_if_l4proto(struct nl_batch *b, uint8_t proto)
{
    compare_l4proto(b, NFT_CMP_EQ, proto);
}

void nft_if_not_l4proto(struct nl_batch *b, uint8_t proto)
{
    compare_l4proto(b, NFT_CMP_NEQ, proto);
}

static void compare_name(struct nl_batch *b, unsigned key, const char *name)
{
    char whole[IFNAMSIZ] = "";
    size_t len = strlen(name);

    assert(len < sizeof(whole));
    memcpy(whole, name, len);
    load_meta(b, key);
    compare(b, NFT_CMP_EQ, whole, sizeof(whole));
}

void nft_if_iifname(struct nl_batch *b, const char *name)
{
    compare_name(b, NFT_META_IIFNAME, name);
}

void nft_if_oifname(struct nl_batch *b, const char *name)
{
    compare_name(b, NFT_META_OIFNAME, name);
}

static void compare_mark(struct nl_batch *b, unsigned op, uint32_t value, uint32_t mask)
{
    const uint32_t none = 0;

    load_meta(b, NFT_META_MARK);
    mask_register(b, &mask, &none, sizeof(mask));
    compare(b, op, &value, sizeof(value));
}

void nft_if_mark(struct nl_batch *b, uint32_t value, uint32_t mask)
{
    compare_mark(b, NFT_CMP_EQ, value, mask);
}

void nft_if_not_mark(struct nl_batch *b, uint32_t value, uint32_t mask)
{
    compare_mark(b, NFT_CMP_NEQ, value, mask);
}

static void if_family(struct nl_batch *b, enum ip_family family)
{
    uint16_t type = htons(family == IP_V4 ? ETH_P_IP : ETH_P_IPV6);

    if (b->bridged) { /* where the other key says "bridge" */
        load_meta(b, NFT_META_PROTOCOL);
        compare(b, NFT_CMP_EQ, &type, sizeof(type));
        return;
    }
    uint8_t proto = family == IP_V4 ? NFPROTO_IPV4 : NFPROTO_IPV6;

    load_meta(b, NFT_META_NFPROTO);
    compare(b, NFT_CMP_EQ, &proto, sizeof(proto));
}

static void compare_address(struct nl_batch *b, const struct ip *address, unsigned v4, unsigned v6)
{
    bool is_v4 = address->family == IP_V4;
    unsigned len = (unsigned)ip_size(address);

    if_family(b, is_v4 ? IP_V4 : IP_V6);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, is_v4 ? v4 : v6, len);
    compare(b, NFT_CMP_EQ, address->bytes, len);
}

void nft_if_source(struct nl_batch *b, const struct ip *address)
{
    compare_address(b, address, IPV4_SOURCE, IPV6_SOURCE);
}

void nft_if_destination(struct nl_batch *b, const struct ip *address)
{
    compare_address(b, address, IPV4_DESTINATION, IPV6_DESTINATION);
}

void nft_if_destination_in(struct nl_batch *b, enum ip_family family, const char *set)
{
    bool v4 = family == IP_V4;

    if_family(b, family);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? IPV4_DESTINATION : IPV6_DESTINATION,
                 v4 ? 4 : 16);
    struct expression e = begin(b, "lookup");
    nl_put_str(b, NFTA_LOOKUP_SET, set);
    nl_put_u32be(b, NFTA_LOOKUP_SREG, NFT_REG_1);
    end(b, e);
}

static void compare_port(struct nl_batch *b, unsigned offset, uint16_t port)
{
    uint8_t be[2];

    be16_put(be, port);
    load_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(be));
    compare(b, NFT_CMP_EQ, be, sizeof(be));
}

void nft_if_sport(struct nl_batch *b, uint16_t port)
{
    compare_port(b, L4_SPORT, port);
}

void nft_if_dport(struct nl_batch *b, uint16_t port)
{
    compare_port(b, L4_DPORT, port);
}

void nft_if_tcp_syn(struct nl_batch *b)
{
    const uint8_t mask = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;
    const uint8_t none = 0;
    const uint8_t syn = TCP_SYN;

    load_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1);
    mask_register(b, &mask, &none, 1);
    compare(b, NFT_CMP_EQ, &syn, 1);
}

/* Loading the socket's owner breaks off the rule when the packet has no full socket in this
 * namespace (forwarded packets, sockets of other namespaces); nobody is the user id -1. */
void nft_if_local_socket(struct nl_batch *b)
{
    const uint32_t nobody = UINT32_MAX;

    load_meta(b, NFT_META_SKUID);
    compare(b, NFT_CMP_NEQ, &nobody, sizeof(nobody));
}

void nft_set_mark(struct nl_batch *b, uint32_t value, uint32_t mask)
{
    const uint32_t keep = ~mask;

    load_meta(b, NFT_META_MARK);
    mask_register(b, &keep, &value, sizeof(keep));
    struct expression e = begin(b, "meta");
    nl_put_u32be(b, NFTA_META_KEY, NFT_META_MARK);
    nl_put_u32be(b, NFTA_META_SREG, NFT_REG_1);
    end(b, e);
}

void nft_set_zone(struct nl_batch *b, uint16_t zone)
{
    load_immediate(b, &zone, sizeof(zone));
    struct expression e = begin(b, "ct");
    nl_put_u32be(b, NFTA_CT_KEY, NFT_CT_ZONE);
    nl_put_u32be(b, NFTA_CT_SREG, NFT_REG_1);
    end(b, e);
}

static void load_port(struct nl_batch *b, uint16_t port)
{
    uint8_t be[2];

    be16_put(be, port);
    load_immediate(b, be, sizeof(be));
}

void nft_redirect(struct nl_batch *b, uint16_t port)
{
    load_port(b, port);
    struct expression e = begin(b, "redir");
    nl_put_u32be(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
    nl_put_u32be(b, NFTA_REDIR_REG_PROTO_MAX, NFT_REG_1);
    nl_put_u32be(b, NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
    end(b, e);
}

void nft_tproxy(struct nl_batch *b, uint16_t port)
{
    load_port(b, port);
    struct expression e = begin(b, "tproxy");
    nl_put_u32be(b, NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC);
    nl_put_u32be(b, NFTA_TPROXY_REG_PORT, NFT_REG_1);
    end(b, e);
}

void nft_snat(struct nl_batch *b, const struct ip *to)
{
    load_immediate(b, to->bytes, ip_size(to));
    struct expression e = begin(b, "nat");
    nl_put_u32be(b, NFTA_NAT_TYPE, NFT_NAT_SNAT);
    nl_put_u32be(b, NFTA_NAT_FAMILY, to->family == IP_V4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
    nl_put_u32be(b, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
    nl_put_u32be(b, NFTA_NAT_REG_ADDR_MAX, NFT_REG_1);
    end(b, e);
}

void nft_reject_reset(struct nl_batch *b)
{
    struct expression e = begin(b, "reject");

    nl_put_u32be(b, NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
    end(b, e);
}

void nft_accept(struct nl_batch *b)
{
    verdict(b, NF_ACCEPT);
}

void nft_drop(struct nl_batch *b)
{
    verdict(b, NF_DROP);
}
