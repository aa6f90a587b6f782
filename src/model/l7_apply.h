/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rule makes of a request: the drawn backend, the Location of a redirect, the path behind a
 * rewrite, the answer to a preflight. Pure; chance comes in as a seed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "model/l7_request.h"
#include "model/l7_route.h"
#include "model/l7_table.h"

/* What is answered without a backend, or 0. */
enum l7_refusal {
    L7_FOLLOWED = 0,
    L7_NO_ROUTE,   /* 404 (gRPC: UNIMPLEMENTED) */
    L7_BAD_RULE,   /* 500: route->invalid */
    L7_NO_BACKEND, /* 500: none in the rule, or all weights are 0 */
    L7_BAD_BACKEND /* 500: the drawn backend is invalid */
};

/* By weight over all backends, the invalid ones included. *out is set for L7_FOLLOWED and
 * L7_BAD_BACKEND. A rule's redirect comes before: it needs no backend. One of the drawn
 * backend answers in its place. */
enum l7_refusal l7_pick_backend(const struct l7_route *r, uint64_t seed,
                                const struct l7_backend **out);
/* What host and path become: each as the drawn backend says, else the rule. r may be NULL. */
struct l7_rewrite l7_rewrite_of(const struct l7_route *r, const struct l7_backend *drawn);
/* An independent draw a mirror. */
bool l7_mirror_drawn(const struct l7_mirror *m, uint64_t seed);
/* A response of this status is tried again. */
bool l7_retries_status(const struct l7_retry *r, unsigned status);
/* Before retry n (1 is the first): full jitter, base doubled each time, at most 10 times it. */
uint64_t l7_retry_backoff_ms(const struct l7_retry *r, unsigned n, uint64_t seed);

/* Appends the path that the request goes on with; match says which prefix it had. The query is not
 * part of it. */
void l7_path_apply(const struct l7_path_change *c, const struct l7_match *match, struct slice path,
                   struct strbuf *out);

struct l7_came {            /* how the request came in */
    const char *scheme;     /* "http" or "https" */
    uint16_t listener_port; /* at a waypoint the service's port */
};
/* Appends the Location: port of the filter, else of its scheme, else the listener's; ":80" of http
 * and ":443" of https are left out. */
void l7_redirect_location(const struct l7_redirect *r, const struct l7_match *match,
                          const struct l7_request *q, const struct l7_came *came,
                          struct strbuf *out);

/* ---- CORS */

struct l7_cors_verdict {
    bool preflight;   /* answered here (200 or 204), never forwarded */
    bool allowed;     /* the origin may; otherwise no header at all */
    bool credentials; /* access-control-allow-credentials: true */
};
struct l7_cors_headers { /* "": left out; "vary: origin" goes with every origin but "*" */
    struct strbuf allow_origin;
    struct strbuf allow_methods; /* preflight only, like the next and max_age */
    struct strbuf allow_headers;
    struct strbuf expose_headers; /* not on preflights' refusals */
    struct strbuf max_age;
};
struct l7_cors_verdict l7_cors_decide(const struct l7_cors *c, const struct l7_request *q,
                                      struct l7_cors_headers *out);
void l7_cors_headers_fini(struct l7_cors_headers *h);
bool l7_is_preflight(const struct l7_request *q);
