/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes that a command asks, and where each of them can be asked. Several nodes can live on one
 * machine (as network namespaces), so each is described by a file RUN-DIR/nodes/NAME.json:
 *
 *     {"version": 1, "name": "n1", "netns": "/run/netns/n1", "admin": "127.0.0.1:15000",
 *      "readiness": "127.0.0.1:15021", "runtime": "/run/ambit/n1/runtime.sock"}
 *
 * Everything but version may be left out: name is the file's, netns the caller's own, the endpoints
 * are the node proxy's usual ones, runtime is RUN-DIR/runtime.sock. Without any such file there is
 * one node, "local", with just these defaults.
 */
#pragma once

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

struct args;

enum { NODES_MAX = 64, NODE_FILE_VERSION = 1 };
enum { NODE_PORT_ADMIN = 15000, NODE_PORT_READINESS = 15021 };

struct node_where {
    char *name;
    char *netns;   /* NULL = where we are */
    char *runtime; /* the agent's socket; its folder is the agent's run-dir */
    struct endpoint admin;
    struct endpoint readiness;
};

struct nodes {
    struct node_where at[NODES_MAX];
    unsigned count;
};

/* As options_node says. -ERR_NOT_FOUND: no node of that name; why names those there are. */
MUST_USE int nodes_find_blocking(const struct args *a, struct nodes *out, struct diag *why);
/* One description; name is the default of its name. Pure. */
MUST_USE int node_where_read(const char *text, size_t len, const char *name, const char *run_dir,
                             struct node_where *out, struct diag *why);
void node_where_fini(struct node_where *n);
void nodes_fini(struct nodes *n);
