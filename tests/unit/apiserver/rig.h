/* SPDX-License-Identifier: Apache-2.0 */
/* An API server in a test: no disk, no network, a clock that the test moves. */
#pragma once

#include "apiserver/api.h"
#include "apiserver/store.h"

struct json;

struct rig {
    struct store *store;
    struct api *api;
    struct api_user user;
    uint64_t now_ns;
    const char *accept; /* NULL = none */
    const char *etag;   /* of what the client has; likewise */
    /* of the last call */
    struct api_response out;
    struct json *body; /* NULL when it is no JSON */
    const char *text;
};

/* Also makes the namespaces that every cluster has. */
void rig_start(struct rig *g);
void rig_start_in(struct rig *g, const char *range); /* of services' IPv4 addresses */
void rig_namespace(struct rig *g, const char *name);
void rig_stop(struct rig *g);
/* "GET /path?query"; content_type and body may be NULL. The status. Everything is durable at once. */
unsigned rig_call(struct rig *g, const char *request, const char *content_type, const char *body);
unsigned rig_send(struct rig *g, const char *request, const char *content_type, struct slice body);
/* A string in the last body; "" when absent. */
const char *rig_str(const struct rig *g, const char *path);
long long rig_int(const struct rig *g, const char *path);
/* What the watch of the last response says now; g->text. The number of events. */
unsigned rig_watch(struct rig *g);
