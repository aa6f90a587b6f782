/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sock.h"
#include "t.h"
#include "tcp_pair.h"

enum { CLIENTS = 20 };

struct host {
    struct task task;
    struct loop *loop;
    struct listener *listener;
    struct endpoint at;
    int taken[CLIENTS];
    int count;
    int at_once; /* most connections it takes in one run */
    int result;  /* of the last accept */
    unsigned runs;
};

static void run(struct task *t, unsigned why)
{
    struct host *h = container_of(t, struct host, task);
    struct endpoint peer;

    (void)why;
    h->runs++;
    for (int i = 0; i < h->at_once && h->count < CLIENTS; i++) {
        h->result = listener_accept(h->listener, &peer);
        if (h->result < 0) {
            return;
        }
        h->taken[h->count++] = h->result;
    }
    task_wake(t, WAKE_IO);
}

static void host_start(struct host *h, int at_once)
{
    *h = (struct host){.at_once = at_once, .loop = loop_new(NULL)};
    loop_stop_clock(h->loop);
    task_init(&h->task, h->loop, "host", run);
    int fd = tcp_test_listener(IP_V4, &h->at);
    h->listener = listener_new(h->loop, fd, &h->task, NULL);
}

static void host_stop(struct host *h)
{
    for (int i = 0; i < h->count; i++) {
        sock_close(&h->taken[i]);
    }
    listener_close(h->listener);
    task_fini(&h->task);
    loop_free(h->loop);
}

static int dial(const struct endpoint *to)
{
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(to, &ss);
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);

    (void)connect(fd, (struct sockaddr *)&ss, len); /* in progress */
    return fd;
}

static void turns_until(struct host *h, int count)
{
    for (int i = 0; i < 1000 && h->count < count; i++) {
        (void)loop_turn(h->loop, 10);
    }
}

TEST(connections_are_taken_in_any_rhythm)
{
    for (int at_once = 1; at_once <= 7; at_once += 3) {
        struct host h;
        int before = test_fd_count();
        int clients[CLIENTS];
        host_start(&h, at_once);
        (void)loop_turn(h.loop, 0);
        CHECK_INT(h.result, -EAGAIN);
        for (int i = 0; i < CLIENTS; i++) {
            clients[i] = dial(&h.at);
        }
        turns_until(&h, CLIENTS);
        int count = h.count;
        host_stop(&h);
        for (int i = 0; i < CLIENTS; i++) {
            sock_close(&clients[i]);
        }
        CHECK_INT(count, CLIENTS);
        CHECK_INT(test_fd_count(), before);
    }
}

TEST(want_of_descriptors_pauses_and_does_not_spin)
{
    struct rlimit old;
    struct host h;
    struct sockaddr_storage ss;
    int clients[6];
    int spare[64];
    int n = 0;

    host_start(&h, 8);
    (void)loop_turn(h.loop, 0);
    for (int i = 0; i < 6; i++) {
        clients[i] = i < 3 ? dial(&h.at) : sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    }
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = 60, .rlim_max = old.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (n < 64 && (spare[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        n++;
    }
    unsigned runs = h.runs;
    while (loop_counts(h.loop)->accept_pauses == 0) { /* the connections have arrived */
        (void)loop_turn(h.loop, 10);
    }
    for (int i = 0; i < 300; i++) {
        (void)loop_turn(h.loop, 0);
    }
    unsigned spun = h.runs - runs;
    uint64_t paused = loop_counts(h.loop)->accept_pauses;
    for (int i = 3; i < 6; i++) { /* new edges do not end a pause */
        socklen_t len = endpoint_to_sockaddr(&h.at, &ss);
        (void)connect(clients[i], (struct sockaddr *)&ss, len);
        (void)loop_turn(h.loop, 0);
    }
    uint64_t paused_by_edges = loop_counts(h.loop)->accept_pauses - paused;
    for (int i = 0; i < 6; i++) { /* still short: longer and longer pauses */
        loop_advance(h.loop, LISTENER_PAUSE_MAX_MS);
        (void)loop_turn(h.loop, 0);
    }
    uint64_t paused_again = loop_counts(h.loop)->accept_pauses;
    while (n > 0) {
        (void)close(spare[--n]);
    }
    (void)setrlimit(RLIMIT_NOFILE, &old);
    loop_advance(h.loop, LISTENER_PAUSE_MAX_MS);
    turns_until(&h, 6);
    int count = h.count;
    host_stop(&h);
    for (int i = 0; i < 6; i++) {
        sock_close(&clients[i]);
    }
    CHECK(spun <= 4);
    CHECK(paused >= 1);
    CHECK(paused_by_edges <= 1); /* only when the real time of the pause is over */
    CHECK_INT(paused_again - paused - paused_by_edges, 6);
    CHECK_INT(count, 6);
}

TEST(a_listener_that_breaks_says_so)
{
    struct host h;

    host_start(&h, 1);
    (void)loop_turn(h.loop, 0);
    (void)shutdown(listener_fd(h.listener), SHUT_RDWR);
    (void)loop_turn(h.loop, 10);
    int result = h.result;
    host_stop(&h);
    CHECK_INT(result, -EINVAL);
}

TEST(what_came_since_the_last_turn_is_there_for_who_looks)
{
    struct endpoint peer;
    struct host h;

    host_start(&h, 7);
    (void)loop_turn(h.loop, 0);
    CHECK_INT(h.result, -EAGAIN);
    int client = dial(&h.at);
    struct pollfd there = {.fd = listener_fd(h.listener), .events = POLLIN};
    CHECK_INT(poll(&there, 1, 30000), 1);
    CHECK_INT(listener_accept(h.listener, &peer), -EAGAIN); /* a wake is on its way */
    listener_look(h.listener);
    h.taken[h.count++] = listener_accept(h.listener, &peer);
    CHECK(h.taken[0] >= 0);
    CHECK_INT(listener_accept(h.listener, &peer), -EAGAIN);
    sock_close(&client);
    host_stop(&h);
}
