/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures that were found good, so that a token which comes with every request of its bearer is
 * verified once. The signature alone is remembered, by the SHA-256 of the whole token and by the key
 * set: times, issuer and audience are looked at each time, and another key set knows nothing of what
 * an older one said. Failures are not remembered: what somebody makes up takes nobody's place.
 * A table of fixed size, made at the first good token; of a full row what was not used for longest
 * goes. One loop.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "codec/jwt.h"
#include "tls/jwks.h"

enum {
    TOKEN_CACHE_ROWS = 1024,
    TOKEN_CACHE_WAYS = 4,
    TOKEN_CACHE_S = 300 /* a token is verified again after this long, or once it has expired */
};

struct token_cache;

struct token_cache *token_cache_new(void);
void token_cache_free(struct token_cache *c);
AUTO_DEFINE(token_cache, struct token_cache *, token_cache_free);

/* As jwks_verify; text is what t was parsed from. c may be NULL: nothing is remembered. */
MUST_USE int token_cache_verify(struct token_cache *c, const struct jwks *keys, const struct jwt *t,
                                struct slice text, int64_t now_s);

struct token_cache_stats {
    uint64_t hits;
    uint64_t misses; /* signatures that were checked */
};
struct token_cache_stats token_cache_stats(const struct token_cache *c);
/* Bytes of the table; 0: there is none yet. */
size_t token_cache_bytes(const struct token_cache *c);
