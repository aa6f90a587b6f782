/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key sets (RFC 7517) and signatures of tokens (RFC 7518): RS, PS and ES with 256, 384, 512, and
 * EdDSA. "none" and the HS family are refused whatever a key set says: its keys are public. Made off
 * the loops, immutable, counted; any thread may verify.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "codec/jwt.h"
#include "model/l7.h"

struct jwks;

enum { JWKS_BYTES_MAX = 1 << 20, JWKS_KEYS_MAX = 64 };

/* The caller's on success. Keys of unknown kinds or uses are passed over; none usable is
 * -ERR_NOT_FOUND. -ERR_SYNTAX, -ERR_TOO_LARGE, -ERR_LIMIT. */
MUST_USE int jwks_parse(struct jwks **out, const char *text, size_t len, struct diag *why);
struct jwks *jwks_unref(struct jwks *keys); /* returns NULL */
AUTO_DEFINE(jwks, struct jwks *, jwks_unref);
size_t jwks_count(const struct jwks *keys);
/* Of this set alone, as long as the process runs; never 0. */
uint64_t jwks_serial(const struct jwks *keys);

/* 0: signed by one of the keys. A token that names a key is checked with keys of that name and those
 * without one; a token that names none with each that fits. -ERR_UNSUPPORTED: algorithm;
 * -ERR_NOT_FOUND: no key fits; -ERR_DENIED: the signature is not theirs. */
MUST_USE int jwks_verify(const struct jwks *keys, const struct jwt *token);

/* For l7_new: what snapshots hold is then what jwks_of gives back. */
extern const struct l7_jwks_maker jwks_maker;
const struct jwks *jwks_of(struct l7_jwks *held); /* NULL stays NULL */
