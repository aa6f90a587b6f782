/* SPDX-License-Identifier: Apache-2.0 */
/* What the handshake needs of credentials, as OpenSSL's types. All borrowed. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tls/credential.h"

X509 *credential_leaf(const struct credential *c);
STACK_OF(X509) * credential_intermediates(const struct credential *c);
/* Signs through the credential's signer. */
EVP_PKEY *credential_key(const struct credential *c);
/* NULL when the leaf has no SPIFFE name. */
const char *credential_trust_domain(const struct credential *c);

X509_STORE *trust_store(const struct trust *t);
/* A SHA-256 that stands for all roots in their order. */
enum { DIGEST_BYTES = 32 };
const uint8_t *trust_digest(const struct trust *t);
/* The roots' subjects, for CertificateRequest. */
STACK_OF(X509_NAME) * trust_subjects(const struct trust *t);

/* An OpenSSL key with the public half of public that signs by s, which must outlive it. */
MUST_USE int signer_key_new(EVP_PKEY **out, const EVP_PKEY *public, struct signer *s,
                            struct diag *why);
