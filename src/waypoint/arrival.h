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

enum arrival_verdict {
    ARRIVAL_SERVICE,
    ARRIVAL_WORKLOAD,
    ARRIVAL_NOT_OURS, /* 400 */
    ARRIVAL_NO_PORT,  /* 404 */
    ARRIVAL_GUARDED, /* 403: a pod's port that is only served by its service, for that has policy */
};

/* Fills service, workload and protocol of facts, with references; its destination is set. host is
 * what the client's proxy says was asked for, or empty: where services share an address. Pure but
 * for the engine's snapshots. */
enum arrival_verdict arrival_find(struct engine *e, struct entry *facts, struct slice host);

/* Takes the request. */
void arrival_open(struct inlet *i, struct hbone_request *take_request);
/* A connection in the clear. Takes fd. */
void arrival_open_plain(struct engine *e, int take_fd, const struct endpoint *peer,
                        const struct plain_listener *at);
