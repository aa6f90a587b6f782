/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tunnel: an HTTP/2 connection over a secure stream, and its channels, the streams of CONNECT.
 * Two tasks: one reads and keeps the deadlines, the other runs at the end of a turn and sends at once
 * what all channels queued.
 *
 *   tunnel.c    life: steps, deadlines, the end
 *   tunnel_rx.c what frames mean (tunnel_wire_int.h)
 *   blocks.c    what header blocks mean
 *   tunnel_tx.c the queue of frames, and DATA that goes past it
 *   channel.c   the stream interface (channel_int.h)
 *
 * Nothing here calls upward: a channel wakes its owner, a tunnel wakes its user (a server's owner, a
 * pool), and what was learned is read from the objects. A channel that is over is taken off its tunnel
 * at once and lives on by itself until its owner closes it.
 */
#pragma once

#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"
#include "hbone/frame.h"
#include "hbone/glitch.h"
#include "hbone/hbone_loop.h"
#include "http/hpack.h"
#include "io/loop.h"
#include "io/stream.h"

enum hbone_role { HBONE_CLIENT, HBONE_SERVER };

enum {
    /* Queued beyond this: channels wait; answers beyond it: we read no more. */
    TUNNEL_OUT_SOFT = 64 << 10,
    TUNNEL_OUT_HARD = 1 << 20,      /* what one read and one batch can add is far less */
    TUNNEL_READ_BUDGET = 512 << 10, /* bytes read in one run */
    TUNNEL_OPENING_MS = 30000,      /* backstop: the secure stream has deadlines of its own */
    TUNNEL_HEAD_MAX = 15 << 10,     /* a CONNECT that we send fits one frame of any peer */
    TUNNEL_SERVER_LIST = 65536,     /* header lists we take (contract 2.3) */
    TUNNEL_CLIENT_LIST = 16384,
    TUNNEL_RECENT = 64,      /* streams we reset, whose late frames are no offence */
    TUNNEL_HOARD = 64 << 10, /* a stream that keeps less is never reset for want of memory */
    TUNNEL_PIECES = 64,
    TUNNEL_BATCH = 512 << 10,
    TUNNEL_SMALL = 2 << 10,       /* frames up to this wait for the end of the turn */
    TUNNEL_DIRECT_MIN = 16 << 10, /* more than this is lent out of the secure stream's memory */
};

#define TUNNEL_PING_OPAQUE  0x3b7cdb7a0b8716b4u /* contract 2.3 as recorded */
#define TUNNEL_DRAIN_OPAQUE 0x0b7ba2f08b9bfe54u /* contract 1.9 as recorded */

enum tunnel_step {
    TUNNEL_OPENING, /* the secure stream has not taken a byte yet */
    TUNNEL_OPEN,
    TUNNEL_ENDED /* the secure stream is given away; no channels; waits for its holder */
};

enum tunnel_drain {
    DRAIN_NONE,
    DRAIN_ASKED, /* server: GOAWAY with the highest id and a PING are out */
    DRAIN_FINAL  /* no stream is accepted any more */
};

enum tunnel_due {
    DUE_STEP,
    DUE_PREFACE,
    DUE_REQUEST, /* the first one */
    DUE_PING,    /* time to ask */
    DUE_PONG,
    DUE_STALL,
    DUE_ANSWER, /* to the oldest CONNECT */
    DUE_IDLE,
    DUE_DRAIN,
    DUE_COUNT
};

struct hbone_server;
struct hbone_dial;

struct peer_settings {
    uint32_t window;     /* INITIAL_WINDOW_SIZE in force */
    uint32_t new_window; /* of the SETTINGS frame that is being read */
    uint32_t frame_size;
    uint32_t streams;  /* UINT32_MAX until said */
    uint32_t table;    /* what the peer thinks our dynamic table may hold */
    bool no_table_due; /* the next block has to give the table up */
    bool no_priorities;
    bool extended_connect; /* ENABLE_CONNECT_PROTOCOL as last said; nothing here makes use of it */
    bool seen;             /* a whole SETTINGS frame */
};

struct channel;
struct header_block;

struct recent_ids {
    uint32_t ids[TUNNEL_RECENT];
    unsigned next;
};

struct tunnel {
    struct task task;
    struct task sender;
    struct timer timer;
    struct list in_loop;
    struct list in_route; /* of a pool */
    struct hbone_loop *home;
    struct stream *below; /* NULL once ended */
    struct task *user;    /* NULL: nobody listens */
    unsigned user_why;
    struct hbone_server *server; /* server role, while it has a holder */
    struct budget *budget;

    struct frame_reader reader;
    struct hpack_decoder *hpack;
    struct header_block *block; /* NULL between header blocks */
    struct channel *rx_stream;  /* of the DATA frame being read; NULL: dropped */
    struct bytes out;
    size_t out_data; /* DATA that was queued since out was empty */
    size_t charged;  /* to budget, for what waits to be sent */
    uint64_t sent;   /* bytes that below accepted */
    /* What tunnel_gone said when DUE_STALL and DUE_PONG were set. */
    int64_t stall_seen, pong_seen;

    struct map streams;
    struct list blocked; /* streams that wait for the connection to take more; first come first */
    struct list asked;   /* dials whose CONNECT has no answer yet; the oldest first */
    struct peer_settings peer;
    uint32_t window_acked; /* our INITIAL_WINDOW_SIZE as the peer has confirmed it */
    uint32_t window_sent;
    int32_t send_window;
    int32_t recv_window;
    uint32_t owed;      /* connection credit not yet returned */
    uint32_t next_id;   /* client: of the next stream */
    uint32_t peer_id;   /* server: highest seen */
    uint32_t peer_done; /* server: highest whose headers were read; what GOAWAY names */
    uint32_t peer_last; /* of the peer's GOAWAY; FRAME_ID_MAX + 1 before it */
    unsigned cap;       /* client: streams at most, by the pool */
    struct recent_ids *recent;
    struct glitches glitches;

    uint64_t due[DUE_COUNT]; /* loop time; 0: not due */
    int pending;             /* < 0: an error met in a stream's call, dealt with in run */
    int failure;             /* how it ended */
    struct diag diag;
    uint8_t role;  /* enum hbone_role */
    uint8_t step;  /* enum tunnel_step */
    uint8_t drain; /* enum tunnel_drain */
    bool held;     /* by a server or a pool */
    bool flush_due;
    bool settings_out; /* ours are not acknowledged yet */
    bool granted;      /* the connection's window was raised */
    bool below_full;   /* the secure stream refused the last attempt to send */
    bool rx_paused;    /* reading waits until the queue has gone out */
    bool full;         /* client: the peer refused a stream though its limit allowed it */
    bool heard;        /* something was received since DUE_PONG was set */
    bool watched;      /* the user wants to know when a stream ends */
};
/* tunnel.c. Takes below. The first user is the holder, if any; tunnel_release lets go. */
struct tunnel *tunnel_new(struct hbone_loop *home, struct stream *below, enum hbone_role role,
                          struct budget *budget);
/* The same without a word to the peer: for one that goes on elsewhere. */
struct tunnel *tunnel_make(struct hbone_loop *home, struct stream *below, enum hbone_role role,
                           struct budget *budget);
/* Whom to wake, and with what. */
void tunnel_hold(struct tunnel *t, struct task *user, unsigned why);
/* Nobody listens any more: it ends with its last channel. */
void tunnel_release(struct tunnel *t);
void tunnel_tell_user(struct tunnel *t);
void tunnel_due(struct tunnel *t, enum tunnel_due which, uint64_t in_ms); /* 0: never */
/* Ends with a GOAWAY; r is what channels see, 0 if there are none. */
void tunnel_abort(struct tunnel *t, enum reset_code code, int r, const char *debug);
/* The same without a GOAWAY: the peer does not speak HTTP/2. */
void tunnel_hang_up(struct tunnel *t, int r, const char *what);
/* Ends cleanly if nothing speaks for going on. */
void tunnel_maybe_finish(struct tunnel *t);
/* RST_STREAM CANCEL for every channel, then the end. */
void tunnel_kill(struct tunnel *t, int r);
void tunnel_start_drain(struct tunnel *t);
void tunnel_finish_drain(struct tunnel *t);
/* Client: how many more channels it may carry. */
unsigned tunnel_room(const struct tunnel *t);
/* Bytes that left for good: it grows while the peer takes something. May cost a system call. */
int64_t tunnel_gone(const struct tunnel *t);
void tunnel_free(struct tunnel *t);

static inline bool tunnel_is_alive(const struct tunnel *t)
{
    return t->step != TUNNEL_ENDED;
}

static inline uint64_t tunnel_now(const struct tunnel *t)
{
    return loop_now_ms(t->task.loop);
}
