/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/session.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/prefixed_stream.h"
#include "waypoint/request.h"

enum {
    HEAD_BYTES = 60 << 10,
    HEADER_MS = 60000,
    HEAD_GRACE_MS = 20000,
    IDLE_MS = 3600 * 1000,
    STALL_MS = 300000,
    WRITE_STALL_MS = 60000,
    STREAMS = 100,
    H2_SHED_MS = 1000 /* the streams of a session go with a head that does not get on */
};

static struct log_scope scope = LOG_SCOPE("http");

static const struct h1_limits h1_limits = {.head_bytes = HEAD_BYTES,
                                           .body_bytes = H1_BODY_UNLIMITED,
                                           .header_ms = HEADER_MS,
                                           .head_grace_ms = HEAD_GRACE_MS,
                                           .idle_ms = IDLE_MS,
                                           .body_stall_ms = STALL_MS,
                                           .write_stall_ms = WRITE_STALL_MS,
                                           .requests = H1_REQUESTS_UNLIMITED,
                                           .refuse_http10 = true,
                                           .continue_by_owner = true,
                                           .shows_refusals = true,
                                           .websocket = true};
static const struct h2_options h2_options = {.header_list_bytes = HEAD_BYTES,
                                             .streams_max = STREAMS,
                                             .idle_ms = IDLE_MS,
                                             .head_ms = HEADER_MS,
                                             .head_grace_ms = HEAD_GRACE_MS,
                                             .write_stall_ms = WRITE_STALL_MS,
                                             .continue_by_owner = true,
                                             .shows_refusals = true,
                                             .websocket = true};

struct held *held_ref(struct held *h)
{
    if (h) {
        h->users++;
    }
    return h;
}

void held_unref(struct held *h)
{
    if (h && --h->users == 0) {
        l7_service_unref(h->bound);
        mem_free(h);
    }
}

struct held *session_held(struct session *s)
{
    const struct l7 *l7 = engine_l7(s->entry.engine);
    uint64_t generation = l7 ? l7_generation(l7) : 0;

    if (!s->held || s->held->generation != generation) {
        held_unref(s->held);
        s->held = mem_new(struct held);
        s->held->users = 1;
        s->held->generation = generation;
        s->held->bound = l7_service_ref(entry_bound(&s->entry));
        (void)entry_judges(&s->entry); /* notes what its requests are let in by */
        s->held->port =
            s->held->bound ? l7_service_port(s->held->bound, s->entry.destination.port) : NULL;
    }
    return s->held;
}

static void session_free(struct session *s)
{
    task_fini(&s->task);
    h1_server_free(s->h1);
    h2_session_free(s->h2);
    held_unref(s->held);
    workload_unref(s->series_dst);
    entry_stop(&s->entry);
    mem_free(s);
}

static int next(struct session *s, struct exchange **out)
{
    return s->h1 ? h1_server_next(s->h1, out) : h2_session_next(s->h2, out);
}

static void note_refusals(struct session *s)
{
    for (;;) {
        AUTO(refusal)
        struct refusal *r = s->h1 ? h1_server_refusal(s->h1) : h2_session_refusal(s->h2);
        if (!r) {
            return;
        }
        request_refused(s, r);
    }
}

static void note_end(struct session *s, int r)
{
    const struct diag *d = s->h1 ? h1_server_diag(s->h1) : h2_session_diag(s->h2);

    s->over = true;
    if (r < 0) {
        log_debug(&scope, "connection ended", F_DIAG(d));
    }
}

static void run(struct task *t, unsigned why)
{
    struct session *s = container_of(t, struct session, task);
    struct exchange *x = NULL;
    int r = 1;

    (void)why; /* every wake is a hint */
    while (!s->over && s->abort == 0 && r > 0) {
        note_refusals(s);
        r = next(s, &x);
        if (r > 0) {
            s->served++;
            request_open(s, x);
        } else if (r != -EAGAIN) {
            note_end(s, r);
        }
    }
    if (s->abort < 0 && !s->over) {
        /* Requests see their exchanges fail and end by themselves. */
        s->over = true;
        h1_server_free(MOVE(s->h1));
        h2_session_free(MOVE(s->h2));
        requests_abort(s, s->abort);
    }
    if (s->over && list_is_empty(&s->requests)) {
        session_free(s);
    }
}

void session_request_gone(struct session *s)
{
    if (s->over && list_is_empty(&s->requests)) {
        task_wake(&s->task, WAKE_CHILD);
    }
}

/* ---- as the engine sees it */

static struct session *of(struct entry *e)
{
    return container_of(e, struct session, entry);
}

static void entry_drain(struct entry *e)
{
    struct session *s = of(e);

    if (s->h1) {
        h1_server_drain(s->h1);
    } else if (s->h2) {
        h2_session_drain(s->h2);
    }
}

/* Once it is not bound any more, the next request would be answered that there is no such service, though
 * it is elsewhere: whoever finds the connection ended goes there. */
static void entry_leave(struct entry *e)
{
    entry_drain(e);
    if (of(e)->h1 && entry_is_unbound(e)) {
        h1_server_finish(of(e)->h1);
    }
}

static void entry_abort(struct entry *e, int why)
{
    struct session *s = of(e);

    if (why == -ERR_POLICY_CHANGED) { /* each of its requests is told, and who still asks */
        requests_deny(s);
        entry_drain(e);
        return;
    }
    s->abort = surely_negative(why);
    task_wake(&s->task, WAKE_DRAIN);
}

static unsigned entry_reconsider(struct entry *e)
{
    return requests_reconsider(of(e));
}

static void entry_account(struct entry *e)
{
    requests_look_at_clock(of(e));
}

static bool entry_shed(struct entry *e)
{
    struct session *s = of(e);

    return s->h1 ? h1_server_shed(s->h1) : s->h2 && h2_session_shed(s->h2, H2_SHED_MS);
}

static const struct entry_ops session_ops = {.drain = entry_drain,
                                             .leave = entry_leave,
                                             .abort = entry_abort,
                                             .reconsider = entry_reconsider,
                                             .account = entry_account,
                                             .shed = entry_shed};

static void start_h1(struct session *s, struct loop *l, struct stream *take_near,
                     struct bytes *take_seen)
{
    struct h1_limits limits = h1_limits;

    limits.head_rate = s->entry.engine->config->head_rate;
    limits.names = s->entry.engine->config->names;
    s->h1 = h1_server_new(l, take_near, &limits, &s->task);
    if (take_seen->len > 0) {
        h1_server_feed(s->h1, bytes_peek(take_seen), take_seen->len);
        bytes_fini(take_seen);
    }
}

static void start_h2(struct session *s, struct loop *l, struct stream *take_near,
                     struct bytes *take_seen)
{
    struct h2_options options = h2_options;

    options.head_rate = s->entry.engine->config->head_rate;
    options.names = s->entry.engine->config->names;
    if (take_seen->len > 0) {
        take_near = prefixed_stream_new(take_near, take_seen);
    }
    s->h2 = h2_server_new(l, take_near, &options, &s->task);
}

void session_open(const struct entry *take_facts, struct stream *take_near, struct bytes *take_seen,
                  bool h2)
{
    struct session *s = mem_new(struct session);
    struct loop *l = take_facts->engine->loop;

    entry_start(&s->entry, take_facts, &session_ops);
    task_init(&s->task, l, "session", run);
    list_init(&s->requests);
    if (h2) {
        start_h2(s, l, take_near, take_seen);
    } else {
        start_h1(s, l, take_near, take_seen);
    }
    if (s->entry.engine->draining || entry_was_left(&s->entry)) {
        entry_drain(&s->entry);
    }
    task_wake(&s->task, WAKE_START);
}
_Static_assert(sizeof(struct session) <= 312, "per-connection memory is a budget");
