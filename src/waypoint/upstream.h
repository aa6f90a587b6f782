/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to endpoints, one loop's: per endpoint HTTP/1.1 connections (the one used last goes
 * first) or HTTP/2 sessions, over tunnels or plain TCP. Who has a request takes a lease on a
 * connection: at once where one is free, else in the order of asking, behind at most as many others
 * as the limits allow. A connection that failed to come about fails the lease that has waited longest.
 */
#pragma once

#include "base/map.h"
#include "http/exchange.h"
#include "model/l7_eject.h"
#include "model/l7_traffic.h"
#include "model/workload.h"
#include "waypoint/engine.h"

enum upstream_protocol { UPSTREAM_H1, UPSTREAM_H2 };

enum {
    UPSTREAM_CONNECT_MS = 10000,
    UPSTREAM_IDLE_MS = 3600 * 1000,
    UPSTREAM_PENDING_MAX = 4096, /* leases that wait for one endpoint, where nothing else is said */
};

struct upstream_key { /* borrowed for the call */
    const struct workload *workload;
    struct endpoint at; /* of the application; without an address: by the workload's host name */
    enum upstream_protocol protocol;
};

/* One endpoint and its connections. */
struct upstream {
    struct map_node in_map;
    struct list in_engine;
    struct upstreams *home;
    const struct workload *workload; /* counted */
    struct endpoint at;              /* without an address: asked for by name at each connection */
    char *address;                   /* as text, or host name and port */
    enum upstream_protocol protocol;
    unsigned users; /* clusters and leases that point here; 0: it goes with its last connection */
    unsigned in_flight;
    unsigned conn_count;
    unsigned connecting;
    unsigned waiting_count;
    struct list idle;        /* struct up_conn; the one used last first */
    struct list busy;        /* all others */
    struct list waiting;     /* struct lease; the oldest first */
    struct l7_limits limits; /* of the service that it was picked for last */
    struct l7_health health;
};

struct upstreams *upstreams_new(struct engine *e);
void upstreams_free(struct upstreams *u);
AUTO_DEFINE(upstreams, struct upstreams *, upstreams_free);
/* Idle connections that have been so for too long go. Now and then. */
void upstreams_sweep(struct upstreams *u);
/* Idle connections go, others after their request. */
void upstreams_drain(struct upstreams *u);

struct upstreams_count {
    unsigned endpoints, connections, idle, waiting;
    uint64_t opened, failed, reused, overflowed;
};
struct upstreams_count upstreams_count(const struct upstreams *u);

/* The endpoint of that key, made at the first call; counts as a user until upstream_unuse. */
struct upstream *upstream_use(struct upstreams *u, const struct upstream_key *key);
void upstream_unuse(struct upstream *u);

struct lease {                 /* embedded; zeroed is none */
    struct upstream *upstream; /* NULL: none */
    struct up_conn *conn;      /* granted, and not used yet */
    struct list in_row;
    struct task *task; /* set while it waits */
    struct task *asks; /* granted: waits in the connection's row to hear what it can do */
    unsigned status;   /* that the destination's tunnel refused with, or 0 */
    struct diag error;
};

/* (*) 0: granted; -EAGAIN: task is woken with WAKE_CHILD; -ERR_LIMIT: too many wait, or
 * as many requests as the limits allow are under way. fresh: not a connection that had a request before. */
MUST_USE int lease_start(struct lease *l, struct upstream *u, struct task *task, bool fresh);
/* (*) The same for one that waits; other errors are why there is no connection: l->error. */
MUST_USE int lease_result(struct lease *l);
/* (*) Of a granted lease, for a request that changes the protocol: 0: it may be sent; -ERR_UNSUPPORTED:
 * the server does not offer that over HTTP/2 (RFC 8441). */
MUST_USE int lease_upgrades(struct lease *l, struct task *task);
/* Of a granted lease: sends the head. Never NULL, never fails at once. */
struct exchange *lease_request(struct lease *l, const struct message *head, bool end);
/* The request is over, or nobody wants the lease any more. */
void lease_end(struct lease *l);

struct engine *upstream_engine(const struct upstream *u);
/* (*) Where to dial it: its address, or one of those that its host name has now. w as in
 * host_names_find. */
MUST_USE int upstream_address(struct upstream *u, struct host_wait *w, struct endpoint *out,
                              struct diag *why);
/* What a connection may take to come about, by the limits. */
uint64_t upstream_connect_ms(const struct upstream *u);
/* For TCP, where each has a connection of its own: whether the limits allow one more; no is an overflow. */
MUST_USE bool upstream_takes_connection(struct upstream *u);
/* A stream to the endpoint as it is, for TCP; its calls answer -EAGAIN until it is there. */
struct stream *upstream_dial(struct engine *e, const struct workload *w, const struct endpoint *at,
                             uint64_t limit_ms);
/* (*) 0 once connected. *out_status: what the destination's tunnel refused with. */
MUST_USE int upstream_dial_ready(struct stream *s, const struct workload *w, unsigned *out_status);
/* For hbone_pool_new. */
extern const struct hbone_dialer *upstream_dialer(struct engine *e, struct hbone_dialer *out);
