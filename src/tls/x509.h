/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, certificate facts and certificate issuing. Text in, text out: no library type leaves this
 * folder. Everything here works on its arguments alone and may run on any thread; making keys and
 * signing take tens of microseconds.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { CERT_PEM_MAX = 1 << 20, CERT_CHAIN_MAX = 16, CERT_ROOTS_MAX = 256 };

/* What administrators want to know of a certificate (contract 9.6). */
struct cert_facts {
    char *identity;   /* its SPIFFE name, NULL when it has none; see spiffe_count */
    char *pem;        /* this certificate alone */
    char *serial;     /* decimal */
    char *serial_hex; /* lower case */
    int64_t not_before_s, not_after_s;
    unsigned spiffe_count; /* parsable SPIFFE names: identity is the first */
};

void cert_facts_fini(struct cert_facts *f);
/* The first certificate in a PEM text. */
MUST_USE int cert_facts_parse(struct cert_facts *out, struct slice pem, struct diag *why);

/* A new P-256 key as PKCS#8 PEM; the caller's, to be freed with mem_free_secret. */
MUST_USE int key_generate(char **out_pem, struct diag *why);

struct cert_root_spec {
    const char *organization; /* subject O, as the trust domain usually is */
    int64_t not_before_s, not_after_s;
};

/* A self-signed root for key_pem. */
MUST_USE int cert_root_make(char **out_pem, const struct cert_root_spec *spec, struct slice key_pem,
                            struct diag *why);

struct csr;
struct issuer;

/* A CA: its certificate and key. The first certificate of the text signs; it must be a CA and match
 * the key. Immutable after this, any thread. */
MUST_USE int issuer_new(struct issuer **out, struct slice cert_pem, struct slice key_pem,
                        struct diag *why);
void issuer_free(struct issuer *i);
AUTO_DEFINE(issuer, struct issuer *, issuer_free);
const struct cert_facts *issuer_facts(const struct issuer *i);

struct cert_leaf_spec {
    const char *identity;         /* URI name; may be NULL when there are DNS names */
    const char *const *dns_names; /* or IP addresses as text */
    unsigned dns_count;
    int64_t not_before_s, not_after_s;
};

/* A leaf for the public key of csr and nothing else of it. As Istio issues them: empty subject, the
 * names critical, digitalSignature and keyEncipherment critical, both EKUs, not a CA, random serial.
 * It never outlives the CA's own certificate. */
MUST_USE int issuer_issue(const struct issuer *i, const struct csr *csr,
                          const struct cert_leaf_spec *spec, char **out_pem, struct diag *why);
