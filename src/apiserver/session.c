/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "apiserver/serve.h"
#include "apiserver/session_int.h"
#include "apiserver/store.h"
#include "apiserver/watch.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"

enum { STEPS_A_RUN = 16, HEADERS_MAX = 64, REST_BYTES = SERVE_WATCH_BYTES + API_BODY_BYTES + 4096 };

enum session_step {
    SESSION_BODY,    /* the request's body is being read */
    SESSION_ASKED,   /* another loop has been asked */
    SESSION_DURABLE, /* the answer rests on a version that is not on the disk yet */
    SESSION_STREAM,  /* a watch: events go out as they come */
};

static const struct {
    const char *name;
    unsigned may_go;
    unsigned
        limit_ms; /* 0: others watch over it (the exchange's stall limits, the watch's timeout) */
} steps[] = {
    [SESSION_BODY] = {"body", BIT(SESSION_DURABLE) | BIT(SESSION_ASKED), 0},
    [SESSION_ASKED] = {"asked", BIT(SESSION_DURABLE), SERVE_ASK_MS},
    [SESSION_DURABLE] = {"durable", BIT(SESSION_STREAM), SERVE_DURABLE_MS},
    [SESSION_STREAM] = {"stream", 0, 0},
};

struct session {
    struct list node;
    struct task task;
    struct timer timer;
    struct store_waiter waiter;
    struct serve *serve;
    struct exchange *x;
    struct bytes body;
    struct api_response out;
    char *user;            /* whose it is, once it has been judged */
    struct extra_ask *ask; /* SESSION_ASKED */
    struct strbuf pending; /* SESSION_STREAM: events, written from sent on */
    size_t sent;
    bool ending; /* SESSION_STREAM: the watch is over, pending is the last */
    enum session_step step;
};

static void enter(struct session *s, enum session_step next)
{
    assert(steps[s->step].may_go & BIT(next));
    s->step = next;
    timer_clear(&s->timer);
    if (steps[next].limit_ms > 0) {
        timer_set(&s->timer, &s->task, steps[next].limit_ms);
    }
}

static void session_free(struct session *s)
{
    list_remove(&s->node);
    extra_ask_abandon(s->ask);
    store_unwait(&s->waiter);
    timer_clear(&s->timer);
    task_fini(&s->task);
    bytes_fini(&s->body);
    strbuf_fini(&s->pending);
    api_response_fini(&s->out);
    mem_free(s->user);
    mem_free(s);
}

/* ---- the answer's head */

/* RFC 9111 5.5: a quoted text; what cannot stand in a field is left out. */
static void add_warning(struct message *head, const char *text)
{
    AUTO(strbuf) struct strbuf value = {0};

    strbuf_puts(&value, "299 - \"");
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            strbuf_putc(&value, '\\');
        }
        if ((unsigned char)*c >= ' ' && *c != 0x7f) {
            strbuf_putc(&value, *c);
        }
    }
    strbuf_putc(&value, '"');
    message_puts(head, "warning", strbuf_text(&value));
}

static void make_head(const struct api_response *out, struct message *head)
{
    head->status = out->status;
    if (out->content_type) {
        message_puts(head, "content-type", out->content_type);
    }
    message_puts(head, "cache-control", "no-cache, private");
    if (out->etag[0] != '\0') {
        message_puts(head, "etag", out->etag);
        message_puts(head, "vary", "Accept");
    }
    if (out->retry_after_s > 0) {
        message_put_u64(head, "retry-after", out->retry_after_s);
    }
    for (size_t i = 0; i < out->warning_count; i++) {
        add_warning(head, out->warnings[i]);
    }
}

/* ---- steps: 0 = go on with the next one, -EAGAIN = wait, others = the session is over */

static void handle(struct session *s)
{
    struct message *in = &s->x->in;
    struct api_header headers[HEADERS_MAX];
    struct api_request rq = {
        .method = message_get(in, MESSAGE_METHOD),
        .target = message_get(in, MESSAGE_PATH),
        .headers = headers,
        .body = {(const char *)bytes_peek(&s->body), s->body.len},
        .user = serve_find_user(s->serve, in),
        .now_ns = clock_wall_ns(),
    };

    for (unsigned i = 0; i < in->count && rq.header_count < HEADERS_MAX; i++) {
        struct message_field f = message_field(in, i);
        headers[rq.header_count++] = (struct api_header){f.name, f.value};
    }
    s->user = mem_strdup(rq.user->name);
    api_handle(serve_api(s->serve), &rq, &s->out);
}

/* What is no object. The ask, or NULL: it was refused. */
static struct extra_ask *ask_other(struct session *s)
{
    const struct message *in = &s->x->in;
    const struct api_user *user = serve_find_user(s->serve, in);
    struct list *all = serve_asks(s->serve);
    struct api *api = serve_api(s->serve);
    unsigned count = 0;

    list_for_each (n, all) {
        count++;
    }
    if (user->is_anonymous) {
        api_refuse(api, 401, "Unauthorized", &s->out);
    } else if (!user->is_admin) {
        api_refuse(api, 403, "only administrators may ask for this", &s->out);
    } else if (!slice_is(message_get(in, MESSAGE_METHOD), "GET")) {
        api_refuse(api, 400, "this can only be read", &s->out);
    } else if (count >= EXTRA_ASKS_MAX) {
        api_refuse(api, 429, "too many such questions at once", &s->out);
        s->out.retry_after_s = 1;
    } else {
        return extra_ask_new(serve_get_extra(s->serve), message_get(in, MESSAGE_PATH), all,
                             serve_loop(s->serve), &s->task);
    }
    return NULL;
}

static int step_asked(struct session *s)
{
    AUTO(strbuf) struct strbuf text = {0};
    unsigned status = 504;

    if (extra_ask_is_done(s->ask)) {
        status = extra_ask_take(s->ask, &text);
        s->ask = NULL;
    } else if (!timer_is_due(&s->timer)) {
        return -EAGAIN;
    }
    if (status == 200) {
        s->out.status = status;
        s->out.content_type = "application/json";
        s->out.body = text;
        text = (struct strbuf){0};
    } else {
        api_refuse(serve_api(s->serve), status,
                   status == 413   ? "the answer is too large: ask for one namespace"
                   : status == 504 ? "the control plane did not answer in time"
                                   : strbuf_text(&text),
                   &s->out);
    }
    enter(s, SESSION_DURABLE);
    return 0;
}

static int step_body(struct session *s)
{
    int r = exchange_read_whole(s->x, &s->body);

    if (r == -ERR_TOO_LARGE) {
        api_refuse_large(serve_api(s->serve), &s->out);
    } else if (r < 0) {
        return r;
    } else if (extra_owns(serve_get_extra(s->serve), message_get(&s->x->in, MESSAGE_PATH))) {
        s->ask = ask_other(s);
    } else {
        handle(s);
    }
    enter(s, s->ask ? SESSION_ASKED : SESSION_DURABLE);
    return 0;
}

static int reply(struct session *s)
{
    AUTO(message) struct message head = {0};

    make_head(&s->out, &head);
    exchange_reply(serve_loop(s->serve), MOVE(s->x), &head, &s->out.body);
    return -ERR_DRAINED; /* the session has nothing more to do */
}

static int step_durable(struct session *s)
{
    bool durable = store_durable(api_store(serve_api(s->serve))) >= s->out.rests_on;

    if (!durable && !timer_is_due(&s->timer)) {
        return -EAGAIN;
    }
    if (!durable) {
        api_refuse_late(serve_api(s->serve), &s->out);
    }
    if (!s->out.watch) {
        return reply(s);
    }
    AUTO(message) struct message head = {0};
    make_head(&s->out, &head);
    int r = exchange_send(s->x, &head);
    if (r == 0) {
        enter(s, SESSION_STREAM);
    }
    return r;
}

/* Writes what is pending. 0: all of it is gone. */
static int write_pending(struct session *s)
{
    while (s->sent < s->pending.len) {
        ssize_t n = stream_write(&s->x->s, s->pending.p + s->sent, s->pending.len - s->sent);
        if (n < 0) {
            return (int)n;
        }
        s->sent += (size_t)n;
    }
    strbuf_clear(&s->pending);
    s->sent = 0;
    return stream_flush(&s->x->s);
}

static void set_due(struct session *s)
{
    uint64_t now = clock_wall_ns();
    uint64_t due = watch_due_ns(s->out.watch);

    timer_set(&s->timer, &s->task, due > now ? (due - now) / 1000000u + 1 : 1);
}

static int step_stream(struct session *s)
{
    int r = write_pending(s);

    if (r < 0) {
        return r;
    }
    if (s->ending) {
        r = stream_shut(&s->x->s);
        return r < 0 ? r : -ERR_DRAINED;
    }
    r = watch_next(s->out.watch, clock_wall_ns(), SERVE_WATCH_BYTES, &s->pending);
    if (r == -EAGAIN) {
        set_due(s);
        return r;
    }
    s->ending = r == 0;
    return 0;
}

static int step(struct session *s)
{
    switch (s->step) {
    case SESSION_BODY:
        return step_body(s);
    case SESSION_ASKED:
        return step_asked(s);
    case SESSION_DURABLE:
        return step_durable(s);
    case SESSION_STREAM:
        return step_stream(s);
    }
    return -EINVAL;
}

static void run(struct task *t, unsigned why)
{
    struct session *s = container_of(t, struct session, task);
    int r = 0;

    (void)why; /* the step tells */
    for (int n = 0; r == 0 && n < STEPS_A_RUN; n++) {
        r = step(s);
    }
    if (r == 0) {
        task_wake(t, WAKE_IO); /* others first */
    } else if (r != -EAGAIN) {
        exchange_close(MOVE(s->x), r == -ERR_DRAINED ? 0 : r);
        session_free(s);
    }
}

void session_start(struct serve *serve, struct list *sessions, struct exchange *take_x)
{
    struct session *s = mem_new(struct session);
    struct loop *l = serve_loop(serve);

    s->serve = serve;
    s->x = take_x;
    s->pending.limit = REST_BYTES;
    bytes_init(&s->body, API_BODY_BYTES);
    task_init(&s->task, l, "api session", run);
    store_wait(api_store(serve_api(serve)), &s->waiter, &s->task);
    list_append(sessions, &s->node);
    stream_own(&s->x->s, &s->task);
    task_wake(&s->task, WAKE_START);
}

void session_end_watches_of(struct list *sessions, const char *user)
{
    list_for_each_safe (n, sessions) {
        struct session *s = container_of(n, struct session, node);
        if (s->out.watch && strcmp(s->user, user) == 0) {
            exchange_close(MOVE(s->x), -ERR_DENIED);
            session_free(s);
        }
    }
}

void session_end_all(struct list *sessions)
{
    struct list *n = NULL;

    while ((n = list_take_first(sessions)) != NULL) {
        struct session *s = container_of(n, struct session, node);
        exchange_close(MOVE(s->x), -ERR_DRAINED);
        session_free(s);
    }
}
