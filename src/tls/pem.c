/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "tls/library.h"
#include "tls/ossl_int.h"
#include "tls/x509.h"

int ossl_fail(struct diag *why, int code, const char *doing)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    int r = FAIL(why, code, "%s%s%s", doing, reason ? ": " : "", reason ? reason : "");

    ERR_clear_error();
    return r;
}

static int no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *arg UNUSED)
{
    return -1;
}

static BIO *reader(struct slice pem)
{
    return pem.len <= CERT_PEM_MAX ? BIO_new_mem_buf(pem.p, (int)pem.len) : NULL;
}

int pem_read_key(EVP_PKEY **out, struct slice pem, struct diag *why)
{
    AUTO(ossl_bio) BIO *b = reader(pem);
    EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;

    if (!k) {
        return ossl_fail(why, -ERR_SYNTAX, "read a private key");
    }
    *out = k;
    return 0;
}

/* No further block is the only good end. */
static bool ended_well(void)
{
    unsigned long e = ERR_peek_last_error();
    bool ok = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;

    if (ok) {
        ERR_clear_error();
    }
    return ok;
}

/* NULL at the end or for a bad block. */
static X509 *read_cert(BIO *b)
{
    X509 *x = X509_new_ex(tls_library(), NULL);

    if (x && !PEM_read_bio_X509(b, &x, no_passphrase, NULL)) {
        X509_free(x);
        x = NULL;
    }
    return x;
}

static int read_certs(STACK_OF(X509) * list, BIO *b, int max, const char *what, struct diag *why)
{
    X509 *x = NULL;

    while ((x = read_cert(b))) {
        if (sk_X509_push(list, x) == 0) {
            X509_free(x);
            return FAIL(why, -ENOMEM, "read %s", what);
        }
        if (sk_X509_num(list) > max) {
            return FAIL(why, -ERR_TOO_LARGE, "read %s: more than %d certificates", what, max);
        }
    }
    return 0;
}

int pem_read_certs(STACK_OF(X509) * *out, struct slice pem, int max, const char *what,
                   struct diag *why)
{
    AUTO(ossl_bio) BIO *b = reader(pem);
    AUTO(ossl_certs) STACK_OF(X509) *list = sk_X509_new_null();

    if (!b || !list) {
        return FAIL(why, -ERR_TOO_LARGE, "read %s: no more than %d bytes", what, CERT_PEM_MAX);
    }
    ERR_clear_error();
    int r = read_certs(list, b, max, what, why);
    if (r < 0) {
        return r;
    }
    if (!ended_well()) {
        return ossl_fail(why, -ERR_SYNTAX, what);
    }
    if (sk_X509_num(list) == 0) {
        return FAIL(why, -ERR_SYNTAX, "read %s: no certificate in it", what);
    }
    *out = MOVE(list);
    return 0;
}

char *pem_take_text(BIO *b)
{
    char *p = NULL;
    long len = BIO_get_mem_data(b, &p);

    return len > 0 ? mem_dup(p, (size_t)len) : NULL;
}

char *pem_write_cert(X509 *x)
{
    AUTO(ossl_bio) BIO *b = BIO_new(BIO_s_mem());

    return b && PEM_write_bio_X509(b, x) == 1 ? pem_take_text(b) : NULL;
}

char *pem_write_key(EVP_PKEY *k)
{
    AUTO(ossl_bio) BIO *b = BIO_new(BIO_s_mem()); /* its memory is cleared when it is freed */
    bool ok = b && PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1;

    return ok ? pem_take_text(b) : NULL;
}
