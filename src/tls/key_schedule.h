/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF-Expand-Label of TLS 1.3 (RFC 8446 7.1) with an empty context, by OpenSSL's KDF. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tls/aead.h"

/* secret has record_secret_bytes(kind) bytes; the hash follows from kind. out may be secret. 0 or
 * -ERR_TLS. */
MUST_USE int key_expand_label(enum aead_kind kind, const uint8_t *secret, const char *label,
                              uint8_t *out, size_t out_len);
