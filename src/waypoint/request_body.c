/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/request_int.h"

enum { PIECES = 16 };

static int failed(enum request_side *side, enum request_side which, int r)
{
    *side = which;
    return r;
}

/* Keeps what is being sent, until it becomes too much: then there is no second try. */
static void keep(struct request *q, const struct iovec *v, size_t len)
{
    for (int i = 0; q->keeps && len > 0; i++) {
        size_t n = v[i].iov_len < len ? v[i].iov_len : len;
        if (bytes_add(&q->replay, v[i].iov_base, n) < 0) {
            request_body_forget(q);
        }
        len -= n;
    }
    q->replayed = q->replay.len;
}

/* What an earlier try has had already. */
static int send_kept(struct request *q)
{
    ssize_t n =
        stream_write(&q->up->s, bytes_peek(&q->replay) + q->replayed, q->replay.len - q->replayed);

    if (n > 0) {
        q->replayed += (size_t)n;
    }
    return n < 0 ? (int)n : 0;
}

static int end_body(struct request *q)
{
    const struct message *t = request_trailers_up(q);
    int r = t->count > 0 ? exchange_finish(q->up, t) : stream_shut(&q->up->s);

    q->body_sent = r == 0;
    return r;
}

/* 1: something moved; 0: the body's end was sent. */
static int move_some(struct request *q, enum request_side *side)
{
    struct iovec v[PIECES];

    if (q->replayed < q->replay.len) {
        int r = send_kept(q);
        return r < 0 ? failed(side, SIDE_SERVER, r) : 1;
    }
    int count = q->body_read || q->down->in_over ? 0 : stream_peek(&q->down->s, v, PIECES);
    if (count < 0) {
        return failed(side, SIDE_CLIENT, count);
    }
    if (count == 0) {
        q->body_read = true;
        return failed(side, SIDE_SERVER, end_body(q));
    }
    ssize_t n = q->up->s.ops->writev(&q->up->s, v, count);
    if (n < 0) {
        return failed(side, SIDE_SERVER, (int)n);
    }
    keep(q, v, (size_t)n);
    if (q->grpc) {
        grpc_count_feed(&q->messages_up, v, (size_t)n);
    }
    stream_skip(&q->down->s, (size_t)n);
    q->record.received_bytes += (uint64_t)n;
    q->moved_ms = request_now(q);
    return 1;
}

int request_body_move(struct request *q, enum request_side *side)
{
    uint64_t stop = q->record.received_bytes + MOVE_BUDGET;
    int r = 1;

    if (q->body_sent || q->body_given_up) {
        return 0;
    }
    while (r == 1 && q->record.received_bytes < stop) {
        r = move_some(q, side);
    }
    if (r == -EAGAIN && *side == SIDE_CLIENT) {
        /* Before waiting for a slow client, what it has sent goes out. */
        int f = stream_flush(&q->up->s);
        if (f < 0 && f != -EAGAIN) {
            r = failed(side, SIDE_SERVER, f);
        }
    }
    return r;
}

void request_body_rewind(struct request *q)
{
    q->replayed = 0;
    q->body_sent = false;
    q->body_given_up = false;
}

void request_body_forget(struct request *q)
{
    q->keeps = false;
    bytes_skip(&q->replay, q->replay.len);
    bytes_shrink(&q->replay);
    q->replayed = 0;
}
