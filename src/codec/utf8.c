/* SPDX-License-Identifier: Apache-2.0 */
/* A table instead of bit tricks: each row is a row of RFC 3629's grammar. */
#include "codec/utf8.h"

#include <stdint.h>

/* RFC 3629 section 4, as rows: first byte from-to, length, and what the second byte may be. */
static const struct {
    uint8_t from, to, len, second_from, second_to;
} forms[] = {
    {0x00, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static bool tail_fits(const uint8_t *p, size_t len, uint8_t from, uint8_t to)
{
    if (len > 1 && (p[1] < from || p[1] > to)) {
        return false;
    }
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return false;
        }
    }
    return true;
}

size_t utf8_char_len(const char *s, size_t len)
{
    const uint8_t *p = (const uint8_t *)s;

    for (size_t i = 0; len > 0 && i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (p[0] >= forms[i].from && p[0] <= forms[i].to) {
            bool fits = forms[i].len <= len &&
                        tail_fits(p, forms[i].len, forms[i].second_from, forms[i].second_to);
            return fits ? forms[i].len : 0;
        }
    }
    return 0;
}

bool utf8_is_valid(const char *s, size_t len)
{
    while (len > 0) {
        size_t n = utf8_char_len(s, len);
        if (n == 0) {
            return false;
        }
        s += n;
        len -= n;
    }
    return true;
}
