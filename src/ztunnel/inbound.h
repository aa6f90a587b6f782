/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that wants to enter the pod, whichever door it came through: policy first, then the
 * application, then bytes. The door (a CONNECT on a tunnel, a plain connection) is a front: it says
 * where the connection goes and how it is told yes or no.
 */
#pragma once

#include "base/bytes.h"
#include "io/relay.h"
#include "model/rbac.h"
#include "obs/labels.h"
#include "ztunnel/pod.h"

struct inbound_conn;

struct inbound_plan {         /* what a front decides */
    unsigned status;          /* 200: go on; else refused with this status */
    const char *detail;       /* why not; borrowed until the front is asked again */
    struct endpoint rbac_dst; /* what policy sees */
    struct endpoint connect;  /* where the application is */
    bool keep_source;
    const struct service *service; /* the one that was named; may be NULL; counted */
};

struct inbound_front {
    const char *protocol; /* "HBONE" or "TCP" */
    void (*plan)(struct inbound_conn *i, struct inbound_plan *out);
    /* Exactly one of the two, at most once; free follows when neither happened. */
    struct stream *(*accept)(struct inbound_conn *i);
    void (*refuse)(struct inbound_conn *i, unsigned status);
    void (*free)(struct inbound_conn *i);
};

enum inbound_step {
    IN_SELF,    /* the control plane does not know this pod yet */
    IN_POLICY,  /* a policy is named and not known: held */
    IN_CONNECT, /* to the application */
    IN_PREFACE  /* bytes that come before the client's (PROXY header) */
};

struct inbound_opening { /* what a connection needs no more once it is open */
    struct task task;
    struct timer limit; /* of the step */
    struct pod_wait wait;
    struct inbound_conn *conn;
    enum inbound_step step;
    struct inbound_plan plan;
    struct bytes preface;
    struct stream *near;
    struct stream *far;
    int abort;
};

struct inbound_conn { /* embedded first in a front's own struct */
    struct pod_conn conn;
    struct access access;
    struct pod *pod;
    const struct inbound_front *front;
    struct inbound_opening *opening; /* NULL once the relay has both legs */
    struct relay *relay;             /* NULL before */
    const struct workload *self;     /* counted */
    const struct workload *source;   /* counted; NULL: not known */
    const struct service *service;   /* counted; NULL: none */
    const struct identity *peer;     /* counted; NULL: plaintext */
    struct baggage_side *baggage;    /* NULL: nothing is known or asked of it */
    char *hbone_addr;                /* for the record; NULL without tunnel */
    char *forwarded_host;            /* NULL: none */
    struct endpoint client;          /* TCP peer */
    struct endpoint door;            /* where it came in, for the record */
    struct endpoint rbac_dst;        /* of the plan */
    struct endpoint connect;         /* of the plan */
    bool trust_source_ip;            /* the source may be looked up by its address */
};

/* The front has filled client, door, peer and the optional fields above; its texts are i's from here. */
void inbound_start(struct inbound_conn *i, struct pod *p, const struct inbound_front *front);
