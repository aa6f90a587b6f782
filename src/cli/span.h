/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time, spans, sizes and counts, as people write and read them. Pure. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* "2026-11-26T14:16:20Z", with or without a fraction (RFC 3339, UTC only), as seconds since 1970. */
MUST_USE int span_time(const char *text, int64_t *out_s);
/* Appends "45s", "12m", "5h20m", "3d4h", "800d": the two largest units at most, never rounded up. */
void span_print(int64_t seconds, struct strbuf *out);
/* Appends "999B", "1.2kB", "34MB". */
void span_bytes(uint64_t bytes, struct strbuf *out);
/* "" or "s". */
const char *span_plural(uint64_t n);
