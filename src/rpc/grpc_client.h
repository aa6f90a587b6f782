/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client on one connection. Dialling, TLS and reconnecting are the caller's: when the
 * connection is gone, make another one. The wire is that of the contract 5.1 and 6.1: SETTINGS push
 * 0, window 2 MiB, frame 16384, header list 16384; connection window 5 MiB; request headers te,
 * content-type and the caller's, no user-agent, no grpc-timeout; PING every 30 s while a call is
 * open, 10 s to answer.
 */
#pragma once

#include "http/h2_session.h"
#include "rpc/grpc_call.h"

struct grpc_client_options {  /* a zero is the default */
    const char *scheme;       /* "https" */
    uint32_t message_bytes;   /* largest message taken: GRPC_MESSAGE_BYTES_MAX */
    uint32_t ping_ms;         /* 30,000 */
    uint32_t ping_timeout_ms; /* 10,000 */
};

struct grpc_client;

/* Takes below (TLS with ALPN h2, or in the clear with prior knowledge). owner is woken (WAKE_CHILD)
 * when grpc_client_state changes. options may be NULL. */
struct grpc_client *grpc_client_new(struct loop *l, struct stream *take_below,
                                    const char *authority,
                                    const struct grpc_client_options *options, struct task *owner);
/* As h2_session_state: 0 usable, -ERR_H2_GOAWAY no new calls, other errors: gone. */
MUST_USE int grpc_client_state(struct grpc_client *c);

/* Starts a call; never fails at once. metadata (fields only) may be NULL; limit_ms 0: no deadline.
 * The call may outlive the client and then fails with UNAVAILABLE. */
struct grpc_call *grpc_client_call(struct grpc_client *c, const char *path,
                                   const struct message *metadata, uint64_t limit_ms);
/* Cuts what still runs, with GOAWAY. */
void grpc_client_free(struct grpc_client *c);
AUTO_DEFINE(grpc_client, struct grpc_client *, grpc_client_free);
