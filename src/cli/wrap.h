/* SPDX-License-Identifier: Apache-2.0 */
/* Text in lines of a width, for help and advice. Pure. */
#pragma once

#include "base/str.h"

/* Appends text in lines of at most width columns, each behind indent blanks; "\n" begins a new line
 * and an empty one stays. A word that is longer has a line to itself. */
void wrap_text(const char *text, unsigned indent, unsigned width, struct strbuf *out);
/* left, then text from that column on; text begins a line lower when left reaches into it. */
void wrap_columns(const char *left, const char *text, unsigned column, unsigned width,
                  struct strbuf *out);
