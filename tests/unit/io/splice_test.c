/* SPDX-License-Identifier: Apache-2.0 */
/* Relays between TCP sockets: long enough that the bytes take the way through the kernel. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/loop_int.h"
#include "io/splice_int.h"
#include "relay_task.h"
#include "stream_battery.h"
#include "tcp_pair.h"

static int relays;

static void ended(void *arg, int result, struct relay_stats stats, const struct diag *diag)
{
    (void)arg;
    (void)result;
    (void)stats;
    (void)diag;
    relays--;
}

static int relays_live(void)
{
    return relays;
}

static int relayed(void *arg, struct loop *l, struct stream *out[2])
{
    struct stream *near[2];
    struct stream *far[2];

    (void)arg;
    (void)signal(SIGPIPE, SIG_IGN);
    tcp_pair(l, near);
    tcp_pair(l, far);
    relays++;
    (void)relay_task_new(l, near[1], far[0], ended, NULL);
    out[0] = near[0];
    out[1] = far[1];
    return 0;
}

/* What was delivered to the relay before an abort may still be under way, so a close delivers. */
static const struct battery_kit relayed_kit = {
    .pair = relayed,
    .live = relays_live,
    .has = BATTERY_RESET | BATTERY_DELIVERS,
    .patience_ms = 30000, /* TCP may wait long before it sends again */
    .bulk_bytes = 12 << 20,
};
STREAM_BATTERY(relayed, &relayed_kit)

enum { BULK = 24 << 20, LOTS = 80 << 20 }; /* LOTS: more than all socket buffers together */

struct app {
    struct task task;
    struct stream *s;
    size_t sent;
    size_t to_send;
    size_t got;
    size_t read_limit;
    bool shut;
    bool ended;
    int failure;
    bool wrong;
};

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 131 + i / 4096 + i / 1000003);
}

static uint8_t buffer[256 << 10];

static void app_run(struct task *t, unsigned why)
{
    struct app *a = container_of(t, struct app, task);
    ssize_t n = 1;

    (void)why;
    while (n > 0 && a->sent < a->to_send) {
        size_t len = a->to_send - a->sent < sizeof(buffer) ? a->to_send - a->sent : sizeof(buffer);
        for (size_t i = 0; i < len; i++) {
            buffer[i] = byte_at(a->sent + i);
        }
        n = stream_write(a->s, buffer, len);
        a->sent += n > 0 ? (size_t)n : 0;
    }
    if (a->sent == a->to_send && !a->shut && a->to_send > 0) {
        a->shut = stream_shut(a->s) == 0;
    }
    for (n = 1; n > 0 && !a->ended && a->got < a->read_limit;) {
        n = stream_read(a->s, buffer, sizeof(buffer));
        for (ssize_t i = 0; i < n; i++) {
            a->wrong |= buffer[i] != byte_at(a->got + (size_t)i);
        }
        a->got += n > 0 ? (size_t)n : 0;
        a->ended = n == 0;
        a->failure = n < 0 && n != -EAGAIN ? (int)n : a->failure;
    }
}

struct rig {
    struct loop *loop;
    struct app app[2];
    struct relay_task *relay;
    bool over;
    int result;
};

static void note(void *arg, int result, struct relay_stats stats, const struct diag *diag)
{
    struct rig *g = arg;

    (void)stats;
    (void)diag;
    g->over = true;
    g->result = result;
}

static void rig_start(struct rig *g)
{
    struct stream *near[2];
    struct stream *far[2];

    *g = (struct rig){.loop = loop_new(NULL)};
    tcp_pair(g->loop, near);
    tcp_pair(g->loop, far);
    g->app[0].s = near[0];
    g->app[1].s = far[1];
    for (int i = 0; i < 2; i++) {
        task_init(&g->app[i].task, g->loop, "app", app_run);
        stream_own(g->app[i].s, &g->app[i].task);
        task_wake(&g->app[i].task, WAKE_START);
        g->app[i].read_limit = SIZE_MAX;
    }
    g->app[0].to_send = BULK;
    g->relay = relay_task_new(g->loop, near[1], far[0], note, g);
}

static void rig_stop(struct rig *g)
{
    for (int i = 0; i < 2; i++) {
        task_fini(&g->app[i].task);
        stream_close(g->app[i].s, 0);
    }
    loop_free(g->loop);
}

/* Until the far application has so many bytes, or it has ended. */
static void turns(struct rig *g, size_t got)
{
    for (int i = 0; i < 200000 && g->app[1].got < got && !g->app[1].ended && !g->over; i++) {
        (void)loop_turn(g->loop, 100);
    }
}

static void finish(struct rig *g)
{
    g->app[1].shut = stream_shut(g->app[1].s) == 0;
    for (int i = 0; i < 1000 && !g->over; i++) {
        (void)loop_turn(g->loop, 100);
    }
}

static void quiet(struct rig *g)
{
    for (int idle = 0; idle < 10;) { /* windows open late */
        idle = loop_turn(g->loop, 20) > 0 ? 0 : idle + 1;
    }
}

TEST(bulk_goes_through_the_kernel_and_arrives_whole)
{
    struct rig g;
    int fds = test_fd_count();

    (void)signal(SIGPIPE, SIG_IGN);
    rig_start(&g);
    turns(&g, BULK);
    unsigned pipes = g.loop->pipes; /* one was made, and is kept for the next */
    turns(&g, BULK + 1);
    finish(&g);
    struct app far = g.app[1];
    rig_stop(&g);
    CHECK_INT(pipes, 1);
    CHECK_INT(g.result, 0);
    CHECK_INT(far.got, BULK);
    CHECK(far.ended && !far.wrong);
    CHECK_INT(test_fd_count(), fds);
}

TEST(a_thread_that_sigpipe_would_kill_copies)
{
    struct rig g;

    (void)signal(SIGPIPE, SIG_DFL);
    rig_start(&g);
    turns(&g, BULK);
    unsigned pipes = g.loop->pipes;
    finish(&g);
    struct app far = g.app[1];
    rig_stop(&g);
    CHECK_INT(pipes, 0);
    CHECK_INT(far.got, BULK);
    CHECK(!far.wrong);
}

TEST(without_descriptors_it_copies)
{
    struct rlimit old;
    struct rig g;

    (void)signal(SIGPIPE, SIG_IGN);
    rig_start(&g);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = (rlim_t)test_fd_count() - 3, .rlim_max = old.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &low), 0);
    turns(&g, BULK);
    (void)setrlimit(RLIMIT_NOFILE, &old);
    unsigned pipes = g.loop->pipes;
    finish(&g);
    struct app far = g.app[1];
    rig_stop(&g);
    CHECK_INT(pipes, 0);
    CHECK_INT(far.got, BULK);
    CHECK(!far.wrong);
}

TEST(a_reader_that_stops_holds_one_pipe_and_the_sender)
{
    struct rig g;

    (void)signal(SIGPIPE, SIG_IGN);
    rig_start(&g);
    g.app[0].to_send = LOTS;
    turns(&g, 4 << 20);
    g.app[1].read_limit = 0;
    quiet(&g);
    size_t sent = g.app[0].sent;
    unsigned in_use = g.loop->pipes - g.loop->idle_pipe_count;
    quiet(&g);
    bool held = g.app[0].sent == sent && sent < LOTS;
    g.app[1].read_limit = SIZE_MAX;
    task_wake(&g.app[1].task, WAKE_START);
    turns(&g, LOTS);
    finish(&g);
    struct app far = g.app[1];
    rig_stop(&g);
    CHECK_INT(in_use, 1);
    CHECK(held);
    CHECK_INT(far.got, LOTS);
    CHECK(!far.wrong);
}

TEST(what_is_in_the_kernel_moves_with_a_hand_over)
{
    struct rig g;
    int gathered = 0;

    (void)signal(SIGPIPE, SIG_IGN);
    rig_start(&g);
    turns(&g, 3 << 20);
    for (int i = 0; i < 300 && !g.over; i++) {
        struct relay_parts parts;
        g.app[1].read_limit =
            g.app[1].got + (i % 2 ? 200000 : 0); /* so that pipes hold something */
        task_wake(&g.app[1].task, WAKE_START);
        (void)loop_turn(g.loop, 5);
        (void)loop_turn(g.loop, 0);
        relay_task_take_apart(g.relay, &parts);
        gathered += parts.relay.out.held && parts.relay.out.held->pipe;
        int r = pump_gather(&parts.relay.out);
        r = r < 0 ? r : pump_gather(&parts.relay.in);
        bool empty = !parts.relay.out.held || !parts.relay.out.held->pipe;
        g.relay = relay_task_assemble(g.loop, &parts, note, &g);
        CHECK_INT(r, 0);
        CHECK(empty);
    }
    g.app[1].read_limit = SIZE_MAX;
    task_wake(&g.app[1].task, WAKE_START);
    turns(&g, BULK);
    finish(&g);
    struct app far = g.app[1];
    rig_stop(&g);
    CHECK(gathered > 0);
    CHECK_INT(far.got, BULK);
    CHECK(!far.wrong);
    CHECK_INT(g.result, 0);
}

TEST(a_reset_in_mid_splice_is_a_reset_at_the_other_end)
{
    struct rig g;
    int fds = test_fd_count();

    (void)signal(SIGPIPE, SIG_IGN);
    for (int side = 0; side < 2; side++) {
        rig_start(&g);
        g.app[0].to_send = LOTS; /* its end is still to come */
        turns(&g, 4 << 20);
        task_fini(&g.app[side].task);
        stream_close(g.app[side].s, -ECONNRESET);
        g.app[side].s = NULL;
        for (int i = 0; i < 1000 && !g.over; i++) {
            (void)loop_turn(g.loop, 100);
        }
        bool over = g.over;
        if (side == 0) { /* what was under way may arrive, then the reset */
            turns(&g, BULK + 1);
            for (int i = 0; i < 100 && g.app[1].failure == 0; i++) {
                (void)loop_turn(g.loop, 10);
            }
        }
        struct app far = g.app[1];
        rig_stop(&g);
        CHECK(over);
        CHECK(g.result < 0);
        CHECK(!far.ended && !far.wrong);
        CHECK(side == 1 || far.failure == -ECONNRESET);
        CHECK_INT(test_fd_count(), fds);
    }
}

TEST(a_direction_that_turns_to_small_messages_is_copied_again)
{
    struct rig g;
    uint64_t splices[2] = {0, 0};

    (void)signal(SIGPIPE, SIG_IGN);
    rig_start(&g);
    g.app[0].to_send = 0; /* it stays open */
    for (int i = 0; i < 100; i++) {
        size_t more = i == 0 ? BULK : 100;
        for (size_t sent = 0; sent < more;) {
            for (size_t j = 0; j < sizeof(buffer); j++) {
                buffer[j] = byte_at(g.app[0].sent + j);
            }
            size_t len = more - sent < sizeof(buffer) ? more - sent : sizeof(buffer);
            ssize_t n = stream_write(g.app[0].s, buffer, len);
            g.app[0].sent += n > 0 ? (size_t)n : 0;
            sent += n > 0 ? (size_t)n : 0;
            (void)loop_turn(g.loop, n > 0 ? 0 : 10);
        }
        turns(&g, g.app[0].sent);
        splices[0] = i == 20 ? loop_counts(g.loop)->splices : splices[0];
        splices[1] = loop_counts(g.loop)->splices;
    }
    struct app far = g.app[1];
    relay_task_abort(g.relay, -ERR_CANCELLED);
    finish(&g);
    rig_stop(&g);
    CHECK_INT(far.got, BULK + 99 * 100);
    CHECK(!far.wrong);
    CHECK(splices[0] > 10);
    CHECK_INT(splices[1], splices[0]);
}

TEST(a_pipe_that_holds_bytes_is_nobody_elses)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    char buf[4];

    (void)signal(SIGPIPE, SIG_IGN);
    struct splice_pipe *p = splice_pipe_get(l);
    CHECK_INT(write(p->write_end, "old", 3), 3);
    p->len = 3;
    splice_pipe_put(p);
    p = splice_pipe_get(l);
    CHECK_INT(p->len, 0);
    CHECK_INT(read(p->read_end, buf, 4), -1);
    splice_pipe_put(p);
}

TEST(pipes_of_a_loop_are_bounded)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct splice_pipe *p[SPLICE_PIPES_A_LOOP + 1];
    int fds = test_fd_count();

    (void)signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i <= SPLICE_PIPES_A_LOOP; i++) {
        p[i] = splice_pipe_get(l);
    }
    CHECK(p[0] != NULL);
    CHECK(p[SPLICE_PIPES_A_LOOP] == NULL);
    for (int i = 0; i <= SPLICE_PIPES_A_LOOP; i++) {
        splice_pipe_put(p[i]);
    }
    CHECK_INT(test_fd_count(), fds + 2 * SPLICE_IDLE_PIPES);
}
