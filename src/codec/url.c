/* SPDX-License-Identifier: Apache-2.0 */
/* Slices point into what was given; only decoding copies, because only it changes bytes. */
#include "codec/url.h"

#include <stdint.h>

#include "base/ascii.h"
#include "base/num.h"

/* The byte that "%XY" stands for; negative: broken, or NUL. */
static int escaped_byte(struct slice s)
{
    int high, low;

    if (s.len < 3) {
        return -ERR_SYNTAX;
    }
    high = ascii_hex_value(s.p[1]);
    low = ascii_hex_value(s.p[2]);
    return high < 0 || low < 0 || (high | low) == 0 ? -ERR_SYNTAX : high << 4 | low;
}

int url_decode(struct strbuf *out, struct slice text, enum url_decode how)
{
    while (text.len > 0) {
        size_t used = 1;
        int c = (unsigned char)text.p[0];

        if (c == '%') {
            c = escaped_byte(text);
            used = 3;
        } else if (c == '+' && how == URL_FORM) {
            c = ' ';
        }
        if (c <= 0) {
            return -ERR_SYNTAX;
        }
        strbuf_putc(out, (char)c);
        text.p += used;
        text.len -= used;
    }
    return 0;
}

static bool is_plain(char c)
{
    return ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void url_encode(struct strbuf *out, struct slice text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (is_plain(text.p[i])) {
            strbuf_putc(out, text.p[i]);
        } else {
            strbuf_add(out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
        }
    }
}

void url_split(struct slice target, struct slice *path, struct slice *query)
{
    struct slice rest;
    struct slice all;

    (void)slice_cut(target, '#', &all, &rest); /* without one it is all */
    *query = (struct slice){"", 0};
    if (slice_cut(all, '?', path, &rest)) {
        *query = rest;
    }
}

bool url_query_next(struct slice *rest, struct slice *key, struct slice *value)
{
    struct slice piece = {"", 0};

    while (piece.len == 0) {
        struct slice behind = {"", 0};
        if (rest->len == 0) {
            return false;
        }
        (void)slice_cut(*rest, '&', &piece, &behind); /* without one it is the last piece */
        *rest = behind;
    }
    *value = (struct slice){"", 0};
    (void)slice_cut(piece, '=', key, value); /* without one there is no value */
    return true;
}

int url_query_get(struct slice query, const char *name, struct strbuf *out)
{
    struct slice key, value;

    while (url_query_next(&query, &key, &value)) {
        AUTO(strbuf) struct strbuf plain = {0};
        int r = url_decode(&plain, key, URL_FORM);
        if (r < 0) {
            return r;
        }
        if (strcmp(strbuf_text(&plain), name) == 0) {
            r = url_decode(out, value, URL_FORM);
            return r < 0 ? r : 1;
        }
    }
    return 0;
}

void url_query_add(struct strbuf *out, const char *name, const char *value)
{
    if (out->len > 0 && out->p[out->len - 1] != '?') {
        strbuf_putc(out, '&');
    }
    url_encode(out, slice_of(name));
    strbuf_putc(out, '=');
    url_encode(out, slice_of(value));
}

/* "host", "host:port", "[v6]" or "[v6]:port". */
static int parse_host(struct url *u, struct slice s)
{
    const char *end = s.len > 0 && s.p[0] == '[' ? memchr(s.p, ']', s.len) : NULL;
    struct slice port = {"", 0};
    uint16_t number = 0;

    if (end) {
        u->host = (struct slice){s.p + 1, (size_t)(end - s.p) - 1};
        port = (struct slice){end + 1, s.len - u->host.len - 2};
        if (port.len > 0 && *port.p != ':') {
            return -ERR_SYNTAX;
        }
    } else if (slice_cut(s, ':', &u->host, &port)) {
        port = (struct slice){port.p - 1, port.len + 1};
    }
    if (port.len > 0 && num_parse_port(port.p + 1, port.len - 1, &number) < 0) {
        return -ERR_SYNTAX;
    }
    u->port = number;
    return u->host.len > 0 ? 0 : -ERR_SYNTAX;
}

static bool has_any(struct slice s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= ' ' || s.p[i] == 0x7f || strchr(chars, s.p[i])) {
            return true;
        }
    }
    return false;
}

int url_parse(struct url *out, const char *text, size_t len, struct diag *why)
{
    struct url u = {.path = {"", 0}};
    struct slice rest;
    const char *slash;

    if (!slice_cut((struct slice){text, len}, ':', &u.scheme, &rest) || u.scheme.len == 0 ||
        !slice_has_prefix(rest, "//") || has_any(rest, "?#@")) {
        return FAIL(why, -ERR_SYNTAX, "not scheme://host[:port][/path]");
    }
    rest = (struct slice){rest.p + 2, rest.len - 2};
    slash = rest.len > 0 ? memchr(rest.p, '/', rest.len) : NULL;
    if (slash) {
        u.path = (struct slice){slash, rest.len - (size_t)(slash - rest.p)};
        rest.len -= u.path.len;
    }
    if (parse_host(&u, rest) < 0) {
        return FAIL(why, -ERR_SYNTAX, "URL has no usable host and port");
    }
    *out = u;
    return 0;
}
