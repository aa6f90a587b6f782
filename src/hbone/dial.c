/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "base/mem.h"
#include "hbone/pool_int.h"
#include "http/status.h"

static struct slice copy_text(char **at, struct slice from)
{
    struct slice out = {from.p ? *at : NULL, from.len};

    if (from.len > 0) {
        memcpy(*at, from.p, from.len);
        *at += from.len;
    }
    return out;
}

/* The head is kept for another try until the answer is here. */
static void keep_head(struct hbone_dial *d, const struct hbone_head *head)
{
    size_t len = head->authority.len + head->baggage.len + head->forwarded.len +
                 head->traceparent.len + head->network.len;
    char *at = mem_alloc(len + 1);

    d->text = at;
    d->head.authority = copy_text(&at, head->authority);
    d->head.baggage = copy_text(&at, head->baggage);
    d->head.forwarded = copy_text(&at, head->forwarded);
    d->head.traceparent = copy_text(&at, head->traceparent);
    d->head.network = copy_text(&at, head->network);
}

struct channel *dial_new(struct hbone_loop *home, const struct hbone_head *head,
                         struct budget *budget)
{
    struct channel *ch = channel_new(home, budget ? budget : home->budget);

    ch->step = CHANNEL_QUEUED;
    ch->dial = mem_new(struct hbone_dial);
    keep_head(ch->dial, head);
    return ch;
}

void dial_free(struct hbone_dial *d)
{
    if (d) {
        mem_free(d->text);
        mem_free(d);
    }
}

void dial_fail(struct channel *ch, int r, const char *what)
{
    ch->step = CHANNEL_OVER;
    ch->failure = FAIL(stream_why(&ch->s), r, "%s", what);
    channel_wake_reader(ch);
    channel_wake_writer(ch);
}

static uint64_t answer_due(const struct tunnel *t)
{
    return tunnel_now(t) + t->home->limits.response_ms;
}

void dial_ask(struct channel *ch, struct tunnel *t)
{
    int r = tunnel_put_connect(t, t->next_id, &ch->dial->head);

    if (r < 0) {
        dial_fail(ch, r, "the CONNECT is too long");
        return;
    }
    ch->step = CHANNEL_ASKED;
    channel_attach(ch, t, t->next_id);
    t->next_id += 2;
    ch->dial->due_ms = t->step == TUNNEL_OPEN ? answer_due(t) : 0;
    if (list_is_empty(&t->asked) && t->step == TUNNEL_OPEN) {
        tunnel_due(t, DUE_ANSWER, t->home->limits.response_ms);
    }
    list_append(&t->asked, &ch->in_list);
}

void dial_start_clocks(struct tunnel *t)
{
    list_for_each (node, &t->asked) {
        container_of(node, struct channel, in_list)->dial->due_ms = answer_due(t);
    }
    if (!list_is_empty(&t->asked)) {
        tunnel_due(t, DUE_ANSWER, t->home->limits.response_ms);
    }
}

void dial_check_clocks(struct tunnel *t)
{
    uint64_t now = tunnel_now(t);

    while (tunnel_is_alive(t) && !list_is_empty(&t->asked)) {
        struct channel *ch = container_of(t->asked.next, struct channel, in_list);

        if (ch->dial->due_ms > now) {
            tunnel_due(t, DUE_ANSWER, ch->dial->due_ms - now);
            return;
        }
        channel_reset(ch, RESET_CANCEL, -ERR_DEADLINE, "the peer does not answer CONNECT");
    }
}

/* After any status but 200 the recorded client cancels the stream and keeps the tunnel. */
static void status_refused(struct channel *ch, unsigned status)
{
    struct tunnel *t = ch->tunnel;

    ch->remote_ended = false; /* a refusal is no end of data */
    (void)diag_note(stream_why(&ch->s), -ERR_HTTP_STATUS, "http status: %u %s", status,
                    http_reason(status)); /* the code is known */
    tunnel_put(t, frame_put_reset(&t->out, ch->id, RESET_CANCEL));
    tunnel_remember(t, ch->id);
    channel_over(ch, -ERR_HTTP_STATUS);
}

void dial_answered(struct channel *ch, const struct headers *headers)
{
    struct hbone_dial *d = ch->dial;

    list_remove(&ch->in_list);
    d->pool = NULL;
    d->status = headers->status;
    if (d->status != 200) {
        status_refused(ch, d->status);
        return;
    }
    dial_free(MOVE(ch->dial));
    ch->opened = true;
    ch->step = CHANNEL_OPEN;
    channel_wake_reader(ch);
    channel_wake_writer(ch);
}

void dial_refused(struct channel *ch, int r, const char *what)
{
    struct hbone_dial *d = ch->dial;

    if (ch->step != CHANNEL_ASKED || !d->pool || ++d->attempts >= DIAL_ATTEMPTS_MAX) {
        (void)diag_note(stream_why(&ch->s), r, "%s", what); /* the code is known */
        channel_over(ch, r);
        return;
    }
    channel_home(ch)->stats.retries++;
    channel_detach(ch);
    ch->step = CHANNEL_QUEUED;
    pool_queue(d->pool, ch);
}

void dial_unqueue(struct channel *ch)
{
    list_remove(&ch->in_list);
    ch->dial->pool->waiting--;
}

struct stream *hbone_dial_once(struct hbone_loop *l, struct stream *secure,
                               const struct hbone_head *head, struct budget *budget)
{
    struct tunnel *t = tunnel_new(l, secure, HBONE_CLIENT, budget);
    struct channel *ch = dial_new(l, head, budget);

    dial_ask(ch, t);
    tunnel_maybe_finish(t); /* at once, if there was nothing to ask */
    return &ch->s;
}

int hbone_dial_ready(struct stream *s)
{
    struct channel *ch = channel_of(s);

    if (ch->opened) {
        return 0;
    }
    return ch->step == CHANNEL_OVER ? ch->failure : channel_wait_write(ch);
}

static const struct channel *dialled(const struct stream *s)
{
    assert(stream_is_channel(s));
    return container_of((struct stream *)(uintptr_t)s, struct channel, s);
}

unsigned hbone_dial_status(const struct stream *s)
{
    const struct channel *ch = dialled(s);

    return ch->opened ? 200 : ch->dial ? ch->dial->status : 0;
}
