/* SPDX-License-Identifier: Apache-2.0 */
#include "tcp_pair.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sock.h"
#include "io/tcp_stream.h"

static int must(int r, const char *what)
{
    if (r < 0) {
        printf("Bail out! %s: %s\n", what, err_text(r));
        exit(EXIT_FAILURE);
    }
    return r;
}

int tcp_test_listener(enum ip_family family, struct endpoint *out_at)
{
    int fd = must(sock_open(family, SOCK_TYPE_STREAM, NULL), "make a socket");
    struct endpoint at = {.ip.family = (uint8_t)family};

    at.ip.bytes[family == IP_V4 ? 0 : 15] = family == IP_V4 ? 127 : 1;
    at.ip.bytes[3] = family == IP_V4;
    must(sock_bind(fd, &at, NULL), "bind to loopback");
    must(sock_listen(fd, 128, NULL), "listen");
    must(sock_local(fd, out_at), "ask for the port");
    return fd;
}

/* Loopback connects within the call; the accept queue has it then. */
void tcp_pair_fds(int out[2])
{
    struct endpoint at;
    struct endpoint peer;
    struct sockaddr_storage ss;
    int listener = tcp_test_listener(IP_V4, &at);
    struct pollfd p = {.fd = listener, .events = POLLIN};

    out[0] = must(sock_open(IP_V4, SOCK_TYPE_STREAM, NULL), "make a socket");
    socklen_t len = endpoint_to_sockaddr(&at, &ss);
    (void)connect(out[0], (struct sockaddr *)&ss, len); /* EINPROGRESS */
    must(poll(&p, 1, 5000) - 1, "wait for a connection");
    out[1] = must(sock_accept(listener, &peer), "accept");
    (void)close(listener);
}

static void to_streams(struct loop *l, const int fds[2], struct stream *out[2])
{
    for (int i = 0; i < 2; i++) {
        must(sock_set_nodelay(fds[i]) == -EBADF ? -EBADF : 0, "set an option");
        out[i] = tcp_stream_new(l, fds[i]);
    }
}

void tcp_pair(struct loop *l, struct stream *out[2])
{
    int fds[2];

    tcp_pair_fds(fds);
    to_streams(l, fds, out);
}

void unix_pair(struct loop *l, struct stream *out[2])
{
    int fds[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), "socketpair");
    to_streams(l, fds, out);
}
