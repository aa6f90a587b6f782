/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its response, seen from either end. The peer's head is in `in`; the bodies are the
 * stream `s` under the contract of io/stream.h: reading takes the peer's body, writing sends ours,
 * stream_shut ends ours, refusal is the flow control. HTTP/1.1 and HTTP/2 look the same from here.
 *
 * A server gets an exchange whose request head is complete, sends one head (exchange_send), writes a
 * body if it wants, ends it. A client's request head is already on its way; it asks for the response
 * with exchange_head. An exchange outlives its connection: when that is gone, every call answers the
 * error, until the owner closes the exchange. The loop's thread only.
 *
 * Interim responses (1xx): a server sends them with exchange_send before the final head. A client sees
 * them when it has set wants_interim. Upgrades: MESSAGE_PROTOCOL of the request's head names the
 * protocol ("websocket", nothing else so far); after a head with status 101 was sent, or received by a
 * client that had asked for it, the stream carries that protocol's bytes, both ways, and stream_shut is
 * a half-close. Such a request is sent with end. HTTP/2 looks the same (RFC 8441): the method of its
 * CONNECT reads as GET, and its 200 is our 101; a client asks h2_session_upgrades first.
 *
 * Closing with 0 before both halves have ended, or with any error, cuts the exchange: RST_STREAM on
 * HTTP/2, the end of the connection on HTTP/1.1. A response that was sent in full is left alone; what
 * the client still uploads is discarded within limits.
 */
#pragma once

#include "base/str.h"
#include "codec/grpc_count.h"
#include "http/message.h"
#include "io/loop.h"
#include "io/stream.h"

struct exchange;

struct exchange_ops {
    const char *name;
    int (*head)(struct exchange *x);
    int (*send)(struct exchange *x, const struct message *head);
    int (*finish)(struct exchange *x, const struct message *trailers);
    struct stream *(*transport)(struct exchange *x);
};

enum exchange_version { EXCHANGE_HTTP10, EXCHANGE_HTTP11, EXCHANGE_HTTP2 };

/* How far a client's request has come; what it still is after a failure decides about another try. */
enum exchange_reach {
    EXCHANGE_UNSENT,    /* no server has acted on it: it never left, or was refused unprocessed */
    EXCHANGE_SENT,      /* a server may have acted on it; not a byte of a response has come */
    EXCHANGE_ANSWERING, /* there were bytes of a response */
};

enum { EXCHANGE_INTERIM_MAX = 10 }; /* 1xx responses to one request */

struct exchange {
    struct stream s;
    const struct exchange_ops *ops;
    struct message in; /* a server's: complete; a client's: once exchange_head answered 0 */
    struct message in_trailers; /* complete once reading has answered 0; may be empty */
    uint32_t reset_code; /* HTTP/2 error code the peer gave, when a call answers -ERR_H2_RESET */
    enum exchange_version version; /* of the connection; a server's: the request's */
    enum exchange_reach reach;     /* a client's */
    bool reused; /* a client's: an HTTP/1.1 connection that had carried a request before; when it
                    fails with EXCHANGE_SENT, the server has most likely closed it unseen */
    bool wants_interim;    /* a client's; its owner sets it before the first exchange_head */
    bool expects_continue; /* a server's: the client awaits a 100 before it sends its body */
    /* The peer's half has ended and all of it was read; at the head: neither body nor trailers come. */
    bool in_over;
};

/* (*) 0 once `in` is complete. Interim responses are skipped, or with wants_interim: 1, `in` is one,
 * and the next call goes on to what follows. 101 is no interim response: it is final. */
static inline MUST_USE int exchange_head(struct exchange *x)
{
    return x->ops->head(x);
}

/* A server's response head, once; before it up to EXCHANGE_INTERIM_MAX interim ones (status 1xx but
 * 101), which are dropped where the client cannot take them: HTTP/1.0, or a 100 it does not expect. With
 * expects_continue the first read sends a 100, unless the options say that the owner does it
 * (continue_by_owner): then `in` also keeps the expect field, for a proxy to pass on. A content-length field fixes the length of the body (writing more
 * or less is an error); without one HTTP/1.1 sends chunks. Connection-level fields (connection,
 * transfer-encoding, keep-alive, upgrade) are this layer's business: naming them is -ERR_SYNTAX.
 * 0 or a final error, never -EAGAIN. */
static inline MUST_USE int exchange_send(struct exchange *x, const struct message *head)
{
    return x->ops->send(x, head);
}

/* (*) Ends our half like stream_shut, with trailers. On HTTP/1.1 they are sent only when the body is
 * chunked and (in a response) the client said `te: trailers`, else dropped. */
static inline MUST_USE int exchange_finish(struct exchange *x, const struct message *trailers)
{
    return x->ops->finish(x, trailers);
}

/* The stream under the connection, for addresses and the TLS peer; NULL once it is gone. Borrowed. */
static inline struct stream *exchange_transport(struct exchange *x)
{
    return x->ops->transport(x);
}

/* Takes x. */
static inline void exchange_close(struct exchange *x, int why)
{
    if (x) {
        stream_close(&x->s, why);
    }
}

static inline void exchange_release(struct exchange *x)
{
    exchange_close(x, -ERR_CANCELLED);
}
AUTO_DEFINE(exchange, struct exchange *, exchange_release);

/* For proxies: one direction between two exchanges, bytes lent from one to the other. */
struct exchange_moved {
    uint64_t bytes;              /* so far */
    struct grpc_count *messages; /* counts what is moved; NULL: no gRPC, or of no interest */
    struct exchange *broken;     /* after an error: whose call failed, borrowed */
};

/* Moves src's body to dst; its end becomes dst's, with its trailers. (*) 0 once that is done. 1:
 * budget octets were moved, and there may be more at once. -EAGAIN is about either of the two. */
MUST_USE int exchange_move(struct exchange *src, struct exchange *dst, size_t budget,
                           struct exchange_moved *m);

struct bytes;

/* (*) Appends the peer's body to into until its end: 0 when all of it is there, -ERR_TOO_LARGE when
 * it is more than into may hold. */
MUST_USE int exchange_read_whole(struct exchange *x, struct bytes *into);

/* Replies in the background: these take x (and the text of body, which is empty afterwards), send
 * head with a content-length, then the body, then close. Who does not take the answer within
 * EXCHANGE_REPLY_STALL_MS of any progress is cut. */
enum { EXCHANGE_REPLY_STALL_MS = 30000 };
void exchange_reply(struct loop *l, struct exchange *take_x, const struct message *head,
                    struct strbuf *take_body);
/* content_type NULL: no such field. */
void exchange_reply_text(struct loop *l, struct exchange *take_x, unsigned status,
                         const char *content_type, const char *text);
