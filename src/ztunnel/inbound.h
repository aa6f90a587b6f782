/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that wants to enter the pod, whichever door it came through: policy first, then the
 * application, then bytes. The door (a CONNECT on a tunnel, a plain connection) is a front: it says
 * where the connection goes and how it is told yes or no.
 */
#pragma once

#include "base/bytes.h"
#include "base/ref.h"
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
    /* Exactly one of the two, at most once, while i is opening. */
    struct stream *(*accept)(struct inbound_conn *i);
    void (*refuse)(struct inbound_conn *i, unsigned status);
    /* i is about to go, with its opening if there still is one: lets go of what the front has there. */
    void (*end)(struct inbound_conn *i);
};

enum inbound_step {
    IN_SELF,    /* the control plane does not know this pod yet */
    IN_POLICY,  /* a policy is named and not known: held */
    IN_CONNECT, /* to the application */
    IN_PREFACE  /* bytes that come before the client's (PROXY header) */
};

/* What a connection needs no more once it is open; first in a front's own struct, of mem_new. */
struct inbound_opening {
    struct timer limit; /* of the step */
    struct pod_wait wait;
    enum inbound_step step;
    struct inbound_plan plan;
    struct bytes preface;
    struct stream *near;
    struct stream *far;
};

/* Where a connection comes from: shared by all that come over one tunnel. */
struct inbound_origin {
    struct ref refs;
    struct endpoint client;      /* TCP peer */
    struct endpoint door;        /* where it came in, for the record */
    const struct identity *peer; /* counted; NULL: plaintext, or not known yet */
};
struct inbound_origin *inbound_origin_new(void);
struct inbound_origin *inbound_origin_ref(struct inbound_origin *o);
void inbound_origin_unref(struct inbound_origin *o);

struct inbound_conn {
    struct task task;
    struct pod_conn conn;
    struct access access;
    struct pod *pod;
    const struct inbound_front *front;
    struct inbound_origin *from;     /* counted */
    struct inbound_opening *opening; /* NULL once the relay has both legs */
    struct relay relay;
    const struct workload *self;   /* counted */
    const struct workload *source; /* counted; NULL: not known */
    const struct service *service; /* counted; NULL: none */
    struct baggage_side *baggage;  /* NULL: nothing is known or asked of it */
    char *asked_host;              /* of the CONNECT; NULL: the address of rbac_dst */
    char *forwarded_host;     /* what the client named, where that is not the service; or NULL */
    struct endpoint rbac_dst; /* of the plan */
    int abort;                /* < 0: asked to end with this result */
    uint16_t asked_port;      /* of the CONNECT */
    bool forwarded_service;   /* the client named the service */
    bool trust_source_ip;     /* the source may be looked up by its address */
};

/* Takes i, of mem_new: the front has filled in from, opening and the optional fields above. */
void inbound_start(struct inbound_conn *take_i, struct pod *p, const struct inbound_front *front);
