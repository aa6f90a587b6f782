/* SPDX-License-Identifier: Apache-2.0 */
#include "node/sock_diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include "node/netlink.h"
#include "node/rules.h"

/* A connection is over for both of its ends in the states that are missing here. */
static const unsigned alive = BIT(TCP_ESTABLISHED) | BIT(TCP_SYN_SENT) | BIT(TCP_SYN_RECV) |
                              BIT(TCP_FIN_WAIT1) | BIT(TCP_FIN_WAIT2) | BIT(TCP_CLOSE_WAIT);

struct seen { /* what one answer says */
    struct inet_diag_msg m;
    uint32_t mark;
    bool v6_only;
};

static bool has_mark(const struct seen *s, uint32_t mark)
{
    return (s->mark & RULES_MARK_MASK) == mark;
}

static int read_seen(const struct nl_view *v, struct seen *out)
{
    struct nl_reader body = v->body;
    struct nl_attr a;

    *out = (struct seen){0};
    if (nl_read_fixed(&body, &out->m, sizeof(out->m)) < 0) {
        return -ERR_SYNTAX;
    }
    int r = nl_find_attr(&body, INET_DIAG_MARK, &a);
    if (r > 0) {
        r = nl_attr_u32(&a, &out->mark);
    }
    if (r >= 0 && nl_find_attr(&body, INET_DIAG_SKV6ONLY, &a) > 0) {
        out->v6_only = a.value.left == 1 && a.value.p[0] != 0;
    }
    return r < 0 ? r : 0;
}

static int ask(struct netlink *n, int family, unsigned states, struct diag *why)
{
    AUTO(nl_batch) struct nl_batch b;
    struct inet_diag_req_v2 q = {
        .sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states};

    nl_batch_init(&b);
    nl_message(&b, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &q, sizeof(q));
    return netlink_ask_blocking(n, &b, why);
}

/* 1 per socket, 0 at the end. */
static int next_seen(struct netlink *n, struct seen *out, struct diag *why)
{
    struct nl_view v;
    int r = netlink_next_blocking(n, &v, why);

    if (r > 0 && read_seen(&v, out) < 0) {
        return FAIL(why, -ERR_SYNTAX, "sock_diag answer");
    }
    return r;
}

static bool is_tunnel(const struct seen *s)
{
    return s->m.id.idiag_sport == htons(RULES_PORT_HBONE) ||
           s->m.id.idiag_dport == htons(RULES_PORT_HBONE);
}

/* Half closed and without a process: the kernel alone is waiting for the other end. */
static bool is_orphan(const struct seen *s)
{
    bool half = s->m.idiag_state == TCP_FIN_WAIT1 || s->m.idiag_state == TCP_FIN_WAIT2;

    return half && s->m.idiag_inode == 0;
}

static bool is_carried(const struct seen *s)
{
    bool marked = has_mark(s, RULES_MARK_PROXY) || has_mark(s, RULES_MARK_RETURN);

    return marked && !is_tunnel(s) && !is_orphan(s);
}

static int count_family(struct netlink *n, int family, unsigned *sum, struct diag *why)
{
    struct seen s;
    int r = ask(n, family, alive, why);

    while (r == 0 && (r = next_seen(n, &s, why)) > 0) {
        *sum += is_carried(&s);
        r = 0;
    }
    return r;
}

int sock_diag_count_carried_blocking(unsigned *out, struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    unsigned sum = 0;
    int r = netlink_open_blocking(NETLINK_SOCK_DIAG, &n, why);

    if (r == 0) {
        r = count_family(n, AF_INET, &sum, why);
    }
    if (r == 0) {
        r = count_family(n, AF_INET6, &sum, why);
    }
    if (r == 0) {
        *out = sum;
    }
    return r;
}

/* An IPv6 listener serves both families unless it says otherwise. */
static bool serves(const struct seen *s, enum ip_family family, uint16_t port)
{
    bool right_family = family == IP_V6 ? s->m.idiag_family == AF_INET6
                                        : s->m.idiag_family == AF_INET || !s->v6_only;

    return right_family && s->m.id.idiag_sport == htons(port) && has_mark(s, RULES_MARK_PROXY);
}

static int look_for(struct netlink *n, int af, enum ip_family family, uint16_t port, bool *found,
                    struct diag *why)
{
    struct seen s;
    int r = ask(n, af, BIT(TCP_LISTEN), why);

    while (r == 0 && (r = next_seen(n, &s, why)) > 0) {
        *found |= serves(&s, family, port);
        r = 0;
    }
    return r;
}

int sock_diag_has_listener_blocking(enum ip_family family, uint16_t port, bool *out,
                                    struct diag *why)
{
    AUTO(netlink) struct netlink *n = NULL;
    bool found = false;
    int r = netlink_open_blocking(NETLINK_SOCK_DIAG, &n, why);

    if (r == 0) {
        r = look_for(n, AF_INET6, family, port, &found, why);
    }
    if (r == 0 && !found && family == IP_V4) {
        r = look_for(n, AF_INET, family, port, &found, why);
    }
    if (r == 0) {
        *out = found;
    }
    return r;
}
