/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing text and counted slices. A strbuf is always zero-terminated. It has a limit: what would
 * go beyond is dropped and remembered, so that a writer checks once, at the end.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/auto.h"

struct slice { /* borrowed bytes, not terminated */
    const char *p;
    size_t len;
};

static inline struct slice slice_of(const char *s)
{
    return (struct slice){s, s ? strlen(s) : 0};
}

static inline bool slice_is(struct slice s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.p, text, s.len) == 0);
}

/* Whatever the case of its letters. */
static inline bool slice_is_any_case(struct slice s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || strncasecmp(s.p, text, s.len) == 0);
}

bool slice_equal(struct slice a, struct slice b);
bool slice_has_prefix(struct slice s, const char *prefix);
/* Splits at the first sep: *head is what stands before it, *rest what follows. False: no sep, *head is all. */
bool slice_cut(struct slice s, char sep, struct slice *head, struct slice *rest);
/* Whether word is one of those that sep separates. */
bool slice_has_word(struct slice words, char sep, const char *word);
struct slice slice_trim(struct slice s); /* blanks and tabs at both ends */

/* n in decimal, into the end of buf: a slice of that. */
enum { DECIMAL_TEXT = 20 };
struct slice slice_of_u64(uint64_t n, char buf[static DECIMAL_TEXT]);

enum { STRBUF_LIMIT = 64 << 20 };

struct strbuf {
    char *p; /* NULL until the first byte; see strbuf_text */
    size_t len;
    size_t room;
    size_t limit; /* 0 = STRBUF_LIMIT */
    bool overflow;
};

void strbuf_fini(struct strbuf *b);
void strbuf_clear(struct strbuf *b); /* keeps the memory */
void strbuf_add(struct strbuf *b, const void *from, size_t len);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_putc(struct strbuf *b, char c);
void strbuf_put_u64(struct strbuf *b, uint64_t n); /* decimal */
void strbuf_printf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Never NULL. Borrowed until the next change. */
const char *strbuf_text(const struct strbuf *b);
/* The text as the caller's own, never NULL; b is empty afterwards. */
char *strbuf_take(struct strbuf *b);

static inline void strbuf_release(struct strbuf b)
{
    strbuf_fini(&b);
}
AUTO_DEFINE(strbuf, struct strbuf, strbuf_release);
