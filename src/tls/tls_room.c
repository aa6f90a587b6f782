/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many unfinished handshakes a loop has room for, and for whom: lanes (pods) share the loop's,
 * source addresses share their lane's. A peer that says nothing costs a place until its deadline, so
 * without the second rule one address could keep all others from a pod.
 *
 * What a peer says costs a step in the job pool. A lane has a few of these in the pool at a time, and
 * its addresses take turns in having one: one address that says much delays another's step by one of
 * its own, however many of its wait.
 */
#include "base/mem.h"
#include "tls/tls_stream_int.h"

enum { LANE_COMPUTING_MAX = 32 }; /* enough that the pool's threads never wait for the loop */

static struct tls_lane *lane_find(const struct tls_loop *l, uint64_t key, uint64_t hash)
{
    for (struct map_node *n = map_find(&l->lanes, hash); n; n = map_find_next(n)) {
        struct tls_lane *lane = container_of(n, struct tls_lane, by_key);
        if (lane->key == key) {
            return lane;
        }
    }
    return NULL;
}

static struct tls_lane *lane_new(struct tls_loop *l, uint64_t key, uint64_t hash)
{
    struct tls_lane *lane = mem_new(struct tls_lane);

    lane->key = key;
    list_init(&lane->places);
    list_init(&lane->turn);
    map_init(&lane->sources);
    map_insert(&l->lanes, &lane->by_key, hash);
    return lane;
}

static struct tls_source *source_find(const struct tls_lane *lane, const struct ip *ip,
                                      uint64_t hash)
{
    for (struct map_node *n = map_find(&lane->sources, hash); n; n = map_find_next(n)) {
        struct tls_source *source = container_of(n, struct tls_source, by_ip);
        if (ip_equal(&source->ip, ip)) {
            return source;
        }
    }
    return NULL;
}

static struct tls_source *source_new(struct tls_lane *lane, const struct ip *ip, uint64_t hash)
{
    struct tls_source *source = mem_new(struct tls_source);

    source->ip = *ip;
    list_init(&source->ready);
    list_init(&source->in_turn);
    map_insert(&lane->sources, &source->by_ip, hash);
    return source;
}

/* lane: NULL for one that has nothing yet. */
static bool is_full(const struct tls_loop *l, const struct tls_lane *lane)
{
    unsigned most = l->options.handshakes_max;
    unsigned count = lane ? lane->count : 0;

    return count >= l->options.lane_max ||
           (l->stats.handshakes >= most && count >= jobs_share(most, l->lanes.count + !lane));
}

/* The oldest that waits for its peer: of those that said nothing yet, if there are any. Who means it
 * has answered long before so many others have come. NULL: none waits. */
static struct tls_stream *find_silent(const struct tls_lane *lane)
{
    struct tls_stream *oldest = NULL;

    list_for_each (n, &lane->places) {
        const struct tls_place *p = container_of(n, struct tls_place, in_lane);
        if (tls_shake_is_silent(p->stream)) {
            if (tls_shake_is_new(p->stream)) {
                return p->stream;
            }
            oldest = oldest ? oldest : p->stream;
        }
    }
    return oldest;
}

/* Whose place a newcomer of the source may have; NULL: nobody's. source: NULL for one that has nothing
 * yet. */
static struct tls_stream *find_surplus(const struct tls_lane *lane, const struct tls_source *source)
{
    size_t share = lane->count / (lane->sources.count + !source);
    struct tls_stream *busy = NULL;

    if ((source ? source->count : 0) >= share) {
        return source ? NULL : find_silent(lane);
    }
    list_for_each (n, &lane->places) {
        const struct tls_place *p = container_of(n, struct tls_place, in_lane);
        if (p->source->count > share) {
            if (tls_shake_is_silent(p->stream)) {
                return p->stream;
            }
            busy = p->stream; /* of these the youngest: least is lost */
        }
    }
    return busy;
}

static void place_join(struct tls_place *p, struct tls_lane *lane, struct tls_source *source)
{
    p->lane = lane;
    p->source = source;
    lane->count++;
    source->count++;
    list_append(&lane->places, &p->in_lane);
    list_init(&p->in_ready);
}

int tls_room_enter(struct tls_stream *t, struct tls_place *p, uint64_t lane_key,
                   const struct ip *from)
{
    uint64_t lane_hash = map_hash(&lane_key, sizeof(lane_key));
    uint64_t ip_hash = map_hash(from, sizeof(*from));
    struct tls_lane *lane = lane_find(t->l, lane_key, lane_hash);
    struct tls_source *source = lane ? source_find(lane, from, ip_hash) : NULL;
    struct tls_stream *surplus = NULL;

    if (is_full(t->l, lane)) {
        surplus = lane ? find_surplus(lane, source) : NULL;
        if (!surplus) {
            return -ERR_LIMIT;
        }
    }
    lane = lane ? lane : lane_new(t->l, lane_key, lane_hash);
    source = source ? source : source_new(lane, from, ip_hash);
    p->stream = t;
    place_join(p, lane, source);
    t->l->stats.handshakes++;
    if (surplus) {
        tls_shake_displace(surplus);
    }
    return 0;
}

/* As much as the pool may have of this lane, an address after the other. */
static void serve(struct tls_lane *lane)
{
    while (lane->computing < LANE_COMPUTING_MAX && !list_is_empty(&lane->turn)) {
        struct tls_source *source = container_of(lane->turn.next, struct tls_source, in_turn);
        struct tls_place *p = container_of(source->ready.next, struct tls_place, in_ready);
        if (tls_shake_compute(p->stream) < 0) {
            return;
        }
        p->computing = true;
        lane->computing++;
        list_remove(&p->in_ready);
        list_remove(&source->in_turn);
        if (!list_is_empty(&source->ready)) {
            list_append(&lane->turn, &source->in_turn);
        }
    }
}

void tls_room_ask(struct tls_place *p)
{
    if (list_is_empty(&p->source->ready)) {
        list_append(&p->lane->turn, &p->source->in_turn);
    }
    list_append(&p->source->ready, &p->in_ready);
    serve(p->lane);
}

void tls_room_ask_again(struct tls_place *p)
{
    serve(p->lane);
}

void tls_room_computed(struct tls_place *p)
{
    p->computing = false;
    p->lane->computing--;
    serve(p->lane);
}

static void source_leave(struct tls_lane *lane, struct tls_place *p)
{
    struct tls_source *source = p->source;

    list_remove(&p->in_ready);
    if (list_is_empty(&source->ready)) {
        list_remove(&source->in_turn);
    }
    p->source = NULL;
    if (--source->count == 0) {
        map_remove(&lane->sources, &source->by_ip);
        mem_free(source);
    }
}

void tls_room_leave(struct tls_loop *l, struct tls_place *p)
{
    struct tls_lane *lane = p->lane;

    if (!lane) {
        return;
    }
    p->lane = NULL;
    list_remove(&p->in_lane);
    l->stats.handshakes--;
    lane->computing -= p->computing;
    source_leave(lane, p);
    if (--lane->count == 0) {
        map_remove(&l->lanes, &lane->by_key);
        map_fini(&lane->sources);
        mem_free(lane);
    } else {
        serve(lane);
    }
}
