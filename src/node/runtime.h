/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local runtime: runs commands as pods of this node, each in a network namespace of its own, with
 * an address, a name, an account and a pod object, and takes them over from an agent that died. What
 * it is asked comes over a socket (runtime_api.h), and out of the API: pods of this node that are
 * replicas of waypoints. Lives on the agent's loop.
 */
#pragma once

#include "io/jobs.h"
#include "node/agent.h"
#include "node/local_pod.h"
#include "node/waypoint_run.h"

enum { RUNTIME_PODS_MAX = 512, RUNTIME_CIDRS_MAX = 4 };

struct runtime_config {
    struct loop *loop;
    struct jobs *jobs; /* not the agent's: starting a command takes long */
    struct agent *agent;
    struct pod_source *source;
    const char *node;
    const char *run_dir;           /* at most LOCAL_RUN_DIR_MAX - 1 bytes */
    const struct ip_prefix *cidrs; /* a pod gets one address of each */
    unsigned cidr_count;
    const char *socket_path;
    struct waypoint_setup waypoints; /* its texts outlive the runtime */
};

struct runtime;

void runtime_free(struct runtime *r);
/* Reads the records of what runs (blocking: at program start). */
MUST_USE int runtime_new(const struct runtime_config *config, struct runtime **out,
                         struct diag *why);
AUTO_DEFINE(runtime, struct runtime *, runtime_free);

/* For runtime_api.c. The pod is borrowed until it is gone. -ERR_EXISTS, -ERR_LIMIT, or what is wrong
 * with the request. stdio is taken on success. */
MUST_USE int runtime_run(struct runtime *r, const struct json *spec, int stdio[static LOCAL_STDIO],
                         struct local_pod **out, struct diag *why);
struct local_pod *runtime_find(const struct runtime *r, const char *namespace, const char *name);
/* No pod that the API asks for is started any more: the node is being taken down. */
void runtime_hold(struct runtime *r);
/* A list of descriptions; the caller's. */
struct json *runtime_list(const struct runtime *r);
/* {"ready", "proxies", "pods", "joining", "members", "leaving"}; "repaired" is a list of the pods whose rules
 * were changed and put back: {"namespace", "name", "times", "last_s"}, "host_repaired" the host's rules for
 * probes: {"times", "last_s"}, if ever. The caller's. */
struct json *runtime_status(const struct runtime *r);
