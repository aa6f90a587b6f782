/* SPDX-License-Identifier: Apache-2.0 */
/* A server of HTTP/1.1 with a client that plays a script, for tests; all of it is the rig's. */
#pragma once

#include "handler.h"
#include "http/h1_server.h"
#include "mempipe.h"
#include "wire.h"

struct h1_rig {
    struct loop *loop;
    struct wire client;
    struct handler app;
    struct h1_server *server;
    struct mempipe_fault fault;
};

/* pipe: octets on the way at most; fail_at: which call of the server's stream fails, -1: none; limits:
 * NULL for the defaults. */
void h1_rig_start_with(struct h1_rig *g, const char *script, size_t pipe, int fail_at,
                       const struct h1_limits *limits);
void h1_rig_start(struct h1_rig *g, const char *script);
/* Nothing is left. */
bool h1_rig_stop(struct h1_rig *g);

/* Sends the script, lets everything happen; then the verdict is the caller's. */
#define PLAY(g, script)                                                                            \
    h1_rig_start((g), (script));                                                                   \
    CHECK(settle((g)->loop))
