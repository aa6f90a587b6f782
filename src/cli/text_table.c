/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text_table.h"

#include <assert.h>

#include "base/mem.h"
#include "base/num.h"
#include "codec/utf8.h"

struct cell {
    char *text; /* NULL = not given */
    enum style style;
};

struct text_table {
    const char *const *heads;
    unsigned columns;
    unsigned rows;
    unsigned room;      /* rows that cells has room for */
    unsigned at;        /* next column of the last row */
    struct cell *cells; /* row by row */
};

struct text_table *text_table_new(const char *const *heads, unsigned count)
{
    struct text_table *t = mem_new(struct text_table);

    assert(count > 0 && count <= TEXT_TABLE_COLUMNS_MAX);
    t->heads = heads;
    t->columns = count;
    return t;
}

void text_table_free(struct text_table *t)
{
    if (!t) {
        return;
    }
    for (unsigned i = 0; i < t->rows * t->columns; i++) {
        mem_free(t->cells[i].text);
    }
    mem_free(t->cells);
    mem_free(t);
}

void text_table_row(struct text_table *t)
{
    if (t->rows == t->room) {
        t->room = t->room > 0 ? t->room * 2 : 16;
        t->cells = mem_resize(t->cells, t->room * t->columns * sizeof(*t->cells));
    }
    for (unsigned i = 0; i < t->columns; i++) {
        t->cells[t->rows * t->columns + i] = (struct cell){NULL, STYLE_PLAIN};
    }
    t->rows++;
    t->at = 0;
}

void text_table_cell(struct text_table *t, enum style s, const char *fmt, ...)
{
    struct strbuf b = {0};
    va_list ap;

    assert(t->rows > 0 && t->at < t->columns);
    va_start(ap, fmt);
    strbuf_vprintf(&b, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = (unsigned char)b.p[i];
        b.p[i] = c < ' ' || c == 0x7f ? '?' : b.p[i];
    }
    t->cells[(t->rows - 1) * t->columns + t->at++] = (struct cell){strbuf_take(&b), s};
}

/* Characters; a byte that is no UTF-8 counts as one. */
static unsigned width_of(const char *s)
{
    size_t len = strlen(s);
    unsigned n = 0;

    for (size_t i = 0; i < len; n++) {
        size_t step = utf8_char_len(s + i, len - i);
        i += MAX_OF(step, (size_t)1);
    }
    return n;
}

static const char *shown(const struct cell *c)
{
    return c->text && *c->text ? c->text : "-";
}

static void put(struct strbuf *out, bool colour, const struct cell *c, unsigned pad)
{
    style_put(out, colour, c->style, shown(c));
    strbuf_printf(out, "%*s", (int)pad, "");
}

static void print_row(const struct text_table *t, const struct cell *cells, const unsigned *widths,
                      bool colour, struct strbuf *out)
{
    for (unsigned i = 0; i < t->columns; i++) {
        bool last = i + 1 == t->columns;
        put(out, colour, &cells[i], last ? 0 : widths[i] - width_of(shown(&cells[i])) + 2);
    }
    strbuf_putc(out, '\n');
}

void text_table_print(const struct text_table *t, bool heads, bool colour, struct strbuf *out)
{
    unsigned widths[TEXT_TABLE_COLUMNS_MAX] = {0};

    for (unsigned i = 0; i < t->columns; i++) {
        widths[i] = heads ? width_of(t->heads[i]) : 0;
        for (unsigned r = 0; r < t->rows; r++) {
            widths[i] = MAX_OF(widths[i], width_of(shown(&t->cells[r * t->columns + i])));
        }
    }
    if (heads) {
        struct cell names[TEXT_TABLE_COLUMNS_MAX];
        for (unsigned i = 0; i < t->columns; i++) {
            names[i] = (struct cell){(char *)(uintptr_t)t->heads[i], STYLE_BOLD};
        }
        print_row(t, names, widths, colour, out);
    }
    for (unsigned r = 0; r < t->rows; r++) {
        print_row(t, t->cells + r * t->columns, widths, colour, out);
    }
}
