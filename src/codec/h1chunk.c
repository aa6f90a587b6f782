/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ascii.h"
#include "base/num.h"
#include "codec/h1head.h"

/* More digits than a 64-bit length has are refused, leading zeros or not. */
enum { SIZE_DIGITS_MAX = 15, OVERHEAD_PER_LINE = 6 };

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
    c->ext = H1_EXT_NONE;
    c->digits = 0;
    c->line = 0;
    c->cr = false;
    return 0;
}

/* chunk-ext = *( ";" name [ "=" ( token / quoted-string ) ] ), no blanks outside of quotes (RFC 9112
 * 7.1.1 less its "bad" white space). None has a meaning to us; their syntax is checked because another
 * parser that takes less care may see a line end in them. */
static bool ext_char(struct h1_chunk *c, char ch)
{
    bool token = h1_is_token((struct slice){&ch, 1});

    switch (c->ext) {
    case H1_EXT_QUOTED:
        c->ext = ch == '"' ? H1_EXT_SHUT : ch == '\\' ? H1_EXT_ESCAPED : H1_EXT_QUOTED;
        return h1_is_value((struct slice){&ch, 1});
    case H1_EXT_ESCAPED:
        c->ext = H1_EXT_QUOTED;
        return h1_is_value((struct slice){&ch, 1});
    case H1_EXT_NAME:
    case H1_EXT_VALUE:
        if (token) {
            c->at_ext++;
            return true;
        }
        if (c->ext == H1_EXT_VALUE && c->at_ext == 0 && ch == '"') {
            c->ext = H1_EXT_QUOTED;
            return true;
        }
        if (c->ext == H1_EXT_NAME && c->at_ext > 0 && ch == '=') {
            c->ext = H1_EXT_VALUE;
            c->at_ext = 0;
            return true;
        }
        break;
    case H1_EXT_SHUT:
    case H1_EXT_NONE:
        c->at_ext = 1;
        break;
    }
    bool next = ch == ';' && c->at_ext > 0;
    c->ext = H1_EXT_NAME;
    c->at_ext = 0;
    return next;
}

static bool may_end(const struct h1_chunk *c)
{
    return c->ext == H1_EXT_NONE || c->ext == H1_EXT_SHUT ||
           ((c->ext == H1_EXT_NAME || c->ext == H1_EXT_VALUE) && c->at_ext > 0);
}

static int size_digit(struct h1_chunk *c, char ch, struct diag *why)
{
    int digit = ascii_hex_value(ch);

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
    if (c->line > H1_CHUNK_LINE_MAX || (c->digits == 0 && ascii_hex_value(ch) < 0)) {
        return FAIL(why, -ERR_SYNTAX, "bad chunk line");
    }
    if (ch == '\r' && may_end(c)) {
        c->cr = true;
        return 0;
    }
    if (ch == ';' || c->ext != H1_EXT_NONE) {
        if (c->extended++ == H1_CHUNK_EXTENSIONS_MAX) {
            return FAIL(why, -ERR_TOO_LARGE, "too much in chunk extensions");
        }
        return ext_char(c, ch) ? 0 : FAIL(why, -ERR_SYNTAX, "bad chunk extension");
    }
    return size_digit(c, ch, why);
}

void h1_chunk_skip(struct h1_chunk *c, size_t len)
{
    c->left -= len;
    if (c->left == 0) {
        c->step = H1_CHUNK_DATA_CR;
    }
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

ssize_t h1_chunk_frame(struct h1_chunk *c, const char *p, size_t len, struct diag *why)
{
    size_t used = 0;

    while (used < len && c->step != H1_CHUNK_DATA && c->step != H1_CHUNK_TRAILERS) {
        int r = frame_char(c, p[used], why);
        if (r < 0) {
            return r;
        }
        used++;
    }
    return (ssize_t)used;
}
