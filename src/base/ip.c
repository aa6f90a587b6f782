/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

int ip_from_bytes(struct ip *out, const void *bytes, size_t len)
{
    const uint8_t *b = bytes;
    bool mapped = len == 16 && memcmp(b, v4_mapped, sizeof(v4_mapped)) == 0;

    if (len != 4 && len != 16) {
        return -ERR_SYNTAX;
    }
    *out = (struct ip){.family = len == 4 || mapped ? IP_V4 : IP_V6};
    memcpy(out->bytes, mapped ? b + 12 : b, ip_size(out));
    return 0;
}

int ip_parse(struct ip *out, const char *s, size_t len)
{
    char text[IP_TEXT];
    uint8_t bytes[16];

    if (len == 0 || len >= sizeof(text) || memchr(s, '\0', len)) {
        return -ERR_SYNTAX;
    }
    memcpy(text, s, len);
    text[len] = '\0';
    if (inet_pton(AF_INET, text, bytes) == 1) {
        return ip_from_bytes(out, bytes, 4);
    }
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        return ip_from_bytes(out, bytes, 16);
    }
    return -ERR_SYNTAX;
}

int endpoint_parse(struct endpoint *out, const char *s, size_t len)
{
    const char *colon = len > 0 ? memrchr(s, ':', len) : NULL;
    struct endpoint e = {0};
    uint32_t port = 0;

    if (!colon) {
        return -ERR_SYNTAX;
    }
    size_t host = (size_t)(colon - s);
    bool bracketed = host >= 2 && s[0] == '[' && s[host - 1] == ']';
    int r = num_parse_u32(colon + 1, len - host - 1, UINT16_MAX, &port);
    if (r == 0) {
        r = bracketed ? ip_parse(&e.ip, s + 1, host - 2) : ip_parse(&e.ip, s, host);
    }
    if (r < 0) {
        return r;
    }
    /* An unbracketed IPv6 address would be read with its last group as the port. */
    if (bracketed != (memchr(s, ':', host) != NULL)) {
        return -ERR_SYNTAX;
    }
    e.port = (uint16_t)port;
    *out = e;
    return 0;
}

int ip_prefix_make(struct ip_prefix *out, const struct ip *ip, unsigned len)
{
    size_t bits = ip_size(ip) * 8;

    if (len > bits || bits == 0) {
        return -ERR_RANGE;
    }
    *out = (struct ip_prefix){.ip = *ip, .len = (uint8_t)len};
    for (size_t i = len; i < bits; i++) {
        out->ip.bytes[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    }
    return 0;
}

int ip_prefix_parse(struct ip_prefix *out, const char *s, size_t len)
{
    const char *slash = len > 0 ? memchr(s, '/', len) : NULL;
    size_t host = slash ? (size_t)(slash - s) : len;
    struct ip ip;
    uint32_t bits = 0;

    int r = ip_parse(&ip, s, host);
    if (r < 0) {
        return r;
    }
    if (!slash) {
        return ip_prefix_make(out, &ip, (unsigned)ip_size(&ip) * 8);
    }
    r = num_parse_u32(slash + 1, len - host - 1, 128, &bits);
    return r < 0 ? r : ip_prefix_make(out, &ip, bits);
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

bool ip_is_loopback(const struct ip *ip)
{
    static const uint8_t one[16] = {[15] = 1};

    return ip->family == IP_V4 ? ip->bytes[0] == 127
                               : ip->family == IP_V6 && memcmp(ip->bytes, one, 16) == 0;
}

bool ip_is_unspecified(const struct ip *ip)
{
    static const uint8_t zero[16];

    return memcmp(ip->bytes, zero, 16) == 0;
}

bool ip_is_multicast(const struct ip *ip)
{
    return ip->family == IP_V4   ? ip->bytes[0] >= 224 && ip->bytes[0] < 240
           : ip->family == IP_V6 ? ip->bytes[0] == 0xff
                                 : false;
}

bool ip_is_link_local(const struct ip *ip)
{
    return ip->family == IP_V4   ? ip->bytes[0] == 169 && ip->bytes[1] == 254
           : ip->family == IP_V6 ? ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80
                                 : false;
}

bool ip_prefix_has(const struct ip_prefix *p, const struct ip *ip)
{
    size_t whole = p->len / 8;
    unsigned rest = p->len % 8;

    if (p->ip.family != ip->family || memcmp(p->ip.bytes, ip->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || ((p->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest)) == 0;
}

/* A number up to 65535 at p; what follows it. */
static char *put_number(char *p, unsigned n)
{
    char text[DECIMAL_TEXT];
    struct slice s = slice_of_u64(n, text);

    memcpy(p, s.p, s.len);
    return p + s.len;
}

/* Every access line has some of these. */
static char *put_v4(char *p, const uint8_t *b)
{
    for (int i = 0; i < 4; i++) {
        p = put_number(p, b[i]);
        *p++ = '.';
    }
    *--p = '\0';
    return p;
}

const char *ip_format(const struct ip *ip, char buf[static IP_TEXT])
{
    if (ip->family == IP_V4) {
        (void)put_v4(buf, ip->bytes); /* its end is of no use here */
    } else if (ip->family == IP_NONE || !inet_ntop(AF_INET6, ip->bytes, buf, IP_TEXT)) {
        memcpy(buf, "-", 2);
    }
    return buf;
}

const char *ip_prefix_format(const struct ip_prefix *p, char buf[static IP_PREFIX_TEXT])
{
    char *end = strchr(ip_format(&p->ip, buf), '\0');

    *end++ = '/';
    *put_number(end, p->len) = '\0';
    return buf;
}

const char *endpoint_format(const struct endpoint *e, char buf[static ENDPOINT_TEXT])
{
    bool v6 = e->ip.family == IP_V6;
    char *p = buf;

    if (v6) {
        *p++ = '[';
    }
    (void)ip_format(&e->ip, p);
    p += strlen(p);
    if (v6) {
        *p++ = ']';
    }
    *p++ = ':';
    *put_number(p, e->port) = '\0';
    return buf;
}

int endpoint_from_sockaddr(struct endpoint *out, const struct sockaddr_storage *ss)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    switch (ss->ss_family) {
    case AF_INET:
        memcpy(&v4, ss, sizeof(v4));
        out->port = ntohs(v4.sin_port);
        return ip_from_bytes(&out->ip, &v4.sin_addr, 4);
    case AF_INET6:
        memcpy(&v6, ss, sizeof(v6));
        out->port = ntohs(v6.sin6_port);
        return ip_from_bytes(&out->ip, &v6.sin6_addr, 16);
    default:
        return -EAFNOSUPPORT;
    }
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(e->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};

    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (e->ip.family == IP_V4) {
        memcpy(&v4.sin_addr, e->ip.bytes, 4);
        memcpy(out, &v4, sizeof(v4));
        return sizeof(v4);
    }
    memcpy(&v6.sin6_addr, e->ip.bytes, 16);
    memcpy(out, &v6, sizeof(v6));
    return sizeof(v6);
}
