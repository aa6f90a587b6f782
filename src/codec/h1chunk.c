/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "codec/h1head.h"

/* More digits than a 64-bit length has are refused, leading zeros or not. */
enum { SIZE_DIGITS_MAX = 15, OVERHEAD_PER_LINE = 6 };

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }
    return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

/* The line is complete. Framing that a sender of ordinary chunks needs is free; what goes beyond is
 * paid from a budget that data refills, or a client could keep us busy with one-octet extensions. */
static int end_line(struct h1_chunk *c, struct diag *why)
{
    unsigned extra = c->line > OVERHEAD_PER_LINE ? c->line - OVERHEAD_PER_LINE : 0;
    uint32_t earned = (uint32_t)MIN_OF(c->left / 16, (uint64_t)c->overhead);

    c->overhead += extra + 1 - MIN_OF(earned, extra + 1);
    if (c->overhead > H1_CHUNK_OVERHEAD_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "chunk framing outweighs the data");
    }
    c->step = c->left > 0 ? H1_CHUNK_DATA : H1_CHUNK_TRAILERS;
    c->digits = 0;
    c->line = 0;
    c->extension = false;
    c->cr = false;
    return 0;
}

static int size_digit(struct h1_chunk *c, char ch, struct diag *why)
{
    int digit = hex_digit(ch);

    if (digit < 0 || c->digits == SIZE_DIGITS_MAX) {
        return FAIL(why, -ERR_SYNTAX, "bad chunk size");
    }
    c->left = (c->left << 4) | (unsigned)digit;
    c->digits++;
    return 0;
}

static int line_char(struct h1_chunk *c, char ch, struct diag *why)
{
    c->line++;
    if (c->cr) {
        return ch == '\n' ? end_line(c, why) : FAIL(why, -ERR_SYNTAX, "bare CR in a chunk line");
    }
    if (c->line > H1_CHUNK_LINE_MAX || (c->digits == 0 && hex_digit(ch) < 0)) {
        return FAIL(why, -ERR_SYNTAX, "bad chunk line");
    }
    if (ch == '\r') {
        c->cr = true;
        return 0;
    }
    if (c->extension) {
        unsigned char u = (unsigned char)ch;
        return u < 0x20 || u == 0x7f ? FAIL(why, -ERR_SYNTAX, "bad chunk extension") : 0;
    }
    if (ch == ';') {
        c->extension = true; /* RFC 9112 7.1.1: unknown ones are ignored, and we know none */
        return 0;
    }
    return size_digit(c, ch, why);
}

static size_t take_data(struct h1_chunk *c, const char *p, size_t len, struct slice *out)
{
    size_t n = (size_t)MIN_OF(c->left, (uint64_t)len);

    *out = (struct slice){p, n};
    c->left -= n;
    if (c->left == 0) {
        c->step = H1_CHUNK_DATA_CR;
    }
    return n;
}

static int expect_char(struct h1_chunk *c, char ch, char want, enum h1_chunk_step next,
                       struct diag *why)
{
    if (ch != want) {
        return FAIL(why, -ERR_SYNTAX, "chunk data is longer than its size");
    }
    c->step = next;
    return 0;
}

/* One octet that is not data. */
static int frame_char(struct h1_chunk *c, char ch, struct diag *why)
{
    switch (c->step) {
    case H1_CHUNK_LINE:
        return line_char(c, ch, why);
    case H1_CHUNK_DATA_CR:
        return expect_char(c, ch, '\r', H1_CHUNK_DATA_LF, why);
    case H1_CHUNK_DATA_LF:
        return expect_char(c, ch, '\n', H1_CHUNK_LINE, why);
    case H1_CHUNK_DATA:
    case H1_CHUNK_TRAILERS:
        break;
    }
    return 0;
}

ssize_t h1_chunk_feed(struct h1_chunk *c, const char *p, size_t len, struct slice *out,
                      struct diag *why)
{
    size_t used = 0;

    *out = (struct slice){p, 0};
    while (used < len && c->step != H1_CHUNK_TRAILERS) {
        if (c->step == H1_CHUNK_DATA) {
            return (ssize_t)(used + take_data(c, p + used, len - used, out));
        }
        int r = frame_char(c, p[used], why);
        if (r < 0) {
            return r;
        }
        used++;
    }
    return (ssize_t)used;
}
