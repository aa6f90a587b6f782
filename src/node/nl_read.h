/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads netlink messages and attributes out of received bytes. Pure; every length is compared with
 * what is left before it is used. Views point into the bytes they were read from.
 * Format: linux/netlink.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct nl_reader {
    const uint8_t *p;
    size_t left;
};

struct nl_view { /* one message */
    unsigned type;
    unsigned flags;
    uint32_t seq;
    struct nl_reader body; /* behind nlmsghdr: fixed part, then attributes */
};

struct nl_attr {
    unsigned type; /* without the nested and byte-order flags */
    bool nested;   /* says that the value is attributes; kernels do not always say it */
    struct nl_reader value;
};

/* What a kernel's NLMSG_ERROR says. */
struct nl_verdict {
    int code;           /* 0 = acknowledged, else -errno */
    struct slice words; /* the kernel's own sentence; may be empty */
};

static inline struct nl_reader nl_reader_of(const void *p, size_t len)
{
    return (struct nl_reader){p, len};
}

/* 1, 0 at the end, -ERR_SYNTAX. */
MUST_USE int nl_read_message(struct nl_reader *r, struct nl_view *out);
MUST_USE int nl_read_attr(struct nl_reader *r, struct nl_attr *out);

/* The fixed part: copies len bytes and steps over them with their padding. */
MUST_USE int nl_read_fixed(struct nl_reader *r, void *into, size_t len);

/* The first attribute of a type: 1, 0 if there is none, -ERR_SYNTAX. r is not moved. */
MUST_USE int nl_find_attr(const struct nl_reader *r, unsigned type, struct nl_attr *out);

/* For a message of type NLMSG_ERROR, asked for with NETLINK_EXT_ACK and NETLINK_CAP_ACK. */
MUST_USE int nl_read_verdict(const struct nl_view *v, struct nl_verdict *out);

/* Only a value of exactly that size. */
MUST_USE int nl_attr_u32(const struct nl_attr *a, uint32_t *out);
/* A zero-terminated string inside the value; the slice is without the zero. */
MUST_USE int nl_attr_str(const struct nl_attr *a, struct slice *out);
