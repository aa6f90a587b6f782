/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel switches that capture rules need inside a pod, and what they were before: whoever had
 * one set finds it set when the rules are gone. What was set is kept in the namespace itself, in the
 * name of an empty table, so another agent knows it too. That table comes before anything else and goes
 * last: whoever was killed in between left it behind, for the next one to put everything right.
 * Acts on the namespace the calling thread is in. Blocking: job threads only.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

enum { RULES_SWITCHES = 4 };

struct nl_batch;

struct rules_before {
    bool is_ours; /* a table of ours is there: they may be as our rules need them */
    bool is_kept; /* there is a table that keeps them */
    bool was_set[RULES_SWITCHES];
};

/* is_ours: was_set is what the kept table says, else it is what is set now. */
MUST_USE int rules_before_read_blocking(struct rules_before *out, struct diag *why);
/* Keeps what is set, then sets all. */
MUST_USE int rules_before_set_blocking(struct rules_before *b, struct diag *why);
/* Takes back what we set. Nothing when the switches are not ours. */
MUST_USE int rules_before_restore_blocking(const struct rules_before *b, struct diag *why);
/* The last that is to be done, in one transaction with whatever else goes. */
void rules_before_forget(const struct rules_before *b, struct nl_batch *batch);
