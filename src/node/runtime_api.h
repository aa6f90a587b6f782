/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's socket (AF_UNIX, SOCK_STREAM, 0600; root or the agent's own user). A client sends one
 * JSON object on one line and gets JSON objects, one a line, until the agent closes:
 *
 *   {"op": "run", "attach": true, "spec": {...local_spec.h...}}
 *       -> {"event": "started", "pid": 1, "ips": ["10.244.1.2"], "mesh": "in", ...local_pod.h...}
 *          or {"event": "failed", "code": "ERR_EXISTS", "error": "..."}
 *       With attach, the line comes with three descriptors (SCM_RIGHTS: standard input, output,
 *       error); the client stays, may send {"op": "signal", "signal": 2} lines, and gets
 *       -> {"event": "exited", "code": 0, "signal": 0} when the command and all its traces are gone
 *          (or have to wait, as when the API is away; the agent goes on trying).
 *       A client that goes away before that ends its command.
 *   {"op": "ps"}      -> {"event": "list", "workloads": [...]}
 *   {"op": "stop", "namespace": "shop", "name": "cart"}
 *       -> {"event": "stopped", "code": 143, "signal": 15} when all its traces are gone;
 *          an error if they have to wait
 *   {"op": "signal", "namespace": "shop", "name": "cart", "signal": 1} -> {"event": "signalled"}
 *   {"op": "hold"}    -> {"event": "held"}; no pod that the API asks for is started any more
 *   {"op": "status"}  -> {"event": "status", "ready": true, "proxies": 1, "pods": 3, ...}
 *
 * Anything else, or a failure: {"event": "error", "code": "ERR_...", "error": "..."}.
 */
#pragma once

#include "base/err.h"
#include "io/loop.h"
#include "node/local_pod.h"

enum { RUNTIME_API_CLIENTS_MAX = 64, RUNTIME_API_LINE_MAX = 64 << 10 };

struct runtime;
struct runtime_api;

void runtime_api_free(struct runtime_api *a);
MUST_USE int runtime_api_new(struct loop *l, struct runtime *r, const char *path,
                             struct runtime_api **out, struct diag *why);
AUTO_DEFINE(runtime_api, struct runtime_api *, runtime_api_free);

/* A pod's state has changed; one that is gone is not looked at after this call. */
void runtime_api_changed(struct runtime_api *a, const struct local_pod *p);
