/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where no kubelet does it: says in the status of this node's own proxy's Pod object whether the proxy
 * is there: the condition Ready, and its one container. It counts as ready while it is connected to
 * this agent. A write per change; what fails is tried again. Lives on the client's loop.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"

struct kube_client;
struct proxy_pod;

enum { PROXY_POD_RETRY_MIN_MS = 1000, PROXY_POD_RETRY_MAX_MS = 60000 };

/* The texts are copied; the pod is ztunnel-NODE of that namespace. Says at once that it is not ready. */
struct proxy_pod *proxy_pod_new(struct kube_client *client, const char *namespace,
                                const char *node);
/* Before the client. */
void proxy_pod_free(struct proxy_pod *p);
/* As it is now; what has been said already costs nothing. */
void proxy_pod_set(struct proxy_pod *p, bool connected);
