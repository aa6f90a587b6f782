/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 as a stream over another stream, either role. The handshake runs step by step in the job
 * pool, waiting for the peer stays on the loop; calls answer -EAGAIN until it is done. After that
 * records are sealed and opened in two batch buffers that all connections of a loop share, so an idle
 * connection holds no buffer. All optional stream calls exist: peek lends opened plaintext, reserve
 * lends room inside the records to be.
 *
 * What peek lent goes stale when another TLS stream of the loop is read, room from reserve when another
 * one is written: use it before touching a second one.
 *
 * Accepted bytes leave when the batch is full, at stream_flush, or at the end of the turn. A peer
 * that ends TCP without close_notify is -ERR_TRUNCATED, never a clean end.
 */
#pragma once

#include "base/bytes.h"
#include "base/ip.h"
#include "io/jobs.h"
#include "io/loop.h"
#include "io/stream.h"
#include "tls/handshake.h"

enum {
    TLS_BATCH_RECORDS = 32, /* sent at once: a quarter of it costs 15 % more CPU in bulk */
    TLS_HANDSHAKE_MS = 10000,
    TLS_LINGER_MS = 2000, /* for close_notify and unsent bytes after a clean close */
    TLS_HANDSHAKES_MAX = 1024,
    TLS_LANE_HANDSHAKES_MAX = 512,
};

struct tls_loop_options {
    unsigned handshakes_max; /* unfinished at once on this loop, and jobs_share() beyond; 0 =
                                TLS_HANDSHAKES_MAX */
    unsigned lane_max;       /* of these, of one lane; 0 = TLS_LANE_HANDSHAKES_MAX */
    uint64_t handshake_ms;   /* deadline of the whole handshake; 0 = TLS_HANDSHAKE_MS */
};

/* What the TLS streams of one loop share. It must outlive them. */
struct tls_loop;

/* Everything is borrowed and must outlive it. options may be NULL. */
struct tls_loop *tls_loop_new(struct loop *l, struct jobs *pool, struct tls_ctx *ctx,
                              const struct tls_loop_options *options);
void tls_loop_free(struct tls_loop *l);
AUTO_DEFINE(tls_loop, struct tls_loop *, tls_loop_free);

struct tls_loop_stats {
    unsigned handshakes; /* unfinished now */
    uint64_t done, failed, refused;
    uint64_t displaced;    /* ended for one of another address (tls_stream_accept) */
    uint64_t chains_known; /* of done: the peer's certificates had been verified before */
};
struct tls_loop_stats tls_loop_stats(const struct tls_loop *l);

/* Takes below. spec is borrowed for the call. lane is the fairness key in the job pool (the pod).
 * Never fails at once: the first call says why, -ERR_LIMIT when there are too many handshakes. */
struct stream *tls_stream_new(struct tls_loop *l, struct stream *below,
                              const struct handshake_spec *spec, uint64_t lane);
/* The same for who comes from somewhere: where the lane is full of unfinished handshakes, an address
 * that has less than its fair share of them takes the place of one that has more. */
struct stream *tls_stream_accept(struct tls_loop *l, struct stream *below,
                                 const struct handshake_spec *spec, uint64_t lane,
                                 const struct ip *from);

/* NULL until the handshake is done; borrowed for the life of the stream. */
const struct tls_peer *tls_stream_peer(const struct stream *s);
/* Borrowed: for addresses and socket options. */
struct stream *tls_stream_below(const struct stream *s);
/* Zeroes until the handshake is done. */
void tls_stream_stats(const struct stream *s, struct record_stats *out);

/* Live hand-over of an open session. Appends a versioned blob (keys, peer, bytes in flight) to out
 * and gives the stream below back; s is gone then. On failure (-EAGAIN before the handshake is done)
 * s is as it was and what was appended is to be thrown away. import takes below in any case and
 * refuses a newer version with -ERR_VERSION. */
MUST_USE int tls_stream_export(struct stream *s, struct bytes *out, struct stream **out_below);
MUST_USE int tls_stream_import(struct tls_loop *l, struct stream *below, const void *blob,
                               size_t len, struct stream **out, struct diag *why);
