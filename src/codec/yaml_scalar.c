/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules are those of the YAML library under kubectl, seen in its behaviour: a manifest must
 * mean the same to us as to the tool it was written for, surprises included.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/auto.h"
#include "codec/yaml_scalar_int.h"

enum word { WORD_NONE, WORD_TRUE, WORD_FALSE, WORD_NULL, WORD_NOT_FINITE };

static const struct {
    const char *spelling[3];
    enum word word;
} words[] = {
    {{"true", "True", "TRUE"}, WORD_TRUE},
    {{"yes", "Yes", "YES"}, WORD_TRUE},
    {{"on", "On", "ON"}, WORD_TRUE},
    {{"y", "Y", "Y"}, WORD_TRUE},
    {{"false", "False", "FALSE"}, WORD_FALSE},
    {{"no", "No", "NO"}, WORD_FALSE},
    {{"off", "Off", "OFF"}, WORD_FALSE},
    {{"n", "N", "N"}, WORD_FALSE},
    {{"null", "Null", "NULL"}, WORD_NULL},
    {{"", "~", "~"}, WORD_NULL},
    {{".inf", ".Inf", ".INF"}, WORD_NOT_FINITE},
    {{"+.inf", "+.Inf", "+.INF"}, WORD_NOT_FINITE},
    {{"-.inf", "-.Inf", "-.INF"}, WORD_NOT_FINITE},
    {{".nan", ".NaN", ".NAN"}, WORD_NOT_FINITE},
};

static enum word find_word(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (int k = 0; k < 3; k++) {
            if (strcmp(text, words[i].spelling[k]) == 0) {
                return words[i].word;
            }
        }
    }
    return WORD_NONE;
}

/* A number's text without the underscores that YAML 1.1 allows; false: too long to be one. */
enum { NUMBER_TEXT = 128 };

static bool plain_number(const char *text, size_t len, char buf[static NUMBER_TEXT])
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '_') {
            if (n == NUMBER_TEXT - 1) {
                return false;
            }
            buf[n++] = text[i];
        }
    }
    buf[n] = '\0';
    return n > 0;
}

/* Takes the prefix off: 0x, 0o, 0b, or 0 for octal. */
static unsigned number_base(const char **s)
{
    const char *p = *s;
    char kind = p[0] == '0' ? ascii_lower(p[1]) : '\0';

    if (kind == 'x' || kind == 'o' || kind == 'b') {
        *s = p + 2;
        return kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
    }
    return p[0] == '0' && p[1] != '\0' ? 8 : 10;
}

/* False: not a whole number, or over 64 bits (then it may be a float). */
static bool read_int(const char *s, int64_t *out)
{
    bool negative = *s == '-';
    uint64_t v = 0;
    unsigned base;

    s += negative || *s == '+';
    base = number_base(&s);
    if (*s == '\0') {
        return false;
    }
    for (; *s; s++) {
        int d = ascii_hex_value(*s);
        if (d < 0 || (unsigned)d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v)) {
            return false;
        }
    }
    if (v > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

static const char *skip_digits(const char *s)
{
    while (ascii_is_digit(*s)) {
        s++;
    }
    return s;
}

/* [-+]? (digits [. digits?]? | . digits) ([eE] [-+]? digits)? */
static bool is_float(const char *s)
{
    const char *whole, *end;

    s += *s == '-' || *s == '+';
    whole = skip_digits(s);
    end = *whole == '.' ? skip_digits(whole + 1) : whole;
    if (whole == s && end <= whole + 1) {
        return false;
    }
    if (*end == 'e' || *end == 'E') {
        const char *exponent = end + 1;
        exponent += *exponent == '-' || *exponent == '+';
        end = skip_digits(exponent);
        return end > exponent && *end == '\0';
    }
    return *end == '\0';
}

/* A float without fraction is written as an int: that is how it reaches the API server. */
static struct json *float_value(const char *s)
{
    double v = strtod(s, NULL);

    if (!isfinite(v)) {
        return NULL;
    }
    return trunc(v) == v && fabs(v) < 9e15 ? json_new_int((int64_t)v) : json_new_real(v);
}

static bool may_be_number(char c)
{
    return ascii_is_digit(c) || c == '-' || c == '+' || c == '.';
}

static struct json *number_or_text(const char *text, size_t len)
{
    char number[NUMBER_TEXT];
    int64_t v;

    if (may_be_number(text[0]) && plain_number(text, len, number)) {
        if (read_int(number, &v)) {
            return json_new_int(v);
        }
        if (is_float(number)) {
            return float_value(number);
        }
    }
    return json_new_strn(text, len);
}

struct json *yaml_scalar_value(const char *text, size_t len)
{
    switch (find_word(text)) {
    case WORD_TRUE:
        return json_new_bool(true);
    case WORD_FALSE:
        return json_new_bool(false);
    case WORD_NULL:
        return json_new_null();
    case WORD_NOT_FINITE:
        return NULL;
    case WORD_NONE:
        break;
    }
    return number_or_text(text, len);
}
