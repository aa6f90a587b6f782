/* SPDX-License-Identifier: Apache-2.0 */
/* Letters and digits as protocols mean them: those of ASCII, whatever the locale holds for a letter. */
#pragma once

#include <stdbool.h>

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static inline char ascii_lower(char c)
{
    return ascii_is_upper(c) ? (char)(c | 0x20) : c;
}

static inline bool ascii_is_letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static inline bool ascii_is_alnum(char c)
{
    return ascii_is_letter(c) || ascii_is_digit(c);
}

/* A letter of names that have only small ones, or a digit. */
static inline bool ascii_is_lower_alnum(char c)
{
    return ascii_is_alnum(c) && !ascii_is_upper(c);
}

/* 0 to 15; -1: no hexadecimal digit. Either case. */
static inline int ascii_hex_value(char c)
{
    char l = ascii_lower(c);

    if (ascii_is_digit(c)) {
        return c - '0';
    }
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}
