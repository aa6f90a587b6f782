/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out takes one of two ways. Control frames and small DATA wait in the queue until the end
 * of the turn. Large DATA goes straight into memory of the secure stream, or through a slab where it
 * lends none; what was queued before goes first. The queue stays short: while the secure stream
 * refuses, channels are refused and nothing is read.
 */
#include <assert.h>

#include "base/mem.h"
#include "base/num.h"
#include "hbone/tunnel_wire_int.h"

void tunnel_put(struct tunnel *t, int r)
{
    if (r < 0) {
        t->pending = FAIL(&t->diag, -ENOMEM, "no memory for frames");
        task_wake(&t->task, WAKE_IO);
    } else {
        task_wake_late(&t->sender, WAKE_IO);
    }
}

/* The recorded order of settings (contract 2.15). A server raises the connection's window only once
 * the client has spoken. */
void tunnel_put_preface(struct tunnel *t)
{
    uint32_t window = budget_window(t->budget, t->home->limits.stream_window_bytes);
    bool client = t->role == HBONE_CLIENT;
    struct frame_pair pairs[] = {
        client
            ? (struct frame_pair){SETTING_ENABLE_PUSH, 0}
            : (struct frame_pair){SETTING_MAX_CONCURRENT_STREAMS, t->home->limits.server_streams},
        {SETTING_INITIAL_WINDOW_SIZE, window},
        {SETTING_MAX_FRAME_SIZE, t->home->limits.frame_bytes},
        {SETTING_MAX_HEADER_LIST_SIZE, client ? TUNNEL_CLIENT_LIST : TUNNEL_SERVER_LIST},
    };

    if (client) {
        tunnel_put(t, bytes_add(&t->out, frame_preface, FRAME_PREFACE_BYTES));
    }
    tunnel_put(t, frame_put_settings(&t->out, pairs, ARRAY_LEN(pairs)));
    t->window_sent = window;
    t->settings_out = true;
    if (client) {
        tunnel_grant(t);
    }
}

/* One SETTINGS at a time, so that an acknowledgement says which. */
void tunnel_adapt_window(struct tunnel *t)
{
    uint32_t window = budget_window(t->budget, t->home->limits.stream_window_bytes);

    if (t->settings_out || window == t->window_sent) {
        return;
    }
    struct frame_pair pair = {SETTING_INITIAL_WINDOW_SIZE, window};
    tunnel_put(t, frame_put_settings(&t->out, &pair, 1));
    t->window_sent = window;
    t->settings_out = true;
}

/* A header block in one HEADERS frame: what we send is far below any peer's frame size. */
static int put_block(struct tunnel *t, uint32_t id, uint8_t flags, const struct bytes *block)
{
    uint8_t head[FRAME_HEAD_BYTES];

    frame_head_put(head, (uint32_t)block->len, FRAME_HEADERS, (uint8_t)(flags | FRAME_END_HEADERS),
                   id);
    int r = bytes_add(&t->out, head, sizeof(head));
    return r < 0 ? r : bytes_add(&t->out, bytes_peek(block), block->len);
}

/* The first block after the peer cut our table must say that we have none (RFC 7541 4.2). */
static int open_block(struct tunnel *t, struct bytes *block)
{
    bytes_init(block, TUNNEL_HEAD_MAX);
    int r = t->peer.no_table_due ? hpack_put_no_table(block) : 0;
    if (r == 0) {
        t->peer.no_table_due = false;
    }
    return r;
}

int tunnel_put_connect(struct tunnel *t, uint32_t id, const struct hbone_head *head)
{
    struct bytes block;
    bool table_due = t->peer.no_table_due;
    int r = open_block(t, &block);

    r = r < 0 ? r : headers_put_connect(&block, head);
    if (r < 0) {
        t->peer.no_table_due = table_due;
    } else {
        tunnel_put(t, put_block(t, id, 0, &block));
    }
    bytes_fini(&block);
    return r;
}

void tunnel_put_answer(struct tunnel *t, uint32_t id, unsigned status, struct slice baggage,
                       bool end)
{
    struct bytes block;
    int r = open_block(t, &block);

    r = r < 0 ? r : headers_put_answer(&block, status, baggage);
    tunnel_put(t, r < 0 ? r : put_block(t, id, end ? FRAME_END_STREAM : 0, &block));
    bytes_fini(&block);
}

/* Notes whether the secure stream moves; one that stands still for too long is given up. */
static int note_progress(struct tunnel *t, int r)
{
    bool full = r == -EAGAIN;

    if (full != t->below_full) {
        t->below_full = full;
        t->stall_seen = full ? tunnel_gone(t) : 0;
        tunnel_due(t, DUE_STALL, full ? t->home->limits.stall_ms : 0);
    }
    return r;
}

static int push_queue(struct tunnel *t)
{
    while (t->out.len > 0) {
        ssize_t n = stream_write(t->below, bytes_peek(&t->out), t->out.len);

        if (n < 0) {
            return (int)n;
        }
        bytes_skip(&t->out, (size_t)n);
        t->sent += (size_t)n;
        t->flush_due = true;
        note_progress(t, 0);
    }
    t->out_data = 0;
    bytes_shrink(&t->out);
    return 0;
}

void tunnel_wake_blocked(struct tunnel *t)
{
    struct list *node;

    while ((node = list_take_first(&t->blocked)) != NULL) {
        channel_wake_writer(container_of(node, struct channel, in_list));
    }
}

void tunnel_charge(struct tunnel *t, size_t held)
{
    if (held > t->charged) {
        budget_charge(t->budget, held - t->charged);
    } else if (held < t->charged) {
        budget_release(t->budget, t->charged - held);
    }
    t->charged = held;
}

static int push_all(struct tunnel *t)
{
    int r = push_queue(t);

    if (r == 0 && t->flush_due) {
        r = stream_flush(t->below);
        t->flush_due = r != 0;
    }
    if (r == 0 || r == -EAGAIN) {
        note_progress(t, r);
        tunnel_charge(t, r == 0 ? 0 : t->out.room + stream_held(t->below));
    }
    return r;
}

int tunnel_push(struct tunnel *t)
{
    int r = push_all(t);

    if (r == 0 || r == -EAGAIN) {
        if (t->out.len <= TUNNEL_OUT_SOFT) {
            tunnel_wake_blocked(t);
        }
        if (t->rx_paused && t->out.len <= TUNNEL_OUT_SOFT) {
            t->rx_paused = false;
            task_wake(&t->task, WAKE_IO);
        }
    }
    return r;
}

/* A failure is dealt with in the tunnel's own run, and its end wakes who waits. */
static void broke(struct tunnel *t, int r)
{
    if (r < 0 && r != -EAGAIN) {
        t->pending = r;
        task_wake(&t->task, WAKE_IO);
    }
}

/* How much DATA memory allows: less as it grows short, like the windows of new streams, and in the end
 * only behind nothing else. Or what the secure stream answered. */
static int spare(struct tunnel *t)
{
    uint32_t most = budget_window(t->budget, TUNNEL_BATCH);
    int r = most <= BUDGET_WINDOW_MIN ? push_all(t) : 0;

    return r < 0 ? r : (int)most;
}

/* How much DATA flow control allows; 0: the channel is on a list, or waits for its own window. */
static size_t allowance(struct channel *ch, size_t want)
{
    struct tunnel *t = ch->tunnel;

    if (ch->send_window <= 0) {
        return 0;
    }
    if (t->send_window <= 0) {
        list_remove(&ch->in_list);
        list_append(&t->blocked, &ch->in_list);
        return 0;
    }
    return MIN_OF(want, (size_t)MIN_OF(ch->send_window, t->send_window));
}

/* The secure stream has refused. */
static int block(struct channel *ch, int r)
{
    broke(ch->tunnel, r);
    list_remove(&ch->in_list);
    list_append(&ch->tunnel->blocked, &ch->in_list);
    return channel_wait_write(ch);
}

/* Cuts lent room into frames: a head's place in front of each. How many, 0 if it is too narrow. */
static int cut_frames(struct lent *lent, const struct iovec *raw, int count, size_t allowed,
                      size_t frame_max)
{
    int n = 0;

    while (n < count && allowed > 0 && raw[n].iov_len > 2 * FRAME_HEAD_BYTES) {
        size_t room = raw[n].iov_len - FRAME_HEAD_BYTES;
        size_t len = MIN_OF(MIN_OF(room, allowed), frame_max);

        lent->v[n].iov_base = (uint8_t *)raw[n].iov_base + FRAME_HEAD_BYTES;
        lent->v[n].iov_len = len;
        allowed -= len;
        n++;
        if (len < room) {
            break; /* only the last piece may be filled in part */
        }
    }
    return n;
}

static int reserve_below(struct tunnel *t, struct lent *lent, int max, size_t allowed)
{
    struct iovec raw[TUNNEL_PIECES];
    size_t heads = (allowed / (FRAME_SIZE_DEFAULT - FRAME_HEAD_BYTES) + 1) * FRAME_HEAD_BYTES;
    int r = push_queue(t);

    if (r == 0) {
        r = stream_reserve(t->below, raw, MIN_OF(max, (int)TUNNEL_PIECES), allowed + heads);
    }
    if (r < 0) {
        return note_progress(t, r);
    }
    return cut_frames(lent, raw, r, allowed, t->peer.frame_size);
}

static int reserve_slab(struct tunnel *t, struct lent *lent, int max, size_t allowed)
{
    struct iovec raw[TUNNEL_BATCH / FRAME_SIZE_DEFAULT];
    int count = MIN_OF(max, (int)ARRAY_LEN(raw));

    if (t->out.len > TUNNEL_OUT_SOFT) {
        int r = note_progress(t, push_queue(t));
        if (r < 0) {
            return r;
        }
    }
    uint8_t *slab = hbone_loop_slab(t->home);
    for (int i = 0; i < count; i++) {
        raw[i] = (struct iovec){slab + i * FRAME_SIZE_DEFAULT, FRAME_SIZE_DEFAULT};
    }
    return cut_frames(lent, raw, count, allowed, t->peer.frame_size);
}

int tunnel_reserve(struct channel *ch, struct iovec *out, int max, size_t want)
{
    struct tunnel *t = ch->tunnel;
    struct lent *lent = &t->home->lent;
    size_t allowed = allowance(ch, want);
    int n = 0;

    if (allowed == 0) {
        return channel_wait_write(ch);
    }
    int most = spare(t);
    if (most < 0) {
        return block(ch, most);
    }
    allowed = MIN_OF(allowed, (size_t)most);
    *lent = (struct lent){.stream = ch};
    if (t->below->ops->reserve && want > TUNNEL_DIRECT_MIN) {
        n = reserve_below(t, lent, max, allowed);
        lent->below = n > 0;
    }
    if (n == 0) {
        n = reserve_slab(t, lent, max, allowed);
    }
    if (n < 0) {
        lent->stream = NULL;
        return block(ch, n);
    }
    lent->count = n;
    memcpy(out, lent->v, sizeof(*out) * (size_t)n);
    return n;
}

/* Writes the heads of the frames that len bytes of payload fill; the bytes they take in all. */
static size_t seal_frames(struct tunnel *t, struct lent *lent, uint32_t id, size_t len)
{
    size_t total = 0;

    for (int i = 0; i < lent->count && len > 0; i++) {
        size_t n = MIN_OF(len, lent->v[i].iov_len);

        frame_head_put((uint8_t *)lent->v[i].iov_base - FRAME_HEAD_BYTES, (uint32_t)n, FRAME_DATA,
                       0, id);
        glitch_earn(&t->glitches, GLITCH_SMALL_WINDOW);
        len -= n;
        total += n + FRAME_HEAD_BYTES;
    }
    assert(len == 0);
    return total;
}

/* What the secure stream does not take joins the queue: at most one batch. */
static void send_slab(struct tunnel *t, size_t total)
{
    const uint8_t *from = t->home->slab;
    int r = total > TUNNEL_SMALL ? push_queue(t) : -EAGAIN;

    while (r == 0 && total > 0) {
        ssize_t n = stream_write(t->below, from, total);

        if (n < 0) {
            r = note_progress(t, (int)n);
        } else {
            from += n;
            total -= (size_t)n;
            t->sent += (size_t)n;
            t->flush_due = true;
        }
    }
    broke(t, r);
    if (total > 0) {
        tunnel_put(t, bytes_add(&t->out, from, total));
        t->out_data += total;
    }
}

void tunnel_commit(struct channel *ch, size_t len)
{
    struct tunnel *t = ch->tunnel;
    struct lent *lent = &t->home->lent;

    assert(lent->stream == ch);
    size_t total = seal_frames(t, lent, ch->id, len);
    ch->send_window -= (int32_t)len;
    t->send_window -= (int32_t)len;
    lent->stream = NULL;
    if (lent->below) {
        stream_commit(t->below, total);
        t->sent += total;
        t->flush_due = true;
        note_progress(t, 0);
    } else {
        send_slab(t, total);
    }
    task_wake_late(&t->sender, WAKE_IO);
}
