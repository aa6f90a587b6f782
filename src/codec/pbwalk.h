/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a protobuf message field by field, without schema and without allocation. Two forms:
 * struct pbwalk over a message that lies in memory, and struct pbstream over one that arrives in
 * pieces and is too large to hold: it shows one top-level field at a time, and only a field that is
 * split between pieces is copied.
 *
 * Groups (wire types 3 and 4) are refused, and so are varints over ten bytes and field number 0.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t value;       /* of the number types */
    const uint8_t *bytes; /* of PB_BYTES: into the message, never NULL */
    size_t len;
};

struct pbwalk {
    const uint8_t *at;
    size_t left;
};

static inline void pbwalk_init(struct pbwalk *w, const void *message, size_t len)
{
    *w = (struct pbwalk){message, len};
}

/* 1: out is the next field; 0: the end; -ERR_SYNTAX; -ERR_TRUNCATED: the message ends within a
 * field. */
MUST_USE int pbwalk_next(struct pbwalk *w, struct pb_field *out);

/* The message in the first field of that number: the usual step down. 1, 0 or negative as above. */
MUST_USE int pbwalk_find(const void *message, size_t len, uint32_t number, struct pb_field *out);

struct pbstream {
    struct bytes held; /* the field that is not complete yet */
    size_t shown;      /* bytes of held that the caller has seen: dropped by the next call */
    size_t field_max;
    int failed; /* a negative code once the message is beyond repair */
};

/* field_max bounds one whole field with its header. */
void pbstream_init(struct pbstream *s, size_t field_max);
void pbstream_fini(struct pbstream *s);

/* Takes from *in, *len what it needs. 1: out is the next field, valid until the next call and as
 * long as the input lies still; 0: all input is taken, more is needed. -ERR_SYNTAX;
 * -ERR_TOO_LARGE: a field over its limit. Failure is final. */
MUST_USE int pbstream_next(struct pbstream *s, const uint8_t **in, size_t *len,
                           struct pb_field *out);
/* After the last input: 0, or -ERR_TRUNCATED when a field is incomplete. */
MUST_USE int pbstream_end(const struct pbstream *s);
