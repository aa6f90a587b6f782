/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens and key sets. What parses is put together again from its parts; no token that was not made
 * with the key of this process is genuine. The first byte says what the rest is: a token, a key set,
 * or claims to be signed here, where a token must verify and a changed one must not.
 */
#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/mem.h"
#include "codec/base64.h"
#include "tls/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *signer;
static struct jwks *keys;

static void make_keys(void)
{
    AUTO(strbuf) struct strbuf set = {0};
    uint8_t x[32];
    size_t len = sizeof(x);

    signer = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert(signer && EVP_PKEY_get_raw_public_key(signer, x, &len) == 1);
    strbuf_puts(&set, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
    base64url_encode(&set, x, len);
    strbuf_puts(&set, "\"}]}");
    assert(jwks_parse(&keys, set.p, set.len, NULL) == 0);
}

static void try_token(struct slice in)
{
    struct jwt t = {.header = NULL};

    if (jwt_parse(&t, in, NULL) == 0) {
        AUTO(strbuf) struct strbuf again = {0};
        strbuf_add(&again, t.signed_part.p, t.signed_part.len);
        strbuf_putc(&again, '.');
        base64url_encode(&again, t.signature, t.signature_len);
        assert(again.len == in.len && memcmp(again.p, in.p, in.len) == 0);
        assert(json_is_obj(t.header) && json_is_obj(t.claims) && t.alg);
        assert(jwks_verify(keys, &t) < 0);
        (void)jwt_time_check(&t, 1000);
    }
    jwt_fini(&t);
}

static void try_keys(struct slice in)
{
    AUTO(jwks) struct jwks *parsed = NULL;
    static const char token[] = "eyJhbGciOiJFZERTQSJ9.e30.AAAA";
    struct jwt t = {.header = NULL};

    assert(jwt_parse(&t, slice_of(token), NULL) == 0);
    if (jwks_parse(&parsed, in.p, in.len, NULL) == 0) {
        assert(jwks_count(parsed) > 0 && jwks_count(parsed) <= JWKS_KEYS_MAX);
        assert(jwks_verify(parsed, &t) < 0);
    }
    jwt_fini(&t);
}

static void sign(struct strbuf *token)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[64];
    size_t len = sizeof(sig);

    assert(EVP_DigestSignInit(ctx, NULL, NULL, NULL, signer) == 1);
    assert(EVP_DigestSign(ctx, sig, &len, (const uint8_t *)token->p, token->len) == 1);
    EVP_MD_CTX_free(ctx);
    strbuf_putc(token, '.');
    base64url_encode(token, sig, len);
}

static void try_claims(struct slice in)
{
    AUTO(strbuf) struct strbuf token = {0};
    struct jwt t = {.header = NULL};

    strbuf_puts(&token, "eyJhbGciOiJFZERTQSJ9.");
    base64url_encode(&token, in.p, in.len);
    sign(&token);
    if (jwt_parse(&t, (struct slice){token.p, token.len}, NULL) == 0) {
        assert(jwks_verify(keys, &t) == 0);
        t.signature[0] ^= 1;
        assert(jwks_verify(keys, &t) < 0);
        (void)jwt_time_check(&t, 1000);
    }
    jwt_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!keys) {
        make_keys();
    }
    if (size == 0) {
        return 0;
    }
    struct slice in = {(const char *)data + 1, size - 1};
    switch (data[0] % 3) {
    case 0:
        try_token(in);
        break;
    case 1:
        try_keys(in);
        break;
    default:
        try_claims(in);
    }
    return 0;
}
