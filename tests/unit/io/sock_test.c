/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sock.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "t.h"
#include "tcp_pair.h"
#include "test_netns.h"

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof(v);

    return getsockopt(fd, level, name, &v, &len) == 0 ? v : -1;
}

TEST(each_option_reaches_the_kernel)
{
    struct sock_keepalive k = {.idle_s = 180, .interval_s = 170, .count = 9, .user_timeout = true};

    for (int family = IP_V4; family <= IP_V6; family += IP_V6 - IP_V4) {
        int fd = sock_open((enum ip_family)family, SOCK_TYPE_STREAM, NULL);
        CHECK(fd >= 0);
        CHECK_INT(sock_set_mark(fd, 1337, NULL), 0);
        CHECK_INT(option(fd, SOL_SOCKET, SO_MARK), 1337);
        CHECK_INT(sock_set_reuse_port(fd, NULL), 0);
        CHECK_INT(option(fd, SOL_SOCKET, SO_REUSEPORT), 1);
        CHECK_INT(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
        CHECK(!sock_is_transparent(fd));
        CHECK_INT(sock_set_transparent(fd, NULL), 0);
        CHECK(sock_is_transparent(fd));
        CHECK_INT(option(fd, IPPROTO_IP, IP_FREEBIND), 1);
        if (family == IP_V6) {
            CHECK_INT(option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT), 1);
            CHECK_INT(option(fd, IPPROTO_IPV6, IPV6_FREEBIND), 1);
            CHECK_INT(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
        }
        CHECK_INT(sock_set_nodelay(fd), 0);
        CHECK_INT(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        CHECK_INT(sock_set_keepalive(fd, &k), 0);
        CHECK_INT(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 180);
        CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 170);
        CHECK_INT(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 9);
        CHECK_INT(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), (180 + 9 * 170) * 1000);
        sock_close(&fd);
        CHECK_INT(fd, -1);
    }
}

TEST(no_keepalive_and_no_mark_change_nothing)
{
    struct sock_keepalive none = {.idle_s = 0};
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);

    CHECK_INT(sock_set_keepalive(fd, &none), 0);
    CHECK_INT(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    CHECK_INT(sock_set_mark(fd, 0, NULL), 0);
    sock_close(&fd);
}

TEST(an_ipv6_listener_takes_ipv4_and_shows_the_peer_as_ipv4)
{
    struct endpoint any = {.ip.family = IP_V6};
    struct endpoint at;
    struct endpoint peer;
    struct sockaddr_storage ss;
    int listener = sock_open(IP_V6, SOCK_TYPE_STREAM, NULL);
    struct pollfd p = {.fd = listener, .events = POLLIN};

    CHECK_INT(sock_bind(listener, &any, NULL), 0);
    CHECK_INT(sock_listen(listener, 5, NULL), 0);
    CHECK_INT(sock_accept(listener, &peer), -EAGAIN);
    CHECK_INT(sock_local(listener, &at), 0);
    CHECK_INT(ip_parse(&at.ip, "127.0.0.1", 9), 0);
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
    socklen_t len = endpoint_to_sockaddr(&at, &ss);
    (void)connect(fd, (struct sockaddr *)&ss, len);
    CHECK_INT(poll(&p, 1, 5000), 1);
    int got = sock_accept(listener, &peer);
    CHECK(got >= 0);
    struct endpoint own;
    CHECK_INT(sock_local(fd, &own), 0);
    CHECK(endpoint_equal(&peer, &own));
    struct endpoint dst;
    CHECK_INT(sock_original_destination(got, &dst), SOCK_DESTINATION_LOCAL);
    CHECK(endpoint_equal(&dst, &at));
    sock_close(&got);
    sock_close(&fd);
    sock_close(&listener);
}

TEST(a_failed_bind_says_where)
{
    struct diag why;
    struct endpoint at = {.port = 80};
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);

    CHECK_INT(ip_parse(&at.ip, "192.0.2.7", 9), 0);
    CHECK_INT(sock_bind(fd, &at, &why), -EADDRNOTAVAIL);
    CHECK_STR(why.text, "bind to 192.0.2.7:80");
    sock_close(&fd);
}

static int bound_to_source(const char *source, struct endpoint *out_local)
{
    struct ip ip;
    int fd = -1;

    if (ip_parse(&ip, source, strlen(source)) == 0 &&
        (fd = sock_open((enum ip_family)ip.family, SOCK_TYPE_STREAM, NULL)) >= 0 &&
        (sock_set_transparent(fd, NULL) < 0 || sock_bind_source(fd, &ip, NULL) < 0 ||
         sock_local(fd, out_local) < 0 || !ip_equal(&out_local->ip, &ip))) {
        sock_close(&fd);
    }
    return fd;
}

TEST(a_transparent_socket_binds_to_a_foreign_source_at_a_port_its_owner_does_not_choose)
{
    static const char *const sources[] = {"192.0.2.7", "2001:db8::7"};

    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        struct endpoint local = {.port = 0};
        int fd = bound_to_source(sources[i], &local);
        CHECK(fd >= 0);
        CHECK(local.port >= 16384 && local.port < 32768);
        sock_close(&fd);
    }
}

TEST(only_a_transparent_socket_binds_to_a_foreign_source)
{
    struct ip ip;
    struct diag why;
    int fd = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);

    CHECK_INT(ip_parse(&ip, "192.0.2.7", 9), 0);
    CHECK_INT(sock_bind_source(fd, &ip, &why), -EADDRNOTAVAIL);
    CHECK(strstr(why.text, "bind to 192.0.2.7:"));
    sock_close(&fd);
}

TEST(a_socket_at_a_foreign_source_does_not_keep_an_application_from_its_port)
{
    struct endpoint local = {.port = 0};
    int fd = bound_to_source("192.0.2.7", &local);
    struct endpoint any = {.ip.family = IP_V4, .port = local.port};
    int server = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);

    CHECK(fd >= 0);
    CHECK_INT(sock_set_reuse_address(server, NULL), 0);
    CHECK_INT(sock_bind(server, &any, NULL), 0);
    CHECK_INT(sock_listen(server, 1, NULL), 0);
    sock_close(&server);
    sock_close(&fd);
}

/* Takes every port at which a foreign source might be bound. How many were taken. */
static unsigned take_all_ports(int *fds, unsigned count)
{
    struct endpoint at;
    unsigned n = 0;

    if (ip_parse(&at.ip, "192.0.2.7", 9) < 0) {
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        at.port = (uint16_t)(16384 + i);
        fds[i] = sock_open(IP_V4, SOCK_TYPE_STREAM, NULL);
        n += sock_set_transparent(fds[i], NULL) == 0 && sock_bind(fds[i], &at, NULL) == 0;
    }
    return n;
}

TEST(where_ports_are_scarce_the_port_is_chosen_with_the_whole_connection)
{
    enum { PORTS = 16384, MORE = 64 };
    struct rlimit before;
    struct endpoint local = {.port = 1};
    AUTO(netns) struct netns *home = NULL;
    AUTO(netns) struct netns *other = test_netns_new();
    int *fds = mem_array(PORTS, sizeof(*fds));

    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit raised = {PORTS + MORE,
                            before.rlim_max > PORTS + MORE ? before.rlim_max : PORTS + MORE};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &raised), 0);
    CHECK_INT(netns_from_thread(&home, NULL), 0);
    CHECK_INT(netns_enter(other, NULL), 0);
    CHECK_INT(take_all_ports(fds, PORTS), PORTS);
    int fd = bound_to_source("192.0.2.7", &local);
    netns_go_home(home);
    CHECK(fd >= 0);
    CHECK_INT(local.port, 0);
    sock_close(&fd);
    for (unsigned i = 0; i < PORTS; i++) {
        sock_close(&fds[i]);
    }
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    mem_free(fds);
}

/* One connection in the namespace to port 80, which rules send to the listener. */
static void redirected(struct test *t, enum ip_family listen_family, const char *to)
{
    struct endpoint want;
    struct endpoint peer;
    struct endpoint dst;
    struct endpoint at = {.ip.family = (uint8_t)listen_family, .port = 15001};
    struct sockaddr_storage ss;
    int listener = sock_open(listen_family, SOCK_TYPE_STREAM, NULL);

    CHECK_INT(endpoint_parse(&want, to, strlen(to)), 0);
    CHECK_INT(sock_set_reuse_address(listener, NULL), 0);
    CHECK_INT(sock_bind(listener, &at, NULL), 0);
    CHECK_INT(sock_listen(listener, 5, NULL), 0);
    int fd = sock_open((enum ip_family)want.ip.family, SOCK_TYPE_STREAM, NULL);
    socklen_t len = endpoint_to_sockaddr(&want, &ss);
    (void)connect(fd, (struct sockaddr *)&ss, len);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    CHECK_INT(poll(&p, 1, 5000), 1);
    int got = sock_accept(listener, &peer);
    CHECK(got >= 0);
    CHECK_INT(sock_original_destination(got, &dst), SOCK_DESTINATION_NAT);
    CHECK(endpoint_equal(&dst, &want));
    sock_close(&got);
    sock_close(&fd);
    sock_close(&listener);
}

TEST(the_original_destination_survives_redirection)
{
    static const char *const rules[] = {
        "nft",
        "table inet t { chain o { type nat hook output priority -100; "
        "tcp dport 80 redirect to :15001; }; }",
        NULL};
    AUTO(netns) struct netns *n = test_netns_new();
    AUTO(netns) struct netns *home = NULL;

    CHECK_INT(netns_from_thread(&home, NULL), 0);
    CHECK_INT(test_netns_run(n, rules), 0);
    CHECK_INT(netns_enter(n, NULL), 0);
    redirected(t, IP_V4, "127.0.0.1:80");
    redirected(t, IP_V6, "127.0.0.1:80");
    redirected(t, IP_V6, "[::1]:80");
    netns_go_home(home);
}
