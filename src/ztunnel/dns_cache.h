/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the host's name servers, kept for one pod as long as they may be (contract 8.4). A pod has a
 * cache of its own: name servers see the pod's address and may answer each differently, and what one pod
 * asked is no other's business. Only answers with records are kept, never failures (contract 8.6).
 *
 * Bounded in answers and bytes for the pod, and in bytes for all pods of a loop. Time is an argument.
 */
#pragma once

#include "codec/dnsmsg.h"

enum {
    DNS_CACHE_ANSWERS = 256,
    DNS_CACHE_BYTES = 64 << 10,
    DNS_CACHE_ANSWER_BYTES = 4096, /* a larger one is not kept */
    DNS_CACHE_SHARE_BYTES = 4 << 20,
    DNS_CACHE_TTL_MAX_S = 300 /* a longer promise is not believed */
};

struct dns_cache_share { /* of all caches of a loop */
    size_t bytes;
    size_t bytes_max;
};

struct dns_cache;

void dns_cache_free(struct dns_cache *c);
/* share outlives it. */
struct dns_cache *dns_cache_new(struct dns_cache_share *share) FREED_BY(dns_cache_free);
AUTO_DEFINE(dns_cache, struct dns_cache *, dns_cache_free);

/* Keeps upstream's answer to q's only question, if that may be kept. msg is what
 * dns_forwarded_parse accepted. */
void dns_cache_put(struct dns_cache *c, const struct dns_request *q, const struct dns_forwarded *up,
                   const uint8_t *msg, uint64_t now_ms);

struct dns_cached {
    const uint8_t *msg; /* for dns_forwarded_parse; borrowed until the cache's next call */
    size_t len;
    uint16_t id;
    uint32_t age_s; /* less than each record's TTL */
};
/* False: there is none, or it is too old. */
bool dns_cache_find(struct dns_cache *c, const struct dns_request *q, uint64_t now_ms,
                    struct dns_cached *out);
