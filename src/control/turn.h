/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a service's waypoint and the guards of its pods (guard.h) change. Node proxies hear
 * of a change one after the other, so that two changes at once let one of them send past a waypoint to
 * where another still asks for it. A service that leaves its waypoint therefore loses its guards first;
 * one that gets a waypoint gets the guards later; where one waypoint follows another, the guards let both
 * in before the first service is sent there, and until what is under way by the old one had time to end: a
 * while in any case, and long if until then the old one is there and the policies that it judged by are the
 * ones in force. It gets nothing new, but of policies that change it would not hear.
 * What comes second waits until every node proxy has acknowledged the first, or for a second after it was
 * published.
 *
 * Nothing waits before the cluster is known (index_live): a control plane that starts publishes the
 * guards that there are, whatever its predecessor was about to do. Neither does a service that is new.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum {
    TURN_WAIT_MS = 1000,
    TURN_REST_MS = 30000, /* as long as a waypoint that ends gives its requests */
    TURN_REST_MOST_MS = 3600 * 1000
};

struct gateway_item;
struct index;
struct service_item;
struct waypoint_choice;

enum turn_kind {
    TURN_NONE,
    TURN_ATTACH, /* it has its waypoint, and no guards yet */
    TURN_DETACH, /* it has no guards any more, and its waypoint still */
    TURN_PERMIT, /* it has its old waypoint, and guards for both */
    TURN_MOVE,   /* it has its new waypoint, and guards for both */
    TURN_REST    /* the same, and nobody is waited for */
};

struct turn { /* of one service */
    struct list in_index;
    enum turn_kind kind;
    struct gateway_item
        *gateway;              /* the old one if it leaves one; with a use; NULL with TURN_NONE */
    struct gateway_item *next; /* that follows it; with a use; NULL: none does */
    uint64_t seq;              /* of Address: what is waited for; 0: it is not settled yet */
    uint64_t due_ms;           /* 0: it is not published yet; of TURN_REST: its least */
    bool is_stale;             /* TURN_REST: policies have changed since */
};

void turn_init(struct turn *t);
/* Without marking anything. */
void turn_fini(struct index *x, struct turn *t);
/* Begins and abandons one by what the service asks for now; before anything of it is settled. */
void turn_follow(struct index *x, struct service_item *s);
/* Of a service that moves: the gateway that is let in beside the one it has. NULL: it does not. */
struct gateway_item *turn_other(const struct turn *t);
/* Policies that aim at that service, at that gateway, or (neither) at all gateways, are not what they were. */
void turn_policies_changed(struct index *x, const struct service_item *s,
                           const struct gateway_item *g);
/* That gateway is gone: who turns from it or to it is settled without waiting. */
void turn_gateway_gone(struct index *x, const struct gateway_item *g);
/* Ends what has rested long enough. */
void turn_tick(struct index *x, uint64_t now_ms);

/* ---- what is decided by (waypoint_choice.c) */

/* What its labels ask for; not yet, or not any more, what it has. */
struct waypoint_choice waypoint_asked(const struct service_item *s);
/* That gateway can be the service's waypoint. */
bool waypoint_is_fit(struct gateway_item *g, const struct service_item *s);
