/* SPDX-License-Identifier: Apache-2.0 */
/* A client's tunnel: TLS with a certificate demanded, then CONNECT requests (hbone/server.h). */
#pragma once

#include "hbone/server.h"
#include "waypoint/engine.h"

struct inlet { /* read only for those it hands requests to */
    struct task task;
    struct timer limit;
    struct list in_engine;
    struct own_wait wait;
    struct engine *engine;
    unsigned step;
    struct stream *tcp;          /* NULL once the server has it */
    struct hbone_server *server; /* NULL before */
    const struct identity *peer; /* known after the handshake */
    bool shaken;                 /* the handshake was seen to be done */
    struct endpoint client;
    struct endpoint local;
};

/* Takes fd; it counts in the engine's load until it ends. */
void inlet_open(struct engine *e, int take_fd, const struct endpoint *peer);
/* No new requests; ends with its last stream. */
void inlet_drain(struct inlet *i);
/* Ends soon, its streams with it; why < 0. */
void inlet_abort(struct inlet *i, int why);
