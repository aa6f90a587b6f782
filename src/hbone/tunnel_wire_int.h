/* SPDX-License-Identifier: Apache-2.0 */
/* What a tunnel makes of frames, and how it makes them. */
#pragma once

#include "hbone/channel_int.h"
#include "hbone/headers.h"
#include "hbone/tunnel_int.h"

enum block_kind {
    BLOCK_REQUEST,
    BLOCK_REFUSED, /* one stream too many */
    BLOCK_ANSWER,
    BLOCK_TRAILERS,
    BLOCK_AFTER_END, /* HEADERS on a half that has ended */
    BLOCK_IGNORED    /* of a stream that is gone */
};

struct header_block { /* the header block being read */
    uint32_t stream;
    enum block_kind kind;
    bool end_stream;
    bool self;
    size_t decoded_bytes;
    struct headers headers;
};
/* tunnel_rx.c */
void tunnel_receive(struct tunnel *t, struct slice input);
struct channel *tunnel_find(const struct tunnel *t, uint32_t id);
/* The peer may not know yet that we reset it. */
bool tunnel_is_recent(const struct tunnel *t, uint32_t id);
void tunnel_remember(struct tunnel *t, uint32_t id);
/* A stream that neither side has opened. */
bool tunnel_is_idle(const struct tunnel *t, uint32_t id);
/* Raises the connection's window, once. */
void tunnel_grant(struct tunnel *t);
/* RST_STREAM for a stream without a channel. */
void tunnel_refuse(struct tunnel *t, uint32_t id, enum reset_code code);

/* blocks.c */
void tunnel_block_begin(struct tunnel *t, const struct frame *f);
void tunnel_block_piece(struct tunnel *t, const struct frame *f);
void header_block_free(struct header_block *b);

/* tunnel_tx.c */
/* Notes the result of a frame_put, and has the queue sent at the end of the turn. */
void tunnel_put(struct tunnel *t, int r);
void tunnel_put_preface(struct tunnel *t);
/* Promises new streams as much as memory allows. */
void tunnel_adapt_window(struct tunnel *t);
/* 0 or -ERR_TOO_LARGE, with nothing sent. */
MUST_USE int tunnel_put_connect(struct tunnel *t, uint32_t id, const struct hbone_head *head);
void tunnel_put_answer(struct tunnel *t, uint32_t id, unsigned status, struct slice baggage,
                       bool end);
/* 0, -EAGAIN, or the secure stream's error. */
MUST_USE int tunnel_push(struct tunnel *t);
/* What waits to be sent holds so much memory: 0 once it is sent, or the tunnel has ended. */
void tunnel_charge(struct tunnel *t, size_t held);
/* Room for DATA of ch, without the frames' heads: pieces, or -EAGAIN with a wake to come. */
MUST_USE int tunnel_reserve(struct channel *ch, struct iovec *out, int max, size_t want);
void tunnel_commit(struct channel *ch, size_t len);
void tunnel_wake_blocked(struct tunnel *t);
