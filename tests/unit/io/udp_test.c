/* SPDX-License-Identifier: Apache-2.0 */
#include "io/udp.h"

#include <string.h>
#include <sys/socket.h>

#include "io/sock.h"
#include "t.h"

struct end {
    struct task task;
    struct udp_sock *u;
    struct endpoint at;
    unsigned wakes;
};

static void note(struct task *t, unsigned why)
{
    container_of(t, struct end, task)->wakes += (why & WAKE_IO) != 0;
}

static void end_start(struct end *e, struct loop *l, const char *bind_to)
{
    struct endpoint at;

    *e = (struct end){.wakes = 0};
    (void)(endpoint_parse(&at, bind_to, strlen(bind_to)) == 0);
    int fd = sock_open((enum ip_family)at.ip.family, SOCK_TYPE_DATAGRAM, NULL);
    (void)(sock_bind(fd, &at, NULL) == 0);
    (void)(sock_local(fd, &e->at) == 0);
    task_init(&e->task, l, "end", note);
    e->u = udp_new(l, fd, &e->task, NULL);
}

static void end_stop(struct end *e)
{
    udp_close(e->u);
    task_fini(&e->task);
}

static ssize_t receive(struct loop *l, struct end *e, char *into, size_t room, struct udp_meta *m)
{
    ssize_t n = udp_receive(e->u, into, room, m);

    for (int i = 0; i < 3000 && n == -EAGAIN; i++) {
        (void)loop_turn(l, 10);
        n = udp_receive(e->u, into, room, m);
    }
    return n;
}

/* A server on all addresses is asked at one of them and answers from there. */
static void ask_at(struct test *t, const char *server_at, const char *client_at, const char *asked)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end server;
    struct end client;
    struct endpoint to;
    struct udp_meta m = {.peer.port = 0};
    struct udp_meta seen;
    char buf[64];

    end_start(&server, l, server_at);
    end_start(&client, l, client_at);
    CHECK_INT(ip_parse(&to.ip, asked, strlen(asked)), 0);
    to.port = server.at.port;
    m.peer = to;
    (void)loop_turn(l, 0);
    CHECK_INT(udp_receive(server.u, buf, sizeof(buf), &seen), -EAGAIN);
    CHECK_INT(udp_send(client.u, "question", 8, &m), 0);
    CHECK_INT(receive(l, &server, buf, sizeof(buf), &seen), 8);
    CHECK(server.wakes >= 1);
    CHECK(ip_equal(&seen.local, &to.ip));
    CHECK(endpoint_equal(&seen.original, &to));
    CHECK_INT(udp_send(server.u, "", 0, &seen), 0);
    CHECK_INT(receive(l, &client, buf, sizeof(buf), &seen), 0); /* empty, and still a datagram */
    CHECK(endpoint_equal(&seen.peer, &to));
    CHECK_INT(loop_counts(l)->datagrams_lost, 0);
    end_stop(&server);
    end_stop(&client);
}

TEST(an_answer_leaves_from_where_the_question_arrived)
{
    ask_at(t, "0.0.0.0:0", "127.0.0.1:0", "127.0.0.77");
    ask_at(t, "[::]:0", "[::1]:0", "::1");
    ask_at(t, "[::]:0", "127.0.0.1:0", "127.0.0.77"); /* one socket for both families */
}

TEST(what_is_larger_than_the_room_is_dropped_whole)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end a;
    struct end b;
    struct udp_meta m = {.peer.port = 0};
    char buf[8];

    end_start(&a, l, "127.0.0.1:0");
    end_start(&b, l, "127.0.0.1:0");
    m.peer = b.at;
    CHECK_INT(udp_send(a.u, "much too long", 13, &m), 0);
    CHECK_INT(udp_send(a.u, "short", 5, &m), 0);
    CHECK_INT(receive(l, &b, buf, sizeof(buf), &m), 5);
    CHECK_MEM(buf, "short", 5);
    CHECK_INT(loop_counts(l)->datagrams_lost, 1);
    end_stop(&a);
    end_stop(&b);
}

TEST(a_flood_of_what_is_too_large_leaves_others_their_turn)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end a;
    struct end b;
    struct udp_meta m = {.peer.port = 0};
    char buf[8];

    end_start(&a, l, "127.0.0.1:0");
    end_start(&b, l, "127.0.0.1:0");
    m.peer = b.at;
    for (int i = 0; i < 100; i++) {
        CHECK_INT(udp_send(a.u, "much too long", 13, &m), 0);
    }
    CHECK_INT(udp_send(a.u, "short", 5, &m), 0);
    CHECK_INT(udp_receive(b.u, buf, sizeof(buf), &m), -EAGAIN);
    CHECK_INT(loop_counts(l)->datagrams_lost, 64);
    CHECK_INT(receive(l, &b, buf, sizeof(buf), &m), 5); /* woken, and the rest is there */
    CHECK_MEM(buf, "short", 5);
    end_stop(&a);
    end_stop(&b);
}

TEST(a_refused_port_is_told_once_and_the_socket_lives_on)
{
    AUTO(loop) struct loop *l = loop_new(NULL);
    struct end gone;
    struct end a;
    struct udp_meta m = {.peer.port = 0};
    char buf[8];

    end_start(&gone, l, "127.0.0.1:0");
    end_start(&a, l, "127.0.0.1:0");
    end_stop(&gone);
    m.peer = gone.at;
    CHECK_INT(sock_connect_datagram(udp_fd(a.u), &gone.at, NULL), 0);
    CHECK_INT(udp_send(a.u, "hello", 5, &m), 0);
    CHECK_INT(receive(l, &a, buf, sizeof(buf), &m), -ECONNREFUSED);
    CHECK_INT(udp_receive(a.u, buf, sizeof(buf), &m), -EAGAIN);
    end_stop(&a);
}
