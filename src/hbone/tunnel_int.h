/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tunnel: an HTTP/2 connection over a secure stream, and its channels, the streams of CONNECT.
 * Two tasks: one reads and keeps the deadlines, the other runs at the end of a turn and sends at once
 * what all channels queued.
 *
 *   tunnel.c    life: steps, deadlines, the end
 *   tunnel_rx.c what frames mean
 *   blocks.c    what header blocks mean
 *   tunnel_tx.c the queue of frames, and DATA that goes past it
 *   channel.c   the stream interface
 *
 * Nothing here calls upward: a channel wakes its owner, a tunnel wakes its user (a server's owner, a
 * pool), and what was learned is read from the objects. A channel that is over is taken off its tunnel
 * at once and lives on by itself until its owner closes it.
 */
#pragma once

#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"
#include "hbone/chunk.h"
#include "hbone/frame.h"
#include "hbone/glitch.h"
#include "hbone/hbone_loop.h"
#include "hbone/headers.h"
#include "http/hpack.h"
#include "io/loop.h"
#include "io/stream.h"

enum hbone_role { HBONE_CLIENT, HBONE_SERVER };

enum {
    TUNNEL_OUT_SOFT =
        64 << 10, /* queued beyond this: channels wait; answers beyond it: we read no more */
    TUNNEL_OUT_HARD = 1 << 20,      /* what one read and one batch can add is far less */
    TUNNEL_READ_BUDGET = 256 << 10, /* bytes read in one run */
    TUNNEL_OPENING_MS = 30000,      /* backstop: the secure stream has deadlines of its own */
    TUNNEL_HEAD_MAX = 15 << 10,     /* a CONNECT that we send fits one frame of any peer */
    TUNNEL_SERVER_LIST = 65536,     /* header lists we take (contract 2.3) */
    TUNNEL_CLIENT_LIST = 16384,
    TUNNEL_RECENT = 64,      /* streams we reset, whose late frames are no offence */
    TUNNEL_HOARD = 64 << 10, /* a stream that keeps less is never reset for want of memory */
    TUNNEL_PIECES = 32,
    TUNNEL_BATCH = 256 << 10,
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
    bool seen;         /* a whole SETTINGS frame */
};

enum block_kind {
    BLOCK_REQUEST,
    BLOCK_REFUSED, /* one stream too many */
    BLOCK_ANSWER,
    BLOCK_TRAILERS,
    BLOCK_AFTER_END, /* HEADERS on a half that has ended */
    BLOCK_IGNORED    /* of a stream that is gone */
};

struct header_block { /* the header block being read */
    uint32_t stream;
    enum block_kind kind;
    bool end_stream;
    bool self;
    struct headers headers;
};

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
    bool watched;      /* the user wants to know when a stream ends */
};

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
    struct hbone_dial *dial;       /* made by a dial; NULL otherwise */
    struct hbone_request *request; /* while step is CHANNEL_REQUEST */
    struct hbone_loop *home;
    int64_t body_left; /* of a request with content-length; -1: any */
    uint32_t id;
    int32_t send_window;
    int32_t recv_window;
    uint32_t owed; /* stream credit not yet returned */
    int failure;
    uint8_t step; /* enum channel_step */
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
    uint8_t *slab; /* TUNNEL_BATCH bytes for DATA that the secure stream does not lend room for */
    struct lent lent;
};

/* Never NULL: TUNNEL_BATCH bytes to use within one run. */
uint8_t *hbone_loop_slab(struct hbone_loop *home);

/* tunnel.c. Takes below. The first user is the holder, if any; tunnel_release lets go. */
struct tunnel *tunnel_new(struct hbone_loop *home, struct stream *below, enum hbone_role role,
                          struct budget *budget);
/* Whom to wake, and with what. */
void tunnel_hold(struct tunnel *t, struct task *user, unsigned why);
/* Nobody listens any more: it ends with its last channel. */
void tunnel_release(struct tunnel *t);
void tunnel_tell_user(struct tunnel *t);
void tunnel_due(struct tunnel *t, enum tunnel_due which, uint64_t in_ms); /* 0: never */
/* Ends at once: the secure stream is of no use any more. */
void tunnel_lost(struct tunnel *t, int r);
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
void tunnel_free(struct tunnel *t);

static inline bool tunnel_is_alive(const struct tunnel *t)
{
    return t->step != TUNNEL_ENDED;
}

static inline uint64_t tunnel_now(const struct tunnel *t)
{
    return loop_now_ms(t->task.loop);
}

/* tunnel_rx.c */
void tunnel_receive(struct tunnel *t, struct slice input);
bool tunnel_spend(struct tunnel *t, enum glitch kind); /* false: the tunnel was aborted */
struct channel *tunnel_find(const struct tunnel *t, uint32_t id);
/* The peer may not know yet that we reset it. */
bool tunnel_is_recent(const struct tunnel *t, uint32_t id);
void tunnel_remember(struct tunnel *t, uint32_t id);
/* A stream that neither side has opened. */
bool tunnel_is_idle(const struct tunnel *t, uint32_t id);
/* Raises the connection's window, once. */
void tunnel_grant(struct tunnel *t);
/* RST_STREAM for a stream without a channel. */
void tunnel_refuse(struct tunnel *t, uint32_t id, enum reset_code code);

/* blocks.c */
void tunnel_block_begin(struct tunnel *t, const struct frame *f);
void tunnel_block_piece(struct tunnel *t, const struct frame *f);
void header_block_free(struct header_block *b);

/* tunnel_tx.c */
/* Notes the result of a frame_put, and has the queue sent at the end of the turn. */
void tunnel_put(struct tunnel *t, int r);
void tunnel_put_preface(struct tunnel *t);
/* Promises new streams as much as memory allows. */
void tunnel_adapt_window(struct tunnel *t);
/* 0 or -ERR_TOO_LARGE, with nothing sent. */
MUST_USE int tunnel_put_connect(struct tunnel *t, uint32_t id, const struct hbone_head *head);
void tunnel_put_answer(struct tunnel *t, uint32_t id, unsigned status, struct slice baggage,
                       bool end);
/* 0, -EAGAIN, or the secure stream's error. */
MUST_USE int tunnel_push(struct tunnel *t);
/* Room for DATA of ch, without the frames' heads: pieces, or -EAGAIN with a wake to come. */
MUST_USE int tunnel_reserve(struct channel *ch, struct iovec *out, int max, size_t want);
void tunnel_commit(struct channel *ch, size_t len);
void tunnel_wake_blocked(struct tunnel *t);

/* channel.c */
struct channel *channel_new(struct hbone_loop *home, struct budget *budget);
void channel_free(struct channel *ch);
void channel_attach(struct channel *ch, struct tunnel *t, uint32_t id);
void channel_detach(struct channel *ch);
/* Off its tunnel. r < 0: what calls answer after what is buffered, ch->s.diag has the text; 0: both
 * halves have ended. A request that nobody has taken is gone after this. */
void channel_over(struct channel *ch, int r);
void channel_maybe_over(struct channel *ch);
/* The same, and says so to the peer. */
void channel_reset(struct channel *ch, enum reset_code code, int r, const char *what);
void channel_remote_ended(struct channel *ch);
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
