/* SPDX-License-Identifier: Apache-2.0 */
/* What l7.c, l7_delta.c and l7_service.c share. */
#pragma once

#include "model/l7.h"
#include "model/table_int.h"

struct l7 {
    struct snap snap;
    const struct l7_jwks_maker *maker;
    uint64_t generation;
    uint64_t policy_generation;
    struct table by_name[L7_TYPES];    /* resources; owns them */
    struct table by_service[L7_TYPES]; /* the same by service key; borrows */
    struct table services;             /* owns them */
    struct l7_service *waypoint;       /* what has no service as target; NULL: nothing */
};

/* The four types alike. */
const char *l7_resource_name(enum l7_type type, const void *resource);
const char *l7_resource_service(enum l7_type type, const void *resource);
const char *l7_resource_version(enum l7_type type, const void *resource);
const struct table_owner *l7_resource_owner(enum l7_type type);
extern const struct table_owner l7_service_owner;

/* An empty one with one reference. */
struct l7 *l7_alloc(struct snap_bin *bin, const struct l7_jwks_maker *maker);
const void *l7_find(const struct l7 *w, enum l7_type type, const char *name);

/* Compiles all of w's resources under this key; NULL: there are none. old: what it was before, whose
 * key sets are taken over; may be NULL. The caller's. */
struct l7_service *l7_service_compile(const struct l7 *w, const char *key,
                                      const struct l7_service *old);
