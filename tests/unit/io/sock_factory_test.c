/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sock_factory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/sock_factory_local.h"
#include "io/tcp_stream.h"
#include "t.h"
#include "tcp_pair.h"
#include "test_netns.h"

/* A factory whose answers come when the test says so. */
struct late_factory {
    struct sock_factory f;
    struct sock_ask *waiting;
    int cancelled;
};

static void late_ask(struct sock_factory *f, struct sock_ask *a)
{
    container_of(f, struct late_factory, f)->waiting = a;
}

static void late_cancel(struct sock_factory *f, struct sock_ask *a)
{
    struct late_factory *l = container_of(f, struct late_factory, f);

    l->cancelled += l->waiting == a;
    l->waiting = NULL;
}

static void late_free(struct sock_factory *f)
{
    (void)f;
}

static const struct sock_factory_ops late_ops = {
    .name = "late", .ask = late_ask, .cancel = late_cancel, .free = late_free};

static void late_answer(struct late_factory *l)
{
    struct diag why = {.code = 0};
    struct diag lapse;
    int fd = sock_spec_make(sock_ask_spec(l->waiting), &lapse, &why);

    sock_ask_answer(l->waiting, fd, &why, &lapse);
    l->waiting = NULL;
}

struct owner {
    struct task task;
    unsigned why;
};

static void note(struct task *t, unsigned why)
{
    container_of(t, struct owner, task)->why |= why;
}

static int take(struct sock_factory *f, struct netns *where, const struct sock_spec *spec,
                struct diag *lapse, struct diag *why)
{
    struct sock_ask *a = sock_ask_new(f, where, spec, NULL);
    int fd = sock_ask_take(a, why);

    *lapse = *sock_ask_lapse(a);
    sock_ask_free(a);
    return fd;
}

/* Whether the stream gets through within the test's time. */
static int outcome(struct loop *l, struct stream *s)
{
    uint64_t stop = clock_mono_ms() + 5000;
    int r = stream_flush(s);

    while (r == -EAGAIN && clock_mono_ms() < stop) {
        (void)loop_turn(l, 10);
        r = stream_flush(s);
    }
    return r;
}

static void pod_listens_and_is_reached(struct test *t, const char *listen_at, const char *dial_to)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(sock_factory) struct sock_factory *f = sock_factory_local_new(NULL);
    AUTO(netns) struct netns *pod = test_netns_new();
    struct sock_spec listen = {.role = SOCK_ROLE_LISTEN, .mark = 1337, .transparent = true};
    struct sock_spec dial = {.role = SOCK_ROLE_CONNECT, .mark = 1337};
    struct endpoint to;
    struct diag lapse;
    struct diag why = {.code = 0};

    listen.reuse_port = true;
    listen.backlog = 128;
    CHECK_INT(endpoint_parse(&listen.at, listen_at, strlen(listen_at)), 0);
    CHECK_INT(endpoint_parse(&to, dial_to, strlen(dial_to)), 0);
    listen.family = (enum ip_family)listen.at.ip.family;
    dial.family = (enum ip_family)to.ip.family;
    int before = test_fd_count();
    int first = take(f, pod, &listen, &lapse, &why);
    CHECK(first >= 0);
    CHECK_INT(lapse.code, 0);
    CHECK(sock_is_transparent(first));
    int second = take(f, pod, &listen, &lapse, &why); /* two generations share the port */
    CHECK(second >= 0);
    struct stream *in = tcp_stream_dial(l, sock_ask_new(f, pod, &dial, NULL), &to, 3000);
    struct stream *out = tcp_stream_dial(l, sock_ask_new(f, NULL, &dial, NULL), &to, 3000);
    int reached = outcome(l, in);
    int refused = outcome(l, out);
    stream_close(in, 0);
    stream_close(out, 0);
    sock_close(&first);
    sock_close(&second);
    CHECK_INT(reached, 0);
    CHECK_INT(refused, -ECONNREFUSED); /* here nobody listens: this thread came back */
    CHECK_INT(test_fd_count(), before);
}

TEST(sockets_live_in_the_pods_namespace_and_the_thread_does_not)
{
    pod_listens_and_is_reached(t, "127.0.0.1:15001", "127.0.0.1:15001");
    pod_listens_and_is_reached(t, "[::]:15008", "[::1]:15008");
    pod_listens_and_is_reached(t, "[::]:15006", "127.0.0.1:15006");
}

TEST(a_kept_source_is_what_the_peer_sees)
{
    static const char *const route[] = {"ip",          "route", "add", "local",
                                        "10.9.0.0/16", "dev",   "lo",  NULL};
    AUTO(loop) struct loop *l = loop_new(NULL);
    AUTO(sock_factory) struct sock_factory *f = sock_factory_local_new(NULL);
    AUTO(netns) struct netns *pod = test_netns_new();
    struct sock_spec listen = {.role = SOCK_ROLE_LISTEN, .family = IP_V4, .backlog = 5};
    struct sock_spec dial = {.role = SOCK_ROLE_CONNECT, .family = IP_V4};
    struct endpoint peer;
    struct diag lapse;

    CHECK_INT(test_netns_run(pod, route), 0);
    CHECK_INT(endpoint_parse(&listen.at, "127.0.0.1:81", 12), 0);
    CHECK_INT(endpoint_parse(&dial.at, "10.9.8.7:0", 10), 0);
    int fd = take(f, pod, &listen, &lapse, NULL);
    struct stream *s = tcp_stream_dial(l, sock_ask_new(f, pod, &dial, NULL), &listen.at, 3000);
    int r = outcome(l, s);
    int got = sock_accept(fd, &peer);
    stream_close(s, 0);
    sock_close(&fd);
    sock_close(&got);
    CHECK_INT(r, 0);
    CHECK(ip_equal(&peer.ip, &dial.at.ip));
}

TEST(a_source_that_cannot_be_kept_is_told_and_not_fatal)
{
    AUTO(sock_factory) struct sock_factory *f = sock_factory_local_new(NULL);
    struct sock_spec dial = {.role = SOCK_ROLE_CONNECT, .family = IP_V4};
    struct diag lapse;

    CHECK_INT(endpoint_parse(&dial.at, "[2001:db8::1]:0", 15), 0); /* not of the socket's family */
    int fd = take(f, NULL, &dial, &lapse, NULL);
    CHECK(fd >= 0);
    sock_close(&fd);
    CHECK(lapse.code < 0);
    CHECK(strstr(lapse.text, "bind to [2001:db8::1]:"));
}

TEST(what_sockets_lack_is_warned_of_but_not_for_each)
{
    AUTO(sock_factory) struct sock_factory *f = sock_factory_local_new(NULL);
    struct sock_spec dial = {.role = SOCK_ROLE_CONNECT, .family = IP_V4};
    struct diag lapse;
    struct diag why = {.code = 0};
    char said[4096];
    int fds[2];

    CHECK_INT(endpoint_parse(&dial.at, "[2001:db8::1]:0", 15), 0);
    CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
    CHECK_INT(log_start(fds[1], LOG_PLAIN, &why), 0);
    for (int i = 0; i < 5; i++) {
        int fd = take(f, NULL, &dial, &lapse, NULL);
        CHECK(fd >= 0);
        sock_close(&fd);
    }
    log_stop();
    ssize_t n = read(fds[0], said, sizeof(said) - 1);
    CHECK(n > 0);
    said[n] = '\0';
    char *line = strstr(said, "bind to [2001:db8::1]:");
    CHECK(line && strstr(said, "\twarn\tsocket\t") && strstr(line, "times=1"));
    CHECK(!strstr(line + 1, "bind to"));
    (void)close(fds[0]);
}

TEST(failures_carry_their_reason_and_leave_nothing)
{
    AUTO(sock_factory) struct sock_factory *f = sock_factory_local_new(NULL);
    AUTO(netns) struct netns *bad = NULL;
    struct sock_spec listen = {.role = SOCK_ROLE_LISTEN, .family = IP_V4, .backlog = 5};
    struct diag lapse;
    struct diag why;

    CHECK_INT(netns_from_fd(&bad, open("/dev/null", O_RDONLY | O_CLOEXEC), NULL), 0);
    CHECK(!netns_is_genuine(bad));
    int before = test_fd_count();
    CHECK_INT(take(f, bad, &listen, &lapse, &why), -EINVAL);
    CHECK_STR(why.text, "enter a network namespace");
    CHECK_INT(endpoint_parse(&listen.at, "192.0.2.1:99", 12), 0);
    CHECK_INT(take(f, NULL, &listen, &lapse, &why), -EADDRNOTAVAIL);
    CHECK_STR(why.text, "bind to 192.0.2.1:99");
    CHECK_INT(test_fd_count(), before);
    bad = netns_unref(bad); /* nobody else holds it any more */
    CHECK_INT(test_fd_count(), before - 1);
    CHECK_INT(sock_factory_local_check(1337, &why), 0);
}

TEST(a_namespace_is_known_by_device_and_inode)
{
    AUTO(netns) struct netns *a = test_netns_new();
    AUTO(netns) struct netns *b = test_netns_new();
    AUTO(netns) struct netns *again = NULL;

    CHECK_INT(netns_from_fd(&again, dup(netns_fd(a)), NULL), 0);
    CHECK(netns_is_same(a, again));
    CHECK(!netns_is_same(a, b));
    CHECK(netns_is_genuine(a));
}

TEST(a_dial_waits_for_a_socket_that_comes_later)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct late_factory late = {.f.ops = &late_ops};
    struct sock_spec dial = {.role = SOCK_ROLE_CONNECT, .family = IP_V4};
    struct endpoint at;
    struct owner o = {.why = 0};
    int listener = tcp_test_listener(IP_V4, &at);

    task_init(&o.task, l, "owner", note);
    struct stream *s = tcp_stream_dial(l, sock_ask_new(&late.f, NULL, &dial, NULL), &at, 3000);
    stream_own(s, &o.task);
    CHECK_INT(stream_flush(s), -EAGAIN);
    CHECK_INT(tcp_stream_fd(s), -1);
    late_answer(&late);
    (void)loop_turn(l, 0);
    CHECK_INT(o.why, WAKE_CHILD);
    CHECK_INT(outcome(l, s), 0);
    stream_close(s, 0);
    task_fini(&o.task);
    sock_close(&listener);
}

TEST(a_dial_that_waits_too_long_or_is_closed_takes_its_ask_back)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct late_factory late = {.f.ops = &late_ops};
    struct sock_spec dial = {.role = SOCK_ROLE_CONNECT, .family = IP_V4};
    struct endpoint at = {.ip.family = IP_V4, .port = 1};
    struct owner o = {.why = 0};
    int before = test_fd_count();

    loop_stop_clock(l);
    task_init(&o.task, l, "owner", note);
    struct stream *s = tcp_stream_dial(l, sock_ask_new(&late.f, NULL, &dial, NULL), &at, 50);
    stream_own(s, &o.task);
    loop_advance(l, 60);
    (void)loop_turn(l, 0);
    CHECK_INT(o.why, WAKE_TIMER);
    CHECK_INT(stream_flush(s), -ERR_DEADLINE);
    CHECK_STR(stream_diag(s)->text, "connect to 0.0.0.0:1: deadline passed");
    stream_close(s, 0);
    CHECK_INT(late.cancelled, 1);
    s = tcp_stream_dial(l, sock_ask_new(&late.f, NULL, &dial, NULL), &at, 50);
    late_answer(&late); /* a socket that nobody takes any more */
    stream_close(s, 0);
    CHECK_INT(late.cancelled, 1);
    task_fini(&o.task);
    CHECK_INT(test_fd_count(), before);
}
