/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What somebody asks the local runtime to run, checked. A view of a JSON object (the request, or the
 * record that survives the agent), whose strings it borrows:
 *
 *     {"namespace": "shop", "name": "cart", "serviceAccount": "cart", "labels": {"app": "cart"},
 *      "command": ["nginx", "-g", "daemon off;"], "env": ["A=b"], "workdir": "/", "user": "www-data",
 *      "allowRoot": false, "restart": "never"}
 *
 * With "waypoint": "NAME" it is a replica of that Gateway: its pod object is somebody else's, it has
 * a token of its account, is ready when it says so on port 15021, and gets longer to end.
 *
 * namespace, name and command are needed. Defaults: account "default", user "nobody", workdir "/",
 * restart "never" (others: "on-failure", "always"). Environment: PATH, HOME and what env says.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "codec/json.h"

enum local_restart { LOCAL_RESTART_NEVER, LOCAL_RESTART_ON_FAILURE, LOCAL_RESTART_ALWAYS };

enum { LOCAL_ARGS_MAX = 256, LOCAL_ENV_MAX = 256, LOCAL_LABELS_MAX = 64 };

struct local_spec {
    const struct json *json; /* the whole */
    const char *namespace;
    const char *name;
    const char *service_account;
    const char *user; /* a name, or "uid:gid" */
    const char *workdir;
    const struct json *command; /* strings, at least one */
    const struct json *env;     /* strings; NULL if absent */
    const struct json *labels;  /* strings by key; NULL if absent */
    const char *waypoint;       /* NULL if it is none */
    enum local_restart restart;
    bool allow_root;
};

/* -ERR_SYNTAX or -ERR_RANGE, with a sentence for the person who asked. */
MUST_USE int local_spec_read(const struct json *j, struct local_spec *out, struct diag *why);
