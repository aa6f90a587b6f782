/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as decisions see it: borrowed, filled by whoever has the real one (the waypoint, a
 * command line, a test). Nothing here is changed by a decision.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/str.h"
#include "model/identity.h"

/* The connection it came on. Only the first leg's certificate says who the peer is. */
struct l7_conn {
    const struct identity *peer; /* NULL: nobody */
    struct endpoint source;      /* the client, as the node proxy's connection shows it */
    struct ip remote; /* the original client where trusted hops name one; else source's */
    struct endpoint destination; /* the port is the service's */
    struct slice sni;            /* empty: none */
};

struct l7_request {
    const struct l7_conn *conn;
    struct slice method;
    struct slice authority; /* as http_host_canonical makes it, with the port that was sent */
    struct slice path;      /* as http_path_normalise makes it; or as it came */
    struct slice respelt;   /* then: as http_path_respell makes it; else empty */
    struct slice query;     /* as received, without its '?' */
    /* The value of a header by its lower-case name; several lines joined with ','. p NULL: there is
     * none. May be NULL: no headers. */
    struct slice (*header)(void *arg, const char *name);
    void *header_arg;
    /* Of a token that was verified: "iss/sub", and the string values of the claim at that path (one
     * for a string, its strings for a list; of spaceDelimitedClaims the words). Writes at most room
     * of them, returns how many there are. claim may be NULL: no token. */
    struct slice principal;
    size_t issuer_len; /* of principal: what stands before the '/' that joins the two */
    size_t (*claim)(void *arg, const char *const *path, size_t depth, struct slice *values,
                    size_t room);
    void *claim_arg;
};

enum { L7_CLAIM_VALUES_MAX = 64 }; /* beyond, a claim cannot be judged, and the request is denied */

/* p NULL: none. "host" is the authority, which is a part of the head and not a field of it. */
struct slice l7_request_header(const struct l7_request *q, const char *name);
