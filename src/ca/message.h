/* SPDX-License-Identifier: Apache-2.0 */
/* The two messages of CreateCertificate (contract 6.1), both directions of each. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* impersonate NULL: no metadata. */
MUST_USE int cert_request_pack(struct bytes *out, const char *csr_pem, int64_t ttl_s,
                               const char *impersonate);

struct cert_request {
    char *csr_pem;
    int64_t ttl_s;
    char *impersonate; /* NULL: for the caller itself */
};
MUST_USE int cert_request_unpack(struct cert_request *out, const void *message, size_t len,
                                 struct diag *why);
void cert_request_fini(struct cert_request *r);
static inline void cert_request_release(struct cert_request r)
{
    cert_request_fini(&r);
}
AUTO_DEFINE(cert_request, struct cert_request, cert_request_release);

struct cert_chain_text {
    char *chain_pem; /* leaf and intermediates: the first block of each element but the last */
    char *roots_pem; /* the last element */
};
/* -ERR_CERTIFICATE for a chain without certificate or without root. */
MUST_USE int cert_response_unpack(struct cert_chain_text *out, const void *message, size_t len,
                                  struct diag *why);
void cert_chain_text_fini(struct cert_chain_text *c);

/* chain: count PEM texts, leaf first, roots last. */
MUST_USE int cert_response_pack(struct bytes *out, const char *const *chain, size_t count);
