/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http_server.h"

#include "base/mem.h"
#include "io/listener.h"
#include "io/sock.h"
#include "io/tcp_stream.h"

enum { LISTENERS_MAX = 4, CONNECTIONS_MAX = 1024, ACCEPTS_A_RUN = 64 };

enum conn_step {
    CONN_SECURING, /* the TLS handshake runs; its deadline is tls/'s */
    CONN_H1,
    CONN_H2
};

/* One connection. Its task only says that there is news: what it is, is pulled. */
struct conn {
    struct task task;
    struct http_server *server;
    struct list in_conns;
    struct list in_news;
    enum conn_step step;
    struct stream *securing;
    struct h1_server *h1;
    struct h2_session *h2;
};

struct http_server {
    struct task task; /* accepts */
    struct task *owner;
    struct http_server_options o;
    struct listener *listeners[LISTENERS_MAX];
    unsigned listener_count;
    struct list conns;
    struct list news; /* of these, the ones worth asking for a request */
    struct http_server_stats stats;
};

static void wake_owner(struct http_server *s)
{
    if (s->owner) {
        task_wake(s->owner, WAKE_CHILD);
    }
}

static void conn_free(struct conn *c, int why)
{
    struct http_server *s = c->server;

    list_remove(&c->in_conns);
    list_remove(&c->in_news);
    task_fini(&c->task);
    stream_close(c->securing, why);
    h1_server_free(c->h1);
    h2_session_free(c->h2);
    mem_free(c);
    s->stats.connections--;
}

static void has_news(struct conn *c)
{
    if (list_is_empty(&c->in_news)) {
        list_append(&c->server->news, &c->in_news);
        wake_owner(c->server);
    }
}

static void start_h1(struct conn *c, struct stream *take_s)
{
    struct h1_limits limits = c->server->o.h1;

    limits.secure = c->server->o.tls != NULL;
    c->step = CONN_H1;
    c->h1 = h1_server_new(c->task.loop, take_s, &limits, &c->task);
}

static void start_h2(struct conn *c, struct stream *take_s)
{
    c->step = CONN_H2;
    c->h2 = h2_server_new(c->task.loop, take_s, &c->server->o.h2, &c->task);
}

static void start_http(struct conn *c, struct stream *take_s, bool chose_h2)
{
    switch (c->server->o.protocol) {
    case HTTP_BY_ALPN:
        if (chose_h2) {
            start_h2(c, take_s);
        } else {
            start_h1(c, take_s);
        }
        break;
    case HTTP_ONLY_H2:
        start_h2(c, take_s);
        break;
    case HTTP_ONLY_H1:
        start_h1(c, take_s);
        break;
    }
}

static void go_on_securing(struct conn *c)
{
    int r = stream_flush(c->securing);
    const struct tls_peer *peer = tls_stream_peer(c->securing);

    if (peer && (r == 0 || r == -EAGAIN)) {
        start_http(c, MOVE(c->securing), strcmp(peer->alpn, "h2") == 0);
    } else if (r != -EAGAIN) {
        conn_free(c, r < 0 ? r : -ERR_TLS);
    }
}

static void conn_run(struct task *t, unsigned why)
{
    struct conn *c = container_of(t, struct conn, task);

    (void)why; /* every wake is a hint */
    switch (c->step) {
    case CONN_SECURING:
        go_on_securing(c);
        break;
    case CONN_H1:
    case CONN_H2:
        has_news(c);
        break;
    }
}

static bool is_idle(const struct conn *c)
{
    bool has_no_news = list_is_empty(&c->in_news);

    switch (c->step) {
    case CONN_SECURING:
        return true;
    case CONN_H1:
        return has_no_news && h1_server_is_idle(c->h1);
    case CONN_H2:
        return has_no_news && h2_session_stats(c->h2).streams == 0;
    }
    return false;
}

/* The oldest comes first. */
static bool displace_one(struct http_server *s)
{
    list_for_each (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, in_conns);
        if (!is_idle(c)) {
            continue;
        }
        if (c->h1) {
            h1_server_cut(c->h1, -ERR_LIMIT);
        }
        conn_free(c, -ERR_LIMIT);
        s->stats.displaced++;
        return true;
    }
    return false;
}

static bool has_room(struct http_server *s)
{
    return s->stats.connections < s->o.connections_max || displace_one(s);
}

static void add(struct http_server *s, struct stream *take_stream, const struct ip *from)
{
    if (!has_room(s)) {
        s->stats.refused++;
        stream_close(take_stream, -ERR_LIMIT);
        return;
    }
    struct conn *c = mem_new(struct conn);
    task_init(&c->task, s->task.loop, "http connection", conn_run);
    c->server = s;
    list_append(&s->conns, &c->in_conns);
    list_init(&c->in_news);
    s->stats.connections++;
    s->stats.accepted++;
    if (s->o.tls) {
        c->securing =
            tls_stream_accept(s->o.tls, take_stream, s->o.spec, (uint64_t)(uintptr_t)s, from);
        stream_own(c->securing, &c->task);
        task_wake(&c->task, WAKE_START);
    } else {
        start_http(c, take_stream, false);
    }
}

void http_server_add(struct http_server *s, struct stream *take_stream)
{
    add(s, take_stream, &(struct ip){.family = IP_NONE});
}

static void accept_from(struct http_server *s, struct listener *from)
{
    for (int i = 0; i < ACCEPTS_A_RUN; i++) {
        struct endpoint peer;
        int fd = listener_accept(from, &peer);
        if (fd < 0) {
            return; /* a wake is owed, or the listener is broken for good */
        }
        (void)sock_set_nodelay(fd); /* a Unix socket has no such thing */
        add(s, tcp_stream_new(s->task.loop, fd), &peer.ip);
    }
    task_wake(&s->task, WAKE_IO);
}

static void run(struct task *t, unsigned why)
{
    struct http_server *s = container_of(t, struct http_server, task);

    (void)why; /* every wake is a hint */
    for (unsigned i = 0; i < s->listener_count; i++) {
        accept_from(s, s->listeners[i]);
    }
}

struct http_server *http_server_new(struct loop *l, const struct http_server_options *options,
                                    struct task *owner)
{
    struct http_server *s = mem_new(struct http_server);

    task_init(&s->task, l, "http server", run);
    s->owner = owner;
    s->o = *options;
    s->o.connections_max = s->o.connections_max > 0 ? s->o.connections_max : CONNECTIONS_MAX;
    list_init(&s->conns);
    list_init(&s->news);
    return s;
}

int http_server_listen(struct http_server *s, int take_fd, struct diag *why)
{
    if (s->listener_count == LISTENERS_MAX) {
        sock_close(&take_fd);
        return FAIL(why, -ERR_LIMIT, "one listener too many");
    }
    struct listener *l = listener_new(s->task.loop, take_fd, &s->task, why);
    if (!l) {
        return why ? why->code : -ERR_UNAVAILABLE;
    }
    s->listeners[s->listener_count++] = l;
    return 0;
}

static int next_of(struct conn *c, struct exchange **out)
{
    return c->step == CONN_H1 ? h1_server_next(c->h1, out) : h2_session_next(c->h2, out);
}

int http_server_next(struct http_server *s, struct exchange **out)
{
    struct list *n;

    while ((n = list_take_first(&s->news))) {
        struct conn *c = container_of(n, struct conn, in_news);
        int r = next_of(c, out);
        if (r == 1) {
            list_append(&s->news, &c->in_news); /* behind the others: each connection its turn */
            s->stats.requests++;
            return 1;
        }
        if (r != -EAGAIN) {
            conn_free(c, r);
        }
    }
    return -EAGAIN;
}

struct http_server_stats http_server_stats(const struct http_server *s)
{
    return s->stats;
}

static void stop_listening(struct http_server *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        listener_close(s->listeners[i]);
    }
    s->listener_count = 0;
}

void http_server_free(struct http_server *s)
{
    if (!s) {
        return;
    }
    s->owner = NULL;
    stop_listening(s);
    list_for_each_safe (n, &s->conns) {
        conn_free(container_of(n, struct conn, in_conns), -ERR_CANCELLED);
    }
    task_fini(&s->task);
    mem_free(s);
}
