/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/wrap.h"

#include <string.h>

static void blanks(unsigned count, struct strbuf *out)
{
    strbuf_printf(out, "%*s", (int)count, "");
}

/* One paragraph; *at is the column that has been reached. */
static void wrap_line(struct slice line, unsigned indent, unsigned width, unsigned *at,
                      struct strbuf *out)
{
    struct slice word;
    bool more = line.len > 0;

    while (more) {
        more = slice_cut(line, ' ', &word, &line);
        if (word.len == 0) {
            continue;
        }
        if (*at > indent && *at + 1 + word.len > width) {
            strbuf_putc(out, '\n');
            *at = 0;
        }
        if (*at == 0) {
            blanks(indent, out);
            *at = indent;
        } else if (*at > indent) {
            strbuf_putc(out, ' ');
            (*at)++;
        }
        strbuf_add(out, word.p, word.len);
        *at += (unsigned)word.len;
    }
    strbuf_putc(out, '\n');
    *at = 0;
}

static void wrap_from(const char *text, unsigned indent, unsigned width, unsigned at,
                      struct strbuf *out)
{
    struct slice rest = slice_of(text);
    struct slice line;
    bool more;

    do {
        more = slice_cut(rest, '\n', &line, &rest);
        wrap_line(line, indent, width, &at, out);
    } while (more);
}

void wrap_text(const char *text, unsigned indent, unsigned width, struct strbuf *out)
{
    wrap_from(text, indent, width, 0, out);
}

void wrap_columns(const char *left, const char *text, unsigned column, unsigned width,
                  struct strbuf *out)
{
    size_t len = strlen(left);

    strbuf_puts(out, left);
    if (len + 2 > column) {
        strbuf_putc(out, '\n');
        wrap_from(text, column, width, 0, out);
        return;
    }
    blanks(column - (unsigned)len, out);
    wrap_from(text, column, width, column, out);
}
