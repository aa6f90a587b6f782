/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/pool.h"

#include "base/mem.h"
#include "hbone/pool_int.h"

static void run(struct task *task, unsigned why);

struct hbone_pool *hbone_pool_new(struct hbone_loop *l, const struct hbone_dialer *dialer,
                                  struct budget *budget)
{
    struct hbone_pool *p = mem_new(struct hbone_pool);

    task_init(&p->task, l->loop, "tunnel pool", run);
    p->home = l;
    p->dialer = *dialer;
    p->budget = budget ? budget : l->budget;
    map_init(&p->by_key);
    list_init(&p->routes);
    return p;
}

unsigned hbone_pool_tunnels(const struct hbone_pool *p)
{
    return p->tunnels;
}

/* Texts end in zero bytes, numbers have fixed sizes: two targets share a key only if they agree. */
static void put_key(struct strbuf *key, const struct hbone_target *t)
{
    strbuf_add(key, t->local, strlen(t->local) + 1);
    for (unsigned i = 0; i < t->expect_count; i++) {
        strbuf_add(key, t->expect[i], strlen(t->expect[i]) + 1);
    }
    strbuf_putc(key, '\0');
    strbuf_add(key, &t->gateway.ip.family, 1);
    strbuf_add(key, t->gateway.ip.bytes, sizeof(t->gateway.ip.bytes));
    strbuf_add(key, &t->gateway.port, sizeof(t->gateway.port));
    strbuf_add(key, &t->source.family, 1);
    strbuf_add(key, t->source.bytes, sizeof(t->source.bytes));
}

static struct route *route_find(const struct hbone_pool *p, const struct strbuf *key, uint64_t hash)
{
    for (struct map_node *n = map_find(&p->by_key, hash); n; n = map_find_next(n)) {
        struct route *r = container_of(n, struct route, in_pool);

        if (r->key_len == key->len && memcmp(r->key, key->p, key->len) == 0) {
            return r;
        }
    }
    return NULL;
}

/* The texts of a target stand in its key, one after the other. */
static void point_into_key(struct route *r, const struct hbone_target *t)
{
    const char **expect = mem_array(t->expect_count, sizeof(*expect));
    const char *at = r->key + strlen(r->key) + 1;

    for (unsigned i = 0; i < t->expect_count; i++) {
        expect[i] = at;
        at += strlen(at) + 1;
    }
    r->target = *t;
    r->target.head = (struct hbone_head){.authority = {NULL, 0}};
    r->target.local = r->key;
    r->target.expect = expect;
}

static struct route *route_get(struct hbone_pool *p, const struct hbone_target *t)
{
    AUTO(strbuf) struct strbuf key = {.p = NULL};

    put_key(&key, t);
    uint64_t hash = map_hash(key.p, key.len);
    struct route *r = route_find(p, &key, hash);
    if (!r) {
        r = mem_new(struct route);
        r->peer_streams = UINT32_MAX;
        r->key_len = key.len;
        r->key = strbuf_take(&key);
        list_init(&r->tunnels);
        list_init(&r->waiting);
        point_into_key(r, t);
        map_insert(&p->by_key, &r->in_pool, hash);
        list_append(&p->routes, &r->in_routes);
    }
    return r;
}

static void route_free(struct hbone_pool *p, struct route *r)
{
    map_remove(&p->by_key, &r->in_pool);
    list_remove(&r->in_routes);
    mem_free((void *)(uintptr_t)r->target.expect);
    mem_free(r->key);
    mem_free(r);
}

static void let_go(struct hbone_pool *p, struct tunnel *t)
{
    list_remove(&t->in_route);
    p->tunnels--;
    tunnel_release(t);
}

static struct tunnel *tunnel_with_room(const struct route *r)
{
    list_for_each (node, &r->tunnels) {
        struct tunnel *t = container_of(node, struct tunnel, in_route);

        if (tunnel_room(t) > 0) {
            return t;
        }
    }
    return NULL;
}

static bool is_opening(const struct route *r)
{
    list_for_each (node, &r->tunnels) {
        if (container_of(node, struct tunnel, in_route)->step == TUNNEL_OPENING) {
            return true;
        }
    }
    return false;
}

/* A tunnel that nobody uses makes room for one that somebody wants. */
static bool evict_idle(struct hbone_pool *p)
{
    list_for_each (it, &p->routes) {
        struct route *r = container_of(it, struct route, in_routes);

        list_for_each_safe (node, &r->tunnels) {
            struct tunnel *t = container_of(node, struct tunnel, in_route);

            if (t->streams.count == 0) {
                let_go(p, t);
                return true;
            }
        }
    }
    return false;
}

static void add_tunnel(struct hbone_pool *p, struct route *r, struct tunnel *t)
{
    tunnel_hold(t, &p->task, WAKE_CHILD);
    list_append(&r->tunnels, &t->in_route);
    p->tunnels++;
}

void pool_adopt(struct hbone_pool *p, const struct hbone_target *target, struct tunnel *t)
{
    add_tunnel(p, route_get(p, target), t);
}

static struct tunnel *open_tunnel(struct hbone_pool *p, struct route *r)
{
    if (p->tunnels >= p->home->limits.pool_tunnels && !evict_idle(p)) {
        p->starved = true;
        return NULL;
    }
    struct stream *secure = p->dialer.open(p->dialer.arg, &r->target);
    struct tunnel *t = tunnel_new(p->home, secure, HBONE_CLIENT, p->budget);
    t->peer.streams = r->peer_streams;
    add_tunnel(p, r, t);
    return t;
}

/* Whether the end of a stream is news: somebody waits for room there, or for any tunnel to go idle. */
static void watch(struct hbone_pool *p, struct route *r)
{
    bool on = p->starved || !list_is_empty(&r->waiting);

    list_for_each (node, &r->tunnels) {
        container_of(node, struct tunnel, in_route)->watched = on;
    }
}

/* One tunnel of a key is being made at a time (contract 2.8). */
static void assign(struct hbone_pool *p, struct route *r)
{
    while (!list_is_empty(&r->waiting)) {
        struct tunnel *t = tunnel_with_room(r);

        if (!t && !is_opening(r)) {
            t = open_tunnel(p, r);
        }
        if (!t) {
            break;
        }
        struct list *node = list_take_first(&r->waiting);
        p->waiting--;
        dial_ask(container_of(node, struct channel, in_list), t);
    }
}

static void fail_first(struct hbone_pool *p, struct route *r, int why, const char *what)
{
    struct list *node = list_take_first(&r->waiting);

    p->waiting--;
    dial_fail(container_of(node, struct channel, in_list), why, what);
}

/* When the first of those who wait gives up; UINT64_MAX: nobody waits. */
static uint64_t expire(struct hbone_pool *p, struct route *r)
{
    uint64_t now = loop_now_ms(p->home->loop);

    while (!list_is_empty(&r->waiting)) {
        struct channel *ch = container_of(r->waiting.next, struct channel, in_list);

        if (ch->dial->due_ms > now) {
            return ch->dial->due_ms;
        }
        fail_first(p, r, -ERR_DEADLINE, "no tunnel became free");
    }
    return UINT64_MAX;
}

static void reap(struct hbone_pool *p, struct route *r)
{
    list_for_each_safe (node, &r->tunnels) {
        struct tunnel *t = container_of(node, struct tunnel, in_route);

        if (t->peer.seen && t->peer.streams > 0) {
            r->peer_streams = t->peer.streams;
        }
        if (!tunnel_is_alive(t)) {
            let_go(p, t);
        }
    }
}

static void run(struct task *task, unsigned why)
{
    struct hbone_pool *p = container_of(task, struct hbone_pool, task);
    uint64_t now = loop_now_ms(p->home->loop);
    uint64_t first = UINT64_MAX;

    (void)why;          /* every wake is a hint */
    p->starved = false; /* found out anew from those who wait */
    list_for_each_safe (node, &p->routes) {
        struct route *r = container_of(node, struct route, in_routes);

        reap(p, r);
        assign(p, r);
        uint64_t due = expire(p, r);
        first = due < first ? due : first;
        if (list_is_empty(&r->tunnels) && list_is_empty(&r->waiting)) {
            route_free(p, r);
        }
    }
    list_for_each (node, &p->routes) {
        watch(p, container_of(node, struct route, in_routes));
    }
    timer_clear(&p->timer);
    if (first != UINT64_MAX) {
        timer_set(&p->timer, &p->task, first - now);
    }
}

void pool_queue(struct hbone_pool *p, struct channel *ch)
{
    ch->dial->due_ms = loop_now_ms(p->home->loop) + p->home->limits.response_ms;
    list_append(&ch->dial->route->waiting, &ch->in_list);
    p->waiting++;
    task_wake(&p->task, WAKE_CHILD);
}

static void place(struct hbone_pool *p, struct channel *ch, const struct hbone_target *target)
{
    struct route *r = route_get(p, target);
    struct tunnel *t = list_is_empty(&r->waiting) ? tunnel_with_room(r) : NULL;

    ch->dial->pool = p;
    ch->dial->route = r;
    if (t) {
        dial_ask(ch, t);
    } else {
        pool_queue(p, ch);
    }
}

struct stream *hbone_dial(struct hbone_pool *p, const struct hbone_target *target)
{
    struct channel *ch = dial_new(p->home, &target->head, p->budget);

    if (target->expect_count == 0 || target->expect_count > HBONE_EXPECT_MAX) {
        dial_fail(ch, -ERR_IDENTITY, "nobody, or too many, may answer");
    } else if (budget_is_over(p->budget)) {
        dial_fail(ch, -ERR_LIMIT, "memory for tunnel streams is short");
    } else if (p->waiting >= p->home->limits.pool_waiting) {
        dial_fail(ch, -ERR_LIMIT, "too many dials wait for a tunnel");
    } else {
        place(p, ch, target);
    }
    return &ch->s;
}

static void fail_waiting(struct hbone_pool *p, int why)
{
    list_for_each (node, &p->routes) {
        struct route *r = container_of(node, struct route, in_routes);

        while (!list_is_empty(&r->waiting)) {
            fail_first(p, r, why, err_text(why));
        }
    }
}

void hbone_pool_drain(struct hbone_pool *p)
{
    list_for_each (node, &p->routes) {
        struct route *r = container_of(node, struct route, in_routes);

        list_for_each (it, &r->tunnels) {
            tunnel_start_drain(container_of(it, struct tunnel, in_route));
        }
    }
}

void hbone_pool_free(struct hbone_pool *p)
{
    if (!p) {
        return;
    }
    fail_waiting(p, -ERR_CANCELLED);
    list_for_each_safe (node, &p->routes) {
        struct route *r = container_of(node, struct route, in_routes);

        list_for_each_safe (it, &r->tunnels) {
            struct tunnel *t = container_of(it, struct tunnel, in_route);

            tunnel_kill(t, -ERR_CANCELLED);
            let_go(p, t);
        }
        route_free(p, r);
    }
    timer_clear(&p->timer);
    task_fini(&p->task);
    map_fini(&p->by_key);
    mem_free(p);
}
