/* SPDX-License-Identifier: Apache-2.0 */
/* One client's stream, as the server, the stream itself and the building of its responses share it. */
#pragma once

#include "xds/ads_request.h"
#include "xds/ads_server.h"
#include "xds/lookup.h"

enum watch_mode {
    WATCH_NONE, /* this type was not asked for */
    WATCH_ALL,
    WATCH_NAMES /* only what is named, is on the client's node or belongs to a named service */
};

enum { ADS_NONCE_TEXT = 48 };

struct ads_watch {
    enum watch_mode mode;
    uint64_t heard; /* sequence up to which the client has been told */
    uint64_t ahead; /* the same of what is told first: bindings that are gone, scoped policies */
    char nonce[ADS_NONCE_TEXT];
    bool is_answered;      /* the response of that nonce */
    uint64_t answered;     /* sequence up to which responses were answered, while that one is not */
    struct name_set names; /* WATCH_NAMES: asked for, or sent */
};

enum stream_step {
    STREAM_FIRST, /* the first request is awaited */
    STREAM_OPEN,
    STREAM_ENDED /* the call is gone; the server frees the stream */
};

struct ads_stream {
    struct task task;
    struct timer limit; /* of STREAM_FIRST, and of a response being sent */
    struct ads_server *server;
    struct list in_server;
    struct list waiting; /* for other responses to leave the buffer */
    struct grpc_call *call;
    enum stream_step step;
    char *caller_ns; /* NULL: nobody looked at the credential */
    char *caller_account;
    char *caller_identity;
    bool is_proxy;
    struct ads_node node;
    char *gateway;              /* "ns/name/" of the one it serves; NULL: none */
    struct ads_request request; /* being read */
    bool is_reading;
    bool has_asked; /* request is complete and wants an answer of watch[request.type] */
    struct ads_watch watch[ADS_TYPES];
    struct strbuf out; /* the response being sent */
    bool is_sending;
    size_t counted; /* of out, in what the server counts as buffered */
};

struct ads_server {
    struct task task;
    struct timer quiet;
    struct loop *loop;
    struct catalog *catalogs[ADS_TYPES];
    const struct catalog *readable[ADS_TYPES];
    struct lookup_table *lookup; /* NULL until a client asks for names */
    struct ads_server_options o;
    struct list streams;
    struct list ended;
    struct list waiting;
    struct timer hold; /* of others, while waypoints are ahead */
    bool is_holding;
    uint64_t ahead[ADS_TYPES];     /* sequences that waypoints are to hear of */
    uint64_t published[ADS_TYPES]; /* and all others */
    uint64_t noticed[ADS_TYPES];   /* sequences that a pause has begun for */
    uint64_t dirty_since_ms;       /* 0: nothing waits to be published */
    uint64_t pushes;               /* how often something was published */
    char started[32];
    struct ads_server_stats stats;
};

struct ads_stream *ads_stream_new(struct ads_server *s, struct grpc_call *take_call,
                                  const struct ads_caller *caller);
void ads_stream_free(struct ads_stream *c);

/* Builds what the type's client has to be told into c->out and notes that it was. False: nothing. An
 * answer to a request (has_asked) is never nothing. */
bool ads_answer_build(struct ads_stream *c);
bool ads_push_build(struct ads_stream *c, enum ads_type type);
/* Only of what is gone; the push tells it once more, in its turn. */
bool ads_withdrawal_build(struct ads_stream *c, enum ads_type type);
/* Of policies: those that are in force by themselves, for a namespace or for all. */
bool ads_scoped_build(struct ads_stream *c);
/* The answer for a type nobody has: empty. */
void ads_answer_unknown(struct ads_stream *c);

/* The server's secondary index, made at the first call. */
struct lookup_table *ads_server_lookup(struct ads_server *s);
/* A response has left: its bytes are free for others. */
void ads_server_release(struct ads_server *s, size_t bytes);
/* False: too much is being sent; c is woken when less is. */
bool ads_server_may_build(struct ads_server *s, struct ads_stream *c);
