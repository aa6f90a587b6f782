/* SPDX-License-Identifier: Apache-2.0 */
/* What the fields of a head say about the rest of the message and about the connection. */
#include <strings.h>

#include "base/ascii.h"
#include "base/ip.h"
#include "base/num.h"
#include "codec/h1head.h"

static bool is_among(struct slice s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is_any_case(s, words[i])) {
            return true;
        }
    }
    return false;
}

/* The next item of a comma-separated list, without blanks. False: there is none. */
static bool next_item(struct slice *list, struct slice *out)
{
    struct slice rest = {"", 0};

    if (list->len == 0) {
        return false;
    }
    if (!slice_cut(*list, ',', out, &rest)) {
        *out = *list;
    }
    *out = slice_trim(*out);
    *list = rest;
    return true;
}

static bool has_word(struct slice list, const char *word)
{
    struct slice item;

    while (next_item(&list, &item)) {
        if (slice_is_any_case(item, word)) {
            return true;
        }
    }
    return false;
}

bool h1_is_hop_field(struct slice name)
{
    static const char *const hop[] = {"connection",        "keep-alive", "proxy-connection",
                                      "transfer-encoding", "upgrade",    "http2-settings"};

    return is_among(name, hop, ARRAY_LEN(hop));
}

bool h1_is_bad_trailer(struct slice name)
{
    static const char *const never[] = {
        "transfer-encoding", "host",       "authorization", "te",
        "trailer",           "set-cookie", "cookie",        "expect",
        "max-forwards",      "age",        "location",      "vary"};

    return h1_is_hop_field(name) || is_among(name, never, ARRAY_LEN(never)) ||
           (name.len >= 8 && strncasecmp(name.p, "content-", 8) == 0) ||
           (name.len >= 12 && strncasecmp(name.p, "x-forwarded-", 12) == 0);
}

/* Hosts */

static bool is_reg_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (!ascii_is_alnum(c) && (c == '\0' || !strchr("-._~!$&'()*+;=%", c))) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_port(struct slice s)
{
    uint32_t port;

    return s.len <= 5 && num_parse_u32(s.p, s.len, UINT16_MAX, &port) == 0;
}

bool h1_is_host(struct slice s)
{
    struct slice host = s;
    struct slice port = {"", 0};
    struct ip ip;

    if (s.len > 0 && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.len);
        if (!end || ip_parse(&ip, s.p + 1, (size_t)(end - s.p) - 1) < 0 ||
            !memchr(s.p, ':', (size_t)(end - s.p))) {
            return false;
        }
        port = (struct slice){end + 1, s.len - (size_t)(end + 1 - s.p)};
        return port.len == 0 ||
               (port.p[0] == ':' && is_port((struct slice){port.p + 1, port.len - 1}));
    }
    bool has_port = slice_cut(s, ':', &host, &port);
    return is_reg_name(host) && (!has_port || is_port(port));
}

/* Targets */

/* "http://host/path" and "https://host/path": the target's authority wins over Host. */
static int split_absolute(struct slice target, struct h1_framing *out, struct diag *why)
{
    size_t skip = target.len > 8 && strncasecmp(target.p, "https://", 8) == 0  ? 8
                  : target.len > 7 && strncasecmp(target.p, "http://", 7) == 0 ? 7
                                                                               : 0;
    struct slice rest = {target.p + skip, target.len - skip};
    const char *slash = skip > 0 ? memchr(rest.p, '/', rest.len) : NULL;

    if (!slash) {
        return FAIL(why, -ERR_SYNTAX, "target is neither a path nor an absolute URL");
    }
    out->authority = (struct slice){rest.p, (size_t)(slash - rest.p)};
    out->path = (struct slice){slash, rest.len - out->authority.len};
    return h1_is_host(out->authority) ? 0 : FAIL(why, -ERR_SYNTAX, "bad host in the target");
}

static int read_target(const struct h1_head *h, struct h1_framing *out, struct diag *why)
{
    if (slice_is(h->method, "CONNECT")) {
        out->authority = h->target;
        return h1_is_host(h->target) && h->target.p[h->target.len - 1] != ']' &&
                       memchr(h->target.p, ':', h->target.len)
                   ? 0
                   : FAIL(why, -ERR_SYNTAX, "CONNECT target is not host:port");
    }
    if (h->target.p[0] == '/' || (slice_is(h->target, "*") && slice_is(h->method, "OPTIONS"))) {
        out->path = h->target;
        return 0;
    }
    return split_absolute(h->target, out, why);
}

/* Fields. What was met among them, to find what contradicts. */
struct seen {
    struct slice host;
    struct slice upgrade;
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool upgrades; /* Connection says so */
};

static int read_length(struct slice value, struct h1_framing *out, struct diag *why)
{
    if (num_parse_u64(value.p, value.len, INT64_MAX, &out->length) < 0 || value.len > 19) {
        return FAIL(why, -ERR_SYNTAX, "content-length is not a number");
    }
    return 0;
}

static int read_coding(struct slice value, struct h1_framing *out, struct diag *why)
{
    if (!slice_is_any_case(value, "chunked")) {
        return FAIL(why, -ERR_UNSUPPORTED, "transfer coding other than chunked");
    }
    out->chunked = true;
    return 0;
}

static void read_expect(struct slice value, struct h1_framing *out)
{
    if (slice_is_any_case(value, "100-continue")) {
        out->expects_continue = true;
    } else {
        out->expects_unknown = true;
    }
}

/* Nominating one of these makes an intermediary delete what the next one relies on. */
static bool is_precious(struct slice name)
{
    static const char *const precious[] = {
        "host",         "content-length", "transfer-encoding", "content-type", "cookie",
        "set-cookie",   "expect",         "authorization",     "forwarded",    "x-real-ip",
        "x-request-id", "traceparent",    "baggage",           "location"};

    return is_among(name, precious, ARRAY_LEN(precious)) ||
           (name.len >= 12 && strncasecmp(name.p, "x-forwarded-", 12) == 0) ||
           (name.len >= 8 && strncasecmp(name.p, "x-envoy-", 8) == 0);
}

static int read_connection(struct slice list, struct seen *seen, struct h1_framing *out,
                           struct diag *why)
{
    static const char *const plain[] = {"keep-alive", "te", "http2-settings", "proxy-connection"};
    struct slice item;

    while (next_item(&list, &item)) {
        if (item.len == 0 || is_among(item, plain, ARRAY_LEN(plain))) {
            continue;
        }
        if (slice_is_any_case(item, "close")) {
            out->close = true;
        } else if (slice_is_any_case(item, "upgrade")) {
            seen->upgrades = true;
        } else if (!h1_is_token(item) || is_precious(item)) {
            return FAIL(why, -ERR_SYNTAX, "connection names what it must not: %.*s",
                        (int)MIN_OF(item.len, (size_t)40), item.p);
        } else {
            out->nominates = true;
        }
    }
    return 0;
}

bool h1_is_nominated(const struct h1_head *h, struct slice name)
{
    for (unsigned i = 0; i < h->count; i++) {
        struct slice list = h->fields[i].value;
        struct slice item;
        while (slice_is_any_case(h->fields[i].name, "connection") && next_item(&list, &item)) {
            if (item.len == name.len && strncasecmp(item.p, name.p, name.len) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Only WebSocket: upgrades to HTTP/2 in particular lead around whatever judges requests. */
static void read_upgrade(struct slice list, struct seen *seen)
{
    if (has_word(list, "websocket")) {
        seen->upgrade = slice_of("websocket");
    }
}

static int read_field(const struct h1_field *f, struct seen *seen, struct h1_framing *out,
                      struct diag *why)
{
    switch (f->name.len) { /* spares most fields the comparisons */
    case 2:
        out->takes_trailers |= slice_is_any_case(f->name, "te") && has_word(f->value, "trailers");
        break;
    case 4:
        if (slice_is_any_case(f->name, "host")) {
            seen->hosts++;
            seen->host = f->value;
        }
        break;
    case 6:
        if (slice_is_any_case(f->name, "expect")) {
            read_expect(f->value, out);
        }
        break;
    case 7:
        if (slice_is_any_case(f->name, "upgrade")) {
            read_upgrade(f->value, seen);
        }
        break;
    case 10:
        if (slice_is_any_case(f->name, "connection")) {
            return read_connection(f->value, seen, out, why);
        }
        break;
    case 14:
        if (slice_is_any_case(f->name, "content-length")) {
            seen->lengths++;
            return read_length(f->value, out, why);
        }
        break;
    case 17:
        if (slice_is_any_case(f->name, "transfer-encoding")) {
            seen->codings++;
            return read_coding(f->value, out, why);
        }
        break;
    default: /* names that mean nothing here */
        break;
    }
    return 0;
}

static int read_fields(const struct h1_head *h, struct seen *seen, struct h1_framing *out,
                       struct diag *why)
{
    int r = 0;

    for (unsigned i = 0; i < h->count && r == 0; i++) {
        r = read_field(&h->fields[i], seen, out, why);
    }
    if (r < 0) {
        return r;
    }
    if (seen->lengths + seen->codings > 1) {
        return FAIL(why, -ERR_SYNTAX, "more than one statement of the body's length");
    }
    if (h->minor == 0 && seen->codings > 0) {
        return FAIL(why, -ERR_SYNTAX, "transfer coding in HTTP/1.0");
    }
    out->close |= h->minor == 0; /* its keep-alive is a trap for intermediaries: never offered */
    if (seen->upgrades && h->minor == 1) {
        out->upgrade = seen->upgrade;
    }
    return 0;
}

static int check_request(const struct h1_head *h, const struct seen *seen,
                         const struct h1_framing *f, struct diag *why)
{
    if (seen->hosts > 1 || (h->minor == 1 && seen->hosts == 0)) {
        return FAIL(why, -ERR_SYNTAX, "%u host fields", seen->hosts);
    }
    if (seen->hosts > 0 && !h1_is_host(seen->host)) {
        return FAIL(why, -ERR_SYNTAX, "bad host field");
    }
    bool switches = slice_is(h->method, "CONNECT") || f->upgrade.len > 0;
    if (switches && seen->lengths + seen->codings > 0) {
        return FAIL(why, -ERR_SYNTAX, "a body before the change of protocol");
    }
    return 0;
}

int h1_framing_of(const struct h1_head *h, struct h1_framing *out, struct diag *why)
{
    struct h1_framing f = {.authority = {"", 0}, .path = {"", 0}, .upgrade = {"", 0}};
    struct seen seen = {.host = {"", 0}, .upgrade = {"", 0}};
    int r = read_target(h, &f, why);

    r = r < 0 ? r : read_fields(h, &seen, &f, why);
    r = r < 0 ? r : check_request(h, &seen, &f, why);
    if (r < 0) {
        return r;
    }
    if (f.authority.len == 0) {
        f.authority = seen.host;
    }
    f.expects_continue &= h->minor == 1;
    *out = f;
    return 0;
}

/* RFC 9112 6.3, rules 1 and 2 */
static bool has_no_body(unsigned status, bool to_head)
{
    return status < 200 || status == 204 || status == 304 || to_head;
}

int h1_response_framing(const struct h1_head *h, bool to_head, struct h1_framing *out,
                        struct diag *why)
{
    struct h1_framing f = {.authority = {"", 0}, .path = {"", 0}, .upgrade = {"", 0}};
    struct seen seen = {.host = {"", 0}, .upgrade = {"", 0}};
    int r = read_fields(h, &seen, &f, why);

    if (r < 0) {
        return r;
    }
    if (h->status == 101 && f.upgrade.len == 0) {
        return FAIL(why, -ERR_SYNTAX, "status 101 without a protocol that is known");
    }
    if (has_no_body(h->status, to_head)) {
        f.chunked = false;
        f.length = 0;
    } else {
        f.to_close = seen.lengths + seen.codings == 0;
    }
    f.close |= f.to_close;
    *out = f;
    return 0;
}
