/* SPDX-License-Identifier: Apache-2.0 */
/* How far a request has come, and what is decided of it: where it goes, or what is answered here. */
#pragma once

#include "model/l7_route.h"
#include "obs/http_access.h"
#include "waypoint/upstream.h"

enum request_step {
    REQUEST_START,    /* nothing is decided */
    REQUEST_ENDPOINT, /* needs an endpoint and a connection to it */
    REQUEST_LEASE,    /* a connection is on its way */
    REQUEST_HEAD,     /* sent, or being so; the response's head is awaited */
    REQUEST_BODY,     /* the response moves */
    REQUEST_BACKOFF,  /* before another try */
    REQUEST_REPLY,    /* answered here; the text leaves */
    REQUEST_UPGRADED, /* another protocol runs; a relay has both ends */
    REQUEST_OVER
};

/* Where it is to go. */
struct request_plan {
    const struct l7_route *route; /* NULL: straight to the service; held by request.held */
    const struct l7_match *match;
    const struct l7_backend *backend; /* NULL: straight to the service */
    const char *key;                  /* of the service; NULL: the workload */
    uint16_t port;
    enum upstream_protocol protocol;
    unsigned retries;     /* left */
    bool default_retries; /* only where no server can have acted */
    bool fell_back;       /* to HTTP/1.1: over HTTP/2 the server offers no change of protocol */
};

struct request_reply {
    unsigned status;
    enum http_flag flag;
    const char *details;
    const char *body; /* "" or text; borrowed, or in request.text */
    bool overloaded;  /* says so in a header */
};
