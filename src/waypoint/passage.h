/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that is not HTTP, or not to be read: judged by what is known of it without its
 * content, given an endpoint (by the weights of a TCPRoute, if there is one), and relayed. Whoever
 * speaks first is not waited for. Judged again when policies change.
 */
#pragma once

#include "hbone/server.h"
#include "waypoint/entry.h"

enum { PASSAGE_TRIES = 3 };

/* Both take the references in facts. The CONNECT is answered once the endpoint has the connection:
 * 401 where policy says no, 503 where nobody can be reached. */
void passage_open_request(const struct entry *take_facts, struct hbone_request *take_request);
void passage_open(const struct entry *take_facts, struct stream *take_near);
