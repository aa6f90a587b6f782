/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host name means to a pod (contract 8.2, 8.3): names of the mesh are answered from the world,
 * everything else is forwarded. Pure; chance (the order of addresses) comes in as a seed.
 */
#pragma once

#include "base/ip.h"
#include "model/world.h"

enum { DNS_NAME_BYTES = 256, DNS_ADDRESSES_MAX = 1024 };

struct dns_ask_for {
    const char *name; /* lower case, no dot at the end */
    enum ip_family family;
    const struct workload *client;
    const char *domain;       /* "cluster.local" */
    const char *preferred_ns; /* NULL: none */
    bool ipv6;                /* false: AAAA has no answer */
    uint64_t seed;
};

enum dns_meaning { DNS_FORWARD = 0, DNS_ANSWER };

struct dns_found {
    enum dns_meaning meaning;
    /* The name that the records stand under; with is_alias a CNAME leads to it from the question. */
    char owner[DNS_NAME_BYTES];
    bool is_alias;
    unsigned count; /* 0 with DNS_ANSWER: the name exists, not in this family */
    struct ip ips[DNS_ADDRESSES_MAX];
};

void dns_names_find(struct dns_found *out, const struct world *w, const struct dns_ask_for *q);
