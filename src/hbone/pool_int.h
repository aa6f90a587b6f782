/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool and its dials know of each other. */
#pragma once

#include "hbone/pool.h"
#include "hbone/tunnel_wire_int.h"

enum { DIAL_ATTEMPTS_MAX = 3 }; /* tunnels that refuse before the dial fails */

struct route { /* one key of a pool */
    struct map_node in_pool;
    struct list in_routes;
    struct list tunnels;
    struct list waiting;   /* channels; first come first */
    uint32_t peer_streams; /* the limit that an earlier tunnel's peer announced */
    char *key;
    size_t key_len;
    struct hbone_target target; /* points into key */
};

struct hbone_pool {
    struct task task;
    struct timer timer; /* of the dials that wait */
    struct hbone_loop *home;
    struct hbone_dialer dialer;
    struct budget *budget;
    struct map by_key;
    struct list routes;
    unsigned tunnels;
    unsigned waiting;
    bool starved; /* at the last look: a dial waits for any tunnel to go idle */
};

struct hbone_dial {
    struct hbone_pool *pool; /* NULL: there is no other tunnel to try */
    struct route *route;     /* valid while queued or asked */
    struct hbone_head head;  /* until the answer */
    char *text;              /* of head */
    uint64_t due_ms; /* queued: for a tunnel; asked: for the answer; 0: the tunnel is opening */
    unsigned attempts;
    unsigned status;
};

/* dial.c */
struct channel *dial_new(struct hbone_loop *home, const struct hbone_head *head,
                         struct budget *budget);
/* Sends the CONNECT on t, which has room; or fails. */
void dial_ask(struct channel *ch, struct tunnel *t);
/* For channels without a tunnel. */
void dial_fail(struct channel *ch, int r, const char *what);

/* pool.c */
void pool_queue(struct hbone_pool *p, struct channel *ch);
/* Takes t, which has no holder. */
void pool_adopt(struct hbone_pool *p, const struct hbone_target *target, struct tunnel *t);
