/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy.h"

#include <string.h>

#include "io/sock.h"
#include "io/tcp_stream.h"

enum { BUDGET = 256 << 10, CONNECT_MS = 2000 };

static void over(struct proxying *g, int why)
{
    task_fini(&g->task);
    exchange_close(g->up, why);
    exchange_close(g->down, why);
    g->up = NULL;
    g->down = NULL;
    task_wake(&g->in->task, WAKE_CHILD); /* a place is free */
}

/* Whatever went wrong upstream: a plain answer, if none has begun. */
static void fail(struct proxying *g, int why)
{
    g->in->failed++;
    if (g->answered) {
        over(g, why);
        return;
    }
    task_fini(&g->task);
    exchange_close(g->up, why);
    exchange_reply_text(g->in->loop, g->down, 502, "text/plain", err_name(why));
    g->up = NULL;
    g->down = NULL;
    task_wake(&g->in->task, WAKE_CHILD);
}

static struct stream *connect_to(struct proxy *p)
{
    if (p->connect) {
        return p->connect(p->connect_arg);
    }
    int fd = sock_open(p->to.ip.family, SOCK_TYPE_STREAM, NULL);
    return tcp_stream_connect(p->loop, fd, &p->to, CONNECT_MS);
}

static void connect_up(struct proxying *g)
{
    if (!g->client || h1_client_state(g->client) != 0) {
        h1_client_free(g->client);
        g->client = h1_client_new(g->in->loop, connect_to(g->in), NULL, NULL);
    }
}

static void ask(struct proxying *g)
{
    AUTO(message) struct message head = {0};

    message_copy(&head, &g->down->in);
    g->upgraded = message_get(&head, MESSAGE_PROTOCOL).len > 0;
    g->request_over = g->down->in_over || g->upgraded;
    g->bodyless = g->request_over;
    connect_up(g);
    g->up = h1_client_request(g->client, &head, g->request_over);
    g->up->wants_interim = true;
    stream_own(&g->up->s, &g->task);
}

/* 0 once the final head was passed on. */
static int pass_head(struct proxying *g, bool *up_failed)
{
    int r = 1;

    while (r == 1) {
        AUTO(message) struct message head = {0};
        r = exchange_head(g->up);
        *up_failed = r < 0;
        if (r < 0) {
            return r;
        }
        message_copy(&head, &g->up->in);
        int s = exchange_send(g->down, &head);
        if (s < 0) {
            return s;
        }
    }
    g->answered = true;
    g->upgraded = g->upgraded && g->up->in.status == 101;
    if (g->upgraded) {
        g->request_over = false;
        task_wake(&g->task, WAKE_IO); /* the client may have bytes for the new protocol */
    }
    return 0;
}

/* 0: this direction is over. */
static int move(struct proxying *g, bool *done, struct exchange *from, struct exchange *to,
                struct exchange_moved *m)
{
    int r = *done ? 0 : exchange_move(from, to, BUDGET, m);

    *done |= r == 0;
    if (r == 1) {
        task_wake(&g->task, WAKE_IO);
        return -EAGAIN;
    }
    return r;
}

/* The server closed a kept connection just when it was used again: nothing is lost by asking once more. */
static bool ask_again(struct proxying *g)
{
    const struct exchange *x = g->up;

    if (g->answered || !x->reused || x->reach == EXCHANGE_ANSWERING || !g->bodyless) {
        return false;
    }
    exchange_close(g->up, -ERR_CANCELLED);
    g->up = NULL;
    task_wake(&g->task, WAKE_IO);
    return true;
}

static void run_one(struct task *t, unsigned why)
{
    struct proxying *g = container_of(t, struct proxying, task);
    bool up_failed = false;
    int r = 0;

    (void)why;
    if (!g->up) {
        ask(g);
    }
    int s =
        g->request_over && !g->upgraded ? 0 : move(g, &g->request_over, g->down, g->up, &g->sent);
    if (!g->answered) {
        r = pass_head(g, &up_failed);
    }
    if (g->answered && r == 0) {
        r = move(g, &g->response_over, g->up, g->down, &g->received);
        up_failed = r < 0 && g->received.broken == g->up;
    }
    if (s < 0 && s != -EAGAIN && g->sent.broken == g->down) {
        over(g, s); /* the client broke its own request */
    } else if (r < 0 && r != -EAGAIN) {
        if (up_failed && !ask_again(g)) {
            fail(g, r);
        } else if (!up_failed) {
            over(g, r);
        }
    } else if (s < 0 && s != -EAGAIN) {
        fail(g, s);
    } else if (g->response_over && (g->request_over || !g->upgraded)) {
        over(g, 0);
    }
}

static struct proxying *free_place(struct proxy *p)
{
    for (unsigned i = 0; i < PROXY_MAX; i++) {
        if (!p->now[i].down) {
            return &p->now[i];
        }
    }
    return NULL;
}

static void run(struct task *t, unsigned why)
{
    struct proxy *p = container_of(t, struct proxy, task);
    struct proxying *g;

    (void)why;
    while (p->next && (g = free_place(p))) {
        struct exchange *x = NULL;
        if (p->next(p->server, &x) != 1) {
            return;
        }
        *g = (struct proxying){.in = p, .down = x, .client = g->client};
        task_init(&g->task, p->loop, "proxying", run_one);
        stream_own(&x->s, &g->task);
        task_wake(&g->task, WAKE_START);
        p->requests++;
    }
}

void proxy_start(struct proxy *p, struct loop *l, const struct endpoint *to)
{
    *p = (struct proxy){.loop = l, .to = *to};
    task_init(&p->task, l, "proxy", run);
}

void proxy_serve(struct proxy *p, int (*next)(void *server, struct exchange **out), void *server)
{
    p->next = next;
    p->server = server;
    task_wake(&p->task, WAKE_START);
}

void proxy_stop(struct proxy *p)
{
    for (unsigned i = 0; i < PROXY_MAX; i++) {
        if (p->now[i].down) {
            over(&p->now[i], -ERR_CANCELLED);
        }
        h1_client_free(p->now[i].client);
        p->now[i].client = NULL;
    }
    task_fini(&p->task);
}
