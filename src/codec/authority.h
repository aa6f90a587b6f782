/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The :authority of a CONNECT (contract 2.4, 2.6): "1.2.3.4:80", "[::1]:80" or "name:80". Whether
 * the address or the name is acceptable is decided in model/route.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/str.h"

struct authority {
    struct ip ip;      /* IP_NONE: it is a hostname */
    struct slice host; /* as written, without userinfo, with brackets; may be empty ("":80) */
    uint16_t port;     /* 0 is legal */
};

enum { AUTHORITY_MAX = 1024, AUTHORITY_TEXT = 272 /* of what authority_format writes */ };

/* -ERR_AUTHORITY: no or no sensible port, or an IPv4 address dressed as IPv6 (status 400).
 * -ERR_SYNTAX: not an authority at all, which is an HTTP error: empty, "/", blanks, two colons.
 * Anything with userinfo counts as a hostname. out->host points into text. */
MUST_USE int authority_parse(struct authority *out, const char *text, size_t len);

/* host may be a name or an address text (IPv6 then gets brackets). Returns buf; what does not
 * fit is cut, which no legal hostname reaches. */
const char *authority_format(const char *host, uint16_t port, char buf[static AUTHORITY_TEXT]);
