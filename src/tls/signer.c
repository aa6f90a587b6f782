/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/signer.h"

#include "base/mem.h"
#include "tls/ossl_int.h"

void signer_init(struct signer *s, const struct signer_ops *ops)
{
    s->ops = ops;
    aref_init(&s->refs);
}

struct signer *signer_ref(struct signer *s)
{
    aref_get(&s->refs);
    return s;
}

struct signer *signer_unref(struct signer *s)
{
    if (s && aref_put(&s->refs)) {
        s->ops->destroy(s);
    }
    return NULL;
}

ssize_t signer_sign_blocking(struct signer *s, const uint8_t *digest, size_t digest_len,
                             uint8_t out[SIGNER_SIGNATURE_MAX])
{
    return s->ops->sign_blocking(s, digest, digest_len, out);
}

struct signer_local {
    struct signer base;
    EVP_PKEY *key;
};

static struct signer_local *of(struct signer *s)
{
    return container_of(s, struct signer_local, base);
}

static ssize_t local_sign_blocking(struct signer *s, const uint8_t *digest, size_t digest_len,
                                   uint8_t out[SIGNER_SIGNATURE_MAX])
{
    AUTO(ossl_key_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(of(s)->key, NULL);
    size_t len = SIGNER_SIGNATURE_MAX;
    bool ok = ctx && EVP_PKEY_sign_init(ctx) == 1 &&
              EVP_PKEY_sign(ctx, out, &len, digest, digest_len) == 1;

    return ok ? (ssize_t)len : -ERR_TLS;
}

static void local_destroy(struct signer *s)
{
    EVP_PKEY_free(of(s)->key); /* clears the key */
    mem_free(of(s));
}

static const struct signer_ops local_ops = {.sign_blocking = local_sign_blocking,
                                            .destroy = local_destroy};

int signer_local_new(struct signer **out, struct slice key_pem, struct diag *why)
{
    AUTO(ossl_key) EVP_PKEY *key = NULL;
    int r = pem_read_key(&key, key_pem, why);

    if (r < 0) {
        return r;
    }
    if (!EVP_PKEY_is_a(key, "EC") || !key_is_strong(key)) {
        return FAIL(why, -ERR_UNSUPPORTED, "use a private key that is not P-256, P-384 or P-521");
    }
    struct signer_local *l = mem_new(struct signer_local);
    signer_init(&l->base, &local_ops);
    l->key = MOVE(key);
    *out = &l->base;
    return 0;
}
