/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accepting end of one tunnel: yields CONNECT requests, each of which is accepted (a stream) or
 * refused. Which request is acceptable is the caller's business; what is not a well-formed request
 * never gets here (contract 2.6, 3.4).
 */
#pragma once

#include "base/err.h"
#include "hbone/budget.h"
#include "hbone/hbone_loop.h"
#include "hbone/head.h"
#include "io/stream.h"

struct hbone_server;
struct hbone_request;

/* Takes secure, which may still be in its handshake. owner is woken with WAKE_IO when
 * hbone_server_next is worth calling. budget (may be NULL) is the pod's. */
struct hbone_server *hbone_server_new(struct hbone_loop *l, struct stream *secure,
                                      struct task *owner, struct budget *budget);
/* (*) 1 and a request that is the caller's; 0: the tunnel has ended and so have its streams;
 * -EAGAIN; any other error is why it ended (hbone_server_diag). */
MUST_USE int hbone_server_next(struct hbone_server *s, struct hbone_request **out);
const struct diag *hbone_server_diag(const struct hbone_server *s);
/* The secure stream, borrowed: for the peer's identity and address. NULL once the tunnel
 * has ended. */
struct stream *hbone_server_below(const struct hbone_server *s);
/* Asks the peer to go elsewhere: GOAWAY with the highest id and a PING, after its answer GOAWAY with
 * the last id that counts (contract 1.9 as recorded). Streams go on; once the last has ended the
 * tunnel ends and hbone_server_next says 0. */
void hbone_server_drain(struct hbone_server *s);
/* Takes s. 0: requests not yet taken are refused, open streams go on by themselves and the tunnel
 * ends with the last. why < 0: everything ends now, streams see -ERR_CANCELLED. No wake follows. */
void hbone_server_close(struct hbone_server *s, int why);

/* Borrowed until the request is answered. */
const struct hbone_head *hbone_request_head(const struct hbone_request *r);
/* owner, if set, is woken once when there is nobody left to answer. */
void hbone_request_own(struct hbone_request *r, struct task *owner);
/* Both take r; exactly one of them, once, also when the request is gone. accept answers 200, with
 * the baggage if its p is not NULL; a stream whose peer is gone says so at its first call. refuse
 * answers with the status and ends the stream (contract 2.6). */
struct stream *hbone_request_accept(struct hbone_request *r, struct slice baggage);
void hbone_request_refuse(struct hbone_request *r, unsigned status);
