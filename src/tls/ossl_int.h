/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's types under our ownership rules, and its error queue as our errors. */
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/str.h"

AUTO_DEFINE(ossl_bio, BIO *, BIO_free_all);
AUTO_DEFINE(ossl_key, EVP_PKEY *, EVP_PKEY_free);
AUTO_DEFINE(ossl_key_ctx, EVP_PKEY_CTX *, EVP_PKEY_CTX_free);
AUTO_DEFINE(ossl_cert, X509 *, X509_free);
AUTO_DEFINE(ossl_req, X509_REQ *, X509_REQ_free);
AUTO_DEFINE(ossl_names, GENERAL_NAMES *, GENERAL_NAMES_free);

static inline void certs_free(STACK_OF(X509) * s)
{
    sk_X509_pop_free(s, X509_free);
}
AUTO_DEFINE(ossl_certs, STACK_OF(X509) *, certs_free);

/* Like FAIL, with the library's own reason behind the text; empties the library's queue. */
int ossl_fail(struct diag *why, int code, const char *doing);

/* A key in PEM; never asks a terminal for a passphrase. */
MUST_USE int pem_read_key(EVP_PKEY **out, struct slice pem, struct diag *why);
/* 1 to max certificates; what names them in errors. */
MUST_USE int pem_read_certs(STACK_OF(X509) * *out, struct slice pem, int max, const char *what,
                            struct diag *why);
/* Both NULL on failure, which only want of memory can cause. */
char *pem_write_cert(X509 *x);
char *pem_write_key(EVP_PKEY *k);
/* What was written to a memory BIO, as the caller's own text. */
char *pem_take_text(BIO *b);

struct spiffe_names {
    char *first;    /* the first parsable SPIFFE name, NULL when there is none; the caller's */
    unsigned count; /* names with the SPIFFE scheme, parsable or not */
};
/* -ERR_CERTIFICATE when the SAN extension is malformed or given twice. */
MUST_USE int cert_spiffe_names(struct spiffe_names *out, X509 *x);

struct cert_facts;
MUST_USE int cert_facts_of(struct cert_facts *out, X509 *x, struct diag *why);
char *cert_serial_hex(X509 *x);
/* Seconds since 1970; valid is what is not before the first and before the second. */
MUST_USE int cert_times(X509 *x, int64_t *not_before_s, int64_t *not_after_s);

/* Builders of certificates and requests. The list is the caller's; -ERR_RANGE for a name that is
 * empty or not ASCII. */
MUST_USE int names_add_uri(GENERAL_NAMES *names, const char *uri);
MUST_USE int names_add_host(GENERAL_NAMES *names, const char *host);
/* A key that may be certified: P-256 and up, RSA from 2048 bits, Ed25519. */
bool key_is_strong(const EVP_PKEY *k);
/* The digest that goes with a signing key; NULL for Ed25519. */
const EVP_MD *key_digest(const EVP_PKEY *k);

/* The public key of a request; borrowed. */
struct csr;
EVP_PKEY *csr_key(const struct csr *c);
