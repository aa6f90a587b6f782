/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tcp_sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/netns.h"
#include "io/sock.h"

enum {
    MARK_MASK = 0xfff,
    MARK_PROXY = 0x539,  /* contract 1.5, PACKET_MARK */
    MARK_RETURN = 0x111, /* contract 3.8 */
    ANSWER_BYTES = 32 << 10
};

void tcp_sockets_fini(struct tcp_sockets *s)
{
    mem_free(s->at);
    *s = (struct tcp_sockets){0};
}

/* ---- reading */

static int add(struct tcp_sockets *s, unsigned *room, const struct tcp_socket *one)
{
    if (s->count == TCP_SOCKETS_MAX) {
        return -ERR_LIMIT;
    }
    if (s->count == *room) {
        *room = *room > 0 ? *room * 2 : 64;
        s->at = mem_resize(s->at, *room * sizeof(*s->at));
    }
    s->at[s->count++] = *one;
    return 0;
}

static int read_end(struct endpoint *out, uint8_t family, const void *address, uint16_t port_be)
{
    out->port = ntohs(port_be);
    return ip_from_bytes(&out->ip, address, family == AF_INET6 ? 16 : 4);
}

static uint32_t read_mark(const struct nlmsghdr *h)
{
    size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(struct inet_diag_msg));
    const struct inet_diag_msg *m = NLMSG_DATA(h);
    const struct rtattr *a = (const struct rtattr *)(const void *)(m + 1);

    for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == INET_DIAG_MARK && RTA_PAYLOAD(a) == sizeof(uint32_t)) {
            uint32_t mark;
            memcpy(&mark, RTA_DATA(a), sizeof(mark));
            return mark;
        }
    }
    return 0;
}

static int read_message(const struct nlmsghdr *h, struct tcp_socket *out)
{
    const struct inet_diag_msg *m = NLMSG_DATA(h);

    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) ||
        read_end(&out->local, m->idiag_family, m->id.idiag_src, m->id.idiag_sport) < 0 ||
        read_end(&out->remote, m->idiag_family, m->id.idiag_dst, m->id.idiag_dport) < 0) {
        return -ERR_SYNTAX;
    }
    out->mark = read_mark(h);
    out->listens = m->idiag_state == TCP_LISTEN;
    return 0;
}

/* 1 = that was the last message. */
static int read_answer(const void *p, size_t len, struct tcp_sockets *s, unsigned *room)
{
    const struct nlmsghdr *h = p;

    for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
        struct tcp_socket one = {0};
        if (h->nlmsg_type == NLMSG_DONE) {
            return 1;
        }
        if (h->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *e = NLMSG_DATA(h);
            return surely_negative(e->error);
        }
        int r = read_message(h, &one);
        if (r == 0) {
            r = add(s, room, &one);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* ---- asking */

static int ask(int fd, uint8_t family)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } q = {.head = {.nlmsg_len = sizeof(q),
                    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
           .body = {.sdiag_family = family,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = BIT(TCP_ESTABLISHED) | BIT(TCP_LISTEN)}};

    return send(fd, &q, sizeof(q), 0) < 0 ? neg_errno() : 0;
}

static int list_family_blocking(int fd, uint8_t family, struct tcp_sockets *s, unsigned *room)
{
    AUTO(mem) void *buffer = mem_alloc(ANSWER_BYTES);
    int r = ask(fd, family);

    while (r == 0) {
        ssize_t n = recv(fd, buffer, ANSWER_BYTES, 0);
        r = n < 0 ? neg_errno() : read_answer(buffer, (size_t)n, s, room);
    }
    return r < 0 ? r : 0;
}

/* A socket keeps the namespace it was made in. */
static int open_there(const char *path, struct diag *why)
{
    NETNS_VISIT(visit);
    int r = netns_enter_path_blocking(&visit, path, why);

    if (r < 0) {
        return r;
    }
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        return FAIL(why, neg_errno(), "sock_diag");
    }
    return fd;
}

int tcp_sockets_list_blocking(const char *netns, struct tcp_sockets *out, struct diag *why)
{
    struct tcp_sockets s = {0};
    unsigned room = 0;
    int fd = open_there(netns, why);

    if (fd < 0) {
        return fd;
    }
    int r = list_family_blocking(fd, AF_INET, &s, &room);
    if (r == 0) {
        r = list_family_blocking(fd, AF_INET6, &s, &room);
    }
    close(fd);
    if (r < 0) {
        tcp_sockets_fini(&s);
        return FAIL(why, r, "sockets of %s: %s", netns, err_text(r));
    }
    *out = s;
    return 0;
}

/* ---- judging */

static bool is_proxy_port(uint16_t port)
{
    return port == 15001 || port == 15006 || port == 15053;
}

static bool is_other_end(const struct tcp_socket *t, const struct tcp_socket *s)
{
    return endpoint_equal(&t->remote, &s->local) &&
           (endpoint_equal(&t->local, &s->remote) || is_proxy_port(t->local.port));
}

bool tcp_socket_is_direct(const struct tcp_sockets *all, const struct tcp_socket *s)
{
    uint32_t mark = s->mark & MARK_MASK;

    if (s->listens || mark == MARK_PROXY || mark == MARK_RETURN || is_proxy_port(s->local.port)) {
        return false;
    }
    for (unsigned i = 0; i < all->count; i++) {
        if (!all->at[i].listens && is_other_end(&all->at[i], s)) {
            return false;
        }
    }
    return true;
}

bool tcp_socket_is_accepted(const struct tcp_sockets *all, const struct tcp_socket *s)
{
    for (unsigned i = 0; i < all->count; i++) {
        const struct tcp_socket *t = &all->at[i];
        bool here = ip_is_unspecified(&t->local.ip) || ip_equal(&t->local.ip, &s->local.ip);
        if (t->listens && here && t->local.port == s->local.port) {
            return true;
        }
    }
    return false;
}
