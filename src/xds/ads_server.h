/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The delta discovery server toward node proxies (contract 5): one stream a client, over catalogs that
 * others fill. Changes go out together once they have paused for a moment, Address before
 * Authorization; a request is answered at once. Of the types of layer 7 a client is told only what
 * belongs to the gateway that it serves (proto/waypoint.proto), whatever it asks for; a client that
 * serves none is told of nothing. When something of theirs is new, waypoints hear of it first, and the
 * others once they have answered, or soon after: whoever is sent to a waypoint finds it prepared.
 *
 * A client costs its place in each catalog. While it is slow, nothing is queued for it: what it has
 * missed is found when it can be told. Responses being sent are bounded for all clients together;
 * whoever does not take one in time is cut and comes back for less. One loop.
 */
#pragma once

#include "io/loop.h"
#include "rpc/grpc_server.h"
#include "xds/ads_type.h"
#include "xds/catalog.h"

enum {
    ADS_QUIET_MS = 100,
    ADS_MOST_MS = 10000,
    ADS_AHEAD_MS = 1000, /* that waypoints have to take in what is new before others hear of it */
    ADS_STREAMS_MAX = 10000,
    ADS_STREAMS_SPACE_MAX = 256,  /* of a namespace's clients that are no node proxies */
    ADS_FIRST_MS = 15000,         /* a stream without a request */
    ADS_SEND_MS = 120000,         /* a response that is not taken */
    ADS_BUFFER_BYTES = 256 << 20, /* of responses under way; one is always allowed */
    ADS_RESPONSE_BYTES_MAX = 190 << 20,
    ADS_REQUEST_BYTES_MAX = 64 << 20 /* of a client that holds a large mesh; taken in as it comes */
};

#define ADS_METHOD "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

struct ads_server_options { /* copied; 0 is the default above */
    unsigned streams_max;
    uint64_t quiet_ms;
    uint64_t most_ms;
    uint64_t buffer_bytes;
    /* Whether that account acts for the gateway of its namespace; NULL: the account of its name. */
    bool (*is_gateway)(void *arg, const char *ns, const char *gateway, const char *account);
    void *arg;
};

struct ads_server;

/* catalogs: one a type, borrowed; they outlive the server. */
struct ads_server *ads_server_new(struct loop *l, struct catalog *const catalogs[ADS_TYPES],
                                  const struct ads_server_options *options);
/* Cuts every stream. */
void ads_server_free(struct ads_server *s);
AUTO_DEFINE(ads_server, struct ads_server *, ads_server_free);

/* Who has opened the stream, as its credential says; NULL texts: nobody asked. Copied. */
struct ads_caller {
    const char *ns;
    const char *account;
    const char *identity; /* "spiffe://..." for messages */
    bool is_proxy;        /* a node's: others cannot take the streams and the buffer from it */
};
/* Takes call. */
void ads_server_add(struct ads_server *s, struct grpc_call *take_call,
                    const struct ads_caller *caller);
/* Something in a catalog may have changed: if so, the pause begins anew. */
void ads_server_changed(struct ads_server *s);

/* The sequence of Address that node proxies (clients that serve no gateway) are being told of, and the one
 * up to which all of those that are there have acknowledged, or refused, what they were told. */
uint64_t ads_server_published(const struct ads_server *s);
uint64_t ads_server_acknowledged(const struct ads_server *s);

/* Clients that serve a gateway; current: such a one has acknowledged, or refused, all that there is. */
struct ads_replica {     /* borrowed */
    const char *gateway; /* "ns/name" */
    const char *id;      /* of the node that it says it is: "waypoint~IP~pod.ns~domain" */
    bool is_current;
};
void ads_server_each_replica(const struct ads_server *s,
                             void (*each)(void *to, const struct ads_replica *r), void *to);

struct ads_server_stats {
    unsigned streams;
    uint64_t opened;
    uint64_t refused;              /* streams */
    uint64_t responses[ADS_TYPES]; /* and pushes among them */
    uint64_t pushes[ADS_TYPES];
    uint64_t resources[ADS_TYPES];
    uint64_t bytes;
    uint64_t rejects[ADS_TYPES]; /* NACKs */
    uint64_t cut;                /* too slow, or too far behind */
    size_t buffered;             /* now */
    struct diag last_reject;     /* the newest NACK's text, code 0: none */
};
const struct ads_server_stats *ads_server_stats(const struct ads_server *s);
