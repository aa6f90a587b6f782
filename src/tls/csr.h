/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate signing requests (PKCS#10, RFC 2986) as the mesh uses them (contract 6.2): P-256,
 * ecdsa-with-SHA256, empty subject, one critical SAN with one URI. Reading one keeps only its public
 * key, after its self-signature was checked: names are never taken from a request.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { CSR_PEM_MAX = 65536 };

struct csr;

/* A request for identity and its new key, both PEM and the caller's; the key is to be freed with
 * mem_free_secret. */
MUST_USE int csr_make(const char *identity, char **out_csr_pem, char **out_key_pem,
                      struct diag *why);

/* -ERR_SYNTAX; -ERR_CERTIFICATE for a bad signature or a key that is too weak. */
MUST_USE int csr_parse(struct csr **out, struct slice pem, struct diag *why);
void csr_free(struct csr *c);
AUTO_DEFINE(csr, struct csr *, csr_free);
