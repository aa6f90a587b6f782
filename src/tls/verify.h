/* SPDX-License-Identifier: Apache-2.0 */
/* The decision whether a peer's certificate is acceptable (contract 2.1.2, 2.1.3), as the last word
 * of OpenSSL's chain building. Private to this folder. */
#pragma once

#include <openssl/x509.h>

#include "tls/handshake.h"

struct chain_cache;

struct verify_rules {
    enum tls_role role;
    struct chain_cache *chains; /* mesh roles: what was found good before */
    const struct trust *trust;
    const char *trust_domain; /* TLS_MESH_SERVER: our own */
    char *const *expect;      /* TLS_MESH_CLIENT */
    unsigned expect_count;
};

/* Fills what it learns into peer, also of a refused one. 0, -ERR_CERTIFICATE or -ERR_IDENTITY; the
 * error in ctx then stands for the alert. */
MUST_USE int verify_peer(X509_STORE_CTX *ctx, const struct verify_rules *rules,
                         struct tls_peer *peer, struct diag *why);
