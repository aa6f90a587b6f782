/* SPDX-License-Identifier: Apache-2.0 */
#include "podnet.h"

#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/netns.h"
#include "node/netlink.h"
#include "node/rtnl.h"
#include "node/rules.h"

/* For what has to come, on however slow a machine, and for what must not. */
enum { WAIT_MS = 30000, NEVER_MS = 2000 };

static void must(int r, const struct diag *why, const char *what)
{
    if (r < 0) {
        printf("Bail out! %s: %s (%d)\n", what, why ? why->text : "", r);
        exit(1);
    }
}

struct ip podnet_ip(const char *text)
{
    struct ip ip;

    must(ip_parse(&ip, text, strlen(text)), NULL, text);
    return ip;
}

struct ip podnet_node_ip(enum ip_family f)
{
    return podnet_ip(f == IP_V4 ? "10.77.0.1" : "fd77::1");
}

struct ip podnet_pod_ip(enum ip_family f)
{
    return podnet_ip(f == IP_V4 ? "10.77.0.2" : "fd77::2");
}

void podnet_close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static int new_namespace(void)
{
    NETNS_VISIT(visit);
    struct diag why = {0};
    int fd;

    must(netns_open_own(&visit.home, &why), &why, "own namespace");
    must(unshare(CLONE_NEWNET), NULL, "unshare");
    must(netns_open_own(&fd, &why), &why, "new namespace");
    return fd;
}

static void raise_link(struct netlink *n, const char *name)
{
    struct diag why = {0};
    unsigned index;

    must(rtnl_link_find_blocking(n, name, &index, &why), &why, name);
    must(rtnl_link_up_blocking(n, index, &why), &why, name);
}

static void add_addresses(struct netlink *n, struct ip v4, struct ip v6)
{
    struct ip_prefix p4 = {v4, 24};
    struct ip_prefix p6 = {v6, 64};
    struct diag why = {0};
    unsigned index;

    must(rtnl_link_find_blocking(n, "eth0", &index, &why), &why, "eth0");
    must(rtnl_address_add_blocking(n, index, &p4, &why), &why, "IPv4 address");
    must(rtnl_address_add_blocking(n, index, &p6, &why), &why, "IPv6 address");
    raise_link(n, "lo");
    raise_link(n, "eth0");
}

/* Before that, packets to an IPv6 address of our own look for a neighbour. */
static void await_address(struct netlink *n, struct ip ip)
{
    struct diag why = {0};

    must(rtnl_address_await_blocking(n, &ip, &why), &why, "own address");
}

static void add_default_route(struct netlink *n, struct ip via)
{
    struct diag why = {0};
    struct rtnl_route route = {.to.ip.family = via.family, .via = &via};

    must(rtnl_link_find_blocking(n, "eth0", &route.link, &why), &why, "eth0");
    must(rtnl_route_set_blocking(n, &route, &why), &why, "default route");
}

static struct netlink *netlink_in(int ns)
{
    NETNS_VISIT(visit);
    struct netlink *n;
    struct diag why = {0};

    must(netns_enter_blocking(&visit, ns, &why), &why, "enter");
    must(netlink_open_blocking(NETLINK_ROUTE, &n, &why), &why, "netlink");
    return n;
}

struct podnet podnet_make(void)
{
    struct podnet n = {.node = new_namespace(), .pod = new_namespace()};
    struct diag why = {0};
    AUTO(netlink) struct netlink *node = netlink_in(n.node);
    AUTO(netlink) struct netlink *pod = netlink_in(n.pod);

    must(rtnl_veth_add_blocking(node, "eth0", "eth0", n.pod, &why), &why, "veth");
    add_addresses(node, podnet_node_ip(IP_V4), podnet_node_ip(IP_V6));
    add_addresses(pod, podnet_pod_ip(IP_V4), podnet_pod_ip(IP_V6));
    await_address(node, podnet_node_ip(IP_V6));
    await_address(pod, podnet_pod_ip(IP_V6));
    add_default_route(pod, podnet_node_ip(IP_V4));
    add_default_route(pod, podnet_node_ip(IP_V6));
    return n;
}

int podnet_neighbour(struct podnet n)
{
    int ns = new_namespace();
    struct diag why = {0};
    AUTO(netlink) struct netlink *node = netlink_in(n.node);

    must(rtnl_veth_add_blocking(node, "eth1", "eth0", ns, &why), &why, "veth");
    mem_free(podnet_run(n.node, "ip addr add 10.78.0.1/24 dev eth1; ip link set eth1 up"));
    mem_free(podnet_run(ns, "ip link set lo up; ip addr add 10.78.0.2/24 dev eth0;"
                            " ip link set eth0 up; ip route add default via 10.78.0.1"));
    return ns;
}

void podnet_free(struct podnet n)
{
    podnet_close_fd(n.node);
    podnet_close_fd(n.pod);
}

static void set_int(int fd, int level, int option, int value)
{
    must(setsockopt(fd, level, option, &value, sizeof(value)), NULL, "setsockopt");
}

static int new_socket(int ns, enum socket_role role, unsigned family, int type)
{
    NETNS_VISIT(visit);
    struct diag why = {0};
    int af = family == IP_V4 ? AF_INET : AF_INET6;

    must(netns_enter_blocking(&visit, ns, &why), &why, "enter");
    int fd = socket(af, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(fd, NULL, "socket");
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (af == AF_INET6) {
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (role == ROLE_PROXY) {
        set_int(fd, SOL_SOCKET, SO_MARK, RULES_MARK_PROXY);
        set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        set_int(fd, af == AF_INET ? SOL_IP : SOL_IPV6,
                af == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1);
    }
    return fd;
}

static void bind_to(int fd, struct ip at, uint16_t port)
{
    struct endpoint e = {at, port};
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(&e, &ss);

    must(bind(fd, (struct sockaddr *)&ss, len), NULL, "bind");
}

int podnet_listen(int ns, enum socket_role role, struct ip at, uint16_t port)
{
    int fd = new_socket(ns, role, at.family, SOCK_STREAM);

    bind_to(fd, at, port);
    must(listen(fd, 16), NULL, "listen");
    return fd;
}

int podnet_udp(int ns, enum socket_role role, struct ip at, uint16_t port)
{
    int fd = new_socket(ns, role, at.family, SOCK_DGRAM);

    bind_to(fd, at, port);
    return fd;
}

static bool wait_for(int fd, short what, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = what};

    return poll(&p, 1, wait_ms) > 0;
}

static int connect_within(int wait_ms, int ns, enum socket_role role, const struct endpoint *from,
                          struct endpoint to)
{
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(&to, &ss);
    int fd = new_socket(ns, role, to.ip.family, SOCK_STREAM);
    int error = 0;
    socklen_t size = sizeof(error);

    if (from) {
        bind_to(fd, from->ip, from->port);
    }
    if (connect(fd, (struct sockaddr *)&ss, len) == 0) {
        return fd;
    }
    if (errno != EINPROGRESS) {
        error = errno;
    } else if (!wait_for(fd, POLLOUT, wait_ms)) {
        error = ETIMEDOUT;
    } else {
        must(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), NULL, "SO_ERROR");
    }
    if (error != 0) {
        close(fd);
        return -error;
    }
    return fd;
}

int podnet_connect(int ns, enum socket_role role, const struct endpoint *from, struct endpoint to)
{
    return connect_within(WAIT_MS, ns, role, from, to);
}

bool podnet_is_cut_off(int ns, enum socket_role role, const struct endpoint *from,
                       struct endpoint to)
{
    int fd = connect_within(NEVER_MS, ns, role, from, to);

    podnet_close_fd(fd);
    return fd < 0;
}

int podnet_accept(int listener)
{
    return wait_for(listener, POLLIN, WAIT_MS)
               ? accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)
               : -ETIMEDOUT;
}

bool podnet_is_idle(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};

    return poll(&p, 1, 0) == 0;
}

static struct endpoint endpoint_of(const struct sockaddr_storage *ss)
{
    struct endpoint e;

    must(endpoint_from_sockaddr(&e, ss), NULL, "address");
    return e;
}

struct endpoint podnet_local(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    must(getsockname(fd, (struct sockaddr *)&ss, &len), NULL, "getsockname");
    return endpoint_of(&ss);
}

struct endpoint podnet_peer(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    must(getpeername(fd, (struct sockaddr *)&ss, &len), NULL, "getpeername");
    return endpoint_of(&ss);
}

struct endpoint podnet_original_destination(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    /* The same number in both families: IP6T_SO_ORIGINAL_DST. */
    if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &ss, &len) < 0) {
        len = sizeof(ss);
        must(getsockopt(fd, SOL_IPV6, SO_ORIGINAL_DST, &ss, &len), NULL, "original destination");
    }
    return endpoint_of(&ss);
}

static bool send_byte(int from, int to, char byte)
{
    char got = 0;

    return write(from, &byte, 1) == 1 && wait_for(to, POLLIN, WAIT_MS) && read(to, &got, 1) == 1 &&
           got == byte;
}

bool podnet_talk(int a, int b)
{
    return send_byte(a, b, 'a') && send_byte(b, a, 'b');
}

char *podnet_run(int ns, const char *command)
{
    NETNS_VISIT(visit);
    struct diag why = {0};
    struct strbuf out = {0};
    char piece[4096];
    size_t n;

    must(netns_enter_blocking(&visit, ns, &why), &why, "enter");
    FILE *f = popen(command, "re"); // a test looks at the kernel with nft
    must(f ? 0 : -1, NULL, command);
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0) {
        strbuf_add(&out, piece, n);
    }
    must(pclose(f) == 0 ? 0 : -1, NULL, command);
    return strbuf_take(&out);
}
