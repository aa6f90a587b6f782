/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signer in the shape that libssl wants: an EC key that has only its public half and whose signing
 * is ours. OpenSSL 3 calls this interface deprecated, but its replacement, a provider, would be
 * several times this code; everything that knows about it is in this file.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <pthread.h>

#include "tls/credential_int.h"
#include "tls/ossl_int.h"

/* Made once and constant afterwards; the library wants them for the life of the process. */
static EC_KEY_METHOD *method;
static int signer_index = -1;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

enum { POINT_MAX = 256 };

static int on_sign(int type UNUSED, const unsigned char *digest, int digest_len,
                   unsigned char *signature, unsigned int *signature_len, const BIGNUM *kinv UNUSED,
                   const BIGNUM *rp UNUSED, EC_KEY *key)
{
    uint8_t made[SIGNER_SIGNATURE_MAX];
    struct signer *s = EC_KEY_get_ex_data(key, signer_index);

    ssize_t n = s ? signer_sign_blocking(s, digest, (size_t)digest_len, made) : -ERR_TLS;
    if (n <= 0 || n > ECDSA_size(key)) {
        return 0;
    }
    memcpy(signature, made, (size_t)n);
    *signature_len = (unsigned)n;
    return 1;
}

static void make_method(void)
{
    method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    if (method) {
        EC_KEY_METHOD_set_sign(method, on_sign, NULL, NULL);
    }
    signer_index = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static EC_KEY *key_with_signer(int curve, const uint8_t *point, size_t len, struct signer *s)
{
    EC_KEY *k = EC_KEY_new_by_curve_name(curve);
    bool ok = k && EC_KEY_oct2key(k, point, len, NULL) == 1 && EC_KEY_set_method(k, method) == 1 &&
              EC_KEY_set_ex_data(k, signer_index, s) == 1;

    if (!ok) {
        EC_KEY_free(k);
        return NULL;
    }
    return k;
}

int signer_key_new(EVP_PKEY **out, const EVP_PKEY *public, struct signer *s, struct diag *why)
{
    char curve[64] = "";
    uint8_t point[POINT_MAX];
    size_t len = 0;

    (void)pthread_once(&method_once, make_method); /* fails only for a bad argument */
    bool ok = method && signer_index >= 0 && EVP_PKEY_is_a(public, "EC") &&
              EVP_PKEY_get_group_name(public, curve, sizeof(curve), NULL) == 1 &&
              EVP_PKEY_get_octet_string_param(public, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
                                              &len) == 1;
    EC_KEY *k = ok ? key_with_signer(OBJ_sn2nid(curve), point, len, s) : NULL;
    AUTO(ossl_key) EVP_PKEY *pkey = k ? EVP_PKEY_new() : NULL;
    ok = pkey && EVP_PKEY_set1_EC_KEY(pkey, k) == 1;
    EC_KEY_free(k);
    if (!ok) {
        return ossl_fail(why, -ERR_UNSUPPORTED, "use a certificate whose key is not an EC key");
    }
    *out = MOVE(pkey);
    return 0;
}
