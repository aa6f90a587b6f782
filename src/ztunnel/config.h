/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the environment asks of the node proxy (contract 1.5), read once at start. Immutable afterwards
 * and read by every thread. An unusable value is an error that names its variable.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "io/sock.h"
#include "proxy/settings.h"

enum { ILLEGAL_PORTS_MAX = 4 };
enum { PORT_OUTBOUND = 15001, PORT_PLAINTEXT = 15006, PORT_DNS = 15053 };

enum orig_src { ORIG_SRC_TRY, ORIG_SRC_ALWAYS, ORIG_SRC_NEVER };

struct config {
    struct proxy_settings common;
    bool proxy;
    bool dns_proxy;
    char *network;
    char *node_name;
    char *cluster_domain;
    char *preferred_service_namespace;
    char *instance_ip;
    char *pod_name;
    char *pod_namespace;
    char *service_account;
    char *inpod_uds;
    uint32_t packet_mark;
    struct ip dns_ip; /* IP_NONE: both loopback addresses */
    uint16_t dns_port;
    bool port_reuse;
    enum orig_src orig_src;
    struct sock_keepalive keepalive;
    bool keepalive_enabled;
    uint64_t keepalive_time_ms;
    uint64_t keepalive_interval_ms;
    uint32_t keepalive_retries;
    bool user_timeout;
    uint32_t pool_streams;
    uint64_t pool_idle_ms;
    uint32_t stream_window_bytes;
    uint32_t connection_window_bytes;
    uint32_t frame_bytes;
    uint64_t drain_ms;
    bool localhost_app_tunnel;
    bool response_baggage;
    bool policy_info_logging;
    uint16_t illegal_ports[ILLEGAL_PORTS_MAX];
    unsigned illegal_count;
};

/* env is the process' environment. */
MUST_USE int config_read(struct config *out, char *const *env, struct diag *why);
void config_fini(struct config *c);
/* "ztunnel~<ip>~<pod>.<ns>~<ns>.svc.cluster.local"; the caller's. */
char *config_node_id(const struct config *c);
