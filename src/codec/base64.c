/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One encoder and one decoder over two alphabets. The decoder accepts exactly one spelling of each
 * value: tokens and keys that are compared as text must not have twins.
 */
#include "codec/base64.h"

#include <limits.h>

static const char STANDARD[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char URL_SAFE[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct strbuf *out, const uint8_t *p, size_t len, const char *digits, bool pad)
{
    for (; len > 0; p += 3) {
        size_t n = len < 3 ? len : 3;
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0u);
        char text[4] = {digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63]};

        memset(text + n + 1, '=', 3 - n);
        strbuf_add(out, text, pad ? 4 : n + 1);
        len -= n;
    }
}

void base64_encode(struct strbuf *out, const void *from, size_t len)
{
    encode(out, from, len, STANDARD, true);
}

void base64url_encode(struct strbuf *out, const void *from, size_t len)
{
    encode(out, from, len, URL_SAFE, false);
}

static int digit_value(char c, const char *digits)
{
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* One group of 2 to 4 digits into len - 1 bytes. */
static int decode_group(uint8_t *into, const char *text, size_t len, const char *digits)
{
    uint32_t v = 0;

    for (size_t i = 0; i < 4; i++) {
        int d = i < len ? digit_value(text[i], digits) : 0;
        if (d < 0) {
            return -ERR_SYNTAX;
        }
        v = v << 6 | (uint32_t)d;
    }
    if (len < 2 || (len == 2 && (v & 0xffff) != 0) || (len == 3 && (v & 0xff) != 0)) {
        return -ERR_SYNTAX;
    }
    for (size_t i = 0; i + 1 < len; i++) {
        into[i] = (uint8_t)(v >> (16 - 8 * i));
    }
    return (int)len - 1;
}

/* len counts digits only. */
static int decode(uint8_t *into, size_t room, const char *text, size_t len, const char *digits)
{
    size_t size = len / 4 * 3 + (len % 4 > 0 ? len % 4 - 1 : 0);

    if (size > room || size > INT_MAX) {
        return -ERR_TOO_LARGE;
    }
    for (size_t at = 0; at < len; at += 4) {
        int n = decode_group(into, text + at, len - at < 4 ? len - at : 4, digits);
        if (n < 0) {
            return n;
        }
        into += n;
    }
    return (int)size;
}

static size_t without_padding(const char *text, size_t len)
{
    for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++) {
        len--;
    }
    return len;
}

int base64_decode(void *into, size_t room, const char *text, size_t len)
{
    if (len % 4 != 0) {
        return -ERR_SYNTAX;
    }
    return decode(into, room, text, without_padding(text, len), STANDARD);
}

int base64url_decode(void *into, size_t room, const char *text, size_t len)
{
    size_t digits = without_padding(text, len);

    if (digits != len && len % 4 != 0) {
        return -ERR_SYNTAX;
    }
    return decode(into, room, text, digits, URL_SAFE);
}
