/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/jwt.h"

#include <string.h>

#include "base/mem.h"
#include "codec/base64.h"

/* Decodes one part strictly: base64url without padding. The caller's. */
static int decode_part(uint8_t **out, size_t *out_len, struct slice part, const char *name,
                       struct diag *why)
{
    size_t room = part.len / 4 * 3 + 3;
    uint8_t *bytes = mem_try(room, JWT_BYTES_MAX);
    int r = bytes ? 0 : -ERR_TOO_LARGE;

    if (r == 0 && part.len > 0 && memchr(part.p, '=', part.len)) {
        r = -ERR_SYNTAX;
    }
    if (r == 0) {
        r = base64url_decode(bytes, room, part.p, part.len);
    }
    if (r < 0) {
        mem_free(bytes);
        return FAIL(why, r, "token: the %s is not base64url", name);
    }
    *out = bytes;
    *out_len = (size_t)r;
    return 0;
}

static int parse_part(struct json **out, struct slice part, const char *name, struct diag *why)
{
    static const struct json_limits limits = {.bytes = JWT_BYTES_MAX, .depth = JWT_DEPTH_MAX};
    AUTO(json) struct json *j = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;
    int r = decode_part(&bytes, &len, part, name, why);

    if (r < 0) {
        return r;
    }
    r = json_parse(&j, (const char *)bytes, len, &limits, NULL);
    mem_free(bytes);
    if (r < 0 || !json_is_obj(j)) {
        return FAIL(why, r < 0 ? r : -ERR_SYNTAX, "token: the %s is no JSON object", name);
    }
    *out = MOVE(j);
    return 0;
}

static int read_header(struct jwt *out, struct diag *why)
{
    const struct json *kid = json_get(out->header, "kid");

    out->alg = json_str(json_get(out->header, "alg"), NULL);
    if (!out->alg) {
        return FAIL(why, -ERR_SYNTAX, "token: the header has no alg");
    }
    out->kid = json_str(kid, NULL);
    if (kid && !out->kid) {
        return FAIL(why, -ERR_SYNTAX, "token: the header's kid is no text");
    }
    /* None of the extensions that may be named there is known here. */
    if (json_get(out->header, "crit")) {
        return FAIL(why, -ERR_UNSUPPORTED, "token: the header has a critical extension");
    }
    return 0;
}

int jwt_parse(struct jwt *out, struct slice token, struct diag *why)
{
    struct slice header, payload, signature, rest;

    if (token.len > JWT_BYTES_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "token of %zu bytes, at most %d", token.len,
                    JWT_BYTES_MAX);
    }
    if (!slice_cut(token, '.', &header, &rest) || !slice_cut(rest, '.', &payload, &signature) ||
        (signature.len > 0 && memchr(signature.p, '.', signature.len))) {
        return FAIL(why, -ERR_SYNTAX, "token: not three parts");
    }
    int r = parse_part(&out->header, header, "header", why);
    if (r == 0) {
        r = parse_part(&out->claims, payload, "payload", why);
    }
    if (r == 0) {
        r = decode_part(&out->signature, &out->signature_len, signature, "signature", why);
    }
    if (r == 0) {
        r = read_header(out, why);
    }
    out->payload = payload;
    out->signed_part = (struct slice){token.p, header.len + 1 + payload.len};
    return r;
}

void jwt_fini(struct jwt *j)
{
    j->header = json_unref(j->header);
    j->claims = json_unref(j->claims);
    mem_free(j->signature);
    *j = (struct jwt){.header = NULL};
}

/* NumericDate of RFC 7519 2: 1 when it is there, 0 when not, negative: something else is. Fractions
 * are dropped; what no clock shows is moved to where none goes. */
static int read_time(const struct json *claims, const char *name, int64_t *out)
{
    static const double far = 1e15;
    const struct json *j = json_get(claims, name);
    enum json_kind kind = json_kind(j);
    double v;

    if (!j) {
        return 0;
    }
    if (kind != JSON_KIND_INT && kind != JSON_KIND_REAL) {
        return -ERR_SYNTAX;
    }
    v = json_num(j, 0);
    *out = (int64_t)(v > far ? far : v < -far ? -far : v);
    return 1;
}

enum jwt_time jwt_time_check(const struct jwt *j, int64_t now_s)
{
    int64_t at = 0;
    int r = read_time(j->claims, "exp", &at);

    if (r < 0 || (r > 0 && now_s > at + JWT_SKEW_S)) {
        return JWT_TIME_EXPIRED;
    }
    r = read_time(j->claims, "nbf", &at);
    return r < 0 || (r > 0 && now_s + JWT_SKEW_S < at) ? JWT_TIME_NOT_YET : JWT_TIME_GOOD;
}
