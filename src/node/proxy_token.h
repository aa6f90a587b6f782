/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where no kubelet does it: keeps a file filled with a valid token of this node's own proxy. A token
 * is bound to the proxy's Pod object and is asked for anew long before its end; what fails is tried
 * again, and the file keeps the last good one. Lives on the agent's loop.
 */
#pragma once

#include "base/auto.h"

struct jobs;
struct kube_client;
struct proxy_token;

enum {
    PROXY_TOKEN_LIFE_S = 43200,
    PROXY_TOKEN_RETRY_MIN_MS = 1000,
    PROXY_TOKEN_RETRY_MAX_MS = 60000
};

struct proxy_token_config { /* texts are copied */
    struct kube_client *client;
    struct jobs *jobs;
    const char *path;
    const char *namespace; /* of the proxies' pods */
    const char *node;      /* its proxy's pod is ztunnel-NODE */
};

/* Starts at once. */
struct proxy_token *proxy_token_new(const struct proxy_token_config *config);
/* Before the client and the jobs. */
void proxy_token_free(struct proxy_token *p);
