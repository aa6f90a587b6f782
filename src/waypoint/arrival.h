/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the authority of a CONNECT to what serves it: an owned service's address and port, an owned
 * workload's address; anything else is refused, for a waypoint is no relay. Then what the
 * connection speaks: said by the port, or found out from its first bytes.
 */
#pragma once

#include "hbone/server.h"
#include "waypoint/entry.h"

struct inlet;

/* Takes the request. */
void arrival_open(struct inlet *i, struct hbone_request *take_request);
/* A connection in the clear. Takes fd. */
void arrival_open_plain(struct engine *e, int take_fd, const struct endpoint *peer,
                        const struct plain_listener *at);
