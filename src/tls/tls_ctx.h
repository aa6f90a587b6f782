/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings that all TLS connections of a process share (contract 2.1): TLS 1.3 only,
 * AES-256-GCM then AES-128-GCM, X25519, P-256, P-384, no tickets, no SNI on the mesh. Made once at
 * start and handed to whoever needs it; any thread, must outlive its users. All that changes in it is
 * which chains of peers were found good (tls/chain_cache.h).
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "tls/aead.h"
#include "tls/record.h"

struct tls_options {
    enum aead_backend backend;
    struct record_limits limits; /* zero: the defaults */
    /* For tests against foreign peers; NULL: the contract's. Names as OpenSSL knows them. */
    const char *suites;
    const char *groups;
};

struct tls_ctx;

/* options may be NULL. */
MUST_USE int tls_ctx_new(struct tls_ctx **out, const struct tls_options *options, struct diag *why);
/* For the layers that take sessions over; borrowed. */
const struct record_limits *tls_ctx_limits(const struct tls_ctx *c);
enum aead_backend tls_ctx_backend(const struct tls_ctx *c);
void tls_ctx_free(struct tls_ctx *c);
AUTO_DEFINE(tls_ctx, struct tls_ctx *, tls_ctx_free);
