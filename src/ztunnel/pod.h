/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One captured pod: its listeners, its tunnel pool, its certificate, its live connections. Lives on
 * one plane; every function here belongs to that plane's thread.
 */
#pragma once

#include "base/list.h"
#include "base/str.h"
#include "hbone/pool.h"
#include "io/listener.h"
#include "io/netns.h"
#include "io/sock_factory.h"
#include "ztunnel/plane.h"

enum {
    SELF_WAIT_MS = 5000,        /* for the control plane to know the pod (contract 2.1.4, 3.2.1) */
    CREDENTIAL_WAIT_MS = 10000, /* for a certificate, before a new tunnel fails */
    CONNECT_MS = 10000,         /* contract 3.1 */
    POLICY_HOLD_MS = 2000,      /* a policy that is named and unknown: hold, then deny */
    POD_CONNECTIONS_MAX = 16384,
    POD_CONNECTIONS_KEPT = 2048, /* of these, for each way: the other one cannot use them up */
    POD_BUDGET_BYTES = 64 << 20
};

struct pod_info { /* what the agent says of it */
    char *uid;
    char *name;
    char *ns;
    char *service_account;
};
void pod_info_copy(struct pod_info *out, const struct pod_info *from);
void pod_info_fini(struct pod_info *i);

enum pod_way { POD_IN, POD_OUT, POD_WAYS };

/* A connection, as the pod sees it: embedded first thing in every kind of them. */
struct pod_conn {
    struct list in_pod;
    const struct pod_conn_ops *ops;
};

struct pod_conn_ops { /* all but way and abort may be NULL */
    enum pod_way way;
    /* A policy or the pod's own workload has changed; live connections may have to end (contract 4.7):
     * only those that come in, for policy is the receiving side's business. Never frees. */
    void (*reconsider)(struct pod_conn *c);
    /* End with this error, soon; frees itself from its own task. */
    void (*abort)(struct pod_conn *c, int why);
    /* Finish what is under way, take nothing new. NULL: it may finish by itself. */
    void (*drain)(struct pod_conn *c);
    /* Bytes moved since the last call go to the metrics. */
    void (*account)(struct pod_conn *c);
    /* One element of /config_dump's connections. */
    void (*describe)(struct pod_conn *c, struct strbuf *out);
};

enum pod_port { POD_OUTBOUND, POD_PLAINTEXT, POD_HBONE, POD_PORTS };

struct pod;
struct acceptor;
struct dns_proxy;

enum pod_step {
    POD_BINDING,  /* sockets are being made */
    POD_UP,       /* accepts */
    POD_DRAINING, /* accepts nothing, connections may finish until the deadline */
    POD_ENDING    /* every connection was told to end */
};

struct pod {
    struct task task;
    struct timer tick;     /* byte counters of live connections */
    struct timer deadline; /* of POD_DRAINING */
    struct list in_plane;
    struct plane *plane;
    enum pod_step step;
    struct pod_info info;
    struct netns *netns;
    struct hbone_pool *pool;
    struct budget budget;
    struct host_source hosts; /* the names its connections ask for */
    struct list conns;
    unsigned conn_count;
    unsigned way_count[POD_WAYS]; /* of these */
    struct list waiting;          /* struct pod_wait: for the workload or the credential */
    uint64_t generation;          /* of the world last looked at */
    uint64_t policy_generation;   /* likewise */
    const struct workload *self;  /* counted; NULL until the control plane knows the pod */
    const struct identity *used;  /* whose certificate is kept fresh for us; counted */
    struct credential *credential;
    struct cert_wait *cert_wait;
    struct diag credential_error; /* of the last attempt; code 0: none */
    uint64_t credential_error_ms; /* when that was */
    uint64_t credential_renew_ms; /* when to ask for a newer one */
    struct sock_ask *asks[POD_PORTS];
    struct acceptor *acceptors[POD_PORTS];
    struct dns_proxy *dns;
    void (*started)(struct pod *p, int result, const struct diag *why);
    void (*stopped)(struct pod *p);
    void *arg;
};

struct pod_spec { /* borrowed */
    const struct pod_info *info;
    struct netns *netns; /* NULL: this proxy itself, reachable by tunnel in its own namespace, where
                            nothing is captured (contract 1.3.1) */
    /* Once: the listeners are there (0) or could not be made, and then the pod is gone. */
    void (*started)(struct pod *p, int result, const struct diag *why);
    /* Once, when everything is gone; the pod itself is freed right after it. */
    void (*stopped)(struct pod *p);
    void *arg; /* the caller's, in pod->arg */
};

struct pod *pod_start(struct plane *plane, const struct pod_spec *spec);
/* drain_ms 0: at once (contract 7.4); else listeners close now and connections may finish. */
void pod_stop(struct pod *p, uint64_t drain_ms);

/* A place in the row of those who wait for self or credential; embedded. The task is woken with
 * WAKE_CHILD when either changes. */
struct pod_wait {
    struct list in_row;
    struct task *task;
};
void pod_wait_start(struct pod *p, struct pod_wait *w, struct task *t);
void pod_wait_stop(struct pod_wait *w);

/* NULL: the control plane does not know the pod yet. Borrowed until the turn ends. */
const struct workload *pod_self(struct pod *p);
/* 0: *out is borrowed until the turn ends. -EAGAIN: asked for; else why there is none. */
MUST_USE int pod_credential(struct pod *p, struct credential **out, struct diag *why);

void pod_conn_start(struct pod *p, struct pod_conn *c, const struct pod_conn_ops *ops);
void pod_conn_stop(struct pod *p, struct pod_conn *c);
bool pod_is_full(const struct pod *p, enum pod_way way);

/* The fairness key of its handshakes, one for each way: who fills its door does not keep it from
 * dialling. */
static inline uint64_t pod_lane(const struct pod *p, enum pod_way way)
{
    return (uint64_t)(uintptr_t)p | way;
}

/* A socket in the pod's namespace; at may be NULL. Never NULL itself. */
struct sock_ask *pod_ask_connect(struct pod *p, enum ip_family family, const struct ip *source,
                                 struct task *owner);
