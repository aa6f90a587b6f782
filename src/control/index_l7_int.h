/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the index knows of layer 7: routes, policies and traffic rules, and what they name. Objects of these
 * kinds are kept as they are and read when a service or gateway is translated.
 */
#pragma once

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "codec/json.h"
#include "control/guard.h"
#include "control/index_gateway_int.h"
#include "control/index_meta.h"
#include "control/shelf.h"
#include "control/voice.h"
#include "model/l7_policy.h"
#include "model/l7_route.h"

struct index;
struct pod_item;
struct service_item;
struct space;

/* ---- routes */

/* A service that a route names, as parent or as backend. */
struct attachment {
    struct list in_service;
    struct route_item *route;
    struct service_item *service;
    unsigned parent; /* its place in spec.parentRefs */
};

struct route_item {
    struct map_node by_name;
    struct list dirty;
    enum l7_route_kind kind;
    struct json *object;
    struct attachment *parents;
    struct attachment *backends;
    unsigned parent_count;
    unsigned backend_count;
    struct voice status;
};

const char *route_ns(const struct route_item *r);
const char *route_name(const struct route_item *r);
const char *route_kind_name(enum l7_route_kind kind); /* "HTTPRoute", ... */
void mark_route(struct index *x, struct route_item *r);
void mark_routes_of(struct index *x, struct service_item *s);
/* Why it is not followed there: NULL, or a reason of the Gateway API, and text for people. */
const char *route_parent_problem(const struct attachment *parent, struct strbuf *text);
/* Rules that are not are left out. */
bool route_rule_is_good(const struct index *x, const struct attachment *parent, size_t rule,
                        struct diag *why);
/* For whose clients alone it holds: its namespace, or "" (it is the parent's or the waypoint's). */
const char *route_consumer(const struct index *x, const struct attachment *parent);
/* The service a backendRef means; NULL and a reason of the Gateway API where it has none. */
struct service_item *route_backend(const struct index *x, const struct attachment *parent,
                                   const struct json *ref, const char **reason, struct strbuf *why);

/* ---- policies that name targets */

struct aim {
    struct list in_target;
    struct l7_policy_item *policy;
    struct service_item *service; /* one of the two, or neither: a class */
    struct gateway_item *gateway;
    bool binds; /* the policy is enforced there */
};

struct l7_policy_item {
    struct map_node by_name;
    struct list dirty;
    enum l7_policy_kind kind;
    struct json *object;
    struct aim *aims; /* one for each target that can be one */
    unsigned aim_count;
    struct voice status;
};

const char *policy_kind_name(enum l7_policy_kind kind);
/* What it says is enforced: no dry run, no AUDIT. */
bool l7_policy_is_enforced(const struct l7_policy_item *p);
void l7_policy_put(struct index *x, enum l7_policy_kind kind, const struct json *object);
void l7_policy_remove(struct index *x, enum l7_policy_kind kind, const char *ns, const char *name);
/* Their conditions say whether the target is bound. */
void mark_aims(struct index *x, struct list *aims);

/* ---- traffic rules */

struct rule_item {
    struct map_node by_name, by_host;
    const char *host; /* interned: fully qualified */
    struct json *object;
    bool is_refused; /* something in it means nothing, as its status says: it counts for nobody */
    struct voice status;
};

/* The one that holds for a service at a waypoint of that namespace; NULL: none. */
const struct json *rule_for(const struct index *x, const char *waypoint_ns,
                            const struct service_item *s);

/* ---- marking and settling */

/* What the waypoint of the service is told about it. */
void mark_l7(struct index *x, struct service_item *s);
/* Which waypoint a service has, and all that rests on it. */
void mark_binding(struct index *x, struct service_item *s);
/* The pods behind a service. */
void mark_members(struct index *x, const struct service_item *s);
