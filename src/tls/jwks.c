/* SPDX-License-Identifier: Apache-2.0 */
/* A key knows what it may verify: the algorithm of a token is chosen by the token's maker and must
 * never be what decides how a key is used. */
#include "tls/jwks.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "codec/base64.h"
#include "tls/ossl_int.h"

enum { RSA_BITS_MIN = 2048, RSA_BYTES_MAX = 1024, EXPONENT_BYTES_MAX = 4, COORDINATE_MAX = 66 };

enum key_kind { KEY_RSA, KEY_P256, KEY_P384, KEY_P521, KEY_ED };

struct key {
    EVP_PKEY *pkey;
    enum key_kind kind;
    char *kid; /* NULL: none, fits every token */
    char *alg; /* NULL: any of its kind */
};

struct jwks {
    struct l7_jwks held;
    uint64_t serial;
    size_t count;
    struct key keys[];
};

AUTO_DEFINE(ossl_bld, OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free);
AUTO_DEFINE(ossl_params, OSSL_PARAM *, OSSL_PARAM_free);
AUTO_DEFINE(ossl_bn, BIGNUM *, BN_free);
AUTO_DEFINE(ossl_md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free);
AUTO_DEFINE(ecdsa_sig, ECDSA_SIG *, ECDSA_SIG_free);

/* ---- keys; what is not usable is passed over, so here NULL is an answer */

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *bld)
{
    AUTO(ossl_params) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    AUTO(ossl_key_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *k = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &k, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        return NULL;
    }
    return k;
}

/* The bytes of a base64url member; 0: absent, broken, or more than room. */
static size_t member_bytes(const struct json *jwk, const char *name, uint8_t *into, size_t room)
{
    const char *text = json_str(json_get(jwk, name), "");
    int n = base64url_decode(into, room, text, strlen(text));

    return n > 0 ? (size_t)n : 0;
}

static EVP_PKEY *rsa_key(const struct json *jwk)
{
    uint8_t n[RSA_BYTES_MAX + 2], e[EXPONENT_BYTES_MAX + 2];
    size_t n_len = member_bytes(jwk, "n", n, sizeof(n));
    size_t e_len = member_bytes(jwk, "e", e, sizeof(e));

    if (n_len == 0 || n_len > RSA_BYTES_MAX || e_len == 0 || e_len > EXPONENT_BYTES_MAX) {
        return NULL;
    }
    AUTO(ossl_bn) BIGNUM *modulus = BN_bin2bn(n, (int)n_len, NULL);
    AUTO(ossl_bn) BIGNUM *exponent = BN_bin2bn(e, (int)e_len, NULL);
    AUTO(ossl_bld) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (!modulus || !exponent || !bld || !BN_is_odd(modulus) || !BN_is_odd(exponent) ||
        BN_is_one(exponent) || BN_num_bits(modulus) < RSA_BITS_MIN ||
        !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, modulus) ||
        !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, exponent)) {
        return NULL;
    }
    return key_from("RSA", bld);
}

static EVP_PKEY *ec_key(const struct json *jwk, const char *group, size_t size)
{
    uint8_t point[1 + 2 * COORDINATE_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    uint8_t coordinate[COORDINATE_MAX + 2];
    AUTO(ossl_bld) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    static const char *const names[] = {"x", "y"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (member_bytes(jwk, names[i], coordinate, sizeof(coordinate)) != size) {
            return NULL; /* RFC 7518 6.2.1.2: always the full size */
        }
        memcpy(point + 1 + i * size, coordinate, size);
    }
    if (!bld || !OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) ||
        !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size)) {
        return NULL;
    }
    return key_from("EC", bld); /* refuses a point that is not on the curve */
}

static EVP_PKEY *ed_key(const struct json *jwk, int type, size_t size)
{
    uint8_t x[64];
    size_t len = member_bytes(jwk, "x", x, sizeof(x));

    return len == size ? EVP_PKEY_new_raw_public_key(type, NULL, x, len) : NULL;
}

static const struct curve {
    const char *crv;
    const char *group;
    size_t size;
    enum key_kind kind;
} curves[] = {{"P-256", "prime256v1", 32, KEY_P256},
              {"P-384", "secp384r1", 48, KEY_P384},
              {"P-521", "secp521r1", 66, KEY_P521}};

static EVP_PKEY *make_key(const struct json *jwk, enum key_kind *kind)
{
    const char *kty = json_str(json_get(jwk, "kty"), "");
    const char *crv = json_str(json_get(jwk, "crv"), "");

    if (strcmp(kty, "RSA") == 0) {
        *kind = KEY_RSA;
        return rsa_key(jwk);
    }
    if (strcmp(kty, "OKP") == 0) {
        *kind = KEY_ED;
        return strcmp(crv, "Ed25519") == 0 ? ed_key(jwk, EVP_PKEY_ED25519, 32)
               : strcmp(crv, "Ed448") == 0 ? ed_key(jwk, EVP_PKEY_ED448, 57)
                                           : NULL;
    }
    for (size_t i = 0; strcmp(kty, "EC") == 0 && i < ARRAY_LEN(curves); i++) {
        if (strcmp(crv, curves[i].crv) == 0) {
            *kind = curves[i].kind;
            return ec_key(jwk, curves[i].group, curves[i].size);
        }
    }
    return NULL; /* "oct" too: a public set with a shared key in it */
}

/* RFC 7517 4.2, 4.3 */
static bool is_for_signatures(const struct json *jwk)
{
    const struct json *ops = json_get(jwk, "key_ops");
    bool verifies = !ops;

    for (size_t i = 0; i < json_count(ops); i++) {
        verifies = verifies || strcmp(json_str(json_item(ops, i), ""), "verify") == 0;
    }
    return verifies && strcmp(json_str(json_get(jwk, "use"), "sig"), "sig") == 0;
}

static char *member_text(const struct json *jwk, const char *name)
{
    const char *s = json_str(json_get(jwk, name), NULL);

    return s ? mem_strdup(s) : NULL;
}

static void add_key(struct jwks *keys, const struct json *jwk)
{
    struct key k = {.pkey = NULL};

    if (is_for_signatures(jwk)) {
        k.pkey = make_key(jwk, &k.kind);
    }
    ERR_clear_error(); /* of keys that were passed over */
    if (k.pkey) {
        k.kid = member_text(jwk, "kid");
        k.alg = member_text(jwk, "alg");
        keys->keys[keys->count++] = k;
    }
}

static void free_held(struct l7_jwks *held)
{
    struct jwks *keys = container_of(held, struct jwks, held);

    for (size_t i = 0; i < keys->count; i++) {
        EVP_PKEY_free(keys->keys[i].pkey);
        mem_free(keys->keys[i].kid);
        mem_free(keys->keys[i].alg);
    }
    mem_free(keys);
}

static atomic_uint_fast64_t serials; /* given so far; sets are made on several threads */

int jwks_parse(struct jwks **out, const char *text, size_t len, struct diag *why)
{
    static const struct json_limits limits = {.bytes = JWKS_BYTES_MAX, .depth = JWT_DEPTH_MAX};
    AUTO(json) struct json *j = NULL;
    int r = json_parse(&j, text, len, &limits, why);

    if (r < 0) {
        return r;
    }
    const struct json *list = json_get(j, "keys");
    if (!json_is_arr(list)) {
        return FAIL(why, -ERR_SYNTAX, "jwks: there is no list of keys");
    }
    if (json_count(list) > JWKS_KEYS_MAX) {
        return FAIL(why, -ERR_LIMIT, "jwks: %zu keys, at most %d", json_count(list), JWKS_KEYS_MAX);
    }
    AUTO(jwks)
    struct jwks *keys = mem_alloc(sizeof(*keys) + json_count(list) * sizeof(keys->keys[0]));
    aref_init(&keys->held.refs);
    keys->held.free = free_held;
    keys->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    for (size_t i = 0; i < json_count(list); i++) {
        add_key(keys, json_item(list, i));
    }
    if (keys->count == 0) {
        return FAIL(why, -ERR_NOT_FOUND, "jwks: none of %zu keys is usable", json_count(list));
    }
    *out = MOVE(keys);
    return 0;
}

struct jwks *jwks_unref(struct jwks *keys)
{
    if (keys && aref_put(&keys->held.refs)) {
        free_held(&keys->held);
    }
    return NULL;
}

size_t jwks_count(const struct jwks *keys)
{
    return keys->count;
}

uint64_t jwks_serial(const struct jwks *keys)
{
    return keys->serial;
}

static struct l7_jwks *make_held(const char *text)
{
    struct jwks *keys = NULL;

    return jwks_parse(&keys, text, strlen(text), NULL) < 0 ? NULL : &keys->held;
}

const struct l7_jwks_maker jwks_maker = {make_held};

const struct jwks *jwks_of(struct l7_jwks *held)
{
    return held ? container_of(held, struct jwks, held) : NULL;
}

/* ---- signatures */

static const struct algorithm {
    const char *name;
    enum key_kind kind;
    const char *digest; /* NULL: the key brings its own */
    bool pss;
    size_t coordinate; /* of ECDSA: bytes of r and of s */
} algorithms[] = {
    {"RS256", KEY_RSA, "SHA256", false, 0},   {"RS384", KEY_RSA, "SHA384", false, 0},
    {"RS512", KEY_RSA, "SHA512", false, 0},   {"PS256", KEY_RSA, "SHA256", true, 0},
    {"PS384", KEY_RSA, "SHA384", true, 0},    {"PS512", KEY_RSA, "SHA512", true, 0},
    {"ES256", KEY_P256, "SHA256", false, 32}, {"ES384", KEY_P384, "SHA384", false, 48},
    {"ES512", KEY_P521, "SHA512", false, 66}, {"EdDSA", KEY_ED, NULL, false, 0},
};

static const struct algorithm *algorithm_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        if (strcmp(algorithms[i].name, name) == 0) {
            return &algorithms[i];
        }
    }
    return NULL;
}

/* r and s side by side (RFC 7518 3.4) as the DER that OpenSSL reads. The caller's (OPENSSL_free);
 * negative: not of that form. */
static int ecdsa_der(unsigned char **out, const struct jwt *t, size_t coordinate)
{
    AUTO(ecdsa_sig) ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r, *s;

    if (!sig || t->signature_len != 2 * coordinate) {
        return -ERR_SYNTAX;
    }
    r = BN_bin2bn(t->signature, (int)coordinate, NULL);
    s = BN_bin2bn(t->signature + coordinate, (int)coordinate, NULL);
    if (!r || !s || !ECDSA_SIG_set0(sig, r, s)) {
        BN_free(r);
        BN_free(s);
        return -ENOMEM;
    }
    return i2d_ECDSA_SIG(sig, out);
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct algorithm *a)
{
    return !a->pss || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
                       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0);
}

static bool is_signed_by(const struct key *k, const struct algorithm *a, const struct jwt *t)
{
    AUTO(ossl_md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *inner = NULL; /* ctx owns it */
    unsigned char *der = NULL;
    int der_len = a->coordinate > 0 ? ecdsa_der(&der, t, a->coordinate) : 0;
    bool good =
        ctx && der_len >= 0 &&
        EVP_DigestVerifyInit_ex(ctx, &inner, a->digest, NULL, NULL, k->pkey, NULL) > 0 &&
        set_padding(inner, a) &&
        EVP_DigestVerify(ctx, der ? der : t->signature, der ? (size_t)der_len : t->signature_len,
                         (const unsigned char *)t->signed_part.p, t->signed_part.len) == 1;

    OPENSSL_free(der);
    ERR_clear_error(); /* a bad signature is no error of ours */
    return good;
}

int jwks_verify(const struct jwks *keys, const struct jwt *token)
{
    const struct algorithm *a = algorithm_named(token->alg);
    bool tried = false;

    if (!a) {
        return -ERR_UNSUPPORTED;
    }
    for (size_t i = 0; i < keys->count; i++) {
        const struct key *k = &keys->keys[i];
        if (k->kind != a->kind || (k->alg && strcmp(k->alg, a->name) != 0) ||
            (k->kid && token->kid && strcmp(k->kid, token->kid) != 0)) {
            continue;
        }
        tried = true;
        if (is_signed_by(k, a, token)) {
            return 0;
        }
    }
    return tried ? -ERR_DENIED : -ERR_NOT_FOUND;
}
