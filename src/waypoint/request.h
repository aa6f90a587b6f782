/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from its head to the end of its response: judged, routed, given an endpoint, tried
 * (again, where the rule says so), its bodies moved both ways, recorded.
 */
#pragma once

#include "http/exchange.h"
#include "waypoint/session.h"

struct request_store; /* requests of one loop that are not in use, and what all of them count */
struct request_store *request_store_new(struct engine *e);
void request_store_free(struct request_store *r);
/* JSON elements: the latest requests. */
void request_store_write_recent(const struct request_store *r, struct strbuf *out);

struct request_counts {
    uint64_t retried, mirrored, mirrors_dropped;
};
struct request_counts request_store_counts(const struct request_store *r);

/* Takes x. It is in the session's list until it has ended. */
void request_open(struct session *s, struct exchange *take_x);
/* The record of a request that its connection refused. */
void request_refused(struct session *s, const struct refusal *r);
/* The client is gone, or has to go. */
void requests_abort(struct session *s, int why);
/* The pod that they go to is guarded by now: those that are under way end as denied. */
void requests_deny(struct session *s);
/* Policies have changed: those that are under way are judged again, and end where they would not be let
 * in now. How many were judged. */
unsigned requests_reconsider(struct session *s);
/* Now and then: those that have not moved for too long end. */
void requests_look_at_clock(struct session *s);
