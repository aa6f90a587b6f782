/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/pbwrite.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, VARINT_MAX = 10 };

static size_t varint_encode(uint8_t to[static VARINT_MAX], uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7) {
        to[n++] = (uint8_t)(v | 0x80);
    }
    to[n++] = (uint8_t)v;
    return n;
}

void pb_put_varint(struct strbuf *out, uint64_t v)
{
    uint8_t octets[VARINT_MAX];

    strbuf_add(out, octets, varint_encode(octets, v));
}

static void put_tag(struct strbuf *out, uint32_t field, unsigned wire)
{
    pb_put_varint(out, (uint64_t)field << 3 | wire);
}

void pb_put_number(struct strbuf *out, uint32_t field, uint64_t v)
{
    if (v != 0) {
        put_tag(out, field, WIRE_VARINT);
        pb_put_varint(out, v);
    }
}

void pb_put_element(struct strbuf *out, uint32_t field, const void *from, size_t len)
{
    put_tag(out, field, WIRE_BYTES);
    pb_put_varint(out, len);
    strbuf_add(out, from, len);
}

void pb_put_bytes(struct strbuf *out, uint32_t field, const void *from, size_t len)
{
    if (len > 0) {
        pb_put_element(out, field, from, len);
    }
}

void pb_put_text(struct strbuf *out, uint32_t field, const char *text)
{
    pb_put_bytes(out, field, text, text ? strlen(text) : 0);
}

/* One octet is kept for the length, which most messages here need no more of. */
size_t pb_open(struct strbuf *out, uint32_t field)
{
    put_tag(out, field, WIRE_BYTES);
    strbuf_putc(out, 0);
    return out->len;
}

void pb_close(struct strbuf *out, size_t opened)
{
    uint8_t octets[VARINT_MAX];

    if (out->overflow) {
        return;
    }
    size_t len = out->len - opened;
    size_t n = varint_encode(octets, len);
    if (n > 1) {
        strbuf_add(out, octets, n - 1); /* makes room; the contents come below */
        if (out->overflow) {
            return;
        }
        memmove(out->p + opened + n - 1, out->p + opened, len);
    }
    memcpy(out->p + opened - 1, octets, n);
}
