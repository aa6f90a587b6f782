/* SPDX-License-Identifier: Apache-2.0 */
/* Which records of a node's ring have not been shown yet: rings are asked again and again, and each
 * answer repeats most of the one before. */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "cli/command.h"

struct json;
struct log_tail;

struct log_tail *log_tail_new(void);
void log_tail_free(struct log_tail *t);
AUTO_DEFINE(log_tail, struct log_tail *, log_tail_free);

/* The records of this node's answer that its answer before did not have; the caller's. */
struct json *log_tail_take(struct log_tail *t, const char *node, const struct json *records);
/* Since the last call of this function, an answer had nothing in common with the one before. */
bool log_tail_has_lost(struct log_tail *t);

/* Adds to rows the connections that have ended at node proxies and were not told before. ANSWER_UNKNOWN
 * (said already): no proxy, or not each, has answered. */
enum answer log_tail_nodes_blocking(struct log_tail *t, struct cli *c, struct json *rows);

/* Shows what is new, once. */
typedef enum answer log_show_fn(struct cli *c, struct log_tail *t);
/* Calls show once; with --follow again and again, until it fails or nobody reads any more. */
enum answer log_follow_blocking(struct cli *c, log_show_fn *show);
