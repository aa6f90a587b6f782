/* SPDX-License-Identifier: Apache-2.0 */
#include "node/zds_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/unix_sock.h"
#include "node/zds_int.h"

static struct log_scope scope = LOG_SCOPE("zds");

/* ---- members */

static void member_free(struct zds_member *m)
{
    if (m->netns >= 0) {
        close(m->netns);
    }
    mem_free((void *)(uintptr_t)m->w.uid);
    mem_free((void *)(uintptr_t)m->w.name);
    mem_free((void *)(uintptr_t)m->w.namespace);
    mem_free((void *)(uintptr_t)m->w.service_account);
    mem_free(m);
}

void zds_member_unref(struct zds_member *m)
{
    if (ref_put(&m->ref)) {
        member_free(m);
    }
}

static int keep_netns(struct zds_member *m, int netns)
{
    int fd = fcntl(netns, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        return neg_errno();
    }
    if (m->netns >= 0) {
        close(m->netns);
    }
    m->netns = fd;
    return 0;
}

/* The one that additions go to: the last to come of those that have said hello. */
static struct zds_conn *newest(const struct zds_server *s)
{
    for (struct list *n = s->conns.prev; n != &s->conns; n = n->prev) {
        struct zds_conn *c = container_of(n, struct zds_conn, in_server);
        if (zds_conn_is_ready(c)) {
            return c;
        }
    }
    return NULL;
}

static void set_standing(struct zds_member *m, enum zds_standing next)
{
    m->standing = next;
    if (m->owner) {
        task_wake(m->owner, WAKE_CHILD);
    }
}

static bool fits(const struct zds_workload *w)
{
    uint8_t packet[ZDS_PACKET_MAX];

    return zds_put_add(packet, w) > 0;
}

struct zds_member *zds_member_new(struct zds_server *s, const struct zds_workload *w, int netns,
                                  struct task *owner)
{
    if (s->member_count == ZDS_MEMBERS_MAX || !fits(w)) {
        return NULL;
    }
    struct zds_member *m = mem_new(struct zds_member);
    ref_init(&m->ref);
    m->server = s;
    m->owner = owner;
    m->netns = -1;
    m->w = (struct zds_workload){mem_strdup(w->uid), mem_strdup(w->name), mem_strdup(w->namespace),
                                 mem_strdup(w->service_account)};
    if (netns >= 0 && keep_netns(m, netns) < 0) {
        member_free(m);
        return NULL;
    }
    list_append(&s->members, &m->in_server);
    s->member_count++;
    struct zds_conn *c = newest(s);
    if (c && netns >= 0) {
        zds_conn_order(c, ZDS_ORDER_ADD, m);
    }
    return m;
}

static void cancel_adds(struct zds_member *m)
{
    list_for_each (n, &m->server->conns) {
        zds_conn_cancel_add(container_of(n, struct zds_conn, in_server), m);
    }
}

void zds_member_free(struct zds_member *m)
{
    if (!m) {
        return;
    }
    cancel_adds(m);
    list_remove(&m->in_server);
    m->server->member_count--;
    m->owner = NULL;
    zds_member_unref(m);
}

enum zds_standing zds_member_standing(const struct zds_member *m)
{
    return m->standing;
}

const char *zds_member_refusal(const struct zds_member *m)
{
    return m->refusal.text;
}

int zds_member_add(struct zds_member *m, int netns)
{
    struct zds_conn *c = newest(m->server);
    int r = netns >= 0 ? keep_netns(m, netns) : 0;

    if (r < 0) {
        return r;
    }
    set_standing(m, ZDS_WAITING);
    if (c && m->netns >= 0) {
        zds_conn_order(c, ZDS_ORDER_ADD, m);
    }
    return 0;
}

void zds_member_leave(struct zds_member *m)
{
    cancel_adds(m);
    m->standing = ZDS_LEAVING;
    m->dels_due = 0;
    list_for_each (n, &m->server->conns) {
        struct zds_conn *c = container_of(n, struct zds_conn, in_server);
        if (zds_conn_is_ready(c)) {
            m->dels_due++;
            zds_conn_order(c, ZDS_ORDER_DEL, m);
        }
    }
    if (m->dels_due == 0) {
        set_standing(m, ZDS_LEFT);
    }
}

/* ---- what connections report */

static bool is_leaving(const struct zds_member *m)
{
    return m->standing == ZDS_LEAVING || m->standing == ZDS_LEFT;
}

void zds_server_welcome(struct zds_server *s, struct zds_conn *c)
{
    log_info(&scope, "node proxy connected", F_U64("members", s->member_count),
             F_U64("proxies", s->conn_count));
    list_for_each (n, &s->members) {
        struct zds_member *m = container_of(n, struct zds_member, in_server);
        if (!is_leaving(m)) {
            zds_conn_order(c, ZDS_ORDER_ADD, m);
        }
    }
    zds_conn_order(c, ZDS_ORDER_SNAPSHOT_SENT, NULL);
    task_wake(s->owner, WAKE_CHILD);
}

bool zds_server_is_newest(const struct zds_server *s, const struct zds_conn *c)
{
    return newest(s) == c;
}

/* Additions during an upgrade went to the newest alone: when that one dies, the one before it has
 * to learn them. What it knows already changes nothing there. */
static void tell_heir(struct zds_server *s)
{
    struct zds_conn *heir = newest(s);

    if (!heir) {
        return;
    }
    list_for_each (n, &s->members) {
        struct zds_member *m = container_of(n, struct zds_member, in_server);
        if (!is_leaving(m) && m->netns >= 0) {
            zds_conn_order(heir, ZDS_ORDER_ADD, m);
        }
    }
}

void zds_server_lost(struct zds_server *s, bool was_newest)
{
    if (was_newest) {
        tell_heir(s);
    }
    task_wake(s->owner, WAKE_CHILD);
}

void zds_server_added(struct zds_server *s, struct zds_conn *c, struct zds_member *m, int result,
                      const struct diag *why)
{
    if (is_leaving(m) || newest(s) != c) {
        return;
    }
    if (result < 0) {
        m->refusal = *why;
        set_standing(m, ZDS_REFUSED);
    } else {
        set_standing(m, ZDS_SERVED);
    }
}

void zds_server_removed(struct zds_member *m)
{
    if (m->standing == ZDS_LEAVING && --m->dels_due == 0) {
        set_standing(m, ZDS_LEFT);
    }
}

/* ---- listening */

static void take(struct zds_server *s, int fd)
{
    if (s->conn_count == ZDS_PROXIES_MAX) {
        log_warn(&scope, "too many node proxies", F_U64("limit", ZDS_PROXIES_MAX));
        close(fd);
        return;
    }
    zds_conn_start(s, fd);
}

/* At most so many a second: a proxy that fails at once must not keep the agent busy. */
static bool is_too_fast(struct zds_server *s)
{
    uint64_t now = loop_now_ms(s->loop);

    if (now - s->accepts_since_ms >= 1000) {
        s->accepts_since_ms = now;
        s->accepts = 0;
    }
    if (s->accepts < ZDS_ACCEPTS_PER_S) {
        s->accepts++;
        return false;
    }
    timer_set(&s->pace, &s->task, s->accepts_since_ms + 1000 - now);
    return true;
}

static void run(struct task *t, unsigned why)
{
    struct zds_server *s = container_of(t, struct zds_server, task);

    (void)why; /* there may be more than one reason, and one thing to do */
    while (s->open && s->watch.ready & FD_READABLE && !is_too_fast(s)) {
        int fd = unix_accept(&s->watch);
        if (fd >= 0) {
            take(s, fd);
        } else if (fd == -EAGAIN) {
            s->accepts--; /* it was none */
        } else {
            log_warn(&scope, "accept node proxy", F_STR("error", err_text(fd)));
            timer_set(&s->pace, &s->task, 1000);
            return;
        }
    }
}

void zds_server_open(struct zds_server *s)
{
    s->open = true;
    task_wake(&s->task, WAKE_START);
}

unsigned zds_server_proxies(const struct zds_server *s)
{
    unsigned count = 0;

    list_for_each (n, &s->conns) {
        count += zds_conn_is_ready(container_of(n, struct zds_conn, in_server));
    }
    return count;
}

int zds_server_new(struct loop *l, const char *path, struct task *owner, struct zds_server **out,
                   struct diag *why)
{
    AUTO(zds_server) struct zds_server *s = mem_new(struct zds_server);

    s->loop = l;
    s->owner = owner;
    list_init(&s->conns);
    list_init(&s->members);
    s->watch.fd = -1;
    task_init(&s->task, l, "zds listener", run);
    int fd = unix_listen(path, SOCK_SEQPACKET, why);
    if (fd < 0) {
        return fd;
    }
    s->path = mem_strdup(path);
    s->watch.fd = fd;
    int r = fd_watch_start(&s->watch, l, &s->task, fd);
    if (r < 0) {
        return FAIL(why, r, "watch %s", path);
    }
    *out = MOVE(s);
    return 0;
}

void zds_server_free(struct zds_server *s)
{
    if (!s) {
        return;
    }
    while (!list_is_empty(&s->conns)) {
        zds_conn_close(container_of(s->conns.next, struct zds_conn, in_server));
    }
    timer_clear(&s->pace);
    int fd = s->watch.fd;
    fd_watch_stop(&s->watch);
    if (fd >= 0) {
        close(fd);
        (void)unlink(s->path); /* the next agent replaces what is left */
    }
    task_fini(&s->task);
    mem_free(s->path);
    mem_free(s);
}
