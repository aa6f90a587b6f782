/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One gRPC call over HTTP/2, either role: a sequence of messages each way, then a status (gRPC over
 * HTTP/2: 5-octet prefix, percent-encoded grpc-message). Made by grpc_client_call or
 * grpc_server_next. No compression: a message that says it is compressed ends the call.
 *
 * Calls marked (*) follow io/stream.h: -EAGAIN promises a wake of the owner (WAKE_IO, or WAKE_TIMER
 * at the deadline). A message can be taken piece by piece, so that one of 200 MiB needs no 200 MiB:
 * grpc_call_next gives its length, grpc_call_peek/_skip or _read its bytes; or whole, with a limit.
 */
#pragma once

#include "base/bytes.h"
#include "http/exchange.h"
#include "io/task.h"

enum grpc_code { /* the numbers are on the wire */
                 GRPC_OK,
                 GRPC_CANCELLED,
                 GRPC_UNKNOWN,
                 GRPC_INVALID_ARGUMENT,
                 GRPC_DEADLINE_EXCEEDED,
                 GRPC_NOT_FOUND,
                 GRPC_ALREADY_EXISTS,
                 GRPC_PERMISSION_DENIED,
                 GRPC_RESOURCE_EXHAUSTED,
                 GRPC_FAILED_PRECONDITION,
                 GRPC_ABORTED,
                 GRPC_OUT_OF_RANGE,
                 GRPC_UNIMPLEMENTED,
                 GRPC_INTERNAL,
                 GRPC_UNAVAILABLE,
                 GRPC_DATA_LOSS,
                 GRPC_UNAUTHENTICATED
};

/* "Unavailable" and so on. */
const char *grpc_code_name(unsigned code);

enum { GRPC_MESSAGE_BYTES_MAX = 200 << 20, GRPC_STATUS_TEXT_MAX = 1024 };

struct grpc_call;

void grpc_call_own(struct grpc_call *c, struct task *owner);
/* Takes c; cancels what has not ended. NULL is fine. */
void grpc_call_close(struct grpc_call *c);
AUTO_DEFINE(grpc_call, struct grpc_call *, grpc_call_close);

/* "/package.Service/Method"; borrowed. */
struct slice grpc_call_path(const struct grpc_call *c);
/* The peer's metadata: a request's at once, a response's once the first message or the end is here.
 * Borrowed. */
const struct message *grpc_call_metadata(const struct grpc_call *c);

/* (*) 1: a message of *out_len bytes begins (what is left of the one before is skipped). 0: the
 * peer's messages have ended well; for a client that means status OK. Else an error: -ERR_GRPC_STATUS
 * (client: see grpc_call_status), -ERR_TOO_LARGE, -ERR_DEADLINE, or the transport's. */
MUST_USE int grpc_call_next(struct grpc_call *c, uint32_t *out_len);
/* (*) Lends up to max pieces of the current message; 0 at its end. Then skip what was used. */
MUST_USE int grpc_call_peek(struct grpc_call *c, struct iovec *out, int max);
void grpc_call_skip(struct grpc_call *c, size_t len);
/* (*) A whole message, appended to into as it comes: 1 when it is complete (then take the bytes and
 * clear before the next one), 0 at the end as for grpc_call_next. */
MUST_USE int grpc_call_recv(struct grpc_call *c, struct bytes *into);
/* (*) Client, unary: one message and status OK. 0 when both are there. */
MUST_USE int grpc_call_recv_only(struct grpc_call *c, struct bytes *into);

/* (*) 0: the message is accepted. -EAGAIN: call again with the same message once woken (part of it
 * may be under way already). len <= GRPC_MESSAGE_BYTES_MAX. */
MUST_USE int grpc_call_send(struct grpc_call *c, const void *message, size_t len);
/* (*) 0 once everything accepted has left this layer. A handler that waits for something else learns
 * here that its client has gone or that the deadline has passed. */
MUST_USE int grpc_call_flush(struct grpc_call *c);
/* (*) Client: no more messages from us. */
MUST_USE int grpc_call_send_end(struct grpc_call *c);
/* (*) Server: ends the call. text may be NULL. A status without any message before is a
 * "trailers-only" response. */
MUST_USE int grpc_call_finish(struct grpc_call *c, unsigned code, const char *text);

/* After an error or the end: the gRPC status it amounts to. A lost connection is UNAVAILABLE, HTTP
 * statuses and RST_STREAM codes are mapped as gRPC's documents say. */
struct grpc_status {
    unsigned code;
    char text[GRPC_STATUS_TEXT_MAX]; /* decoded, cut, terminated */
};
const struct grpc_status *grpc_call_status(const struct grpc_call *c);
const struct diag *grpc_call_diag(const struct grpc_call *c);
