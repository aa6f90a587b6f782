/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a captured connection goes (contract 3.2, steps 3 and 5-12) and what an inbound CONNECT may
 * reach (contract 3.4, steps 4-6): two pure functions over a world. Results hold their own
 * references, so that a connection may keep them for its life.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"
#include "model/world.h"

enum {
    HBONE_PORT = 15008,
    ROUTE_AUTHORITY = 272
}; /* 253 of a name, ":65535", the terminator, room */

/* reason, text for people */
#define ROUTE_REASONS(X)                                                                           \
    X(ROUTE_OK, "ok")                                                                              \
    X(ROUTE_RECURSIVE, "attempted recursive call to ourselves")                                    \
    X(ROUTE_NO_UPSTREAM, "no healthy upstream")                                                    \
    X(ROUTE_NO_WAYPOINT, "unknown waypoint")                                                       \
    X(ROUTE_WAYPOINT_NO_UPSTREAM, "no healthy waypoint upstream")                                  \
    X(ROUTE_NO_GATEWAY, "no network gateway to the other network")                                 \
    X(ROUTE_GATEWAY_NO_UPSTREAM, "no healthy network gateway upstream")                            \
    X(ROUTE_NOT_A_SERVICE, "only service traffic may cross networks")                              \
    X(ROUTE_NO_ADDRESS, "workload has no address")                                                 \
    X(ROUTE_BAD_ADDRESS, "host name has no address that may be dialled")                           \
    X(ROUTE_IP_MISMATCH, "ip mismatch")                                                            \
    X(ROUTE_NO_HOST, "no service or workload for hostname")                                        \
    X(ROUTE_NO_PORT, "cannot resolve the port of the requested service")                           \
    X(ROUTE_NO_VIP, "requested service has no IP addresses")
enum route_reason {
#define ROUTE_ENUM(name, text) name,
    ROUTE_REASONS(ROUTE_ENUM)
#undef ROUTE_ENUM
};
const char *route_reason_text(enum route_reason r);

enum route_kind {
    ROUTE_DENY = 0,    /* early deny: reason and detail say why */
    ROUTE_PASSTHROUGH, /* plain TCP to where the client dialled */
    ROUTE_TCP,         /* plain TCP to a known workload */
    ROUTE_HBONE,       /* a tunnel to the workload */
    ROUTE_WAYPOINT,    /* a tunnel to its or the service's waypoint */
    ROUTE_DOUBLE       /* a tunnel to another network's gateway, and one inside it */
};

struct route_query {
    const struct workload *source;
    const char *network; /* this proxy's own */
    struct endpoint src; /* the client */
    struct endpoint dst; /* original destination */
    const uint16_t *illegal_ports;
    unsigned illegal_count;
    uint64_t seed;
};

struct route {
    enum route_kind kind;
    enum route_reason reason;
    struct diag detail; /* of a ROUTE_DENY: the sentence for the log */
    /* Where TCP goes. Family IP_NONE with resolve set: look the name up, then call
     * route_resolve. */
    struct endpoint tcp;
    const char *resolve;             /* hostname of an address-less workload; NULL: tcp is final */
    enum ip_family resolve_family;   /* preferred; any other will do */
    char authority[ROUTE_AUTHORITY]; /* "" when there is no tunnel */
    uint16_t target_port;
    /* Who may answer, in order (contract 2.9). For ROUTE_DOUBLE: the gateway. */
    const struct identity **expect;
    unsigned expect_count;
    /* ROUTE_DOUBLE: who may answer the inner handshake; may be 0, then nobody may. */
    const struct identity **inner_expect;
    unsigned inner_expect_count;
    const struct workload *next; /* the workload that TCP reaches (endpoint, waypoint, gateway) */
    /* For labels, log and policy: NULL where unknown. */
    const struct workload *workload; /* the destination, never the waypoint before it */
    const struct service *service;
    uint16_t service_port; /* as dialled; 0 without service */
};

/* out is always filled (a ROUTE_DENY at worst); end it with route_fini. */
void route_decide(struct route *out, const struct world *w, const struct route_query *q);
/* Fills tcp (and the authority where it names the pod) with one of the addresses that `resolve` has: any
 * of the preferred family, else any (contract 3.2.4). None that may be dialled: ROUTE_DENY. */
void route_resolve(struct route *r, const struct route_query *q, const struct ip *ips,
                   unsigned count);
void route_fini(struct route *r);

/* ---- inbound */

struct inbound_query {
    const struct workload *local;
    const char *network;         /* this proxy's own */
    struct endpoint peer;        /* the tunnel's client */
    struct ip tcp_dst;           /* local address of the tunnel's socket */
    struct ip authority_ip;      /* IP_NONE: the authority is a hostname */
    struct slice authority_host; /* only read when authority_ip is IP_NONE */
    uint16_t authority_port;
    const uint16_t *illegal_ports;
    unsigned illegal_count;
    bool localhost_app_tunnel; /* connect PROXY tunnels from loopback to loopback */
};

struct inbound {
    unsigned status; /* 200: go on to policy; else what to answer (contract 2.6). 0 never happens */
    enum route_reason reason;
    struct diag detail;
    struct endpoint rbac_dst; /* what policy sees */
    struct endpoint connect;  /* where the application is */
    bool keep_source;         /* the client's address may be kept (not over loopback) */
    bool proxy_protocol;      /* send a PROXY v2 header: peer -> proxy_dst */
    struct endpoint proxy_dst;
    const struct service *service; /* of a hostname authority; counted; NULL otherwise */
};

void inbound_decide(struct inbound *out, const struct world *w, const struct inbound_query *q);
void inbound_fini(struct inbound *in);

/* The service an inbound connection is counted under (contract 9.2): the one that the forwarded
 * header names if the workload belongs to it, else of its services with a port that leads to dst_port
 * the first by "namespace/hostname": a map on the wire has no order. NULL: none. Borrowed from the
 * world. */
const struct service *inbound_service(const struct world *w, const struct workload *local,
                                      const char *forwarded_host, uint16_t dst_port);
