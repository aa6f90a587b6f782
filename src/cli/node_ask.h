/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to nodes: to a proxy's admin endpoint, to an agent's socket. Block until a deadline. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/finding.h"

struct cli;
struct row_column;
struct json;
struct node_where;

/* A page of the node proxy, parsed; the caller's. -ERR_UNSUPPORTED: it has no such page. */
MUST_USE int node_page_blocking(const struct node_where *n, const char *path, uint64_t limit_ms,
                                struct json **out, struct diag *why);
/* "ready" or what it waits for, on 15021 (contract 1.8): 1 ready, 0 not; text is the caller's. */
MUST_USE int node_ready_blocking(const struct node_where *n, uint64_t limit_ms, char **out_text,
                                 struct diag *why);

/* What nodes_find_blocking could not do: wrong usage, or cannot tell. */
enum answer nodes_fail(struct cli *c, const struct diag *why);
/* The page of every node that the command's options name: an object by node name, the caller's. Who
 * does not answer is said on standard error. ANSWER_UNKNOWN: not all did; ANSWER_USAGE: no such
 * node. *out is set in any case. */
enum answer nodes_page_blocking(struct cli *c, const char *path, struct json **out);

/* ANSWER_NO, said on standard error, when names were given and rows has none of them although all
 * nodes have answered; else answer. */
enum answer node_rows_found(struct cli *c, const struct json *rows, enum answer answer);

/* Prints verdict and table, or {"version": 1, "verdict": ..., "items": [...]}. */
void node_rows_show(struct cli *c, const char *verdict, const struct json *rows,
                    const struct row_column *columns);
