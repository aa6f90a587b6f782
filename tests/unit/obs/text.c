/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdlib.h>
#include <string.h>

void lines_cut(struct lines *l, char *text)
{
    l->count = 0;
    for (char *p = text; *p && l->count < LINES_MAX;) {
        char *end = strchr(p, '\n');
        l->at[l->count++] = p;
        if (!end) {
            return;
        }
        *end = '\0';
        p = end + 1;
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void lines_sort(struct lines *l)
{
    qsort(l->at, l->count, sizeof(l->at[0]), by_text);
}

void lines_keep(struct lines *l, const char *word)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->count; i++) {
        if (strstr(l->at[i], word)) {
            l->at[kept++] = l->at[i];
        }
    }
    l->count = kept;
}

/* The end of the value that starts at p, which is moved behind an opening quote. */
static char *value_end(char **p)
{
    if (**p != '"') {
        return *p + strcspn(*p, ", ");
    }
    ++*p;
    return *p + strcspn(*p, "\"");
}

void pairs_cut(struct pairs *p, char *text)
{
    p->count = 0;
    while (*text && p->count < PAIRS_MAX) {
        struct pair *one = &p->at[p->count];
        char *equals = strchr(text, '=');
        if (!equals) {
            return;
        }
        *equals = '\0';
        one->key = text;
        one->value = equals + 1;
        text = value_end(&one->value);
        bool quoted = one->value > equals + 1;
        bool more = *text != '\0';
        *text = '\0';
        text += more;
        text += quoted && *text ? 1 : 0; /* the separator behind the quote */
        p->count++;
    }
}

const char *pairs_find(const struct pairs *p, const char *key)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->at[i].key, key) == 0) {
            return p->at[i].value;
        }
    }
    return NULL;
}
