/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "base/mem.h"
#include "hbone/tunnel_wire_int.h"
#include "http/linger.h"

static void rearm(struct tunnel *t)
{
    uint64_t first = UINT64_MAX;
    uint64_t now = tunnel_now(t);

    for (int i = 0; i < DUE_COUNT; i++) {
        if (t->due[i] != 0 && t->due[i] < first) {
            first = t->due[i];
        }
    }
    if (first == UINT64_MAX) {
        timer_clear(&t->timer);
    } else {
        timer_set(&t->timer, &t->task, first > now ? first - now : 0);
    }
}

/* A timer that fires too early costs less than one that is moved with every frame. */
void tunnel_due(struct tunnel *t, enum tunnel_due which, uint64_t in_ms)
{
    t->due[which] = in_ms > 0 ? tunnel_now(t) + in_ms : 0;
    if (in_ms > 0 && (!timer_is_armed(&t->timer) || t->due[which] < t->timer.due_ms)) {
        timer_set(&t->timer, &t->task, in_ms);
    }
}

void tunnel_hold(struct tunnel *t, struct task *user, unsigned why)
{
    t->user = user;
    t->user_why = why;
    t->held = true;
}

void tunnel_tell_user(struct tunnel *t)
{
    if (t->user) {
        task_wake(t->user, t->user_why);
    }
}

void tunnel_release(struct tunnel *t)
{
    t->user = NULL;
    t->held = false;
    t->server = NULL;
    tunnel_maybe_finish(t);
    task_wake(&t->task, WAKE_CHILD); /* frees it if it has ended */
}

void tunnel_free(struct tunnel *t)
{
    assert(t->streams.count == 0);
    tunnel_charge(t, 0); /* of one that goes on elsewhere */
    timer_clear(&t->timer);
    task_fini(&t->task);
    task_fini(&t->sender);
    list_remove(&t->in_loop);
    stream_close(t->below, -ERR_CANCELLED);
    header_block_free(t->block);
    hpack_decoder_free(t->hpack);
    mem_free(t->recent);
    bytes_fini(&t->out);
    map_fini(&t->streams);
    mem_free(t);
}

/* What the channels are told, once. */
static void note_failure(struct tunnel *t, int r, const char *what)
{
    t->failure = r;
    if (r < 0 && t->diag.code != r) {
        (void)diag_note(&t->diag, r, "%s", what); /* the code is known */
    }
}

static void drop_channels(struct tunnel *t)
{
    map_for_each (node, &t->streams) {
        struct channel *ch = container_of(node, struct channel, in_tunnel);

        stream_note(&ch->s, &t->diag);
        channel_over(ch, t->failure < 0 ? t->failure : -ERR_TRUNCATED);
    }
}

/* The only way out. below was given away or closed before. */
static void end(struct tunnel *t)
{
    t->step = TUNNEL_ENDED;
    t->below = NULL;
    tunnel_charge(t, 0);
    timer_clear(&t->timer);
    memset(t->due, 0, sizeof(t->due));
    drop_channels(t);
    bytes_fini(&t->out);
    t->home->stats.tunnels--;
    tunnel_tell_user(t);
    task_wake(&t->task, WAKE_CHILD);
}

/* Ends at once: the secure stream is of no use any more. */
static void lost(struct tunnel *t, int r)
{
    if (r == -ERR_TRUNCATED && t->streams.count == 0) {
        r = 0; /* nothing was cut off: many peers end an idle tunnel without ceremony */
    }
    if (r < 0 && t->diag.code != r && stream_diag(t->below)->code == r) {
        t->diag = *stream_diag(t->below);
    }
    note_failure(t, r, err_text(r));
    stream_close(t->below, r);
    end(t);
}

/* Unread bytes in a closed socket would reset it and take the GOAWAY along, hence the lingering. */
static void end_slowly(struct tunnel *t)
{
    linger_start(t->task.loop, t->below, &t->out);
    end(t);
}

void tunnel_abort(struct tunnel *t, enum reset_code code, int r, const char *debug)
{
    if (t->step == TUNNEL_ENDED) {
        return;
    }
    t->home->stats.protocol += code != RESET_NO_ERROR;
    t->home->stats.abuse += code == RESET_ENHANCE_YOUR_CALM;
    if (r < 0 && t->diag.code != r) {
        (void)diag_note(&t->diag, r, "the tunnel was ended with %s %s", reset_code_name(code),
                        debug); /* the code is known */
    }
    t->failure = r;
    tunnel_put(t, frame_put_goaway(&t->out, t->peer_done, code, debug));
    end_slowly(t);
}

void tunnel_hang_up(struct tunnel *t, int r, const char *what)
{
    note_failure(t, r, what);
    end_slowly(t);
}

/* Without lingering: what is killed may have to leave its network namespace at once. */
void tunnel_kill(struct tunnel *t, int r)
{
    if (t->step == TUNNEL_ENDED) {
        return;
    }
    map_for_each (node, &t->streams) {
        struct channel *ch = container_of(node, struct channel, in_tunnel);

        tunnel_put(t, frame_put_reset(&t->out, ch->id, RESET_CANCEL));
    }
    note_failure(t, r, err_text(r));
    stream_close(t->below, tunnel_push(t) == 0 ? 0 : r);
    end(t);
}

static bool has_a_future(const struct tunnel *t)
{
    bool left = t->role == HBONE_CLIENT && t->peer_last <= FRAME_ID_MAX;
    bool going = left || t->drain == DRAIN_FINAL || !t->held;

    return t->streams.count > 0 || !going;
}

void tunnel_maybe_finish(struct tunnel *t)
{
    if (t->step == TUNNEL_ENDED) {
        return;
    }
    if (!has_a_future(t)) {
        tunnel_abort(t, RESET_NO_ERROR, 0, "");
    } else if (t->role == HBONE_CLIENT) {
        tunnel_due(t, DUE_IDLE, t->streams.count == 0 ? t->home->limits.idle_ms : 0);
    }
}

void tunnel_start_drain(struct tunnel *t)
{
    if (t->drain != DRAIN_NONE || t->step == TUNNEL_ENDED) {
        return;
    }
    if (t->role == HBONE_CLIENT) {
        t->drain = DRAIN_FINAL;
        tunnel_maybe_finish(t);
        return;
    }
    t->drain = DRAIN_ASKED;
    tunnel_put(t, frame_put_goaway(&t->out, FRAME_ID_MAX, RESET_NO_ERROR, ""));
    tunnel_put(t, frame_put_ping(&t->out, false, TUNNEL_DRAIN_OPAQUE));
    if (t->step == TUNNEL_OPEN) { /* else once it is: a handshake has its own time */
        tunnel_due(t, DUE_DRAIN, t->home->limits.drain_ms);
    }
}

/* Whatever the peer had sent before it saw the first GOAWAY has arrived. */
void tunnel_finish_drain(struct tunnel *t)
{
    tunnel_due(t, DUE_DRAIN, 0);
    t->drain = DRAIN_FINAL;
    if (t->streams.count > 0) {
        tunnel_put(t, frame_put_goaway(&t->out, t->peer_done, RESET_NO_ERROR, ""));
    }
    tunnel_maybe_finish(t);
}

unsigned tunnel_room(const struct tunnel *t)
{
    unsigned cap = t->peer.streams < t->cap ? t->peer.streams : t->cap;
    bool closed = t->step == TUNNEL_ENDED || t->drain != DRAIN_NONE || t->full ||
                  t->peer_last <= FRAME_ID_MAX || t->next_id > FRAME_ID_MAX - 2;

    return closed || t->streams.count >= cap ? 0 : cap - (unsigned)t->streams.count;
}

int64_t tunnel_gone(const struct tunnel *t)
{
    return (int64_t)(t->sent -
                     stream_unsent(t->below)); /* records are longer than what is in them */
}

/* Whether the peer has taken something since *seen. */
static bool takes_some(const struct tunnel *t, int64_t *seen)
{
    int64_t before = *seen;

    *seen = tunnel_gone(t);
    return *seen > before;
}

static int ask_ping(struct tunnel *t)
{
    size_t before = t->out.len;

    tunnel_put(t, frame_put_ping(&t->out, false, TUNNEL_PING_OPAQUE));
    t->heard = false;
    t->pong_seen = tunnel_gone(t) + (int64_t)(t->out.len - before); /* it does not count itself */
    tunnel_due(t, DUE_PONG, t->home->limits.pong_ms);
    return 0;
}

/* The real server says goodbye, the real client does not (contract 2.3 as recorded). On a slow link PING and
 * its answer wait behind much else, which shows by itself that the peer is there. */
static int no_pong(struct tunnel *t)
{
    if (takes_some(t, &t->pong_seen) || t->heard) {
        t->heard = false;
        tunnel_due(t, DUE_PONG, t->home->limits.pong_ms);
        return 0;
    }
    int r = FAIL(&t->diag, -ERR_DEADLINE, "the peer does not answer PING");

    if (t->role == HBONE_SERVER) {
        tunnel_abort(t, RESET_NO_ERROR, r, "");
        return 0;
    }
    return r;
}

static int too_late(struct tunnel *t, const char *what)
{
    int r = FAIL(&t->diag, -ERR_DEADLINE, "%s", what);

    tunnel_abort(t, RESET_NO_ERROR, r, "");
    return 0;
}

/* Who takes something, however little, is waited for: as long as memory is not half used up. */
static int stalled(struct tunnel *t)
{
    bool plenty = budget_window(t->budget, TUNNEL_BATCH) == TUNNEL_BATCH;

    if (t->below_full && takes_some(t, &t->stall_seen) && plenty) {
        tunnel_due(t, DUE_STALL, t->home->limits.stall_ms);
        return 0;
    }
    return t->below_full ? FAIL(&t->diag, -ERR_DEADLINE, "the peer does not read") : 0;
}

static int fall_due(struct tunnel *t, enum tunnel_due which)
{
    switch (which) {
    case DUE_STEP:
        return FAIL(&t->diag, -ERR_DEADLINE, "the secure stream does not open");
    case DUE_PREFACE:
        return too_late(t, "no HTTP/2 preface");
    case DUE_REQUEST:
        return too_late(t, "no request");
    case DUE_PING:
        return ask_ping(t);
    case DUE_PONG:
        return no_pong(t);
    case DUE_STALL:
        return stalled(t);
    case DUE_ANSWER:
        dial_check_clocks(t);
        return 0;
    case DUE_IDLE:
        tunnel_abort(t, RESET_NO_ERROR, 0, "");
        return 0;
    case DUE_DRAIN:
        tunnel_finish_drain(t);
        return 0;
    case DUE_COUNT:
        break;
    }
    return 0;
}

static int check_due(struct tunnel *t)
{
    uint64_t now = tunnel_now(t);
    int r = 0;

    for (int i = 0; i < DUE_COUNT && r == 0; i++) {
        if (t->due[i] != 0 && t->due[i] <= now) {
            t->due[i] = 0;
            r = fall_due(t, (enum tunnel_due)i);
        }
    }
    if (r == 0 && t->step != TUNNEL_ENDED) {
        rearm(t);
    }
    return r;
}

static void enter_open(struct tunnel *t)
{
    t->step = TUNNEL_OPEN;
    tunnel_due(t, DUE_STEP, 0);
    tunnel_due(t, DUE_PING, t->home->limits.ping_ms);
    dial_start_clocks(t);
    if (t->role == HBONE_SERVER) {
        tunnel_due(t, DUE_PREFACE, t->home->limits.preface_ms);
    }
    if (t->drain == DRAIN_ASKED) {
        tunnel_due(t, DUE_DRAIN, t->home->limits.drain_ms);
    }
    tunnel_tell_user(t);
}

static int peer_ended(struct tunnel *t)
{
    if (t->streams.count > 0) {
        return FAIL(&t->diag, -ERR_TRUNCATED, "the tunnel ended before its streams");
    }
    tunnel_hang_up(t, 0, "");
    return 0;
}

static int receive_once(struct tunnel *t, size_t budget, size_t *out_got)
{
    size_t room = 0;
    uint8_t *p = chunk_pool_room(&t->home->chunks, &room);

    if (!p) {
        return FAIL(&t->diag, -ENOMEM, "no memory to receive");
    }
    ssize_t n = stream_read(t->below, p, room < budget ? room : budget);
    if (n <= 0) {
        return n == 0 ? peer_ended(t) : (int)n;
    }
    t->heard = true;
    chunk_pool_filled(&t->home->chunks, (size_t)n);
    tunnel_receive(t, (struct slice){(const char *)p, (size_t)n});
    *out_got = (size_t)n;
    return 0;
}

static int receive(struct tunnel *t)
{
    size_t left = TUNNEL_READ_BUDGET;
    int r = 0;

    while (r == 0 && t->step != TUNNEL_ENDED && left > 0) {
        size_t got = 0;

        if (t->out.len > t->out_data + TUNNEL_OUT_SOFT) {
            t->rx_paused = true; /* answers that nobody reads are not piled up */
            return -EAGAIN;
        }
        r = receive_once(t, left, &got);
        left -= got;
    }
    if (r == 0 && t->step != TUNNEL_ENDED) {
        task_wake(&t->task, WAKE_IO);
    }
    return r;
}

static int advance(struct tunnel *t)
{
    size_t before = t->out.len;
    int r = t->step == TUNNEL_OPENING || t->below_full ? tunnel_push(t) : 0;

    if (r < 0 && r != -EAGAIN) {
        return r;
    }
    if (t->step == TUNNEL_OPENING) {
        if (t->out.len == before) {
            return -EAGAIN;
        }
        enter_open(t);
    }
    return receive(t);
}

static void run(struct task *task, unsigned why)
{
    struct tunnel *t = container_of(task, struct tunnel, task);
    int r = t->pending;

    (void)why; /* every wake is a hint */
    if (t->step != TUNNEL_ENDED && r == 0) {
        r = check_due(t);
    }
    if (t->step != TUNNEL_ENDED && r == 0) {
        r = advance(t);
    }
    if (t->step != TUNNEL_ENDED && r < 0 && r != -EAGAIN) {
        lost(t, r);
    }
    if (t->step == TUNNEL_ENDED && !t->held) {
        tunnel_free(t);
    }
}

static void run_sender(struct task *task, unsigned why)
{
    struct tunnel *t = container_of(task, struct tunnel, sender);
    int r = t->step == TUNNEL_OPEN ? tunnel_push(t) : 0;

    (void)why; /* every wake is a hint */
    if (r < 0 && r != -EAGAIN) {
        t->pending = r;
        task_wake(&t->task, WAKE_IO);
    }
}

static void init_flow(struct tunnel *t)
{
    t->peer = (struct peer_settings){.window = FRAME_WINDOW_DEFAULT,
                                     .new_window = FRAME_WINDOW_DEFAULT,
                                     .frame_size = FRAME_SIZE_DEFAULT,
                                     .streams = UINT32_MAX,
                                     .table = HPACK_TABLE_BYTES};
    t->window_acked = FRAME_WINDOW_DEFAULT;
    t->send_window = FRAME_WINDOW_DEFAULT;
    t->recv_window = FRAME_WINDOW_DEFAULT;
    t->next_id = 1;
    t->peer_last = (uint32_t)FRAME_ID_MAX + 1;
}

struct tunnel *tunnel_make(struct hbone_loop *home, struct stream *below, enum hbone_role role,
                           struct budget *budget)
{
    struct tunnel *t = mem_new(struct tunnel);

    task_init(&t->task, home->loop, "tunnel", run);
    task_init(&t->sender, home->loop, "tunnel sender", run_sender);
    t->home = home;
    t->below = below;
    t->role = (uint8_t)role;
    t->budget = budget ? budget : home->budget;
    t->cap = home->limits.pool_streams;
    frame_reader_init(&t->reader, role == HBONE_SERVER);
    t->reader.size_max = home->limits.frame_bytes;
    bytes_init(&t->out, TUNNEL_OUT_HARD);
    map_init(&t->streams);
    list_init(&t->blocked);
    list_init(&t->asked);
    list_init(&t->in_loop);
    list_init(&t->in_route);
    list_append(&home->tunnels, &t->in_loop);
    init_flow(t);
    glitches_init(&t->glitches, tunnel_now(t));
    home->stats.tunnels++;
    stream_own(below, &t->task);
    return t;
}

struct tunnel *tunnel_new(struct hbone_loop *home, struct stream *below, enum hbone_role role,
                          struct budget *budget)
{
    struct tunnel *t = tunnel_make(home, below, role, budget);

    tunnel_put_preface(t);
    tunnel_due(t, DUE_STEP, TUNNEL_OPENING_MS);
    task_wake(&t->task, WAKE_START);
    return t;
}
