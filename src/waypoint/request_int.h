/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request is made of:
 *
 *   request.c        its steps, tries, deadlines and end
 *   request_store.c  the memory of those that are not in use
 *   request_judge.c  what is decided before it is sent anywhere
 *   request_head.c   the heads that go on, either way
 *   request_reply.c  what is answered here
 *   request_record.c what is written of it in the end
 *   request_body.c   the client's body on its way, kept for another try while it is small
 *   mirror.c         a copy of it, whose fate is nobody's concern
 */
#pragma once

#include "base/arena.h"
#include "http/exchange.h"
#include "http/message.h"
#include "io/relay.h"
#include "model/l7_apply.h"
#include "model/l7_authz.h"
#include "model/l7_table.h"
#include "obs/http_access.h"
#include "tls/request_auth.h"
#include "waypoint/cluster.h"
#include "waypoint/request.h"
#include "waypoint/request_plan.h"

enum {
    REPLAY_BYTES_MAX = 64 << 10,
    MOVE_BUDGET = 256 << 10, /* bytes a direction in one run: small enough for the others' turn */
    IDLE_LIMIT_MS = 300000,
    PREVIOUS_MAX = CLUSTER_TRIED_MAX,
    DEFAULT_RETRIES = 2,
};

struct request {
    /* Kept from one request to the next. */
    struct request_store *store;
    struct message out;   /* a head to send */
    struct message spare; /* while one is changed */
    struct strbuf path;   /* made of the one that came */
    struct strbuf host;   /* canonical */
    struct strbuf text;   /* of a reply; scratch before */
    struct bytes replay;  /* the first bytes of the client's body, while keeping them makes sense */

    struct task task; /* the first of what is zeroed */
    struct timer timer;
    struct list in_session; /* or in the store */
    struct session *session;
    struct held *held;
    enum request_step step;
    int abort;
    bool denied;                /* by policy that changed: q->reply says how */
    uint64_t policy_generation; /* it was judged by */

    struct exchange *down; /* NULL once it is closed */
    struct exchange *up;   /* NULL between tries */
    struct lease lease;
    struct upstream *endpoint; /* a user of it while it is tried */
    struct request_plan plan;

    /* What decisions see. */
    struct l7_conn conn;
    struct l7_request view;
    struct request_auth auth;
    bool has_auth; /* auth is to be ended */
    struct arena arena;
    struct slice query;

    /* The client's body. */
    size_t replayed;    /* of these, sent in this try */
    bool keeps;         /* everything that was read is in replay */
    bool body_read;     /* its end was seen */
    bool body_sent;     /* and passed on in this try */
    bool body_given_up; /* the server does not take it: its response is what counts */
    size_t reply_at;
    struct exchange_moved moved; /* of the response's */
    struct relay relay;          /* of REQUEST_UPGRADED */
    struct grpc_count messages_up, messages_down;
    uint64_t told_up, told_down; /* of these, in metrics already */
    bool drawn_mirrors;

    unsigned tries;
    struct cluster *retrying; /* whose limit of retries this try counts against; NULL: none's */
    bool retry_refused;       /* that limit was reached */
    struct upstream *previous[PREVIOUS_MAX]; /* used */
    unsigned previous_count;
    uint64_t sent_ms;        /* this try's head */
    uint64_t moved_ms;       /* when something moved last */
    uint64_t request_due_ms; /* 0: none runs; likewise the next two */
    uint64_t try_due_ms;
    uint64_t backoff_due_ms;

    struct request_reply reply;
    struct l7_cors_verdict cors_verdict;
    struct l7_cors_headers cors;
    bool has_cors;
    bool set_cookie; /* hash cookie to be made */
    char cookie[20];
    bool grpc;
    bool head_sent; /* a final response head has gone to the client */
    struct http_access record;
    const struct workload *dst; /* counted */
    char request_id[40];

    char details[L7_AUTHZ_TEXT]; /* the first of what is not: written before it is read */
    char failure[128];
};

struct request_store {
    struct engine *engine;
    struct http_recorder *recorder;
    struct list free;
    unsigned free_count;
    struct list mirrors;
    unsigned mirror_count;
    struct request_counts counts;
};

static inline uint64_t request_now(const struct request *q)
{
    return loop_now_ms(q->task.loop);
}

/* request_store.c */
struct request *request_make(struct request_store *store);
void request_recycle(struct request *q);

/* The head it came with, for as long as it runs. */
static inline const struct message *request_came(const struct request *q)
{
    return q->down ? &q->down->in : &q->spare; /* see start_upgrade */
}

/* request_judge.c: 0: q->plan says where to; 1: q->reply is what is answered. */
MUST_USE int request_judge(struct request *q);
/* By what is in force now: 0: goes on; 1: q->reply is what would be answered. */
MUST_USE int request_judge_again(struct request *q, const struct l7_service *bound);
/* Policy of a service guards the pod that was asked by its address: 1, q->reply says so. */
int request_refuse_guarded(struct request *q);
/* What is known of a backend (NULL: the service itself, or the workload), or NULL; borrowed until the turn
 * ends. And what it speaks. */
const struct l7_service *request_service(const struct request *q, const struct l7_backend *backend);
enum upstream_protocol request_protocol(const struct request *q, const struct l7_backend *backend);
/* The key for consistent hashing. False: none. */
bool request_hash(struct request *q, const struct l7_traffic *t, uint64_t *out);

/* request_head.c: into q->out. */
/* How many more hops an OPTIONS request wants to go (Max-Forwards). False: it does not say. */
bool request_hops(const struct request *q, uint64_t *out);
void request_head_up(struct request *q);
/* Those that go on to the server, perhaps in q->spare: until the head is changed. */
const struct message *request_trailers_up(struct request *q);
void request_head_down(struct request *q, const struct message *in);
void request_head_reply(struct request *q);
/* Trailers that end a gRPC response with q->reply. */
void request_head_trailers(struct request *q);
/* Applies a change to m by way of q->spare. */
void request_head_change(struct request *q, struct message *m, const struct l7_header_change *c);

/* request_reply.c: fills q->reply; the step is the caller's. Text is copied. */
int request_answer(struct request *q, unsigned status, enum http_flag flag, const char *details,
                   const char *body);
/* For a try that failed for good. */
int request_answer_failure(struct request *q, int r, const struct diag *why);
int request_grpc_status(unsigned http_status);
/* Sends the head; 0 or an error. */
MUST_USE int request_reply_start(struct request *q);
/* (*) 0 when all of it has left. */
MUST_USE int request_reply_move(struct request *q);

/* request_body.c */
/* (*) Moves the client's body; 0: all of it was, 1: there may be more at once. *side: whose error. */
enum request_side { SIDE_CLIENT, SIDE_SERVER };
MUST_USE int request_body_move(struct request *q, enum request_side *side);
/* Another try starts with what was kept (q->keeps). */
void request_body_rewind(struct request *q);
/* Nobody will ask for what is kept. */
void request_body_forget(struct request *q);

/* request_record.c */
void request_record_start(struct http_access *a, const struct session *s, enum exchange_version v);
void request_record_end(struct request *q);
/* gRPC: what has passed since the last call; streams may last for hours. */
void request_record_messages(struct request *q);

/* mirror.c: copies of the request as it is; the body is what is kept, whole. */
bool mirrors_wanted(const struct request *q);
/* Once: those of the rule that are drawn. */
void mirrors_send(struct request *q);
void mirrors_free(struct request_store *store);
