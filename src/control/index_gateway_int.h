/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways, who asks for them by label, and what was made for them. A gateway also exists while something
 * only refers to it (index_int.h).
 */
#pragma once

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "codec/json.h"
#include "control/shelf.h"
#include "control/voice.h"
#include "model/gateway.h"

struct index;
struct pod_item;
struct service_item;
struct space;

enum wisher { WISHER_SPACE, WISHER_SERVICE, WISHER_POD, WISHERS };

/* What the labels of something say about its waypoint. */
struct waypoint_wish {
    bool is_set;                  /* a label is there, if only "none" */
    struct gateway_item *gateway; /* NULL: none is named */
    struct list in_gateway;
};

enum gateway_traffic { TRAFFIC_NONE, TRAFFIC_SERVICE, TRAFFIC_WORKLOAD, TRAFFIC_ALL };
enum gateway_allows { ALLOWS_SAME, ALLOWS_ALL, ALLOWS_SELECTOR, ALLOWS_NONE };
enum gateway_child { CHILD_SERVICE, CHILD_ACCOUNT, CHILD_DEPLOYMENT, CHILDREN };

struct gateway_facts {
    struct gateway address; /* borrowed, without its network; kind NONE: not ready */
    enum gateway_traffic traffic;
    enum gateway_allows allows;
    const struct json *selector; /* of the object; ALLOWS_SELECTOR */
    const char *account;         /* borrowed: whose identity its pods have */
    bool is_ours;                /* its class is of our controller */
    bool allows_bypass;
};

struct gateway_item {
    struct map_node by_name;
    struct list dirty;
    struct space *space;
    const char *name;
    unsigned users;      /* wishes and aims, and 1 while the object is there */
    struct json *object; /* NULL: is only referred to */
    struct gateway_facts f;
    struct list wishing[WISHERS];
    struct list aims;
    struct shelf shelf;
    struct voice status;
    struct voice children[CHILDREN];
    struct json
        *have[CHILDREN];   /* as they are now, each with a use; NULL: not there, or not ours */
    bool is_due[CHILDREN]; /* to be looked at */
    char *rendered;        /* of which form of the object the children were written; NULL: none */
};

struct gateway_item *gateway_find(const struct index *x, const char *ns, const char *name);
struct gateway_item *gateway_use(struct index *x, const char *ns, const char *name);
void gateway_unuse(struct index *x, struct gateway_item *g);
void mark_gateway(struct index *x, struct gateway_item *g);
void mark_all_gateways(struct index *x);
/* Those whose waypoint it is, or should be. */
void mark_gateway_users(struct index *x, const struct gateway_item *g);

void wish_init(struct waypoint_wish *w);
void wish_fini(struct index *x, struct waypoint_wish *w);
/* From the labels of an object in own_ns. True: it is another than before. */
bool wish_read(struct index *x, struct waypoint_wish *w, enum wisher who, const struct json *labels,
               const char *own_ns);

enum waypoint_state {
    WAYPOINT_NONE, /* none is asked for */
    WAYPOINT_BOUND,
    WAYPOINT_NOT_READY,
    WAYPOINT_DENIED,
    WAYPOINT_UNSUPPORTED
};

struct waypoint_choice {
    enum waypoint_state state;
    struct gateway_item *gateway; /* NULL with WAYPOINT_NONE */
};

struct waypoint_choice waypoint_of_service(const struct index *x, const struct service_item *s);
/* The gateway to publish for it, into room; NULL: none. Where a waypoint is asked for and cannot be
 * had, it is one that nobody finds, so that the node proxy refuses (docs/compatibility.md). */
const struct gateway *waypoint_for_service(const struct index *x, const struct service_item *s,
                                           struct gateway *room, struct arena *a);
const struct gateway *waypoint_for_pod(const struct index *x, const struct pod_item *p,
                                       struct gateway *room, struct arena *a);
/* Policy of layer 7 is enforced for the service by this gateway alone; NULL: nothing is guarded. */
struct gateway_item *waypoint_guard(const struct index *x, const struct service_item *s);
/* It is being set up, and what asks for it passes at layer 4 until then. */
bool waypoint_is_awaited(const struct service_item *s, const struct waypoint_choice *c);
bool is_waypoint_pod(const struct index *x, const struct pod_item *p);
