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
