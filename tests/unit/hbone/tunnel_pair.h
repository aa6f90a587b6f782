/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ends of one tunnel in one loop, over whatever joins two streams: the server side accepts every
 * request at once and hands its streams out in order.
 */
#pragma once

#include "hbone/pool.h"
#include "hbone/server.h"
#include "io/loop.h"
#include "io/stream.h"

enum { PAIR_STREAMS = 256 };

struct tunnel_pair {
    struct loop *loop; /* borrowed */
    struct hbone_loop *home;
    struct hbone_server *server;
    struct task acceptor;
    struct stream *accepted[PAIR_STREAMS];
    unsigned accepted_count;
    int server_end; /* of hbone_server_next, once it is not -EAGAIN */
};

/* Takes both streams; dials go through hbone_dial_once over the first. */
void tunnel_pair_init(struct tunnel_pair *p, struct loop *l, const struct hbone_limits *limits);
/* The server over below, which it takes. */
void tunnel_pair_serve(struct tunnel_pair *p, struct stream *below, struct budget *budget);
/* Turns the loop until count streams were accepted; false if that does not happen. */
bool tunnel_pair_wait(struct tunnel_pair *p, unsigned count);
/* Everything but the streams, which must be closed. Turns the loop until nothing lingers. */
void tunnel_pair_fini(struct tunnel_pair *p);

extern const struct hbone_head tunnel_pair_head;
