/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the index is built. An item is one object; spaces (namespaces), places (nodes) and services
 * also exist while something only refers to them. Items that have to be translated again stand in a
 * list of dirty ones of their kind.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "control/index.h"
#include "control/index_kinds_int.h"
#include "control/index_l7_int.h"
#include "control/peer_facts.h"
#include "control/pod_facts.h"
#include "control/service_facts.h"
#include "control/translate.h"
#include "control/translate_policy.h"
#include "control/turn.h"

struct space {
    struct map_node by_name;
    const char *name;
    unsigned users; /* items in it, and 1 while the namespace object is there */
    bool exists;
    uint8_t distribution; /* enum distribution, by its annotation */
    int8_t ingress;       /* as in struct service_facts */
    struct labels labels;
    struct waypoint_wish wish;
    struct list pods;
    struct list services;
    struct list policies;
    struct list peers;
    struct map selectors; /* its services that select, by the first label of the selector */
    unsigned pod_count;
    unsigned dirty_pods;
    unsigned settled_pods;         /* that have been translated once */
    const struct peer_facts *peer; /* the one that holds for all of it; NULL: none */
};

struct place {
    struct map_node by_name;
    const char *name;
    unsigned users;
    bool exists;
    const char *region; /* "" where absent */
    const char *zone;
    const char *subzone;
    struct list pods;
};

struct pod_item {
    struct map_node by_name;
    struct list in_space;
    struct list in_place;
    struct list dirty;
    struct space *space;
    struct place *place; /* NULL: not scheduled */
    struct waypoint_wish wish;
    bool was_settled;
    struct guard **guards; /* that it has to name */
    unsigned guard_count;
    struct pod_facts f;
};

struct service_item {
    struct map_node by_name;
    struct map_node by_label;
    struct list in_space;
    struct list dirty;
    struct list dirty_l7;
    struct list slices;
    struct list routes; /* attachments: it is their parent */
    struct list backed; /* attachments: it is their backend */
    struct list aims;   /* of policies */
    struct waypoint_wish wish;
    struct shelf shelf;
    struct voice status;
    struct json *said; /* its condition WaypointBound; NULL: it has none */
    struct guarding guarding;
    struct turn turn;
    struct space *space;
    const char *name;
    unsigned users; /* who refers to it, and 1 while the object is there */
    bool exists;
    bool is_filed; /* in the space's selectors */
    struct service_facts f;
};

/* One endpoint of a slice that is a pod, while the slice's service has no selector. */
struct target {
    struct map_node by_pod;
    struct slice_item *slice;
    const struct slice_endpoint *endpoint;
};

struct slice_item {
    struct map_node by_name;
    struct list in_service;
    struct list dirty;
    struct service_item *service; /* NULL: names none */
    struct slice_facts f;
    struct target *targets; /* endpoint_count of them while attached, else NULL */
    char **published;       /* names of its workloads */
    unsigned published_count;
};

struct policy_item {
    struct map_node by_name;
    struct list in_space;
    struct list unsaid; /* in the index' list while its status is due */
    struct space *space;
    const char *name;
    const char *key;        /* "ns/name" */
    struct labels selector; /* of a policy that workloads have to name */
    bool is_named;          /* published and selecting */
    int64_t generation;
    bool status;
    char *reason; /* NULL: nothing is to be said */
    char *message;
};

struct peer_item {
    struct map_node by_name;
    struct list in_space;
    struct list dirty;
    struct space *space;
    struct peer_facts f;
};

struct index {
    const struct mesh *mesh;
    struct catalog *const *catalogs; /* ADS_TYPES of them */
    struct catalog *addresses;
    struct catalog *policies;
    struct intern *pool;
    struct map spaces;
    struct map places;
    struct map pods;
    struct map services;
    struct map slices;
    struct map authorizations;
    struct map peers;
    struct map targets;
    struct map gateways;
    struct map routes;
    struct map l7_policies;
    struct map rules;
    struct map rules_by_host;
    struct map guards;
    struct json *classes; /* GatewayClasses by name */
    struct json *grants;  /* ReferenceGrants by "ns/name" */
    struct list class_aims;
    struct voice class_voice, class_status; /* of the class that waypoints have */
    struct list words;                      /* voices that have something to say */
    struct list lingering, turns, resting;
    bool is_live; /* the cluster is known: from now on changes are changes */
    uint64_t now_ms;
    struct list dirty_l7, dirty_gateways, dirty_routes, dirty_l7_policies;
    struct list dirty_pods;
    struct list dirty_services;
    struct list dirty_slices;
    struct list dirty_peers;
    struct list unsaid;
    const char *network;
    struct strbuf wire; /* scratch */
    size_t existing_services;
    size_t existing_namespaces;
    size_t existing_nodes;
};

uint64_t index_hash(const char *ns, const char *name);

/* Made when somebody refers to them; they end with the last user. */
struct space *space_use(struct index *x, const char *name);
void space_unuse(struct index *x, struct space *s);
struct space *space_find(const struct index *x, const char *name);
struct place *place_use(struct index *x, const char *name);
void place_unuse(struct index *x, struct place *p);
struct place *place_find(const struct index *x, const char *name);
struct service_item *service_use(struct index *x, const char *ns, const char *name);
void service_unuse(struct index *x, struct service_item *s);
struct service_item *service_find(const struct index *x, const char *ns, const char *name);
struct pod_item *pod_find(const struct index *x, const char *ns, const char *name);

/* ---- marking */

void mark_pod(struct index *x, struct pod_item *p);
void mark_service(struct index *x, struct service_item *s);
void mark_slice(struct index *x, struct slice_item *s);
void mark_peer(struct index *x, struct peer_item *p);
/* Those of the space that the selector matches; an empty one matches all. */
void mark_matching(struct index *x, const struct space *s, const struct labels *selector);
void mark_everything(struct index *x);

/* Appends the resource's name, as translate_pod makes it. */
void pod_resource_name(const struct index *x, const char *ns, const char *name, struct strbuf *out);
/* The mode that holds where a workload's own policy says nothing. */
enum peer_mode index_inherited(const struct index *x, const struct space *s);
