/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a client to something this waypoint serves: a stream inside of a tunnel, or a plain
 * connection. Who it is from and where to is settled here, once; what it carries is a session (HTTP)
 * or a passage (everything else), which embed it.
 */
#pragma once

#include "base/list.h"
#include "model/l7.h"
#include "obs/labels.h"
#include "waypoint/engine.h"

struct entry;

struct entry_ops {
    void (*drain)(struct entry *e);          /* may finish */
    void (*leave)(struct entry *e);          /* its service goes another way; NULL: goes on */
    void (*abort)(struct entry *e, int why); /* ends soon */
    unsigned (*reconsider)(struct entry *e); /* policies have changed: how much was judged again */
    void (*account)(struct entry *e);        /* byte counts, now and then */
    /* Memory is short: what has begun and is no request yet ends. Whether there was such a thing;
     * NULL: never. */
    bool (*shed)(struct entry *e);
};

struct entry {
    const struct entry_ops *ops;
    struct engine *engine;
    struct list in_engine;
    struct endpoint client;
    struct endpoint door;            /* our end of its connection */
    struct endpoint destination;     /* what it asked for */
    const struct identity *peer;     /* counted; NULL: in the clear, nobody */
    const struct service *service;   /* counted; NULL: a workload was addressed */
    const struct workload *workload; /* counted; then */
    const struct workload *source;   /* counted; NULL: not known */
    const struct l7_service *judges; /* counted: see entry_judges */
    struct baggage_side *baggage;    /* what the client's proxy says; NULL: source says it */
    enum l7_protocol protocol;       /* of the port */
    bool plain;                      /* counts in the engine's load by itself */
};

enum { ENTRIES_MAX = 65536 }; /* an engine; further ones are refused */

/* Takes the references in facts; the engine knows it from here on. */
void entry_start(struct entry *e, const struct entry *take_facts, const struct entry_ops *ops);
void entry_stop(struct entry *e);
/* Ends references of facts that no entry was made of. */
void entry_drop(struct entry *facts);
/* What policies judge of it; borrowed from e. */
struct l7_conn entry_conn(const struct entry *e);
/* The service's settings as they are now; NULL: a workload, or they went. Borrowed. */
const struct l7_service *entry_bound(const struct entry *e);
/* By whose policies its traffic is judged: the service's as they are now; while it is not bound here, as
 * they were when it last was: what was let in by them is not left to nobody. NULL: a workload, or it never
 * was bound. Borrowed until the next call. */
const struct l7_service *entry_judges(struct entry *e);
/* Whether its service goes another way by now: it went, or names another waypoint than it did, or is
 * not served here. */
bool entry_was_left(const struct entry *e);
/* Whether it addressed a service that is not bound here any more, and takes nothing new. */
bool entry_is_unbound(const struct entry *e);
/* Whether policy of a service guards the port of the workload that was addressed, by now. */
bool entry_is_guarded(const struct entry *e);
/* Fills the client's side of a record; borrowed from e. */
void entry_sides(const struct entry *e, struct access_side *src);
