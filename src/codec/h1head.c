/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/h1head.h"

#include <strings.h>

#include "base/num.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 9110 5.6.2 */
static bool is_token_char(char c)
{
    return is_alpha(c) || is_digit(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_token_char(s.p[i])) {
            return false;
        }
    }
    return s.len > 0;
}

/* RFC 9110 5.5: visible characters, blanks and obs-text; no other controls. */
static bool is_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_visible(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f) {
            return false;
        }
    }
    return s.len > 0;
}

static bool same_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

size_t h1_section_end(const char *p, size_t len, size_t *seen)
{
    size_t i = *seen;

    if (len >= 2 && p[0] == '\r' && p[1] == '\n') {
        return 2; /* nothing but the empty line */
    }
    for (; i + 4 <= len; i++) {
        if (memcmp(p + i, "\r\n\r\n", 4) == 0) {
            return i + 4;
        }
    }
    *seen = i;
    return 0;
}

/* Takes one line without its end. False: no CRLF. A CR within it is found as a control character. */
static bool take_line(struct slice *rest, struct slice *out)
{
    const char *lf = rest->len > 0 ? memchr(rest->p, '\n', rest->len) : NULL;
    size_t len = lf ? (size_t)(lf - rest->p) : 0;

    if (len == 0 || rest->p[len - 1] != '\r') {
        return false;
    }
    *out = (struct slice){rest->p, len - 1};
    *rest = (struct slice){lf + 1, rest->len - len - 1};
    return true;
}

static int parse_version(struct slice s, unsigned *out, struct diag *why)
{
    if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is_digit(s.p[5]) || s.p[6] != '.' ||
        !is_digit(s.p[7])) {
        return FAIL(why, -ERR_SYNTAX, "request line does not end in an HTTP version");
    }
    if (s.p[5] != '1' || s.p[7] > '1') {
        return FAIL(why, -ERR_VERSION, "HTTP version %c.%c", s.p[5], s.p[7]);
    }
    *out = s.p[7] == '1';
    return 0;
}

static int parse_request_line(struct slice line, struct h1_head *out, struct diag *why)
{
    struct slice rest;
    struct slice version;

    if (!slice_cut(line, ' ', &out->method, &rest) ||
        !slice_cut(rest, ' ', &out->target, &version)) {
        return FAIL(why, -ERR_SYNTAX, "request line is not: method target version");
    }
    if (!is_token(out->method) || !is_visible(out->target)) {
        return FAIL(why, -ERR_SYNTAX, "bad method or target in the request line");
    }
    return parse_version(version, &out->minor, why);
}

static int parse_field(struct slice line, struct h1_field *out, struct diag *why)
{
    if (!slice_cut(line, ':', &out->name, &out->value) || !is_token(out->name)) {
        return FAIL(why, -ERR_SYNTAX, "field line without a proper name");
    }
    out->value = slice_trim(out->value);
    if (!is_value(out->value)) {
        return FAIL(why, -ERR_SYNTAX, "control character in a field value");
    }
    return 0;
}

static int parse_fields(struct slice rest, struct h1_head *out, struct diag *why)
{
    struct slice line;

    for (;;) {
        if (!take_line(&rest, &line)) {
            return FAIL(why, -ERR_SYNTAX, "line does not end in CRLF");
        }
        if (line.len == 0) {
            return rest.len == 0 ? 0 : FAIL(why, -ERR_SYNTAX, "bytes behind the empty line");
        }
        if (out->count == H1_FIELDS_MAX) {
            return FAIL(why, -ERR_TOO_LARGE, "more than %d fields", H1_FIELDS_MAX);
        }
        int r = parse_field(line, &out->fields[out->count], why);
        if (r < 0) {
            return r;
        }
        out->count++;
    }
}

static void clear(struct h1_head *h)
{
    h->method = (struct slice){"", 0};
    h->target = h->method;
    h->minor = 1;
    h->count = 0;
}

int h1_fields_parse(const char *p, size_t len, struct h1_head *out, struct diag *why)
{
    clear(out);
    return parse_fields((struct slice){p, len}, out, why);
}

int h1_head_parse(const char *p, size_t len, struct h1_head *out, struct diag *why)
{
    struct slice rest = {p, len};
    struct slice line;

    clear(out);
    if (!take_line(&rest, &line)) {
        return FAIL(why, -ERR_SYNTAX, "request line does not end in CRLF");
    }
    int r = parse_request_line(line, out, why);
    return r < 0 ? r : parse_fields(rest, out, why);
}

/* The comma-separated list in value has this word. */
static bool has_word(struct slice value, const char *word)
{
    while (value.len > 0) {
        struct slice item = value;
        struct slice rest = {"", 0};
        (void)slice_cut(value, ',', &item, &rest); /* no comma: the whole is the item */
        if (same_word(slice_trim(item), word)) {
            return true;
        }
        value = rest;
    }
    return false;
}

/* host [":" port] without user information: RFC 9112 3.2, RFC 3986 3.2.2. */
static bool is_authority(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (!is_alpha(c) && !is_digit(c) && (c == '\0' || !strchr("-._~!$&'()*+,;=%:[]", c))) {
            return false;
        }
    }
    return true;
}

/* "http://host/path" and "https://host/path": the target's authority wins over Host. */
static int split_absolute(struct slice target, struct h1_framing *out, struct diag *why)
{
    size_t skip = target.len > 8 && strncasecmp(target.p, "https://", 8) == 0  ? 8
                  : target.len > 7 && strncasecmp(target.p, "http://", 7) == 0 ? 7
                                                                               : 0;
    struct slice rest = {target.p + skip, target.len - skip};
    const char *slash = skip > 0 ? memchr(rest.p, '/', rest.len) : NULL;

    if (!slash || slash == rest.p) {
        return FAIL(why, -ERR_SYNTAX, "target is neither a path nor an absolute URL");
    }
    out->authority = (struct slice){rest.p, (size_t)(slash - rest.p)};
    out->path = (struct slice){slash, rest.len - out->authority.len};
    return is_authority(out->authority) ? 0 : FAIL(why, -ERR_SYNTAX, "bad host in the target");
}

static int read_target(const struct h1_head *h, struct h1_framing *out, struct diag *why)
{
    if (h->target.p[0] == '/' || (slice_is(h->target, "*") && slice_is(h->method, "OPTIONS"))) {
        out->path = h->target;
        return 0;
    }
    if (slice_is(h->method, "CONNECT")) {
        out->authority = h->target;
        return is_authority(h->target) ? 0 : FAIL(why, -ERR_SYNTAX, "bad CONNECT target");
    }
    return split_absolute(h->target, out, why);
}

/* What was met among the fields, to find what contradicts. */
struct seen {
    struct slice host;
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    bool keep_alive;
};

static int read_length(struct slice value, struct h1_framing *out, struct diag *why)
{
    /* 19 digits: every such number fits, and a longer one is no honest length. */
    if (value.len > 19 || num_parse_u64(value.p, value.len, UINT64_MAX, &out->length) < 0) {
        return FAIL(why, -ERR_SYNTAX, "content-length is not a number");
    }
    return 0;
}

static int read_coding(struct slice value, struct h1_framing *out, struct diag *why)
{
    if (!same_word(value, "chunked")) {
        return FAIL(why, -ERR_UNSUPPORTED, "transfer coding other than chunked");
    }
    out->chunked = true;
    return 0;
}

static int read_expect(struct slice value, struct h1_framing *out, struct diag *why)
{
    if (!same_word(value, "100-continue")) {
        return FAIL(why, -ERR_UNSUPPORTED, "expectation other than 100-continue");
    }
    out->expects_continue = true;
    return 0;
}

static int read_field(const struct h1_field *f, struct seen *seen, struct h1_framing *out,
                      struct diag *why)
{
    if (same_word(f->name, "host")) {
        seen->hosts++;
        seen->host = f->value;
    } else if (same_word(f->name, "content-length")) {
        seen->lengths++;
        return read_length(f->value, out, why);
    } else if (same_word(f->name, "transfer-encoding")) {
        seen->codings++;
        return read_coding(f->value, out, why);
    } else if (same_word(f->name, "expect")) {
        return read_expect(f->value, out, why);
    } else if (same_word(f->name, "connection")) {
        out->close |= has_word(f->value, "close");
        seen->keep_alive |= has_word(f->value, "keep-alive");
    } else if (same_word(f->name, "te")) {
        out->takes_trailers |= has_word(f->value, "trailers");
    }
    return 0;
}

static int check_framing(const struct h1_head *h, const struct seen *seen, struct diag *why)
{
    if (seen->lengths + seen->codings > 1) {
        return FAIL(why, -ERR_SYNTAX, "more than one statement of the body's length");
    }
    if (h->minor == 0 && seen->codings > 0) {
        return FAIL(why, -ERR_SYNTAX, "transfer coding in HTTP/1.0");
    }
    if (seen->hosts > 1 || (h->minor == 1 && seen->hosts == 0)) {
        return FAIL(why, -ERR_SYNTAX, "%u host fields", seen->hosts);
    }
    return seen->hosts == 0 || is_authority(seen->host) ? 0
                                                        : FAIL(why, -ERR_SYNTAX, "bad host field");
}

int h1_framing_of(const struct h1_head *h, struct h1_framing *out, struct diag *why)
{
    struct h1_framing f = {.authority = {"", 0}, .path = {"", 0}};
    struct seen seen = {.host = {"", 0}};
    int r = read_target(h, &f, why);

    for (unsigned i = 0; i < h->count && r == 0; i++) {
        r = read_field(&h->fields[i], &seen, &f, why);
    }
    r = r < 0 ? r : check_framing(h, &seen, why);
    if (r < 0) {
        return r;
    }
    if (f.authority.len == 0) {
        f.authority = seen.host;
    }
    f.close |= h->minor == 0; /* its keep-alive is a trap for intermediaries: never offered */
    *out = f;
    return 0;
}
