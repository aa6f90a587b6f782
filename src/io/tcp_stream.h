/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP (or Unix stream) socket as a stream. A socket that is still being made or connecting has a
 * deadline; what fails meanwhile is the error of the first call. Data the kernel has not taken lives
 * with the caller: this layer buffers nothing.
 */
#pragma once

#include "base/ip.h"
#include "io/loop.h"
#include "io/stream.h"

struct sock_ask;

/* take_fd is non-blocking and connected. */
struct stream *tcp_stream_new(struct loop *l, int take_fd);

/* take_fd is a fresh non-blocking socket; starts to connect it. Never fails at once: the error is
 * that of the first call. -ERR_DEADLINE after limit_ms. */
struct stream *tcp_stream_connect(struct loop *l, int take_fd, const struct endpoint *to,
                                  uint64_t limit_ms);

/* The same with a socket that a factory makes, perhaps later: takes ask. The limit counts from now. */
struct stream *tcp_stream_dial(struct loop *l, struct sock_ask *take_ask, const struct endpoint *to,
                               uint64_t limit_ms);

/* Borrowed, for socket options and addresses; -1 while it is still being made. s must be a TCP
 * stream. */
int tcp_stream_fd(const struct stream *s);
bool stream_is_tcp(const struct stream *s);
/* Gives the descriptor up, for hand-over to another process; s is gone. */
int tcp_stream_take_fd(struct stream *s);
