/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/upstream.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "http/h1_client.h"
#include "http/h2_session.h"

enum { H2_STREAMS = 100 };

enum up_step {
    UP_NAME, /* its address is asked for */
    UP_DIAL, /* its stream is on its way */
    UP_OPEN,
};

struct up_conn {
    struct task task;
    struct timer limit; /* until UP_OPEN */
    struct host_wait wait;
    struct list in_list; /* idle or busy of its upstream */
    struct upstream *upstream;
    enum up_step step;
    bool idle;
    bool leased;      /* HTTP/1.1: granted, the request not sent yet */
    bool last;        /* no more requests */
    unsigned granted; /* HTTP/2: leases without a request yet */
    uint32_t served;
    uint64_t idle_since_ms;
    struct list asking;     /* leases in lease_upgrades */
    struct stream *dialled; /* UP_DIAL */
    struct h1_client *h1;
    struct h2_session *h2;
};

struct upstreams {
    struct engine *engine;
    struct map by_key;
    struct list all;
    bool draining;
    struct upstreams_count count;
};

static const struct h1_limits h1_limits = {.head_bytes = 60 << 10, .header_ms = 60000};
static const struct h2_options h2_options = {.header_list_bytes = 60 << 10,
                                             .streams_max = H2_STREAMS,
                                             .ping_ms = 60000,
                                             .ping_timeout_ms = 20000};

static void serve_waiting(struct upstream *u);

/* ---- endpoints */

static uint64_t key_hash(const struct upstream_key *k)
{
    uint64_t h = map_hash_str(k->workload->uid);

    return h ^ map_hash(&k->at, sizeof(k->at)) ^ (uint64_t)k->protocol << 7 ^
           (uint64_t)k->workload->tunnel_protocol << 9;
}

static bool key_is(const struct upstream *u, const struct upstream_key *k)
{
    return u->protocol == k->protocol && endpoint_equal(&u->at, &k->at) &&
           u->workload->tunnel_protocol == k->workload->tunnel_protocol &&
           strcmp(u->workload->uid, k->workload->uid) == 0 &&
           identity_equal(u->workload->identity, k->workload->identity);
}

static struct upstream *find(const struct upstreams *h, const struct upstream_key *k, uint64_t hash)
{
    for (struct map_node *n = map_find(&h->by_key, hash); n; n = map_find_next(n)) {
        struct upstream *u = container_of(n, struct upstream, in_map);
        if (key_is(u, k)) {
            return u;
        }
    }
    return NULL;
}

static char *address_text(const struct endpoint *at, const struct workload *w)
{
    AUTO(strbuf) struct strbuf text = {0};
    char ip[ENDPOINT_TEXT];

    if (at->ip.family == IP_NONE) {
        strbuf_printf(&text, "%s:%u", w->hostname, at->port);
    } else {
        strbuf_puts(&text, endpoint_format(at, ip));
    }
    return mem_strdup(strbuf_text(&text));
}

struct upstream *upstream_use(struct upstreams *h, const struct upstream_key *key)
{
    struct upstream_key k = {.workload = key->workload, .protocol = key->protocol};

    /* The key is hashed as memory: no padding may differ. */
    memset(&k.at, 0, sizeof(k.at));
    k.at.ip = key->at.ip;
    k.at.port = key->at.port;
    uint64_t hash = key_hash(&k);
    struct upstream *u = find(h, &k, hash);
    if (!u) {
        u = mem_new(struct upstream);
        u->home = h;
        u->workload = workload_ref(k.workload);
        u->at = k.at;
        u->protocol = k.protocol;
        u->address = address_text(&u->at, u->workload);
        list_init(&u->idle);
        list_init(&u->busy);
        list_init(&u->waiting);
        list_append(&h->all, &u->in_engine);
        map_insert(&h->by_key, &u->in_map, hash);
        h->count.endpoints++;
    } else if (u->workload != key->workload) { /* the same pod, told of anew */
        workload_unref(u->workload);
        u->workload = workload_ref(key->workload);
    }
    u->users++;
    return u;
}

static void upstream_free(struct upstream *u)
{
    map_remove(&u->home->by_key, &u->in_map);
    list_remove(&u->in_engine);
    u->home->count.endpoints--;
    workload_unref(u->workload);
    mem_free(u->address);
    mem_free(u);
}

static void upstream_maybe_free(struct upstream *u)
{
    if (u->users == 0 && u->conn_count == 0) {
        upstream_free(u);
    }
}

/* ---- connections */

static void conn_free(struct up_conn *c)
{
    struct upstream *u = c->upstream;

    timer_clear(&c->limit);
    host_wait_stop(&c->wait);
    task_fini(&c->task);
    list_remove(&c->in_list);
    stream_close(c->dialled, -ERR_CANCELLED);
    h1_client_free(c->h1);
    h2_session_free(c->h2);
    u->conn_count--;
    u->connecting -= c->step != UP_OPEN;
    u->home->count.connections--;
    u->home->count.idle -= c->idle;
    mem_free(c);
    upstream_maybe_free(u);
}

static void close_idle(struct upstream *u)
{
    u->users++; /* stays while we look */
    list_for_each_safe (n, &u->idle) {
        conn_free(container_of(n, struct up_conn, in_list));
    }
    u->users--;
}

void upstream_unuse(struct upstream *u)
{
    if (--u->users > 0) {
        return;
    }
    close_idle(u);
    upstream_maybe_free(u);
}

static void set_idle(struct up_conn *c, bool idle)
{
    struct upstream *u = c->upstream;

    if (c->idle == idle) {
        return;
    }
    c->idle = idle;
    list_remove(&c->in_list);
    if (idle) {
        list_prepend(&u->idle, &c->in_list);
        c->idle_since_ms = loop_now_ms(c->task.loop);
        u->home->count.idle++;
    } else {
        list_append(&u->busy, &c->in_list);
        u->home->count.idle--;
    }
}

static bool is_spent(const struct up_conn *c)
{
    const struct upstream *u = c->upstream;
    uint32_t most = u->limits.requests_per_connection;

    return c->last || (most > 0 && c->served + c->granted >= most) || u->users == 0;
}

/* ---- leases */

static void waiting_leave(struct lease *l)
{
    if (l->task) {
        list_remove(&l->in_row);
        l->task = NULL;
        l->upstream->waiting_count--;
        l->upstream->home->count.waiting--;
    }
}

static void grant(struct lease *l, struct up_conn *c)
{
    l->conn = c;
    if (c->h1) {
        c->leased = true;
    } else {
        c->granted++;
    }
    set_idle(c, false);
}

static void fail_waiting(struct lease *l, int r, unsigned status, const struct diag *why)
{
    struct task *t = l->task;

    waiting_leave(l);
    l->status = status;
    l->error = *why;
    l->error.code = surely_negative(r);
    task_wake(t, WAKE_CHILD);
}

/* The oldest; all where one connection would have been everybody's. */
static void dial_failed(struct upstream *u, int r, unsigned status, const struct diag *why)
{
    bool all = u->protocol == UPSTREAM_H2;

    u->home->count.failed++;
    do {
        if (list_is_empty(&u->waiting)) {
            return;
        }
        fail_waiting(container_of(u->waiting.next, struct lease, in_row), r, status, why);
    } while (all);
}

/* ---- a connection's life */

static void open_conn(struct up_conn *c)
{
    struct loop *l = c->task.loop;
    struct stream *s = c->dialled;

    c->dialled = NULL;
    c->step = UP_OPEN;
    c->upstream->connecting--;
    timer_clear(&c->limit);
    if (c->upstream->protocol == UPSTREAM_H2) {
        c->h2 = h2_client_new(l, s, &h2_options, &c->task);
    } else {
        c->h1 = h1_client_new(l, s, &h1_limits, &c->task);
    }
    c->upstream->home->count.opened++;
}

/* It did not come about; c is gone. */
static int give_up(struct up_conn *c, int r, unsigned status, struct diag why)
{
    struct upstream *u = c->upstream;

    u->users++; /* stays while the lease is told */
    conn_free(c);
    dial_failed(u, r, status, &why);
    serve_waiting(u);
    u->users--;
    upstream_maybe_free(u);
    return 1;
}

uint64_t upstream_connect_ms(const struct upstream *u)
{
    return u->limits.connect_timeout_ms > 0 ? u->limits.connect_timeout_ms : UPSTREAM_CONNECT_MS;
}

/* 0: it is being dialled, -EAGAIN, or gone (1). */
static int step_name(struct up_conn *c)
{
    struct upstream *u = c->upstream;
    struct diag why = {.code = 0};
    struct endpoint at;

    c->wait.owner = &c->task;
    int r = upstream_address(u, &c->wait, &at, &why);
    if (r == -EAGAIN && timer_is_due(&c->limit)) {
        r = FAIL(&why, -ERR_DEADLINE, "no answer about %.200s in time", u->workload->hostname);
    }
    if (r < 0) {
        return r == -EAGAIN ? r : give_up(c, r, 0, why);
    }
    c->dialled = upstream_dial(u->home->engine, u->workload, &at, upstream_connect_ms(u));
    stream_own(c->dialled, &c->task);
    c->step = UP_DIAL;
    return 0;
}

/* 0: open, -EAGAIN, or gone (1). */
static int step_dial(struct up_conn *c)
{
    unsigned status = 0;
    int r = upstream_dial_ready(c->dialled, c->upstream->workload, &status);

    if (r == -EAGAIN && timer_is_due(&c->limit)) {
        r = FAIL(stream_why(c->dialled), -ERR_DEADLINE, "connection timeout");
    }
    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        return give_up(c, r, status, *stream_diag(c->dialled));
    }
    open_conn(c);
    return 0;
}

static int state_of(struct up_conn *c)
{
    return c->h1 ? h1_client_state(c->h1) : h2_session_state(c->h2);
}

static bool has_room(struct up_conn *c)
{
    return c->step == UP_OPEN && !c->leased && !is_spent(c) && state_of(c) == 0 &&
           (c->h1 || h2_session_room(c->h2) > c->granted);
}

static bool h2_is_unused(struct up_conn *c)
{
    return c->h2 && c->granted == 0 && h2_session_stats(c->h2).streams == 0;
}

static void wake_asking(struct up_conn *c)
{
    list_for_each (n, &c->asking) {
        task_wake(container_of(n, struct lease, in_row)->asks, WAKE_CHILD);
    }
}

static void step_open(struct up_conn *c)
{
    struct upstream *u = c->upstream;
    wake_asking(c);
    int r = c->leased ? -EAGAIN : state_of(c);

    if (r < 0 && r != -EAGAIN) {
        c->last = true;
        if (c->leased || c->granted > 0) {
            return; /* the lease's first call says why; it ends the connection */
        }
        if (c->h1 || r != -ERR_H2_GOAWAY || h2_is_unused(c)) {
            conn_free(c);
        }
        serve_waiting(u);
        return;
    }
    if (r == 0 && is_spent(c) && (c->h1 || h2_is_unused(c))) {
        conn_free(c);
        serve_waiting(u); /* another may take its place */
        return;
    }
    if (r == 0) {
        set_idle(c, c->h1 || h2_is_unused(c));
        if (u->waiting_count > 0) {
            serve_waiting(u);
        }
        if (c->idle &&
            u->home->draining) { /* the last requests are served, and none is kept for more */
            conn_free(c);
        }
    }
}

static void conn_run(struct task *t, unsigned why)
{
    struct up_conn *c = container_of(t, struct up_conn, task);

    (void)why; /* every wake is a hint */
    if (c->step == UP_NAME && step_name(c) != 0) {
        return;
    }
    if (c->step == UP_DIAL && step_dial(c) != 0) {
        return;
    }
    /* The upstream must outlive what this does to its last connection. */
    struct upstream *u = c->upstream;
    u->users++;
    step_open(c);
    upstream_unuse(u);
}

static void conn_new(struct upstream *u)
{
    struct up_conn *c = mem_new(struct up_conn);
    struct engine *e = u->home->engine;

    task_init(&c->task, e->loop, "upstream", conn_run);
    c->upstream = u;
    list_init(&c->asking);
    list_append(&u->busy, &c->in_list);
    u->conn_count++;
    u->connecting++;
    u->home->count.connections++;
    timer_set(&c->limit, &c->task, upstream_connect_ms(u));
    task_wake(&c->task, WAKE_START);
}

/* ---- matching leases and connections */

static struct up_conn *free_conn(struct upstream *u)
{
    list_for_each (n, &u->idle) {
        struct up_conn *c = container_of(n, struct up_conn, in_list);
        if (has_room(c)) {
            return c;
        }
    }
    if (u->protocol == UPSTREAM_H2) {
        list_for_each (n, &u->busy) {
            struct up_conn *c = container_of(n, struct up_conn, in_list);
            if (has_room(c)) {
                return c;
            }
        }
    }
    return NULL;
}

/* As many as would be needed if every one of them came about. */
static void dial_more(struct upstream *u)
{
    unsigned most = u->limits.connections;
    unsigned want = u->protocol == UPSTREAM_H2 ? (u->waiting_count > 0) : u->waiting_count;

    while (u->connecting < want && (most == 0 || u->conn_count < most)) {
        conn_new(u);
    }
}

static void serve_waiting(struct upstream *u)
{
    while (!list_is_empty(&u->waiting)) {
        struct up_conn *c = free_conn(u);
        if (!c) {
            break;
        }
        struct lease *l = container_of(u->waiting.next, struct lease, in_row);
        struct task *t = l->task;
        waiting_leave(l);
        grant(l, c);
        task_wake(t, WAKE_CHILD);
    }
    dial_more(u);
}

bool upstream_takes_connection(struct upstream *u)
{
    uint32_t most = u->limits.connections;
    bool full = most > 0 && u->in_flight >= most;

    u->home->count.overflowed += full;
    return !full;
}

static bool is_full(const struct upstream *u)
{
    uint32_t most = u->limits.requests;

    return most > 0 && u->in_flight >= most;
}

/* Who has a connection of its own on the way does not count as waiting behind others. */
static bool is_row_full(const struct upstream *u)
{
    unsigned pending =
        u->limits.pending_requests > 0 ? u->limits.pending_requests : UPSTREAM_PENDING_MAX;
    unsigned most = u->limits.connections;
    unsigned on_the_way = u->connecting + (most == 0 || u->conn_count < most);

    return u->waiting_count >= pending + on_the_way;
}

static int overflow(struct lease *l, struct upstream *u)
{
    u->home->count.overflowed++;
    *l = (struct lease){.error = {.code = -ERR_LIMIT}};
    return -ERR_LIMIT;
}

int lease_start(struct lease *l, struct upstream *u, struct task *task, bool fresh)
{
    if (is_full(u)) {
        return overflow(l, u);
    }
    fresh = fresh && u->protocol == UPSTREAM_H1;
    if (fresh && !list_is_empty(&u->idle)) {
        /* It takes the place of the one that was used longest ago, or there would be ever more. */
        conn_free(container_of(u->idle.prev, struct up_conn, in_list));
    }
    struct up_conn *c = fresh ? NULL : free_conn(u);
    if (!c && is_row_full(u)) {
        return overflow(l, u);
    }
    *l = (struct lease){.upstream = u};
    u->users++;
    u->in_flight++;
    if (c) {
        u->home->count.reused += c->served > 0;
        grant(l, c);
        return 0;
    }
    l->task = task;
    list_append(&u->waiting, &l->in_row);
    u->waiting_count++;
    u->home->count.waiting++;
    dial_more(u);
    return -EAGAIN;
}

int lease_result(struct lease *l)
{
    return l->conn ? 0 : l->error.code < 0 ? l->error.code : -EAGAIN;
}

static void stop_asking(struct lease *l)
{
    if (l->asks) {
        list_remove(&l->in_row);
        l->asks = NULL;
    }
}

int lease_upgrades(struct lease *l, struct task *task)
{
    struct up_conn *c = l->conn;
    int r = c->h2 ? h2_session_upgrades(c->h2) : 0;

    if (r != -EAGAIN) {
        stop_asking(l);
    } else if (!l->asks) {
        l->asks = task;
        list_append(&c->asking, &l->in_row);
    }
    return r;
}

struct exchange *lease_request(struct lease *l, const struct message *head, bool end)
{
    struct up_conn *c = l->conn;

    l->conn = NULL;
    c->served++;
    if (c->h2) {
        c->granted--;
        return h2_session_request(c->h2, head, end);
    }
    c->leased = false;
    struct exchange *x = h1_client_request(c->h1, head, end);
    if (state_of(c) != -EAGAIN) { /* it cannot be sent: its end will be no news of c */
        task_wake(&c->task, WAKE_CHILD);
    }
    return x;
}

void lease_end(struct lease *l)
{
    struct upstream *u = l->upstream;
    struct up_conn *c = l->conn;

    if (!u) {
        return;
    }
    waiting_leave(l);
    stop_asking(l);
    u->in_flight--;
    if (c) { /* granted, never used */
        c->leased = false;
        c->granted -= c->h2 != NULL;
        task_wake(&c->task, WAKE_CHILD);
    }
    *l = (struct lease){.upstream = NULL};
    upstream_unuse(u);
}

/* ---- all of a loop */

struct upstreams *upstreams_new(struct engine *e)
{
    struct upstreams *h = mem_new(struct upstreams);

    h->engine = e;
    map_init(&h->by_key);
    list_init(&h->all);
    return h;
}

void upstreams_free(struct upstreams *h)
{
    if (!h) {
        return;
    }
    list_for_each_safe (n, &h->all) {
        struct upstream *u = container_of(n, struct upstream, in_engine);
        u->users = 1; /* whoever used it has ended without ceremony */
        close_idle(u);
        list_for_each_safe (m, &u->busy) {
            conn_free(container_of(m, struct up_conn, in_list));
        }
        upstream_free(u);
    }
    map_fini(&h->by_key);
    mem_free(h);
}

static void sweep_one(struct upstream *u, uint64_t now)
{
    uint64_t most = u->limits.idle_timeout_ms > 0 ? u->limits.idle_timeout_ms : UPSTREAM_IDLE_MS;

    /* The one that was used last is first. */
    for (struct list *n = u->idle.prev, *prev = n->prev; n != &u->idle; n = prev, prev = n->prev) {
        struct up_conn *c = container_of(n, struct up_conn, in_list);
        if (now - c->idle_since_ms < most) {
            break;
        }
        conn_free(c);
    }
}

void upstreams_sweep(struct upstreams *h)
{
    uint64_t now = loop_now_ms(h->engine->loop);

    list_for_each_safe (n, &h->all) {
        struct upstream *u = container_of(n, struct upstream, in_engine);
        u->users++;
        sweep_one(u, now);
        u->users--;
        upstream_maybe_free(u);
    }
}

void upstreams_drain(struct upstreams *h)
{
    h->draining = true;
    list_for_each_safe (n, &h->all) {
        struct upstream *u = container_of(n, struct upstream, in_engine);
        u->users++;
        close_idle(u);
        u->users--;
        upstream_maybe_free(u);
    }
}

struct engine *upstream_engine(const struct upstream *u)
{
    return u->home->engine;
}

struct upstreams_count upstreams_count(const struct upstreams *h)
{
    return h->count;
}
