/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of Kubernetes in, resources of the mesh out. The index keeps the facts of every object,
 * knows which resources rest on which facts, and translates again only what a change can have
 * touched. What does not change in its bytes is not published again.
 *
 * Changes are noted at once and worked off by index_settle, in portions, so that the first hundred
 * thousand pods do not hold up the loop. The control loop only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "codec/json.h"
#include "control/mesh.h"
#include "control/voice.h"
#include "model/identity.h"
#include "xds/catalog.h"

enum index_kind {
    INDEX_NAMESPACE,
    INDEX_NODE,
    INDEX_POD,
    INDEX_SERVICE,
    INDEX_SLICE,
    INDEX_AUTHORIZATION,
    INDEX_PEER,
    INDEX_CLASS,
    INDEX_GATEWAY,
    INDEX_HTTP_ROUTE,
    INDEX_GRPC_ROUTE,
    INDEX_TCP_ROUTE,
    INDEX_GRANT,
    INDEX_AUTHENTICATION,
    INDEX_RULE,    /* DestinationRule */
    INDEX_ACCOUNT, /* those that were made for gateways, by label; likewise Deployments */
    INDEX_DEPLOYMENT,
    INDEX_KINDS
};

enum { INDEX_SETTLE_UNITS = 256 }; /* resources translated in one portion: about a millisecond */

struct index;

/* Everything is borrowed and must outlive it; catalogs are ADS_TYPES of them. */
struct index *index_new(const struct mesh *mesh, struct catalog *const *catalogs);
void index_free(struct index *x);
AUTO_DEFINE(index, struct index *, index_free);

/* An object as the API server has it, new or changed. */
void index_put(struct index *x, enum index_kind kind, const struct json *object);
/* ns "" for what has none. What is not there is not missed. */
void index_remove(struct index *x, enum index_kind kind, const char *ns, const char *name);

/* Translates what is due, at most units resources. True: more is due. */
bool index_settle(struct index *x, unsigned units);
bool index_is_settled(const struct index *x);

/* A monotonic clock, about once a second: what has lingered goes. Further settling may be due. */
void index_tick(struct index *x, uint64_t now_ms);

/* What is in the index is the cluster's state: from now on services come to waypoints and leave them in
 * an order that node proxies are waited for with (turn.h). */
void index_live(struct index *x);
/* Some do right now: index_hear is to be called now and then. */
bool index_is_turning(const struct index *x);
struct index_heard {       /* of the catalog of Address, sequences */
    uint64_t published;    /* that node proxies are being told of */
    uint64_t acknowledged; /* that all of them have taken in */
};
/* now_ms: a monotonic clock. Further settling may be due. */
void index_hear(struct index *x, const struct index_heard *h, uint64_t now_ms);

size_t index_count(const struct index *x, enum index_kind kind);

/* ---- for the certificate authority (contract 6.3) */

struct index_pod { /* borrowed until the next change */
    const char *uid;
    const char *account;
    const char *node;
};
bool index_find_pod(const struct index *x, const char *ns, const char *name, struct index_pod *out);
/* A pod of that account, not Failed, is on the node. */
bool index_runs_on(const struct index *x, const char *node, const char *ns, const char *account);

/* ---- what is to be said in the status of AuthorizationPolicies (contract 4.6) */

struct index_status { /* the texts are borrowed until the next call */
    const char *ns;
    const char *name;
    int64_t generation;
    bool status;
    const char *reason;
    const char *message;
};
/* What else is to be written: status of other objects, and objects of our own. Each once a change.
 * False: nothing. */
bool index_next_write(struct index *x, struct index_write *out);
/* Whether the account acts for the gateway of its namespace (discovery of waypoints). */
bool index_is_gateway(const struct index *x, const char *ns, const char *gateway,
                      const char *account);
/* A policy whose condition is not what it should be; each once a change of the object. False: none. */
bool index_next_status(struct index *x, struct index_status *out);
