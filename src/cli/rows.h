/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of flat JSON objects shown as a table: a column names the member and how it reads. The list
 * itself is what -o json prints, so that both show the same facts. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct json;

enum cell_kind {
    CELL_TEXT,    /* a string, a number, or strings joined by commas */
    CELL_BYTES,   /* a number of bytes */
    CELL_SPAN_S,  /* seconds */
    CELL_SPAN_MS, /* milliseconds */
    CELL_COMMAND, /* words of a command line, as a shell takes them */
    CELL_VERDICT  /* a string in the colour of what it says */
};

struct row_column { /* a table ends with a zeroed row */
    const char *head;
    const char *key;
    enum cell_kind kind;
    bool wide; /* only in wide tables */
};

void rows_print(const struct json *rows, const struct row_column *columns, bool wide, bool colour,
                struct strbuf *out);
/* Sorted by these members, one after the other (NULL at the end); the caller's. */
struct json *rows_sorted(const struct json *rows, const char *const *keys);
/* The values of an object as a list; the caller's. */
struct json *rows_values(const struct json *object);
