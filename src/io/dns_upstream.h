/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwards raw DNS queries to the host's name servers (contract 8.4). The packet goes out as it is,
 * but for its id, which is fresh, like the source port; an answer counts only if it comes from the
 * server that was asked and repeats id and question. A truncated answer is asked for again over TCP.
 * Silence, refusals and server failures are tried again with the next server; the one that answered
 * last comes first.
 *
 * Not a cache and not a resolver: no search list, no reading of records. One loop.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "io/sock_factory.h"

enum { DNS_QUERY_MAX = 4096, DNS_ANSWER_MAX = 65535, DNS_UPSTREAM_SERVERS_MAX = 8 };

struct dns_upstream_options {
    const struct endpoint *servers; /* copied; at least one */
    unsigned server_count;
    uint32_t mark;       /* so that capture rules let the queries pass */
    unsigned tries;      /* 0: 3 */
    unsigned sends;      /* datagrams a try; 0: 3 */
    unsigned try_ms;     /* 0: 5000; divided among the datagrams; also the limit of a TCP try */
    unsigned flying_max; /* queries at once; 0: 1024. As many again for sources that have few */
};

enum { DNS_SOURCE_FEW = 16 };

/* On whose behalf is asked (a pod): others' queries leave it room for a few of its own, and which
 * server answers it is its own experience, since it may be another's that others meet from its
 * namespace. Zeroed at first; outlives its queries. */
struct dns_source {
    unsigned flying;
    unsigned best_server; /* the last one that answered: where the next query begins */
};

struct dns_upstream_stats {
    uint64_t tries;     /* the first ones, too */
    uint64_t refused;   /* over flying_max, or no query at all */
    uint64_t streams;   /* tries over TCP */
    uint64_t strangers; /* datagrams that answered something else */
};

struct dns_upstream;
struct dns_query;

/* After the last of its queries. */
void dns_upstream_free(struct dns_upstream *u);
/* f is borrowed. */
struct dns_upstream *dns_upstream_new(struct loop *l, struct sock_factory *f,
                                      const struct dns_upstream_options *o, struct diag *why)
    FREED_BY(dns_upstream_free);
AUTO_DEFINE(dns_upstream, struct dns_upstream *, dns_upstream_free);
struct dns_upstream_stats dns_upstream_stats(const struct dns_upstream *u);

/* Any moment; a query under way is forgotten. */
void dns_query_free(struct dns_query *q);
/* Asks from the namespace where (NULL: own), for source. packet is copied. Never fails at once. owner
 * is woken whenever dns_query_answer is worth a call. */
struct dns_query *dns_query_new(struct dns_upstream *u, struct netns *where,
                                struct dns_source *source, const uint8_t *packet, size_t len,
                                struct task *owner) FREED_BY(dns_query_free);
AUTO_DEFINE(dns_query, struct dns_query *, dns_query_free);
/* 0 and the answer with the query's own id, borrowed from q; -EAGAIN promises a wake; a failure
 * (-ERR_LIMIT, -ERR_SYNTAX, -ERR_DEADLINE, a socket's) is final. */
MUST_USE int dns_query_answer(struct dns_query *q, const uint8_t **out, size_t *out_len,
                              struct diag *why);
