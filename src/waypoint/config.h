/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the environment asks of a waypoint, in the variables that Istio's waypoint deployment sets, and
 * a few of our own. Read once at start; immutable afterwards and read by every thread.
 *
 *   XDS_ADDRESS, CA_ADDRESS, XDS_ROOT_CA, CA_ROOT_CA, AUTH_TOKEN   the control plane, as for the node proxy
 *   GATEWAY, NAMESPACE          the Gateway object this process serves (required)
 *   SERVICE_ACCOUNT, TRUST_DOMAIN    with NAMESPACE: whose certificate it presents
 *   POD_NAME, INSTANCE_IP, NODE_NAME, NETWORK, CLUSTER_ID, CLUSTER_DOMAIN
 *   PLAIN_LISTENERS             "127.0.0.1:8080=10.96.0.7:80,...", see struct plain_listener
 *   TERMINATION_GRACE_PERIOD_SECONDS, WAYPOINT_WORKER_THREADS, ACCESS_LOG, SERVER_HEADER, ...
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "codec/h1head.h"
#include "proxy/settings.h"

enum { PLAIN_LISTENERS_MAX = 8 };

/* A listener in the clear that hands everything to one owned service, as if a client without identity
 * had asked for `to` through a tunnel: policies see no principal. Only on loopback, for measuring and for
 * what stands in front without a mesh. */
struct plain_listener {
    struct endpoint at;
    struct endpoint to; /* VIP and port */
};

struct config {
    struct proxy_settings common;
    char *gateway;  /* the Gateway's name */
    char *ns;       /* and namespace, also of the service account */
    char *hostname; /* of the Gateway's own service */
    char *service_account;
    char *pod_name;
    char *instance_ip;
    char *node_name;
    char *network;
    char *cluster_domain;
    bool access_log;
    char *server_header; /* of responses; "": as the upstream says */
    bool xfcc;           /* tell upstreams the client's identity */
    char *path_normalization;
    char *underscores;
    enum h1_underscore names; /* made: what becomes of header names with an underscore */
    uint64_t sniff_ms;        /* on ports whose protocol is not said, before they are TCP */
    uint64_t memory_bytes;    /* of the process; 0: not limited */
    uint32_t head_rate;       /* octets a second that a request's head has to come with; 0: any */
    uint64_t drain_ms;
    uint32_t stream_window_bytes;
    uint32_t connection_window_bytes;
    uint32_t tunnel_streams; /* that a client may have on one tunnel */
    uint32_t pool_streams;   /* that we have on one tunnel */
    uint64_t pool_idle_ms;
    uint32_t hbone_port;
    struct plain_listener plain[PLAIN_LISTENERS_MAX];
    unsigned plain_count;
};

/* env is the process' environment. */
MUST_USE int config_read(struct config *out, char *const *env, struct diag *why);
void config_fini(struct config *c);
/* "waypoint~<ip>~<pod>.<ns>~<ns>.svc.cluster.local"; the caller's. */
char *config_node_id(const struct config *c);
struct json *config_to_json(const struct config *c);
