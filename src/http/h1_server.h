/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server end of one HTTP/1.1 connection (RFC 9112) over any stream, strict: what RFC 9112 lets a
 * server repair is refused with 400 and the end of the connection, because two readings of one
 * request are how requests are smuggled. Keep-alive; pipelined requests wait in the input buffer and
 * are served one after the other. Chunked and counted bodies, Expect: 100-continue, HEAD, chunked
 * responses of any duration. Upgrade is ignored but for WebSocket where limits allow it, CONNECT and
 * TRACE are answered with 405. HTTP/1.0 is served with the connection closed after the response, or
 * refused. Fields of the connection, and what it nominates, never reach a handler.
 *
 * Pull, never callbacks: the owner is woken with WAKE_CHILD when h1_server_next is worth calling.
 */
#pragma once

#include "http/exchange.h"
#include "http/h1_limits.h"
#include "http/refusal.h"
#include "io/loop.h"
#include "io/stream.h"

struct h1_server;

/* Takes below. limits may be NULL. */
struct h1_server *h1_server_new(struct loop *l, struct stream *take_below,
                                const struct h1_limits *limits, struct task *owner);
/* Before anything else: what was read from below already. */
void h1_server_feed(struct h1_server *s, const void *from, size_t len);
/* 1: *out is a request, the caller's own until exchange_close. 0: the connection has ended in order.
 * -EAGAIN: later. Other errors: the connection is over, h1_server_diag says why. One exchange at a
 * time: the next comes after the last one was closed. */
MUST_USE int h1_server_next(struct h1_server *s, struct exchange **out);
/* The request that ended the connection because it could not be handed out, the caller's, once; or
 * NULL. See refusal.h. */
MUST_USE struct refusal *h1_server_refusal(struct h1_server *s);
const struct diag *h1_server_diag(const struct h1_server *s);
/* The next response says that it is the last one. Without a further request the connection ends a second
 * after this call, or after a response that had begun before it. */
void h1_server_drain(struct h1_server *s);
/* No further request is taken: a response that is under way is the last, an idle connection ends at once. */
void h1_server_finish(struct h1_server *s);
/* Between requests, or before the first is complete. */
bool h1_server_is_idle(const struct h1_server *s);
/* Memory is short: a request whose head has begun and is not whole is answered with 503, and the
 * connection ends. Whether there was one. */
bool h1_server_shed(struct h1_server *s);
/* Ends the connection at once, without waiting for the peer. */
void h1_server_cut(struct h1_server *s, int why);
/* Cuts what still runs; an exchange given out stays its owner's and fails. */
void h1_server_free(struct h1_server *s);
AUTO_DEFINE(h1_server, struct h1_server *, h1_server_free);
