/* SPDX-License-Identifier: Apache-2.0 */
/* Every header block is decoded to its end, wanted or not: the decoder's table is the connection's. */
#include "base/mem.h"
#include "hbone/tunnel_wire_int.h"

enum { BLOCK_BYTES_ABUSE = 1 << 20 }; /* decoded, of one block: a compression bomb */

void header_block_free(struct header_block *b)
{
    if (b) {
        headers_fini(&b->headers);
        mem_free(b);
    }
}

static void protocol_error(struct tunnel *t)
{
    tunnel_abort(t, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "");
}

/* A block on a stream that the server sees for the first time. */
static enum block_kind kind_of_new(struct tunnel *t, uint32_t id)
{
    bool full = t->streams.count >= t->home->limits.server_streams || budget_is_over(t->budget);

    t->peer_id = id;
    if (t->drain == DRAIN_FINAL) {
        return BLOCK_IGNORED; /* above the last id that we named, as is what follows on its stream */
    }
    tunnel_grant(t); /* for clients that never send SETTINGS */
    tunnel_due(t, DUE_REQUEST, 0);
    return full || !t->server ? BLOCK_REFUSED : BLOCK_REQUEST;
}

/* -1: it may not be there at all. */
static int kind_of(struct tunnel *t, uint32_t id)
{
    const struct channel *ch = tunnel_find(t, id);

    if (ch && ch->remote_ended) {
        return BLOCK_AFTER_END;
    }
    if (ch) {
        return ch->step == CHANNEL_ASKED ? BLOCK_ANSWER : BLOCK_TRAILERS;
    }
    if (tunnel_is_idle(t, id)) {
        return t->role == HBONE_SERVER && id % 2 == 1 ? (int)kind_of_new(t, id) : -1;
    }
    bool late = tunnel_is_recent(t, id) || t->drain == DRAIN_FINAL;
    return late || t->role == HBONE_CLIENT ? (int)BLOCK_IGNORED : -1;
}

static enum headers_kind headers_kind_of(enum block_kind kind)
{
    switch (kind) {
    case BLOCK_REQUEST:
    case BLOCK_REFUSED:
        return HEADERS_REQUEST;
    case BLOCK_ANSWER:
        return HEADERS_RESPONSE;
    case BLOCK_TRAILERS:
    case BLOCK_AFTER_END:
    case BLOCK_IGNORED:
        break;
    }
    return HEADERS_TRAILERS;
}

void tunnel_block_begin(struct tunnel *t, const struct frame *f)
{
    int kind = kind_of(t, f->stream);

    if (kind < 0) {
        protocol_error(t);
        return;
    }
    t->block = mem_new(struct header_block);
    t->block->stream = f->stream;
    t->block->kind = (enum block_kind)kind;
    t->block->end_stream = f->end_stream;
    t->block->self = f->self;
    headers_init(&t->block->headers, headers_kind_of((enum block_kind)kind),
                 t->role == HBONE_SERVER ? TUNNEL_SERVER_LIST : TUNNEL_CLIENT_LIST);
    if (!t->hpack) {
        t->hpack = t->home->blank ? MOVE(t->home->blank) : hpack_decoder_new();
    }
}

/* A list that is too long is answered as the recorded server does: a status, then the reset. */
static void refuse_long(struct tunnel *t, uint32_t id)
{
    tunnel_put_answer(t, id, 431, (struct slice){NULL, 0}, true);
    tunnel_refuse(t, id, RESET_PROTOCOL_ERROR);
}

static void add_request(struct tunnel *t, struct header_block *b)
{
    struct channel *ch = channel_new(t->home, t->budget);

    ch->step = CHANNEL_REQUEST;
    ch->body_left = b->headers.content_length;
    channel_attach(ch, t, b->stream);
    if (!server_add_request(t, ch, &b->headers)) {
        channel_detach(ch);
        channel_free(ch);
        tunnel_refuse(t, b->stream, RESET_REFUSED_STREAM);
        return;
    }
    if (b->end_stream) {
        channel_remote_ended(ch);
    }
}

static void end_request(struct tunnel *t, struct header_block *b)
{
    int r = b->self ? -ERR_SYNTAX : headers_judge(&b->headers);

    if (r == -ERR_TOO_LARGE) {
        refuse_long(t, b->stream);
    } else if (r < 0) {
        tunnel_refuse(t, b->stream, RESET_PROTOCOL_ERROR);
    } else {
        add_request(t, b);
    }
}

/* Interim answers are skipped (RFC 9110 15.2); they cannot end the stream. */
static void end_answer(struct channel *ch, struct header_block *b)
{
    int r = headers_judge(&b->headers);
    bool interim = b->headers.status < 200;

    if (r < 0 || b->self || (interim && b->end_stream)) {
        channel_reset(ch, RESET_PROTOCOL_ERROR, r == -ERR_TOO_LARGE ? r : -ERR_H2_PROTOCOL,
                      r == -ERR_TOO_LARGE ? "the answer's headers are too long"
                                          : "the answer is not an HTTP response");
        return;
    }
    if (interim) {
        return;
    }
    if (b->end_stream) {
        ch->remote_ended = true; /* before anybody hears of the answer */
    }
    dial_answered(ch, &b->headers);
}

static void end_trailers(struct channel *ch, struct header_block *b)
{
    if (!b->end_stream || b->self || headers_judge(&b->headers) < 0) {
        channel_reset(ch, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "malformed trailers");
    } else {
        channel_remote_ended(ch);
    }
}

/* The channel may have gone while the block was read. */
static void end_block(struct tunnel *t, struct header_block *b)
{
    struct channel *ch = tunnel_find(t, b->stream);

    switch (b->kind) {
    case BLOCK_REQUEST:
        t->peer_done = b->stream;
        end_request(t, b);
        break;
    case BLOCK_REFUSED:
        t->peer_done = b->stream;
        t->home->stats.refused++;
        tunnel_refuse(t, b->stream, RESET_REFUSED_STREAM);
        break;
    case BLOCK_ANSWER:
        if (ch && ch->step == CHANNEL_ASKED) {
            end_answer(ch, b);
        }
        break;
    case BLOCK_TRAILERS:
        if (ch) {
            end_trailers(ch, b);
        }
        break;
    case BLOCK_AFTER_END:
        if (ch) {
            channel_reset(ch, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "headers after the end");
        }
        break;
    case BLOCK_IGNORED:
        break;
    }
}

/* A field may take one byte on the wire and four thousand behind the decoder. */
static int weigh(struct header_block *b, const struct hpack_field *f)
{
    b->decoded_bytes += f->name.len + f->value.len + HPACK_ENTRY_OVERHEAD;
    return b->decoded_bytes > BLOCK_BYTES_ABUSE ? -ERR_H2_ABUSE : 1;
}

/* 0 when the fragment is used up. */
static int decode(struct tunnel *t, struct header_block *b, struct slice at, bool last)
{
    struct hpack_field field;
    int r = t->hpack ? 1 : -ENOMEM;

    while (r > 0) {
        r = hpack_next(t->hpack, &at, last, &field);
        r = r > 0 ? weigh(b, &field) : r;
        if (r > 0 && b->kind != BLOCK_IGNORED) {
            int judged = headers_add(&b->headers, &field);

            r = judged < 0 ? judged : r;
        }
    }
    return r;
}

/* A decoder is larger than all else that an idle tunnel holds of HTTP/2, and few peers index. */
static void put_blank_decoder_back(struct tunnel *t)
{
    if (hpack_decoder_is_blank(t->hpack)) {
        hpack_decoder_free(t->home->blank);
        t->home->blank = MOVE(t->hpack);
    }
}

void tunnel_block_piece(struct tunnel *t, const struct frame *f)
{
    struct header_block *b = t->block;
    int r = decode(t, b, f->piece, f->last);

    if (r < 0) {
        bool abuse = r == -ERR_H2_ABUSE;
        tunnel_abort(t,
                     abuse          ? RESET_ENHANCE_YOUR_CALM
                     : r == -ENOMEM ? RESET_INTERNAL_ERROR
                                    : RESET_PROTOCOL_ERROR,
                     r, abuse ? "header_block_too_large" : "");
        return;
    }
    if (f->last) {
        t->block = NULL;
        put_blank_decoder_back(t);
        end_block(t, b);
        header_block_free(b);
    }
}
