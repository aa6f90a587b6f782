/* SPDX-License-Identifier: Apache-2.0 */
/* The query parameters that API calls know. Unknown ones are ignored, as Kubernetes does. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct query {
    /* "" when absent */
    char *label_selector;
    char *field_selector;
    char *continue_token;
    char *resource_version;
    char *version_match;
    char *field_manager;
    char *field_validation;
    char *dry_run;
    char *include_object;
    char *propagation;
    bool watch;
    bool bookmarks;
    bool initial_events;
    bool has_initial_events;
    bool force;
    bool pretty;
    bool has_grace;
    int64_t grace_s;
    int64_t limit; /* 0 = none */
    int64_t timeout_s;
};

/* Out of the raw query. -ERR_SYNTAX: a broken escape or a number that is none. */
MUST_USE int query_parse(struct slice text, struct diag *why, struct query *out);
void query_fini(struct query *q);
