/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake of a TLS stream: bytes are collected on the loop, each step is computed in a job, its
 * output goes out on the loop. The job's object is the only thing that crosses threads; it holds the
 * handshake and dies with it, so an open connection carries none of that.
 */

#include "base/mem.h"
#include "tls/tls_stream_int.h"

enum { READ_BYTES = 4096, CONTENT_FIRST = 20, CONTENT_LAST = 23 };

struct tls_shake {
    struct job job;
    struct handshake *handshake;
    struct bytes in;  /* of the peer, for the next step; left over after the last one */
    size_t whole;     /* of in: what the next step takes */
    struct bytes out; /* what the last step wants to send */
    struct timer retry;
    struct tls_place place;
    uint64_t lane;
    struct record *record; /* after the last step */
    struct tls_peer peer;
    struct diag why;
    enum handshake_state state;
    bool begun; /* at least one step was computed */
};

/* --- the job --- */

static void shake_free(struct tls_shake *k)
{
    handshake_free(k->handshake);
    record_free(k->record);
    tls_peer_fini(&k->peer);
    bytes_fini(&k->in);
    bytes_fini(&k->out);
    mem_free(k);
}

static void abandoned(struct job *j)
{
    shake_free(container_of(j, struct tls_shake, job));
}

static int take_output(struct tls_shake *k)
{
    struct slice s = handshake_output(k->handshake);
    int r = s.len > 0 ? bytes_add(&k->out, s.p, s.len) : 0;

    return r < 0 ? FAIL(&k->why, r, "keep %zu bytes of a TLS handshake", s.len) : 0;
}

static int take_results(struct tls_shake *k)
{
    handshake_take_peer(k->handshake, &k->peer);
    return handshake_take_record(k->handshake, &k->record, &k->why);
}

/* In a pool thread. What libssl needs much memory for is gone when the last step returns. */
static void work(struct job *j)
{
    struct tls_shake *k = container_of(j, struct tls_shake, job);

    k->state = handshake_step_blocking(k->handshake, bytes_peek(&k->in), k->whole, &k->why);
    /* What the handshake left of its input is the end of it, and records follow on. */
    bytes_skip(&k->in, k->whole - handshake_leftover(k->handshake).len);
    int r = take_output(k);
    if (r == 0 && k->state == HANDSHAKE_DONE) {
        r = take_results(k);
    }
    if (r < 0) {
        k->state = HANDSHAKE_FAILED;
    }
    if (k->state != HANDSHAKE_WANTS_INPUT) {
        handshake_free(MOVE(k->handshake));
    }
}

/* --- on the loop --- */

void tls_shake_drop(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;

    if (!k) {
        return;
    }
    t->shake = NULL;
    timer_clear(&k->retry);
    tls_room_leave(t->l, &k->place);
    if (t->step == TLS_WORK) {
        job_abandon(&k->job); /* takes k */
    } else {
        shake_free(k);
    }
}

static int give_up(struct tls_stream *t, int r, const struct diag *why)
{
    t->l->stats.failed++;
    tls_shake_drop(t);
    return tls_fail(t, r, why);
}

int tls_shake_compute(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;
    int r = jobs_submit(t->l->pool, &k->job, k->lane, &t->task);

    if (r < 0) {
        timer_set(&k->retry, &t->task, TLS_SHAKE_RETRY_MS);
        return r;
    }
    timer_clear(&k->retry);
    k->begun = true;
    tls_enter(t, TLS_WORK);
    return 0;
}

static void ask_for_turn(struct tls_stream *t)
{
    tls_enter(t, TLS_TURN);
    tls_room_ask(&t->shake->place);
}

/* The length of the whole records at the front, so that what stays behind begins with a record too;
 * all of it when it will never be one. */
static size_t whole_records(const struct bytes *in)
{
    const uint8_t *p = bytes_peek(in);
    size_t at = 0;

    while (at < in->len) {
        size_t need = record_need(p + at, in->len - at);
        if (p[at] < CONTENT_FIRST || p[at] > CONTENT_LAST || need > RECORD_WIRE_MAX) {
            return in->len;
        }
        if (need == 0 || need > in->len - at) {
            break;
        }
        at += need;
    }
    return at;
}

static int read_some(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;
    uint8_t *room = bytes_reserve(&k->in, READ_BYTES);

    if (!room) {
        return give_up(t, FAIL(stream_why(&t->s), -ERR_TOO_LARGE, "TLS handshake is too long"),
                       NULL);
    }
    ssize_t n = stream_read(t->below, room, READ_BYTES);
    if (n > 0) {
        bytes_commit(&k->in, (size_t)n);
        return 0;
    }
    if (n == -EAGAIN) {
        return -EAGAIN;
    }
    if (n == 0) {
        return give_up(
            t, FAIL(stream_why(&t->s), -ERR_TRUNCATED, "peer closed during the TLS handshake"),
            NULL);
    }
    return give_up(t, (int)n, stream_diag(t->below));
}

static int step_read(struct tls_stream *t)
{
    t->shake->whole = whole_records(&t->shake->in);
    if (t->shake->whole == 0) {
        return read_some(t);
    }
    ask_for_turn(t);
    return 0;
}

static int step_turn(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;

    if (timer_is_due(&k->retry)) {
        timer_clear(&k->retry);
        tls_room_ask_again(&k->place);
    }
    return t->step == TLS_TURN ? -EAGAIN : 0;
}

static int step_work(struct tls_stream *t)
{
    if (!job_is_done(&t->shake->job)) {
        return -EAGAIN;
    }
    tls_enter(t, TLS_SEND);
    tls_room_computed(&t->shake->place);
    return 0;
}

static int become_open(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;
    struct slice left = {(const char *)bytes_peek(&k->in), k->in.len};

    if (tls_in_keep(t, (struct slice){NULL, 0}, left) < 0) {
        return give_up(t, FAIL(stream_why(&t->s), -ENOMEM, "keep %zu received bytes", left.len),
                       NULL);
    }
    t->record = MOVE(k->record);
    t->peer = k->peer;
    k->peer = (struct tls_peer){0};
    t->l->stats.done++;
    t->l->stats.chains_known += t->peer.chain_was_known;
    tls_shake_drop(t);
    tls_enter(t, TLS_OPEN);
    return 0;
}

static int after_send(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;
    struct diag why = k->why;

    switch (k->state) {
    case HANDSHAKE_WANTS_INPUT:
        tls_enter(t, TLS_READ);
        return 0;
    case HANDSHAKE_DONE:
        return become_open(t);
    case HANDSHAKE_FAILED:
        break;
    }
    return give_up(t, why.code, &why);
}

static int step_send(struct tls_stream *t)
{
    struct tls_shake *k = t->shake;

    while (k->out.len > 0) {
        ssize_t n = stream_write(t->below, bytes_peek(&k->out), k->out.len);
        if (n < 0) {
            /* The alert of a handshake that failed is not worth another error. */
            bool ours = k->state == HANDSHAKE_FAILED && n != -EAGAIN;
            return ours           ? after_send(t)
                   : n == -EAGAIN ? -EAGAIN
                                  : give_up(t, (int)n, stream_diag(t->below));
        }
        bytes_skip(&k->out, (size_t)n);
    }
    int r = stream_flush(t->below);
    if (r == -EAGAIN) {
        return r;
    }
    return r < 0 && k->state != HANDSHAKE_FAILED ? give_up(t, r, stream_diag(t->below))
                                                 : after_send(t);
}

static int step(struct tls_stream *t)
{
    switch (t->step) {
    case TLS_READ:
        return step_read(t);
    case TLS_TURN:
        return step_turn(t);
    case TLS_WORK:
        return step_work(t);
    case TLS_SEND:
        return step_send(t);
    case TLS_OPEN:
    case TLS_FAILED:
    case TLS_LINGER:
        break;
    }
    return -EAGAIN;
}

void tls_shake_run(struct tls_stream *t)
{
    int r = 0;

    if (timer_is_due(&t->deadline)) {
        (void)give_up(t, FAIL(stream_why(&t->s), -ERR_DEADLINE, "TLS handshake took too long"),
                      NULL);
        return;
    }
    while (r == 0 && t->shake) {
        r = step(t);
    }
}

bool tls_shake_is_silent(const struct tls_stream *t)
{
    return t->step == TLS_READ;
}

bool tls_shake_is_new(const struct tls_stream *t)
{
    return !t->shake->begun;
}

void tls_shake_displace(struct tls_stream *t)
{
    t->l->stats.displaced++;
    (void)give_up(t,
                  FAIL(stream_why(&t->s), -ERR_LIMIT,
                       "too many TLS handshakes, and it made way for another address"),
                  NULL);
    task_wake(&t->task, WAKE_CHILD);
}

void tls_shake_start(struct tls_stream *t, const struct handshake_spec *spec, uint64_t lane,
                     const struct ip *from)
{
    struct tls_shake *k = mem_new(struct tls_shake);
    bool client = spec->role == TLS_MESH_CLIENT || spec->role == TLS_HOST_CLIENT;

    t->shake = k;
    k->job.work = work;
    k->job.abandoned = abandoned;
    k->lane = lane;
    bytes_init(&k->in, HANDSHAKE_INPUT_MAX);
    bytes_init(&k->out, HANDSHAKE_INPUT_MAX);
    int r = tls_room_enter(t, &k->place, lane, from);
    if (r < 0) {
        t->l->stats.refused++;
        (void)give_up(t, FAIL(stream_why(&t->s), r, "too many TLS handshakes"), NULL);
        return;
    }
    struct diag why = {.code = 0};
    r = handshake_new(&k->handshake, t->l->ctx, spec, &why);
    if (r < 0) {
        (void)give_up(t, r, &why);
        return;
    }
    timer_set(&t->deadline, &t->task, t->l->options.handshake_ms);
    if (client) {
        ask_for_turn(t);
    } else {
        task_wake(&t->task, WAKE_START);
    }
}
