/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of nf_tables that our rule sets need, appended to a batch: transactions, tables,
 * chains, sets, rules. What a rule says is in nft_expr.h. Pure.
 * Format: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "node/nl_batch.h"

/* Tables of ours are in the inet family: one rule for both address families. */
void nft_begin(struct nl_batch *b);
/* What follows is about the bridge family: frames that a bridge passes on. */
void nft_bridged(struct nl_batch *b);
/* The last message: the kernel commits here, all or nothing. Returns the number of the message
 * before it, which asks for an acknowledgement. */
uint32_t nft_commit(struct nl_batch *b);

/* exclusive: -EEXIST if the table is there. comment is shown by nft list; may be NULL. */
void nft_table_add(struct nl_batch *b, const char *table, const char *comment, bool exclusive);
/* The table must exist. With everything in it. */
void nft_table_delete(struct nl_batch *b, const char *table);

struct nft_chain {
    const char *table;
    const char *name;
    const char *type; /* "filter" or "nat" */
    unsigned hook;    /* NF_INET_* */
    int priority;
};

void nft_chain_add(struct nl_batch *b, const struct nft_chain *c);
/* Deletes its rules; the chain stays. */
void nft_chain_flush(struct nl_batch *b, const char *table, const char *chain);

/* Keys are addresses. Elements carry a comment. */
void nft_set_add(struct nl_batch *b, const char *table, const char *set, enum ip_family family);
void nft_set_put(struct nl_batch *b, const char *table, const char *set, const struct ip *key,
                 const char *comment);
/* The element must be there. */
void nft_set_delete(struct nl_batch *b, const char *table, const char *set, const struct ip *key);

/* Questions. The answers are NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, of all tables, and
 * NFT_MSG_NEWRULE. */
void nft_ask_tables(struct nl_batch *b);
void nft_ask_chains(struct nl_batch *b);
void nft_ask_rules(struct nl_batch *b, const char *table);

/* Expressions come between these two. */
size_t nft_rule_begin(struct nl_batch *b, const char *table, const char *chain);
void nft_rule_end(struct nl_batch *b, size_t rule);
