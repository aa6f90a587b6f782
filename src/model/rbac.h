/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this connection enter this workload? Layer-4 authorization, contract 4.3-4.5, as one pure
 * function: the proxy, `ambit why`, simulations and tests call the same one. Two deliberate
 * differences from the contract fail closed: a policy that the workload names but the world does
 * not know is not skipped, and a policy that could not be decoded denies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/ip.h"
#include "model/identity.h"
#include "model/policy.h"
#include "model/world.h"

/* What is known about the connection. Addresses are canonical (contract 3.1). */
struct rbac_conn {
    struct endpoint src;         /* TCP peer */
    struct endpoint dst;         /* after port resolution and application tunnel */
    const struct identity *peer; /* NULL: no identity (plaintext) */
};

enum rbac_outcome {
    RBAC_DENY = 0, /* a zeroed verdict denies */
    RBAC_ALLOW,
    RBAC_HOLD /* the answer depends on a policy not known yet: wait a little, then deny */
};

enum rbac_reason {
    RBAC_UNDECIDED = 0,     /* nothing was evaluated */
    RBAC_NO_ALLOW_POLICIES, /* allowed: no enforced ALLOW policy applies */
    RBAC_ALLOWED_BY,        /* policy: the ALLOW policy that matched */
    RBAC_DENIED_BY,         /* policy: the DENY policy that matched */
    RBAC_NOT_ALLOWED,       /* ALLOW policies apply, none matched */
    RBAC_BROKEN,            /* policy: could not be decoded */
    RBAC_UNKNOWN            /* missing: named by the workload, not in the world */
};

/* Pointers are borrowed from the world and the workload. */
struct rbac_verdict {
    enum rbac_outcome outcome;
    enum rbac_reason reason;
    const struct policy *policy;
    const char *missing;            /* "namespace/name" for RBAC_UNKNOWN */
    const struct policy *dry_deny;  /* a dry-run DENY policy that matched, or NULL */
    const struct policy *dry_allow; /* a dry-run ALLOW policy that matched, or NULL */
    bool dry_not_allowed;           /* dry-run ALLOW policies apply, none matched */
};

struct rbac_verdict rbac_decide(const struct world *w, const struct workload *dst,
                                const struct rbac_conn *conn);
/* One policy alone, whatever its scope and action; a broken one never matches. */
bool rbac_policy_matches(const struct policy *p, const struct rbac_conn *conn);

/* "explicitly denied by: ns/name", "allow policies exist, but none allowed", ... (contract 4.5). */
enum { RBAC_TEXT = 640 };
const char *rbac_verdict_text(const struct rbac_verdict *v, char buf[static RBAC_TEXT]);
