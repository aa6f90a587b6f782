/* SPDX-License-Identifier: Apache-2.0 */
#include "io/udp.h"

#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/sock.h"

enum { CONTROL_BYTES = 256, LOST_A_CALL = 64 /* beyond that the owner gets a turn for others */ };

struct udp_sock {
    struct fd_watch watch;
    int domain; /* AF_INET or AF_INET6 */
};

static int set_on(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? neg_errno() : 0;
}

/* An IPv6 socket tells IPv4 arrivals in the IPv6 way, mapped, except for their original address. */
static int want_addresses(int fd, int domain)
{
    int r = set_on(fd, IPPROTO_IP, IP_RECVORIGDSTADDR);

    if (r == 0 && domain == AF_INET) {
        return set_on(fd, IPPROTO_IP, IP_PKTINFO);
    }
    r = r < 0 ? r : set_on(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR);
    return r < 0 ? r : set_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
}

struct udp_sock *udp_new(struct loop *l, int take_fd, struct task *owner, struct diag *why)
{
    struct udp_sock *u = mem_new(struct udp_sock);

    u->watch.fd = take_fd;
    u->domain = sock_domain(take_fd);
    int r = u->domain < 0 ? u->domain : want_addresses(take_fd, u->domain);
    r = r < 0 ? r : fd_watch_start(&u->watch, l, owner, take_fd);
    if (r < 0) {
        (void)FAIL(why, r, "watch a datagram socket");
        udp_close(u);
        return NULL;
    }
    task_wake(owner, WAKE_START);
    return u;
}

void udp_close(struct udp_sock *u)
{
    if (u) {
        fd_watch_stop(&u->watch);
        sock_close(&u->watch.fd);
        mem_free(u);
    }
}

static void note_original(const struct cmsghdr *h, struct udp_meta *out)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    size_t len = h->cmsg_len - CMSG_LEN(0);
    struct endpoint e;

    memcpy(&ss, CMSG_DATA(h), len < sizeof(ss) ? len : sizeof(ss));
    if (endpoint_from_sockaddr(&e, &ss) == 0) {
        out->original = e;
    }
}

static void note_arrival(const void *address, size_t len, struct udp_meta *out)
{
    struct ip ip;

    if (ip_from_bytes(&ip, address, len) == 0) {
        out->local = ip;
    }
}

static void note_control(const struct cmsghdr *h, struct udp_meta *out)
{
    struct in_pktinfo v4;
    struct in6_pktinfo v6;
    bool ipv6 = h->cmsg_level == IPPROTO_IPV6;

    if (ipv6 ? h->cmsg_type == IPV6_ORIGDSTADDR
             : h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_ORIGDSTADDR) {
        note_original(h, out);
    } else if (ipv6 && h->cmsg_type == IPV6_PKTINFO) {
        memcpy(&v6, CMSG_DATA(h), sizeof(v6));
        note_arrival(&v6.ipi6_addr, 16, out);
    } else if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
        memcpy(&v4, CMSG_DATA(h), sizeof(v4));
        note_arrival(&v4.ipi_addr, 4, out);
    }
}

static struct udp_meta read_meta(struct msghdr *m, const struct sockaddr_storage *from)
{
    struct udp_meta meta = {.peer.port = 0};
    struct endpoint peer;

    if (m->msg_namelen > 0 && endpoint_from_sockaddr(&peer, from) == 0) {
        meta.peer = peer;
    }
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        note_control(h, &meta);
    }
    return meta;
}

/* One datagram, or a failure; -EINTR when it was too large and the next one may be tried. */
static ssize_t receive_one(struct udp_sock *u, void *into, size_t room, struct udp_meta *out)
{
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
    struct sockaddr_storage from;
    struct iovec v = {into, room};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v};

    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof(control);
    ssize_t n = recvmsg(u->watch.fd, &m, 0);
    if (n < 0) {
        return neg_errno();
    }
    if (m.msg_flags & MSG_TRUNC) {
        loop_counts(u->watch.loop)->datagrams_lost++;
        return -EINTR;
    }
    *out = read_meta(&m, &from);
    return n;
}

ssize_t udp_receive(struct udp_sock *u, void *into, size_t room, struct udp_meta *out)
{
    ssize_t n = u->watch.ready & FD_READABLE ? -EINTR : -EAGAIN;

    for (int i = 0; n == -EINTR && i < LOST_A_CALL; i++) {
        n = receive_one(u, into, room, out);
    }
    if (n == -EINTR) {
        task_wake(u->watch.task, WAKE_IO);
        return -EAGAIN;
    }
    if (n == -EAGAIN) {
        fd_watch_blocked(&u->watch, FD_READABLE);
    }
    return n;
}

/* Says from where the datagram leaves. */
static void put_source(struct msghdr *m, int domain, const struct ip *local)
{
    struct in_pktinfo v4 = {.ipi_ifindex = 0};
    struct in6_pktinfo v6 = {.ipi6_ifindex = 0};
    bool mapped = domain == AF_INET6 && local->family == IP_V4;
    bool ipv4 = local->family == IP_V4 && !mapped;
    size_t len = ipv4 ? sizeof(v4) : sizeof(v6);

    memcpy(&v4.ipi_spec_dst, local->bytes, 4);
    v6.ipi6_addr.s6_addr[10] = mapped ? 0xff : 0;
    v6.ipi6_addr.s6_addr[11] = mapped ? 0xff : 0;
    memcpy(&v6.ipi6_addr.s6_addr[mapped ? 12 : 0], local->bytes, mapped ? 4 : 16);
    m->msg_controllen = CMSG_SPACE(len);
    struct cmsghdr *h = CMSG_FIRSTHDR(m);
    h->cmsg_level = ipv4 ? IPPROTO_IP : IPPROTO_IPV6;
    h->cmsg_type = ipv4 ? IP_PKTINFO : IPV6_PKTINFO;
    h->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(h), ipv4 ? (const void *)&v4 : (const void *)&v6, len);
}

int udp_send(struct udp_sock *u, const void *from, size_t len, const struct udp_meta *to)
{
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES] = {0};
    struct sockaddr_storage ss;
    struct iovec v = {(void *)(uintptr_t)from, len};
    struct msghdr m = {.msg_name = &ss, .msg_iov = &v, .msg_iovlen = 1};

    m.msg_namelen = sock_address_for(u->domain, &to->peer, &ss);
    if (to->local.family != IP_NONE) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        put_source(&m, u->domain, &to->local);
    }
    if (sendmsg(u->watch.fd, &m, MSG_NOSIGNAL) >= 0) {
        return 0;
    }
    int r = neg_errno();
    if (r == -EAGAIN) {
        fd_watch_blocked(&u->watch, FD_WRITABLE);
    }
    loop_counts(u->watch.loop)->datagrams_lost++;
    return r;
}

int udp_fd(const struct udp_sock *u)
{
    return u->watch.fd;
}
