/* SPDX-License-Identifier: Apache-2.0 */
/* Which records of a node's ring have not been shown yet: rings are asked again and again, and each
 * answer repeats most of the one before. Pure. */
#pragma once

#include <stdbool.h>

#include "base/auto.h"

struct json;
struct log_tail;

struct log_tail *log_tail_new(void);
void log_tail_free(struct log_tail *t);
AUTO_DEFINE(log_tail, struct log_tail *, log_tail_free);

/* The records of this node's answer that its answer before did not have; the caller's. */
struct json *log_tail_take(struct log_tail *t, const char *node, const struct json *records);
/* Since the last call of this function, an answer had nothing in common with the one before. */
bool log_tail_has_lost(struct log_tail *t);
