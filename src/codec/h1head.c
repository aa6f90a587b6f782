/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/h1head.h"

#include "base/ascii.h"
#include "base/num.h"

enum { TOKEN = 1, VALUE = 2, TARGET = 4 };

/* RFC 9110 5.6.2 (token), 5.5 (visible, blanks and obs-text in values). */
static const uint8_t kinds[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['"'] = VALUE | TARGET,
    ['#'] = VALUE | TOKEN,
    ['('] = VALUE | TARGET,
    [')'] = VALUE | TARGET,
    [','] = VALUE | TARGET,
    ['/'] = VALUE | TARGET,
    [':' ... '@'] = VALUE | TARGET,
    ['['] = VALUE | TARGET,
    ['\\'] = VALUE | TARGET,
    [']'] = VALUE | TARGET,
    ['{'] = VALUE | TARGET,
    ['}'] = VALUE | TARGET,
    ['!'] = VALUE | TARGET | TOKEN,
    ['$' ... '\''] = VALUE | TARGET | TOKEN,
    ['*' ... '+'] = VALUE | TARGET | TOKEN,
    ['-' ... '.'] = VALUE | TARGET | TOKEN,
    ['0' ... '9'] = VALUE | TARGET | TOKEN,
    ['A' ... 'Z'] = VALUE | TARGET | TOKEN,
    ['^' ... 'z'] = VALUE | TARGET | TOKEN,
    ['|'] = VALUE | TARGET | TOKEN,
    ['~'] = VALUE | TARGET | TOKEN,
    [0x80 ... 0xff] = VALUE,
};

static bool is_all(struct slice s, uint8_t kind)
{
    uint8_t all = kind;

    for (size_t i = 0; i < s.len; i++) {
        all &= kinds[(unsigned char)s.p[i]];
    }
    return all != 0;
}

bool h1_is_token(struct slice s)
{
    return s.len > 0 && is_all(s, TOKEN);
}

bool h1_is_value(struct slice s)
{
    return is_all(s, VALUE);
}

bool h1_is_target(struct slice s)
{
    return s.len > 0 && is_all(s, TARGET);
}

/* Octets from `from` on of a section whose end has not come. */
static int check_part(const char *p, size_t from, size_t len, struct diag *why)
{
    for (size_t i = from; i < len; i++) {
        char before = i > 0 ? p[i - 1] : '\n';
        if (p[i] == '\n' && (i == 0 || before != '\r')) {
            return FAIL(why, -ERR_SYNTAX, "line does not end in CRLF");
        }
        if (p[i] == '\r' && i + 1 < len && p[i + 1] != '\n') {
            return FAIL(why, -ERR_SYNTAX, "bare CR");
        }
        if ((p[i] == ' ' || p[i] == '\t') && before == '\n') {
            return FAIL(why, -ERR_SYNTAX, "line begins with a blank");
        }
        unsigned char c = (unsigned char)p[i];
        if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f) {
            return FAIL(why, -ERR_SYNTAX, "control character in a line");
        }
    }
    return 0;
}

ssize_t h1_section_end(const char *p, size_t len, size_t *seen, struct diag *why)
{
    size_t i = *seen;
    size_t from = i;

    if (len >= 2 && p[0] == '\r' && p[1] == '\n') {
        return 2; /* nothing but the empty line */
    }
    /* i is where the line end before an empty line may begin: never past the last three octets. */
    while (i + 4 <= len) {
        const char *lf = memchr(p + i + 1, '\n', len - i - 1);
        if (!lf || lf + 2 >= p + len) {
            break;
        }
        if (lf[-1] == '\r' && lf[1] == '\r' && lf[2] == '\n') {
            return lf + 3 - p;
        }
        i = (size_t)(lf - p);
    }
    *seen = len >= 4 && len - 3 > i ? len - 3 : i;
    return check_part(p, from, len, why);
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
    if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !ascii_is_digit(s.p[5]) || s.p[6] != '.' ||
        !ascii_is_digit(s.p[7])) {
        return FAIL(why, -ERR_SYNTAX, "no HTTP version where one belongs");
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
    if (!h1_is_token(out->method) || out->method.len > H1_METHOD_MAX) {
        return FAIL(why, -ERR_SYNTAX, "bad method in the request line");
    }
    if (!h1_is_target(out->target)) {
        return FAIL(why, -ERR_SYNTAX, "bad target in the request line");
    }
    return parse_version(version, &out->minor, why);
}

/* HTTP-version SP 3DIGIT SP [ reason ]; the blank behind the status is demanded (RFC 9112 4). */
static int parse_status_line(struct slice line, struct h1_head *out, struct diag *why)
{
    struct slice version;
    struct slice rest;
    struct slice status;
    struct slice reason;

    if (!slice_cut(line, ' ', &version, &rest)) {
        return FAIL(why, -ERR_SYNTAX, "status line is not: version status reason");
    }
    int r = parse_version(version, &out->minor, why);
    if (r < 0) {
        return r;
    }
    if (!slice_cut(rest, ' ', &status, &reason) || status.len != 3 ||
        !ascii_is_digit(status.p[0]) || !ascii_is_digit(status.p[1]) ||
        !ascii_is_digit(status.p[2]) || !h1_is_value(reason)) {
        return FAIL(why, -ERR_SYNTAX, "status line is not: version status reason");
    }
    out->status =
        (unsigned)(100 * (status.p[0] - '0') + 10 * (status.p[1] - '0') + status.p[2] - '0');
    return out->status >= 100 && out->status <= 599
               ? 0
               : FAIL(why, -ERR_SYNTAX, "status %u", out->status);
}

static int parse_field(struct slice line, struct h1_field *out, struct diag *why)
{
    if (!slice_cut(line, ':', &out->name, &out->value) || !h1_is_token(out->name)) {
        return FAIL(why, -ERR_SYNTAX, "field line without a proper name");
    }
    out->value = slice_trim(out->value);
    if (!h1_is_value(out->value)) {
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
            /* What is not even a line is found first when a section comes in pieces. */
            int r = check_part(line.p, 0, line.len + 2 + rest.len, why);
            return r < 0 ? r : FAIL(why, -ERR_TOO_LARGE, "more than %d fields", H1_FIELDS_MAX);
        }
        int r = parse_field(line, &out->fields[out->count], why);
        if (r < 0) {
            return r;
        }
        out->count++;
    }
}

/* Not yet a line; a method longer than any can be judged all the same. */
static int begin_of_request(struct slice part, struct diag *why)
{
    const char *blank = memchr(part.p, ' ', MIN_OF(part.len, (size_t)H1_METHOD_MAX + 1));
    struct slice method = {part.p, blank ? (size_t)(blank - part.p) : part.len};

    /* The CR of an empty line, which some send before a request, may be all there is. */
    return (method.len == 1 && method.p[0] == '\r') ||
                   (h1_is_token(method) && method.len <= H1_METHOD_MAX)
               ? 0
               : FAIL(why, -ERR_SYNTAX, "bad method in the request line");
}

static int begin_of_response(struct slice part, struct diag *why)
{
    static const char version[] = "HTTP/";

    return memcmp(part.p, version, MIN_OF(part.len, sizeof(version) - 1)) == 0
               ? 0
               : FAIL(why, -ERR_SYNTAX, "no HTTP version where one belongs");
}

static int begins(const char *p, size_t len, struct diag *why,
                  int (*first)(struct slice line, struct h1_head *out, struct diag *why),
                  int (*part)(struct slice part, struct diag *why))
{
    UNINITIALIZED struct h1_head head;
    struct slice rest = {p, len};
    struct slice line;

    if (len == 0) {
        return 0;
    }
    return take_line(&rest, &line) ? first(line, &head, why) : part(rest, why);
}

int h1_request_begins(const char *p, size_t len, struct diag *why)
{
    return begins(p, len, why, parse_request_line, begin_of_request);
}

int h1_response_begins(const char *p, size_t len, struct diag *why)
{
    return begins(p, len, why, parse_status_line, begin_of_response);
}

static void clear(struct h1_head *h)
{
    h->method = (struct slice){"", 0};
    h->target = h->method;
    h->status = 0;
    h->minor = 1;
    h->count = 0;
}

int h1_fields_parse(const char *p, size_t len, struct h1_head *out, struct diag *why)
{
    clear(out);
    return parse_fields((struct slice){p, len}, out, why);
}

static int parse(const char *p, size_t len, struct h1_head *out, struct diag *why,
                 int (*first)(struct slice line, struct h1_head *out, struct diag *why))
{
    struct slice rest = {p, len};
    struct slice line;

    clear(out);
    if (!take_line(&rest, &line)) {
        return FAIL(why, -ERR_SYNTAX, "the first line does not end in CRLF");
    }
    int r = first(line, out, why);
    return r < 0 ? r : parse_fields(rest, out, why);
}

int h1_head_parse(const char *p, size_t len, struct h1_head *out, struct diag *why)
{
    return parse(p, len, out, why, parse_request_line);
}

int h1_response_parse(const char *p, size_t len, struct h1_head *out, struct diag *why)
{
    return parse(p, len, out, why, parse_status_line);
}
