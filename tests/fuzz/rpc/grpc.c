/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC message framing: the input is the body of a response. Oracle: a naive reader of the same octets
 * finds the same messages and the same kind of end, whether they are taken whole or in pieces.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "http/http_server.h"
#include "mempipe.h"
#include "rpc/grpc_client.h"
#include "wire.h"

enum { LIMIT = 3000 };

static void need(bool truth)
{
    if (!truth) {
        abort();
    }
}

/* "length:sum " of each message, then the end. */
struct story {
    char text[1024];
    size_t len;
};

static void tell(struct story *s, const char *word, uint32_t len, uint32_t sum)
{
    if (s->len + 40 < sizeof(s->text)) {
        s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%s %u:%u ", word,
                                   len, sum);
    }
}

static uint32_t sum_of(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i < len; i++) {
        sum = sum * 31 + p[i];
    }
    return sum;
}

static void naive(const uint8_t *p, size_t len, struct story *out)
{
    while (len > 0) {
        if (len < 5) {
            tell(out, "cut", 0, 0);
            return;
        }
        uint32_t n = be32_get(p + 1);
        if (p[0] != 0 || n > LIMIT) {
            tell(out, p[0] != 0 ? "compressed" : "large", 0, 0);
            return;
        }
        if (n > len - 5) {
            tell(out, "cut", 0, 0);
            return;
        }
        tell(out, "message", n, sum_of(p + 5, n, 0));
        p += 5 + n;
        len -= 5 + n;
    }
    tell(out, "end", 0, 0);
}

struct reader {
    struct task task;
    struct grpc_call *call;
    struct story story;
    struct bytes whole;
    bool piecewise;
    bool amid;
    uint32_t len;
    uint32_t sum;
    bool over;
};

static int take_whole(struct reader *r)
{
    int n = grpc_call_recv(r->call, &r->whole);

    if (n == 1) {
        tell(&r->story, "message", (uint32_t)r->whole.len,
             sum_of(bytes_peek(&r->whole), r->whole.len, 0));
        bytes_skip(&r->whole, r->whole.len);
    }
    return n;
}

static int take_piece(struct reader *r)
{
    struct iovec piece;
    int n = r->amid ? 1 : grpc_call_next(r->call, &r->len);

    if (n != 1) {
        return n;
    }
    r->sum = r->amid ? r->sum : 0;
    r->amid = true;
    int got = grpc_call_peek(r->call, &piece, 1);
    if (got == 0) {
        tell(&r->story, "message", r->len, r->sum);
        r->amid = false;
    } else if (got > 0) {
        size_t len = MIN_OF(piece.iov_len, (size_t)7);
        r->sum = sum_of(piece.iov_base, len, r->sum);
        grpc_call_skip(r->call, len);
    }
    return got < 0 ? got : 1;
}

static void run(struct task *t, unsigned why)
{
    struct reader *r = container_of(t, struct reader, task);
    int n = 1;

    (void)why;
    while (n == 1 && !r->over) {
        n = r->piecewise ? take_piece(r) : take_whole(r);
    }
    if (r->over || n == -EAGAIN) {
        return;
    }
    r->over = true;
    tell(&r->story,
         n == 0                  ? "end"
         : n == -ERR_SYNTAX      ? "cut"
         : n == -ERR_UNSUPPORTED ? "compressed"
         : n == -ERR_TOO_LARGE   ? "large"
                                 : "other",
         0, 0);
}

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static void answer(struct loop *l, struct http_server *s, const uint8_t *data, size_t len)
{
    AUTO(message) struct message head = {.status = 200};
    AUTO(message) struct message trailers = {0};
    struct exchange *x = NULL;
    size_t at = 0;

    need(http_server_next(s, &x) == 1);
    message_puts(&head, "content-type", "application/grpc");
    message_puts(&trailers, "grpc-status", "0");
    need(exchange_send(x, &head) == 0);
    for (size_t piece = 1; at < len; piece = piece * 3 + 1) {
        size_t want = len - at < piece ? len - at : piece;
        ssize_t n = stream_write(&x->s, data + at, want);
        if (n < 0 && n != -EAGAIN) {
            break; /* the client has seen enough */
        }
        at += n > 0 ? (size_t)n : 0;
        need(settle(l));
    }
    int r = exchange_finish(x, &trailers);
    need(r == 0 || at < len || r < 0);
    exchange_close(x, 0);
    need(settle(l));
}

static void play(const uint8_t *data, size_t len, bool piecewise, struct story *out)
{
    struct loop *l = loop_new(NULL);
    struct http_server_options o = {.protocol = HTTP_ONLY_H2};
    struct grpc_client_options co = {.message_bytes = LIMIT};
    struct reader r = {.piecewise = piecewise};
    struct stream *ends[2];
    struct task idle;

    loop_stop_clock(l);
    mempipe_pair(ends, 9000, NULL);
    task_init(&idle, l, "idle", nothing);
    task_init(&r.task, l, "reader", run);
    bytes_init(&r.whole, LIMIT);
    struct http_server *s = http_server_new(l, &o, &idle);
    http_server_add(s, ends[0]);
    struct grpc_client *c = grpc_client_new(l, ends[1], "a", &co, &idle);
    r.call = grpc_client_call(c, "/x", NULL, 0);
    grpc_call_own(r.call, &r.task);
    task_wake(&r.task, WAKE_START);
    need(grpc_call_send_end(r.call) == 0);
    need(settle(l));
    answer(l, s, data, len);
    need(r.over);
    *out = r.story;
    grpc_call_close(r.call);
    grpc_client_free(c);
    http_server_free(s);
    bytes_fini(&r.whole);
    task_fini(&r.task);
    task_fini(&idle);
    need(settle(l));
    loop_advance(l, 60000);
    need(settle(l));
    loop_free(l);
    need(mempipe_live() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct story want = {.len = 0};
    struct story got;

    if (len > 6000) {
        return 0;
    }
    naive(data, len, &want);
    for (int piecewise = 0; piecewise < 2; piecewise++) {
        play(data, len, piecewise, &got);
        need(strcmp(want.text, got.text) == 0);
    }
    return 0;
}
