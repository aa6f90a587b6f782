/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names to addresses, asynchronously, on one loop: for workloads that are known by name only and
 * for control-plane addresses. Asks the host's name servers from this process' own namespace (contract
 * 3.2.4), never a search list, never /etc/hosts (reading a file would block the loop).
 *
 * Not a cache: what a name meant and for how long (lookup_ttl_s) is the caller's to keep.
 */
#pragma once

#include <stddef.h>

#include "base/ip.h"
#include "io/loop.h"

enum { LOOKUP_ADDRESSES_MAX = 64 };

struct resolver_options {
    const char *servers; /* "10.0.0.10:53,[2001:db8::1]:53"; NULL: those of /etc/resolv.conf */
    unsigned try_ms;     /* 0: 2000; doubles with each round */
    unsigned tries;      /* 0: 3 */
    unsigned limit_ms;   /* of a lookup; 0: 10000 */
    unsigned flying_max; /* lookups at once; 0: 1024 */
};

struct resolver;
struct lookup;

/* After the last of its lookups. */
void resolver_free(struct resolver *r);
/* Reads /etc/resolv.conf unless told the servers: belongs to the start of a program. */
struct resolver *resolver_new(struct loop *l, const struct resolver_options *o, struct diag *why)
    FREED_BY(resolver_free);
AUTO_DEFINE(resolver, struct resolver *, resolver_free);

/* Any moment: a lookup under way is forgotten. */
void lookup_free(struct lookup *q);
/* Both families when family is IP_NONE. Never fails at once; owner is woken when lookup_result is worth
 * a call. An address in text form is its own result. */
struct lookup *lookup_new(struct resolver *r, const char *name, enum ip_family family,
                          struct task *owner) FREED_BY(lookup_free);
AUTO_DEFINE(lookup, struct lookup *, lookup_free);
/* How many addresses (at least 1), borrowed from q, in the order the servers gave them; -EAGAIN promises
 * a wake; -ERR_NOT_FOUND: the name has no address of that family; other failures are final, too. */
MUST_USE int lookup_result(struct lookup *q, const struct ip **out, struct diag *why);
/* The shortest of the records'; valid after success. */
unsigned lookup_ttl_s(const struct lookup *q);
