/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON Web Token in compact form (RFC 7515 3.1, RFC 7519), taken apart. Nothing here says that it
 * is genuine: that is tls/jwks.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "codec/json.h"

enum { JWT_BYTES_MAX = 8192, JWT_DEPTH_MAX = 32 };

struct jwt {
    struct json *header; /* objects */
    struct json *claims;
    const char *alg;          /* never NULL after jwt_parse */
    const char *kid;          /* NULL: none */
    struct slice signed_part; /* "header.payload", borrowed from the token */
    struct slice payload;     /* base64url as received, borrowed from the token */
    uint8_t *signature;
    size_t signature_len;
};

/* Zeroed jwt in; to be ended with jwt_fini, also on failure. -ERR_SYNTAX, -ERR_TOO_LARGE,
 * -ERR_UNSUPPORTED: a critical header (RFC 7515 4.1.11). */
MUST_USE int jwt_parse(struct jwt *out, struct slice token, struct diag *why);
void jwt_fini(struct jwt *j);

/* exp and nbf with JWT_SKEW_S of tolerance; a time that is no number is refused. */
enum jwt_time { JWT_TIME_GOOD = 0, JWT_TIME_EXPIRED, JWT_TIME_NOT_YET };
enum { JWT_SKEW_S = 60 };
enum jwt_time jwt_time_check(const struct jwt *j, int64_t now_s);
