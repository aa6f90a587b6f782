/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar is RFC 3986's authority as HTTP stacks read it, with one addition of ours: an IPv4
 * address in IPv6 clothes is refused rather than converted, because the address check that follows
 * would otherwise compare another address than the one that was written.
 */
#include "codec/authority.h"

#include <stdio.h>

#include "base/num.h"

/* RFC 3986: what may stand in userinfo, host and port. */
static bool is_authority_char(unsigned char c)
{
    return c > ' ' && c < 0x7f && !strchr("/?#\\\"<>^`{|}", c);
}

static bool has_only_authority_chars(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_authority_char((unsigned char)s.p[i])) {
            return false;
        }
    }
    return s.len > 0;
}

/* Splits at the colon behind the host. False: the brackets or colons make no sense. */
static bool split_port(struct slice s, struct slice *host, struct slice *port)
{
    size_t at = 0;

    *port = (struct slice){"", 0};
    if (s.len > 0 && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.len);
        if (!end) {
            return false;
        }
        at = (size_t)(end - s.p) + 1;
    } else {
        while (at < s.len && s.p[at] != ':') {
            if (s.p[at] == '[' || s.p[at] == ']') {
                return false;
            }
            at++;
        }
    }
    *host = (struct slice){s.p, at};
    if (at == s.len) {
        return true;
    }
    *port = (struct slice){s.p + at + 1, s.len - at - 1};
    return s.p[at] == ':' && (port->len == 0 || !memchr(port->p, ':', port->len));
}

/* An IPv4-mapped address would silently become an IPv4 one (contract, vectors: 400). */
static bool is_mapped(struct slice inner)
{
    struct ip ip;

    return memchr(inner.p, ':', inner.len) && ip_parse(&ip, inner.p, inner.len) == 0 &&
           ip.family == IP_V4;
}

static int read_ip(struct authority *a)
{
    struct slice h = a->host;

    if (h.len > 2 && h.p[0] == '[') {
        struct slice inner = {h.p + 1, h.len - 2};
        if (is_mapped(inner)) {
            return -ERR_AUTHORITY;
        }
        if (ip_parse(&a->ip, inner.p, inner.len) < 0 || a->ip.family != IP_V6) {
            a->ip = (struct ip){.family = IP_NONE};
        }
    } else if (ip_parse(&a->ip, h.p, h.len) < 0) {
        a->ip = (struct ip){.family = IP_NONE};
    }
    return 0;
}

int authority_parse(struct authority *out, const char *text, size_t len)
{
    struct slice s = {text, len};
    struct slice user, rest, port;
    struct authority a = {.ip = {.family = IP_NONE}};
    bool has_user;
    uint32_t number;

    if (len > AUTHORITY_MAX || !has_only_authority_chars(s)) {
        return -ERR_SYNTAX;
    }
    has_user = slice_cut(s, '@', &user, &rest);
    if (has_user && rest.len > 0 && memchr(rest.p, '@', rest.len)) {
        return -ERR_SYNTAX;
    }
    if (!split_port(has_user ? rest : s, &a.host, &port)) {
        return -ERR_SYNTAX;
    }
    if (port.len == 0 || num_parse_u32(port.p, port.len, UINT16_MAX, &number) < 0) {
        return -ERR_AUTHORITY;
    }
    if (!has_user && read_ip(&a) < 0) {
        return -ERR_AUTHORITY;
    }
    a.port = (uint16_t)number;
    *out = a;
    return 0;
}

const char *authority_format(const char *host, uint16_t port, char buf[static AUTHORITY_TEXT])
{
    bool bare_v6 = strchr(host, ':') != NULL && host[0] != '[';

    (void)snprintf(buf, AUTHORITY_TEXT, bare_v6 ? "[%.255s]:%u" : "%.255s:%u", host, port);
    return buf;
}
