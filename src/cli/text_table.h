/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and columns as text: headings in capitals, columns as wide as their widest cell, two blanks
 * between them, nothing cut and nothing wrapped. Control characters in cells are shown as '?': what
 * peers say must not move the cursor. Pure. */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "cli/term.h"

enum { TEXT_TABLE_COLUMNS_MAX = 16 };

struct text_table;

/* heads are borrowed. */
struct text_table *text_table_new(const char *const *heads, unsigned count);
void text_table_free(struct text_table *t);
AUTO_DEFINE(text_table, struct text_table *, text_table_free);

void text_table_row(struct text_table *t);
/* The next cell of the row; an empty one is printed as "-". Cells that are not given are empty. */
void text_table_cell(struct text_table *t, enum style s, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* heads: with the line of headings. */
void text_table_print(const struct text_table *t, bool heads, bool colour, struct strbuf *out);
