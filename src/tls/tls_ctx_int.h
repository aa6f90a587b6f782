/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <openssl/ssl.h>

#include "tls/tls_ctx.h"

struct tls_ctx {
    SSL_CTX *client;
    SSL_CTX *server;
    struct chain_cache *chains;
    enum aead_backend backend;
    struct record_limits limits;
};

/* Set up by handshake.c on each new context: they find their handshake behind the SSL. */
void handshake_hooks(SSL_CTX *ctx);
