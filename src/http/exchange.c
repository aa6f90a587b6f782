/* SPDX-License-Identifier: Apache-2.0 */
#include "http/exchange.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/num.h"

enum { READ_STEP = 16 << 10 };

int exchange_read_whole(struct exchange *x, struct bytes *into)
{
    for (;;) {
        /* One octet beyond the limit is asked for, to tell a body that fits from one that does not. */
        char spare;
        size_t room = MIN_OF(bytes_room(into), (size_t)READ_STEP);
        uint8_t *to = room > 0 ? bytes_reserve(into, room) : (uint8_t *)&spare;
        if (!to) {
            return FAIL(stream_why(&x->s), -ERR_LIMIT, "no memory for a body");
        }
        ssize_t n = stream_read(&x->s, to, room > 0 ? room : 1);
        if (n <= 0) {
            return (int)n;
        }
        if (room == 0) {
            return FAIL(stream_why(&x->s), -ERR_TOO_LARGE, "body is larger than %zu bytes",
                        into->limit);
        }
        bytes_commit(into, (size_t)n);
    }
}

enum { MOVE_PIECES = 16 };

/* 1: something was moved; 0: the end was passed on. */
static int move_some(struct exchange *src, struct exchange *dst, struct exchange_moved *m)
{
    struct iovec v[MOVE_PIECES];
    int count = stream_peek(&src->s, v, MOVE_PIECES);

    m->broken = src;
    if (count < 0) {
        return count;
    }
    m->broken = dst;
    if (count == 0) {
        return exchange_finish(dst, &src->in_trailers);
    }
    ssize_t n = dst->s.ops->writev(&dst->s, v, count);
    if (n < 0) {
        return (int)n;
    }
    if (m->messages) {
        grpc_count_feed(m->messages, v, (size_t)n);
    }
    stream_skip(&src->s, (size_t)n);
    m->bytes += (uint64_t)n;
    return 1;
}

int exchange_move(struct exchange *src, struct exchange *dst, size_t budget,
                  struct exchange_moved *m)
{
    uint64_t stop = m->bytes + budget;
    int r = 1;

    while (r == 1 && m->bytes < stop) {
        r = move_some(src, dst, m);
    }
    if (r >= 0 || r == -EAGAIN) {
        m->broken = NULL;
    }
    return r;
}

/* A response on its way out, on its own. */
enum reply_step { REPLY_BODY, REPLY_END, REPLY_FLUSH, REPLY_DONE };

struct reply {
    struct task task;
    struct timer stall;
    struct loop_orphan orphan;
    struct exchange *x;
    struct strbuf body;
    size_t at;
    enum reply_step step;
};

static void finish(struct reply *p, int why)
{
    loop_orphan_remove(&p->orphan);
    timer_clear(&p->stall);
    task_fini(&p->task);
    exchange_close(p->x, why);
    strbuf_fini(&p->body);
    mem_free(p);
}

static int step_body(struct reply *p)
{
    if (p->at == p->body.len) {
        p->step = REPLY_END;
        return 0;
    }
    ssize_t n = stream_write(&p->x->s, p->body.p + p->at, p->body.len - p->at);
    if (n < 0) {
        return (int)n;
    }
    p->at += (size_t)n;
    timer_set(&p->stall, &p->task, EXCHANGE_REPLY_STALL_MS);
    return 0;
}

static int step(struct reply *p)
{
    int r = 0;

    switch (p->step) {
    case REPLY_BODY:
        return step_body(p);
    case REPLY_END:
        r = stream_shut(&p->x->s);
        p->step = r == 0 ? REPLY_FLUSH : REPLY_END;
        return r;
    case REPLY_FLUSH:
        r = stream_flush(&p->x->s);
        p->step = r == 0 ? REPLY_DONE : REPLY_FLUSH;
        return r;
    case REPLY_DONE:
        break;
    }
    return r;
}

static void run(struct task *t, unsigned why)
{
    struct reply *p = container_of(t, struct reply, task);
    int r = timer_is_due(&p->stall) ? -ERR_DEADLINE : 0;

    (void)why; /* every wake is a hint */
    while (r == 0 && p->step != REPLY_DONE) {
        r = step(p);
    }
    if (r != -EAGAIN) {
        finish(p, r);
    }
}

static void end(struct loop_orphan *o)
{
    finish(container_of(o, struct reply, orphan), -ERR_CANCELLED);
}

static int send_head(struct exchange *x, const struct message *head, size_t length)
{
    AUTO(message) struct message m = {.status = 0};

    message_copy(&m, head);
    if (head->status != 204 && head->status != 304) {
        message_put_u64(&m, "content-length", length);
    }
    return exchange_send(x, &m);
}

void exchange_reply(struct loop *l, struct exchange *take_x, const struct message *head,
                    struct strbuf *take_body)
{
    int r = take_body->overflow ? -ERR_TOO_LARGE : send_head(take_x, head, take_body->len);

    if (r < 0) {
        exchange_close(take_x, r);
        strbuf_fini(take_body);
        return;
    }
    struct reply *p = mem_new(struct reply);
    task_init(&p->task, l, "reply", run);
    p->orphan.end = end;
    loop_orphan_add(l, &p->orphan);
    p->x = take_x;
    p->body = *take_body;
    *take_body = (struct strbuf){.limit = take_body->limit};
    stream_own(&take_x->s, &p->task);
    timer_set(&p->stall, &p->task, EXCHANGE_REPLY_STALL_MS);
    task_wake(&p->task, WAKE_START);
}

void exchange_reply_text(struct loop *l, struct exchange *take_x, unsigned status,
                         const char *content_type, const char *text)
{
    AUTO(message) struct message head = {.status = status};
    struct strbuf body = {0};

    if (content_type) {
        message_puts(&head, "content-type", content_type);
    }
    strbuf_puts(&body, text);
    exchange_reply(l, take_x, &head, &body);
}
