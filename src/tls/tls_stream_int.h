/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the TLS stream share: tls_stream.c (the calls and the end), tls_shake.c (the
 * handshake), tls_room.c (how many of these there may be), tls_in.c and tls_out.c (the two batches), tls_loop.c, tls_handover.c.
 */
#pragma once

#include "base/ip.h"
#include "base/list.h"
#include "base/map.h"
#include "tls/tls_stream.h"

enum {
    TLS_IN_BYTES = TLS_BATCH_RECORDS * RECORD_SLOT,    /* as much may be handed over */
    TLS_IN_READ = TLS_BATCH_RECORDS / 2 * RECORD_SLOT, /* at once: stays in the L2 cache */
    TLS_IN_PIECES = 64,
    TLS_NESTED_BYTES = 32 << 10,
    TLS_OUT_ROOM = TLS_BATCH_RECORDS * RECORD_PLAIN_MAX, /* payload of one batch */
    /* A key update goes in front of the first slot without moving the slots. */
    TLS_OUT_BYTES = RECORD_CONTROL_MAX + TLS_BATCH_RECORDS * RECORD_SLOT,
    TLS_REST_MS = 1000,      /* without a record: the expanded keys go */
    TLS_SHAKE_RETRY_MS = 10, /* the job pool was full in mid-handshake */
};

/* Bytes received that their stream has to keep while another one uses the batch. */
struct tls_kept {
    size_t plain_at, plain_end; /* opened, not yet read */
    size_t end;                 /* what follows plain_end is still sealed */
    uint8_t data[];
};

/* Sealed bytes that below has not taken. */
struct tls_wire {
    size_t at, end;
    uint8_t data[];
};

struct tls_in { /* the receiving batch: [opened pieces ... | sealed rest] */
    struct tls_stream *holder;
    uint8_t *buf;           /* TLS_IN_BYTES, made at first use */
    bool used;              /* since the last rest */
    size_t raw_at, raw_end; /* not yet opened */
    unsigned piece_at, piece_end;
    struct iovec piece[TLS_IN_PIECES];
};

enum tls_out_step { TLS_OUT_FILLING, TLS_OUT_SENDING };

struct tls_out { /* the sending batch */
    struct tls_stream *holder;
    uint8_t *buf; /* TLS_OUT_BYTES, made at first use */
    bool used;    /* since the last rest */
    enum tls_out_step step;
    size_t filled;  /* FILLING: payload bytes in the slots */
    size_t at, end; /* SENDING: what is left of the sealed bytes */
};

struct tls_lane { /* unfinished handshakes of one fairness key */
    struct map_node by_key;
    uint64_t key;
    unsigned count;
    struct list places; /* the oldest first */
    struct map sources;
    struct list turn;   /* sources with a step to compute, in the order they are served */
    unsigned computing; /* steps in the job pool */
};

struct tls_source { /* those of a lane that come from one address */
    struct map_node by_ip;
    struct ip ip;
    unsigned count;
    struct list ready; /* places that have a step to compute, the oldest first */
    struct list in_turn;
};

struct tls_place { /* an unfinished handshake in the room that there is for these */
    struct list in_lane;
    struct list in_ready;
    bool computing; /* its step is in the job pool */
    struct tls_stream *stream;
    struct tls_lane *lane; /* NULL: it has no place */
    struct tls_source *source;
};

struct tls_loop {
    struct loop *loop;
    struct loop_rest rest;
    struct jobs *pool;
    struct tls_ctx *ctx;
    struct tls_loop_options options;
    struct tls_loop_stats stats;
    struct map lanes;
    struct list lingering;
    uint8_t *nested; /* TLS_NESTED_BYTES, made at first use: see tls_in.c */
    struct tls_in in;
    struct tls_out out;
};

enum tls_step {
    TLS_READ,   /* the peer has to say more */
    TLS_TURN,   /* the next step is to be computed when it is its address's turn */
    TLS_WORK,   /* a job computes */
    TLS_SEND,   /* the answer is on its way */
    TLS_OPEN,   /* records flow */
    TLS_FAILED, /* every call answers its half's error */
    TLS_LINGER, /* closed by the owner: what was accepted still goes out */
};

enum tls_end { TLS_END_NONE, TLS_END_NOTIFIED /* close_notify is sealed */, TLS_END_SHUT };

struct tls_stream {
    struct stream s;
    struct task task; /* owns below */
    struct timer deadline;
    struct list in_lingering;
    struct tls_loop *l;
    struct stream *below;
    struct tls_shake *shake; /* NULL once open or failed */
    struct record *record;   /* NULL until open */
    struct tls_kept *kept;   /* NULL: nothing */
    struct tls_wire *wire;   /* NULL: nothing outside the batch */
    struct tls_peer peer;
    int in_error, out_error; /* final, 0 while the half is alive */
    enum tls_step step;
    enum tls_end end; /* of our half */
    bool dirty;       /* below may hold bytes of ours until it is flushed */
    bool in_ended;    /* the peer's close_notify came */
    bool waits;       /* the owner was answered -EAGAIN and is owed a wake */
    bool stirred;     /* keys were used since the timer was set, which while open is for that */
};

void tls_enter(struct tls_stream *t, enum tls_step next);
/* Both halves are lost. diag is already in t->s.diag or why is copied into it. Returns r. */
int tls_fail(struct tls_stream *t, int r, const struct diag *why);
/* 0 when records flow, -EAGAIN while the handshake runs, or error. */
int tls_ready(struct tls_stream *t, int half_error);
/* Whether below is a socket. Anything else may itself end in a TLS stream of this loop (the inner session
 * of a tunnel in a tunnel), so it must not be called while we use a batch. */
bool tls_is_flat(const struct tls_stream *t);
/* Keys are about to be used. */
void tls_stir(struct tls_stream *t);
/* The owner is owed a wake now. Returns -EAGAIN. */
int tls_blocked(struct tls_stream *t);
struct tls_stream *tls_stream_make(struct tls_loop *l, struct stream *below);
/* Frees t, which has given up below. */
void tls_stream_free(struct tls_stream *t);

/* tls_shake.c */
void tls_shake_start(struct tls_stream *t, const struct handshake_spec *spec, uint64_t lane,
                     const struct ip *from);
void tls_shake_run(struct tls_stream *t);
void tls_shake_drop(struct tls_stream *t);
/* It is the peer's turn. */
bool tls_shake_is_silent(const struct tls_stream *t);
/* Nothing was computed for it. */
bool tls_shake_is_new(const struct tls_stream *t);
/* Its turn: into the job pool, or -ERR_LIMIT, and it asks for its turn again a little later. */
MUST_USE int tls_shake_compute(struct tls_stream *t);
/* Ends it for another one's sake. */
void tls_shake_displace(struct tls_stream *t);

/* tls_room.c: -ERR_LIMIT when there is no place. Where the lane is full, a source that has less than
 * its fair share of it gets the place of one that has more: of a handshake that waits for its peer, the
 * one that does so for longest, if there is any. Where nobody has more than a fair share, a source that
 * has nothing gets the place of the oldest that waits for its peer. */
MUST_USE int tls_room_enter(struct tls_stream *t, struct tls_place *p, uint64_t lane,
                            const struct ip *from);
/* p has a step to compute: the sources of a lane take turns. */
void tls_room_ask(struct tls_place *p);
void tls_room_ask_again(struct tls_place *p); /* after tls_shake_compute() found the pool full */
void tls_room_computed(struct tls_place *p);  /* the step of p was computed */
void tls_room_leave(struct tls_loop *l, struct tls_place *p);

/* Failures below are kept in t, for the half that they concern, and told by its next call. */

/* tls_in.c: up to max pieces of plaintext; 0 at the clean end; -EAGAIN or the error. */
int tls_in_peek(struct tls_stream *t, struct iovec *out, int max);
void tls_in_skip(struct tls_stream *t, size_t len);
/* The same by copying, or without: 0 at the clean end, -EAGAIN or the error. */
ssize_t tls_in_read(struct tls_stream *t, uint8_t *into, size_t room);
/* Starts with bytes that came behind the handshake, or with what was handed over. */
MUST_USE int tls_in_keep(struct tls_stream *t, struct slice plain, struct slice raw);
/* Moves t's bytes out of the batch; -ENOMEM loses them. */
int tls_in_evict(struct tls_stream *t);
void tls_in_drop(struct tls_stream *t);

/* tls_out.c: room in the slots; -EAGAIN while sealed bytes wait for below. */
int tls_out_reserve(struct tls_stream *t, struct iovec *out, int max, size_t want);
void tls_out_commit(struct tls_stream *t, size_t len);
/* 0 once everything accepted, and what the record layer itself has to say, has left below too. */
int tls_out_flush(struct tls_stream *t);
/* Seals an alert behind all else: the end of our half. -EAGAIN, t->end as it was: not yet. */
int tls_out_alert(struct tls_stream *t, enum tls_alert alert);
int tls_out_evict(struct tls_stream *t);
MUST_USE int tls_out_keep(struct tls_stream *t, const uint8_t *from, size_t len);
/* Whether tls_out_flush would have something to do. */
bool tls_out_pending(const struct tls_stream *t);
void tls_out_drop(struct tls_stream *t);
size_t tls_out_held(const struct tls_stream *t); /* memory of bytes on their way out */
size_t tls_out_unsent(const struct tls_stream *t);
