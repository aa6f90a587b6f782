/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent does in a pod's network namespace, as one table of blocking calls, each a visit of
 * its own from a job thread. Tests put a table of theirs in its place.
 */
#pragma once

#include "io/netns.h"
#include "node/pod.h"
#include "node/rules.h"

struct capture_ops {
    /* The namespace of a pod, the caller's descriptor. -ERR_NOT_FOUND. Namespaces of local workloads
     * are mounts in netns_dir, named by the pod's uid. */
    int (*find)(const struct pod *pod, const char *netns_dir, int *out_netns, struct diag *why);
    int (*inspect)(int netns, const struct rules *rules, enum rules_state *out, struct diag *why);
    /* Rules in the pod; and with probes, the pod in the host's rules. 1: those were gone and are back. */
    int (*install)(int netns, const struct pod *pod, const struct rules *rules, struct diag *why);
    int (*prove)(int netns, const struct rules *rules, struct diag *why);
    /* -ENOENT: there was nothing to leave. */
    int (*leave)(int netns, const struct rules *rules, struct diag *why);
    int (*count)(int netns, unsigned *out, struct diag *why); /* connections carried */
    int (*remove)(int netns, const struct pod *pod, const struct rules *rules, struct diag *why);
};

extern const struct capture_ops capture_kernel;
