/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP of one client connection: HTTP/1.1 or HTTP/2, whichever its first bytes said. */
#pragma once

#include "http/h1_server.h"
#include "http/h2_session.h"
#include "obs/http_access.h"
#include "waypoint/entry.h"

/* What requests of a connection share of the configuration, until it changes. Counted without
 * atomics: one loop. */
struct held {
    unsigned users;
    uint64_t generation;            /* of the l7 */
    const struct l7_service *bound; /* counted; NULL: a workload, or it went */
    const struct l7_port *port;     /* of bound; NULL: it went */
};
struct held *held_ref(struct held *h);
void held_unref(struct held *h); /* accepts NULL */

struct session { /* read only for its requests */
    struct entry entry;
    struct task task;
    struct h1_server *h1;
    struct h2_session *h2;
    struct list requests; /* struct request */
    struct held *held;
    uint64_t served;
    bool over; /* the connection is gone; ends with its last request */
    int abort;
    struct http_series series;         /* of the last record */
    const struct workload *series_dst; /* counted: what the row is about */
};

/* Takes the references in facts, the stream, and what was read of it (seen is empty afterwards). */
void session_open(const struct entry *take_facts, struct stream *take_near, struct bytes *take_seen,
                  bool h2);
/* As it is now. Borrowed until the turn ends. */
struct held *session_held(struct session *s);
/* The last of what a request does: it is not in the session's list any more. */
void session_request_gone(struct session *s);
