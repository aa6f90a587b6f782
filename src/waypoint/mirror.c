/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a request for another backend. It goes out once the whole body is known and small enough
 * to have been kept; its response is read and dropped. Whatever happens to it, the client's own request
 * does not notice.
 */
#include "base/mem.h"
#include "waypoint/request_int.h"

enum { MIRRORS_MAX = 256, MIRROR_MS = 15000, MIRROR_RESPONSE_MAX = 16 << 20 };

enum mirror_step { MIRROR_LEASE, MIRROR_SEND, MIRROR_HEAD, MIRROR_DRAIN };

struct mirror {
    struct task task;
    struct timer limit;
    struct list in_store;
    struct request_store *store;
    enum mirror_step step;
    struct upstream *endpoint; /* used */
    struct lease lease;
    struct exchange *x;
    struct message head;
    struct message trailers;
    struct bytes body;
    size_t dropped;
};

static void mirror_free(struct mirror *m)
{
    timer_clear(&m->limit);
    task_fini(&m->task);
    list_remove(&m->in_store);
    m->store->mirror_count--;
    exchange_close(m->x, 0);
    lease_end(&m->lease);
    upstream_unuse(m->endpoint);
    message_fini(&m->head);
    message_fini(&m->trailers);
    bytes_fini(&m->body);
    mem_free(m);
}

static int step_lease(struct mirror *m)
{
    int r = lease_result(&m->lease);

    if (r == 0) {
        m->x = lease_request(&m->lease, &m->head, m->body.len == 0 && m->trailers.count == 0);
        stream_own(&m->x->s, &m->task);
        m->step = m->body.len == 0 && m->trailers.count == 0 ? MIRROR_HEAD : MIRROR_SEND;
    }
    return r;
}

static int step_send(struct mirror *m)
{
    if (m->body.len > 0) {
        ssize_t n = stream_write(&m->x->s, bytes_peek(&m->body), m->body.len);
        if (n > 0) {
            bytes_skip(&m->body, (size_t)n);
        }
        return n < 0 ? (int)n : 0;
    }
    int r = exchange_finish(m->x, &m->trailers);
    m->step = r == 0 ? MIRROR_HEAD : MIRROR_SEND;
    return r;
}

static int step_head(struct mirror *m)
{
    int r = exchange_head(m->x);

    m->step = r == 0 ? MIRROR_DRAIN : MIRROR_HEAD;
    return r;
}

/* 1: all of it was there. */
static int step_drain(struct mirror *m)
{
    struct iovec v[4];
    size_t len = 0;
    int n = stream_peek(&m->x->s, v, 4);

    for (int i = 0; i < n; i++) {
        len += v[i].iov_len;
    }
    if (n > 0) {
        stream_skip(&m->x->s, len);
        m->dropped += len;
    }
    return n == 0 || m->dropped > MIRROR_RESPONSE_MAX ? 1 : n < 0 ? n : 0;
}

static void run(struct task *t, unsigned why)
{
    static int (*const steps[])(struct mirror *) = {[MIRROR_LEASE] = step_lease,
                                                    [MIRROR_SEND] = step_send,
                                                    [MIRROR_HEAD] = step_head,
                                                    [MIRROR_DRAIN] = step_drain};
    struct mirror *m = container_of(t, struct mirror, task);
    int r = 0;

    (void)why; /* every wake is a hint */
    while (r == 0) {
        r = steps[m->step](m);
    }
    if (r != -EAGAIN || timer_is_due(&m->limit)) {
        mirror_free(m);
    }
}

/* The same request as the client's own, as the rule changed it, to another host. */
static void copy_head(struct mirror *m, const struct message *from)
{
    for (unsigned i = 0; i < MESSAGE_PARTS; i++) {
        message_set(&m->head, (enum message_part)i, message_get(from, (enum message_part)i));
    }
    for (unsigned i = 0; i < from->count; i++) {
        struct message_field f = message_field(from, i);
        message_add(&m->head, f.name, f.value);
    }
}

static struct upstream *pick(struct request_store *store, const struct l7_mirror *what,
                             enum upstream_protocol protocol)
{
    struct cluster_ask ask = {.seed = rand_seq_next(&store->engine->random)};
    struct cluster *c = what->backend.invalid[0]
                            ? NULL
                            : cluster_of_service(store->engine->clusters, what->backend.key,
                                                 what->backend.port, protocol);

    return c ? cluster_pick(c, &ask) : NULL;
}

static void mirror_send(struct request_store *store, struct request *q,
                        const struct l7_mirror *what)
{
    bool whole = q->keeps && q->body_read;
    struct upstream *u =
        whole && store->mirror_count < MIRRORS_MAX && !engine_is_overloaded(store->engine)
            ? pick(store, what, request_protocol(q, &what->backend))
            : NULL;

    if (!u) {
        store->counts.mirrors_dropped++;
        return;
    }
    struct mirror *m = mem_new(struct mirror);
    task_init(&m->task, store->engine->loop, "mirror", run);
    m->store = store;
    m->endpoint = u;
    bytes_init(&m->body, REPLAY_BYTES_MAX);
    list_append(&store->mirrors, &m->in_store);
    store->mirror_count++;
    request_head_up(q);
    copy_head(m, &q->out);
    const struct message *trailers = request_trailers_up(q);
    for (unsigned i = 0; i < trailers->count; i++) {
        struct message_field f = message_field(trailers, i);
        message_add(&m->trailers, f.name, f.value);
    }
    timer_set(&m->limit, &m->task, MIRROR_MS);
    store->counts.mirrored++;
    int r = q->replay.len > 0 ? bytes_add(&m->body, bytes_peek(&q->replay), q->replay.len) : 0;
    if (r == 0) {
        r = lease_start(&m->lease, u, &m->task, false);
    }
    if (r < 0 && r != -EAGAIN) {
        store->counts.mirrors_dropped++;
        mirror_free(m);
        return;
    }
    task_wake(&m->task, WAKE_START);
}

bool mirrors_wanted(const struct request *q)
{
    const struct l7_route *route = q->plan.route;

    for (size_t i = 0; route && i < route->filter_count; i++) {
        if (route->filters[i].kind == L7_FILTER_MIRROR) {
            return true;
        }
    }
    return false;
}

void mirrors_send(struct request *q)
{
    const struct l7_route *route = q->plan.route;

    if (!route || q->drawn_mirrors) {
        return;
    }
    q->drawn_mirrors = true;
    for (size_t i = 0; i < route->filter_count; i++) {
        const struct l7_filter *f = &route->filters[i];
        if (f->kind == L7_FILTER_MIRROR &&
            l7_mirror_drawn(&f->mirror, rand_seq_next(&q->store->engine->random))) {
            mirror_send(q->store, q, &f->mirror);
        }
    }
}

void mirrors_free(struct request_store *store)
{
    for (struct list *n; (n = list_take_first(&store->mirrors));) {
        mirror_free(container_of(n, struct mirror, in_store));
    }
}
