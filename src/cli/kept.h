/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that were open before their workload joined the mesh: capture takes new connections
 * only, so these go on as they were, in plaintext, past the proxy. Only the workload's own sockets
 * tell; they are looked at for workloads whose network namespace the node agent keeps
 * (RUN-DIR/netns/UID), which are those that `ambit run` started.
 */
#pragma once

#include "base/err.h"
#include "cli/finding.h"

struct cli;
struct json;
struct node_where;
struct tcp_sockets;

/* Appends a row as view_access makes them, with a note, for each such connection of the nodes that
 * the command's options name. A node without a runtime has none. ANSWER_UNKNOWN: it could not be
 * found out everywhere; said on standard error. */
enum answer kept_of_nodes_blocking(struct cli *c, struct json *into);
/* The same of one node. workloads: the agent's list. */
MUST_USE int kept_of_node_blocking(const struct node_where *n, const struct json *workloads,
                                   struct json *into, struct diag *why);
/* Of one workload; the others of its node give their names to addresses. Pure. */
void kept_of_sockets(const struct tcp_sockets *all, const struct json *workload,
                     const struct json *workloads, const char *node, struct json *into);
