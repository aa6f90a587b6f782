/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/csr.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "tls/ossl_int.h"

struct csr {
    EVP_PKEY *key;
};

/* The extension list of a request: one critical SAN. */
static bool set_names(X509_REQ *req, GENERAL_NAMES *names)
{
    STACK_OF(X509_EXTENSION) *exts = NULL;
    bool ok = X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 1, X509V3_ADD_APPEND) == 1 &&
              X509_REQ_add_extensions(req, exts) == 1;

    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    return ok;
}

static char *make_request(EVP_PKEY *key, GENERAL_NAMES *names)
{
    AUTO(ossl_req) X509_REQ *req = X509_REQ_new();
    AUTO(ossl_bio) BIO *b = BIO_new(BIO_s_mem());
    bool ok = req && b && X509_REQ_set_version(req, 0) == 1 && X509_REQ_set_pubkey(req, key) == 1 &&
              set_names(req, names) && X509_REQ_sign(req, key, EVP_sha256()) > 0 &&
              PEM_write_bio_X509_REQ(b, req) == 1;

    return ok ? pem_take_text(b) : NULL;
}

int csr_make(const char *identity, char **out_csr_pem, char **out_key_pem, struct diag *why)
{
    AUTO(ossl_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    AUTO(ossl_names) GENERAL_NAMES *names = GENERAL_NAMES_new();
    int r = key && names ? names_add_uri(names, identity) : -ENOMEM;

    if (r < 0) {
        return FAIL(why, r, "make a certificate request for %s", identity);
    }
    AUTO(text) char *request = make_request(key, names);
    char *secret = request ? pem_write_key(key) : NULL;
    if (!secret) {
        return ossl_fail(why, -ERR_TLS, "make a certificate request");
    }
    *out_csr_pem = MOVE(request);
    *out_key_pem = secret;
    return 0;
}

static X509_REQ *read_request(struct slice pem)
{
    AUTO(ossl_bio) BIO *b = pem.len <= CSR_PEM_MAX ? BIO_new_mem_buf(pem.p, (int)pem.len) : NULL;

    return b ? PEM_read_bio_X509_REQ(b, NULL, NULL, NULL) : NULL;
}

int csr_parse(struct csr **out, struct slice pem, struct diag *why)
{
    AUTO(ossl_req) X509_REQ *req = read_request(pem);
    EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;

    if (!key) {
        return ossl_fail(why, -ERR_SYNTAX, "read a certificate request");
    }
    if (!key_is_strong(key)) {
        return FAIL(why, -ERR_CERTIFICATE, "read a certificate request: weak or unknown key");
    }
    if (X509_REQ_verify(req, key) != 1) {
        return ossl_fail(why, -ERR_CERTIFICATE, "check the signature of a certificate request");
    }
    struct csr *c = mem_new(struct csr);
    c->key = X509_REQ_get_pubkey(req); /* counts a reference of its own */
    *out = c;
    return 0;
}

void csr_free(struct csr *c)
{
    if (c) {
        EVP_PKEY_free(c->key);
        mem_free(c);
    }
}

EVP_PKEY *csr_key(const struct csr *c)
{
    return c->key;
}
