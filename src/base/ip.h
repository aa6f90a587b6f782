/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses, endpoints and prefixes as small values. An IPv4 address is never held in its
 * IPv4-mapped IPv6 form: the makers convert, so that equality is byte equality (contract 3.1,
 * "canonical" peers).
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

struct ip {
    uint8_t family;    /* enum ip_family */
    uint8_t bytes[16]; /* network order; the first 4 for IPv4, the rest zero */
};

struct endpoint {
    struct ip ip;
    uint16_t port; /* host order */
};

struct ip_prefix {
    struct ip ip; /* host bits are zero */
    uint8_t len;
};

/* "[" address "]:65535", address "/128", and the terminator */
enum { IP_TEXT = 46, ENDPOINT_TEXT = 54, IP_PREFIX_TEXT = 50 };

static inline size_t ip_size(const struct ip *ip)
{
    return ip->family == IP_V4 ? 4 : ip->family == IP_V6 ? 16 : 0;
}

/* len is 4 or 16; anything else is -ERR_SYNTAX. */
MUST_USE int ip_from_bytes(struct ip *out, const void *bytes, size_t len);
/* No brackets, no zone. */
MUST_USE int ip_parse(struct ip *out, const char *s, size_t len);
/* "1.2.3.4:80" or "[::1]:80"; port 0 is accepted. */
MUST_USE int endpoint_parse(struct endpoint *out, const char *s, size_t len);
/* "10.0.0.0/8"; a bare address is its own prefix. Host bits are cleared. */
MUST_USE int ip_prefix_parse(struct ip_prefix *out, const char *s, size_t len);
MUST_USE int ip_prefix_make(struct ip_prefix *out, const struct ip *ip, unsigned len);

bool ip_equal(const struct ip *a, const struct ip *b);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
bool ip_is_loopback(const struct ip *ip);
bool ip_is_unspecified(const struct ip *ip);
bool ip_is_multicast(const struct ip *ip);
bool ip_is_link_local(const struct ip *ip); /* 169.254.0.0/16, fe80::/10 */
bool ip_prefix_has(const struct ip_prefix *p, const struct ip *ip);

/* They return buf. */
const char *ip_format(const struct ip *ip, char buf[static IP_TEXT]);
const char *ip_prefix_format(const struct ip_prefix *p, char buf[static IP_PREFIX_TEXT]);
const char *endpoint_format(const struct endpoint *e, char buf[static ENDPOINT_TEXT]);

/* -EAFNOSUPPORT for other families. */
MUST_USE int endpoint_from_sockaddr(struct endpoint *out, const struct sockaddr_storage *ss);
/* Returns the length. An IPv4 address becomes AF_INET. */
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
