/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate authority of a mesh: a self-signed root on disk and what it issues. The root's key
 * stays in this process and in one file of mode 0600. Issuing is pure computation on immutable state:
 * any thread, several at once.
 */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "model/identity.h"
#include "tls/x509.h"

enum {
    CA_ROOT_YEARS = 10,
    CA_LEAF_MAX_S = 90 * 86400, /* as istiod's default maximum; more is refused, not shortened */
    CA_LEAF_DEFAULT_S = 86400,
    CA_CLOCK_SKEW_S = 120 /* notBefore is this much in the past, as istiod's */
};

struct authority;

/* Reads ca-cert.pem and ca-key.pem in folder, or makes them (mode 0600) when neither exists; half a
 * pair is an error. trust_domain becomes the root's organisation. Blocks: program start. */
MUST_USE int authority_open_blocking(struct authority **out, const char *folder,
                                     const char *trust_domain, struct diag *why);
void authority_free(struct authority *a);
AUTO_DEFINE(authority, struct authority *, authority_free);

const char *authority_root_pem(const struct authority *a);
const struct cert_facts *authority_facts(const struct authority *a);

/* A server certificate and its new key, for the control plane's own listeners. names are DNS names or
 * addresses. Texts are the caller's. */
MUST_USE int authority_issue_server(const struct authority *a, const char *const *names,
                                    unsigned count, char **out_chain_pem, char **out_key_pem,
                                    struct diag *why);

/* One CreateCertificate exchange after the caller was authenticated (contract 6.1, 6.6): the names come
 * from identity alone, the CSR gives only its key. ttl_s 0: the default. Appends the response message. */
MUST_USE int authority_sign(const struct authority *a, const char *csr_pem,
                            const struct identity *identity, int64_t ttl_s, struct bytes *out,
                            struct diag *why);
