/* SPDX-License-Identifier: Apache-2.0 */
/* Two steps: spelling (escapes, '\'), then segments. What the first makes of an escape can be a dot
 * segment ("%2e%2e"), so the order is not free. */
#include "codec/http_path.h"

#include <stdint.h>

#include "base/ascii.h"

/* RFC 3986 2.3 */
static bool is_unreserved(char c)
{
    return ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* No control characters, no blank, and nothing that ends a path. */
static bool is_bare_path(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && c != '#' && c != '?';
}

/* ---- spelling */

static void put_escape(unsigned char byte, struct strbuf *out)
{
    static const char digits[] = "0123456789ABCDEF";

    strbuf_add(out, (char[]){'%', digits[byte >> 4], digits[byte & 15]}, 3);
}

/* The escape at s.p[i], spelled the one way; its failure says what is wrong with it. */
static int add_escape(struct slice s, size_t i, struct strbuf *out, struct diag *why)
{
    int high = i + 2 < s.len ? ascii_hex_value(s.p[i + 1]) : -1;
    int low = high >= 0 ? ascii_hex_value(s.p[i + 2]) : -1;

    if (low < 0 || (high | low) == 0) {
        return FAIL(why, -ERR_SYNTAX, "path: %s at %zu", low < 0 ? "a broken escape" : "%00", i);
    }
    if (is_unreserved((char)(high << 4 | low))) {
        strbuf_putc(out, (char)(high << 4 | low));
    } else {
        put_escape((unsigned char)(high << 4 | low), out);
    }
    return 0;
}

static int respell(struct slice s, struct strbuf *out, struct diag *why)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '%') {
            int r = add_escape(s, i, out, why);
            if (r < 0) {
                return r;
            }
            i += 2;
        } else if (is_bare_path(c)) {
            strbuf_putc(out, c == '\\' ? '/' : c);
        } else {
            return FAIL(why, -ERR_SYNTAX, "path: byte 0x%02x at %zu", (unsigned char)c, i);
        }
    }
    return 0;
}

/* What no request has but escaped: blanks, control characters, and what is beyond ASCII. */
static bool is_never_bare(char c)
{
    return (unsigned char)c <= ' ' || (unsigned char)c >= 0x7f;
}

void http_path_respell(struct slice path, struct strbuf *out)
{
    for (size_t i = 0; i < path.len; i++) {
        char c = path.p[i];
        if (c == '%' && add_escape(path, i, out, NULL) == 0) {
            i += 2;
        } else if (is_never_bare(c)) {
            put_escape((unsigned char)c, out);
        } else {
            strbuf_putc(out, c);
        }
    }
}

/* ---- segments */

/* out ends behind a '/': back to behind the one before. False: there is none. */
static bool drop_segment(struct strbuf *out, size_t root)
{
    size_t len = out->len - 1;

    if (out->len <= root + 1) {
        return false;
    }
    while (out->p[len - 1] != '/') {
        len--;
    }
    out->len = len;
    out->p[len] = '\0';
    return true;
}

/* s begins with '/'. */
static int resolve(struct slice s, enum http_slashes how, struct strbuf *out, struct diag *why)
{
    size_t root = out->len;

    strbuf_putc(out, '/');
    for (size_t i = 1; i <= s.len;) {
        const char *slash = i < s.len ? memchr(s.p + i, '/', s.len - i) : NULL;
        size_t end = slash ? (size_t)(slash - s.p) : s.len;
        struct slice segment = {s.p + i, end - i};

        if (slice_is(segment, "..")) {
            if (!drop_segment(out, root)) {
                return FAIL(why, -ERR_SYNTAX, "path: .. above the root");
            }
        } else if (!slice_is(segment, ".") &&
                   !(how == HTTP_SLASHES_MERGED && segment.len == 0 && slash)) {
            strbuf_add(out, segment.p, segment.len);
            if (slash) {
                strbuf_putc(out, '/');
            }
        }
        i = end + 1;
    }
    return 0;
}

/* What resolve would change. */
static bool has_odd_segment(struct slice s, enum http_slashes how)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] != '/') {
            continue;
        }
        struct slice rest = {s.p + i + 1, s.len - i - 1};
        if (rest.len > 0 && *rest.p == '/' && how == HTTP_SLASHES_MERGED) {
            return true;
        }
        for (int dots = 0; dots < 2 && rest.len > 0 && *rest.p == '.'; dots++) {
            rest = (struct slice){rest.p + 1, rest.len - 1};
            if (rest.len == 0 || *rest.p == '/') {
                return true;
            }
        }
    }
    return false;
}

bool http_path_is_normal(struct slice path, enum http_slashes how)
{
    if (slice_is(path, "*")) {
        return true;
    }
    if (path.len == 0 || path.len > HTTP_PATH_MAX || *path.p != '/') {
        return false;
    }
    for (size_t i = 0; i < path.len; i++) {
        if (!is_bare_path(path.p[i]) || path.p[i] == '%' || path.p[i] == '\\') {
            return false; /* an escape may be normal; who has one takes the longer way */
        }
    }
    return !has_odd_segment(path, how);
}

int http_path_normalise(struct slice path, enum http_slashes how, struct strbuf *out,
                        struct diag *why)
{
    AUTO(strbuf) struct strbuf spelled = {.p = NULL};
    size_t before = out->len;

    if (path.len > HTTP_PATH_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "path of %zu bytes, at most %d", path.len, HTTP_PATH_MAX);
    }
    if (http_path_is_normal(path, how)) {
        strbuf_add(out, path.p, path.len);
        return 0;
    }
    int r = respell(path, &spelled, why);
    if (r == 0 && (spelled.len == 0 || *spelled.p != '/')) {
        r = FAIL(why, -ERR_SYNTAX, "path: does not begin with /");
    }
    if (r == 0) {
        r = resolve((struct slice){spelled.p, spelled.len}, how, out, why);
    }
    if (r < 0 && out->len > before) {
        out->len = before;
        out->p[before] = '\0';
    }
    return r;
}

/* ---- hosts */

/* reg-name of RFC 3986 3.2.2 without escapes, as DNS and Kubernetes have it, with '_'. */
static bool is_name_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_') {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_bracketed(struct slice s)
{
    for (size_t i = 1; i + 1 < s.len; i++) {
        if (ascii_hex_value(s.p[i]) < 0 && s.p[i] != ':' && s.p[i] != '.') {
            return false;
        }
    }
    return s.len > 3 && *s.p == '[' && s.p[s.len - 1] == ']';
}

/* Behind the host: nothing, or ':' and 1 to 5 digits. */
static bool is_port(struct slice s)
{
    uint32_t n = 0;

    for (size_t i = 1; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        n = n * 10 + (uint32_t)(s.p[i] - '0');
    }
    return s.len == 0 || (*s.p == ':' && s.len >= 2 && s.len <= 6 && n > 0 && n <= UINT16_MAX);
}

struct slice http_host_name(struct slice canonical)
{
    const char *close = canonical.len > 0 ? memchr(canonical.p, ']', canonical.len) : NULL;
    size_t from = close ? (size_t)(close - canonical.p) : 0;
    const char *colon =
        canonical.len > from ? memchr(canonical.p + from, ':', canonical.len - from) : NULL;

    return colon ? (struct slice){canonical.p, (size_t)(colon - canonical.p)} : canonical;
}

int http_host_canonical(struct slice authority, struct strbuf *out, struct diag *why)
{
    if (authority.len == 0 || authority.len > HTTP_HOST_MAX) {
        return FAIL(why, -ERR_SYNTAX, "host of %zu bytes", authority.len);
    }
    struct slice host = http_host_name(authority);
    struct slice port = {authority.p + host.len, authority.len - host.len};
    if (!is_port(port)) {
        return FAIL(why, -ERR_SYNTAX, "host: what follows the name is no port");
    }
    if (!is_bracketed(host)) {
        if (!is_name_text(host)) {
            return FAIL(why, -ERR_SYNTAX, "host: holds what no host name does");
        }
        host.len -= host.p[host.len - 1] == '.';
    }
    if (host.len == 0 || (host.p[host.len - 1] == '.' && *host.p != '[')) {
        return FAIL(why, -ERR_SYNTAX, "host: has an empty label");
    }
    for (size_t i = 0; i < host.len; i++) {
        strbuf_putc(out, ascii_lower(host.p[i]));
    }
    strbuf_add(out, port.p, port.len);
    return 0;
}
