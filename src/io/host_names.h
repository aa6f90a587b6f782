/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What host names mean, kept for as long as the answers allow: for connections to workloads that are
 * known by name only. One question at a time a name, however many wait for it; so many at a time for one
 * source (a pod), so that no source can keep the others from asking. A failure is kept for a second, so that a name that does not exist is not asked for at every connection. One loop.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "io/resolver.h"

enum {
    HOST_NAMES_MAX = 1024,      /* names; the one longest not asked for goes first */
    HOST_NAMES_OF_SOURCE = 64,  /* being asked for at once on behalf of one source */
    HOST_NAMES_ADDRESSES = 16,  /* of one name; further ones are left out */
    HOST_NAMES_TTL_MIN_S = 5,   /* answers that claim less are kept so long */
    HOST_NAMES_TTL_MAX_S = 300, /* and those that claim more */
    HOST_NAMES_FAILURE_MS = 1000
};

struct host_names;

/* resolver is borrowed and outlives it. */
struct host_names *host_names_new(struct loop *l, struct resolver *resolver);
/* Nobody waits any more. */
void host_names_free(struct host_names *h);
AUTO_DEFINE(host_names, struct host_names *, host_names_free);

struct host_source { /* embedded in whom others ask for */
    struct list asked;
    unsigned asking;
};
void host_source_init(struct host_source *s);
void host_source_fini(struct host_source *s); /* what was asked for it goes on without it */

struct host_wait { /* embedded in who waits; zeroed before its first use */
    struct list in_name;
    struct task *owner; /* the caller's to set */
};

/* How many addresses (at least 1), borrowed until the next call on the loop; -EAGAIN: owner is woken
 * once when it is worth asking again, unless host_wait_stop comes first. -ERR_NOT_FOUND: the name has
 * no address; -ERR_LIMIT: too many names are being asked for; other failures are the resolver's. */
MUST_USE int host_names_find(struct host_names *h, const char *name, struct host_source *source,
                             struct host_wait *w, const struct ip **out, struct diag *why);
/* Any moment, also when it never waited. */
void host_wait_stop(struct host_wait *w);

struct host_names_stats {
    uint64_t asked;   /* questions that went to the resolver */
    uint64_t failed;  /* questions without an address */
    uint64_t refused; /* that were not asked: too many others were */
    unsigned names;   /* here now */
};
struct host_names_stats host_names_stats(const struct host_names *h);
