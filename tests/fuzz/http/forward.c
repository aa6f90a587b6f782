/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that came over HTTP/1.1 or HTTP/2 (by the first octet), written to another HTTP/1.1 server as
 * a proxy writes them. Oracle: that server reads the same request, one for one: same parts, fields, body
 * and trailers; what could be read in another way was refused or could not be sent. Everything is
 * released.
 */
#include <stdlib.h>
#include <string.h>

#include "http/h1_client.h"
#include "http/h1_server.h"
#include "http/h2_session.h"
#include "mempipe.h"
#include "wire.h"

enum { BODY_MAX = 1 << 20, ROUNDS_MAX = 1000 };

static void need(bool truth)
{
    if (!truth) {
        abort();
    }
}

static const struct h1_limits limits = {
    .body_bytes = H1_BODY_UNLIMITED, .continue_by_owner = true, .websocket = true};

/* One request on its way: in from the front, out to the far server, which must see the same. */
struct hop {
    struct loop *loop;
    struct task task;
    struct h1_server *front1;
    struct h2_session *front2;
    struct exchange *x;
    struct exchange *up;
    struct exchange *y;
    struct h1_client *client;
    struct h1_server *far;
    struct exchange_moved moved;
    struct bytes body;
    unsigned forwarded;
    unsigned seen;
};

static void nothing(struct task *t, unsigned why)
{
    (void)t;
    (void)why;
}

static bool same(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* What the writer may add: a length of 0, and a key to a handshake that has none. */
static bool is_added(const struct message *m, struct message_field f)
{
    return (slice_is(f.name, "content-length") && slice_is(f.value, "0")) ||
           (slice_is(f.name, "sec-websocket-key") && message_get(m, MESSAGE_PROTOCOL).len > 0);
}

/* The next field from *i on that counts. */
static bool next_field(const struct message *m, unsigned *i, struct message_field *out)
{
    while (*i < m->count) {
        *out = message_field(m, (*i)++);
        if (!is_added(m, *out) && !slice_is(out->name, "te")) {
            return true;
        }
    }
    return false;
}

static void need_same_fields(const struct message *a, const struct message *b)
{
    struct message_field f;
    struct message_field g;
    unsigned i = 0;
    unsigned j = 0;

    while (next_field(a, &i, &f)) {
        need(next_field(b, &j, &g));
        need(same(f.name, g.name) && same(f.value, g.value));
    }
    need(!next_field(b, &j, &g));
}

static void need_same_head(const struct hop *h)
{
    for (int part = 0; part < MESSAGE_PARTS; part++) {
        if (part != MESSAGE_SCHEME) {
            need(same(message_get(&h->x->in, (enum message_part)part),
                      message_get(&h->y->in, (enum message_part)part)));
        }
    }
    need_same_fields(&h->x->in, &h->y->in);
}

static void send_on(struct hop *h)
{
    AUTO(message) struct message head = {0};
    struct stream *ends[2];

    mempipe_pair(ends, 40000, NULL);
    h->client = h1_client_new(h->loop, ends[0], NULL, &h->task);
    h->far = h1_server_new(h->loop, ends[1], &limits, &h->task);
    message_copy(&head, &h->x->in);
    bool switches = message_get(&head, MESSAGE_PROTOCOL).len > 0;
    h->up = h1_client_request(h->client, &head, h->x->in_over || switches);
    stream_own(&h->up->s, &h->task);
}

/* The body in both; true: all of it came through. */
static bool pass_body(struct hop *h)
{
    bool whole = h->x->in_over || message_get(&h->x->in, MESSAGE_PROTOCOL).len > 0;

    for (int i = 0; i < ROUNDS_MAX; i++) {
        int r = whole ? 0 : exchange_move(h->x, h->up, BODY_MAX, &h->moved);
        whole = r == 0;
        need(settle(h->loop));
        if (r < 0 && r != -EAGAIN) {
            return false;
        }
        if (!h->y && h1_server_next(h->far, &h->y) == 1) {
            stream_own(&h->y->s, &h->task);
            h->seen++;
            need_same_head(h);
        }
        int got = h->y ? exchange_read_whole(h->y, &h->body) : -EAGAIN;
        if (got == 0 && whole) {
            return true;
        }
        if (got < 0 && got != -EAGAIN) {
            return false;
        }
        if (r == -EAGAIN && i > 3) {
            return false; /* no more comes */
        }
    }
    return false;
}

static void over(struct hop *h, bool whole)
{
    AUTO(message) struct message head = {.status = 204};

    if (whole) {
        need(h->y->in_over || message_get(&h->x->in, MESSAGE_PROTOCOL).len > 0);
        need(h->body.len == h->moved.bytes);
        if (message_find_next(&h->x->in, "content-length", 0) < 0) {
            need_same_fields(&h->x->in_trailers, &h->y->in_trailers);
        }
        if (exchange_send(h->x, &head) == 0) {
            (void)!stream_shut(&h->x->s);
        }
    }
    exchange_close(h->y, whole ? 0 : -ERR_CANCELLED);
    exchange_close(h->up, -ERR_CANCELLED);
    exchange_close(h->x, whole ? 0 : -ERR_CANCELLED);
    h->x = h->up = h->y = NULL;
    h1_client_free(h->client);
    h1_server_free(h->far);
    bytes_fini(&h->body);
    h->moved = (struct exchange_moved){0};
    need(settle(h->loop));
}

static void forward(struct hop *h)
{
    for (;;) {
        int r = h->front1 ? h1_server_next(h->front1, &h->x) : h2_session_next(h->front2, &h->x);
        if (r != 1) {
            return;
        }
        stream_own(&h->x->s, &h->task);
        h->forwarded++;
        send_on(h);
        need(settle(h->loop));
        over(h, pass_body(h));
        need(h->seen <= h->forwarded);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct h2_options o = {.continue_by_owner = true, .websocket = true};
    struct hop h = {0};
    struct stream *ends[2];
    struct wire peer;

    if (len < 2 || len > 8000) {
        return 0;
    }
    h.loop = loop_new(NULL);
    loop_stop_clock(h.loop);
    bytes_init(&h.body, BODY_MAX);
    task_init(&h.task, h.loop, "hop", nothing);
    mempipe_pair(ends, 40000, NULL);
    if (data[0] & 1) {
        h.front2 = h2_server_new(h.loop, ends[1], &o, &h.task);
    } else {
        h.front1 = h1_server_new(h.loop, ends[1], &limits, &h.task);
    }
    wire_start(&peer, h.loop, ends[0], (const char *)data + 1, len - 1);
    need(settle(h.loop));
    forward(&h);
    h1_server_free(h.front1);
    h2_session_free(h.front2);
    task_fini(&h.task);
    need(settle(h.loop));
    wire_stop(&peer, 0);
    loop_advance(h.loop, 60000);
    need(settle(h.loop));
    loop_free(h.loop);
    need(mempipe_live() == 0);
    return 0;
}
