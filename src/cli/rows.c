/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rows.h"

#include <stdlib.h>

#include "base/mem.h"
#include "cli/fix.h"
#include "cli/span.h"
#include "cli/text_table.h"
#include "codec/json.h"

/* ---- cells */

static void add_text(const struct json *v, struct strbuf *out)
{
    switch (json_kind(v)) {
    case JSON_KIND_STRING:
        strbuf_puts(out, json_str(v, ""));
        return;
    case JSON_KIND_ARRAY:
        for (size_t i = 0; i < json_count(v); i++) {
            strbuf_puts(out, i > 0 ? "," : "");
            add_text(json_item(v, i), out);
        }
        return;
    case JSON_KIND_INT:
    case JSON_KIND_REAL:
    case JSON_KIND_BOOL:
    case JSON_KIND_OBJECT:
        json_print(v, 0, out);
        return;
    case JSON_KIND_NULL:
        return;
    }
}

static void add_number(const struct json *v, enum cell_kind kind, struct strbuf *out)
{
    int64_t n = json_int(v, 0);

    if (kind == CELL_BYTES) {
        span_bytes((uint64_t)n, out);
    } else {
        span_print(kind == CELL_SPAN_MS ? n / 1000 : n, out);
    }
}

static enum style style_of(const char *text)
{
    static const struct {
        const char *word;
        enum style style;
    } words[] = {
        {"mTLS", STYLE_GOOD},          {"ok", STYLE_GOOD},
        {"yes", STYLE_GOOD},           {"in", STYLE_GOOD},
        {"valid", STYLE_GOOD},         {"ready", STYLE_GOOD},
        {"running", STYLE_GOOD},       {"joining", STYLE_WARN},
        {"leaving", STYLE_WARN},       {"pending", STYLE_WARN},
        {"PLAINTEXT", STYLE_BAD},      {"near its end", STYLE_WARN},
        {"DENIED", STYLE_BAD},         {"FAILED", STYLE_BAD},
        {"expired", STYLE_BAD},        {"missing", STYLE_BAD},
        {"broken: denies", STYLE_BAD},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i].word) == 0) {
            return words[i].style;
        }
    }
    return STYLE_PLAIN;
}

static void add_cell(struct text_table *t, const struct row_column *c, const struct json *row)
{
    const struct json *v = json_get(row, c->key);
    AUTO(strbuf) struct strbuf text = {0};

    switch (c->kind) {
    case CELL_TEXT:
    case CELL_VERDICT:
        add_text(v, &text);
        break;
    case CELL_COMMAND:
        for (size_t i = 0; i < json_count(v); i++) {
            strbuf_puts(&text, i > 0 ? " " : "");
            fix_put_word(json_str(json_item(v, i), ""), &text);
        }
        break;
    case CELL_BYTES:
    case CELL_SPAN_S:
    case CELL_SPAN_MS:
        if (json_kind(v) == JSON_KIND_INT) {
            add_number(v, c->kind, &text);
        }
        break;
    }
    const char *s = strbuf_text(&text);
    text_table_cell(t, c->kind == CELL_VERDICT ? style_of(s) : STYLE_PLAIN, "%s", s);
}

void rows_print(const struct json *rows, const struct row_column *columns, bool wide, bool colour,
                struct strbuf *out)
{
    const char *heads[TEXT_TABLE_COLUMNS_MAX];
    unsigned count = 0;

    for (const struct row_column *c = columns; c->head && count < TEXT_TABLE_COLUMNS_MAX; c++) {
        if (wide || !c->wide) {
            heads[count++] = c->head;
        }
    }
    AUTO(text_table) struct text_table *t = text_table_new(heads, count);
    for (size_t i = 0; i < json_count(rows); i++) {
        text_table_row(t);
        for (const struct row_column *c = columns; c->head; c++) {
            if (wide || !c->wide) {
                add_cell(t, c, json_item(rows, i));
            }
        }
    }
    text_table_print(t, true, colour, out);
}

/* ---- order */

struct sort_row {
    struct json *row;
    const char *const *keys;
    size_t place; /* equal rows keep their order */
};

static int compare(const void *a, const void *b)
{
    const struct sort_row *x = a;
    const struct sort_row *y = b;

    for (const char *const *key = x->keys; *key; key++) {
        int r = strcmp(json_str(json_get(x->row, *key), ""), json_str(json_get(y->row, *key), ""));
        if (r != 0) {
            return r;
        }
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

struct json *rows_sorted(const struct json *rows, const char *const *keys)
{
    size_t n = json_count(rows);
    struct sort_row *all = mem_array(n > 0 ? n : 1, sizeof(*all));
    struct json *out = json_new_array();

    for (size_t i = 0; i < n; i++) {
        all[i] = (struct sort_row){json_item(rows, i), keys, i};
    }
    qsort(all, n, sizeof(*all), compare);
    for (size_t i = 0; i < n; i++) {
        json_append(out, json_ref(all[i].row));
    }
    mem_free(all);
    return out;
}

struct json *rows_values(const struct json *object)
{
    struct json *out = json_new_array();
    struct json_iter it = {0};

    while (json_each(object, &it)) {
        json_append(out, json_ref(it.value));
    }
    return out;
}
