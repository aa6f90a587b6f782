/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a waypoint was told at one moment, compiled: by service its ports, route tables,
 * policies and traffic settings. Immutable and published like a world (model/world.h, model/snap.h):
 * a next one is made from a delta off the loops and shares every service that the delta did not
 * touch. Resources are put and removed by the name they have in discovery.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/l7_binding.h"
#include "model/l7_policy.h"
#include "model/l7_request.h"
#include "model/l7_route.h"
#include "model/l7_traffic.h"
#include "model/snap.h"

struct l7;
struct l7_delta;
struct l7_table;

/* Key sets of JWT rules are made by a layer that has cryptography (tls/jwks.h); a snapshot holds
 * them without knowing what they are. */
struct l7_jwks {
    struct aref refs;
    void (*free)(struct l7_jwks *keys);
};
struct l7_jwks_maker {
    /* One reference for the caller; NULL: unusable, nothing verifies. */
    struct l7_jwks *(*make)(const char *jwks);
};

/* A policy in place: with the keys of its JWT rules, one a rule, NULL where unusable. */
struct l7_placed {
    const struct l7_policy *policy;
    struct l7_jwks *const *keys;
};
struct l7_policies { /* in order of resource names */
    const struct l7_placed *at;
    size_t count;
};

struct l7_rules {
    const struct l7_table *table; /* HTTPRoute or GRPCRoute rules; NULL: straight to the service */
    const struct l7_route *tcp;   /* TCPRoute rule, only where table is NULL; NULL: none */
};
struct l7_consumer {
    const char *ns; /* borrowed from one of its rules */
    struct l7_rules rules;
};

struct l7_port {
    uint16_t port;
    enum l7_protocol protocol;
    struct l7_rules rules;               /* for everybody but the consumers */
    const struct l7_consumer *consumers; /* sorted by namespace; each has a rule at least */
    size_t consumer_count;
    const struct l7_traffic *traffic; /* of the service itself; NULL: defaults */
};

struct l7_service {
    struct aref refs;
    const char *key;                  /* "ns/hostname" */
    const struct l7_binding *binding; /* NULL: not served here, only a backend or not known yet */
    const struct l7_port *ports;      /* sorted by port; none without a binding */
    size_t port_count;
    struct l7_policies authorization; /* with the service as target */
    struct l7_policies authentication;
    const struct l7_traffic *const *traffic;
    size_t traffic_count;
};

/* ---- making one (a control thread) */

/* An empty one; one reference for the caller. bin and maker may be NULL; maker is used by all that
 * are made from this one. */
const struct l7 *l7_new(struct snap_bin *bin, const struct l7_jwks_maker *maker);
const struct l7 *l7_ref(const struct l7 *w);
const struct l7 *l7_unref(const struct l7 *w); /* returns NULL */
AUTO_DEFINE(l7, const struct l7 *, l7_unref);

/* Keeps a reference to base until l7_next or l7_delta_free. */
struct l7_delta *l7_delta_new(const struct l7 *base);
void l7_delta_free(struct l7_delta *d);
AUTO_DEFINE(l7_delta, struct l7_delta *, l7_delta_free);

/* Each takes the caller's reference. False when nothing changes: the same version is held, or a
 * broken policy would replace a good one. */
bool l7_put_binding(struct l7_delta *d, const struct l7_binding *take_b);
bool l7_put_route(struct l7_delta *d, const struct l7_route *take_r);
bool l7_put_policy(struct l7_delta *d, const struct l7_policy *take_p);
bool l7_put_traffic(struct l7_delta *d, const struct l7_traffic *take_t);

enum l7_type { L7_TYPE_BINDING = 0, L7_TYPE_ROUTE, L7_TYPE_POLICY, L7_TYPE_TRAFFIC, L7_TYPES };
/* False: there was none. */
bool l7_remove(struct l7_delta *d, enum l7_type type, const char *resource);
size_t l7_delta_count(const struct l7_delta *d);

/* Compiles what changed. One reference for the caller; d is gone. */
const struct l7 *l7_next(struct l7_delta *take_d);

/* ---- publishing */

struct snap *l7_snap(const struct l7 *w); /* the same object and count */
const struct l7 *l7_of_snap(struct snap *s);
static inline const struct l7 *l7_now(const struct snap_slot *slot)
{
    return l7_of_snap(snap_now(slot));
}

/* ---- reading (any thread); what is returned is borrowed from w. A request that outlives the turn
 * keeps a reference to its service. */

uint64_t l7_generation(const struct l7 *w);
/* Rises when a policy was put, replaced or removed, and when a service came to be bound or ceased to. */
uint64_t l7_policy_generation(const struct l7 *w);
/* NULL: nothing is known about it. key is "ns/hostname". */
const struct l7_service *l7_service_find(const struct l7 *w, const char *key);
const struct l7_service *l7_service_ref(const struct l7_service *s);   /* NULL stays NULL */
const struct l7_service *l7_service_unref(const struct l7_service *s); /* returns NULL */
AUTO_DEFINE(l7_service, const struct l7_service *, l7_service_unref);
/* NULL: the binding has no such port. */
const struct l7_port *l7_service_port(const struct l7_service *s, uint16_t port);
/* What a client follows: a consumer its own rules only, everybody else those for everybody (Gateway API,
 * consumer routes). peer NULL: nobody is known. */
struct l7_rules l7_port_rules(const struct l7_port *p, const struct identity *peer);
/* The port's own, else the service's, else NULL: defaults. Also of services without a binding. */
const struct l7_traffic *l7_service_traffic(const struct l7_service *s, uint16_t port);
/* What has the waypoint itself as target. */
struct l7_policies l7_authorization(const struct l7 *w);
struct l7_policies l7_authentication(const struct l7 *w);
/* Tokens are verified there: of the waypoint's own target, or s's (NULL: none). w may be NULL. */
bool l7_asks_for_tokens(const struct l7 *w, const struct l7_service *s);

size_t l7_count(const struct l7 *w, enum l7_type type);
/* All services in any order: a zeroed cursor starts, NULL ends. */
struct l7_cursor {
    unsigned shard;
    size_t at;
};
const struct l7_service *l7_each_service(const struct l7 *w, struct l7_cursor *c);
