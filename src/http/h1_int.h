/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two ends (h1_server.c, h1_client.c) share: the connection (h1_conn.c) and its one exchange
 * at a time, of which one file knows the half that comes (h1_body.c), one the half that goes
 * (h1_send.c), and one its life (h1_exchange.c).
 */
#pragma once

#include "base/bytes.h"
#include "codec/h1head.h"
#include "http/exchange.h"
#include "http/h1_limits.h"

enum {
    H1_FRAMING_ROOM = 32, /* of the output buffer, kept for a chunk's frame and the last chunk */
    H1_READ_AHEAD = 4096, /* taken while nobody reads, to notice that the peer has gone */
};

enum h1_step {
    H1_HEAD,    /* server: the head of a request, or its first octet, is awaited */
    H1_READY,   /* server: a request waits for h1_server_next */
    H1_IDLE,    /* client: no request is under way */
    H1_BUSY,    /* an exchange is out with its owner */
    H1_DISCARD, /* server: answered; what is left of its body is skipped */
    H1_OVER     /* the connection is gone */
};

/* The half of an exchange that the peer sends. */
enum h1_in {
    H1_IN_HEAD, /* client: the response's */
    H1_IN_COUNTED,
    H1_IN_CHUNKED,
    H1_IN_TRAILERS,
    H1_IN_TO_CLOSE, /* the end of the connection is the end of the body; also after an upgrade */
    H1_IN_ENDED
};

/* The half that we send. */
enum h1_out {
    H1_OUT_HEAD,    /* nothing yet, or interim responses only */
    H1_OUT_COUNTED, /* out_left octets are still to come */
    H1_OUT_CHUNKED,
    H1_OUT_TO_CLOSE, /* the end of the connection is the end of the body; also after an upgrade */
    H1_OUT_SILENT,   /* the body is dropped: HEAD, 204, 304, or the peer takes no more */
    H1_OUT_ENDED
};

struct h1_conn;

struct h1_exchange {
    struct exchange x;
    struct h1_conn *conn; /* NULL once the connection is gone */
    int failure;          /* then: why */
    int in_failure;       /* the body is broken or stalled: reading answers this */
    enum h1_in in;
    enum h1_out out;
    struct h1_chunk chunk;
    struct slice upgrade; /* static text: the protocol that was asked for */
    uint64_t in_left;
    uint64_t in_taken;
    uint64_t out_left;
    uint64_t sent_mark; /* client: conn->sent when it began */
    size_t seen;        /* of the trailers */
    unsigned interims;
    bool owes_continue;  /* server: the client waits for a 100 */
    bool takes_trailers; /* the peer */
    bool to_head;        /* the request's method is HEAD */
    bool interim_shown;  /* client: `in` is an interim response */
    bool borrowed;       /* what peek lent is the transport's memory, not ours */
    bool in_waits;       /* the last call on that half was answered -EAGAIN */
    bool out_waits;
};

struct h1_conn {
    struct task task;
    struct timer timer;
    struct stream *below; /* NULL once H1_OVER */
    struct task *owner;
    struct h1_exchange *x; /* H1_READY to H1_DISCARD */
    struct h1_limits limits;
    struct bytes in;
    struct bytes out;
    size_t seen;       /* of the head */
    uint64_t sent;     /* octets that the transport has taken */
    uint64_t head_due; /* deadlines; 0 = none runs */
    uint64_t read_due;
    uint64_t write_due;
    uint64_t quiet_due; /* empty buffers are given back */
    uint64_t armed_ms;  /* when the timer fires, 0 = it does not run */
    uint32_t fill;      /* octets to ask the transport for; follows what comes */
    enum h1_step step;
    bool client;
    bool begun;   /* of the head that is arriving, the first line is there and a proper one */
    bool last;    /* no request after this one */
    bool ended;   /* the peer has ended its half of the connection */
    bool ending;  /* ours ends when all of out has left: an upgraded connection */
    bool refused; /* the transport did not take all we had */
    bool touched; /* written to since the last flush */
    int result;
    struct diag *said; /* NULL: nothing; see h1_diag */
};

/* h1_conn.c */
/* given (NULL: nothing) with the defaults of that end in place of zeroes. */
struct h1_limits h1_limits_of(const struct h1_limits *given, const struct h1_limits *defaults);
void h1_conn_init(struct h1_conn *c, struct loop *l, const char *name, task_fn *run,
                  struct stream *take_below, struct task *owner);
void h1_conn_fini(struct h1_conn *c);
/* What is wrong with it, of code 0 before, and where to note it: as of a stream (io/stream.h). */
const struct diag *h1_diag(const struct h1_conn *c);
struct diag *h1_why(struct h1_conn *c);
void h1_set_due(struct h1_conn *c, uint64_t *due, uint32_t in_ms);
bool h1_is_past(const struct h1_conn *c, uint64_t due);
void h1_wake_owner(struct h1_conn *c);
void h1_wake_exchange(struct h1_conn *c);
/* More input from below: 1, 0 at the peer's end, or an error. */
int h1_fill(struct h1_conn *c);
/* Something was put into c->out or written below. */
void h1_kick(struct h1_conn *c);
/* Everything that waits, as far as the transport takes it. 0 when all of it has left. */
int h1_send_out(struct h1_conn *c);
/* Client: the transport takes no more. A server that answers early may close its reading half; what it
 * has said is still there to read, so what is still written is only dropped. */
void h1_stop_sending(struct h1_conn *c);
/* A reader waits for the body (or waits no more). */
void h1_await_body(struct h1_conn *c, bool waits);
/* For run(): the timer has fired, so deadlines are to be looked at, and then it is to be set again. */
bool h1_timer_fired(struct h1_conn *c);
void h1_rearm(struct h1_conn *c);
/* Steps until -EAGAIN, sends what there is; what is neither ends the connection. */
void h1_steps(struct h1_conn *c, unsigned why, int (*step)(struct h1_conn *c));
/* The only way to H1_OVER. why < 0 cuts the connection; with 0 what is in out still leaves. */
void h1_end(struct h1_conn *c, int why, int result);
void h1_cut(struct h1_conn *c, int why);
/* h1_section_end of what is there. */
ssize_t h1_find_head_end(struct h1_conn *c);
/* Of a head that is not whole: whether what is there can be its beginning. */
int h1_judge_beginning(struct h1_conn *c);
/* Whether the first line is too long already, whole or not. */
bool h1_line_is_too_long(const struct h1_conn *c);
/* The head within the limits on its fields: 0 or -ERR_TOO_LARGE, -ERR_SYNTAX. */
int h1_check_limits(const struct h1_conn *c, const struct h1_head *h, struct diag *why);

/* h1_exchange.c */
struct h1_exchange *h1_exchange_new(struct h1_conn *c);
void h1_exchange_free(struct h1_exchange *x);
/* The fields that are the message's own go into its `in`. */
void h1_take_fields(struct h1_exchange *x, const struct h1_head *h, const struct h1_framing *f);

/* h1_server.c, h1_client.c. The exchange's owner has closed it, x is freed by this. */
void h1_server_closed(struct h1_conn *c, struct h1_exchange *x);
void h1_client_closed(struct h1_conn *c, struct h1_exchange *x);
int h1_client_head(struct h1_exchange *x);

/* h1_body.c: like the stream calls of the same names. */
ssize_t h1_body_read(struct h1_exchange *x, void *into, size_t room);
int h1_body_peek(struct h1_exchange *x, struct iovec *out, int max);
void h1_body_skip(struct h1_exchange *x, size_t n);
void h1_in_ended(struct h1_exchange *x);

/* h1_send.c */
int h1_send_request(struct h1_exchange *x, const struct message *head, bool end);
int h1_send_head(struct h1_exchange *x, const struct message *head);
ssize_t h1_send_body(struct h1_exchange *x, const struct iovec *from, int count);
int h1_send_end(struct h1_exchange *x, const struct message *trailers);
