/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints are looked at one by one only while some of them may not be chosen. */
#include "model/l7_choose.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/xxh64.h"

uint64_t l7_hash(struct slice s)
{
    return xxh64(s.p, s.len);
}

struct l7_all {
    size_t n;
    size_t eligible; /* with a weight */
    uint32_t weight; /* of each of these; 0: they differ */
    uint64_t upto[]; /* the sum of the weights up to and with each */
};

struct l7_all *l7_all_new(const struct l7_endpoint *at, size_t n)
{
    struct l7_all *a = mem_alloc(sizeof(*a) + n * sizeof(a->upto[0]));
    uint64_t sum = 0;
    bool equal = true;

    a->n = n;
    for (size_t i = 0; i < n; i++) {
        sum += at[i].weight;
        a->upto[i] = sum;
        if (at[i].weight > 0) {
            equal = equal && (a->eligible == 0 || at[i].weight == a->weight);
            a->weight = at[i].weight;
            a->eligible++;
        }
    }
    a->weight = equal ? a->weight : 0;
    return a;
}

void l7_all_free(struct l7_all *a)
{
    mem_free(a);
}

/* ---- who may be chosen */

struct field { /* of one choice */
    const struct l7_endpoint *at;
    size_t n;
    const struct l7_choice *c;
    bool panic;     /* too many are ejected: ejections do not count */
    bool use_tried; /* nobody else is left */
    bool by_rank;
    unsigned rank;
    struct rand_seq chance;
};

static bool is_usable(const struct field *f, const struct l7_endpoint *e)
{
    return e->weight > 0 && (f->panic || !e->ejected);
}

static bool is_eligible(const struct field *f, const struct l7_endpoint *e)
{
    return is_usable(f, e) && (f->use_tried || !e->tried) && (!f->by_rank || e->rank == f->rank);
}

static bool is_panic(const struct l7_endpoint *at, size_t n, uint32_t min_percent)
{
    size_t have = 0;
    size_t fine = 0;

    for (size_t i = 0; i < n; i++) {
        have += at[i].weight > 0;
        fine += at[i].weight > 0 && !at[i].ejected;
    }
    return fine * 100 < (size_t)min_percent * have;
}

/* ---- localities: a rank takes what its healthy share, times 1.4, can take; the rest spills over */

enum { OVERPROVISION_PERCENT = 140, WHOLE = 100 };

static unsigned rank_share(const struct field *f, unsigned rank)
{
    size_t all = 0;
    size_t fine = 0;

    for (size_t i = 0; i < f->n; i++) {
        const struct l7_endpoint *e = &f->at[i];
        all += e->rank == rank && e->weight > 0;
        fine += e->rank == rank && is_usable(f, e) && (f->use_tried || !e->tried);
    }
    size_t share = all > 0 ? fine * OVERPROVISION_PERCENT / all : 0;
    return share < WHOLE ? (unsigned)share : WHOLE;
}

/* The highest rank below a bound; false: there is none. */
static bool next_rank(const struct field *f, bool bounded, unsigned below, unsigned *out)
{
    bool found = false;

    for (size_t i = 0; i < f->n; i++) {
        unsigned rank = f->at[i].rank;
        if (f->at[i].weight > 0 && (!bounded || rank < below) && (!found || rank > *out)) {
            *out = rank;
            found = true;
        }
    }
    return found;
}

/* Walks the ranks from the nearest; what all of them can take together may be less than the whole,
 * then each takes more in proportion. */
static void draw_rank(struct field *f)
{
    unsigned total = 0;
    unsigned rank = 0;

    for (bool more = next_rank(f, false, 0, &rank); more && total < WHOLE;
         more = next_rank(f, true, rank, &rank)) {
        total += rank_share(f, rank);
    }
    if (total == 0) {
        return; /* nobody anywhere: the choice will find out */
    }
    uint64_t at = rand_seq_below(&f->chance, total < WHOLE ? total : WHOLE);
    for (bool more = next_rank(f, false, 0, &rank); more; more = next_rank(f, true, rank, &rank)) {
        unsigned share = rank_share(f, rank);
        if (at < share) {
            break;
        }
        at -= share;
    }
    f->by_rank = true;
    f->rank = rank;
}

/* ---- ways to choose */

static uint64_t total_weight(const struct field *f)
{
    const struct l7_all *a = f->c->all;
    uint64_t total = 0;

    if (a) {
        return f->n > 0 ? a->upto[f->n - 1] : 0;
    }
    for (size_t i = 0; i < f->n; i++) {
        total += is_eligible(f, &f->at[i]) ? f->at[i].weight : 0;
    }
    return total;
}

/* The first whose weights up to it go beyond the point. */
static size_t among_all(const struct l7_all *a, uint64_t point)
{
    size_t low = 0;
    size_t high = a->n;

    if (a->weight > 0 && a->eligible == a->n) {
        return (size_t)(point / a->weight);
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (a->upto[mid] > point) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

/* The endpoint at a point of the weights laid side by side. */
static ssize_t at_weight(const struct field *f, uint64_t point)
{
    if (f->c->all) {
        return (ssize_t)among_all(f->c->all, point);
    }
    for (size_t i = 0; i < f->n; i++) {
        if (!is_eligible(f, &f->at[i])) {
            continue;
        }
        if (point < f->at[i].weight) {
            return (ssize_t)i;
        }
        point -= f->at[i].weight;
    }
    return -1;
}

static ssize_t choose_random(struct field *f, uint64_t total)
{
    return at_weight(f, rand_seq_below(&f->chance, total));
}

/* How many there are to choose from; *weight: that of each, or 0 where they differ. */
static size_t count_eligible(const struct field *f, uint32_t *weight)
{
    size_t eligible = 0;
    bool equal = true;

    if (f->c->all) {
        *weight = f->c->all->weight;
        return f->c->all->eligible;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (is_eligible(f, &f->at[i])) {
            equal = equal && (eligible == 0 || f->at[i].weight == *weight);
            *weight = f->at[i].weight;
            eligible++;
        }
    }
    *weight = equal ? *weight : 0;
    return eligible;
}

/* Steps by the golden section through the weights: every share is kept over short runs too, and with
 * equal weights nobody comes twice in a row. */
static ssize_t choose_round_robin(struct field *f, uint64_t total)
{
    uint64_t turn = f->c->turn ? (*f->c->turn)++ : rand_seq_next(&f->chance);
    uint32_t weight = 0;
    size_t eligible = count_eligible(f, &weight);

    if (weight > 0) {
        return at_weight(f, turn % eligible * weight);
    }
    uint64_t point = (turn * 0x9e3779b97f4a7c15u) >> 32;
    return at_weight(f, total <= UINT32_MAX ? point * total >> 32 : point % total);
}

static uint64_t load_of(const struct l7_endpoint *e)
{
    return (e->in_flight ? *e->in_flight : 0) + UINT64_C(1);
}

/* The better of two that are drawn by weight. */
static ssize_t choose_least(struct field *f, uint64_t total)
{
    ssize_t a = choose_random(f, total);
    ssize_t b = choose_random(f, total);

    for (int again = 0; a == b && again < 4; again++) {
        b = choose_random(f, total);
    }
    const struct l7_endpoint *x = &f->at[a];
    const struct l7_endpoint *y = &f->at[b];
    return load_of(x) * y->weight <= load_of(y) * x->weight ? a : b;
}

/* ---- the ring */

struct point {
    uint64_t hash;
    uint32_t endpoint;
};

struct l7_ring {
    size_t count;
    size_t endpoints;
    struct point points[];
};

static int by_hash(const void *x, const void *y)
{
    const struct point *a = x;
    const struct point *b = y;

    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    return (a->endpoint > b->endpoint) - (a->endpoint < b->endpoint);
}

/* How many points: its share of the wanted size, at least one. */
static size_t points_of(const struct l7_endpoint *e, uint64_t total, size_t size)
{
    uint64_t n = e->weight > 0 ? (uint64_t)e->weight * size / total : 0;

    return e->weight > 0 && n == 0 ? 1 : (size_t)n;
}

struct l7_ring *l7_ring_new(const struct l7_endpoint *at, size_t n)
{
    uint64_t total = 0;
    size_t size = n * 16 > L7_RING_MIN ? n * 16 : L7_RING_MIN;
    size_t room = 0;

    for (size_t i = 0; i < n; i++) {
        total += at[i].weight;
    }
    size = size < L7_RING_MAX ? size : L7_RING_MAX;
    for (size_t i = 0; i < n; i++) {
        room += points_of(&at[i], total, size);
    }
    struct l7_ring *r = mem_alloc(sizeof(*r) + room * sizeof(r->points[0]));
    r->endpoints = n;
    for (size_t i = 0; i < n; i++) {
        size_t mine = points_of(&at[i], total, size);
        struct rand_seq s; /* of this endpoint, whoever else is there */
        rand_seq_init(&s, at[i].id);
        for (size_t k = 0; k < mine; k++) {
            r->points[r->count++] = (struct point){rand_seq_next(&s), (uint32_t)i};
        }
    }
    qsort(r->points, r->count, sizeof(r->points[0]), by_hash);
    return r;
}

void l7_ring_free(struct l7_ring *r)
{
    mem_free(r);
}

static size_t first_point(const struct l7_ring *r, uint64_t key)
{
    size_t low = 0;
    size_t high = r->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->points[mid].hash < key) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static ssize_t choose_on_ring(const struct field *f)
{
    const struct l7_ring *r = f->c->ring;
    size_t from = first_point(r, f->c->key);

    for (size_t i = 0; i < r->count; i++) {
        const struct point *p = &r->points[(from + i) % r->count];
        if (is_eligible(f, &f->at[p->endpoint])) {
            return (ssize_t)p->endpoint;
        }
    }
    return -1;
}

/* ---- */

static ssize_t choose(struct field *f)
{
    uint64_t total = total_weight(f);

    if (total == 0) {
        return -1;
    }
    switch (f->c->how) {
    case L7_LEAST_REQUEST:
        return choose_least(f, total);
    case L7_ROUND_ROBIN:
        return choose_round_robin(f, total);
    case L7_CONSISTENT_HASH:
        if (f->c->has_key && f->c->ring && f->c->ring->endpoints == f->n) {
            return choose_on_ring(f);
        }
        break;
    case L7_RANDOM:
        break;
    }
    return choose_random(f, total);
}

/* Who of them may be chosen. */
static void look_at_all(struct field *f)
{
    f->panic = is_panic(f->at, f->n, f->c->min_health_percent);
    f->use_tried = true;
    for (size_t i = 0; i < f->n; i++) {
        f->use_tried = f->use_tried && (f->at[i].tried || !is_usable(f, &f->at[i]));
    }
    if (f->c->failover) {
        draw_rank(f);
    }
}

ssize_t l7_choose(const struct l7_endpoint *at, size_t n, const struct l7_choice *c)
{
    struct field f = {.at = at, .n = n, .c = c};

    rand_seq_init(&f.chance, c->seed);
    if (!c->all) {
        look_at_all(&f);
    }
    return choose(&f);
}
