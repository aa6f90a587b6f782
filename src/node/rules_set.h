/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of the rule set as batches of messages, and whether a kernel's answer says the same.
 * Pure; for rules.c and its tests. */
#pragma once

#include <stdbool.h>

#include "node/nl_batch.h"
#include "node/nl_read.h"
#include "node/rules.h"

#define RULES_TABLE "ambit"

/* Table, chains and rules of a capturing pod. exclusive: fails if the table is there. */
void rules_set_capture(struct nl_batch *b, const struct rules *rules, bool exclusive);
/* From a capturing to a leaving pod, in place: the chains stay. */
void rules_set_leave(struct nl_batch *b, const struct rules *rules);
/* The whole of a leaving pod's table, for comparing. */
void rules_set_left(struct nl_batch *b, const struct rules *rules);

/* Is everything that want says in got too, with the same values and as often? A kernel's answer may
 * say more. Both are attributes behind the fixed part. */
bool rules_set_says(struct nl_reader want, struct nl_reader got);
