/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a command as tables: the same rows parse the command line and write the help, so that
 * neither can say what the other does not do. Options may stand before and behind operands; what
 * follows "--" is operands only. Pure; borrows argv and the tables.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum arg_kind {
    ARG_FLAG,
    ARG_TEXT,
    ARG_LIST,     /* may be repeated; every value counts */
    ARG_NUMBER,   /* decimal, 32 bits */
    ARG_DURATION, /* "90s", "2m", "100ms"; a bare number is seconds */
    ARG_CHOICE    /* one of the words of `value` */
};

struct arg_option {   /* a table ends with a zeroed row */
    const char *name; /* without its dashes */
    char letter;      /* 0 = none */
    enum arg_kind kind;
    const char *value;    /* what stands for it in the help; of ARG_CHOICE: "table|json" */
    const char *fallback; /* NULL = none */
    const char *help;
};

enum { ARGS_OPTIONS_MAX = 128 };

struct arg_value {
    const struct arg_option *option;
    const char *text;
};

struct args {
    const struct arg_option *const *tables; /* NULL-terminated */
    struct arg_value values[ARGS_OPTIONS_MAX];
    unsigned count;
    char **operands; /* moved to the front of argv */
    unsigned operand_count;
    char **rest; /* behind "--" */
    unsigned rest_count;
};

/* argv without program and command; its words are put into another order. keep_rest: what stands
 * behind "--" is not an operand. -ERR_SYNTAX with a sentence that names the option. */
MUST_USE int args_parse(struct args *out, const struct arg_option *const *tables, bool keep_rest,
                        int argc, char **argv, struct diag *why);

/* Is this option in the tables? */
bool args_in_tables(const struct arg_option *const *tables, const char *name);
bool args_knows(const struct args *a, const char *name);
/* name must be in the tables: anything else is a mistake of ours and aborts. */
bool args_has(const struct args *a, const char *name);         /* was given */
const char *args_text(const struct args *a, const char *name); /* the last one, or the fallback */
uint32_t args_number(const struct args *a, const char *name);  /* 0 without value and fallback */
uint64_t args_ms(const struct args *a, const char *name);
/* The i-th value of a list; NULL behind the last. */
const char *args_item(const struct args *a, const char *name, unsigned i);

/* Two columns, one option a line, the help text wrapped. */
void args_help(const struct arg_option *table, struct strbuf *out);
