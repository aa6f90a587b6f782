/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending. One batch buffer serves all streams of a loop: its holder fills the slots of records to
 * be, then they are sealed where they lie and go down in one call. What below does not take stays in
 * the batch until another stream wants it, and is copied out only then. When below is no socket, sealed
 * bytes leave the batch at once, because below may need it.
 */
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "tls/tls_stream_int.h"

static uint8_t *slots(const struct tls_out *out)
{
    return out->buf + RECORD_CONTROL_MAX;
}

static void let_go(struct tls_out *out)
{
    out->holder = NULL;
    out->step = TLS_OUT_FILLING;
    out->filled = 0;
}

static bool is_holder(const struct tls_stream *t)
{
    return t->l->out.holder == t;
}

static bool is_filling(const struct tls_stream *t)
{
    return is_holder(t) && t->l->out.step == TLS_OUT_FILLING;
}

static bool has_sealed(const struct tls_stream *t)
{
    return t->wire || (is_holder(t) && t->l->out.step == TLS_OUT_SENDING);
}

bool tls_out_pending(const struct tls_stream *t)
{
    return is_holder(t) || t->wire || t->dirty || (t->record && record_wants_control(t->record));
}

static int lost(struct tls_stream *t, int r, const struct diag *why)
{
    return tls_fail(t, r, why);
}

int tls_out_keep(struct tls_stream *t, const uint8_t *from, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct tls_wire *w = mem_try(sizeof(*w) + len, sizeof(*w) + TLS_OUT_BYTES);
    if (!w) {
        return lost(t, FAIL(stream_why(&t->s), -ENOMEM, "keep %zu bytes to send", len), NULL);
    }
    *w = (struct tls_wire){.end = len};
    memcpy(w->data, from, len);
    t->wire = w;
    return 0;
}

/* What is left of the sealed batch into memory of t's own; the batch is free then. */
static int move_out(struct tls_stream *t)
{
    struct tls_out *out = &t->l->out;
    int r = tls_out_keep(t, out->buf + out->at, out->end - out->at);

    let_go(out);
    return r;
}

/* The batch's payload becomes records, behind a key update if one is due. */
static int seal(struct tls_stream *t)
{
    struct tls_out *out = &t->l->out;
    uint8_t control[RECORD_CONTROL_MAX];

    struct diag why = {.code = 0};

    tls_stir(t);
    ssize_t n = record_control(t->record, control, &why);
    int r = n < 0 ? (int)n : record_seal(t->record, slots(out), out->filled, &why);
    if (r < 0) {
        let_go(out);
        return lost(t, r, &why);
    }
    memcpy(slots(out) - n, control, (size_t)n);
    out->at = (size_t)(RECORD_CONTROL_MAX - n);
    out->end = RECORD_CONTROL_MAX + record_run_bytes(out->filled);
    out->step = TLS_OUT_SENDING;
    return tls_is_flat(t) ? 0 : move_out(t);
}

static int half_lost(struct tls_stream *t, int r)
{
    stream_note(&t->s, stream_diag(t->below));
    t->out_error = r;
    tls_out_drop(t);
    return r;
}

/* Bytes taken by below, or what it answered; a final answer is the end of our half. */
static ssize_t write_below(struct tls_stream *t, const uint8_t *from, size_t len)
{
    ssize_t n = stream_write(t->below, from, len);

    t->dirty = t->dirty || n > 0;
    return n < 0 && n != -EAGAIN ? half_lost(t, (int)n) : n;
}

static int send_wire(struct tls_stream *t)
{
    while (t->wire) {
        struct tls_wire *w = t->wire;
        ssize_t n = write_below(t, w->data + w->at, w->end - w->at);
        if (n < 0) {
            return (int)n;
        }
        w->at += (size_t)n;
        if (w->at == w->end) {
            mem_free(w);
            t->wire = NULL;
        }
    }
    return 0;
}

static int send_batch(struct tls_stream *t)
{
    struct tls_out *out = &t->l->out;

    while (is_holder(t)) {
        ssize_t n = write_below(t, out->buf + out->at, out->end - out->at);
        if (n < 0) {
            return (int)n;
        }
        out->at += (size_t)n;
        if (out->at == out->end) {
            let_go(out);
        }
    }
    return 0;
}

static int send_sealed(struct tls_stream *t)
{
    return t->wire ? send_wire(t) : send_batch(t);
}

/* A record of the layer's own, when nothing else is on its way. */
static int send_record(struct tls_stream *t, const uint8_t *from, size_t len)
{
    int r = tls_out_keep(t, from, len);

    return r < 0 ? r : send_wire(t);
}

static int send_control(struct tls_stream *t)
{
    uint8_t control[RECORD_CONTROL_MAX];
    struct diag why = {.code = 0};

    tls_stir(t);
    ssize_t n = record_control(t->record, control, &why);
    return n < 0 ? lost(t, (int)n, &why) : send_record(t, control, (size_t)n);
}

/* 0 once everything sealed, and what the record layer itself has to say, was taken by below. */
static int push(struct tls_stream *t)
{
    int r = t->out_error;

    if (is_filling(t) && t->l->out.filled == 0) {
        let_go(&t->l->out); /* room was lent and not used */
    }
    if (r == 0 && is_filling(t)) {
        r = seal(t);
    }
    if (r == 0 && has_sealed(t)) {
        r = send_sealed(t);
    }
    return r == 0 && record_wants_control(t->record) ? send_control(t) : r;
}

int tls_out_flush(struct tls_stream *t)
{
    int r = push(t);

    if (r < 0 || !t->dirty) {
        return r;
    }
    r = stream_flush(t->below);
    t->dirty = r == -EAGAIN;
    return r < 0 && r != -EAGAIN ? half_lost(t, r) : r;
}

int tls_out_alert(struct tls_stream *t, enum tls_alert alert)
{
    uint8_t record[RECORD_CONTROL_MAX];
    int r = push(t);

    if (r < 0) {
        return r;
    }
    struct diag why = {.code = 0};
    ssize_t n = record_alert(t->record, alert, record, &why);
    t->end = TLS_END_NOTIFIED;
    if (n < 0) {
        stream_note(&t->s, &why);
    }
    return n < 0 ? (int)n : send_record(t, record, (size_t)n);
}

int tls_out_evict(struct tls_stream *t)
{
    int r = 0;

    if (is_filling(t) && t->l->out.filled == 0) {
        let_go(&t->l->out); /* room was lent and not used */
    }
    if (is_filling(t)) {
        r = seal(t);
    }
    if (r == 0 && is_holder(t)) { /* below is a socket: what it takes need not be copied */
        r = send_batch(t);
    }
    return is_holder(t) ? move_out(t) : r;
}

void tls_out_drop(struct tls_stream *t)
{
    if (is_holder(t)) {
        let_go(&t->l->out);
    }
    mem_free(t->wire);
    t->wire = NULL;
}

/* What is in the batch, which becomes memory of t's own when another stream wants the batch. */
static size_t in_batch(const struct tls_stream *t)
{
    const struct tls_out *out = &t->l->out;

    return !is_holder(t) ? 0 : out->step == TLS_OUT_FILLING ? out->filled : out->end - out->at;
}

size_t tls_out_held(const struct tls_stream *t)
{
    return in_batch(t) + (t->wire ? sizeof(*t->wire) + t->wire->end : 0);
}

size_t tls_out_unsent(const struct tls_stream *t)
{
    return in_batch(t) + (t->wire ? t->wire->end - t->wire->at : 0);
}

static void take_batch(struct tls_stream *t)
{
    struct tls_out *out = &t->l->out;

    out->used = true;
    loop_stir(t->l->loop);
    if (out->holder == t) {
        return;
    }
    if (out->holder) {
        (void)tls_out_evict(out->holder); /* its own error, told by its next call */
    }
    out->buf = out->buf ? out->buf : mem_pages(TLS_OUT_BYTES);
    out->holder = t;
}

/* Room means: nothing sealed is waiting, and the batch is ours and not full. */
static int make_room(struct tls_stream *t)
{
    bool full = is_filling(t) && t->l->out.filled == TLS_OUT_ROOM;
    int r = t->out_error;

    if (r == 0 && (full || has_sealed(t))) {
        r = push(t);
    }
    if (r == 0) {
        take_batch(t);
    }
    return r == -EAGAIN ? tls_blocked(t) : r;
}

int tls_out_reserve(struct tls_stream *t, struct iovec *into, int max, size_t want)
{
    struct tls_out *out = &t->l->out;
    int r = make_room(t);
    int count = 0;

    if (r < 0) {
        return r;
    }
    size_t at = out->filled;
    size_t end = MIN_OF(at + MAX_OF(want, (size_t)1), (size_t)TLS_OUT_ROOM);
    for (; count < max && at < end; count++) {
        size_t inside = at % RECORD_PLAIN_MAX;
        size_t len = MIN_OF(RECORD_PLAIN_MAX - inside, end - at);
        uint8_t *slot = slots(out) + at / RECORD_PLAIN_MAX * RECORD_SLOT;
        into[count] = (struct iovec){slot + RECORD_HEAD + inside, len};
        at += len;
    }
    return count;
}

void tls_out_commit(struct tls_stream *t, size_t len)
{
    if (!is_filling(t)) {
        (void)lost(t, FAIL(stream_why(&t->s), -EIO, "fill room that was lent and is gone"), NULL);
        return;
    }
    t->l->out.filled += len;
    task_wake_late(&t->task, WAKE_IO); /* small writes of one turn become one record */
}
