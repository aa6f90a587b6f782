/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sessions over a pipe, each end sending a pattern and checking its peer's, for tests of the TLS
 * stream. What a rig starts, tls_rig_stop() ends.
 */
#pragma once

#include <stdatomic.h>

#include "mempipe.h"
#include "pki.h"
#include "tls/tls_stream.h"

/* Turns and waits are bounded: a lost wake is a failure, not a hang. */
enum { TURNS_MAX = 20000, WAIT_MS = 20, LONGER_THAN_A_RETRY_MS = 50 };

/* read and write, peek and reserve, or now with little room, now with much, now peek */
enum talk { TALK_COPY, TALK_LEND, TALK_MIXED };

struct talker {
    struct task task;
    struct stream *s;
    enum talk way;
    uint8_t seed; /* of what it sends; the peer's is the other one's */
    uint8_t peer_seed;
    size_t to_send, sent;
    size_t received;
    size_t chunk;
    unsigned reads;
    size_t turn_bytes; /* at most this much a run; 0: no limit */
    bool deaf;         /* does not read */
    bool shut_done, eof;
    bool wrong; /* received something else than the pattern */
    int error;
};

struct tls_rig {
    struct loop *l;
    struct jobs *pool;
    struct tls_ctx *ctx;
    struct tls_loop *tls;
    struct talker e[2]; /* 0 server, 1 client */
    struct mempipe_fault fault;
};

/* The name of the end that serves. */
extern const char tls_rig_server[];
/* Jobs that the next rig's pool holds. */
extern unsigned tls_rig_pool_limit;

/* A mesh handshake of the two workloads that there are. */
struct handshake_spec tls_spec_of(bool client);
/* What an end sends at a place. */
uint8_t talk_pattern(uint8_t seed, size_t at);
/* The task of a talker. */
void talk_run(struct task *t, unsigned why);
/* Without ends; options and limits may be NULL. */
void tls_rig_base(struct tls_rig *g, const struct tls_options *options,
                  const struct tls_loop_options *limits);
/* Takes s. */
void tls_rig_talk(struct tls_rig *g, struct talker *e, struct stream *s, int which);
/* capacity: octets in the pipe. */
void tls_rig_start(struct tls_rig *g, size_t capacity, const struct tls_options *options,
                   const struct tls_loop_options *limits);
bool talker_ended(const struct talker *e);
/* Until both have ended; false: they stand still. */
bool tls_rig_settle(struct tls_rig *g);
/* Until nothing is under way. */
void tls_rig_drain(struct tls_rig *g);
void talker_close(struct talker *e, int why);
void tls_rig_stop(struct tls_rig *g);
/* What tls_rig_base made, after the streams were closed. */
void tls_rig_free(struct tls_rig *g);
/* Until both handshakes are done, with nothing to say. */
bool tls_rig_open(struct tls_rig *g);
/* Each end has all of its peer, and it is right. */
bool tls_rig_arrived(const struct tls_rig *g);

/* A job that keeps the pool's only thread until it is released. */
struct plug {
    struct job job;
    atomic_bool released;
};

void plug_submit(struct plug *p, struct tls_rig *g, struct task *t);
void plug_release(struct plug *p);
