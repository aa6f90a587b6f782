/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server end of one HTTP/1.1 connection (RFC 9112) over any stream, strict: what RFC 9112 lets a
 * server repair is refused with 400 and the end of the connection, because two readings of one
 * request are how requests are smuggled. Keep-alive; pipelined requests wait in the input buffer and
 * are served one after the other. Chunked and counted bodies, Expect: 100-continue, HEAD, chunked
 * responses of any duration. Upgrade is ignored, CONNECT answered with 405. HTTP/1.0 is served with
 * the connection closed after the response.
 *
 * Pull, never callbacks: the owner is woken with WAKE_CHILD when h1_server_next is worth calling.
 */
#pragma once

#include "http/exchange.h"
#include "io/loop.h"
#include "io/stream.h"

struct h1_limits {           /* a zero is the default */
    uint32_t head_bytes;     /* request line and fields: 32 KiB, at most MESSAGE_BYTES_MAX */
    uint64_t body_bytes;     /* of a request; larger is 413: 16 MiB */
    uint32_t output_bytes;   /* response bytes held for a slow reader: 64 KiB */
    uint32_t header_ms;      /* first to last byte of a head: 10 s */
    uint32_t idle_ms;        /* between requests, and before the first: 60 s */
    uint32_t body_stall_ms;  /* while somebody waits for the request's body: 30 s */
    uint32_t write_stall_ms; /* response bytes wait and none is taken: 30 s */
    uint32_t requests;       /* on one connection, then it is closed: 10,000 */
    bool secure;             /* not a limit: the scheme is https */
};

struct h1_server;

/* Takes below. limits may be NULL. */
struct h1_server *h1_server_new(struct loop *l, struct stream *take_below,
                                const struct h1_limits *limits, struct task *owner);
/* 1: *out is a request, the caller's own until exchange_close. 0: the connection has ended in order.
 * -EAGAIN: later. Other errors: the connection is over, h1_server_diag says why. One exchange at a
 * time: the next comes after the last one was closed. */
MUST_USE int h1_server_next(struct h1_server *s, struct exchange **out);
const struct diag *h1_server_diag(const struct h1_server *s);
/* The running exchange is the last one; an idle connection ends at once. */
void h1_server_drain(struct h1_server *s);
/* Cuts what still runs; an exchange given out stays its owner's and fails. */
void h1_server_free(struct h1_server *s);
AUTO_DEFINE(h1_server, struct h1_server *, h1_server_free);
