/* SPDX-License-Identifier: Apache-2.0 */
#include "waypoint/opening.h"

#include "base/mem.h"
#include "io/prefixed_stream.h"
#include "waypoint/passage.h"
#include "waypoint/session.h"
#include "waypoint/sniff.h"

enum {
    HTTP_FIRST_MS = 60000,
    DRAIN_FIRST_MS = 1000, /* a request that is on its way when we drain is still answered */
    READ_BYTES = 4096
};

struct opening {
    struct entry entry;
    struct task task;
    struct timer limit;
    struct stream *near;
    struct bytes seen;
    int abort;
};

static void release(struct opening *o)
{
    timer_clear(&o->limit);
    task_fini(&o->task);
    stream_close(o->near, -ERR_CANCELLED);
    bytes_fini(&o->seen);
}

static void give_up(struct opening *o, int why)
{
    struct stream *near = o->near;

    o->near = NULL;
    stream_close(near, why);
    release(o);
    entry_stop(&o->entry);
    mem_free(o);
}

/* Hands everything on; the entry is another object's from here. */
static void become(struct opening *o, enum sniffed what)
{
    struct stream *near = MOVE(o->near);
    struct entry facts = o->entry;

    stream_own(near, NULL);
    list_remove(&o->entry.in_engine);
    facts.engine->entry_count--;
    if (what != SNIFF_TCP) {
        session_open(&facts, near, &o->seen, what == SNIFF_H2);
    } else if (o->seen.len > 0) {
        passage_open(&facts, prefixed_stream_new(near, &o->seen));
    } else {
        passage_open(&facts, near);
    }
    release(o);
    mem_free(o);
}

static bool is_open_question(const struct opening *o)
{
    return o->entry.protocol == L7_UNKNOWN;
}

static enum sniffed judge(const struct opening *o, const char *p, size_t len)
{
    return is_open_question(o) ? sniff(p, len) : sniff_http(p, len);
}

/* What the stream lends is looked at and left where it is: most first messages come in one piece. */
static enum sniffed look(struct opening *o)
{
    struct iovec v;

    if (o->seen.len > 0 || !o->near->ops->peek || stream_peek(o->near, &v, 1) <= 0) {
        return SNIFF_MORE;
    }
    return judge(o, v.iov_base, v.iov_len);
}

/* 1 when something was read, 0 at the end of data, or an error. */
static int read_more(struct opening *o)
{
    uint8_t *room = bytes_reserve(&o->seen, READ_BYTES);
    ssize_t n = room ? stream_read(o->near, room, READ_BYTES) : -ERR_LIMIT;

    if (n <= 0) {
        return (int)n;
    }
    bytes_commit(&o->seen, (size_t)n);
    return 1;
}

static void run(struct task *t, unsigned why)
{
    struct opening *o = container_of(t, struct opening, task);
    enum sniffed what = SNIFF_MORE;
    int r = 1;

    (void)why; /* every wake is a hint */
    if (o->abort < 0) {
        give_up(o, o->abort);
        return;
    }
    while (what == SNIFF_MORE && r == 1) {
        what = look(o);
        if (what == SNIFF_MORE) {
            r = read_more(o);
            what = r == 1 ? judge(o, (const char *)bytes_peek(&o->seen), o->seen.len) : SNIFF_MORE;
        }
    }
    if (what == SNIFF_MORE && r == -EAGAIN && !timer_is_due(&o->limit)) {
        return;
    }
    if (what != SNIFF_MORE) {
        become(o, what);
    } else if (is_open_question(o) && (r == 0 || r == -EAGAIN)) {
        become(o, SNIFF_TCP); /* nothing comes, or what came is no request: the server's turn */
    } else {
        int late = o->entry.engine->draining ? -ERR_DRAINED : -ERR_DEADLINE;
        give_up(o, r == -EAGAIN ? late : r);
    }
}

/* ---- as the engine sees it */

static void entry_abort(struct entry *e, int why)
{
    struct opening *o = container_of(e, struct opening, entry);

    o->abort = surely_negative(why);
    task_wake(&o->task, WAKE_DRAIN);
}

static void set_limit(struct opening *o)
{
    const struct engine *e = o->entry.engine;
    uint64_t ms = is_open_question(o) ? e->config->sniff_ms
                  : e->draining       ? DRAIN_FIRST_MS
                                      : HTTP_FIRST_MS;

    timer_set(&o->limit, &o->task, ms);
}

static void entry_drain(struct entry *e)
{
    struct opening *o = container_of(e, struct opening, entry);

    if (!is_open_question(o)) {
        set_limit(o);
    }
}

/* What it would say first comes too late for us: see session.c. */
static void entry_leave(struct entry *e)
{
    if (!is_open_question(container_of(e, struct opening, entry)) && entry_is_unbound(e)) {
        entry_abort(e, -ERR_DRAINED);
    }
}

static bool entry_shed(struct entry *e)
{
    struct opening *o = container_of(e, struct opening, entry);

    if (o->seen.len == 0 || o->abort < 0) {
        return false;
    }
    entry_abort(e, -ENOMEM);
    return true;
}

static unsigned entry_reconsider(struct entry *e)
{
    (void)e;
    return 0; /* judged once it is known what it carries */
}

static void entry_account(struct entry *e)
{
    (void)e; /* nothing has passed */
}

static const struct entry_ops opening_ops = {.drain = entry_drain,
                                             .leave = entry_leave,
                                             .abort = entry_abort,
                                             .reconsider = entry_reconsider,
                                             .account = entry_account,
                                             .shed = entry_shed};

void opening_start(const struct entry *take_facts, struct stream *take_near)
{
    struct opening *o = mem_new(struct opening);

    entry_start(&o->entry, take_facts, &opening_ops);
    task_init(&o->task, o->entry.engine->loop, "opening", run);
    bytes_init(&o->seen, SNIFF_BYTES_MAX + READ_BYTES);
    o->near = take_near;
    stream_own(take_near, &o->task);
    set_limit(o);
    task_wake(&o->task, WAKE_START);
}
