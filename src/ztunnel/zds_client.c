/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/zds_client.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/sock.h"
#include "io/unix_sock.h"
#include "ztunnel/zds_message_int.h"

enum {
    BACKOFF_FIRST_MS = 20, /* contract 7.3 */
    BACKOFF_MAX_MS = 15000,
    DESCRIPTORS_MAX = 8 /* taken from one packet, to be closed when there are too many */
};

static struct log_scope scope = LOG_SCOPE("zds");

enum zds_step {
    ZDS_WAIT,   /* for the back-off to end */
    ZDS_IDLE,   /* connected, the agent's turn */
    ZDS_BUSY,   /* a request is being carried out by pods */
    ZDS_CLOSED, /* stopped, or the agent broke the protocol */
};

struct zds_client {
    struct task task;
    struct timer timer;
    struct fd_watch watch;
    int fd;
    enum zds_step step;
    char *path;
    struct pods *pods;
    struct task *owner;
    uint64_t delay_ms;
    bool synced;
    bool broken;
};

static void disconnect(struct zds_client *z)
{
    fd_watch_stop(&z->watch);
    sock_close(&z->fd);
    z->synced = false;
    task_wake(z->owner, WAKE_CHILD);
}

static void enter(struct zds_client *z, enum zds_step next)
{
    timer_clear(&z->timer);
    z->step = next;
    switch (next) {
    case ZDS_WAIT:
        disconnect(z);
        timer_set(&z->timer, &z->task, z->delay_ms);
        break;
    case ZDS_CLOSED:
        disconnect(z);
        break;
    case ZDS_IDLE:
    case ZDS_BUSY:
        break;
    }
}

static int send_packet(struct zds_client *z, const uint8_t *packet, size_t len)
{
    ssize_t n = send(z->fd, packet, len, MSG_NOSIGNAL);

    return n < 0 ? neg_errno() : 0;
}

static void lose(struct zds_client *z, int r, bool at_once)
{
    log_warn(&scope, "node agent lost", F_STR("path", z->path), F_STR("error", err_text(r)),
             F_STR("hint", "is the node agent healthy?"));
    if (at_once) {
        z->delay_ms = 1;
    }
    enter(z, ZDS_WAIT);
    z->delay_ms = at_once ? BACKOFF_FIRST_MS : MIN_OF(z->delay_ms * 2, (uint64_t)BACKOFF_MAX_MS);
}

static int open_socket(struct zds_client *z)
{
    z->fd = unix_connect(z->path, SOCK_SEQPACKET, NULL);
    return z->fd < 0 ? z->fd : fd_watch_start(&z->watch, z->task.loop, &z->task, z->fd);
}

static int step_wait(struct zds_client *z)
{
    uint8_t hello[ZDS_ANSWER_MAX];

    if (!timer_is_due(&z->timer)) {
        return -EAGAIN;
    }
    int r = open_socket(z);
    if (r == 0) {
        size_t len = zds_hello_write(hello);
        r = send_packet(z, hello, len);
    }
    if (r < 0) {
        lose(z, r, false);
        return -EAGAIN;
    }
    log_info(&scope, "connected to the node agent", F_STR("path", z->path));
    z->delay_ms = BACKOFF_FIRST_MS;
    pods_snapshot_begin(z->pods);
    enter(z, ZDS_IDLE);
    return 0;
}

struct packet {
    uint8_t bytes[ZDS_PACKET_MAX];
    size_t len;
    bool truncated;
    int fds[DESCRIPTORS_MAX];
    unsigned fd_count;
};

static void collect_descriptors(struct packet *p, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && p->fd_count < DESCRIPTORS_MAX; i++) {
            memcpy(&p->fds[p->fd_count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        }
    }
}

/* 1: a packet; 0: the agent is gone; -EAGAIN; else the failure. */
static int receive(struct zds_client *z, struct packet *p)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec v = {p->bytes, sizeof(p->bytes)};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};

    ssize_t n = recvmsg(z->fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        int r = neg_errno();
        if (r == -EAGAIN) {
            fd_watch_blocked(&z->watch, FD_READABLE);
        }
        return r;
    }
    p->len = (size_t)n;
    p->truncated = (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    p->fd_count = 0;
    collect_descriptors(p, &m);
    return n > 0 ? 1 : 0;
}

static void packet_close(struct packet *p)
{
    for (unsigned i = 0; i < p->fd_count; i++) {
        sock_close(&p->fds[i]);
    }
    p->fd_count = 0;
}

static void answer(struct zds_client *z, const char *error)
{
    uint8_t packet[ZDS_ANSWER_MAX];
    size_t len = zds_answer_write(packet, error);
    int r = send_packet(z, packet, len);

    if (r < 0) {
        lose(z, r, true);
    }
}

static void refuse_packet(struct zds_client *z, const struct diag *why)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "failure to read message : %s", why->text);
    log_error(&scope, "failed to read message", F_DIAG(why));
    answer(z, text);
    if (z->step != ZDS_WAIT) {
        lose(z, why->code, true);
    }
}

static void protocol_error(struct zds_client *z, const char *what)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "failure to process message : ProtocolError(\"%s\")", what);
    log_error(&scope, "protocol mismatch error while processing stream, shutting down",
              F_STR("error", what));
    answer(z, text);
    z->broken = true;
    enter(z, ZDS_CLOSED);
}

static void start_add(struct zds_client *z, const struct zds_request *q, struct packet *p)
{
    struct netns *netns = NULL;
    struct diag why = {0};

    if (!q->has_info) {
        protocol_error(z, "workload_info is required but not present");
        return;
    }
    int fd = p->fds[0];
    p->fd_count = 0;
    int r = netns_from_fd(&netns, fd, &why);
    if (r < 0) {
        refuse_packet(z, &why);
        return;
    }
    pods_add(z->pods, &q->info, netns);
    enter(z, ZDS_BUSY);
}

static void snapshot_sent(struct zds_client *z)
{
    if (z->synced) {
        protocol_error(z, "pod snapshot received already");
        return;
    }
    log_info(&scope, "received snapshot sent", F_U64("pods", pods_counts(z->pods).active));
    pods_snapshot_end(z->pods);
    z->synced = true;
    answer(z, NULL);
    task_wake(z->owner, WAKE_CHILD);
}

static void carry_out(struct zds_client *z, const struct zds_request *q, struct packet *p)
{
    switch (q->kind) {
    case ZDS_ADD:
        start_add(z, q, p);
        break;
    case ZDS_DEL:
        if (z->synced) {
            pods_remove(z->pods, q->info.uid);
            enter(z, ZDS_BUSY);
        } else {
            answer(z,
                   NULL); /* not named in this snapshot: its end takes care of it (contract 7.4) */
        }
        break;
    case ZDS_SNAPSHOT_SENT:
        snapshot_sent(z);
        break;
    case ZDS_KEEP:
        if (z->synced) {
            protocol_error(z, "pod keep received after snapshot");
        } else {
            pods_snapshot_keep(z->pods, q->info.uid);
            answer(z, NULL);
        }
        break;
    }
}

static int step_idle(struct zds_client *z)
{
    struct packet p;
    struct zds_request q;
    struct diag why = {0};
    int r = receive(z, &p);

    if (r == -EAGAIN || r == -EINTR) {
        return -EAGAIN;
    }
    if (r <= 0) {
        lose(z, r < 0 ? r : -ECONNRESET, false);
        return 0;
    }
    r = zds_request_parse(&q, p.bytes, p.len, p.truncated, p.fd_count, &why);
    if (r < 0) {
        refuse_packet(z, &why);
    } else {
        carry_out(z, &q, &p);
        pod_info_fini(&q.info);
    }
    packet_close(&p);
    return 0;
}

static int step_busy(struct zds_client *z)
{
    char text[256];
    struct diag why = {0};
    int r = pods_result(z->pods, &why);

    if (r == -EAGAIN) {
        return r;
    }
    enter(z, ZDS_IDLE);
    (void)snprintf(text, sizeof(text), "failure to start proxy : %s", why.text);
    answer(z, r < 0 ? text : NULL);
    return 0;
}

static int step(struct zds_client *z)
{
    switch (z->step) {
    case ZDS_WAIT:
        return step_wait(z);
    case ZDS_IDLE:
        return step_idle(z);
    case ZDS_BUSY:
        return step_busy(z);
    case ZDS_CLOSED:
        break;
    }
    return -EAGAIN;
}

static void run(struct task *t, unsigned why)
{
    struct zds_client *z = container_of(t, struct zds_client, task);

    (void)why; /* every wake is a hint */
    while (step(z) == 0) {
    }
}

struct zds_client *zds_client_new(struct loop *l, const char *path, struct pods *pods,
                                  struct task *owner)
{
    struct zds_client *z = mem_new(struct zds_client);

    task_init(&z->task, l, "zds", run);
    z->fd = -1;
    z->path = mem_strdup(path);
    z->pods = pods;
    z->owner = owner;
    z->delay_ms = BACKOFF_FIRST_MS;
    z->step = ZDS_WAIT;
    timer_set(&z->timer, &z->task, 0);
    return z;
}

void zds_client_free(struct zds_client *z)
{
    if (z) {
        zds_client_stop(z);
        task_fini(&z->task);
        mem_free(z->path);
        mem_free(z);
    }
}

bool zds_client_is_synced(const struct zds_client *z)
{
    return z->synced;
}

void zds_client_poke(struct zds_client *z)
{
    task_wake(&z->task, WAKE_CHILD);
}

bool zds_client_is_broken(const struct zds_client *z)
{
    return z->broken;
}

void zds_client_stop(struct zds_client *z)
{
    if (z->step != ZDS_CLOSED) {
        enter(z, ZDS_CLOSED);
    }
}
