/* SPDX-License-Identifier: Apache-2.0 */
/* What handshake.c (the life of one) and handshake_setup.c (its SSL object) share. */
#pragma once

#include <openssl/ssl.h>

#include "tls/handshake.h"

enum { HANDSHAKE_STEPS_MAX = 64, HANDSHAKE_ALPN_BYTES = HANDSHAKE_ALPN_MAX * 16 };

struct handshake {
    struct tls_ctx *ctx;
    SSL *ssl; /* made in the first step; owns both BIOs */
    BIO *in;
    BIO *out;
    /* The specification, our own copy. */
    enum tls_role role;
    struct credential *credential;
    struct trust *trust;
    char **expect;
    unsigned expect_count;
    char *host;
    char *server_name;
    uint8_t alpn[HANDSHAKE_ALPN_BYTES]; /* as on the wire */
    unsigned alpn_len;
    /* How far it came. */
    enum handshake_state state;
    int error;
    int verify_error; /* why the peer was refused: better than what libssl says about it */
    struct diag verify_diag;
    size_t input_bytes;
    unsigned steps;
    struct slice alert; /* output that libssl did not make; p is NULL otherwise */
    uint8_t client_secret[RECORD_SECRET_MAX];
    uint8_t server_secret[RECORD_SECRET_MAX];
    size_t client_secret_len, server_secret_len;
    struct tls_peer peer;
};

static inline bool role_is_client(enum tls_role role)
{
    return role == TLS_MESH_CLIENT || role == TLS_HOST_CLIENT;
}

/* Makes h->ssl from the specification. */
MUST_USE int handshake_setup(struct handshake *h, struct diag *why);
