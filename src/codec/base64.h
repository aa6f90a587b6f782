/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648: section 4 (with padding) and section 5 (URL-safe, padding optional on
 * reading). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Characters that len bytes become, without terminator. */
static inline size_t base64_text_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Appends. */
void base64_encode(struct strbuf *out, const void *from, size_t len);
void base64url_encode(struct strbuf *out, const void *from, size_t len); /* no padding */

/* Strict: no blanks, full padding, unused bits zero. Writes at most room bytes and returns their
 * number; -ERR_SYNTAX, -ERR_TOO_LARGE. room of len / 4 * 3 + 2 always suffices. */
MUST_USE int base64_decode(void *into, size_t room, const char *text, size_t len);
MUST_USE int base64url_decode(void *into, size_t room, const char *text, size_t len);
