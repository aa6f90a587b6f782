/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which endpoint takes a request: random, least request, round robin, consistent hash, over the best
 * locality that is healthy enough. Pure: the caller has the endpoints in an array, counts what is in
 * flight, and brings chance as a seed. While all of them may be chosen (struct l7_all), the cost does
 * not grow with their number, or by its logarithm where weights differ.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/str.h"
#include "model/l7_traffic.h"

struct l7_endpoint {
    uint64_t id; /* l7_hash of its name: the same in every process */
    uint32_t weight;
    const unsigned *in_flight; /* borrowed; NULL: nothing */
    unsigned rank; /* balance_rank(): higher is nearer; equal everywhere without fail-over */
    bool ejected;  /* by outlier detection: not used unless too many are */
    bool tried;    /* by this request already: only used when nobody else is left */
};

/* Stable across processes and restarts. */
uint64_t l7_hash(struct slice s);

/* A ring of points over endpoints, by id and weight. Immutable; built off the request path. */
struct l7_ring;
enum { L7_RING_MIN = 1024, L7_RING_MAX = 1 << 20 };
struct l7_ring *l7_ring_new(const struct l7_endpoint *at, size_t n);
void l7_ring_free(struct l7_ring *r);
AUTO_DEFINE(l7_ring, struct l7_ring *, l7_ring_free);

/* What is the same for every choice among all of an array. Immutable. */
struct l7_all;
struct l7_all *l7_all_new(const struct l7_endpoint *at, size_t n);
void l7_all_free(struct l7_all *a);
AUTO_DEFINE(l7_all, struct l7_all *, l7_all_free);

struct l7_choice {
    enum l7_balance how;
    bool failover;               /* prefer higher ranks */
    uint32_t min_health_percent; /* fewer usable than this: ejections are ignored; 0: never */
    uint64_t seed;
    uint64_t *turn;             /* round robin: the caller's counter */
    const struct l7_ring *ring; /* consistent hash; made of the same array */
    /* Made of the same array, where none of it is ejected or tried and there is no fail-over; NULL: each
     * is looked at. The answer is the same. */
    const struct l7_all *all;
    bool has_key; /* without one consistent hash is random */
    uint64_t key;
};

/* The index of the choice; -1: nobody is left. */
ssize_t l7_choose(const struct l7_endpoint *at, size_t n, const struct l7_choice *c);
