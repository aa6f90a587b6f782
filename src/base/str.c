/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"

bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool slice_has_prefix(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.len >= n && (n == 0 || memcmp(s.p, prefix, n) == 0);
}

bool slice_cut(struct slice s, char sep, struct slice *head, struct slice *rest)
{
    const char *at = s.len > 0 ? memchr(s.p, sep, s.len) : NULL;

    if (!at) {
        *head = s;
        *rest = (struct slice){NULL, 0};
        return false;
    }
    size_t n = (size_t)(at - s.p);
    *head = (struct slice){s.p, n};
    *rest = (struct slice){at + 1, s.len - n - 1};
    return true;
}

bool slice_has_word(struct slice words, char sep, const char *word)
{
    struct slice one;
    bool more = true;

    while (more) {
        more = slice_cut(words, sep, &one, &words);
        if (slice_is(one, word)) {
            return true;
        }
    }
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.p[0])) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.p[s.len - 1])) {
        s.len--;
    }
    return s;
}

struct slice slice_of_u64(uint64_t n, char buf[static DECIMAL_TEXT])
{
    size_t at = DECIMAL_TEXT;

    do {
        buf[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return (struct slice){buf + at, DECIMAL_TEXT - at};
}

void strbuf_fini(struct strbuf *b)
{
    mem_free(b->p);
    *b = (struct strbuf){.limit = b->limit};
}

void strbuf_clear(struct strbuf *b)
{
    b->len = 0;
    b->overflow = false;
    if (b->p) {
        b->p[0] = '\0';
    }
}

/* Room for len more and the terminator; false when that is beyond the limit. */
static bool strbuf_reserve(struct strbuf *b, size_t len)
{
    size_t limit = b->limit > 0 ? b->limit : STRBUF_LIMIT;

    if (len > limit || b->len > limit - len) {
        b->overflow = true;
        return false;
    }
    size_t need = b->len + len + 1;
    if (need > b->room) {
        size_t room = b->room * 2 > need ? b->room * 2 : need;
        b->room = room < 64 ? 64 : room;
        b->p = mem_resize(b->p, b->room);
    }
    return true;
}

void strbuf_add(struct strbuf *b, const void *from, size_t len)
{
    if (strbuf_reserve(b, len)) {
        if (len > 0) {
            memcpy(b->p + b->len, from, len);
        }
        b->len += len;
        b->p[b->len] = '\0';
    }
}

void strbuf_puts(struct strbuf *b, const char *s)
{
    strbuf_add(b, s, strlen(s));
}

void strbuf_putc(struct strbuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_put_u64(struct strbuf *b, uint64_t n)
{
    char text[DECIMAL_TEXT];
    struct slice s = slice_of_u64(n, text);

    strbuf_add(b, s.p, s.len);
}

void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n > 0 && strbuf_reserve(b, (size_t)n)) {
        (void)vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap); /* sized just above */
        b->len += (size_t)n;
    }
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(b, fmt, ap);
    va_end(ap);
}

const char *strbuf_text(const struct strbuf *b)
{
    return b->p ? b->p : "";
}

char *strbuf_take(struct strbuf *b)
{
    char *text = b->p ? b->p : mem_strdup("");

    *b = (struct strbuf){.limit = b->limit};
    return text;
}
