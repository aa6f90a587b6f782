/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format of a hand-over: a version, then fixed fields in network order and counted byte strings,
 * read in the order in which they were written. A reader that meets the end, or a count that cannot
 * be, remembers it and yields zeroes: the check stands at the end.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"

enum { BLOB_VERSION = 3, BLOB_TEXT_MAX = 64 << 10, BLOB_BUFFERED_MAX = 64 << 20 };

/* Each does nothing once *r < 0, and sets it when out is full. */
void blob_put(struct bytes *out, int *r, const void *from, size_t len);
void blob_put_u32(struct bytes *out, int *r, uint32_t v);
void blob_put_u64(struct bytes *out, int *r, uint64_t v);
void blob_put_bytes(struct bytes *out, int *r, const void *from, size_t len);
void blob_put_text(struct bytes *out, int *r, const char *text); /* or NULL */
void blob_put_version(struct bytes *out, int *r);

struct blob {
    const uint8_t *p;
    size_t left;
    bool bad;
};

uint32_t blob_get_u32(struct blob *b);
uint64_t blob_get_u64(struct blob *b);
bool blob_get_bool(struct blob *b);
/* Borrowed, at most limit bytes. */
struct slice blob_get_bytes(struct blob *b, size_t limit);
char *blob_get_text(struct blob *b); /* the caller's, or NULL */
/* 0, -ERR_VERSION or -ERR_SYNTAX. */
MUST_USE int blob_check_version(struct blob *b);
