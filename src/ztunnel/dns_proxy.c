/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_proxy.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/dnsmsg.h"
#include "io/dns_upstream.h"
#include "io/sock.h"
#include "io/tcp_stream.h"
#include "io/udp.h"
#include "ztunnel/dns_cache.h"
#include "ztunnel/dns_names.h"
#include "ztunnel/stats.h"

enum {
    FAMILIES = 2,
    ANSWER_TTL_S = 30,
    TCP_IN_MAX = 2 + DNS_QUERY_MAX,
    TAKEN_A_RUN = 64 /* datagrams, connections; then the other tasks have their turn */
};

static const enum ip_family families[FAMILIES] = {IP_V4, IP_V6};

/* One family's sockets. */
struct face {
    struct task task; /* UDP */
    struct task tcp_task;
    struct dns_proxy *proxy;
    struct sock_ask *udp_ask;
    struct sock_ask *tcp_ask;
    struct udp_sock *udp;
    struct listener *listener;
    bool absent; /* this family is not to be had here */
};

struct dns_proxy {
    struct pod *pod;
    struct face faces[FAMILIES];
    struct dns_cache *cache;
    struct dns_source asked;
    struct list asks;
    unsigned ask_count;
    struct list conns;
    unsigned conn_count;
};

struct conn;

enum ask_step {
    ASK_SELF,    /* the control plane does not know this pod yet */
    ASK_UPSTREAM /* a name server was asked; it has deadlines of its own */
};

/* One query. */
struct ask {
    struct task task;
    struct timer limit;
    struct pod_wait wait;
    struct list in_proxy;
    struct dns_proxy *proxy;
    enum ask_step step;
    struct dns_query *upstream;
    uint64_t asked_ns;
    struct face *face; /* UDP: where the answer goes */
    struct udp_meta meta;
    struct conn *conn; /* TCP: NULL once the connection is gone */
    size_t len;
    uint8_t packet[];
};

/* One TCP connection; one query of it is under way at a time. */
struct conn {
    struct task task;
    struct timer idle;
    struct list in_proxy;
    struct dns_proxy *proxy;
    struct stream *stream;
    struct bytes in;
    struct bytes out;
    struct ask *ask;
    bool ended; /* the client sends no more */
};

static const struct config *config_of(const struct dns_proxy *d)
{
    return d->pod->plane->config;
}

/* ---- answering */

static void ask_free(struct ask *a)
{
    list_remove(&a->in_proxy);
    a->proxy->ask_count--;
    if (a->conn) {
        a->conn->ask = NULL;
        task_wake(&a->conn->task, WAKE_CHILD);
    }
    pod_wait_stop(&a->wait);
    dns_query_free(a->upstream);
    timer_clear(&a->limit);
    task_fini(&a->task);
    mem_free(a);
}

/* Takes a. What cannot be sent is lost, as datagrams are. */
static void deliver(struct ask *take_a, const uint8_t *answer, size_t len)
{
    uint8_t head[2];

    if (take_a->conn) {
        be16_put(head, (uint16_t)len);
        int r = bytes_add(&take_a->conn->out, head, sizeof(head));
        if (r == 0) {
            r = bytes_add(&take_a->conn->out, answer, len);
        }
        take_a->conn->ended |= r < 0;
    } else {
        int r = udp_send(take_a->face->udp, answer, len, &take_a->meta);
        (void)r; /* lost: the client asks again */
    }
    ask_free(take_a);
}

struct answer_buffer {
    uint8_t bytes[DNS_MESSAGE_MAX];
};

static struct answer_buffer *buffer_of(const struct ask *a)
{
    return loop_scratch(a->task.loop);
}

static size_t room_of(const struct ask *a, const struct dns_request *q)
{
    return a->conn ? DNS_MESSAGE_MAX : dns_request_udp_max(q);
}

static void deliver_error(struct ask *take_a, const struct dns_request *q, enum dns_rcode rcode)
{
    struct answer_buffer *b = buffer_of(take_a);
    struct dns_reply r;

    if (dns_reply_begin(&r, q, b->bytes, room_of(take_a, q)) < 0) {
        ask_free(take_a);
        return;
    }
    deliver(take_a, b->bytes, dns_reply_error(&r, rcode));
}

static void deliver_found(struct ask *take_a, const struct dns_request *q,
                          const struct dns_found *f)
{
    struct answer_buffer *b = buffer_of(take_a);
    struct dns_reply r;
    int result = dns_reply_begin(&r, q, b->bytes, room_of(take_a, q));

    if (result == 0 && f->is_alias) {
        result = dns_reply_add_cname(&r, q->name, ANSWER_TTL_S, f->owner);
    }
    for (unsigned i = 0; i < f->count && result == 0; i++) {
        result = dns_reply_add_ip(&r, f->owner, ANSWER_TTL_S, &f->ips[i]);
    }
    if (result < 0) {
        deliver_error(take_a, q, DNS_SERVFAIL);
        return;
    }
    deliver(take_a, b->bytes, dns_reply_end(&r));
}

/* ---- upstream */

static void count_request(struct ask *a, const struct dns_request *q, enum dns_count what,
                          uint64_t us)
{
    struct dns_counted c = {.query_type = q->type,
                            .tcp = a->conn != NULL,
                            .client = a->proxy->pod->self,
                            .what = what,
                            .us = us};

    stats_dns(a->proxy->pod->plane->shard, &c);
}

static void deliver_upstream(struct ask *take_a, const struct dns_request *q,
                             const struct dns_forwarded *up, const uint8_t *msg, uint32_t age_s)
{
    struct answer_buffer *b = buffer_of(take_a);
    struct dns_reply r;

    if (up->rcode != DNS_NOERROR || dns_reply_begin(&r, q, b->bytes, room_of(take_a, q)) < 0) {
        deliver_error(take_a, q, up->rcode != DNS_NOERROR ? up->rcode : DNS_SERVFAIL);
        return;
    }
    deliver(take_a, b->bytes, dns_reply_forwarded(&r, up, msg, age_s));
}

static void deliver_forwarded(struct ask *take_a, const struct dns_request *q, const uint8_t *msg,
                              size_t len)
{
    struct dns_forwarded up;

    if (dns_forwarded_parse(&up, q, q->id, msg, len) < 0) {
        deliver_error(take_a, q, DNS_SERVFAIL);
        return;
    }
    dns_cache_put(take_a->proxy->cache, q, &up, msg, loop_now_ms(take_a->task.loop));
    deliver_upstream(take_a, q, &up, msg, 0);
}

/* False: a name server must be asked. */
static bool deliver_cached(struct ask *a, const struct dns_request *q)
{
    struct dns_cached known;
    struct dns_forwarded up;

    if (!dns_cache_find(a->proxy->cache, q, loop_now_ms(a->task.loop), &known) ||
        dns_forwarded_parse(&up, q, known.id, known.msg, known.len) < 0) {
        return false;
    }
    count_request(a, q, DNS_COUNT_CACHED, 0);
    deliver_upstream(a, q, &up, known.msg, known.age_s);
    return true;
}

static void forward(struct ask *a, const struct dns_request *q)
{
    uint8_t packet[512];
    struct dns_proxy *d = a->proxy;
    int n = dns_forward_query(q, q->id, packet, sizeof(packet));

    if (deliver_cached(a, q)) {
        return;
    }
    if (n < 0 || !d->pod->plane->names) {
        deliver_error(a, q, DNS_SERVFAIL);
        return;
    }
    count_request(a, q, DNS_COUNT_UPSTREAM, 0);
    a->step = ASK_UPSTREAM;
    a->asked_ns = clock_mono_ns();
    a->upstream =
        dns_query_new(d->pod->plane->names, d->pod->netns, &d->asked, packet, (size_t)n, &a->task);
}

static void step_upstream(struct ask *a, const struct dns_request *q)
{
    const uint8_t *msg = NULL;
    size_t len = 0;
    struct diag why = {0};
    int r = dns_query_answer(a->upstream, &msg, &len, &why);

    if (r == -EAGAIN) {
        return;
    }
    if (r < 0) {
        count_request(a, q, DNS_COUNT_FAILURE, 0);
        deliver_error(a, q, DNS_SERVFAIL);
        return;
    }
    count_request(a, q, DNS_COUNT_DURATION, (clock_mono_ns() - a->asked_ns) / 1000);
    deliver_forwarded(a, q, msg, len);
}

/* ---- meaning */

static void look_up(struct ask *a, const struct dns_request *q, const struct workload *self)
{
    AUTO(mem) void *memory = mem_alloc(sizeof(struct dns_found)); /* too large for a stack frame */
    struct dns_found *found = memory;
    const struct config *c = config_of(a->proxy);
    struct dns_ask_for for_name = {.name = q->name,
                                   .family = q->type == DNS_A ? IP_V4 : IP_V6,
                                   .client = self,
                                   .domain = c->cluster_domain,
                                   .preferred_ns = c->preferred_service_namespace,
                                   .ipv6 = c->common.ipv6,
                                   .seed = rand_seq_next(&a->proxy->pod->plane->random)};

    if (q->type != DNS_A && q->type != DNS_AAAA) {
        forward(a, q);
        return;
    }
    dns_names_find(found, plane_world(a->proxy->pod->plane), &for_name);
    if (found->meaning == DNS_FORWARD) {
        forward(a, q);
    } else {
        deliver_found(a, q, found);
    }
}

static void step_self(struct ask *a, const struct dns_request *q)
{
    const struct workload *self = pod_self(a->proxy->pod);

    if (self) {
        pod_wait_stop(&a->wait);
        timer_clear(&a->limit);
        count_request(a, q, DNS_COUNT_REQUEST, 0);
        look_up(a, q, self);
    } else if (timer_is_due(&a->limit)) {
        deliver_error(a, q, DNS_SERVFAIL);
    } else {
        pod_wait_start(a->proxy->pod, &a->wait, &a->task);
    }
}

static void ask_run(struct task *t, unsigned why)
{
    struct ask *a = container_of(t, struct ask, task);
    struct dns_request q;

    (void)why; /* every wake is a hint */
    if (dns_request_parse(&q, a->packet, a->len) < 0) {
        ask_free(a); /* nothing to answer to */
        return;
    }
    enum dns_rcode verdict = dns_request_verdict(&q);
    if (verdict != DNS_NOERROR) {
        deliver_error(a, &q, verdict);
    } else if (a->step == ASK_SELF) {
        step_self(a, &q);
    } else {
        step_upstream(a, &q);
    }
}

/* NULL: too many are under way. */
static struct ask *ask_start(struct dns_proxy *d, const uint8_t *packet, size_t len)
{
    if (d->ask_count >= DNS_QUERIES_MAX) {
        return NULL;
    }
    struct ask *a = mem_alloc(sizeof(*a) + len);
    task_init(&a->task, d->pod->plane->loop, "dns", ask_run);
    a->proxy = d;
    a->len = len;
    memcpy(a->packet, packet, len);
    list_append(&d->asks, &a->in_proxy);
    d->ask_count++;
    timer_set(&a->limit, &a->task, SELF_WAIT_MS);
    task_wake(&a->task, WAKE_START);
    return a;
}

/* ---- UDP */

static void udp_run(struct task *t, unsigned why)
{
    struct face *f = container_of(t, struct face, task);
    uint8_t packet[DNS_QUERY_MAX];
    struct udp_meta meta;

    (void)why; /* every wake is a hint */
    for (int i = 0; i < TAKEN_A_RUN; i++) {
        ssize_t n = udp_receive(f->udp, packet, sizeof(packet), &meta);
        if (n == -EAGAIN) {
            return;
        }
        struct ask *a = n > 0 ? ask_start(f->proxy, packet, (size_t)n) : NULL;
        if (a) {
            a->face = f;
            a->meta = meta;
        }
    }
    task_wake(t, WAKE_IO);
}

/* ---- TCP */

static void conn_free(struct conn *c)
{
    if (c->ask) {
        c->ask->conn = NULL;
        ask_free(c->ask);
    }
    list_remove(&c->in_proxy);
    c->proxy->conn_count--;
    timer_clear(&c->idle);
    stream_close(c->stream, 0);
    task_fini(&c->task);
    bytes_fini(&c->in);
    bytes_fini(&c->out);
    mem_free(c);
}

/* 0, -EAGAIN or an error. */
static int conn_write(struct conn *c)
{
    while (c->out.len > 0) {
        ssize_t n = stream_write(c->stream, bytes_peek(&c->out), c->out.len);
        if (n < 0) {
            return (int)n;
        }
        bytes_skip(&c->out, (size_t)n);
    }
    return 0;
}

static int conn_read(struct conn *c)
{
    while (!c->ended && bytes_room(&c->in) > 0) {
        size_t want = MIN_OF(bytes_room(&c->in), (size_t)512);
        uint8_t *to = bytes_reserve(&c->in, want);
        ssize_t n = to ? stream_read(c->stream, to, want) : -ENOMEM;
        if (n < 0) {
            return (int)n;
        }
        bytes_commit(&c->in, (size_t)n);
        c->ended = n == 0;
    }
    return 0;
}

/* The next complete query, if none is under way. */
static void conn_take(struct conn *c)
{
    const uint8_t *p = bytes_peek(&c->in);

    if (c->ask || c->in.len < 2) {
        return;
    }
    size_t len = be16_get(p);
    if (len > DNS_QUERY_MAX) {
        c->ended = true;
        bytes_skip(&c->in, c->in.len);
        return;
    }
    if (c->in.len < 2 + len) {
        return;
    }
    c->ask = ask_start(c->proxy, p + 2, len);
    if (c->ask) {
        c->ask->conn = c;
        bytes_skip(&c->in, 2 + len);
        timer_set(&c->idle, &c->task,
                  DNS_TCP_IDLE_MS + 15000); /* the query has a limit of its own */
    }
}

static void conn_run(struct task *t, unsigned why)
{
    struct conn *c = container_of(t, struct conn, task);
    bool busy = c->ask != NULL;

    (void)why; /* every wake is a hint */
    int w = conn_write(c);
    int r = conn_read(c);
    conn_take(c);
    if (busy && !c->ask) {
        timer_set(&c->idle, &c->task, DNS_TCP_IDLE_MS);
    }
    bool failed = (w < 0 && w != -EAGAIN) || (r < 0 && r != -EAGAIN);
    bool done = c->ended && !c->ask && c->out.len == 0 && c->in.len < 2;
    if (failed || done || timer_is_due(&c->idle)) {
        conn_free(c);
    }
}

static void conn_open(struct dns_proxy *d, int take_fd)
{
    struct conn *c = mem_new(struct conn);

    task_init(&c->task, d->pod->plane->loop, "dns tcp", conn_run);
    c->proxy = d;
    bytes_init(&c->in, TCP_IN_MAX);
    bytes_init(&c->out, 2 * (DNS_MESSAGE_MAX + 2));
    list_append(&d->conns, &c->in_proxy);
    d->conn_count++;
    c->stream = tcp_stream_new(d->pod->plane->loop, take_fd);
    stream_own(c->stream, &c->task);
    timer_set(&c->idle, &c->task, DNS_TCP_IDLE_MS);
    task_wake(&c->task, WAKE_START);
}

static void tcp_run(struct task *t, unsigned why)
{
    struct face *f = container_of(t, struct face, tcp_task);
    struct endpoint peer;

    (void)why; /* every wake is a hint */
    for (int i = 0; i < TAKEN_A_RUN; i++) {
        int fd = listener_accept(f->listener, &peer);
        if (fd < 0) {
            return;
        }
        if (f->proxy->conn_count >= DNS_CONNECTIONS_MAX) {
            sock_close(&fd);
        } else {
            conn_open(f->proxy, fd);
        }
    }
    task_wake(t, WAKE_IO);
}

/* ---- life */

static struct sock_ask *ask_socket(struct dns_proxy *d, enum ip_family family, enum sock_role role)
{
    const struct config *c = config_of(d);
    const char *loopback = family == IP_V4 ? "127.0.0.1" : "::1";
    struct sock_spec spec = {.role = role,
                             .family = family,
                             .at = {.ip = c->dns_ip, .port = c->dns_port},
                             .mark = c->packet_mark,
                             .reuse_port = c->port_reuse,
                             .backlog = 128};

    if (c->dns_ip.family == IP_NONE && ip_parse(&spec.at.ip, loopback, strlen(loopback)) < 0) {
        spec.at.ip = (struct ip){.family = (uint8_t)family}; /* never: both are constants */
    }
    return sock_ask_new(d->pod->plane->sockets, d->pod->netns, &spec, &d->pod->task);
}

static bool is_absent(const struct config *c, enum ip_family family)
{
    if (c->dns_ip.family != IP_NONE) {
        return c->dns_ip.family != family;
    }
    return family == IP_V6 && !c->common.ipv6;
}

struct dns_proxy *dns_proxy_new(struct pod *p)
{
    struct dns_proxy *d = mem_new(struct dns_proxy);

    d->pod = p;
    d->cache = dns_cache_new(&p->plane->answers);
    list_init(&d->asks);
    list_init(&d->conns);
    for (unsigned i = 0; i < FAMILIES; i++) {
        struct face *f = &d->faces[i];
        f->proxy = d;
        f->absent = is_absent(p->plane->config, families[i]);
        task_init(&f->task, p->plane->loop, "dns udp", udp_run);
        task_init(&f->tcp_task, p->plane->loop, "dns accept", tcp_run);
        if (!f->absent) {
            f->udp_ask = ask_socket(d, families[i], SOCK_ROLE_DATAGRAM);
            f->tcp_ask = ask_socket(d, families[i], SOCK_ROLE_LISTEN);
        }
    }
    return d;
}

static int face_bind(struct face *f, struct diag *why)
{
    struct loop *l = f->proxy->pod->plane->loop;

    if (!f->udp) {
        int fd = sock_ask_take(f->udp_ask, why);
        f->udp = fd >= 0 ? udp_new(l, fd, &f->task, why) : NULL;
        if (!f->udp) {
            return fd < 0 ? fd : surely_negative(why->code);
        }
    }
    if (!f->listener) {
        int fd = sock_ask_take(f->tcp_ask, why);
        f->listener = fd >= 0 ? listener_new(l, fd, &f->tcp_task, why) : NULL;
        if (!f->listener) {
            return fd < 0 ? fd : surely_negative(why->code);
        }
    }
    return 0;
}

int dns_proxy_bind(struct dns_proxy *d, struct diag *why)
{
    for (unsigned i = 0; i < FAMILIES; i++) {
        struct face *f = &d->faces[i];
        int r = f->absent ? 0 : face_bind(f, why);
        if (r < 0 && r != -EAGAIN && families[i] == IP_V6 && r == -EADDRNOTAVAIL) {
            f->absent = true; /* no IPv6 on this pod's loopback */
            r = 0;
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

void dns_proxy_free(struct dns_proxy *d)
{
    if (!d) {
        return;
    }
    list_for_each_safe (n, &d->conns) {
        conn_free(container_of(n, struct conn, in_proxy));
    }
    list_for_each_safe (m, &d->asks) {
        ask_free(container_of(m, struct ask, in_proxy));
    }
    for (unsigned i = 0; i < FAMILIES; i++) {
        struct face *f = &d->faces[i];
        sock_ask_free(f->udp_ask);
        sock_ask_free(f->tcp_ask);
        udp_close(f->udp);
        listener_close(f->listener);
        task_fini(&f->task);
        task_fini(&f->tcp_task);
    }
    dns_cache_free(d->cache);
    mem_free(d);
}
