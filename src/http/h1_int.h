/* SPDX-License-Identifier: Apache-2.0 */
/* What the connection (h1_server.c) and its one exchange (h1_exchange.c) share. */
#pragma once

#include "base/bytes.h"
#include "codec/h1head.h"
#include "http/h1_server.h"

enum {
    H1_FILL_BYTES = 16 << 10,
    H1_FRAMING_ROOM = 32, /* of the output buffer, kept for a chunk's frame and the last chunk */
};

enum h1_step {
    H1_HEAD,    /* the head of a request, or its first octet, is awaited */
    H1_READY,   /* a request waits for h1_server_next */
    H1_BUSY,    /* it is out with its owner */
    H1_DISCARD, /* answered; what is left of its body is skipped */
    H1_OVER     /* the connection is gone */
};

/* The half of an exchange that the client sends. */
enum h1_in { H1_IN_COUNTED, H1_IN_CHUNKED, H1_IN_TRAILERS, H1_IN_ENDED };

/* The half that we send. */
enum h1_out {
    H1_OUT_HEAD,    /* nothing yet */
    H1_OUT_COUNTED, /* out_left octets are still to come */
    H1_OUT_CHUNKED,
    H1_OUT_TO_CLOSE, /* HTTP/1.0: the end of the connection is the end of the body */
    H1_OUT_SILENT,   /* the body is dropped: HEAD, 204, 304 */
    H1_OUT_ENDED
};

struct h1_exchange {
    struct exchange x;
    struct h1_server *server; /* NULL once the connection is gone */
    int failure;              /* then: why */
    int in_failure;           /* the body is broken or stalled: reading answers this */
    enum h1_in in;
    enum h1_out out;
    struct h1_chunk chunk;
    uint64_t in_left;
    uint64_t in_taken;
    uint64_t out_left;
    size_t seen; /* of the trailers */
    unsigned minor;
    bool owes_continue;
    bool takes_trailers;
};

struct h1_server {
    struct task task;
    struct timer timer;
    struct stream *below; /* NULL once H1_OVER */
    struct task *owner;
    struct h1_exchange *x; /* H1_READY to H1_DISCARD */
    struct h1_limits limits;
    struct bytes in;
    struct bytes out;
    size_t seen;       /* of the head */
    uint64_t head_due; /* deadlines; 0 = none runs */
    uint64_t read_due;
    uint64_t write_due;
    uint32_t served;
    enum h1_step step;
    bool last;  /* no request after this one */
    bool blank; /* the empty line that may precede a request was there */
    bool ended; /* the client has ended its half of the connection */
    int result;
    struct diag diag;
};

/* More input from below: 1, 0 at the client's end, or an error. */
int h1_fill(struct h1_server *s);
/* Something was put into s->out. */
void h1_kick(struct h1_server *s);
/* A reader waits for the body (or waits no more). */
void h1_await_body(struct h1_server *s, bool waits);
/* The exchange's owner has closed it; x is freed by this. */
void h1_exchange_closed(struct h1_server *s, struct h1_exchange *x);

/* NULL when the head does not fit a message. */
struct h1_exchange *h1_exchange_new(struct h1_server *s, const struct h1_head *head,
                                    const struct h1_framing *framing);
void h1_exchange_free(struct h1_exchange *x);
/* Body octets, 0 at the end. Also used to skip what nobody read. */
ssize_t h1_body_take(struct h1_exchange *x, void *into, size_t room);
