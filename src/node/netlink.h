/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A netlink socket for questions and transactions. It belongs to the network namespace of the thread
 * that opened it, for ever. Blocking (the kernel answers within the call, a dump within
 * milliseconds): for job threads and short-lived programs, never for a loop thread.
 */
#pragma once

#include "base/err.h"
#include "node/nl_batch.h"
#include "node/nl_read.h"

struct netlink;

/* protocol: NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_SOCK_DIAG. */
MUST_USE int netlink_open_blocking(int protocol, struct netlink **out, struct diag *why);
void netlink_close(struct netlink *n);
AUTO_DEFINE(netlink, struct netlink *, netlink_close);

/* Sends a batch and reads every verdict. 0 only if no message was refused and message number
 * acked_seq, which must carry NLM_F_ACK, was acknowledged. -errno of the first refusal otherwise;
 * why gets what, the number of the message and the kernel's sentence. */
MUST_USE int netlink_commit_blocking(struct netlink *n, const struct nl_batch *b,
                                     uint32_t acked_seq, const char *what, struct diag *why);

/* Sends a question (NLM_F_DUMP) ... */
MUST_USE int netlink_ask_blocking(struct netlink *n, const struct nl_batch *b, struct diag *why);
/* ... and yields its answers: 1 per message, 0 at the end. -EINTR: the kernel's tables changed
 * meanwhile, ask again. The view lives until the next call. */
MUST_USE int netlink_next_blocking(struct netlink *n, struct nl_view *out, struct diag *why);
