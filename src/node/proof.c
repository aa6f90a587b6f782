/* SPDX-License-Identifier: Apache-2.0 */
#include "node/proof.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "node/sock_diag.h"

/* Addresses that documentation owns (RFC 5737, RFC 3849): nobody answers there but a redirection. */
#define NOWHERE_V4 "192.0.2.1"
#define NOWHERE_V6 "2001:db8::1"

enum { PROBE_TRIES = 3, PROBE_WAIT_MS = 300 };
enum { TCP_BYTES = 20, TCP_CHECKSUM_AT = 16, TCP_FLAGS_AT = 13 };
enum { FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16 };

struct probe {
    struct endpoint from;
    struct endpoint to;
    int reserved; /* a bound socket that keeps our port ours */
    int raw;
};

static void probe_fini(struct probe *p)
{
    if (p->reserved >= 0) {
        close(p->reserved);
    }
    if (p->raw >= 0) {
        close(p->raw);
    }
}

static int af_of(enum ip_family family)
{
    return family == IP_V4 ? AF_INET : AF_INET6;
}

static int local_of(int fd, struct endpoint *out, struct diag *why)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
        return FAIL(why, neg_errno(), "probe: own address");
    }
    return endpoint_from_sockaddr(out, &ss);
}

/* The address that the pod would use: a connected datagram socket knows, and sends nothing. */
static int find_source(struct probe *p, enum ip_family family, struct diag *why)
{
    struct sockaddr_storage to;
    socklen_t len = endpoint_to_sockaddr(&p->to, &to);
    int fd = socket(af_of(family), SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return FAIL(why, neg_errno(), "probe: socket");
    }
    int r = connect(fd, (struct sockaddr *)&to, len) < 0
                ? FAIL(why, neg_errno(), "probe: route to nowhere")
                : local_of(fd, &p->from, why);
    close(fd);
    return r;
}

static int reserve_port(struct probe *p, enum ip_family family, struct diag *why)
{
    struct sockaddr_storage at;

    p->from.port = 0;
    socklen_t len = endpoint_to_sockaddr(&p->from, &at);
    p->reserved = socket(af_of(family), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->reserved < 0 || bind(p->reserved, (struct sockaddr *)&at, len) < 0) {
        return FAIL(why, neg_errno(), "probe: reserve a port");
    }
    return local_of(p->reserved, &p->from, why);
}

static int open_raw(struct probe *p, enum ip_family family, struct diag *why)
{
    struct endpoint to = {p->to.ip, 0};
    struct sockaddr_storage ss;
    socklen_t len = endpoint_to_sockaddr(&to, &ss);
    const int checksum_at = TCP_CHECKSUM_AT;

    p->raw = socket(af_of(family), SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
    if (p->raw < 0 || connect(p->raw, (struct sockaddr *)&ss, len) < 0) {
        return FAIL(why, neg_errno(), "probe: raw socket");
    }
    if (family == IP_V6 &&
        setsockopt(p->raw, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum_at, sizeof(checksum_at)) < 0) {
        return FAIL(why, neg_errno(), "probe: checksum");
    }
    return 0;
}

static uint32_t add_words(uint32_t sum, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += be16_get(p + i);
    }
    return sum;
}

/* RFC 9293 3.1. Only needed for IPv4: the kernel does it for IPv6. */
static uint16_t checksum(const struct probe *p, const uint8_t *segment)
{
    uint32_t sum = IPPROTO_TCP + TCP_BYTES;

    sum = add_words(sum, p->from.ip.bytes, ip_size(&p->from.ip));
    sum = add_words(sum, p->to.ip.bytes, ip_size(&p->to.ip));
    sum = add_words(sum, segment, TCP_BYTES);
    while (sum > UINT16_MAX) {
        sum = (sum & UINT16_MAX) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static int send_request(const struct probe *p, struct diag *why)
{
    uint8_t segment[TCP_BYTES] = {[12] = TCP_BYTES / 4 << 4, [TCP_FLAGS_AT] = FLAG_SYN};

    be16_put(segment, p->from.port);
    be16_put(segment + 2, p->to.port);
    be32_put(segment + 4, p->from.port); /* any sequence number will do */
    be16_put(segment + 14, UINT16_MAX);
    be16_put(segment + TCP_CHECKSUM_AT, checksum(p, segment));
    if (send(p->raw, segment, sizeof(segment), 0) < 0) {
        return FAIL(why, neg_errno(), "probe: send");
    }
    return 0;
}

/* 0 answered, -ECONNREFUSED, -EAGAIN: not about us. IPv4 raw sockets get the IP header too. */
static int judge(const struct probe *p, const uint8_t *bytes, size_t len)
{
    size_t skip = p->to.ip.family == IP_V4 && len > 0 ? (size_t)(bytes[0] & 15) * 4 : 0;

    if (len < skip + TCP_BYTES) {
        return -EAGAIN;
    }
    const uint8_t *segment = bytes + skip;
    unsigned flags = segment[TCP_FLAGS_AT];
    if (be16_get(segment) != p->to.port || be16_get(segment + 2) != p->from.port) {
        return -EAGAIN;
    }
    if (flags & FLAG_RST) {
        return -ECONNREFUSED;
    }
    return (flags & FLAG_SYN) && (flags & FLAG_ACK) ? 0 : -EAGAIN;
}

/* The first answer that is about us within the wait. */
static int await_answer(const struct probe *p)
{
    struct pollfd wait = {.fd = p->raw, .events = POLLIN};
    uint8_t packet[2048];
    int r = -EAGAIN;

    while (r == -EAGAIN && poll(&wait, 1, PROBE_WAIT_MS) > 0) {
        ssize_t n = recv(p->raw, packet, sizeof(packet), MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
            return neg_errno();
        }
        r = n < 0 ? -EAGAIN : judge(p, packet, (size_t)n);
    }
    return r;
}

static int ask_nowhere(const struct probe *p, struct diag *why)
{
    int r = -EAGAIN;

    for (int i = 0; r == -EAGAIN && i < PROBE_TRIES; i++) {
        r = send_request(p, why);
        if (r == 0) {
            r = await_answer(p);
        }
    }
    if (r == -EAGAIN) {
        return FAIL(why, -ERR_DEADLINE, "probe: nobody answered");
    }
    return r < 0 ? FAIL(why, r, "probe: request") : 0;
}

/* The way there, and our address on it. */
static int aim(struct probe *p, enum ip_family family, struct diag *why)
{
    const char *nowhere = family == IP_V4 ? NOWHERE_V4 : NOWHERE_V6;
    int r = ip_parse(&p->to.ip, nowhere, strlen(nowhere));

    p->to.port = RULES_PORT_OUTBOUND;
    return r < 0 ? r : find_source(p, family, why);
}

int proof_probe_blocking(enum ip_family family, struct diag *why)
{
    struct probe p = {.reserved = -1, .raw = -1};
    int r = aim(&p, family, why);

    if (r == 0) {
        r = reserve_port(&p, family, why);
    }
    if (r == 0) {
        r = open_raw(&p, family, why);
    }
    if (r == 0) {
        r = ask_nowhere(&p, why);
    }
    probe_fini(&p);
    return r;
}

static int check_rules(const struct rules *rules, struct diag *why)
{
    enum rules_state state;
    int r = rules_inspect_blocking(rules, &state, why);

    if (r == 0 && state != RULES_CAPTURING) {
        return FAIL(why, -ERR_UNAVAILABLE, "capture rules are not the ones that were set");
    }
    return r;
}

static int check_listener(enum ip_family family, uint16_t port, struct diag *why)
{
    bool found;
    int r = sock_diag_has_listener_blocking(family, port, &found, why);

    if (r == 0 && !found) {
        return FAIL(why, -ERR_UNAVAILABLE, "no proxy listens at port %u (IPv%u)", port, family);
    }
    return r;
}

/* Without a route there is nothing to capture. */
static bool has_no_way(int r)
{
    return r == -ENETUNREACH || r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT;
}

static int check_family(const struct rules *rules, enum ip_family family, struct diag *why)
{
    int r = check_listener(family, RULES_PORT_HBONE, why);

    if (r == 0) {
        r = check_listener(family, RULES_PORT_OUTBOUND, why);
    }
    if (r == 0 && rules->inbound) {
        r = check_listener(family, RULES_PORT_INBOUND, why);
    }
    if (r == 0) {
        r = proof_probe_blocking(family, why);
    }
    return has_no_way(r) ? 0 : r;
}

int proof_take_blocking(const struct rules *rules, struct diag *why)
{
    struct probe v6 = {.reserved = -1, .raw = -1};
    int r = check_rules(rules, why);

    if (r == 0) {
        r = check_family(rules, IP_V4, why);
    }
    /* A proxy may do without IPv6 where pods have none. */
    if (r == 0 && !has_no_way(aim(&v6, IP_V6, NULL))) {
        r = check_family(rules, IP_V6, why);
    }
    return r;
}
