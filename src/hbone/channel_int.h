/* SPDX-License-Identifier: Apache-2.0 */
/* One stream of CONNECT, either role, and what its two ends of life need of servers and dials. */
#pragma once

#include "hbone/chunk.h"
#include "hbone/headers.h"
#include "hbone/tunnel_int.h"

struct hbone_request;

enum channel_step {
    CHANNEL_QUEUED,  /* a dial without a tunnel */
    CHANNEL_ASKED,   /* a dial without an answer */
    CHANNEL_REQUEST, /* a request without an answer */
    CHANNEL_OPEN,
    CHANNEL_OVER /* off its connection; failure says how, 0: both halves ended */
};

struct channel {
    struct stream s;
    struct tunnel *tunnel; /* NULL while queued and once over */
    struct map_node in_tunnel;
    struct list in_list; /* asked or blocked of its tunnel, or waiting of its route */
    struct rx_queue rx;
    union {
        struct hbone_dial *dial; /* of a dial until its 200 is of no interest any more, or NULL */
        struct hbone_request *request; /* while step is CHANNEL_REQUEST */
    };
    int64_t body_left; /* of a request with content-length; -1: any */
    uint32_t id;
    int32_t send_window;
    int32_t recv_window;
    uint32_t owed; /* stream credit not yet returned */
    int failure;
    uint8_t step; /* enum channel_step */
    bool opened;  /* a dial that had its 200 */
    bool remote_ended;
    bool local_ended;
    bool released;   /* the peer reset it after its own end: it takes no more (RFC 9113 8.1) */
    bool spilled;    /* but there was more */
    bool wants_read; /* answered -EAGAIN */
    bool wants_write;
};

struct lent {               /* room that a stream has lent and the caller has not committed yet */
    struct channel *stream; /* NULL: none */
    bool below;             /* it is the secure stream's own memory */
    int count;
    struct iovec v[TUNNEL_PIECES]; /* payload; each has a frame's head in front */
};

struct hbone_loop {
    struct loop *loop;
    struct hbone_limits limits;
    struct hbone_stats stats;
    struct budget *budget;
    struct chunk_pool chunks;
    struct list tunnels;
    struct loop_rest rest;
    struct hpack_decoder *blank; /* for the next header block; NULL: none */
    uint8_t *slab;  /* TUNNEL_BATCH bytes for DATA that the secure stream does not lend room for */
    bool slab_used; /* since the last rest */
    struct lent lent;
};

static inline struct hbone_loop *channel_home(const struct channel *ch)
{
    return container_of(ch->rx.pool, struct hbone_loop, chunks);
}

/* Never NULL: TUNNEL_BATCH bytes to use within one run. */
uint8_t *hbone_loop_slab(struct hbone_loop *home);
/* channel.c */
struct channel *channel_new(struct hbone_loop *home, struct budget *budget);
void channel_free(struct channel *ch);
void channel_attach(struct channel *ch, struct tunnel *t, uint32_t id);
void channel_detach(struct channel *ch);
/* Off its tunnel. r < 0: what calls answer after what is buffered, ch->s.diag has the text; 0: both
 * halves have ended. A request that nobody has taken is gone after this. */
void channel_over(struct channel *ch, int r);
/* The same, and says so to the peer. */
void channel_reset(struct channel *ch, enum reset_code code, int r, const char *what);
void channel_remote_ended(struct channel *ch);
/* So many octets of the peer's are out of the way. */
void channel_credit(struct channel *ch, size_t taken);
/* Answers -EAGAIN, and notes who is to be woken. */
int channel_wait_write(struct channel *ch);
void channel_wake_reader(struct channel *ch);
void channel_wake_writer(struct channel *ch);
bool stream_is_channel(const struct stream *s);
struct channel *channel_of(struct stream *s);

/* server.c */
/* Takes the contents of headers. False: nobody is there to take it. */
bool server_add_request(struct tunnel *t, struct channel *ch, struct headers *headers);
/* Its channel is over. True: nobody had taken it and it is gone. */
bool request_over(struct hbone_request *r);

/* dial.c */
/* The final answer has come. */
void dial_answered(struct channel *ch, const struct headers *headers);
/* The peer has not looked at it: tries elsewhere, or fails with r. */
void dial_refused(struct channel *ch, int r, const char *what);
/* Closed while it waits for a tunnel. */
void dial_unqueue(struct channel *ch);
void dial_free(struct hbone_dial *d);
/* The tunnel has opened: the peer's time to answer begins. */
void dial_start_clocks(struct tunnel *t);
/* Gives up on those whose time is over. */
void dial_check_clocks(struct tunnel *t);
