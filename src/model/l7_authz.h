/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this request go on? AuthorizationPolicy by targetRefs as one pure function: CUSTOM (for which
 * there is no provider: it denies what it matches), DENY, ALLOW. Fails closed: what cannot be
 * evaluated hits in a DENY and not in an ALLOW; a policy that could not be decoded denies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "model/l7.h"
#include "model/l7_request.h"

enum l7_authz_reason {
    L7_UNDECIDED = 0,     /* nothing was evaluated */
    L7_NO_ALLOW_POLICIES, /* allowed: no enforced ALLOW policy */
    L7_ALLOWED_BY,
    L7_DENIED_BY,
    L7_CUSTOM_DENIED_BY, /* no provider */
    L7_NOT_ALLOWED,      /* ALLOW policies, none matched */
    L7_BROKEN_POLICY,
    L7_TOKEN_HIDDEN /* tokens are to be verified, and it is the client who made it no HTTP */
};

struct l7_hit_rule {
    const struct l7_policy *policy; /* NULL: none */
    size_t rule;
};

/* What dry-run policies would do, were they the only ones. */
enum l7_dry_run { L7_DRY_NONE = 0 /* there are none */, L7_DRY_ALLOWED, L7_DRY_DENIED };

/* Borrowed from the policies. A zeroed verdict denies. */
struct l7_authz {
    bool allowed;
    enum l7_authz_reason reason;
    struct l7_hit_rule by;
    struct l7_hit_rule audit;     /* the first AUDIT policy that matched */
    struct l7_hit_rule dry_deny;  /* the first dry-run DENY that matched */
    struct l7_hit_rule dry_allow; /* the first dry-run ALLOW that matched */
    bool dry_not_allowed;         /* dry-run ALLOW policies, none matched */
    enum l7_dry_run dry_run;
    struct l7_hit_rule dry_run_by; /* that said so; none: no DENY or no ALLOW matched */
    bool unknown;                  /* something could not be evaluated */
};

/* The waypoint's policies and the service's; s may be NULL: a workload was addressed. */
struct l7_authz l7_authorize(const struct l7 *w, const struct l7_service *s,
                             const struct l7_request *q);
/* What is not HTTP: only identity, addresses, port and SNI are known. ALLOW rules that ask for more
 * match nothing, DENY rules do without it. */
struct l7_authz l7_authorize_tcp(const struct l7 *w, const struct l7_service *s,
                                 const struct l7_conn *conn);

/* "rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]", or "[none]". */
enum { L7_AUTHZ_TEXT = 640 };
const char *l7_authz_text(const struct l7_authz *v, char buf[static L7_AUTHZ_TEXT]);

/* One policy alone, whatever its action; for print-outs and tests. conn only: http false. */
bool l7_policy_matches(const struct l7_policy *p, const struct l7_request *q, bool http,
                       size_t *rule);
