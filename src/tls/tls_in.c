/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving. One batch buffer serves all streams of a loop: its holder reads into it and opens
 * records there, or straight into the reader's memory where that has room for any record. Only when
 * another stream wants it is what the holder has left copied out, so the usual stream, which is read
 * until it is empty, never copies and never owns memory.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "tls/tls_stream_int.h"

enum { READS_AT_ONCE = 4 /* that bring no plaintext */ };

static void let_go(struct tls_in *in)
{
    in->holder = NULL;
    in->raw_at = in->raw_end = 0;
    in->piece_at = in->piece_end = 0;
}

static size_t piece_bytes(const struct tls_in *in)
{
    size_t n = 0;

    for (unsigned i = in->piece_at; i < in->piece_end; i++) {
        n += in->piece[i].iov_len;
    }
    return n;
}

static struct tls_kept *kept_new(size_t plain, size_t raw)
{
    struct tls_kept *k = mem_try(sizeof(*k) + plain + raw, sizeof(*k) + 2 * TLS_IN_BYTES);

    if (k) {
        *k = (struct tls_kept){.plain_end = plain, .end = plain + raw};
    }
    return k;
}

int tls_in_keep(struct tls_stream *t, struct slice plain, struct slice raw)
{
    if (plain.len + raw.len == 0) {
        return 0;
    }
    struct tls_kept *k = kept_new(plain.len, raw.len);
    if (!k) {
        return -ENOMEM;
    }
    if (plain.len > 0) {
        memcpy(k->data, plain.p, plain.len);
    }
    if (raw.len > 0) {
        memcpy(k->data + plain.len, raw.p, raw.len);
    }
    t->kept = k;
    return 0;
}

int tls_in_evict(struct tls_stream *t)
{
    struct tls_in *in = &t->l->in;
    size_t plain = piece_bytes(in);
    size_t raw = in->raw_end - in->raw_at;

    if (in->holder != t) {
        return 0;
    }
    if (plain + raw > 0) {
        struct tls_kept *k = kept_new(plain, raw);
        if (!k) {
            let_go(in);
            return tls_fail(
                t, FAIL(stream_why(&t->s), -ENOMEM, "keep %zu received bytes", plain + raw), NULL);
        }
        uint8_t *at = k->data;
        for (unsigned i = in->piece_at; i < in->piece_end; i++) {
            memcpy(at, in->piece[i].iov_base, in->piece[i].iov_len);
            at += in->piece[i].iov_len;
        }
        memcpy(at, in->buf + in->raw_at, raw);
        t->kept = k;
    }
    let_go(in);
    return 0;
}

void tls_in_drop(struct tls_stream *t)
{
    if (t->l->in.holder == t) {
        let_go(&t->l->in);
    }
    mem_free(t->kept);
    t->kept = NULL;
}

/* The batch becomes t's, with what t kept of sealed bytes; t has no plaintext left. */
static void take_batch(struct tls_stream *t)
{
    struct tls_in *in = &t->l->in;

    in->used = true;
    loop_stir(t->l->loop);
    if (in->holder == t) {
        return;
    }
    if (in->holder) {
        (void)tls_in_evict(in->holder); /* its own error, told by its next call */
    }
    in->buf = in->buf ? in->buf : mem_pages(TLS_IN_BYTES);
    in->holder = t;
    if (t->kept) {
        in->raw_end = t->kept->end - t->kept->plain_end;
        memcpy(in->buf, t->kept->data + t->kept->plain_end, in->raw_end);
        mem_free(t->kept);
        t->kept = NULL;
    }
}

/* Tells the peer why, as far as that is possible; the connection is lost anyway. */
static int refuse(struct tls_stream *t, int r)
{
    if (r == -ERR_TLS_RECORD) {
        (void)tls_out_alert(t, record_alert_due(t->record));
        (void)tls_out_flush(t);
    }
    return tls_fail(t, r, NULL);
}

/* Opens what is there. Pieces that came before a failed record are still given out. */
static void open_batch(struct tls_stream *t, struct record_run *run)
{
    struct tls_in *in = &t->l->in;

    struct diag why = {.code = 0};

    in->piece_at = in->piece_end = 0;
    if (in->raw_at == in->raw_end) {
        return;
    }
    tls_stir(t);
    int r = record_open(t->record, in->buf + in->raw_at, in->raw_end - in->raw_at, run, &why);
    in->piece_end = run->into ? 0 : (unsigned)run->iov_len;
    in->raw_at += run->used;
    t->in_ended = t->in_ended || run->end == RECORD_CLOSED;
    if (r < 0) {
        in->raw_at = in->raw_end;
        stream_note(&t->s, &why);
        (void)refuse(t, r); /* told behind the pieces */
    }
}

/* Straight behind the sealed rest, which is part of one record. */
static ssize_t read_socket(struct tls_stream *t)
{
    struct tls_in *in = &t->l->in;

    assert(in->raw_end < RECORD_WIRE_MAX);
    return stream_read(t->below, in->buf + in->raw_end, TLS_IN_READ - in->raw_end);
}

/* By way of a buffer of its own: below may end in a session of this loop, which takes the batch from
 * us meanwhile. */
static ssize_t read_nested(struct tls_stream *t)
{
    struct tls_loop *l = t->l;

    l->nested = l->nested ? l->nested : mem_alloc(TLS_NESTED_BYTES);
    ssize_t n = stream_read(t->below, l->nested, TLS_NESTED_BYTES);
    take_batch(t);
    if (n > 0) {
        memcpy(l->in.buf + l->in.raw_end, l->nested, (size_t)n);
    }
    return n;
}

static int end_of_input(struct tls_stream *t, ssize_t n)
{
    if (n == -EAGAIN) {
        return tls_blocked(t);
    }
    if (n == 0) {
        t->in_error = FAIL(stream_why(&t->s), -ERR_TRUNCATED, "peer closed without close_notify");
    } else {
        stream_note(&t->s, stream_diag(t->below));
        t->in_error = (int)n;
    }
    return t->in_error;
}

/* One read from below. 0, or the reason why there is nothing more. */
static int read_more(struct tls_stream *t)
{
    struct tls_in *in = &t->l->in;

    memmove(in->buf, in->buf + in->raw_at, in->raw_end - in->raw_at);
    in->raw_end -= in->raw_at;
    in->raw_at = 0;
    ssize_t n = tls_is_flat(t) ? read_socket(t) : read_nested(t);
    if (t->in_error < 0 || n <= 0) {
        return t->in_error < 0 ? t->in_error : end_of_input(t, n);
    }
    in->raw_end += (size_t)n;
    return 0;
}

/* A peer that sends no data all the time does not keep others from their turn. */
static int go_on_later(struct tls_stream *t)
{
    task_wake(&t->task, WAKE_IO);
    return tls_blocked(t);
}

/* An own key update may be due now that the peer has spoken. Its failure is told by the writer. */
static void answer(struct tls_stream *t)
{
    if (record_wants_control(t->record) && t->out_error == 0) {
        (void)tls_out_flush(t);
    }
}

/* Until there is plaintext, or a reason why not. */
static int fill(struct tls_stream *t, struct record_run *run)
{
    struct tls_in *in = &t->l->in;
    int r = 0;

    take_batch(t);
    for (int reads = 0; r == 0; reads++) {
        open_batch(t, run);
        if (run->bytes > 0 || t->in_ended || t->in_error < 0) {
            break;
        }
        r = reads < READS_AT_ONCE ? read_more(t) : go_on_later(t);
    }
    if (in->piece_end == 0 && (t->in_ended || in->raw_at == in->raw_end)) {
        let_go(in);
    }
    r = r < 0 ? r : in->holder == t ? 0 : t->in_error;
    answer(t);
    return r;
}

static bool has_kept_plain(const struct tls_stream *t)
{
    return t->kept && t->kept->plain_at < t->kept->plain_end;
}

static bool has_pieces(const struct tls_stream *t)
{
    return t->l->in.holder == t && t->l->in.piece_at < t->l->in.piece_end;
}

static int lend(const struct tls_stream *t, struct iovec *out, int max)
{
    const struct tls_in *in = &t->l->in;
    int count = 0;

    if (has_kept_plain(t)) {
        struct tls_kept *k = t->kept;
        out[0] = (struct iovec){k->data + k->plain_at, k->plain_end - k->plain_at};
        return 1;
    }
    for (unsigned i = in->piece_at; has_pieces(t) && i < in->piece_end && count < max; i++) {
        out[count++] = in->piece[i];
    }
    return count;
}

static bool has_plain(const struct tls_stream *t)
{
    return has_kept_plain(t) || has_pieces(t);
}

static bool is_over(const struct tls_stream *t)
{
    return t->in_ended || t->in_error < 0;
}

int tls_in_peek(struct tls_stream *t, struct iovec *out, int max)
{
    struct record_run run = {.iov = t->l->in.piece, .iov_max = TLS_IN_PIECES};
    int r = 0;

    if (!has_plain(t)) {
        r = is_over(t) ? t->in_error : fill(t, &run);
    }
    return r < 0 ? r : lend(t, out, max);
}

static void skip_kept(struct tls_stream *t, size_t len)
{
    struct tls_kept *k = t->kept;

    k->plain_at += len;
    if (k->plain_at == k->end) {
        mem_free(k);
        t->kept = NULL;
    }
}

void tls_in_skip(struct tls_stream *t, size_t len)
{
    struct tls_in *in = &t->l->in;

    if (has_kept_plain(t)) {
        skip_kept(t, len);
        return;
    }
    while (len > 0) {
        struct iovec *v = &in->piece[in->piece_at];
        size_t n = MIN_OF(len, v->iov_len);
        v->iov_base = (uint8_t *)v->iov_base + n;
        v->iov_len -= n;
        len -= n;
        in->piece_at += v->iov_len == 0;
    }
    if (in->piece_at == in->piece_end && in->raw_at == in->raw_end) {
        let_go(in);
    }
}

static ssize_t read_lent(struct tls_stream *t, uint8_t *into, size_t room)
{
    struct iovec v[TLS_IN_PIECES];
    size_t n = 0;
    int count = tls_in_peek(t, v, TLS_IN_PIECES);

    for (int i = 0; i < count && n < room; i++) {
        size_t part = MIN_OF(v[i].iov_len, room - n);
        memcpy(into + n, v[i].iov_base, part);
        n += part;
    }
    if (count > 0) {
        tls_in_skip(t, n);
    }
    return count < 0 ? count : (ssize_t)n;
}

ssize_t tls_in_read(struct tls_stream *t, uint8_t *into, size_t room)
{
    struct iovec piece;
    struct record_run run = {.iov = &piece, .iov_max = 1, .into = into, .room = room};

    if (room < RECORD_ROOM_MAX || has_plain(t) || is_over(t)) {
        return read_lent(t, into, room);
    }
    int r = fill(t, &run);
    return run.bytes > 0 ? (ssize_t)run.bytes : r;
}
