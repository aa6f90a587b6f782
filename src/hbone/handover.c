/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/handover.h"

#include <assert.h>

#include "base/mem.h"
#include "base/num.h"
#include "hbone/blob_int.h"
#include "hbone/pool_int.h"
#include "hbone/server_int.h"
#include "hbone/tunnel_wire_int.h"

static void put_queue(struct bytes *out, int *r, const struct rx_queue *q)
{
    struct rx_cursor at;
    struct iovec v;

    blob_put_u32(out, r, (uint32_t)q->bytes);
    for (bool more = rx_queue_first(q, &at, &v); more; more = rx_queue_next(q, &at, &v)) {
        blob_put(out, r, v.iov_base, v.iov_len);
    }
}

static void put_channel(struct bytes *out, int *r, const struct channel *ch)
{
    blob_put_u32(out, r, ch->id);
    blob_put_u32(out, r, ch->step);
    blob_put_u32(out, r, (uint32_t)ch->send_window);
    blob_put_u32(out, r, (uint32_t)ch->recv_window);
    blob_put_u32(out, r, ch->owed);
    blob_put_u64(out, r, (uint64_t)ch->body_left);
    blob_put_u32(out, r, (uint32_t)ch->failure);
    blob_put_text(out, r, stream_diag(&ch->s)->text);
    blob_put_u32(out, r, ch->remote_ended);
    blob_put_u32(out, r, ch->local_ended);
    blob_put_u32(out, r, ch->released);
    blob_put_u32(out, r, ch->spilled);
    put_queue(out, r, &ch->rx);
    blob_put_u32(out, r, ch->opened);
    blob_put_u32(out, r, ch->dial ? 1 : 0);
    blob_put_u32(out, r, ch->dial ? ch->dial->status : 0);
}

/* A dial that waits for its answer, or has failed with it. Its head is not needed any more:
 * another tunnel is not tried. */
static void get_dial(struct blob *b, struct channel *ch)
{
    bool there = blob_get_bool(b);
    uint32_t status = blob_get_u32(b);

    if (there && !b->bad) {
        ch->dial = mem_new(struct hbone_dial);
        ch->dial->status = status;
    }
}

static int get_queue(struct blob *b, struct channel *ch)
{
    struct slice s = blob_get_bytes(b, BLOB_BUFFERED_MAX);
    size_t at = 0;

    while (at < s.len) { /* in portions that a slow reader gives back one by one */
        size_t n = MIN_OF(s.len - at, (size_t)FRAME_SIZE_DEFAULT);

        if (rx_queue_add_copy(&ch->rx, (const uint8_t *)s.p + at, n) < 0) {
            return -ENOMEM;
        }
        at += n;
    }
    return 0;
}

/* The states that channel.c can have reached. */
static bool is_sane_attached(const struct channel *ch)
{
    bool opened = ch->step == CHANNEL_OPEN;
    bool asked = ch->step == CHANNEL_ASKED && ch->dial && !ch->remote_ended && !ch->local_ended;
    int64_t promised = (int64_t)ch->recv_window + ch->owed + (int64_t)ch->rx.bytes;

    return (opened || asked) && promised <= FRAME_WINDOW_MAX && ch->failure == 0 && ch->id != 0 &&
           ch->id <= FRAME_ID_MAX && !ch->released && !(ch->remote_ended && ch->local_ended);
}

static bool is_sane_alone(const struct channel *ch)
{
    bool failed = ch->failure < 0 && (ch->remote_ended || !ch->released);
    bool ended = ch->failure == 0 && ch->remote_ended && ch->local_ended;

    return ch->step == CHANNEL_OVER && (failed || ended);
}

/* The fields in put_channel's order. */
static int get_channel(struct blob *b, struct channel *ch)
{
    ch->id = blob_get_u32(b);
    ch->step = (uint8_t)blob_get_u32(b);
    ch->send_window = (int32_t)blob_get_u32(b);
    ch->recv_window = (int32_t)blob_get_u32(b);
    ch->owed = blob_get_u32(b);
    ch->body_left = (int64_t)blob_get_u64(b);
    ch->failure = (int)blob_get_u32(b);
    AUTO(text) char *why = blob_get_text(b);
    if (ch->failure < 0) {
        (void)diag_note(stream_why(&ch->s), ch->failure, "%s",
                        why ? why : ""); /* the code is known */
    }
    ch->remote_ended = blob_get_bool(b);
    ch->local_ended = blob_get_bool(b);
    ch->released = blob_get_bool(b);
    ch->spilled = blob_get_bool(b);
    int r = get_queue(b, ch);
    ch->opened = blob_get_bool(b);
    get_dial(b, ch);
    return r < 0 ? r : b->bad ? -ERR_SYNTAX : 0;
}

uint32_t hbone_stream_id(const struct stream *s)
{
    const struct channel *ch = channel_of((struct stream *)(uintptr_t)s);

    return ch->tunnel ? ch->id : 0;
}

int hbone_stream_export(struct stream *s, struct bytes *out)
{
    struct channel *ch = channel_of(s);
    size_t before = out->len;
    int r = ch->step == CHANNEL_OVER ? 0 : -EAGAIN;

    blob_put_version(out, &r);
    put_channel(out, &r, ch);
    if (r < 0) {
        out->len = before;
        return r;
    }
    channel_free(ch);
    return 0;
}

int hbone_stream_import(struct hbone_loop *l, const void *blob, size_t len, struct budget *budget,
                        struct stream **out)
{
    struct blob b = {blob, len, false};
    int r = blob_check_version(&b);

    if (r < 0) {
        return r;
    }
    struct channel *ch = channel_new(l, budget ? budget : l->budget);
    r = get_channel(&b, ch);
    if (r == 0 && (b.left > 0 || !is_sane_alone(ch))) {
        r = -ERR_SYNTAX;
    }
    if (r < 0) {
        channel_free(ch);
        return r;
    }
    *out = &ch->s;
    return 0;
}

static void put_reader(struct bytes *out, int *r, const struct frame_reader *f)
{
    blob_put_bytes(out, r, f->small, sizeof(f->small));
    blob_put_u32(out, r, f->have);
    blob_put_u32(out, r, f->want);
    blob_put_u32(out, r, f->type);
    blob_put_u32(out, r, f->flags);
    blob_put_u32(out, r, f->step);
    blob_put_u32(out, r, f->stream);
    blob_put_u32(out, r, f->left);
    blob_put_u32(out, r, f->padding);
}

static void get_reader(struct blob *b, struct frame_reader *f)
{
    struct slice small = blob_get_bytes(b, sizeof(f->small));

    b->bad |= small.len != sizeof(f->small);
    if (b->bad) {
        return;
    }
    memcpy(f->small, small.p, small.len);
    f->size_max = FRAME_SIZE_MAX; /* whoever began it may have announced more than we do */
    f->have = (uint8_t)blob_get_u32(b);
    f->want = (uint8_t)blob_get_u32(b);
    f->type = (uint8_t)blob_get_u32(b);
    f->flags = (uint8_t)blob_get_u32(b);
    f->step = (uint8_t)blob_get_u32(b);
    f->stream = blob_get_u32(b);
    f->left = blob_get_u32(b);
    f->padding = blob_get_u32(b);
    b->bad |= f->step >= READ_BROKEN || f->have > (f->step == READ_PREFACE ? 24 : f->want) ||
              f->want > sizeof(f->small) || f->padding > f->left || f->left > FRAME_SIZE_MAX;
}

static void put_flow(struct bytes *out, int *r, const struct tunnel *t)
{
    blob_put_u32(out, r, t->peer.window);
    blob_put_u32(out, r, t->peer.new_window);
    blob_put_u32(out, r, t->peer.frame_size);
    blob_put_u32(out, r, t->peer.streams);
    blob_put_u32(out, r, t->peer.table);
    blob_put_u32(out, r, t->peer.no_table_due);
    blob_put_u32(out, r, t->peer.no_priorities);
    blob_put_u32(out, r, t->peer.extended_connect);
    blob_put_u32(out, r, t->peer.seen);
    blob_put_u32(out, r, t->window_acked);
    blob_put_u32(out, r, t->window_sent);
    blob_put_u32(out, r, (uint32_t)t->send_window);
    blob_put_u32(out, r, (uint32_t)t->recv_window);
    blob_put_u32(out, r, t->owed);
    blob_put_u32(out, r, t->next_id);
    blob_put_u32(out, r, t->peer_id);
    blob_put_u32(out, r, t->peer_done);
    blob_put_u32(out, r, t->peer_last);
    blob_put_u32(out, r, t->drain);
    blob_put_u32(out, r, t->settings_out);
    blob_put_u32(out, r, t->granted);
    blob_put_u32(out, r, t->full);
}

static void get_flow(struct blob *b, struct tunnel *t)
{
    t->peer.window = blob_get_u32(b);
    t->peer.new_window = blob_get_u32(b);
    t->peer.frame_size = blob_get_u32(b);
    t->peer.streams = blob_get_u32(b);
    t->peer.table = blob_get_u32(b);
    t->peer.no_table_due = blob_get_bool(b);
    t->peer.no_priorities = blob_get_bool(b);
    t->peer.extended_connect = blob_get_bool(b);
    t->peer.seen = blob_get_bool(b);
    t->window_acked = blob_get_u32(b);
    t->window_sent = blob_get_u32(b);
    t->send_window = (int32_t)blob_get_u32(b);
    t->recv_window = (int32_t)blob_get_u32(b);
    t->owed = blob_get_u32(b);
    t->next_id = blob_get_u32(b);
    t->peer_id = blob_get_u32(b);
    t->peer_done = blob_get_u32(b);
    t->peer_last = blob_get_u32(b);
    t->drain = (uint8_t)blob_get_u32(b);
    t->settings_out = blob_get_bool(b);
    t->granted = blob_get_bool(b);
    t->full = blob_get_bool(b);
    b->bad |= (int64_t)t->recv_window + t->owed > FRAME_WINDOW_MAX;
    b->bad |= t->drain > DRAIN_FINAL || t->peer.frame_size < FRAME_SIZE_DEFAULT ||
              t->peer.window > FRAME_WINDOW_MAX || t->peer.new_window > FRAME_WINDOW_MAX ||
              t->window_acked > FRAME_WINDOW_MAX || t->window_sent > FRAME_WINDOW_MAX;
}

static void put_hpack(struct bytes *out, int *r, const struct tunnel *t)
{
    struct bytes table;

    bytes_init(&table, BLOB_TEXT_MAX);
    if (*r == 0 && t->hpack) {
        *r = hpack_decoder_export(t->hpack, &table);
    }
    blob_put_bytes(out, r, bytes_peek(&table), table.len);
    bytes_fini(&table);
}

static int get_hpack(struct blob *b, struct tunnel *t)
{
    struct slice table = blob_get_bytes(b, BLOB_TEXT_MAX);

    return table.len > 0 ? hpack_decoder_import(&t->hpack, table.p, table.len) : 0;
}

/* Deadlines as what is left of them. */
static void put_dues(struct bytes *out, int *r, const struct tunnel *t)
{
    uint64_t now = tunnel_now(t);

    blob_put_u32(out, r, DUE_COUNT);
    for (int i = 0; i < DUE_COUNT; i++) {
        blob_put_u64(out, r, t->due[i] == 0 ? 0 : t->due[i] > now ? t->due[i] - now : 1);
    }
}

static void get_dues(struct blob *b, struct tunnel *t)
{
    if (blob_get_u32(b) != DUE_COUNT) {
        b->bad = true;
        return;
    }
    for (int i = 0; i < DUE_COUNT; i++) {
        tunnel_due(t, (enum tunnel_due)i, blob_get_u64(b));
    }
}

static void put_recent(struct bytes *out, int *r, const struct tunnel *t)
{
    blob_put_u32(out, r, t->recent ? TUNNEL_RECENT : 0);
    for (unsigned i = 0; t->recent && i < TUNNEL_RECENT; i++) {
        blob_put_u32(out, r, t->recent->ids[(t->recent->next + i) % TUNNEL_RECENT]);
    }
}

static void get_recent(struct blob *b, struct tunnel *t)
{
    uint32_t count = blob_get_u32(b);

    b->bad |= count > TUNNEL_RECENT;
    for (uint32_t i = 0; i < count && !b->bad; i++) {
        tunnel_remember(t, blob_get_u32(b));
    }
}

/* The glitch budgets start anew: a hand-over is rare, and they are wide. */
static int put_tunnel(struct bytes *out, const struct tunnel *t)
{
    int r = 0;

    blob_put_version(out, &r);
    blob_put_u32(out, &r, t->role);
    put_reader(out, &r, &t->reader);
    blob_put_u32(out, &r, t->rx_stream ? t->rx_stream->id : 0);
    put_flow(out, &r, t);
    put_hpack(out, &r, t);
    put_dues(out, &r, t);
    put_recent(out, &r, t);
    blob_put_bytes(out, &r, bytes_peek(&t->out), t->out.len);
    blob_put_u32(out, &r, (uint32_t)t->streams.count);
    map_for_each (node, &t->streams) {
        put_channel(out, &r, container_of(node, struct channel, in_tunnel));
    }
    return r;
}

static int may_export(const struct tunnel *t)
{
    if (t->step == TUNNEL_ENDED || t->pending < 0) {
        return -ERR_UNAVAILABLE;
    }
    if (t->step == TUNNEL_OPENING || t->block) {
        return -EAGAIN;
    }
    map_for_each (node, &t->streams) {
        if (container_of(node, struct channel, in_tunnel)->step == CHANNEL_REQUEST) {
            return -EAGAIN;
        }
    }
    return 0;
}

static int tunnel_export(struct tunnel *t, struct bytes *out, struct stream **out_below)
{
    size_t before = out->len;
    int r = may_export(t);

    r = r < 0 ? r : put_tunnel(out, t);
    if (r < 0) {
        out->len = before;
        return r;
    }
    map_for_each (node, &t->streams) {
        struct channel *ch = container_of(node, struct channel, in_tunnel);

        map_remove(&t->streams, &ch->in_tunnel);
        list_remove(&ch->in_list);
        t->home->stats.streams--;
        ch->tunnel = NULL;
        channel_free(ch);
    }
    *out_below = t->below;
    stream_own(t->below, NULL);
    t->below = NULL;
    t->home->stats.tunnels--;
    tunnel_free(t);
    return 0;
}

static void hand_out(struct tunnel *t, struct channel *ch, struct hbone_handed *handed)
{
    struct channel state = *ch; /* attaching sets what a new stream has */

    channel_attach(ch, t, state.id);
    ch->send_window = state.send_window;
    ch->recv_window = state.recv_window;
    ch->owed = state.owed;
    if (ch->step == CHANNEL_ASKED) {
        ch->dial->due_ms = tunnel_now(t) + t->home->limits.response_ms;
        list_append(&t->asked, &ch->in_list);
    }
    handed->streams[handed->count].id = ch->id;
    handed->streams[handed->count++].stream = &ch->s;
}

static int get_channels(struct blob *b, struct tunnel *t, struct hbone_handed *handed)
{
    uint32_t count = blob_get_u32(b);

    if (b->bad || count > HBONE_HANDED_MAX) {
        return -ERR_SYNTAX;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct channel *ch = channel_new(t->home, t->budget);
        int r = get_channel(b, ch);

        if (r == 0 && (!is_sane_attached(ch) || tunnel_find(t, ch->id))) {
            r = -ERR_SYNTAX;
        }
        if (r < 0) {
            channel_free(ch);
            return r;
        }
        hand_out(t, ch, handed);
    }
    return 0;
}

/* The fields in put_tunnel's order, behind version and role. */
static int get_tunnel(struct blob *b, struct tunnel *t, struct hbone_handed *handed)
{
    get_reader(b, &t->reader);
    uint32_t rx_stream = blob_get_u32(b);
    get_flow(b, t);
    int r = get_hpack(b, t);
    get_dues(b, t);
    get_recent(b, t);
    struct slice queued = blob_get_bytes(b, TUNNEL_OUT_HARD);
    if (r == 0 && queued.len > 0) {
        r = bytes_add(&t->out, queued.p, queued.len);
    }
    t->out_data = queued.len; /* of whatever kind: reading must not wait for it */
    r = r < 0 ? r : get_channels(b, t, handed);
    t->rx_stream = rx_stream ? tunnel_find(t, rx_stream) : NULL;
    return r < 0 ? r : b->bad || b->left > 0 ? -ERR_SYNTAX : 0;
}

static void drop_handed(struct hbone_handed *handed)
{
    for (unsigned i = 0; i < handed->count; i++) {
        stream_close(handed->streams[i].stream, -ERR_CANCELLED);
    }
    handed->count = 0;
}

static int tunnel_import(struct hbone_loop *l, struct stream *below, struct blob *b,
                         enum hbone_role role, struct budget *budget, struct tunnel **out,
                         struct hbone_handed *handed)
{
    struct tunnel *t = tunnel_make(l, below, role, budget);
    int r = blob_check_version(b);

    handed->count = 0;
    t->held = true;         /* by this function */
    t->settings_out = true; /* no window is announced while the state is incomplete */
    if (r == 0 && blob_get_u32(b) != role) {
        r = -ERR_SYNTAX;
    }
    r = r < 0 ? r : get_tunnel(b, t, handed);
    if (r < 0) {
        t->step = TUNNEL_ENDED;
        l->stats.tunnels--;
        drop_handed(handed);
        tunnel_free(t);
        return r;
    }
    t->step = TUNNEL_OPEN;
    t->flush_due = true;
    task_wake(&t->task, WAKE_START);
    task_wake_late(&t->sender, WAKE_START);
    *out = t;
    return 0;
}

int hbone_server_export(struct hbone_server *s, struct bytes *out, struct stream **out_below)
{
    int r = tunnel_export(s->tunnel, out, out_below);

    if (r == 0) {
        mem_free(s); /* nothing is untaken: every request was answered */
    }
    return r;
}

int hbone_server_import(struct hbone_loop *l, struct stream *below, const void *blob, size_t len,
                        struct task *owner, struct budget *budget, struct hbone_server **out,
                        struct hbone_handed *out_handed)
{
    struct blob b = {blob, len, false};
    struct tunnel *t = NULL;
    int r = tunnel_import(l, below, &b, HBONE_SERVER, budget, &t, out_handed);

    if (r == 0) {
        *out = server_wrap(t, owner);
    }
    return r;
}

/* The key in the order of its parts; see point_into_key. */
static void put_target(struct bytes *out, int *r, const struct hbone_target *t)
{
    blob_put_text(out, r, t->local);
    blob_put_u32(out, r, t->expect_count);
    for (unsigned i = 0; i < t->expect_count; i++) {
        blob_put_text(out, r, t->expect[i]);
    }
    blob_put_bytes(out, r, t->gateway.ip.bytes, ip_size(&t->gateway.ip));
    blob_put_u32(out, r, t->gateway.port);
    blob_put_bytes(out, r, t->source.bytes, ip_size(&t->source));
}

static void get_ip(struct blob *b, struct ip *out)
{
    struct slice s = blob_get_bytes(b, sizeof(out->bytes));

    if (s.len > 0 && ip_from_bytes(out, s.p, s.len) < 0) {
        b->bad = true;
    }
}

struct target_texts {
    char *local;
    char *expect[HBONE_EXPECT_MAX];
};

static void get_target(struct blob *b, struct hbone_target *t, struct target_texts *texts)
{
    texts->local = blob_get_text(b);
    t->expect_count = blob_get_u32(b);
    b->bad |= !texts->local || t->expect_count == 0 || t->expect_count > HBONE_EXPECT_MAX;
    for (unsigned i = 0; !b->bad && i < t->expect_count; i++) {
        texts->expect[i] = blob_get_text(b);
        b->bad |= !texts->expect[i];
    }
    get_ip(b, &t->gateway.ip);
    t->gateway.port = (uint16_t)blob_get_u32(b);
    get_ip(b, &t->source);
    t->local = texts->local;
    t->expect = (const char *const *)texts->expect;
}

static int export_of_route(struct hbone_pool *p, struct route *route, struct bytes *out,
                           struct stream **out_below)
{
    list_for_each (node, &route->tunnels) {
        struct tunnel *t = container_of(node, struct tunnel, in_route);
        size_t before = out->len;
        int r = may_export(t);

        if (r == -ERR_UNAVAILABLE || t->step == TUNNEL_OPENING) {
            continue;
        }
        blob_put_version(out, &r);
        put_target(out, &r, &route->target);
        if (r == 0) {
            list_remove(&t->in_route);
            r = tunnel_export(t, out, out_below);
        }
        if (r < 0) {
            out->len = before;
            if (list_is_empty(&t->in_route)) {
                list_append(&route->tunnels, &t->in_route);
            }
            return r;
        }
        p->tunnels--;
        task_wake(&p->task, WAKE_CHILD); /* the route may be of no more use */
        return 1;
    }
    return 0;
}

int hbone_pool_export(struct hbone_pool *p, struct bytes *out, struct stream **out_below)
{
    int r = 0;

    list_for_each (node, &p->routes) {
        r = export_of_route(p, container_of(node, struct route, in_routes), out, out_below);
        if (r != 0) {
            break;
        }
    }
    return r;
}

int hbone_pool_import(struct hbone_pool *p, struct stream *below, const void *blob, size_t len,
                      struct hbone_handed *out_handed)
{
    struct blob b = {blob, len, false};
    struct hbone_target target = {.local = NULL};
    struct target_texts texts = {.local = NULL};
    struct tunnel *t = NULL;

    int r = blob_check_version(&b);
    get_target(&b, &target, &texts);
    r = r == 0 && b.bad ? -ERR_SYNTAX : r;
    if (r < 0) {
        stream_close(below, -ERR_CANCELLED);
    } else {
        r = tunnel_import(p->home, below, &b, HBONE_CLIENT, p->budget, &t, out_handed);
    }
    if (r == 0) {
        pool_adopt(p, &target, t);
    }
    mem_free(texts.local);
    for (unsigned i = 0; i < HBONE_EXPECT_MAX; i++) {
        mem_free(texts.expect[i]);
    }
    return r;
}
