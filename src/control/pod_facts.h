/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mesh needs to know of a Kubernetes Pod (contract 1.2, 1.3): read from the object once, the
 * object is then let go. Derived values that depend on the pod alone are computed here. Texts are
 * interned. The control loop only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "codec/json.h"
#include "control/labels.h"

struct container_port { /* TCP only: other protocols are never found by name (contract 3.2.5) */
    const char *name;
    uint16_t port;
};

struct pod_facts {
    const char *ns;
    const char *name;
    const char *uid; /* Kubernetes' own */
    const char *account;
    const char *node; /* "": not scheduled */
    const char *workload_name;
    const char *canonical_name;
    const char *canonical_revision;
    struct labels labels;
    struct ip *ips;
    struct container_port *ports; /* containers', then native sidecars' */
    unsigned ip_count;
    unsigned port_count;
    bool is_published; /* in a phase and with addresses that make it a workload */
    bool is_failed;    /* phase Failed: counts for nothing, not even for certificates */
    bool is_ready;
    bool is_captured; /* the node agent says so */
    bool is_native;   /* speaks HBONE itself */
    bool is_host_network;
};

enum { POD_IPS_MAX = 64, POD_PORTS_MAX = 4096 };

void pod_facts_read(struct pod_facts *out, const struct json *pod, struct intern *pool);
void pod_facts_fini(struct pod_facts *f);
/* 0: the pod has no such port. */
uint16_t pod_facts_port(const struct pod_facts *f, const char *name);

/* The name of what created the pod, as people know it: a Deployment's rather than its ReplicaSet's
 * (contract 3.2.6). The caller's. */
char *workload_name_of(const struct json *pod, const struct labels *labels);
