/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-GCM as TLS 1.3 uses it (RFC 5116, RFC 8446 5.2): one record per call. Two back ends
 * stand behind the four functions: libipsec-mb where the CPU passes its checks, OpenSSL's EVP
 * elsewhere or on request. A struct aead holds one expanded key and serves one thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum aead_kind { AEAD_AES_128_GCM, AEAD_AES_256_GCM };
enum aead_backend {
    AEAD_AUTO,    /* libipsec-mb if this CPU suits it, else EVP */
    AEAD_IPSECMB, /* -ERR_UNSUPPORTED where the CPU does not suit it */
    AEAD_EVP,
};

enum { AEAD_NONCE_BYTES = 12, AEAD_TAG_BYTES = 16, AEAD_KEY_MAX = 32 };

struct aead;

static inline size_t aead_key_bytes(enum aead_kind kind)
{
    return kind == AEAD_AES_128_GCM ? 16 : 32;
}

/* key has aead_key_bytes(kind) bytes; it is not kept. */
MUST_USE int aead_new(struct aead **out, enum aead_kind kind, enum aead_backend backend,
                      const uint8_t *key, struct diag *why);
/* Wipes the key. */
void aead_free(struct aead *a);

struct aead_text {
    const uint8_t *nonce; /* AEAD_NONCE_BYTES, never used twice with one key */
    const uint8_t *aad;
    size_t aad_len;
    uint8_t *data; /* encrypted or decrypted where it stands, unless from says otherwise */
    size_t len;
    const uint8_t
        *from; /* NULL: data; else it stands there and data, which is apart, is overwritten */
};

/* Writes the tag behind or beside the data. Negative only when the back end itself failed; data is
 * then to be thrown away. */
MUST_USE int aead_seal(struct aead *a, const struct aead_text *text, uint8_t tag[AEAD_TAG_BYTES]);
/* The tag is compared in constant time. On -ERR_TLS_RECORD the data has been wiped: nothing that was
 * not authentic can be read. */
MUST_USE int aead_open(struct aead *a, const struct aead_text *text,
                       const uint8_t tag[AEAD_TAG_BYTES]);

AUTO_DEFINE(aead, struct aead *, aead_free);
