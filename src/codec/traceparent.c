/* SPDX-License-Identifier: Apache-2.0 */
/* W3C Trace Context 3.2: version 00 has exactly one length and lower-case digits only. */
#include "codec/traceparent.h"

#include <string.h>

static char *put_hex(char *at, const uint8_t *p, size_t len)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *at++ = hex[p[i] >> 4];
        *at++ = hex[p[i] & 15];
    }
    return at;
}

const char *traceparent_format(const struct traceparent *tp, char buf[static TRACEPARENT_TEXT])
{
    char *at = buf;

    memcpy(at, "00-", 3);
    at = put_hex(at + 3, tp->trace_id, sizeof(tp->trace_id));
    *at++ = '-';
    at = put_hex(at, tp->parent_id, sizeof(tp->parent_id));
    *at++ = '-';
    at = put_hex(at, &tp->flags, 1);
    *at = '\0';
    return buf;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(uint8_t *into, size_t size, const char *text)
{
    for (size_t i = 0; i < size; i++) {
        int high = nibble(text[2 * i]);
        int low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        into[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++) {
        any |= p[i];
    }
    return any == 0;
}

int traceparent_parse(struct traceparent *out, const char *text, size_t len)
{
    struct traceparent tp;

    if (len != TRACEPARENT_LEN || memcmp(text, "00-", 3) != 0 || text[35] != '-' ||
        text[52] != '-') {
        return -ERR_SYNTAX;
    }
    if (!read_hex(tp.trace_id, sizeof(tp.trace_id), text + 3) ||
        !read_hex(tp.parent_id, sizeof(tp.parent_id), text + 36) ||
        !read_hex(&tp.flags, 1, text + 53)) {
        return -ERR_SYNTAX;
    }
    if (is_zero(tp.trace_id, sizeof(tp.trace_id)) || is_zero(tp.parent_id, sizeof(tp.parent_id))) {
        return -ERR_SYNTAX;
    }
    *out = tp;
    return 0;
}
