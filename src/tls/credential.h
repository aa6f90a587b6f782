/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a workload proves itself with, and whom it believes: a certificate chain with its signer, and
 * the roots that came with it (contract 6.1: the trust store of both directions). Immutable and
 * counted; any thread, any number of handshakes at once. A trust is the second half alone.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "tls/signer.h"
#include "tls/x509.h"

struct trust;

/* One or more certificates in PEM, at most CERT_ROOTS_MAX. */
MUST_USE int trust_new(struct trust **out, struct slice roots_pem, struct diag *why);
struct trust *trust_ref(struct trust *t);
struct trust *trust_unref(struct trust *t); /* NULL */
AUTO_DEFINE(trust, struct trust *, trust_unref);
unsigned trust_count(const struct trust *t);
const struct cert_facts *trust_facts(const struct trust *t, unsigned at);

struct credential;

struct credential_source {
    struct slice chain_pem; /* leaf, then intermediates; at most CERT_CHAIN_MAX */
    struct slice roots_pem;
    struct slice key_pem;  /* makes a local signer, or: */
    struct signer *signer; /* borrowed; a reference is taken */
};

/* The key must be the leaf's. A leaf with more than one SPIFFE name is refused. */
MUST_USE int credential_new(struct credential **out, const struct credential_source *source,
                            struct diag *why);
struct credential *credential_ref(struct credential *c);
struct credential *credential_unref(struct credential *c); /* NULL */
AUTO_DEFINE(credential, struct credential *, credential_unref);

/* The leaf's SPIFFE name; NULL when it has none (a server certificate of a control plane). */
const char *credential_identity(const struct credential *c);
unsigned credential_chain_count(const struct credential *c); /* leaf included */
/* 0 is the leaf. */
const struct cert_facts *credential_chain_facts(const struct credential *c, unsigned at);
/* The roots; borrowed. */
struct trust *credential_trust(const struct credential *c);
