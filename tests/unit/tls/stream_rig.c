/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_rig.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "t.h"

const char tls_rig_server[] = "spiffe://cluster.local/ns/shop/sa/server";
static const char *const alpn_h2[] = {"h2"};

struct handshake_spec tls_spec_of(bool client)
{
    struct handshake_spec spec = pki_handshake(client);

    spec.alpn = alpn_h2;
    spec.alpn_count = 1;
    return spec;
}

/* --- one end: sends a pattern, checks the peer's --- */

uint8_t talk_pattern(uint8_t seed, size_t at)
{
    return (uint8_t)(seed + at * 31 + (at >> 8));
}

static void check_bytes(struct talker *e, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        e->wrong = e->wrong || p[i] != talk_pattern(e->peer_seed, e->received + i);
    }
    e->received += len;
}

static ssize_t receive_copy(struct talker *e)
{
    uint8_t buf[3000];
    ssize_t n = stream_read(e->s, buf, MIN_OF(e->chunk, sizeof(buf)));

    if (n > 0) {
        check_bytes(e, buf, (size_t)n);
    }
    return n;
}

/* Records are opened straight into so much room. */
static ssize_t receive_wide(struct talker *e)
{
    static uint8_t buf[50000];
    ssize_t n = stream_read(e->s, buf, sizeof(buf));

    if (n > 0) {
        check_bytes(e, buf, (size_t)n);
    }
    return n;
}

/* Takes all but the last byte of the first two pieces, so that remainders occur. */
static ssize_t receive_lent(struct talker *e)
{
    struct iovec v[2];
    int count = stream_peek(e->s, v, 2);
    size_t n = 0;

    for (int i = 0; i < count; i++) {
        size_t part = i + 1 == count && v[i].iov_len > 1 ? v[i].iov_len - 1 : v[i].iov_len;
        check_bytes(e, v[i].iov_base, part);
        n += part;
    }
    if (count > 0) {
        stream_skip(e->s, n);
    }
    return count > 0 ? (ssize_t)n : count;
}

static ssize_t receive(struct talker *e)
{
    static ssize_t (*const ways[])(struct talker *) = {receive_wide, receive_copy, receive_wide,
                                                       receive_lent};

    if (e->way == TALK_MIXED) {
        return ways[e->reads++ % ARRAY_LEN(ways)](e);
    }
    return e->way == TALK_COPY ? receive_copy(e) : receive_lent(e);
}

static ssize_t send_copy(struct talker *e)
{
    uint8_t buf[3000];
    size_t n = MIN_OF(MIN_OF(e->chunk, sizeof(buf)), e->to_send - e->sent);

    for (size_t i = 0; i < n; i++) {
        buf[i] = talk_pattern(e->seed, e->sent + i);
    }
    return stream_write(e->s, buf, n);
}

static ssize_t send_lent(struct talker *e)
{
    struct iovec v[4];
    size_t n = 0;
    int count = stream_reserve(e->s, v, 4, MIN_OF(e->chunk, e->to_send - e->sent));

    for (int i = 0; i < count; i++) {
        for (size_t b = 0; b < v[i].iov_len; b++, n++) {
            ((uint8_t *)v[i].iov_base)[b] = talk_pattern(e->seed, e->sent + n);
        }
    }
    if (count > 0) {
        stream_commit(e->s, n);
    }
    return count > 0 ? (ssize_t)n : count;
}

static int receive_all(struct talker *e)
{
    ssize_t n = 1;

    while (n > 0 && !e->eof && !e->deaf) {
        n = receive(e);
        e->eof = n == 0;
    }
    return n < 0 && n != -EAGAIN ? (int)n : 0;
}

static int send_all(struct talker *e)
{
    ssize_t n = 1;
    size_t stop = e->turn_bytes ? MIN_OF(e->sent + e->turn_bytes, e->to_send) : e->to_send;

    while (n > 0 && e->sent < stop) {
        n = e->way == TALK_LEND ? send_lent(e) : send_copy(e);
        e->sent += n > 0 ? (size_t)n : 0;
    }
    if (n > 0 && e->sent < e->to_send) {
        task_wake(&e->task, WAKE_IO);
    }
    if (n > 0 && e->sent == e->to_send && !e->shut_done) {
        n = stream_shut(e->s);
        e->shut_done = n == 0;
    } else if (n == -EAGAIN) {
        n = stream_flush(e->s);
    }
    return n < 0 && n != -EAGAIN ? (int)n : 0;
}

void talk_run(struct task *t, unsigned why UNUSED)
{
    struct talker *e = container_of(t, struct talker, task);

    if (e->error == 0 && e->s) {
        int in = receive_all(e);
        int out = send_all(e);
        e->error = in < 0 ? in : out;
    }
}

/* --- two ends over a pipe --- */

unsigned tls_rig_pool_limit = 100;

void tls_rig_base(struct tls_rig *g, const struct tls_options *options,
                  const struct tls_loop_options *limits)
{
    *g = (struct tls_rig){.fault = {.countdown = -1, .code = -EIO}};
    g->l = loop_new(NULL);
    g->pool = jobs_new(1, tls_rig_pool_limit, 100, NULL);
    if (!g->l || !g->pool || tls_ctx_new(&g->ctx, options, NULL) < 0) {
        abort();
    }
    loop_stop_clock(g->l);
    g->tls = tls_loop_new(g->l, g->pool, g->ctx, limits);
}

void tls_rig_talk(struct tls_rig *g, struct talker *e, struct stream *s, int which)
{
    *e = (struct talker){.s = s,
                         .way = which ? TALK_LEND : TALK_COPY,
                         .seed = (uint8_t)which,
                         .peer_seed = (uint8_t)!which,
                         .to_send = 100000,
                         .chunk = 70000};
    task_init(&e->task, g->l, "talk", talk_run);
    stream_own(s, &e->task);
    task_wake(&e->task, WAKE_START);
}

void tls_rig_start(struct tls_rig *g, size_t capacity, const struct tls_options *options,
                   const struct tls_loop_options *limits)
{
    struct stream *ends[2];

    tls_rig_base(g, options, limits);
    mempipe_pair(ends, capacity, &g->fault);
    for (int i = 0; i < 2; i++) {
        struct handshake_spec spec = tls_spec_of(i == 1);
        tls_rig_talk(g, &g->e[i], tls_stream_new(g->tls, ends[i], &spec, 1), i);
    }
}

bool talker_ended(const struct talker *e)
{
    return e->error < 0 || (e->eof && e->shut_done);
}

/* Bounded turns: a lost wake is a failure, not a hang. */
bool tls_rig_settle(struct tls_rig *g)
{
    for (int i = 0; i < TURNS_MAX && !(talker_ended(&g->e[0]) && talker_ended(&g->e[1])); i++) {
        struct jobs_stats busy = jobs_stats(g->pool);
        bool idle = loop_turn(g->l, 0) == 0;
        if (idle && busy.queued + busy.running > 0) {
            (void)loop_turn(g->l, WAIT_MS);
        } else if (idle && loop_turn(g->l, WAIT_MS) == 0) {
            return false;
        }
    }
    return talker_ended(&g->e[0]) && talker_ended(&g->e[1]);
}

void tls_rig_drain(struct tls_rig *g)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        struct jobs_stats busy = jobs_stats(g->pool);
        if (loop_turn(g->l, 0) == 0 && busy.queued + busy.running == 0) {
            break;
        }
    }
    (void)loop_turn(g->l, 0);
}

void talker_close(struct talker *e, int why)
{
    stream_close(e->s, why);
    e->s = NULL;
    task_fini(&e->task);
}

void tls_rig_free(struct tls_rig *g)
{
    tls_rig_drain(g);
    tls_loop_free(g->tls);
    jobs_free(g->pool);
    tls_ctx_free(g->ctx);
    loop_free(g->l);
}

void tls_rig_stop(struct tls_rig *g)
{
    for (int i = 0; i < 2; i++) {
        talker_close(&g->e[i], g->e[i].error);
    }
    tls_rig_free(g);
}

/* Until both handshakes are done, with nothing to say. */
bool tls_rig_open(struct tls_rig *g)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        if (tls_stream_peer(g->e[0].s) && tls_stream_peer(g->e[1].s)) {
            return true;
        }
        (void)loop_turn(g->l, WAIT_MS);
    }
    return false;
}

bool tls_rig_arrived(const struct tls_rig *g)
{
    for (int i = 0; i < 2; i++) {
        const struct talker *e = &g->e[i];
        if (e->error != 0 || e->wrong || e->received != g->e[1 - i].to_send) {
            return false;
        }
    }
    return true;
}

/* --- a busy pool --- */

static void plug_work(struct job *j)
{
    struct plug *p = container_of(j, struct plug, job);

    while (!atomic_load(&p->released)) {
        (void)sched_yield();
    }
}

static void plug_gone(struct job *j)
{
    (void)j;
}

void plug_submit(struct plug *p, struct tls_rig *g, struct task *t)
{
    p->job.work = plug_work;
    p->job.abandoned = plug_gone;
    atomic_store(&p->released, false);
    while (jobs_submit(g->pool, &p->job, 9, t) < 0) {
        (void)sched_yield(); /* the one before has not been taken from the queue yet */
    }
}

void plug_release(struct plug *p)
{
    atomic_store(&p->released, true);
}
