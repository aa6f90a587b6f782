/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "base/mem.h"
#include "base/num.h"
#include "hbone/tunnel_wire_int.h"

static const struct stream_ops channel_ops;

bool stream_is_channel(const struct stream *s)
{
    return s->ops == &channel_ops;
}

struct channel *channel_of(struct stream *s)
{
    assert(stream_is_channel(s));
    return container_of(s, struct channel, s);
}

struct channel *channel_new(struct hbone_loop *home, struct budget *budget)
{
    struct channel *ch = mem_new(struct channel);

    ch->s.ops = &channel_ops;
    ch->body_left = -1;
    list_init(&ch->in_list);
    rx_queue_init(&ch->rx, &home->chunks, budget);
    return ch;
}

void channel_free(struct channel *ch)
{
    assert(!ch->tunnel);
    rx_queue_clear(&ch->rx);
    dial_free(ch->dial);
    stream_fini(&ch->s);
    mem_free(ch);
}

void channel_wake_reader(struct channel *ch)
{
    if (ch->wants_read) {
        ch->wants_read = false;
        stream_wake(&ch->s);
    }
}

void channel_wake_writer(struct channel *ch)
{
    if (ch->wants_write) {
        ch->wants_write = false;
        stream_wake(&ch->s);
    }
}

int channel_wait_write(struct channel *ch)
{
    ch->wants_write = true;
    return -EAGAIN;
}

void channel_detach(struct channel *ch)
{
    struct tunnel *t = ch->tunnel;

    list_remove(&ch->in_list);
    map_remove(&t->streams, &ch->in_tunnel);
    t->home->stats.streams--;
    if (t->rx_stream == ch) {
        t->rx_stream = NULL;
    }
    if (t->home->lent.stream == ch) {
        t->home->lent.stream = NULL;
    }
    ch->tunnel = NULL;
    if (t->watched) {
        tunnel_tell_user(t);
    }
    tunnel_maybe_finish(t);
}

void channel_over(struct channel *ch, int r)
{
    struct hbone_request *request = ch->step == CHANNEL_REQUEST ? MOVE(ch->request) : NULL;

    if (r < 0 && stream_diag(&ch->s)->code != r) {
        (void)diag_note(stream_why(&ch->s), r, "%s", err_text(r)); /* the code is known */
    }
    ch->failure = r;
    ch->step = CHANNEL_OVER;
    channel_detach(ch);
    if (request && request_over(request)) {
        return;
    }
    channel_wake_reader(ch);
    channel_wake_writer(ch);
}

static void maybe_over(struct channel *ch)
{
    if (ch->remote_ended && ch->local_ended) {
        channel_over(ch, 0);
    }
}

void channel_reset(struct channel *ch, enum reset_code code, int r, const char *what)
{
    struct tunnel *t = ch->tunnel;
    uint32_t id = ch->id;

    (void)diag_note(stream_why(&ch->s), r, "%s", what); /* the code is known */
    channel_over(ch, r);
    if (tunnel_is_alive(t)) {
        tunnel_refuse(t, id, code);
    }
}

void channel_remote_ended(struct channel *ch)
{
    if (ch->body_left > 0) {
        channel_reset(ch, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "content-length is wrong");
        return;
    }
    ch->remote_ended = true;
    channel_wake_reader(ch);
    maybe_over(ch);
}

/* A stream's credit returns only for what the next hop has taken, in lumps. */
void channel_credit(struct channel *ch, size_t taken)
{
    struct tunnel *t = ch->tunnel;

    ch->owed += (uint32_t)taken;
    if (!t || ch->remote_ended || ch->owed < t->window_acked / 4) {
        return;
    }
    tunnel_put(t, frame_put_window(&t->out, ch->id, ch->owed));
    ch->recv_window += (int32_t)ch->owed;
    ch->owed = 0;
}

/* Nothing is buffered: the end, the failure, or later. */
static int nothing_to_read(struct channel *ch)
{
    if (ch->remote_ended) {
        return 0;
    }
    if (ch->step == CHANNEL_OVER) {
        return ch->failure;
    }
    ch->wants_read = true;
    return -EAGAIN;
}

static ssize_t channel_read(struct stream *s, void *into, size_t room)
{
    struct channel *ch = channel_of(s);

    if (ch->rx.bytes == 0) {
        return nothing_to_read(ch);
    }
    size_t n = rx_queue_read(&ch->rx, into, room);
    channel_credit(ch, n);
    return (ssize_t)n;
}

static ssize_t channel_readv(struct stream *s, const struct iovec *into, int count)
{
    ssize_t sum = 0;

    for (int i = 0; i < count; i++) {
        ssize_t n = channel_read(s, into[i].iov_base, into[i].iov_len);

        if (n <= 0) {
            return sum > 0 ? sum : n;
        }
        sum += n;
        if (channel_of(s)->rx.bytes == 0) {
            break;
        }
    }
    return sum;
}

static int channel_peek(struct stream *s, struct iovec *out, int max)
{
    struct channel *ch = channel_of(s);

    return ch->rx.bytes > 0 ? rx_queue_peek(&ch->rx, out, max) : nothing_to_read(ch);
}

static void channel_skip(struct stream *s, size_t len)
{
    struct channel *ch = channel_of(s);

    rx_queue_skip(&ch->rx, len);
    channel_credit(ch, len);
}

/* May DATA be sent: 0, -EAGAIN, or never again. */
static int may_write(struct channel *ch)
{
    if (ch->local_ended) {
        return FAIL(stream_why(&ch->s), -EPIPE, "write after the end");
    }
    if (ch->step == CHANNEL_OVER) {
        return ch->failure;
    }
    return ch->step == CHANNEL_OPEN ? 0 : channel_wait_write(ch);
}

/* The peer has ended and takes no more. That is a failure only once there is more: whoever merely
 * waits for the end of a source asks for room, too. */
static bool is_spillway(const struct channel *ch)
{
    return ch->released && !ch->spilled && !ch->local_ended;
}

static int channel_reserve(struct stream *s, struct iovec *out, int max, size_t want)
{
    struct channel *ch = channel_of(s);

    if (is_spillway(ch)) {
        out[0] =
            (struct iovec){hbone_loop_slab(channel_home(ch)), MIN_OF(want, (size_t)TUNNEL_BATCH)};
        return 1;
    }
    int r = may_write(ch);
    return r < 0 ? r : tunnel_reserve(ch, out, max, want);
}

static void channel_commit(struct stream *s, size_t len)
{
    struct channel *ch = channel_of(s);

    if (ch->step == CHANNEL_OPEN) {
        tunnel_commit(ch, len);
    } else {
        ch->spilled = true;
    }
}

/* Copies as much of from as fits into room. */
static size_t gather(const struct iovec *room, int room_count, const struct iovec *from, int count)
{
    size_t done = 0;
    size_t at = 0; /* of the present source */
    size_t to = 0; /* of the present piece of room */

    while (room_count > 0 && count > 0) {
        size_t n = MIN_OF(room->iov_len - to, from->iov_len - at);

        memcpy((uint8_t *)room->iov_base + to, (const uint8_t *)from->iov_base + at, n);
        done += n;
        at += n;
        to += n;
        if (at == from->iov_len) {
            from++;
            count--;
            at = 0;
        }
        if (to == room->iov_len) {
            room++;
            room_count--;
            to = 0;
        }
    }
    return done;
}

static ssize_t channel_writev(struct stream *s, const struct iovec *from, int count)
{
    struct iovec room[TUNNEL_PIECES];
    size_t want = 0;

    for (int i = 0; i < count; i++) {
        want += from[i].iov_len;
    }
    int n = channel_reserve(s, room, TUNNEL_PIECES, want);
    if (n < 0) {
        return n;
    }
    size_t len = gather(room, n, from, count);
    channel_commit(s, len);
    return (ssize_t)len;
}

static ssize_t channel_write(struct stream *s, const void *from, size_t len)
{
    struct iovec one = {(void *)(uintptr_t)from, len};

    return channel_writev(s, &one, 1);
}

/* What was accepted is in the tunnel's hands, which sends it before the turn is over. */
static int channel_flush(struct stream *s)
{
    const struct channel *ch = channel_of(s);

    return ch->step == CHANNEL_OVER && !ch->local_ended && !is_spillway(ch) ? ch->failure : 0;
}

static int channel_shut(struct stream *s)
{
    struct channel *ch = channel_of(s);

    if (ch->local_ended || is_spillway(ch)) {
        return 0;
    }
    int r = may_write(ch);
    if (r < 0) {
        return r;
    }
    tunnel_put(ch->tunnel, frame_put_end(&ch->tunnel->out, ch->id));
    ch->local_ended = true;
    maybe_over(ch);
    return 0;
}

/* Says goodbye for a channel whose owner leaves. After a clean end of ours, RST_STREAM only asks the
 * peer to stop sending (RFC 9113 8.1). */
static void leave(struct channel *ch, int why)
{
    struct tunnel *t = ch->tunnel;
    uint32_t id = ch->id;
    bool clean = why == 0 && ch->step == CHANNEL_OPEN;

    if (clean && !ch->local_ended) {
        tunnel_put(t, frame_put_end(&t->out, id));
    }
    if (!clean || !ch->remote_ended) {
        enum reset_code code = clean && t->role == HBONE_SERVER ? RESET_NO_ERROR : RESET_CANCEL;
        tunnel_put(t, frame_put_reset(&t->out, id, code));
        tunnel_remember(t, id);
    }
    channel_detach(ch);
}

static void channel_close(struct stream *s, int why)
{
    struct channel *ch = channel_of(s);

    if (ch->tunnel) {
        leave(ch, why);
    } else if (ch->step == CHANNEL_QUEUED) {
        dial_unqueue(ch);
    }
    channel_free(ch);
}

/* Whoever becomes the owner tries first. */
static void channel_owned(struct stream *s)
{
    struct channel *ch = channel_of(s);

    ch->wants_read = false;
    ch->wants_write = false;
}

static const struct stream_ops channel_ops = {
    .name = "tunnel stream",
    .read = channel_read,
    .write = channel_write,
    .flush = channel_flush,
    .shut = channel_shut,
    .close = channel_close,
    .owned = channel_owned,
    .readv = channel_readv,
    .writev = channel_writev,
    .peek = channel_peek,
    .skip = channel_skip,
    .reserve = channel_reserve,
    .commit = channel_commit,
};
_Static_assert(sizeof(struct channel) <= 152, "per-connection memory is a budget");
