/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "cli/near.h"
#include "cli/wrap.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 96 };

/* ---- finding */

static const struct arg_option *find_letter(const struct arg_option *const *tables, char letter)
{
    for (; *tables; tables++) {
        for (const struct arg_option *o = *tables; o->name; o++) {
            if (o->letter == letter) {
                return o;
            }
        }
    }
    return NULL;
}

static const struct arg_option *find_name(const struct arg_option *const *tables, struct slice name)
{
    for (; *tables; tables++) {
        for (const struct arg_option *o = *tables; o->name; o++) {
            if (slice_is(name, o->name)) {
                return o;
            }
        }
    }
    return NULL;
}

static int unknown(const struct arg_option *const *tables, const char *word, struct diag *why)
{
    const char *best = NULL;

    for (; *tables; tables++) {
        for (const struct arg_option *o = *tables; o->name; o++) {
            best = near_best(word, best, o->name);
        }
    }
    if (best) {
        return FAIL(why, -ERR_SYNTAX, "no option --%s; did you mean --%s?", word, best);
    }
    return FAIL(why, -ERR_SYNTAX, "no option --%s", word);
}

/* ---- checking values */

static bool is_choice(const char *choices, const char *text)
{
    struct slice rest = slice_of(choices);
    struct slice one;
    bool more;

    do {
        more = slice_cut(rest, '|', &one, &rest);
        if (slice_is(one, text)) {
            return true;
        }
    } while (more);
    return false;
}

static int check(const struct arg_option *o, const char *text, struct diag *why)
{
    uint32_t number;
    uint64_t ms;
    size_t len = strlen(text);

    switch (o->kind) {
    case ARG_NUMBER:
        if (num_parse_u32(text, len, UINT32_MAX, &number) < 0) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %s is no number", o->name, text);
        }
        return 0;
    case ARG_DURATION:
        if (num_parse_duration_ms(text, len, &ms) < 0) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %s is no time; write 30s or 2m", o->name, text);
        }
        if (ms == 0) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %s leaves no time at all; write 30s or 2m",
                        o->name, text);
        }
        return 0;
    case ARG_CHOICE:
        if (!is_choice(o->value, text)) {
            return FAIL(why, -ERR_SYNTAX, "--%s: %s is not one of %s", o->name, text, o->value);
        }
        return 0;
    case ARG_FLAG:
    case ARG_TEXT:
    case ARG_LIST:
        return 0;
    }
    return -ERR_UNSUPPORTED;
}

static int keep(struct args *a, const struct arg_option *o, const char *text, struct diag *why)
{
    int r = check(o, text, why);

    if (r < 0) {
        return r;
    }
    if (a->count == ARGS_OPTIONS_MAX) {
        return FAIL(why, -ERR_SYNTAX, "more than %d options", ARGS_OPTIONS_MAX);
    }
    a->values[a->count++] = (struct arg_value){o, text};
    return 0;
}

/* ---- parsing: each returns how many words it has used up beside the first */

static int parse_long(struct args *a, char **argv, int left, struct diag *why)
{
    struct slice name;
    struct slice rest;
    bool has_value = slice_cut(slice_of(argv[0] + 2), '=', &name, &rest);
    const struct arg_option *o = find_name(a->tables, name);

    if (!o) {
        char word[NEAR_WORD_MAX] = {0};
        memcpy(word, name.p, MIN_OF(name.len, sizeof(word) - 1));
        return unknown(a->tables, word, why);
    }
    if (o->kind == ARG_FLAG) {
        return has_value ? FAIL(why, -ERR_SYNTAX, "--%s takes no value", o->name)
                         : keep(a, o, "", why);
    }
    if (has_value) {
        return keep(a, o, rest.p, why);
    }
    if (left == 0) {
        return FAIL(why, -ERR_SYNTAX, "--%s needs a value: %s", o->name, o->value);
    }
    int r = keep(a, o, argv[1], why);
    return r < 0 ? r : 1;
}

/* "-f", "-fx" for -f -x when f is a flag, "-nshop" and "-n shop" alike. */
static int parse_letters(struct args *a, char **argv, int left, struct diag *why)
{
    for (const char *p = argv[0] + 1; *p; p++) {
        const struct arg_option *o = find_letter(a->tables, *p);
        if (!o) {
            return FAIL(why, -ERR_SYNTAX, "no option -%c", *p);
        }
        if (o->kind == ARG_FLAG) {
            int r = keep(a, o, "", why);
            if (r < 0) {
                return r;
            }
            continue;
        }
        if (p[1]) {
            return keep(a, o, p[1] == '=' ? p + 2 : p + 1, why);
        }
        if (left == 0) {
            return FAIL(why, -ERR_SYNTAX, "-%c needs a value: %s", *p, o->value);
        }
        int r = keep(a, o, argv[1], why);
        return r < 0 ? r : 1;
    }
    return 0;
}

static void keep_rest_of(struct args *a, bool keep_rest, int count, char **words)
{
    if (keep_rest) {
        a->rest = words;
        a->rest_count = (unsigned)count;
        return;
    }
    for (int i = 0; i < count; i++) {
        a->operands[a->operand_count++] = words[i];
    }
}

int args_parse(struct args *out, const struct arg_option *const *tables, bool keep_rest, int argc,
               char **argv, struct diag *why)
{
    struct args a = {.tables = tables, .operands = argv};

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            keep_rest_of(&a, keep_rest, argc - i - 1, argv + i + 1);
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            a.operands[a.operand_count++] = argv[i];
            continue;
        }
        int used = word[1] == '-' ? parse_long(&a, argv + i, argc - i - 1, why)
                                  : parse_letters(&a, argv + i, argc - i - 1, why);
        if (used < 0) {
            return used;
        }
        i += used;
    }
    *out = a;
    return 0;
}

/* ---- reading */

static const struct arg_option *must_find(const struct args *a, const char *name)
{
    const struct arg_option *o = find_name(a->tables, slice_of(name));

    if (!o) {
        abort();
    }
    return o;
}

bool args_in_tables(const struct arg_option *const *tables, const char *name)
{
    return find_name(tables, slice_of(name)) != NULL;
}

bool args_knows(const struct args *a, const char *name)
{
    return args_in_tables(a->tables, name);
}

bool args_has(const struct args *a, const char *name)
{
    const struct arg_option *o = must_find(a, name);

    for (unsigned i = 0; i < a->count; i++) {
        if (a->values[i].option == o) {
            return true;
        }
    }
    return false;
}

const char *args_text(const struct args *a, const char *name)
{
    const struct arg_option *o = must_find(a, name);

    for (unsigned i = a->count; i > 0; i--) {
        if (a->values[i - 1].option == o) {
            return a->values[i - 1].text;
        }
    }
    return o->fallback;
}

uint32_t args_number(const struct args *a, const char *name)
{
    const char *text = args_text(a, name);
    uint32_t n = 0;

    return text && num_parse_u32(text, strlen(text), UINT32_MAX, &n) == 0 ? n : 0;
}

uint64_t args_ms(const struct args *a, const char *name)
{
    const char *text = args_text(a, name);
    uint64_t ms = 0;

    return text && num_parse_duration_ms(text, strlen(text), &ms) == 0 ? ms : 0;
}

const char *args_item(const struct args *a, const char *name, unsigned i)
{
    const struct arg_option *o = must_find(a, name);

    for (unsigned k = 0; k < a->count; k++) {
        if (a->values[k].option == o && i-- == 0) {
            return a->values[k].text;
        }
    }
    return NULL;
}

/* ---- help */

static void help_row(const struct arg_option *o, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf left = {0};
    AUTO(strbuf) struct strbuf text = {0};

    if (o->letter) {
        strbuf_printf(&left, "  -%c, --%s", o->letter, o->name);
    } else {
        strbuf_printf(&left, "      --%s", o->name);
    }
    if (o->kind != ARG_FLAG) {
        strbuf_printf(&left, " %s", o->value);
    }
    strbuf_puts(&text, o->help);
    if (o->kind == ARG_LIST) {
        strbuf_puts(&text, " (may be repeated)");
    }
    if (o->fallback && *o->fallback) {
        strbuf_printf(&text, " (default %s)", o->fallback);
    }
    wrap_columns(strbuf_text(&left), strbuf_text(&text), HELP_COLUMN, HELP_WIDTH, out);
}

void args_help(const struct arg_option *table, struct strbuf *out)
{
    for (const struct arg_option *o = table; o->name; o++) {
        help_row(o, out);
    }
}
