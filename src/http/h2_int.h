/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the connection (h2_session.c), its streams (h2_exchange.c), what nghttp2 tells us
 * (h2_events.c) and the budget (h2_budget.c) share.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/bytes.h"
#include "base/list.h"
#include "http/h2_session.h"

enum h2_role { H2_CLIENT, H2_SERVER };

enum h2_step {
    H2_OPENING,  /* the peer's preface and SETTINGS are awaited */
    H2_OPEN,     /* requests come and go */
    H2_NOTICED,  /* server: the peer was told that we will stop; what it sent meanwhile is served */
    H2_DRAINING, /* only the streams under way go on */
    H2_OVER      /* the connection is gone */
};

struct h2_budget {
    uint64_t millitokens;
    uint64_t at_ms; /* when they were counted */
    uint32_t free;  /* frames that progress has paid for */
};

struct h2_session {
    struct task task;
    struct timer timer;
    struct stream *below; /* NULL once H2_OVER */
    struct task *owner;
    nghttp2_session *ng; /* NULL once H2_OVER */
    struct list streams; /* exchanges that have a stream */
    struct list ready;   /* server: of these, the requests that wait for h2_session_next */
    struct list kicked;  /* of these, the ones that have something new to send */
    struct list given;   /* what its owners hold, gone streams included */
    struct list spare;   /* exchanges that have ended: their memory serves the next ones */
    unsigned spare_count;
    unsigned spare_least;  /* since the last rest: so many were not needed */
    struct loop_rest rest; /* while there are some */
    struct list refusals;  /* server: struct refusal, the oldest first */
    struct bytes out;      /* made by nghttp2, refused by the transport */
    struct h2_options o;
    struct h2_budget budget;
    struct h2_stats stats;
    unsigned given_out;   /* how many those are */
    uint32_t block_bytes; /* decoded so far of the header block that is being received */
    uint64_t first_due;   /* deadlines; 0 = none runs */
    uint64_t write_due;
    uint64_t ping_due;
    uint64_t pong_due;
    uint64_t idle_due;
    uint64_t notice_due;
    uint64_t left_due;
    uint64_t head_due;      /* server: of the head that is arriving */
    uint64_t head_since_ms; /* then: when it began, */
    uint64_t head_from;     /* and at which byte of the connection */
    uint64_t armed_ms;      /* when the timer fires, 0 = it does not run */
    enum h2_role role;
    enum h2_step step;
    bool peer_leaves;   /* GOAWAY was received */
    bool full;          /* this run: the transport takes no more */
    int send_failure;   /* < 0: the transport's, found while nghttp2 was at work */
    uint64_t send_stop; /* of stats.sent_bytes: enough for this run */
    int failing;        /* < 0: found while nghttp2 was at work; the session ends with this */
    int result;
    struct diag diag;
};

/* The half that the peer sends. */
enum h2_recv { H2_RECV_HEAD, H2_RECV_BODY, H2_RECV_ENDED };

/* The half that we send. */
enum h2_send {
    H2_SEND_HEAD,   /* nothing yet */
    H2_SEND_QUEUED, /* a head waits for the end of the turn, in case its end comes with it */
    H2_SEND_BODY,
    H2_SEND_ENDING, /* nothing more comes; out and trailers may still have to leave */
    H2_SEND_ENDED
};

enum h2_holder {
    H2_HELD_NEW,   /* the session: not handed out yet */
    H2_HELD_OWNER, /* its owner */
    H2_HELD_LEFT   /* the session: closed by its owner, the rest has still to leave */
};

struct h2_exchange {
    struct exchange x;
    struct h2_session *session;  /* NULL once the stream is gone */
    struct h2_session *given_by; /* who counts it, NULL once that is gone */
    int failure;                 /* then: why, 0 when both halves ended */
    int in_failure;              /* reading answers this when the buffer is empty */
    int32_t id;
    struct list in_streams;
    struct list in_ready;
    struct list in_kicked;
    struct list in_given;
    struct bytes in;
    struct bytes out;
    struct message head;     /* server: to be sent, while H2_SEND_QUEUED; client: arriving */
    struct message *interim; /* client: those that wait to be seen, oldest first */
    unsigned interim_count;
    unsigned interims;       /* all there were, of either direction */
    struct message trailers; /* to be sent at the end */
    uint64_t taken;          /* body octets received */
    uint32_t skipped;        /* of them: after the answer, when nobody wanted them any more */
    uint64_t out_left;       /* of a content-length we have promised */
    enum h2_recv recv;
    enum h2_send send;
    enum h2_holder holder;
    bool deferred; /* nghttp2 waits until there is something to send */
    bool refused;  /* answered by us: what still comes is of no interest */
    bool counted;  /* out_left means something */
    bool arrived;  /* client: head is the final one and waits to be seen */
    bool upgrade;  /* extended CONNECT for WebSocket */
    bool owes_continue;
};

/* h2_session.c */
/* Goes with the notice that we will stop: who answers it has read that. */
extern const uint8_t h2_drain_ping[8];
void h2_kick(struct h2_session *s); /* something is to be sent, at the end of this turn */
void h2_set_due(struct h2_session *s, uint64_t *due, uint32_t in_ms);
void h2_wake_owner(struct h2_session *s);
void h2_fail(struct h2_session *s, int why); /* from within nghttp2: the session ends soon */
/* A DATA frame, its body lent: -EAGAIN when it has to wait, or the transport's failure. */
int h2_send_data(struct h2_session *s, const uint8_t *head, const uint8_t *body, size_t len);

/* h2_exchange.c */
struct h2_exchange *h2_exchange_new(struct h2_session *s, enum h2_holder holder);
void h2_exchange_free(struct h2_exchange *x);
void h2_exchange_drop_spare(struct h2_session *s, unsigned count);
/* Its stream is gone. why 0: both halves had ended. Frees it when nobody else holds it. */
void h2_exchange_orphan(struct h2_exchange *x, int why);
/* Gives nghttp2 what is new. */
void h2_exchange_submit(struct h2_exchange *x);
/* Client: makes the stream. */
int h2_exchange_request(struct h2_exchange *x, const struct message *head, bool end);
void h2_wake(struct h2_exchange *x);
void h2_in_ended(struct h2_exchange *x);
/* Client: the server does not agree to another protocol, so nothing more is sent. */
void h2_end_upgrade(struct h2_exchange *x);
int h2_on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
                    nghttp2_data_source *source, void *user);

/* h2_request.c: what HTTP/2 itself lets pass is looked at again, as HTTP/1.1 would. 0: it may be
 * handed out; else the status of its refusal. */
unsigned h2_request_check(struct h2_exchange *x, bool end);
/* The field may be taken into the trailers that arrive. */
bool h2_may_trail(const struct h2_exchange *x, struct slice name);

/* h2_events.c */
int h2_events_new(struct h2_session *s); /* makes s->ng: 0 or -ENOMEM */
/* Server: keeps what is known of x for who records it; status 0: there was no answer. */
void h2_note_refusal(struct h2_exchange *x, unsigned status, const struct diag *why);

/* h2_budget.c */
void h2_budget_init(struct h2_session *s);
void h2_budget_earn(struct h2_session *s, uint32_t frames);
void h2_budget_spend(struct h2_session *s, enum h2_token token);
