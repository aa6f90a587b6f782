/* SPDX-License-Identifier: Apache-2.0 */
#include "node/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

/* User data is a list of {type, length, value}; this type is what nft prints as the comment. */
enum { UDATA_COMMENT = 0, UDATA_ROOM = 128 };

static void message(struct nl_batch *b, unsigned type, unsigned flags)
{
    struct nfgenmsg g = {.nfgen_family = b->bridged ? NFPROTO_BRIDGE : NFPROTO_INET,
                         .version = NFNETLINK_V0};

    nl_message(b, NFNL_SUBSYS_NFTABLES << 8 | type, flags, &g, sizeof(g));
}

static void bracket(struct nl_batch *b, unsigned type)
{
    struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES)};

    nl_message(b, type, 0, &g, sizeof(g));
}

void nft_begin(struct nl_batch *b)
{
    bracket(b, NFNL_MSG_BATCH_BEGIN);
}

void nft_bridged(struct nl_batch *b)
{
    b->bridged = true;
}

static void ask_for_ack(struct nl_batch *b)
{
    struct nlmsghdr h;

    if (!b->bytes.overflow) {
        memcpy(&h, b->bytes.p + b->message, sizeof(h));
        h.nlmsg_flags |= NLM_F_ACK;
        memcpy(b->bytes.p + b->message, &h, sizeof(h));
    }
}

uint32_t nft_commit(struct nl_batch *b)
{
    uint32_t last = b->seq;

    ask_for_ack(b);
    bracket(b, NFNL_MSG_BATCH_END);
    return last;
}

static void put_comment(struct nl_batch *b, unsigned attr, const char *comment)
{
    uint8_t data[UDATA_ROOM];
    size_t len = strlen(comment) + 1;

    if (2 + len > sizeof(data)) {
        b->bytes.overflow = true;
        return;
    }
    data[0] = UDATA_COMMENT;
    data[1] = (uint8_t)len;
    memcpy(data + 2, comment, len);
    nl_put(b, attr, data, 2 + len);
}

void nft_table_add(struct nl_batch *b, const char *table, const char *comment, bool exclusive)
{
    message(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0u));
    nl_put_str(b, NFTA_TABLE_NAME, table);
    if (comment) {
        put_comment(b, NFTA_TABLE_USERDATA, comment);
    }
}

void nft_table_delete(struct nl_batch *b, const char *table)
{
    message(b, NFT_MSG_DELTABLE, 0);
    nl_put_str(b, NFTA_TABLE_NAME, table);
}

void nft_chain_add(struct nl_batch *b, const struct nft_chain *c)
{
    message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    nl_put_str(b, NFTA_CHAIN_TABLE, c->table);
    nl_put_str(b, NFTA_CHAIN_NAME, c->name);
    size_t hook = nl_nest(b, NFTA_CHAIN_HOOK);
    nl_put_u32be(b, NFTA_HOOK_HOOKNUM, c->hook);
    nl_put_u32be(b, NFTA_HOOK_PRIORITY, (uint32_t)c->priority);
    nl_nest_end(b, hook);
    nl_put_str(b, NFTA_CHAIN_TYPE, c->type);
    nl_put_u32be(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
}

void nft_chain_flush(struct nl_batch *b, const char *table, const char *chain)
{
    message(b, NFT_MSG_DELRULE, 0);
    nl_put_str(b, NFTA_RULE_TABLE, table);
    nl_put_str(b, NFTA_RULE_CHAIN, chain);
}

void nft_set_add(struct nl_batch *b, const char *table, const char *set, enum ip_family family)
{
    /* The type numbers are nft's own names for printing; the kernel knows only the length. */
    enum { PRINT_IPV4 = 7, PRINT_IPV6 = 8 };

    message(b, NFT_MSG_NEWSET, NLM_F_CREATE);
    nl_put_str(b, NFTA_SET_TABLE, table);
    nl_put_str(b, NFTA_SET_NAME, set);
    nl_put_u32be(b, NFTA_SET_ID, family == IP_V4 ? 4 : 6);
    nl_put_u32be(b, NFTA_SET_KEY_TYPE, family == IP_V4 ? PRINT_IPV4 : PRINT_IPV6);
    nl_put_u32be(b, NFTA_SET_KEY_LEN, family == IP_V4 ? 4 : 16);
}

static void set_element(struct nl_batch *b, const char *table, const char *set,
                        const struct ip *key, const char *comment)
{
    nl_put_str(b, NFTA_SET_ELEM_LIST_TABLE, table);
    nl_put_str(b, NFTA_SET_ELEM_LIST_SET, set);
    size_t list = nl_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
    size_t elem = nl_nest(b, NFTA_LIST_ELEM);
    size_t data = nl_nest(b, NFTA_SET_ELEM_KEY);
    nl_put(b, NFTA_DATA_VALUE, key->bytes, ip_size(key));
    nl_nest_end(b, data);
    if (comment) {
        put_comment(b, NFTA_SET_ELEM_USERDATA, comment);
    }
    nl_nest_end(b, elem);
    nl_nest_end(b, list);
}

void nft_set_put(struct nl_batch *b, const char *table, const char *set, const struct ip *key,
                 const char *comment)
{
    message(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
    set_element(b, table, set, key, comment);
}

void nft_set_delete(struct nl_batch *b, const char *table, const char *set, const struct ip *key)
{
    message(b, NFT_MSG_DELSETELEM, 0);
    set_element(b, table, set, key, NULL);
}

void nft_ask_tables(struct nl_batch *b)
{
    message(b, NFT_MSG_GETTABLE, NLM_F_DUMP);
}

void nft_ask_chains(struct nl_batch *b)
{
    message(b, NFT_MSG_GETCHAIN, NLM_F_DUMP);
}

void nft_ask_rules(struct nl_batch *b, const char *table)
{
    message(b, NFT_MSG_GETRULE, NLM_F_DUMP);
    nl_put_str(b, NFTA_RULE_TABLE, table);
}

size_t nft_rule_begin(struct nl_batch *b, const char *table, const char *chain)
{
    message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    nl_put_str(b, NFTA_RULE_TABLE, table);
    nl_put_str(b, NFTA_RULE_CHAIN, chain);
    return nl_nest(b, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nl_batch *b, size_t rule)
{
    nl_nest_end(b, rule);
}
