/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The delta discovery client (contract 5): one stream to the control plane that keeps a world up to
 * date. Answers are walked resource by resource, so their size does not matter; what one answer
 * brought becomes visible at once, as a new world; of a stream that begins anew, what the first answers of
 * all types brought, together. The world outlives every failure of the stream.
 *
 * Runs on one loop (the control loop), decodes there, publishes to the slots of all others.
 */
#pragma once

#include "codec/json.h"
#include "io/loop.h"
#include "model/snap.h"
#include "model/world.h"
#include "rpc/grpc_dialer.h"

struct ads_client;

/* Takes resources that are not part of the world; the client's loop. */
struct ads_sink {
    /* value is borrowed. A failure refuses the resource; why is the reason as a NACK says it. */
    int (*put)(void *arg, const char *type_url, const char *name, struct slice value,
               struct diag *why);
    void (*remove)(void *arg, const char *type_url, const char *name);
    /* What was put and removed is complete, and the world that came with it is published next. */
    void (*commit)(void *arg, const struct world *world);
    /* The names that are held, for a stream that begins anew: calls each(). NULL: none. */
    void (*names)(void *arg, const char *type_url, void (*each)(void *to, const char *name),
                  void *to);
};

enum { ADS_CLIENT_TYPES_MAX = 8 };

struct ads_interest {
    const char *const *types;    /* URLs; static */
    unsigned type_count;         /* at most ADS_CLIENT_TYPES_MAX */
    const struct ads_sink *sink; /* of all but Address and Authorization; outlives the client */
    void *sink_arg;
};

struct ads_config {                      /* borrowed for ads_client_new, except the dialer */
    struct grpc_dialer *dialer;          /* outlives the client */
    const struct ads_interest *interest; /* NULL: addresses and authorizations; copied */
    const char *node_id; /* "ztunnel~<ip>~<pod>.<ns>~<ns>.svc.cluster.local" (contract 5.3) */
    const struct json *metadata; /* node metadata, an object */
    struct snap_slot *slots;     /* every new world goes here; outlives the client */
    struct loop **poke;          /* loops to poke after publishing, NULL-terminated; may be NULL */
    unsigned slot_count;
    struct task *owner; /* woken with WAKE_CHILD when there is a new world or state */
};

struct ads_client *ads_client_new(struct loop *l, const struct ads_config *config);
/* After the loops that adopt have ended and their slots were emptied (snap_slot_fini). */
void ads_client_free(struct ads_client *c);
AUTO_DEFINE(ads_client, struct ads_client *, ads_client_free);

/* What is in force. Never NULL; borrowed until the owner's run() ends. */
const struct world *ads_client_world(const struct ads_client *c);
/* Every type had its first answer, and all of it was good (contract 5.4). Never becomes false again. */
bool ads_client_is_synced(const struct ads_client *c);

enum ads_end { ADS_END_CONNECTION, ADS_END_RECONNECT, ADS_END_ERROR, ADS_END_COMPLETE, ADS_ENDS };

struct ads_stats {
    uint64_t ends[ADS_ENDS]; /* contract 5.5: ConnectionError, Reconnect, Error, Complete */
    uint64_t responses[ADS_CLIENT_TYPES_MAX]; /* by type, in the order of the interest */
    uint64_t response_bytes[ADS_CLIENT_TYPES_MAX];
    uint64_t rejected; /* resources refused */
    bool connected;
    struct diag last_error; /* of the connection, code 0 while it is fine */
    struct diag last_nack;  /* the newest refusal, code 0 if there was none */
};
const struct ads_stats *ads_client_stats(const struct ads_client *c);
/* What it asks for; in the order of the stats. */
const struct ads_interest *ads_client_interest(const struct ads_client *c);
/* The same for a dump's page: connected, synced, and the last error and refusal if there are any. Ours:
 * contract 9.6 has nothing of the kind. The caller's. */
struct json *ads_client_json(const struct ads_client *c);
