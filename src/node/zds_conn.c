/* SPDX-License-Identifier: Apache-2.0 */
/* One connected node proxy: sends orders one by one and waits for each answer. */
#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/zds_int.h"

static struct log_scope scope = LOG_SCOPE("zds");

static const struct {
    const char *name;
    unsigned may_go;
    unsigned limit_ms;
} steps[] = {
    [ZDS_HELLO] = {"hello", BIT(ZDS_IDLE), ZDS_ANSWER_MS},
    [ZDS_IDLE] = {"idle", BIT(ZDS_SEND), 0},
    [ZDS_SEND] = {"send", BIT(ZDS_ANSWER), ZDS_ANSWER_MS},
    [ZDS_ANSWER] = {"answer", BIT(ZDS_IDLE), ZDS_ANSWER_MS},
};

static void enter(struct zds_conn *c, enum zds_step next)
{
    assert(steps[c->step].may_go & BIT(next));
    c->step = next;
    timer_clear(&c->limit);
    if (steps[next].limit_ms > 0) {
        timer_set(&c->limit, &c->task, steps[next].limit_ms);
    }
}

/* The length of a packet, -EAGAIN, or a final error. No room for descriptors: a proxy sends none. */
static ssize_t receive(struct zds_conn *c, uint8_t packet[static ZDS_PACKET_MAX])
{
    struct iovec room = {packet, ZDS_PACKET_MAX};
    struct msghdr m = {.msg_iov = &room, .msg_iovlen = 1};
    ssize_t n = recvmsg(c->watch.fd, &m, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN) {
        fd_watch_blocked(&c->watch, FD_READABLE);
        return -EAGAIN;
    }
    if (n < 0) {
        return neg_errno();
    }
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        return -ERR_TOO_LARGE;
    }
    return n == 0 ? -ECONNRESET : n;
}

static int step_hello(struct zds_conn *c)
{
    uint8_t packet[ZDS_PACKET_MAX];
    ssize_t n = receive(c, packet);

    if (n < 0) {
        return (int)n;
    }
    int r = zds_read_hello(packet, (size_t)n);
    if (r < 0) {
        return r;
    }
    enter(c, ZDS_IDLE);
    zds_server_welcome(c->server, c);
    return 0;
}

static int step_idle(struct zds_conn *c)
{
    uint8_t packet[ZDS_PACKET_MAX];
    struct list *first = list_take_first(&c->orders);

    if (!first) {
        ssize_t n = receive(c, packet);
        return n < 0 ? (int)n : -ERR_SYNTAX; /* a proxy speaks only when it was asked */
    }
    c->under_way = container_of(first, struct zds_order, in_conn);
    enter(c, ZDS_SEND);
    return 0;
}

static int encode(const struct zds_order *o, uint8_t packet[static ZDS_PACKET_MAX])
{
    switch (o->kind) {
    case ZDS_ORDER_ADD:
        return zds_put_add(packet, &o->member->w);
    case ZDS_ORDER_KEEP:
        return zds_put_keep(packet, o->member->w.uid);
    case ZDS_ORDER_DEL:
        return zds_put_del(packet, o->member->w.uid);
    case ZDS_ORDER_SNAPSHOT_SENT:
        return zds_put_snapshot_sent(packet);
    }
    return -ERR_SYNTAX;
}

/* The namespace travels beside an addition, and beside nothing else. */
static int send_packet(int socket, const uint8_t *packet, size_t len, int netns)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec bytes = {(void *)(uintptr_t)packet, len};
    struct msghdr m = {.msg_iov = &bytes, .msg_iovlen = 1};

    if (netns >= 0) {
        memcpy(CMSG_DATA(&control.head), &netns, sizeof(netns));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control.room);
    }
    return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? neg_errno() : 0;
}

static int step_send(struct zds_conn *c)
{
    uint8_t packet[ZDS_PACKET_MAX];
    struct zds_order *o = c->under_way;

    if (o->kind == ZDS_ORDER_ADD && o->member->netns < 0) {
        o->kind = ZDS_ORDER_KEEP;
    }
    int len = encode(o, packet);
    if (len < 0) {
        return len; /* cannot be: zds_member_new has tried */
    }
    int netns = o->kind == ZDS_ORDER_ADD ? o->member->netns : -1;
    int r = send_packet(c->watch.fd, packet, (size_t)len, netns);
    if (r == -EAGAIN) {
        fd_watch_blocked(&c->watch, FD_WRITABLE);
    }
    if (r == 0) {
        enter(c, ZDS_ANSWER);
    }
    return r;
}

static void drop_order(struct zds_order *o)
{
    if (o->member) {
        zds_member_unref(o->member);
    }
    mem_free(o);
}

/* A refused snapshot leaves the proxy with an unknown membership: that ends the connection. */
static int settle(struct zds_conn *c, int result, const struct diag *why)
{
    struct zds_order *o = MOVE(c->under_way);
    int r = 0;

    switch (o->kind) {
    case ZDS_ORDER_ADD:
        zds_server_added(c->server, c, o->member, result, why);
        break;
    case ZDS_ORDER_KEEP:
        break;
    case ZDS_ORDER_DEL:
        zds_server_removed(o->member);
        break;
    case ZDS_ORDER_SNAPSHOT_SENT:
        r = result;
        break;
    }
    drop_order(o);
    return r;
}

static int step_answer(struct zds_conn *c)
{
    uint8_t packet[ZDS_PACKET_MAX];
    struct diag why = {0};
    ssize_t n = receive(c, packet);

    if (n < 0) {
        return (int)n;
    }
    int r = zds_read_response(packet, (size_t)n, &why);
    if (r < 0 && r != -ERR_DENIED) {
        return r;
    }
    if (r < 0) {
        log_warn(&scope, "node proxy refuses", F_STR("reason", why.text),
                 F_STR("uid", c->under_way->member ? c->under_way->member->w.uid : ""));
    }
    enter(c, ZDS_IDLE);
    return settle(c, r, &why);
}

static int step(struct zds_conn *c)
{
    if (timer_is_due(&c->limit)) {
        return -ERR_DEADLINE;
    }
    switch (c->step) {
    case ZDS_HELLO:
        return step_hello(c);
    case ZDS_IDLE:
        return step_idle(c);
    case ZDS_SEND:
        return step_send(c);
    case ZDS_ANSWER:
        return step_answer(c);
    }
    return -ERR_SYNTAX;
}

static void run(struct task *t, unsigned why)
{
    struct zds_conn *c = container_of(t, struct zds_conn, task);
    int r;

    (void)why; /* the step knows what it waits for */
    do {
        r = step(c);
    } while (r == 0);
    if (r != -EAGAIN) {
        log_info(&scope, "node proxy disconnected", F_STR("during", steps[c->step].name),
                 F_STR("error", err_text(r)));
        zds_conn_close(c);
    }
}

void zds_conn_start(struct zds_server *s, int take_fd)
{
    struct zds_conn *c = mem_new(struct zds_conn);

    c->server = s;
    c->step = ZDS_HELLO;
    list_init(&c->orders);
    task_init(&c->task, s->loop, "zds connection", run);
    if (fd_watch_start(&c->watch, s->loop, &c->task, take_fd) < 0) {
        close(take_fd);
        mem_free(c);
        return;
    }
    list_append(&s->conns, &c->in_server);
    s->conn_count++;
    timer_set(&c->limit, &c->task, steps[ZDS_HELLO].limit_ms);
    task_wake(&c->task, WAKE_START);
}

static void give_up_order(struct zds_order *o)
{
    if (o->kind == ZDS_ORDER_DEL) {
        zds_server_removed(o->member); /* who is gone has nothing left to remove */
    }
    drop_order(o);
}

void zds_conn_close(struct zds_conn *c)
{
    struct zds_server *s = c->server;
    struct list *n;

    bool was_newest = zds_server_is_newest(s, c);
    list_remove(&c->in_server);
    s->conn_count--;
    zds_server_lost(s, was_newest);
    if (c->under_way) {
        give_up_order(MOVE(c->under_way));
    }
    while ((n = list_take_first(&c->orders))) {
        give_up_order(container_of(n, struct zds_order, in_conn));
    }
    timer_clear(&c->limit);
    int fd = c->watch.fd;
    fd_watch_stop(&c->watch);
    close(fd);
    task_fini(&c->task);
    mem_free(c);
}

static struct zds_order *waiting_add(struct zds_conn *c, const struct zds_member *m)
{
    list_for_each (n, &c->orders) {
        struct zds_order *o = container_of(n, struct zds_order, in_conn);
        if (o->kind == ZDS_ORDER_ADD && o->member == m) {
            return o;
        }
    }
    return NULL;
}

void zds_conn_order(struct zds_conn *c, enum zds_order_kind kind, struct zds_member *m)
{
    if (kind == ZDS_ORDER_ADD && waiting_add(c, m)) {
        return;
    }
    struct zds_order *o = mem_new(struct zds_order);
    o->kind = kind;
    o->member = m;
    if (m) {
        ref_get(&m->ref);
    }
    list_append(&c->orders, &o->in_conn);
    task_wake(&c->task, WAKE_CHILD);
}

void zds_conn_cancel_add(struct zds_conn *c, const struct zds_member *m)
{
    struct zds_order *o = waiting_add(c, m);

    if (o) {
        list_remove(&o->in_conn);
        drop_order(o);
    }
}

bool zds_conn_is_ready(const struct zds_conn *c)
{
    return c->step != ZDS_HELLO;
}
