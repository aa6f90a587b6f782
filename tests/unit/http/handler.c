/* SPDX-License-Identifier: Apache-2.0 */
#include "handler.h"

#include <string.h>

char big_byte(size_t i)
{
    return (char)('a' + i * 7 % 26 + i / 1000 % 3 - (i * 7 % 26 > 22 ? 4 : 0));
}

static void done(struct handling *g, int why)
{
    task_fini(&g->task);
    exchange_close(g->x, why);
    g->x = NULL;
    bytes_fini(&g->body);
    task_wake(&g->in->task, WAKE_CHILD); /* a place is free */
    if (why < 0) {
        g->in->failure = why;
    }
}

static void hand_over(struct handling *g, unsigned status, struct strbuf *body)
{
    AUTO(message) struct message head = {.status = status};

    message_puts(&head, "content-type", "text/plain");
    task_fini(&g->task);
    exchange_reply(g->in->loop, MOVE(g->x), &head, body);
    bytes_fini(&g->body);
    task_wake(&g->in->task, WAKE_CHILD);
}

static void add_slice(struct strbuf *b, struct slice s)
{
    strbuf_add(b, s.p, s.len);
}

static int do_echo(struct handling *g)
{
    int r = exchange_read_whole(g->x, &g->body);
    struct strbuf text = {0};

    if (r == -EAGAIN) {
        return r;
    }
    if (r < 0) {
        g->in->failure = r;
        strbuf_puts(&text, err_name(r));
        hand_over(g, r == -ERR_TOO_LARGE ? 413 : 400, &text);
        return 0;
    }
    add_slice(&text, message_get(&g->x->in, MESSAGE_METHOD));
    strbuf_putc(&text, ' ');
    add_slice(&text, message_get(&g->x->in, MESSAGE_PATH));
    strbuf_putc(&text, ' ');
    strbuf_add(&text, bytes_peek(&g->body), g->body.len);
    struct slice sum;
    if (message_find(&g->x->in_trailers, "x-sum", &sum)) {
        strbuf_puts(&text, " sum=");
        add_slice(&text, sum);
    }
    hand_over(g, 200, &text);
    return 0;
}

static int send_head(struct handling *g, const char *name, const char *value)
{
    AUTO(message) struct message head = {.status = 200};

    message_puts(&head, name, value);
    return exchange_send(g->x, &head);
}

static int put(struct handling *g, const char *text)
{
    size_t len = strlen(text);

    while (g->at < len) {
        ssize_t n = stream_write(&g->x->s, text + g->at, len - g->at);
        if (n < 0) {
            return (int)n;
        }
        g->at += (size_t)n;
    }
    int r = stream_flush(&g->x->s);
    if (r == 0) {
        g->at = 0;
    }
    return r;
}

static int do_stream(struct handling *g)
{
    static const char *const pieces[] = {"one", "two", "three"};
    AUTO(message) struct message trailers = {0};
    int r = 0;

    if (g->phase == 0) {
        r = send_head(g, "x-kind", "stream");
        g->phase = 1;
    }
    while (r == 0 && g->phase <= 3) {
        r = put(g, pieces[g->phase - 1]);
        g->phase += r == 0;
    }
    if (r < 0) {
        return r;
    }
    message_puts(&trailers, "x-sum", "11");
    r = exchange_finish(g->x, &trailers);
    if (r == 0) {
        done(g, 0);
    }
    return r;
}

static int do_watch(struct handling *g)
{
    int r = 0;

    if (g->phase == 0) {
        r = send_head(g, "x-kind", "watch");
        g->phase = 1;
    }
    if (r == 0 && g->phase == 1) {
        r = stream_flush(&g->x->s);
        g->phase += r == 0;
    }
    if (r == 0 && g->phase == 2) {
        r = put(g, "line\n");
        g->phase += r == 0;
    }
    if (r == 0 && g->in->finish) {
        r = stream_shut(&g->x->s);
        if (r == 0) {
            done(g, 0);
        }
        return r;
    }
    if (r == 0) {
        r = stream_flush(&g->x->s); /* the only way a silent watch learns of its client's end */
    }
    return r < 0 ? r : -EAGAIN;
}

static int do_short(struct handling *g)
{
    int r = g->phase == 0 ? send_head(g, "content-length", "9") : 0;

    g->phase = 1;
    r = r < 0 ? r : put(g, "abc");
    r = r < 0 ? r : stream_shut(&g->x->s);
    return r;
}

static int do_big(struct handling *g)
{
    struct strbuf text = {0};

    for (size_t i = 0; i < BIG_BYTES; i++) {
        strbuf_putc(&text, big_byte(i));
    }
    g->in->bigs++;
    hand_over(g, 200, &text);
    return 0;
}

static int do_status(struct handling *g, unsigned status)
{
    struct strbuf text = {0};

    hand_over(g, status, &text);
    return 0;
}

static int handle(struct handling *g)
{
    struct slice path;
    struct slice query;

    message_target(&g->x->in, &path, &query);
    if (slice_is(path, "/echo")) {
        return do_echo(g);
    }
    if (slice_is(path, "/stream")) {
        return do_stream(g);
    }
    if (slice_is(path, "/watch")) {
        return do_watch(g);
    }
    if (slice_is(path, "/short")) {
        return do_short(g);
    }
    if (slice_is(path, "/big")) {
        return do_big(g);
    }
    if (slice_is(path, "/split")) {
        int r = g->phase++ == 0 ? send_head(g, "x-bad", "a\r\nb: c") : 0;
        return r < 0 ? r : -EAGAIN;
    }
    if (slice_is(path, "/drop")) {
        return -ERR_UNAVAILABLE;
    }
    return do_status(g, slice_is(path, "/none") ? 204 : slice_is(path, "/early") ? 200 : 404);
}

static void run_one(struct task *t, unsigned why)
{
    struct handling *g = container_of(t, struct handling, task);
    int r = handle(g);

    (void)why;
    if (r < 0 && r != -EAGAIN) {
        done(g, r);
    }
}

static struct handling *free_place(struct handler *h)
{
    for (unsigned i = 0; i < HANDLER_MAX; i++) {
        if (!h->now[i].x) {
            return &h->now[i];
        }
    }
    return NULL;
}

static void run(struct task *t, unsigned why)
{
    struct handler *h = container_of(t, struct handler, task);
    struct handling *g;

    (void)why;
    while (!h->over && (g = free_place(h)) && h->next) {
        struct exchange *x = NULL;
        int r = h->next(h->server, &x);
        if (r != 1) {
            h->over = r != -EAGAIN;
            h->result = r;
            return;
        }
        *g = (struct handling){.in = h, .x = x};
        bytes_init(&g->body, 1 << 20);
        task_init(&g->task, h->loop, "handling", run_one);
        stream_own(&x->s, &g->task);
        task_wake(&g->task, WAKE_START);
        h->requests++;
    }
}

void handler_start(struct handler *h, struct loop *l)
{
    *h = (struct handler){.loop = l};
    task_init(&h->task, l, "handler", run);
}

void handler_serve(struct handler *h, int (*next)(void *server, struct exchange **out),
                   void *server)
{
    h->next = next;
    h->server = server;
    task_wake(&h->task, WAKE_START);
}

void handler_finish(struct handler *h)
{
    h->finish = true;
    for (unsigned i = 0; i < HANDLER_MAX; i++) {
        if (h->now[i].x) {
            task_wake(&h->now[i].task, WAKE_IO);
        }
    }
}

void handler_stop(struct handler *h)
{
    for (unsigned i = 0; i < HANDLER_MAX; i++) {
        if (h->now[i].x) {
            done(&h->now[i], -ERR_CANCELLED);
        }
    }
    task_fini(&h->task);
}
