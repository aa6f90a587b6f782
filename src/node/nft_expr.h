/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rule of nf_tables says: conditions, then deeds, appended to the rule that nft_rule_begin
 * opened. Pure. Values travel in network order, except what the kernel keeps in host order in its
 * registers (marks, zones).
 * Format: linux/netfilter/nf_tables.h.
 */
#pragma once

#include <stdint.h>

#include "base/ip.h"
#include "node/nl_batch.h"

/* Conditions: the rule goes on only if they hold. */
void nft_if_l4proto(struct nl_batch *b, uint8_t proto);
void nft_if_not_l4proto(struct nl_batch *b, uint8_t proto);
void nft_if_iifname(struct nl_batch *b, const char *name);
void nft_if_oifname(struct nl_batch *b, const char *name);
void nft_if_mark(struct nl_batch *b, uint32_t value, uint32_t mask);
void nft_if_not_mark(struct nl_batch *b, uint32_t value, uint32_t mask);
void nft_if_source(struct nl_batch *b, const struct ip *address);
void nft_if_destination(struct nl_batch *b, const struct ip *address);
void nft_if_destination_in(struct nl_batch *b, enum ip_family family, const char *set);
void nft_if_sport(struct nl_batch *b, uint16_t port);
void nft_if_dport(struct nl_batch *b, uint16_t port);
void nft_if_tcp_syn(struct nl_batch *b); /* SYN and none of FIN, RST, ACK */
/* The packet has a socket in this network namespace, whoever owns it. */
void nft_if_local_socket(struct nl_batch *b);

/* Deeds. */
void nft_set_mark(struct nl_batch *b, uint32_t value, uint32_t mask); /* other bits stay */
void nft_set_zone(struct nl_batch *b, uint16_t zone);
void nft_redirect(struct nl_batch *b, uint16_t port);
void nft_tproxy(struct nl_batch *b, uint16_t port);
void nft_snat(struct nl_batch *b, const struct ip *to);
void nft_reject_reset(struct nl_batch *b);
void nft_accept(struct nl_batch *b);
void nft_drop(struct nl_batch *b);
