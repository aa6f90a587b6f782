/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes netlink messages into one buffer. Pure: no socket, no clock. A batch has a limit; what does
 * not fit is dropped and remembered (nl_batch_is_whole), so that a writer checks once, at the end.
 * Format: linux/netlink.h (all lengths in host order, attributes padded to 4 bytes).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* The kernel takes a batch in one datagram; the largest of ours is about 6 KiB. */
enum { NL_BATCH_LIMIT = 64 << 10 };

struct nl_batch {
    struct strbuf bytes;
    size_t message; /* offset of the message being written */
    uint32_t seq;   /* of that message; the first one gets 1 */
    bool bridged;   /* messages of nf_tables are for the bridge family (nft_bridged) */
};

void nl_batch_init(struct nl_batch *b);
void nl_batch_fini(struct nl_batch *b);

/* Begins a message; the one before ends here. header is the fixed part behind nlmsghdr. */
void nl_message(struct nl_batch *b, unsigned type, unsigned flags, const void *header, size_t len);

void nl_put(struct nl_batch *b, unsigned type, const void *data, size_t len);
void nl_put_str(struct nl_batch *b, unsigned type, const char *s); /* with its zero byte */
void nl_put_u32(struct nl_batch *b, unsigned type, uint32_t v);    /* host order: rtnetlink */
void nl_put_u32be(struct nl_batch *b, unsigned type, uint32_t v);  /* network order: nf_tables */

/* Returns what nl_nest_end wants. */
size_t nl_nest(struct nl_batch *b, unsigned type);
void nl_nest_end(struct nl_batch *b, size_t nest);

/* False once something was dropped: the batch must not be sent. */
bool nl_batch_is_whole(const struct nl_batch *b);

static inline void nl_batch_release(struct nl_batch b)
{
    nl_batch_fini(&b);
}
AUTO_DEFINE(nl_batch, struct nl_batch, nl_batch_release);
