/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "hbone/tunnel_wire_int.h"

/* False: the tunnel was aborted. */
static bool spend(struct tunnel *t, enum glitch kind)
{
    static const char *const names[GLITCH_COUNT] = {
        [GLITCH_PING] = "too_many_pings",
        [GLITCH_SETTINGS] = "too_many_settings",
        [GLITCH_EMPTY_DATA] = "too_many_empty_frames",
        [GLITCH_SMALL_WINDOW] = "too_many_window_updates",
        [GLITCH_IGNORED] = "too_many_useless_frames",
        [GLITCH_RESET_SENT] = "too_many_bad_streams",
    };

    if (glitch_spend(&t->glitches, kind, tunnel_now(t))) {
        return true;
    }
    tunnel_abort(t, RESET_ENHANCE_YOUR_CALM, -ERR_H2_ABUSE, names[kind]);
    return false;
}

/* Stream numbers are chosen by the peer, but only a few hundred exist at a time. */
static uint64_t hash_of(uint32_t id)
{
    uint64_t h = id * 0x9e3779b97f4a7c15u;

    return h ^ h >> 32;
}

struct channel *tunnel_find(const struct tunnel *t, uint32_t id)
{
    for (struct map_node *n = map_find(&t->streams, hash_of(id)); n; n = map_find_next(n)) {
        struct channel *ch = container_of(n, struct channel, in_tunnel);

        if (ch->id == id) {
            return ch;
        }
    }
    return NULL;
}

void channel_attach(struct channel *ch, struct tunnel *t, uint32_t id)
{
    ch->tunnel = t;
    ch->id = id;
    ch->send_window = (int32_t)t->peer.window;
    ch->recv_window = (int32_t)t->window_acked;
    ch->owed = 0;
    map_insert(&t->streams, &ch->in_tunnel, hash_of(id));
    t->home->stats.streams++;
    tunnel_adapt_window(t);
    if (t->role == HBONE_CLIENT) {
        tunnel_due(t, DUE_IDLE, 0);
    }
}

bool tunnel_is_recent(const struct tunnel *t, uint32_t id)
{
    for (unsigned i = 0; t->recent && i < TUNNEL_RECENT; i++) {
        if (t->recent->ids[i] == id) {
            return true;
        }
    }
    return false;
}

void tunnel_remember(struct tunnel *t, uint32_t id)
{
    if (!t->recent) {
        t->recent = mem_new(struct recent_ids);
    }
    t->recent->ids[t->recent->next++ % TUNNEL_RECENT] = id;
}

bool tunnel_is_idle(const struct tunnel *t, uint32_t id)
{
    if (t->role == HBONE_SERVER) {
        return id % 2 == 0 || id > t->peer_id;
    }
    return id % 2 == 0 || id >= t->next_id;
}

void tunnel_refuse(struct tunnel *t, uint32_t id, enum reset_code code)
{
    tunnel_put(t, frame_put_reset(&t->out, id, code));
    tunnel_remember(t, id);
    (void)spend(t, GLITCH_RESET_SENT); /* false: the tunnel is over, which the caller sees */
}

static void protocol_error(struct tunnel *t)
{
    tunnel_abort(t, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "");
}

/* Connection credit returns on receipt (RFC 9113 5.2), so that a stream nobody reads does not hold
 * up the others; in lumps, because each costs a frame. */
static void credit_tunnel(struct tunnel *t, uint32_t len)
{
    t->owed += len;
    if (t->owed >= t->home->limits.conn_window_bytes / 4) {
        tunnel_put(t, frame_put_window(&t->out, 0, t->owed));
        t->recv_window += (int32_t)t->owed;
        t->owed = 0;
    }
}

void tunnel_grant(struct tunnel *t)
{
    uint32_t want = t->home->limits.conn_window_bytes;

    if (!t->granted && want > FRAME_WINDOW_DEFAULT) {
        tunnel_put(t, frame_put_window(&t->out, 0, want - FRAME_WINDOW_DEFAULT));
        t->recv_window += (int32_t)(want - FRAME_WINDOW_DEFAULT);
    }
    t->granted = true;
}

/* Too much of it; too little shows at the end of the stream. */
static bool exceeds_content_length(struct channel *ch, const struct frame *f)
{
    if (ch->body_left < 0) {
        return false;
    }
    ch->body_left -= (int64_t)f->value - f->padding;
    return ch->body_left < 0;
}

/* DATA for a stream that is over: no offence if the peer cannot know yet. */
static void data_for_nobody(struct tunnel *t, const struct frame *f)
{
    if (tunnel_is_idle(t, f->stream)) {
        protocol_error(t);
    } else if (!tunnel_is_recent(t, f->stream) && t->drain != DRAIN_FINAL) {
        tunnel_refuse(t, f->stream, RESET_STREAM_CLOSED);
    }
}

static void begin_data(struct tunnel *t, struct channel *ch, const struct frame *f)
{
    if (ch->step == CHANNEL_ASKED || ch->remote_ended) {
        protocol_error(t);
        return;
    }
    if ((int64_t)f->value > ch->recv_window) {
        channel_reset(ch, RESET_FLOW_CONTROL_ERROR, -ERR_H2_FLOW,
                      "the peer sent more than its window");
        return;
    }
    if (exceeds_content_length(ch, f)) {
        channel_reset(ch, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "content-length is wrong");
        return;
    }
    ch->recv_window -= (int32_t)f->value;
    channel_credit(ch, f->padding); /* waits for no reader: there is nothing to read */
    t->rx_stream = ch;
}

static void on_data_begin(struct tunnel *t, const struct frame *f)
{
    struct channel *ch = tunnel_find(t, f->stream);

    t->rx_stream = NULL;
    if ((int64_t)f->value > t->recv_window) {
        tunnel_abort(t, RESET_FLOW_CONTROL_ERROR, -ERR_H2_FLOW, "");
        return;
    }
    t->recv_window -= (int32_t)f->value;
    if (f->value == f->padding && !f->end_stream) {
        if (!spend(t, GLITCH_EMPTY_DATA)) {
            return;
        }
    } else {
        glitch_earn(&t->glitches, GLITCH_PING);
    }
    if (ch) {
        begin_data(t, ch, f);
    } else {
        data_for_nobody(t, f);
    }
    if (tunnel_is_alive(t)) {
        credit_tunnel(t, f->value);
    }
}

/* When memory is short, those who hold most of it go first: a stream whose reader keeps up holds next
 * to nothing. */
static bool is_hoarding(const struct channel *ch)
{
    return ch->rx.charged > TUNNEL_HOARD && budget_is_over(ch->rx.budget);
}

static void on_data_piece(struct tunnel *t, const struct frame *f)
{
    struct channel *ch = t->rx_stream;

    if (!ch) {
        return;
    }
    if (is_hoarding(ch)) {
        t->home->stats.hoarders++;
        rx_queue_clear(&ch->rx);
        channel_reset(ch, RESET_ENHANCE_YOUR_CALM, -ERR_LIMIT, "memory for unread data is short");
    } else if (rx_queue_add(&ch->rx, (const uint8_t *)f->piece.p, f->piece.len) < 0) {
        channel_reset(ch, RESET_INTERNAL_ERROR, -ENOMEM, "no memory for received data");
    } else {
        channel_wake_reader(ch);
    }
}

static void on_data_end(struct tunnel *t, const struct frame *f)
{
    struct channel *ch = t->rx_stream;

    t->rx_stream = NULL;
    if (ch && f->end_stream) {
        channel_remote_ended(ch);
    }
}

static void apply_table_size(struct peer_settings *peer, uint32_t size)
{
    if (size < peer->table) { /* RFC 7541 4.2 */
        peer->no_table_due = true;
        peer->table = 0;
    }
}

/* Fixed by the first SETTINGS (RFC 9218 2.1). */
static bool take_no_priorities(struct peer_settings *peer, uint32_t value)
{
    if (!peer->seen) {
        peer->no_priorities = value == 1;
    }
    return value <= 1 && peer->no_priorities == (value == 1);
}

/* What a server has offered it cannot take back; from a client it means nothing (RFC 8441 3). */
static bool take_extended_connect(struct tunnel *t, uint32_t value)
{
    bool taken_back = t->role == HBONE_CLIENT && t->peer.extended_connect && value == 0;

    t->peer.extended_connect = value == 1;
    return value <= 1 && !taken_back;
}

/* What the recorded peer calls PROTOCOL_ERROR, whatever RFC 9113 6.5.2 says. */
static bool take_setting(struct tunnel *t, uint16_t id, uint32_t value)
{
    struct peer_settings *peer = &t->peer;

    switch (id) {
    case SETTING_HEADER_TABLE_SIZE:
        apply_table_size(peer, value);
        return true;
    case SETTING_ENABLE_PUSH:
        return value <= 1;
    case SETTING_ENABLE_CONNECT_PROTOCOL:
        return take_extended_connect(t, value);
    case SETTING_NO_PRIORITIES:
        return take_no_priorities(peer, value);
    case SETTING_MAX_CONCURRENT_STREAMS:
        peer->streams = value;
        return true;
    case SETTING_INITIAL_WINDOW_SIZE:
        peer->new_window = value;
        return value <= FRAME_WINDOW_MAX;
    case SETTING_MAX_FRAME_SIZE:
        peer->frame_size = value;
        return value >= FRAME_SIZE_DEFAULT && value <= 0xffffff;
    default: /* unknown ones are ignored (RFC 9113 6.5.2); the list size is advice */
        return true;
    }
}

static void on_setting(struct tunnel *t, const struct frame *f)
{
    if (!take_setting(t, f->id, f->value)) {
        protocol_error(t);
    }
}

static bool add_window(int32_t *window, int64_t delta)
{
    int64_t sum = *window + delta;

    if (sum > FRAME_WINDOW_MAX || sum < INT32_MIN) {
        return false;
    }
    *window = (int32_t)sum;
    return true;
}

/* RFC 9113 6.9.2: a new initial window moves those of all streams. */
static bool apply_window(struct tunnel *t)
{
    int64_t delta = (int64_t)t->peer.new_window - t->peer.window;

    t->peer.window = t->peer.new_window;
    if (delta == 0) {
        return true;
    }
    map_for_each (node, &t->streams) {
        struct channel *ch = container_of(node, struct channel, in_tunnel);

        if (!add_window(&ch->send_window, delta)) {
            return false;
        }
        channel_wake_writer(ch);
    }
    return true;
}

static void on_settings_end(struct tunnel *t)
{
    if (!apply_window(t)) {
        tunnel_abort(t, RESET_FLOW_CONTROL_ERROR, -ERR_H2_FLOW, "");
        return;
    }
    t->full = false;
    t->peer.seen = true;
    tunnel_put(t, frame_put_settings_ack(&t->out));
    tunnel_grant(t);
    tunnel_tell_user(t);             /* there may be room for more streams, or for less */
    (void)spend(t, GLITCH_SETTINGS); /* false: the tunnel is over, which the loop sees */
}

static void on_settings_ack(struct tunnel *t)
{
    int64_t delta = (int64_t)t->window_sent - t->window_acked;

    if (!t->settings_out) {
        protocol_error(t);
        return;
    }
    t->settings_out = false;
    t->window_acked = t->window_sent;
    map_for_each (node, &t->streams) {
        struct channel *ch = container_of(node, struct channel, in_tunnel);

        ch->recv_window = (int32_t)(ch->recv_window + delta); /* both are at most 2^31 - 1 */
    }
}

static void on_ping(struct tunnel *t, const struct frame *f)
{
    tunnel_put(t, frame_put_ping(&t->out, true, f->opaque));
    (void)spend(t, GLITCH_PING); /* false: the tunnel is over, which the loop sees */
}

static void on_pong(struct tunnel *t, const struct frame *f)
{
    if (t->due[DUE_DRAIN] != 0 && f->opaque == TUNNEL_DRAIN_OPAQUE) {
        tunnel_finish_drain(t);
    } else if (t->due[DUE_PONG] != 0 && f->opaque == TUNNEL_PING_OPAQUE) {
        tunnel_due(t, DUE_PONG, 0);
        tunnel_due(t, DUE_PING, t->home->limits.ping_ms);
    }
}

/* The peer's reset after its END_STREAM does not take back what it sent (RFC 9113 8.1). */
static void on_stream_reset(struct tunnel *t, const struct frame *f)
{
    struct channel *ch = tunnel_find(t, f->stream);

    if (!ch) {
        if (tunnel_is_idle(t, f->stream)) {
            protocol_error(t);
        }
        return;
    }
    if (ch->step == CHANNEL_ASKED && f->value == RESET_REFUSED_STREAM) {
        t->full = true;
        dial_refused(ch, -ERR_H2_RESET, "the peer has no room for more streams");
        return;
    }
    (void)diag_note(stream_why(&ch->s), -ERR_H2_RESET, "the peer reset the stream: %s",
                    reset_code_name(f->value)); /* the code is known */
    ch->released = ch->remote_ended;
    channel_over(ch, -ERR_H2_RESET);
}

static void on_stream_window(struct tunnel *t, const struct frame *f)
{
    struct channel *ch = tunnel_find(t, f->stream);

    if (!ch) {
        if (tunnel_is_idle(t, f->stream)) {
            protocol_error(t);
        }
        return;
    }
    if (!add_window(&ch->send_window, f->value)) {
        channel_reset(ch, RESET_FLOW_CONTROL_ERROR, -ERR_H2_FLOW, "the peer's window overflowed");
        return;
    }
    channel_wake_writer(ch);
}

static void on_window(struct tunnel *t, const struct frame *f)
{
    if (f->value < GLITCH_WINDOW_MIN && !spend(t, GLITCH_SMALL_WINDOW)) {
        return;
    }
    if (f->stream != 0) {
        on_stream_window(t, f);
    } else if (!add_window(&t->send_window, f->value)) {
        tunnel_abort(t, RESET_FLOW_CONTROL_ERROR, -ERR_H2_FLOW, "");
    } else {
        tunnel_wake_blocked(t);
    }
}

/* It names a stream of ours, and never a higher one than before (RFC 9113 6.8). */
static bool is_goaway_sane(struct tunnel *t, uint32_t last)
{
    uint32_t ours = t->role == HBONE_CLIENT ? 1 : 0;

    return last <= t->peer_last && (last == 0 || last % 2 == ours);
}

/* Streams above the last one that the peer has looked at never existed for it. A client's GOAWAY is
 * about streams that a server would open, of which there are none. */
static void on_goaway(struct tunnel *t, const struct frame *f)
{
    if (!is_goaway_sane(t, f->stream)) {
        protocol_error(t);
        return;
    }
    t->peer_last = f->stream;
    if (t->role == HBONE_SERVER) {
        return;
    }
    map_for_each (node, &t->streams) {
        struct channel *ch = container_of(node, struct channel, in_tunnel);

        if (ch->id > t->peer_last) {
            dial_refused(ch, -ERR_H2_GOAWAY, "the peer is going away");
        }
    }
    tunnel_tell_user(t);
    tunnel_maybe_finish(t);
}

static void on_ignored(struct tunnel *t, const struct frame *f)
{
    struct channel *ch = f->self ? tunnel_find(t, f->stream) : NULL;

    if (ch) {
        channel_reset(ch, RESET_PROTOCOL_ERROR, -ERR_H2_PROTOCOL, "the stream depends on itself");
    } else if (f->self) {
        tunnel_refuse(t, f->stream, RESET_PROTOCOL_ERROR);
    }
    if (tunnel_is_alive(t)) {
        (void)spend(t, GLITCH_IGNORED); /* false: the tunnel is over, which the loop sees */
    }
}

static void on_broken(struct tunnel *t, const struct frame *f)
{
    int r = f->value == RESET_ENHANCE_YOUR_CALM ? -ERR_H2_ABUSE : -ERR_H2_PROTOCOL;

    tunnel_abort(t, (enum reset_code)f->value, r, f->debug);
}

static void on_strange(struct tunnel *t)
{
    tunnel_hang_up(t, FAIL(&t->diag, -ERR_H2_PROTOCOL, "the peer does not speak HTTP/2"), "");
}

static void on_frame(struct tunnel *t, enum frame_event event, const struct frame *f)
{
    switch (event) {
    case FRAME_DATA_BEGIN:
        return on_data_begin(t, f);
    case FRAME_DATA_PIECE:
        return on_data_piece(t, f);
    case FRAME_DATA_END:
        return on_data_end(t, f);
    case FRAME_BLOCK_BEGIN:
        return tunnel_block_begin(t, f);
    case FRAME_BLOCK_PIECE:
        return tunnel_block_piece(t, f);
    case FRAME_ONE_SETTING:
        return on_setting(t, f);
    case FRAME_SETTINGS_END:
        return on_settings_end(t);
    case FRAME_SETTINGS_ACK:
        return on_settings_ack(t);
    case FRAME_PING_ASKED:
        return on_ping(t, f);
    case FRAME_PING_ANSWERED:
        return on_pong(t, f);
    case FRAME_STREAM_RESET:
        return on_stream_reset(t, f);
    case FRAME_GOING_AWAY:
        return on_goaway(t, f);
    case FRAME_WINDOW:
        return on_window(t, f);
    case FRAME_IGNORED:
        return on_ignored(t, f);
    case FRAME_BROKEN:
        return on_broken(t, f);
    case FRAME_STRANGE:
        return on_strange(t);
    case FRAME_MORE:
        break;
    }
}

static void preface_is_here(struct tunnel *t)
{
    tunnel_due(t, DUE_PREFACE, 0);
    tunnel_due(t, DUE_REQUEST, t->home->limits.first_request_ms);
}

void tunnel_receive(struct tunnel *t, struct slice input)
{
    bool in_preface = t->reader.step == READ_PREFACE;
    enum frame_event event = FRAME_IGNORED;

    while (tunnel_is_alive(t) && event != FRAME_MORE) {
        struct frame f;

        event = frame_next(&t->reader, &input, &f);
        if (in_preface && t->reader.step != READ_PREFACE) {
            in_preface = false;
            preface_is_here(t);
        }
        on_frame(t, event, &f);
    }
}
