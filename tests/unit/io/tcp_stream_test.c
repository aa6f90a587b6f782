/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tcp_stream.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "io/sock.h"
#include "t.h"
#include "tcp_pair.h"
#include "test_netns.h"

struct owner {
    struct task task;
    unsigned why;
    unsigned runs;
};

static void note(struct task *t, unsigned why)
{
    struct owner *o = container_of(t, struct owner, task);

    o->why |= why;
    o->runs++;
}

static void turns_until_io(struct loop *l, struct owner *o)
{
    for (int i = 0; i < 500 && !(o->why & WAKE_IO); i++) {
        (void)loop_turn(l, 10);
    }
}

/* The kernel delivers over loopback when it gets to it. */
static void turn_when(struct loop *l, int fd, short what)
{
    struct pollfd p = {.fd = fd, .events = what};

    (void)(poll(&p, 1, 30000) == 1); /* the test notices what is missing */
    (void)loop_turn(l, 0);
}

TEST(a_connection_opens_and_its_deadline_is_forgotten)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct owner o = {.why = 0};
    struct endpoint at;
    int listener = tcp_test_listener(IP_V4, &at);
    int fds = test_fd_count();

    loop_stop_clock(l);
    task_init(&o.task, l, "owner", note);
    struct stream *s = tcp_stream_connect(l, sock_open(IP_V4, SOCK_TYPE_STREAM, NULL), &at, 100);
    CHECK(stream_is_tcp(s));
    stream_own(s, &o.task);
    CHECK_INT(stream_write(s, "x", 1), -EAGAIN);
    turns_until_io(l, &o);
    CHECK_INT(stream_write(s, "x", 1), 1);
    loop_advance(l, 1000);
    (void)loop_turn(l, 0);
    CHECK(!(o.why & WAKE_TIMER));
    CHECK_INT(stream_write(s, "x", 1), 1);
    stream_close(s, 0);
    CHECK_INT(test_fd_count(), fds);
    task_fini(&o.task);
    sock_close(&listener);
}

TEST(a_refused_connection_fails_every_call_with_the_same_reason)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct owner o = {.why = 0};
    struct endpoint at;
    char text[ENDPOINT_TEXT];
    char want[128];
    char buf[4];
    int listener = tcp_test_listener(IP_V6, &at);

    sock_close(&listener);
    task_init(&o.task, l, "owner", note);
    struct stream *s = tcp_stream_connect(l, sock_open(IP_V6, SOCK_TYPE_STREAM, NULL), &at, 1000);
    stream_own(s, &o.task);
    if (stream_flush(s) == -EAGAIN) {
        turns_until_io(l, &o);
    }
    CHECK_INT(stream_read(s, buf, 4), -ECONNREFUSED);
    CHECK_INT(stream_write(s, buf, 4), -ECONNREFUSED);
    CHECK_INT(stream_flush(s), -ECONNREFUSED);
    CHECK_INT(stream_shut(s), -ECONNREFUSED);
    CHECK_INT(stream_read(s, buf, 4), -ECONNREFUSED);
    (void)snprintf(want, sizeof(want), "connect to %s: Connection refused",
                   endpoint_format(&at, text));
    CHECK_STR(stream_diag(s)->text, want);
    stream_close(s, 0);
    task_fini(&o.task);
}

/* In a namespace whose rules drop what is sent, connecting takes as long as it may. */
TEST(a_connection_that_nobody_answers_fails_at_its_deadline)
{
    static const char *const rules[] = {
        "nft", "table inet t { chain o { type filter hook output priority 0; policy drop; }; }",
        NULL};
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(netns) struct netns *n = test_netns_new();
    AUTO(netns) struct netns *home = NULL;
    struct endpoint at = {.ip = {.family = IP_V4, .bytes = {127, 0, 0, 1}}, .port = 9};
    struct owner first = {.why = 0};
    struct owner second = {.why = 0};

    loop_stop_clock(l);
    CHECK_INT(netns_from_thread(&home, NULL), 0);
    CHECK_INT(test_netns_run(n, rules), 0);
    CHECK_INT(netns_enter(n, NULL), 0);
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    netns_go_home(home);
    task_init(&first.task, l, "first", note);
    task_init(&second.task, l, "second", note);
    struct stream *s = tcp_stream_connect(l, fd, &at, 300);
    stream_own(s, &first.task);
    CHECK_INT(stream_flush(s), -EAGAIN);
    loop_advance(l, 200);
    (void)loop_turn(l, 0);
    CHECK_INT(stream_flush(s), -EAGAIN);
    stream_own(s, NULL);
    first.why = 0;
    loop_advance(l, 200); /* it passes while nobody is there */
    (void)loop_turn(l, 0);
    CHECK_INT(first.why, 0);
    stream_own(s, &second.task);
    (void)loop_turn(l, 0);
    CHECK_INT(first.why, 0);
    CHECK(second.why & WAKE_TIMER);
    CHECK_INT(stream_flush(s), -ERR_DEADLINE);
    CHECK_STR(stream_diag(s)->text, "connect to 127.0.0.1:9: deadline passed");
    stream_close(s, -ECANCELED);
    task_fini(&first.task);
    task_fini(&second.task);
}

/* The kernel tells a reset once, to whichever call comes first, and answers "end" afterwards. */
TEST(a_reset_seen_by_a_write_is_no_clean_end_to_a_read)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct owner o = {.why = 0};
    struct stream *s[2];
    char buf[4];

    task_init(&o.task, l, "owner", note);
    tcp_pair(l, s);
    stream_own(s[0], &o.task);
    CHECK_INT(stream_read(s[0], buf, 4), -EAGAIN);
    stream_close(s[1], -ECONNRESET);
    turns_until_io(l, &o);
    CHECK_INT(stream_write(s[0], "x", 1), -ECONNRESET);
    for (int i = 0; i < 3; i++) {
        ssize_t n = stream_read(s[0], buf, 4);
        CHECK(n < 0 && n != -EAGAIN);
    }
    stream_close(s[0], 0);
    task_fini(&o.task);
}

TEST(data_behind_an_end_that_was_already_announced_is_not_missed)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct owner o = {.why = 0};
    struct stream *s[2];
    char buf[8];

    task_init(&o.task, l, "owner", note);
    tcp_pair(l, s);
    stream_own(s[0], &o.task);
    CHECK_INT(stream_read(s[0], buf, 8), -EAGAIN);
    CHECK_INT(stream_write(s[1], "abc", 3), 3);
    CHECK_INT(stream_shut(s[1]), 0);
    turn_when(l, tcp_stream_fd(s[0]), POLLRDHUP); /* data and end in one edge */
    turns_until_io(l, &o);
    CHECK_INT(stream_read(s[0], buf, 8), 3);
    CHECK_INT(stream_read(s[0], buf, 8), 0); /* a short read proves nothing here */
    stream_close(s[0], 0);
    stream_close(s[1], 0);
    task_fini(&o.task);
}

TEST(a_short_read_saves_the_call_that_would_be_refused)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct owner o = {.why = 0};
    struct stream *s[2];
    char buf[8];

    task_init(&o.task, l, "owner", note);
    tcp_pair(l, s);
    stream_own(s[0], &o.task);
    CHECK_INT(stream_write(s[1], "abc", 3), 3);
    turn_when(l, tcp_stream_fd(s[0]), POLLIN);
    CHECK_INT(stream_read(s[0], buf, 8), 3);
    CHECK_INT(send(tcp_stream_fd(s[1]), "d", 1, 0), 1);
    CHECK_INT(stream_read(s[0], buf, 8), -EAGAIN); /* not asked: the edge will tell */
    o.why = 0;
    turns_until_io(l, &o);
    CHECK_INT(stream_read(s[0], buf, 8), 1);
    stream_close(s[0], 0);
    stream_close(s[1], 0);
    task_fini(&o.task);
}

TEST(what_the_peer_has_not_taken_is_known)
{
    static char piece[65536];
    AUTO(loop) struct loop *l = loop_new(NULL);
    int fds[2];

    tcp_pair_fds(fds);
    struct stream *s = tcp_stream_new(l, fds[0]);
    CHECK_INT(stream_unsent(s), 0);
    while (stream_write(s, piece, sizeof(piece)) > 0) {
        (void)loop_turn(l, 0); /* there may be room again after a short one */
    }
    size_t most = stream_unsent(s);
    for (int i = 0; i < 30000 && stream_unsent(s) > 0; i++) {
        struct pollfd p = {.fd = fds[1], .events = POLLIN};

        if (poll(&p, 1, 1) == 1) {
            (void)(recv(fds[1], piece, sizeof(piece), 0) > 0); /* its end is noticed below */
        }
    }
    size_t left = stream_unsent(s);
    stream_close(s, 0);
    sock_close(&fds[1]);
    CHECK(most > 0);
    CHECK_INT(left, 0);
}

TEST(a_descriptor_taken_out_outlives_its_stream)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct owner o = {.why = 0};
    struct stream *s[2];
    char buf[4];

    task_init(&o.task, l, "owner", note);
    tcp_pair(l, s);
    stream_own(s[0], &o.task);
    int fd = tcp_stream_take_fd(s[0]);
    (void)loop_turn(l, 0);
    o.runs = 0;
    CHECK_INT(stream_write(s[1], "abc", 3), 3);
    turn_when(l, fd, POLLIN);
    CHECK_INT(o.runs, 0);
    s[0] = tcp_stream_new(l, fd);
    stream_own(s[0], &o.task);
    CHECK_INT(stream_read(s[0], buf, 4), 3);
    stream_close(s[0], 0);
    stream_close(s[1], 0);
    task_fini(&o.task);
}

TEST(a_descriptor_that_cannot_be_watched_is_a_failed_stream)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct stream *s = tcp_stream_new(l, -1);

    CHECK_INT(stream_flush(s), -EBADF);
    CHECK_STR(stream_diag(s)->text, "watch a socket: Bad file descriptor");
    stream_close(s, 0);
}
