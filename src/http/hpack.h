/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks of HTTP/2 (RFC 7541). Decoding is nghttp2's inflater, pulled field by field; its
 * dynamic table can be listed and rebuilt, for live hand-over. Encoding writes literals only: it
 * never touches the peer's dynamic table, so an encoder has no state but one bit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"

enum { HPACK_TABLE_BYTES = 4096, HPACK_ENTRY_OVERHEAD = 32 };

struct hpack_decoder;

struct hpack_field { /* borrowed until the next call on the decoder */
    struct slice name;
    struct slice value;
};

/* NULL when memory is short. */
struct hpack_decoder *hpack_decoder_new(void);
void hpack_decoder_free(struct hpack_decoder *d);
AUTO_DEFINE(hpack_decoder, struct hpack_decoder *, hpack_decoder_free);

/* The next field of the fragment at *at, which is moved on: 1 and a field; 0: the fragment is used up,
 * and after the last one the decoder is ready for the next block; -ERR_H2_PROTOCOL: the block is bad
 * and the decoder is lost; -ENOMEM. Every fragment of a block must be read, or the decoder is lost. */
MUST_USE int hpack_next(struct hpack_decoder *d, struct slice *at, bool last,
                        struct hpack_field *out);

/* Between blocks: whether it is as a fresh one would be, so that it need not be kept. */
bool hpack_decoder_is_blank(struct hpack_decoder *d);

/* The dynamic table as a header block that rebuilds it in a fresh decoder. */
MUST_USE int hpack_decoder_export(struct hpack_decoder *d, struct bytes *out);
MUST_USE int hpack_decoder_import(struct hpack_decoder **out, const void *block, size_t len);

/* Appends to out: 0 or -ERR_TOO_LARGE. Names in lower case. secret: never indexed, also by proxies
 * on the way (RFC 7541 7.1.3). */
MUST_USE int hpack_put(struct bytes *out, const char *name, struct slice value, bool secret);
MUST_USE int hpack_put_status(struct bytes *out, unsigned status);
/* Goes first in the next block once the peer allows a smaller table than it did before: we use none. */
MUST_USE int hpack_put_no_table(struct bytes *out);
