/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate chains of the mesh that were found good, so that the signatures of a peer's chain are
 * checked once and not for every tunnel. Remembered is the SHA-256 of the roots it was verified by, the
 * peer's role and all certificates in the order they came in, and for how long all of them are valid;
 * another set of roots knows nothing of what was believed before. That the peer holds the key of its
 * certificate and what its names are is looked at in every handshake, elsewhere. Failures are not
 * remembered: what somebody makes up takes nobody's place. A table of fixed size, made at the first
 * good chain; of a full row what was not used for longest goes. Any thread. Private to this folder.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { CHAIN_CACHE_ROWS = 256, CHAIN_CACHE_WAYS = 4 };

struct chain_cache;
struct trust;

struct chain_cache *chain_cache_new(void);
void chain_cache_free(struct chain_cache *c);
AUTO_DEFINE(chain_cache, struct chain_cache *, chain_cache_free);

struct chain_check {
    const struct trust *trust; /* whose store ctx has */
    bool of_client;            /* the purpose that ctx has */
    int64_t now_s;
    bool was_known; /* out: no signature was looked at */
};

/* As X509_verify_cert at that time. ctx must have no host name to verify. */
MUST_USE bool chain_cache_verify(struct chain_cache *c, X509_STORE_CTX *ctx,
                                 struct chain_check *check);
