/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client end of one HTTP/1.1 keep-alive connection (RFC 9112) over any stream, which may still be
 * connecting. One request at a time, the next when h1_client_state says so. Responses are read as
 * strictly as a server reads requests: two statements of a length, a transfer coding that is not
 * "chunked" alone, folded lines, bare line ends, bytes nobody asked for: the exchange fails and the
 * connection is not used again. Bodies that only the end of the connection ends are taken.
 *
 * Whether a failed request may be sent again: exchange.reach and exchange.reused.
 *
 * Pull, never callbacks: the owner is woken with WAKE_CHILD when h1_client_state has news.
 */
#pragma once

#include "http/exchange.h"
#include "http/h1_limits.h"
#include "io/loop.h"
#include "io/stream.h"

struct h1_client;

/* Takes below. limits may be NULL. */
struct h1_client *h1_client_new(struct loop *l, struct stream *take_below,
                                const struct h1_limits *limits, struct task *owner);
/* 0: a request can be sent. -EAGAIN: one is under way, or its body still leaves. Anything else: no
 * request can be sent any more; -ECONNRESET: the server has closed it, or will after the exchange under
 * way, and nothing is wrong with that. */
MUST_USE int h1_client_state(struct h1_client *c);
/* Never fails at once: what is wrong is the error of the exchange's first call. head is copied; end:
 * there is no body (else the body is written to the exchange, and ended; without a content-length in
 * head it is sent as chunks). */
struct exchange *h1_client_request(struct h1_client *c, const struct message *head, bool end);
/* Cuts what still runs; an exchange given out stays its owner's and fails. */
void h1_client_free(struct h1_client *c);
AUTO_DEFINE(h1_client, struct h1_client *, h1_client_free);
