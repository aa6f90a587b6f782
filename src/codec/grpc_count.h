/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the messages of a gRPC body as it passes by, cut in any way, without keeping any of it: each
 * is one octet of flags, its length in four, and that many octets. One counts once its length is known.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct grpc_count { /* zeroed at the start of a body */
    uint64_t messages;
    uint32_t left;  /* octets of the current message, or of its length so far */
    unsigned front; /* octets of flags and length that were there */
};

/* The first len octets of the pieces. */
void grpc_count_feed(struct grpc_count *c, const struct iovec *v, size_t len);
