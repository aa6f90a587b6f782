/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control plane publishes (control/published.h), decoded and compiled as node proxies and
 * waypoints do it: an answer out of it is the configuration's, and it takes an administrator's
 * credential of the stand-alone API instead of a way to the proxies. Blocks until a deadline.
 */
#pragma once

#include "base/err.h"
#include "model/l7.h"
#include "model/world.h"

struct cli;
struct json;

struct published_gateway {
    char *name; /* "ns/name" */
    struct l7_delta *making;
    const struct l7 *l7;
    unsigned replicas; /* connected with the control plane */
    unsigned current;  /* and have taken in all of it */
    unsigned flaws;    /* resources that this program cannot read: left out */
};

struct published {
    const struct world *world;
    struct published_gateway *gateways;
    size_t gateway_count;
    unsigned flaws; /* of layer 4 that this program cannot read: left out */
};

/* namespaces: what concerns these; none: everything. -ERR_UNSUPPORTED: the API server is not our
 * control plane's. */
MUST_USE int published_read_blocking(struct cli *c, const char *const *namespaces, size_t count,
                                     struct published **out, struct diag *why);
/* What a list of the API server's answers says; never NULL. */
struct published *published_of(const struct json *answers);
void published_free(struct published *p);
AUTO_DEFINE(published, struct published *, published_free);
/* NULL: there is none. */
const struct published_gateway *published_gateway(const struct published *p, const char *name);
/* "as the control plane publishes it; 1 of 2 replicas run this version", and what was left out. */
void published_replicas(const struct published_gateway *g, struct strbuf *out);
/* The same of layer 4. */
void published_layer4(const struct published *p, struct strbuf *out);
