/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam behind which private keys live. A handshake asks a signer and never sees the key, so that
 * signing can move into another process. Signing may block: it happens in a job, never on a loop.
 * Immutable and counted: any thread may use it, several at once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/ref.h"
#include "base/str.h"

enum { SIGNER_SIGNATURE_MAX = 160 };

struct signer;

struct signer_ops {
    /* An ECDSA signature (DER) over a digest. Returns its length or a negative error. */
    ssize_t (*sign_blocking)(struct signer *s, const uint8_t *digest, size_t digest_len,
                             uint8_t out[SIGNER_SIGNATURE_MAX]);
    /* Called when the last reference went. */
    void (*destroy)(struct signer *s);
};

/* Embedded first in an implementation's own struct. */
struct signer {
    const struct signer_ops *ops;
    struct aref refs;
};

void signer_init(struct signer *s, const struct signer_ops *ops);
struct signer *signer_ref(struct signer *s);
struct signer *signer_unref(struct signer *s); /* NULL */
AUTO_DEFINE(signer, struct signer *, signer_unref);

MUST_USE ssize_t signer_sign_blocking(struct signer *s, const uint8_t *digest, size_t digest_len,
                                      uint8_t out[SIGNER_SIGNATURE_MAX]);

/* The implementation with the key in this process' memory: an EC key (P-256, P-384 or P-521) in PEM,
 * PKCS#8 or SEC 1, not encrypted. Other kinds are -ERR_UNSUPPORTED. */
MUST_USE int signer_local_new(struct signer **out, struct slice key_pem, struct diag *why);
