/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: a loop with everything its connections share. Engines share nothing but immutable
 * snapshots and mail; a connection is handed to one and stays there. Built before its loop runs, then
 * the loop's thread only, except engine_take and the load.
 */
#pragma once

#include <stdatomic.h>

#include "base/rand.h"
#include "hbone/budget.h"
#include "hbone/hbone_loop.h"
#include "hbone/pool.h"
#include "io/host_names.h"
#include "io/loop.h"
#include "io/memory_guard.h"
#include "model/l7.h"
#include "model/snap.h"
#include "model/world.h"
#include "obs/access.h"
#include "obs/loop_meter.h"
#include "obs/part_meter.h"
#include "tls/tls_stream.h"
#include "waypoint/config.h"
#include "waypoint/own.h"
#include "waypoint/stats.h"

struct upstreams;
struct clusters;
struct request_store;
struct token_cache;

struct engine {
    struct loop *loop;
    const struct config *config;
    const struct identity *identity; /* the waypoint's own */
    struct tls_loop *tls;
    struct hbone_loop *hbone;
    struct hbone_pool *tunnels; /* to destinations */
    struct resolver *resolver;
    struct host_names
        *hosts; /* of endpoints that are known by name; NULL: there are no name servers */
    struct host_source asked; /* all of these count as one */
    struct own own;
    const struct memory_guard *guard;
    struct budget budget; /* this loop's share of the memory for received bytes */
    struct snap_slot *worlds;
    struct snap_slot *l7s;
    struct loop_hook adopt;
    struct loop_meter meter;
    struct part_meter parts;
    struct metrics_shard *shard;
    struct recorder *recorder;
    struct upstreams *upstreams;
    struct clusters *clusters;
    struct request_store *requests;
    struct token_cache *tokens;
    struct timer tick; /* of what is looked at now and then */
    struct timer shed; /* looks whether memory is short */
    struct timer look; /* for connections whose service has left */
    unsigned entry_count;
    struct list entries; /* struct entry: connections of clients, inside of tunnels or plain */
    unsigned unjudged;   /* of these, from the first one on: to be judged again */
    struct list inlets;  /* struct inlet: tunnels of clients */
    struct rand_seq random;
    uint64_t wall_offset_ns; /* from the monotonic clock to the wall's, brought up at each tick */
    struct engine_counts counted;
    uint64_t overloaded;  /* requests and connections that were refused for want of memory */
    uint64_t policy_cuts; /* that policy had let in and does not any more */
    atomic_uint load;     /* connections handed over and not yet closed */
    bool draining;
    struct task task;            /* drains */
    const struct workload *self; /* the waypoint in the world; for locality and labels */
    uint64_t self_generation;
};

struct engine_options { /* everything is borrowed and outlives the engine */
    struct loop *loop;
    const struct config *config;
    const struct identity *identity;
    struct cert_manager *certs;
    struct jobs *jobs;
    struct tls_ctx *tls;
    struct metrics_shard *shard;
    struct snap_slot *worlds;
    struct snap_slot *l7s;
    const struct memory_guard *guard;
    size_t budget_bytes;
};

MUST_USE int engine_new(struct engine **out, const struct engine_options *options,
                        struct diag *why);
/* After the loop has ended. */
void engine_free(struct engine *e);
AUTO_DEFINE(engine, struct engine *, engine_free);

/* Any thread: a connection for this engine; plain NULL: a tunnel. Counts in the load at once. */
void engine_take(struct engine *e, int take_fd, const struct endpoint *peer,
                 const struct plain_listener *plain);
/* Any thread: connections finish, none goes on for ever. */
void engine_drain(struct engine *e);

static inline const struct world *engine_world(const struct engine *e)
{
    return world_now(e->worlds);
}

static inline const struct l7 *engine_l7(const struct engine *e)
{
    return l7_now(e->l7s);
}

/* Memory is short, this loop's for received bytes or the process': new requests and connections are
 * refused, what is under way goes on. */
bool engine_is_overloaded(const struct engine *e);

/* NULL: the control plane has not told of it. Borrowed until the turn ends. */
const struct workload *engine_self(struct engine *e);
/* Our own address. */
bool engine_is_at(struct engine *e, const struct ip *at);
