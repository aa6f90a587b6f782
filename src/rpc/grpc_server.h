/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server: the calls of an HTTP/2 server, whichever connection they come on. What is no gRPC
 * request is answered here (415, 405). Pull: the owner is woken with WAKE_CHILD when
 * grpc_server_next is worth calling. An unknown method is the caller's to refuse:
 * grpc_call_refuse(call, GRPC_UNIMPLEMENTED, "unknown method").
 */
#pragma once

#include "http/http_server.h"
#include "rpc/grpc_call.h"

struct grpc_server_options {
    struct http_server_options http; /* protocol is HTTP_ONLY_H2 whatever it says */
    uint32_t message_bytes;          /* largest request message: 0 = 4 MiB */
};

struct grpc_server;

struct grpc_server *grpc_server_new(struct loop *l, const struct grpc_server_options *options,
                                    struct task *owner);
/* As http_server_listen, http_server_add. */
MUST_USE int grpc_server_listen(struct grpc_server *s, int take_fd, struct diag *why);
void grpc_server_add(struct grpc_server *s, struct stream *take_stream);
/* 1: *out is the caller's; its deadline (grpc-timeout) is already running. -EAGAIN: later. */
MUST_USE int grpc_server_next(struct grpc_server *s, struct grpc_call **out);
/* Takes call; sends the status in the background. */
void grpc_call_refuse(struct grpc_call *take_call, unsigned code, const char *text);

void grpc_server_free(struct grpc_server *s);
AUTO_DEFINE(grpc_server, struct grpc_server *, grpc_server_free);
