/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AuthorizationPolicy to what the node proxy enforces at layer 4 (contract 4.2), and what is to be
 * said about it in its status (contract 4.6). Pure.
 *
 * The proxy's rules decide what is safe: a group without clauses matches everything, an empty match
 * matches nothing. Whatever cannot be expressed at layer 4 therefore fails closed here: an ALLOW rule
 * that holds such a thing is left out; in a DENY rule it is taken to be met, so that the rule denies
 * more than was asked for, never less.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "codec/json.h"
#include "control/mesh.h"
#include "model/policy.h"

struct policy_condition { /* ZtunnelAccepted; texts in the arena or static */
    bool is_set;          /* false: the policy is none of ours, nothing is said */
    bool status;
    const char *reason;
    const char *message;
};

/* True: *out is a template of the policy to publish, borrowed from the object and the arena. */
bool translate_policy(struct policy *out, struct policy_condition *out_condition,
                      const struct json *object, const struct mesh *mesh, struct arena *a);

/* Its annotation says so, as Go's ParseBool has it; what that does not know counts as absent (contract
 * 4.5). */
bool policy_is_dry_run(const struct json *object);
/* Whose istio.io/rev is another's (contract 1.5): the object does not exist for us. */
bool revision_is_ours(const struct json *object, const struct mesh *mesh);
