/* SPDX-License-Identifier: Apache-2.0 */
/* Text of recordings, taken apart. Everything is cut in place and borrowed from the text given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { LINES_MAX = 400, PAIRS_MAX = 40 };

struct lines {
    char *at[LINES_MAX];
    size_t count;
};

/* text loses its line ends. */
void lines_cut(struct lines *l, char *text);
void lines_sort(struct lines *l);
/* Keeps those that have the word. */
void lines_keep(struct lines *l, const char *word);

struct pair {
    char *key;
    char *value;
};

struct pairs {
    struct pair at[PAIRS_MAX];
    size_t count;
};

/* `a="x",b="y"` or `a=x b="y z"`; separators are commas and blanks. text is cut. */
void pairs_cut(struct pairs *p, char *text);
/* NULL: none. */
const char *pairs_find(const struct pairs *p, const char *key);
