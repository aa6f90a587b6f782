/* SPDX-License-Identifier: Apache-2.0 */
#include "node/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"

/* The kernel's own dumps come in pieces of at most 32 KiB. */
enum { ANSWER_ROOM = 32 << 10, ANSWER_LIMIT_S = 5 };

struct netlink {
    int fd;
    struct nl_reader unread; /* the rest of the last datagram */
    uint8_t datagram[ANSWER_ROOM];
};

static int configure(int fd, struct diag *why)
{
    static const int options[] = {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK};
    struct timeval limit = {.tv_sec = ANSWER_LIMIT_S};
    int on = 1;

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (setsockopt(fd, SOL_NETLINK, options[i], &on, sizeof(on)) < 0) {
            return FAIL(why, neg_errno(), "netlink option %d", options[i]);
        }
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0) {
        return FAIL(why, neg_errno(), "netlink deadline");
    }
    return 0;
}

int netlink_open_blocking(int protocol, struct netlink **out, struct diag *why)
{
    AUTO(netlink) struct netlink *n = mem_new(struct netlink);

    n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (n->fd < 0) {
        return FAIL(why, neg_errno(), "open netlink protocol %d", protocol);
    }
    int r = configure(n->fd, why);
    if (r < 0) {
        return r;
    }
    *out = MOVE(n);
    return 0;
}

void netlink_close(struct netlink *n)
{
    if (n) {
        if (n->fd >= 0) {
            close(n->fd);
        }
        mem_free(n);
    }
}

static int send_batch(struct netlink *n, const struct nl_batch *b, struct diag *why)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    if (!nl_batch_is_whole(b)) {
        return FAIL(why, -ERR_TOO_LARGE, "netlink batch");
    }
    n->unread = (struct nl_reader){NULL, 0};
    if (sendto(n->fd, b->bytes.p, b->bytes.len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) <
        0) {
        return FAIL(why, neg_errno(), "send netlink batch of %zu bytes", b->bytes.len);
    }
    return 0;
}

/* 1 with a datagram in n->unread; 0 when flags say not to wait and there is none. */
static int receive(struct netlink *n, int flags, struct diag *why)
{
    struct sockaddr_nl from;
    struct iovec room = {n->datagram, sizeof(n->datagram)};
    struct msghdr m = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &room, .msg_iovlen = 1};
    ssize_t len = recvmsg(n->fd, &m, flags);

    if (len < 0 && errno == EAGAIN && flags & MSG_DONTWAIT) {
        return 0;
    }
    if (len < 0) {
        return FAIL(why, errno == EAGAIN ? -ERR_DEADLINE : neg_errno(), "read netlink answer");
    }
    if (m.msg_flags & MSG_TRUNC) {
        return FAIL(why, -ERR_TOO_LARGE, "netlink answer");
    }
    n->unread = nl_reader_of(n->datagram, from.nl_pid == 0 ? (size_t)len : 0);
    return 1;
}

struct verdicts {
    uint32_t acked_seq;
    bool acked;
    int refusal; /* the first; 0 if none */
};

static int note_verdict(struct verdicts *sum, const struct nl_view *v, const char *what,
                        struct diag *why)
{
    struct nl_verdict verdict;

    if (v->type != NLMSG_ERROR) {
        return 0;
    }
    if (nl_read_verdict(v, &verdict) < 0) {
        return FAIL(why, -ERR_SYNTAX, "%s: netlink verdict", what);
    }
    if (verdict.code == 0) {
        sum->acked |= v->seq == sum->acked_seq;
    } else if (sum->refusal == 0) {
        sum->refusal = FAIL(why, verdict.code, "%s: message %u: %.*s", what, v->seq,
                            (int)verdict.words.len, verdict.words.p ? verdict.words.p : "");
    }
    return 0;
}

static int note_datagram(struct netlink *n, struct verdicts *sum, const char *what,
                         struct diag *why)
{
    struct nl_view v;
    int r;

    while ((r = nl_read_message(&n->unread, &v)) > 0) {
        r = note_verdict(sum, &v, what, why);
        if (r < 0) {
            return r;
        }
    }
    return r < 0 ? FAIL(why, r, "%s: netlink answer", what) : 0;
}

int netlink_commit_blocking(struct netlink *n, const struct nl_batch *b, uint32_t acked_seq,
                            const char *what, struct diag *why)
{
    struct verdicts sum = {.acked_seq = acked_seq};
    int r = send_batch(n, b, why);

    if (r < 0) {
        return r;
    }
    /* The kernel has handled the batch before sendto returned: its verdicts are all there. */
    while ((r = receive(n, MSG_DONTWAIT, why)) > 0) {
        r = note_datagram(n, &sum, what, why);
        if (r < 0) {
            break;
        }
    }
    if (sum.refusal < 0 || r < 0) {
        return sum.refusal < 0 ? sum.refusal : r;
    }
    return sum.acked ? 0 : FAIL(why, -EIO, "%s: not acknowledged", what);
}

int netlink_ask_blocking(struct netlink *n, const struct nl_batch *b, struct diag *why)
{
    return send_batch(n, b, why);
}

/* 1 = an answer, 0 = the last one has been. */
static int judge_answer(const struct nl_view *v, struct diag *why)
{
    struct nl_verdict verdict;

    if (v->flags & NLM_F_DUMP_INTR) {
        return FAIL(why, -EINTR, "netlink dump: tables changed meanwhile");
    }
    if (v->type == NLMSG_DONE) {
        return 0;
    }
    if (v->type != NLMSG_ERROR) {
        return 1;
    }
    if (nl_read_verdict(v, &verdict) < 0) {
        return FAIL(why, -ERR_SYNTAX, "netlink verdict");
    }
    return verdict.code == 0 ? 0
                             : FAIL(why, verdict.code, "netlink question: %.*s",
                                    (int)verdict.words.len, verdict.words.p ? verdict.words.p : "");
}

int netlink_next_blocking(struct netlink *n, struct nl_view *out, struct diag *why)
{
    struct nl_view v;
    int r;

    while ((r = nl_read_message(&n->unread, &v)) == 0) {
        r = receive(n, 0, why);
        if (r < 0) {
            return r;
        }
    }
    if (r < 0) {
        return FAIL(why, r, "netlink answer");
    }
    r = judge_answer(&v, why);
    if (r > 0) {
        *out = v;
    }
    return r;
}
