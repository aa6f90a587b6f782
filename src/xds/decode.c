/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/decode_int.h"
#include "xds/resource.h"

enum { NESTING_MAX = 12 }; /* our messages nest 6 deep */

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. The length of the sequence at
 * p, 0 when it is not one. */
static unsigned utf8_sequence(const unsigned char *p)
{
    static const struct {
        unsigned char lead_low, lead_high, next_low, next_high, len;
    } rows[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (p[0] < rows[i].lead_low || p[0] > rows[i].lead_high) {
            continue;
        }
        for (unsigned k = 1; k < rows[i].len; k++) {
            unsigned char low = k == 1 ? rows[i].next_low : 0x80;
            unsigned char high = k == 1 ? rows[i].next_high : 0xbf;
            if (p[k] < low || p[k] > high) { /* a terminator is below every low */
                return 0;
            }
        }
        return rows[i].len;
    }
    return 0;
}

static bool text_is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        unsigned n = utf8_sequence(p);
        if (n == 0) {
            return false;
        }
        p += n;
    }
    return true;
}

static bool message_is_utf8(const ProtobufCMessage *m, unsigned depth);

static bool value_is_utf8(const ProtobufCFieldDescriptor *f, const void *value, unsigned depth)
{
    const void *const *pointer = value;

    if (!*pointer) {
        return true;
    }
    return f->type == PROTOBUF_C_TYPE_STRING ? text_is_utf8(*pointer)
                                             : message_is_utf8(*pointer, depth + 1);
}

static bool field_is_utf8(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                          unsigned depth)
{
    const char *base = (const char *)m;
    const char *at = base + f->offset;

    if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE) {
        return true;
    }
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + f->quantifier_offset);
        const void *const *items = *(const void *const *const *)(const void *)at;
        for (size_t i = 0; i < count; i++) {
            if (!value_is_utf8(f, &items[i], depth)) {
                return false;
            }
        }
        return true;
    }
    bool in_oneof = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (in_oneof && *(const uint32_t *)(const void *)(base + f->quantifier_offset) != f->id) {
        return true; /* the union holds another member */
    }
    return value_is_utf8(f, at, depth);
}

/* protobuf-c leaves this to its user (proto3 demands it). The depth is the schema's, bounded all the
 * same. */
static bool message_is_utf8(const ProtobufCMessage *m, unsigned depth)
{
    if (depth > NESTING_MAX) {
        return false;
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        if (!field_is_utf8(m, &m->descriptor->fields[i], depth)) {
            return false;
        }
    }
    return true;
}

int xds_unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, struct slice bytes,
               struct diag *why)
{
    if (bytes.len > XDS_RESOURCE_MAX) {
        return FAIL(why, -ERR_TOO_LARGE, "decode: %zu bytes, at most %d", bytes.len,
                    XDS_RESOURCE_MAX);
    }
    AUTO(xds_unpacked)
    ProtobufCMessage *m =
        protobuf_c_message_unpack(type, NULL, bytes.len, (const uint8_t *)bytes.p);
    if (!m) {
        return FAIL(why, -ERR_SYNTAX, "decode: failed to decode Protobuf message of type %s",
                    type->short_name);
    }
    if (!message_is_utf8(m, 0)) {
        return FAIL(
            why, -ERR_SYNTAX,
            "decode: failed to decode Protobuf message: %s holds a string that is not UTF-8",
            type->short_name);
    }
    *out = MOVE(m);
    return 0;
}

void xds_unpacked_free(ProtobufCMessage *m)
{
    if (m) {
        protobuf_c_message_free_unpacked(m, NULL);
    }
}

int xds_enum(int32_t value, int32_t last, struct diag *why)
{
    if (value < 0 || value > last) {
        return FAIL(why, -ERR_RANGE, "decode error: unknown enumeration value %d", value);
    }
    return 0;
}
