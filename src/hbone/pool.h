/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialling end: streams to a destination over tunnels that are shared and reused (contract 2.8).
 * One pool a pod, on the pod's loop. A tunnel is shared only by dials that agree in source identity,
 * ordered expected identities, destination and source address. One tunnel a key is being made at a
 * time; a full one comes back when streams end.
 *
 * hbone/ makes no sockets and knows no TLS: the caller's dialer does.
 */
#pragma once

#include "base/err.h"
#include "base/ip.h"
#include "hbone/budget.h"
#include "hbone/hbone_loop.h"
#include "hbone/head.h"
#include "io/stream.h"

struct hbone_pool;

enum { HBONE_EXPECT_MAX = 64 };

struct hbone_target {          /* borrowed for the call */
    struct endpoint gateway;   /* where the tunnel goes */
    const char *local;         /* SPIFFE URI whose certificate we present */
    const char *const *expect; /* SPIFFE URIs who may answer, in order; at least one */
    unsigned expect_count;     /* at most HBONE_EXPECT_MAX */
    struct ip source;          /* the client's address */
    struct hbone_head head;    /* method is not looked at */
};

struct hbone_dialer {
    /* A secure stream to target->gateway as target->local, whose peer proves to be one of
     * target->expect. Never NULL, never blocks; failure is the error of the stream's first call.
     * target is borrowed for the call and has no head. It is responsible for the deadlines of
     * connecting and of the handshake. */
    struct stream *(*open)(void *arg, const struct hbone_target *target);
    void *arg;
};

/* budget (may be NULL) is the pod's. */
struct hbone_pool *hbone_pool_new(struct hbone_loop *l, const struct hbone_dialer *dialer,
                                  struct budget *budget);
/* The tunnels there are take no more streams, and end with their last one. What is still dialled, for a
 * connection that came before, finds another. */
void hbone_pool_drain(struct hbone_pool *p);
/* Takes p. Tunnels end now: RST_STREAM CANCEL for each stream, then the end of the secure stream.
 * Streams that are still held answer -ERR_CANCELLED; they stay their owners' to close. */
void hbone_pool_free(struct hbone_pool *p);
AUTO_DEFINE(hbone_pool, struct hbone_pool *, hbone_pool_free);
unsigned hbone_pool_tunnels(const struct hbone_pool *p);

/* Never blocks, never fails at once: calls answer -EAGAIN until the far side said 200, then bytes
 * flow. An answer other than 200 is -ERR_HTTP_STATUS, diag "http status: 401 Unauthorized". What the
 * secure stream failed with comes through unchanged. A stream that the peer refused unprocessed is
 * moved to another tunnel without a word. A tunnel or stream that ends without END_STREAM is
 * -ERR_TRUNCATED or -ERR_H2_RESET, never a clean end; closing with why < 0 sends RST_STREAM CANCEL. */
struct stream *hbone_dial(struct hbone_pool *p, const struct hbone_target *target);
/* One CONNECT over a secure stream of its own, which it takes: the inner tunnel of double HBONE
 * (contract 2.11). The tunnel ends with the stream. */
struct stream *hbone_dial_once(struct hbone_loop *l, struct stream *secure,
                               const struct hbone_head *head, struct budget *budget);

/* For streams of hbone_dial: 0 once the 200 is here, -EAGAIN (the owner is woken), or the error. */
MUST_USE int hbone_dial_ready(struct stream *s);
/* The status of a -ERR_HTTP_STATUS, else 0. */
unsigned hbone_dial_status(const struct stream *s);
