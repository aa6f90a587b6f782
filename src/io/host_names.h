/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What host names mean, kept for as long as the answers allow: for connections to workloads that are
 * known by name only. One question at a time a name, however many wait for it. A failure is kept for
 * a second, so that a name that does not exist is not asked for at every connection. One loop.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "io/resolver.h"

enum {
    HOST_NAMES_MAX = 1024,      /* names; the one longest not asked for goes first */
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

struct host_wait { /* embedded in who waits; zeroed before its first use */
    struct list in_name;
    struct task *owner;
};

/* How many addresses (at least 1), borrowed until the next call on the loop; -EAGAIN: owner is woken
 * once when it is worth asking again, unless host_wait_stop comes first. -ERR_NOT_FOUND: the name has
 * no address; -ERR_LIMIT: too many names are being asked for; other failures are the resolver's. */
MUST_USE int host_names_find(struct host_names *h, const char *name, struct host_wait *w,
                             struct task *owner, const struct ip **out, struct diag *why);
/* Any moment, also when it never waited. */
void host_wait_stop(struct host_wait *w);

struct host_names_stats {
    uint64_t asked;  /* questions that went to the resolver */
    uint64_t kept;   /* answers that were here already */
    uint64_t failed; /* questions without an address */
    unsigned names;  /* here now */
};
struct host_names_stats host_names_stats(const struct host_names *h);

/* One of the addresses by chance, of that family if there is any of it. count > 0. */
const struct ip *host_names_pick(const struct ip *at, int count, enum ip_family family,
                                 uint64_t seed);
