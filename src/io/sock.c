/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sock.h"

#include <linux/netfilter_ipv4.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "base/rand.h"

/* linux/netfilter_ipv6/ip6_tables.h has it among much else; the value is the same as SO_ORIGINAL_DST. */
enum { IP6_ORIGINAL_DST = 80 };

/* Below the ports from which kernels choose for who connects (32768 and up unless set otherwise), above
 * those of a proxy's own listeners. */
enum { SOURCE_PORT_FIRST = 16384, SOURCE_PORTS = 16384, SOURCE_TRIES = 4 };

void sock_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* nothing to do about a failure here */
    }
    *fd = -1;
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? neg_errno() : 0;
}

static int get(int fd, int level, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, level, option, &value, &len) < 0 ? neg_errno() : value;
}

int sock_open(enum ip_family family, enum sock_type type, struct diag *why)
{
    int domain = family == IP_V4 ? AF_INET : AF_INET6;
    int kind = type == SOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(domain, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "make a socket");
    }
    int r = domain == AF_INET6 ? set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
    if (r < 0) {
        sock_close(&fd);
        return FAIL(why, r, "let an IPv6 socket take IPv4");
    }
    return fd;
}

int sock_set_mark(int fd, uint32_t mark, struct diag *why)
{
    if (mark == 0) {
        return 0;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0) {
        return FAIL(why, neg_errno(), "mark a socket with %u", mark);
    }
    return 0;
}

int sock_set_reuse_port(int fd, struct diag *why)
{
    int r = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);

    return r < 0 ? FAIL(why, r, "share a port") : 0;
}

int sock_set_reuse_address(int fd, struct diag *why)
{
    int r = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

    return r < 0 ? FAIL(why, r, "reuse an address") : 0;
}

int sock_set_freebind(int fd, struct diag *why)
{
    int r = set(fd, IPPROTO_IP, IP_FREEBIND, 1); /* of IPv6 sockets, too: ip(7) */

    return r < 0 ? FAIL(why, r, "bind to an address to come") : 0;
}

int sock_domain(int fd)
{
    return get(fd, SOL_SOCKET, SO_DOMAIN);
}

static bool is_ipv6(int fd)
{
    return sock_domain(fd) == AF_INET6;
}

int sock_set_transparent(int fd, struct diag *why)
{
    int r = set(fd, IPPROTO_IP, IP_TRANSPARENT, 1);

    r = r < 0 ? r : set(fd, IPPROTO_IP, IP_FREEBIND, 1);
    if (r == 0 && is_ipv6(fd)) {
        r = set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
        r = r < 0 ? r : set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
    }
    return r < 0 ? FAIL(why, r, "make a socket transparent") : 0;
}

bool sock_is_transparent(int fd)
{
    return get(fd, IPPROTO_IP, IP_TRANSPARENT) > 0;
}

int sock_set_nodelay(int fd)
{
    return set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* The kernel takes seconds as int, milliseconds as unsigned; both from configuration. */
static int clamp(uint64_t n)
{
    return (int)MIN_OF(n, (uint64_t)INT32_MAX);
}

int sock_set_keepalive(int fd, const struct sock_keepalive *k)
{
    uint64_t give_up_ms = ((uint64_t)k->idle_s + (uint64_t)k->count * k->interval_s) * 1000;

    if (k->idle_s == 0) {
        return 0;
    }
    int r = set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    r = r < 0 ? r : set(fd, IPPROTO_TCP, TCP_KEEPIDLE, clamp(k->idle_s));
    r = r < 0 ? r : set(fd, IPPROTO_TCP, TCP_KEEPINTVL, clamp(k->interval_s));
    r = r < 0 ? r : set(fd, IPPROTO_TCP, TCP_KEEPCNT, clamp(k->count));
    if (r == 0 && k->user_timeout) {
        r = set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, clamp(give_up_ms));
    }
    return r;
}

socklen_t sock_address_for(int domain, const struct endpoint *e, struct sockaddr_storage *out)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};

    if (e->ip.family != IP_V4 || domain != AF_INET6) {
        return endpoint_to_sockaddr(e, out);
    }
    v6.sin6_addr.s6_addr[10] = 0xff;
    v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&v6.sin6_addr.s6_addr[12], e->ip.bytes, 4);
    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    memcpy(out, &v6, sizeof(v6));
    return sizeof(v6);
}

int sock_bind(int fd, const struct endpoint *at, struct diag *why)
{
    char text[ENDPOINT_TEXT];
    struct sockaddr_storage ss;
    socklen_t len = sock_address_for(sock_domain(fd), at, &ss);

    if (bind(fd, (struct sockaddr *)&ss, len) < 0) {
        return FAIL(why, neg_errno(), "bind to %s", endpoint_format(at, text));
    }
    return 0;
}

int sock_listen(int fd, unsigned backlog, struct diag *why)
{
    return listen(fd, clamp(backlog)) < 0 ? FAIL(why, neg_errno(), "listen") : 0;
}

/* A port that no other socket of this address has, not even one that waits its time out. Once bound,
 * it gives way to an application that wants to listen at its number. */
static int bind_apart(int fd, const struct ip *source, struct diag *why)
{
    uint64_t random = rand_u64();
    int r = -EADDRINUSE;

    for (unsigned i = 0; i < SOURCE_TRIES && r == -EADDRINUSE; i++, random >>= 16) {
        struct endpoint at = {.ip = *source,
                              .port = (uint16_t)(SOURCE_PORT_FIRST + random % SOURCE_PORTS)};
        r = sock_bind(fd, &at, why);
    }
    return r < 0 ? r : sock_set_reuse_address(fd, why);
}

int sock_bind_source(int fd, const struct ip *source, struct diag *why)
{
    struct endpoint at = {.ip = *source};
    int r = bind_apart(fd, source, why);

    if (r == -EADDRINUSE) {
        r = set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        return r < 0 ? FAIL(why, r, "leave the source port to connect()") : sock_bind(fd, &at, why);
    }
    return r;
}

int sock_connect_datagram(int fd, const struct endpoint *to, struct diag *why)
{
    char text[ENDPOINT_TEXT];
    struct sockaddr_storage ss;
    socklen_t len = sock_address_for(sock_domain(fd), to, &ss);

    if (connect(fd, (struct sockaddr *)&ss, len) < 0) {
        return FAIL(why, neg_errno(), "send to %s", endpoint_format(to, text));
    }
    return 0;
}

/* The address family of a Unix socket is no endpoint; its peer stays zero. */
static int to_endpoint(const struct sockaddr_storage *ss, socklen_t len, struct endpoint *out)
{
    struct endpoint e = {.port = 0};
    bool named = len >= sizeof(sa_family_t) && ss->ss_family != AF_UNIX;
    int r = named ? endpoint_from_sockaddr(&e, ss) : 0;

    if (r == 0) {
        *out = e;
    }
    return r;
}

int sock_accept(int fd, struct endpoint *out_peer)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int got = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (got < 0) {
        return neg_errno();
    }
    int r = to_endpoint(&ss, len, out_peer);
    if (r < 0) {
        sock_close(&got);
        return r;
    }
    return got;
}

int sock_local(int fd, struct endpoint *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    return getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ? neg_errno()
                                                             : to_endpoint(&ss, len, out);
}

int sock_peer(int fd, struct endpoint *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    return getpeername(fd, (struct sockaddr *)&ss, &len) < 0 ? neg_errno()
                                                             : to_endpoint(&ss, len, out);
}

static int nat_destination(int fd, int level, int option, struct endpoint *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    return getsockopt(fd, level, option, &ss, &len) < 0 ? neg_errno() : to_endpoint(&ss, len, out);
}

int sock_original_destination(int fd, struct endpoint *out)
{
    if (nat_destination(fd, IPPROTO_IP, SO_ORIGINAL_DST, out) == 0 ||
        nat_destination(fd, IPPROTO_IPV6, IP6_ORIGINAL_DST, out) == 0) {
        return SOCK_DESTINATION_NAT;
    }
    int r = sock_local(fd, out);
    return r < 0 ? r : SOCK_DESTINATION_LOCAL;
}

int sock_error(int fd)
{
    int r = get(fd, SOL_SOCKET, SO_ERROR);

    return r > 0 ? -r : r;
}
