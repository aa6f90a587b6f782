/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That policy of layer 7 is not walked around: pods behind a service that has such policy take traffic
 * on its ports only from its waypoint's identity. A guard is one authorization for the node proxy (a
 * DENY for everybody else on one port), named by the pods it holds for; it lives as long as they do.
 * Ports that such a pod also serves for services without a waypoint stay open: what comes there
 * cannot be told apart at layer 4. Only services of the pod's own namespace count. A pod with more guarded ports than are counted has all of its ports closed.
 */
#pragma once

#include <stdbool.h>

struct gateway_item;
struct guard;
struct index;
struct pod_item;
struct service_item;

enum { GUARDS_MAX = 32 }; /* guarded ports of one pod */

/* What the guards of a service's pods follow from, as of when the service was settled last: pods that
 * are settled in between go by this, so that a change and its undoing are not confused. */
struct guarding {
    struct gateway_item *by; /* policy is enforced there alone, with a use; NULL: nowhere */
    const char *account;     /* of by, else of bound, interned; NULL without */
    struct gateway_item
        *other; /* it moves (turn.h): this one is let in, too; with a use; NULL: none */
    const char *other_account;
    /* To whose waypoint all of its traffic goes, or is to go as soon as there is one; with a use. Until
     * then it is reached directly, but for ports that policy of another service guards: a gateway that
     * is made again must not open those. NULL: it is reached directly. */
    struct gateway_item *bound;
    bool is_known;   /* the service was settled before */
    bool is_turning; /* some node proxies go there, others come directly (turn.h); by is NULL */
};
void guarding_fini(struct index *x, struct guarding *g);

/* Makes p->guards anew from the services that the pod belongs to. */
void guards_take(struct index *x, struct pod_item *p, const struct service_item *const *services,
                 unsigned count);
void guards_drop(struct index *x, struct pod_item *p);
/* The authorization's name in discovery. */
const char *guard_key(const struct guard *g);
