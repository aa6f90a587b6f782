/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_stream.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/tcp_stream.h"
#include "tls/tls_stream_int.h"

static const struct {
    const char *name;
    unsigned may_go;
} steps[] = {
    [TLS_READ] = {"read", BIT(TLS_TURN) | BIT(TLS_FAILED)},
    [TLS_TURN] = {"turn", BIT(TLS_WORK) | BIT(TLS_FAILED)},
    [TLS_WORK] = {"work", BIT(TLS_SEND) | BIT(TLS_FAILED)},
    [TLS_SEND] = {"send", BIT(TLS_READ) | BIT(TLS_OPEN) | BIT(TLS_FAILED)},
    [TLS_OPEN] = {"open", BIT(TLS_FAILED) | BIT(TLS_LINGER)},
    [TLS_FAILED] = {"failed", 0},
    [TLS_LINGER] = {"linger", 0},
};

static struct tls_stream *of(struct stream *s)
{
    return container_of(s, struct tls_stream, s);
}

/* The handshake has one deadline for all its steps, set when it starts. */
void tls_enter(struct tls_stream *t, enum tls_step next)
{
    assert(steps[t->step].may_go & BIT(next));
    t->step = next;
    if (next == TLS_OPEN || next == TLS_FAILED) {
        timer_clear(&t->deadline);
    }
    if (next == TLS_OPEN) {
        tls_stir(t);
    } else if (next == TLS_LINGER) {
        timer_set(&t->deadline, &t->task, TLS_LINGER_MS);
    }
}

void tls_stir(struct tls_stream *t)
{
    t->stirred = true;
    if (t->step == TLS_OPEN && !timer_is_armed(&t->deadline)) {
        timer_set(&t->deadline, &t->task, TLS_REST_MS);
    }
}

/* Most of what an idle session holds is its expanded keys. */
static void rest(struct tls_stream *t)
{
    if (t->stirred) {
        t->stirred = false;
        timer_set(&t->deadline, &t->task, TLS_REST_MS);
    } else {
        timer_clear(&t->deadline);
        record_rest(t->record);
    }
}

int tls_fail(struct tls_stream *t, int r, const struct diag *why)
{
    if (why) {
        stream_note(&t->s, why);
    }
    t->in_error = t->in_error ? t->in_error : r;
    t->out_error = t->out_error ? t->out_error : r;
    if (t->step != TLS_FAILED && t->step != TLS_LINGER) {
        tls_enter(t, TLS_FAILED);
    }
    return r;
}

bool tls_is_flat(const struct tls_stream *t)
{
    return stream_is_tcp(t->below);
}

int tls_blocked(struct tls_stream *t)
{
    t->waits = true;
    return -EAGAIN;
}

int tls_ready(struct tls_stream *t, int half_error)
{
    switch (t->step) {
    case TLS_READ:
    case TLS_TURN:
    case TLS_WORK:
    case TLS_SEND:
        return tls_blocked(t);
    case TLS_OPEN:
    case TLS_FAILED:
    case TLS_LINGER:
        break;
    }
    return half_error;
}

/* --- reading --- */

static int tls_peek(struct stream *s, struct iovec *out, int max)
{
    struct tls_stream *t = of(s);

    /* A failed session may still have plaintext from before. */
    return t->record ? tls_in_peek(t, out, max) : tls_ready(t, t->in_error);
}

static void tls_skip(struct stream *s, size_t len)
{
    tls_in_skip(of(s), len);
}

static ssize_t tls_read(struct stream *s, void *into, size_t room)
{
    struct tls_stream *t = of(s);

    return t->record ? tls_in_read(t, into, room) : tls_ready(t, t->in_error);
}

/* --- writing --- */

static int may_write(struct tls_stream *t)
{
    int r = tls_ready(t, t->out_error);

    return r == 0 && t->end != TLS_END_NONE ? FAIL(stream_why(&t->s), -EPIPE, "write after shut")
                                            : r;
}

static int tls_reserve(struct stream *s, struct iovec *out, int max, size_t want)
{
    struct tls_stream *t = of(s);
    int r = may_write(t);

    return r < 0 ? r : tls_out_reserve(t, out, max, want);
}

static void tls_commit(struct stream *s, size_t len)
{
    tls_out_commit(of(s), len);
}

/* Copies one source piece into room; returns how much of it. */
static size_t fill_room(const struct iovec *room, int count, const uint8_t *from, size_t len)
{
    size_t n = 0;

    for (int i = 0; i < count && n < len; i++) {
        size_t part = MIN_OF(room[i].iov_len, len - n);
        memcpy(room[i].iov_base, from + n, part);
        n += part;
    }
    return n;
}

static ssize_t tls_write(struct stream *s, const void *from, size_t len)
{
    struct iovec room[TLS_BATCH_RECORDS];
    int count = tls_reserve(s, room, TLS_BATCH_RECORDS, len);

    if (count < 0) {
        return count;
    }
    size_t n = fill_room(room, count, from, len);
    tls_commit(s, n);
    return (ssize_t)n;
}

static ssize_t tls_writev(struct stream *s, const struct iovec *from, int count)
{
    ssize_t done = 0;

    for (int i = 0; i < count; i++) {
        if (from[i].iov_len == 0) {
            continue;
        }
        ssize_t n = tls_write(s, from[i].iov_base, from[i].iov_len);
        if (n < 0) {
            return done > 0 ? done : n; /* a refusal after some bytes shows at the next call */
        }
        done += n;
        if ((size_t)n < from[i].iov_len) {
            break;
        }
    }
    return done;
}

static int tls_flush(struct stream *s)
{
    struct tls_stream *t = of(s);
    int r = tls_ready(t, t->out_error);

    if (r == 0) {
        r = tls_out_flush(t);
    }
    return r == -EAGAIN ? tls_blocked(t) : r;
}

/* close_notify, then the end of below's half (RFC 8446 6.1). */
static int end_half(struct tls_stream *t)
{
    int r = t->end == TLS_END_NONE ? tls_out_alert(t, TLS_ALERT_CLOSE_NOTIFY) : 0;

    if (r == 0) {
        r = tls_out_flush(t);
    }
    if (r == 0 && t->end == TLS_END_NOTIFIED) {
        r = stream_shut(t->below);
        t->end = r == 0 ? TLS_END_SHUT : t->end;
    }
    return r;
}

static int tls_shut(struct stream *s)
{
    struct tls_stream *t = of(s);
    int r = tls_ready(t, t->out_error);

    if (r == 0) {
        r = end_half(t);
    }
    return r == -EAGAIN ? tls_blocked(t) : r;
}

/* --- the end --- */

void tls_stream_free(struct tls_stream *t)
{
    tls_shake_drop(t);
    tls_in_drop(t);
    tls_out_drop(t);
    record_free(t->record);
    tls_peer_fini(&t->peer);
    list_remove(&t->in_lingering);
    timer_clear(&t->deadline);
    task_fini(&t->task);
    stream_fini(&t->s);
    mem_free(t);
}

static void release(struct tls_stream *t, int why)
{
    stream_close(t->below, why);
    tls_stream_free(t);
}

/* Frees t unless there is something left to send. */
static void linger(struct tls_stream *t)
{
    int r = timer_is_due(&t->deadline) ? -ERR_DEADLINE : end_half(t);

    if (r != -EAGAIN) {
        release(t, r);
    }
}

static void tls_close(struct stream *s, int why)
{
    struct tls_stream *t = of(s);

    if (why < 0 || t->step != TLS_OPEN || t->out_error < 0) {
        release(t, why);
        return;
    }
    tls_in_drop(t);
    tls_enter(t, TLS_LINGER);
    list_append(&t->l->lingering, &t->in_lingering);
    linger(t);
}

static const struct tls_stream *const_of(const struct stream *s)
{
    return (const struct tls_stream *)(const void *)s;
}
_Static_assert(offsetof(struct tls_stream, s) == 0, "const_of reads through the stream");

static size_t tls_held(const struct stream *s)
{
    return tls_out_held(const_of(s));
}

static size_t tls_unsent(const struct stream *s)
{
    return tls_out_unsent(const_of(s)) + stream_unsent(const_of(s)->below);
}

static const struct stream_ops tls_ops = {
    .name = "tls",
    .read = tls_read,
    .write = tls_write,
    .flush = tls_flush,
    .shut = tls_shut,
    .close = tls_close,
    .writev = tls_writev,
    .peek = tls_peek,
    .skip = tls_skip,
    .reserve = tls_reserve,
    .commit = tls_commit,
    .held = tls_held,
    .unsent = tls_unsent,
};

/* --- the task --- */

/* The owner may be able to go on: below moved, or we did. */
static void pass_wake(struct tls_stream *t)
{
    if (t->waits) {
        t->waits = false;
        stream_wake(&t->s);
    }
}

static void run(struct task *task, unsigned why UNUSED)
{
    struct tls_stream *t = container_of(task, struct tls_stream, task);

    switch (t->step) {
    case TLS_READ:
    case TLS_TURN:
    case TLS_WORK:
    case TLS_SEND:
        tls_shake_run(t);
        if (t->step == TLS_OPEN || t->step == TLS_FAILED) {
            pass_wake(t);
        }
        return;
    case TLS_OPEN:
        if (timer_is_due(&t->deadline)) {
            rest(t);
        }
        if (t->out_error == 0 && tls_out_pending(t)) {
            (void)tls_out_flush(t); /* an error is told by the owner's next call */
        }
        pass_wake(t);
        return;
    case TLS_FAILED:
        pass_wake(t);
        return;
    case TLS_LINGER:
        linger(t);
        return;
    }
}

struct tls_stream *tls_stream_make(struct tls_loop *l, struct stream *below)
{
    struct tls_stream *t = mem_new(struct tls_stream);

    t->s.ops = &tls_ops;
    t->l = l;
    t->below = below;
    t->step = TLS_READ;
    list_init(&t->in_lingering);
    task_init(&t->task, l->loop, "tls", run);
    stream_own(below, &t->task);
    return t;
}

struct stream *tls_stream_new(struct tls_loop *l, struct stream *below,
                              const struct handshake_spec *spec, uint64_t lane)
{
    return tls_stream_accept(l, below, spec, lane, &(struct ip){.family = IP_NONE});
}

struct stream *tls_stream_accept(struct tls_loop *l, struct stream *below,
                                 const struct handshake_spec *spec, uint64_t lane,
                                 const struct ip *from)
{
    struct tls_stream *t = tls_stream_make(l, below);

    tls_shake_start(t, spec, lane, from);
    return &t->s;
}

_Static_assert(sizeof(struct tls_stream) <= 448, "per-connection memory is a budget");

const struct tls_peer *tls_stream_peer(const struct stream *s)
{
    return const_of(s)->record ? &const_of(s)->peer : NULL;
}

struct stream *tls_stream_below(const struct stream *s)
{
    return const_of(s)->below;
}

void tls_stream_stats(const struct stream *s, struct record_stats *out)
{
    *out = (struct record_stats){0};
    if (const_of(s)->record) {
        record_stats(const_of(s)->record, out);
    }
}
