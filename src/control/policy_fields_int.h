/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of one rule of an AuthorizationPolicy, and what became of them. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "codec/json.h"
#include "model/policy.h"

enum { POLICY_UNKNOWN_MAX = 32 }; /* different attributes named in a status */

struct policy_build {
    struct arena *arena;
    enum policy_action action;
    const struct mesh *mesh;
    const char *ns;        /* of the policy */
    bool rule_is_lossy;    /* the rule under way holds what layer 4 cannot express */
    const char *bad_value; /* the first value that cannot be read, by its field; NULL: none */
    size_t rule;           /* the entry under way: spec.rules[rule].list[at] */
    const char *list;
    size_t at;
    const char *unknown[POLICY_UNKNOWN_MAX]; /* attributes of layer 7, each once */
    unsigned unknown_count;
};

/* Each fills the match of one entry; it stays empty (matches nothing) where an ALLOW cannot be held to
 * all that was written. True: a DENY to which nothing of the entry is left, so that everything meets
 * it. */
bool policy_operation_read(struct policy_build *b, const struct json *entry,
                           struct policy_match *out);
bool policy_source_read(struct policy_build *b, const struct json *entry, struct policy_match *out);
bool policy_condition_read(struct policy_build *b, const struct json *entry,
                           struct policy_match *out);
