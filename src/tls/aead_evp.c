/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's AES-GCM. The key is expanded once; a record costs a nonce, two updates and a final. */
#include <limits.h>
#include <openssl/evp.h>

#include "base/mem.h"
#include "tls/aead_int.h"

struct aead_evp {
    struct aead base;
    EVP_CIPHER_CTX *ctx;
};

static struct aead_evp *of(struct aead *a)
{
    return container_of(a, struct aead_evp, base);
}

static void evp_free(struct aead *a)
{
    EVP_CIPHER_CTX_free(of(a)->ctx); /* clears the key schedule */
    mem_free(of(a));
}

static bool fits_int(const struct aead_text *t)
{
    return t->len <= INT_MAX && t->aad_len <= INT_MAX;
}

static int evp_seal(struct aead *a, const struct aead_text *t, uint8_t tag[AEAD_TAG_BYTES])
{
    EVP_CIPHER_CTX *c = of(a)->ctx;
    int n = 0;

    bool ok = fits_int(t) && EVP_EncryptInit_ex(c, NULL, NULL, NULL, t->nonce) == 1 &&
              EVP_EncryptUpdate(c, NULL, &n, t->aad, (int)t->aad_len) == 1 &&
              EVP_EncryptUpdate(c, t->data, &n, aead_from(t), (int)t->len) == 1 &&
              EVP_EncryptFinal_ex(c, t->data + t->len, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, tag) == 1;
    return ok ? 0 : -ERR_TLS;
}

static int evp_open(struct aead *a, const struct aead_text *t, const uint8_t tag[AEAD_TAG_BYTES])
{
    EVP_CIPHER_CTX *c = of(a)->ctx;
    int n = 0;

    /* The final call compares the tags in constant time. The control call only reads the tag. */
    bool ok = fits_int(t) && EVP_DecryptInit_ex(c, NULL, NULL, NULL, t->nonce) == 1 &&
              EVP_DecryptUpdate(c, NULL, &n, t->aad, (int)t->aad_len) == 1 &&
              EVP_DecryptUpdate(c, t->data, &n, aead_from(t), (int)t->len) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES,
                                  (void *)(uintptr_t)tag) == 1 &&
              EVP_DecryptFinal_ex(c, t->data + t->len, &n) == 1;
    return ok ? 0 : -ERR_TLS_RECORD;
}

static const struct aead_ops evp_ops = {.free = evp_free, .seal = evp_seal, .open = evp_open};

int aead_evp_new(struct aead **out, enum aead_kind kind, const uint8_t *key, struct diag *why)
{
    const EVP_CIPHER *cipher = kind == AEAD_AES_128_GCM ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (!ctx || EVP_EncryptInit_ex(ctx, cipher, NULL, key, NULL) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return FAIL(why, -ERR_TLS, "set up AES-GCM");
    }
    struct aead_evp *e = mem_new(struct aead_evp);
    *e = (struct aead_evp){.base.ops = &evp_ops, .ctx = ctx};
    *out = &e->base;
    return 0;
}
