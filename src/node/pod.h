/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent needs to know of a pod, and whether that makes it a member of the mesh. A plain
 * value with one owner.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/ip.h"
#include "node/rules.h"

enum { POD_IPS_MAX = 4 };

struct pod {
    char *uid;
    char *namespace;
    char *name;
    char *service_account;
    char *dataplane_mode;     /* label istio.io/dataplane-mode; NULL if absent */
    char *virtual_interfaces; /* annotation istio.io/reroute-virtual-interfaces; NULL if absent */
    char *gateway; /* of a pod that this node is to run as a waypoint: which one; else NULL */
    bool host_network;
    bool has_sidecar;    /* annotation sidecar.istio.io/status */
    bool is_node_proxy;  /* label app=ztunnel in the mesh's own namespace */
    bool is_terminal;    /* phase Succeeded or Failed */
    bool is_ending;      /* its deletion was asked for */
    bool bypass_inbound; /* annotation ambient.istio.io/bypass-inbound-capture */
    bool dns;            /* annotation ambient.istio.io/dns-capture, or the agent's default */
    bool is_announced;   /* annotation ambient.istio.io/redirection is "enabled" */
    struct ip ips[POD_IPS_MAX];
    unsigned ip_count;
};

void pod_free(struct pod *p);
struct pod *pod_dup(const struct pod *p);
AUTO_DEFINE(pod, struct pod *, pod_free);

/* mode is the label istio.io/dataplane-mode of the pod's namespace; NULL if absent or unknown. A pod
 * whose address is not known yet is not ready for it (contract of the agent, A2.1). */
bool pod_wants_mesh(const struct pod *p, const char *mode);

/* What to install for it. Interface names that do not fit are left out. */
struct rules pod_rules(const struct pod *p, bool probes);

/* Go's ParseBool on an annotation; fallback when absent or unparsable. */
bool pod_bool(const char *text, bool fallback);
