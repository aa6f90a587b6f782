/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPIFFE names of the mesh, spiffe://<trust domain>/ns/<namespace>/sa/<service account>
 * (contract 2.1.1): exactly five segments after the scheme, the second "ns", the fourth "sa"; empty
 * segments are accepted. Two names are equal when their texts are.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { SPIFFE_URI_MAX = 2048 };

struct spiffe { /* slices of the text that was parsed */
    struct slice trust_domain;
    struct slice ns;
    struct slice sa;
};

/* -ERR_SYNTAX, also for an embedded zero byte and for a text over SPIFFE_URI_MAX. */
MUST_USE int spiffe_parse(struct spiffe *out, struct slice uri);
