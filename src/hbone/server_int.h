/* SPDX-License-Identifier: Apache-2.0 */
/* A server as its hand-over sees it. */
#pragma once

#include "hbone/server.h"
#include "hbone/tunnel_int.h"

struct hbone_server {
    struct tunnel *tunnel;
    struct task *owner;
    struct list untaken; /* requests */
    unsigned resets;     /* since the owner last kept up */
    bool closing;
};

/* Takes t, of the server's role and without a holder. */
struct hbone_server *server_wrap(struct tunnel *t, struct task *owner);
