/* SPDX-License-Identifier: Apache-2.0 */
/* The pod source of a Kubernetes API: watches this node's pods and all namespaces, and writes pods.
 * Lives on the client's loop. */
#pragma once

#include "node/pod_json.h"
#include "node/pod_source.h"

struct kube_client;
struct kube_pods;

/* client must outlive it; node and what options names are copied. */
struct kube_pods *kube_pods_new(struct kube_client *client, const char *node,
                                const struct pod_json_options *options);
/* After whoever reads from it. */
void kube_pods_free(struct kube_pods *k);
AUTO_DEFINE(kube_pods, struct kube_pods *, kube_pods_free);
struct pod_source *kube_pods_source(struct kube_pods *k);
