/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workload identity: trust domain, namespace, service account, and the SPIFFE URI made of them
 * (contract 2.1.1). Immutable and counted across threads; always handled through const pointers.
 * Whether a certificate proves an identity is decided in tls/, not here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ref.h"

enum { IDENTITY_URI_MAX = 2048 }; /* bytes of a URI that identity_parse reads */

struct identity {
    struct aref refs;
    const char *uri;       /* "spiffe://" trust_domain "/ns/" ns "/sa/" service_account */
    const char *principal; /* uri without "spiffe://": what policies compare with (contract 4.3) */
    const char *trust_domain;
    const char *ns;
    const char *service_account;
};

/* Parts are taken as they are, empty ones too. */
const struct identity *identity_new(const char *trust_domain, const char *ns,
                                    const char *service_account);
/* The caller's on success. -ERR_SYNTAX: not spiffe://TD/ns/NS/sa/SA. -ERR_TOO_LARGE. */
MUST_USE int identity_parse(const struct identity **out, const char *uri, size_t len,
                            struct diag *why);
const struct identity *identity_ref(const struct identity *id);   /* NULL stays NULL */
const struct identity *identity_unref(const struct identity *id); /* returns NULL */
AUTO_DEFINE(identity, const struct identity *, identity_unref);

/* All three parts equal. NULL equals nothing, not even NULL: "no identity" is nobody. */
bool identity_equal(const struct identity *a, const struct identity *b);
/* Keyed by the process' random seed (base/map.h). */
uint64_t identity_hash(const struct identity *id);
