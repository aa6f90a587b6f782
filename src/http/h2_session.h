/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 connection that carries messages (RFC 9113), either role, over any stream: gRPC, the API
 * server, the waypoint. Not for tunnels: those have their own framing (hbone/). Over nghttp2, with
 * budgets of our own against a peer that makes us work for nothing: every frame that brings nothing
 * forward costs a token, tokens come back with time; who has none left gets GOAWAY
 * ENHANCE_YOUR_CALM and the session ends with -ERR_H2_ABUSE.
 *
 * Flow control: a stream's credit returns when its body is read, the connection's on receipt, so
 * memory is bounded by the stream windows that were granted and no stalled stream stops its siblings.
 *
 * Pull, never callbacks: the owner is woken with WAKE_CHILD when h2_session_next or _state have news.
 */
#pragma once

#include "codec/h1head.h"
#include "http/exchange.h"
#include "http/refusal.h"
#include "io/loop.h"
#include "io/stream.h"

struct h2_options {             /* a zero is the default */
    uint32_t stream_window;     /* 256 KiB */
    uint32_t connection_window; /* 1 MiB */
    uint32_t frame_bytes;       /* largest frame we take: 16,384 */
    uint32_t header_list_bytes; /* 16,384; at most MESSAGE_BYTES_MAX */
    uint32_t streams_max;       /* server: at once, 100. Client: at most this many of ours, 100 */
    uint32_t send_buffer_bytes; /* a stream's, before it refuses: 64 KiB */
    uint32_t ping_ms;           /* PING this often while a stream is open: 0 = never */
    uint32_t ping_timeout_ms;   /* unanswered: the session is over, 10 s */
    uint32_t idle_ms;           /* server: without a stream: 0 = for ever */
    uint32_t first_ms;          /* server: until preface and SETTINGS are here, 5 s */
    uint32_t head_ms;           /* server: first to last byte of a request's head, 10 s */
    uint32_t head_rate;         /* server: as in h1_limits.h, with the next one */
    uint32_t head_grace_ms;
    uint32_t write_stall_ms;  /* bytes wait and the transport takes none: 30 s */
    uint32_t tokens;          /* burst of frames that bring nothing forward: 200 */
    uint32_t tokens_per_s;    /* how fast they come back: 20 */
    uint64_t body_bytes;      /* server: largest request body, 0 = not limited */
    uint32_t fields;          /* in a head: 100, at most MESSAGE_FIELDS_MAX */
    uint32_t value_bytes;     /* one field value: 32 KiB */
    enum h1_underscore names; /* field names with an underscore */
    bool continue_by_owner;   /* server: see exchange.h */
    bool shows_refusals;      /* server: what is not handed out is kept: h2_session_refusal */
    bool websocket;           /* server: extended CONNECT is offered (RFC 8441), for WebSocket */
};

enum h2_token {                 /* what costs a token */
                H2_TOKEN_RESET, /* RST_STREAM from the peer */
                H2_TOKEN_OWN_RESET, /* a stream error of the peer's that we answered with RST_STREAM or 4xx */
                H2_TOKEN_SETTINGS,
                H2_TOKEN_PING,
                H2_TOKEN_EMPTY, /* DATA or CONTINUATION without a byte and without an end */
                H2_TOKEN_OTHER, /* PRIORITY, unknown types, WINDOW_UPDATE beyond what we sent */
                H2_TOKENS
};

struct h2_stats {
    uint32_t streams;     /* open now */
    uint64_t buffered;    /* received body bytes nobody has read yet */
    uint64_t sent_bytes;  /* to the transport */
    uint64_t taken_bytes; /* from the transport */
};

struct h2_session;

/* Both take below and speak first without waiting. options may be NULL. */
struct h2_session *h2_client_new(struct loop *l, struct stream *take_below,
                                 const struct h2_options *options, struct task *owner);
struct h2_session *h2_server_new(struct loop *l, struct stream *take_below,
                                 const struct h2_options *options, struct task *owner);

/* Server. 1: *out is a request whose head is complete. 0: the connection has ended in order.
 * -EAGAIN: later. Other errors: it is over, h2_session_diag says why. */
MUST_USE int h2_session_next(struct h2_session *s, struct exchange **out);
/* Server. The oldest request that was refused here, the caller's; or NULL. See refusal.h. */
MUST_USE struct refusal *h2_session_refusal(struct h2_session *s);
/* Client. 0 while new requests are possible, -EAGAIN while the streams_max or the peer's limit is
 * reached, -ERR_H2_GOAWAY when only those under way go on, other errors when the session is over. */
MUST_USE int h2_session_state(struct h2_session *s);
/* Client. How many requests are possible now, while the state is 0. */
uint32_t h2_session_room(const struct h2_session *s);
/* (*) Client. 0: requests may change the protocol (MESSAGE_PROTOCOL), -ERR_UNSUPPORTED: the server does
 * not offer it (RFC 8441), -EAGAIN: it has not said so yet. 0 too when the session is over: the request
 * says why. */
MUST_USE int h2_session_upgrades(const struct h2_session *s);
/* Client. Never fails at once: what is wrong is the error of the exchange's first call. head is
 * copied; end: there is no body (else the body is written to the exchange, and ended). */
struct exchange *h2_session_request(struct h2_session *s, const struct message *head, bool end);

const struct diag *h2_session_diag(const struct h2_session *s);
struct h2_stats h2_session_stats(const struct h2_session *s);
/* Server: GOAWAY in two steps, streams under way are served, then the connection ends.
 * Client: no new requests; GOAWAY and the end after the last exchange. */
void h2_session_drain(struct h2_session *s);
/* Server. Memory is short: where a head has been arriving for longer, the session ends, since nothing else
 * can come before the rest of it. Whether it does. */
bool h2_session_shed(struct h2_session *s, uint64_t longer_than_ms);
/* Says GOAWAY if it can, cuts what still runs; exchanges given out stay their owners' and fail. */
void h2_session_free(struct h2_session *s);
AUTO_DEFINE(h2_session, struct h2_session *, h2_session_free);
