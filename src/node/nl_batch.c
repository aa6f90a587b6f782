/* SPDX-License-Identifier: Apache-2.0 */
#include "node/nl_batch.h"

#include <linux/netlink.h>

#include "base/num.h"

void nl_batch_init(struct nl_batch *b)
{
    *b = (struct nl_batch){.bytes.limit = NL_BATCH_LIMIT};
}

void nl_batch_fini(struct nl_batch *b)
{
    strbuf_fini(&b->bytes);
}

static void pad(struct nl_batch *b)
{
    static const char zero[NLA_ALIGNTO];
    size_t over = b->bytes.len % NLA_ALIGNTO;

    if (over > 0) {
        strbuf_add(&b->bytes, zero, NLA_ALIGNTO - over);
    }
}

/* The open message's length grows with every addition, so that there is no call to end it. */
static void settle(struct nl_batch *b)
{
    uint32_t len = (uint32_t)(b->bytes.len - b->message);

    if (!b->bytes.overflow) {
        memcpy(b->bytes.p + b->message + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
    }
}

void nl_message(struct nl_batch *b, unsigned type, unsigned flags, const void *header, size_t len)
{
    struct nlmsghdr h = {
        .nlmsg_type = (uint16_t)type,
        .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
        .nlmsg_seq = ++b->seq,
    };

    b->message = b->bytes.len;
    strbuf_add(&b->bytes, &h, sizeof(h));
    strbuf_add(&b->bytes, header, len);
    pad(b);
    settle(b);
}

void nl_put(struct nl_batch *b, unsigned type, const void *data, size_t len)
{
    struct nlattr a = {.nla_len = (uint16_t)(sizeof(a) + len), .nla_type = (uint16_t)type};

    if (len > UINT16_MAX - sizeof(a)) {
        b->bytes.overflow = true;
        return;
    }
    strbuf_add(&b->bytes, &a, sizeof(a));
    strbuf_add(&b->bytes, data, len);
    pad(b);
    settle(b);
}

void nl_put_str(struct nl_batch *b, unsigned type, const char *s)
{
    nl_put(b, type, s, strlen(s) + 1);
}

void nl_put_u32(struct nl_batch *b, unsigned type, uint32_t v)
{
    nl_put(b, type, &v, sizeof(v));
}

void nl_put_u32be(struct nl_batch *b, unsigned type, uint32_t v)
{
    uint8_t be[4];

    be32_put(be, v);
    nl_put(b, type, be, sizeof(be));
}

size_t nl_nest(struct nl_batch *b, unsigned type)
{
    size_t at = b->bytes.len;

    nl_put(b, type | NLA_F_NESTED, "", 0);
    return at;
}

void nl_nest_end(struct nl_batch *b, size_t nest)
{
    size_t len = b->bytes.len - nest;
    uint16_t field = (uint16_t)len;

    if (len > UINT16_MAX) {
        b->bytes.overflow = true;
    }
    if (!b->bytes.overflow) {
        memcpy(b->bytes.p + nest + offsetof(struct nlattr, nla_len), &field, sizeof(field));
    }
}

bool nl_batch_is_whole(const struct nl_batch *b)
{
    return !b->bytes.overflow;
}
