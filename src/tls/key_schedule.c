/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/key_schedule.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#include "base/mem.h"
#include "tls/library.h"
#include "tls/record.h"

enum { PARAM_COUNT = 6, LABEL_OUT_MAX = 64 };

static OSSL_PARAM text_param(const char *key, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(key, (char *)(uintptr_t)value, 0);
}

static OSSL_PARAM octet_param(const char *key, const void *value, size_t len)
{
    return OSSL_PARAM_construct_octet_string(key, (void *)(uintptr_t)value, len);
}

int key_expand_label(enum aead_kind kind, const uint8_t *secret, const char *label, uint8_t *out,
                     size_t out_len)
{
    uint8_t derived[LABEL_OUT_MAX];
    OSSL_PARAM params[PARAM_COUNT] = {
        text_param(OSSL_KDF_PARAM_MODE, "EXPAND_ONLY"),
        text_param(OSSL_KDF_PARAM_DIGEST, kind == AEAD_AES_128_GCM ? "SHA256" : "SHA384"),
        octet_param(OSSL_KDF_PARAM_KEY, secret, record_secret_bytes(kind)),
        octet_param(OSSL_KDF_PARAM_PREFIX, "tls13 ", 6),
        octet_param(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(tls_library(), OSSL_KDF_NAME_TLS1_3_KDF, NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok =
        ctx && out_len <= sizeof(derived) && EVP_KDF_derive(ctx, derived, out_len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    if (ok) {
        memcpy(out, derived, out_len);
    }
    mem_wipe(derived, sizeof(derived));
    return ok ? 0 : -ERR_TLS;
}
