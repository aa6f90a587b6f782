/* SPDX-License-Identifier: Apache-2.0 */
#include "node/nl_read.h"

#include <linux/netlink.h>
#include <string.h>

#include "base/num.h"

static size_t aligned(size_t len)
{
    return (len + NLA_ALIGNTO - 1) & ~(size_t)(NLA_ALIGNTO - 1);
}

/* The last element may come without its padding. */
static void step_over(struct nl_reader *r, size_t len)
{
    size_t n = MIN_OF(aligned(len), r->left);

    r->p += n;
    r->left -= n;
}

int nl_read_message(struct nl_reader *r, struct nl_view *out)
{
    struct nlmsghdr h;

    if (r->left == 0) {
        return 0;
    }
    if (r->left < sizeof(h)) {
        return -ERR_SYNTAX;
    }
    memcpy(&h, r->p, sizeof(h));
    if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > r->left) {
        return -ERR_SYNTAX;
    }
    *out = (struct nl_view){
        .type = h.nlmsg_type,
        .flags = h.nlmsg_flags,
        .seq = h.nlmsg_seq,
        .body = {r->p + sizeof(h), h.nlmsg_len - sizeof(h)},
    };
    step_over(r, h.nlmsg_len);
    return 1;
}

int nl_read_attr(struct nl_reader *r, struct nl_attr *out)
{
    struct nlattr a;

    if (r->left == 0) {
        return 0;
    }
    if (r->left < sizeof(a)) {
        return -ERR_SYNTAX;
    }
    memcpy(&a, r->p, sizeof(a));
    if (a.nla_len < sizeof(a) || a.nla_len > r->left) {
        return -ERR_SYNTAX;
    }
    *out = (struct nl_attr){
        .type = a.nla_type & ~(unsigned)(NLA_F_NESTED | NLA_F_NET_BYTEORDER),
        .nested = (a.nla_type & NLA_F_NESTED) != 0,
        .value = {r->p + sizeof(a), a.nla_len - sizeof(a)},
    };
    step_over(r, a.nla_len);
    return 1;
}

int nl_read_fixed(struct nl_reader *r, void *into, size_t len)
{
    if (r->left < len) {
        return -ERR_SYNTAX;
    }
    memcpy(into, r->p, len);
    step_over(r, len);
    return 0;
}

int nl_find_attr(const struct nl_reader *r, unsigned type, struct nl_attr *out)
{
    struct nl_reader rest = *r;
    struct nl_attr a;
    int n;

    while ((n = nl_read_attr(&rest, &a)) > 0) {
        if (a.type == type) {
            *out = a;
            return 1;
        }
    }
    return n;
}

/* Behind the code stands the header of the message it is about, then attributes. */
static struct slice words_of(struct nl_reader r)
{
    struct nl_attr a;
    struct slice s = {NULL, 0};

    if (nl_find_attr(&r, NLMSGERR_ATTR_MSG, &a) > 0 && nl_attr_str(&a, &s) < 0) {
        s = (struct slice){NULL, 0};
    }
    return s;
}

int nl_read_verdict(const struct nl_view *v, struct nl_verdict *out)
{
    struct nl_reader r = v->body;
    struct nlmsgerr e;

    if (nl_read_fixed(&r, &e, sizeof(e)) < 0 || e.error > 0) {
        return -ERR_SYNTAX;
    }
    *out = (struct nl_verdict){.code = e.error};
    if (v->flags & NLM_F_ACK_TLVS) {
        out->words = words_of(r);
    }
    return 0;
}

int nl_attr_u32(const struct nl_attr *a, uint32_t *out)
{
    if (a->value.left != sizeof(*out)) {
        return -ERR_SYNTAX;
    }
    memcpy(out, a->value.p, sizeof(*out));
    return 0;
}

int nl_attr_str(const struct nl_attr *a, struct slice *out)
{
    const uint8_t *end = a->value.left > 0 ? memchr(a->value.p, 0, a->value.left) : NULL;

    if (!end) {
        return -ERR_SYNTAX;
    }
    *out = (struct slice){(const char *)a->value.p, (size_t)(end - a->value.p)};
    return 0;
}
