/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/pbwalk.h"

#include <string.h>

#include "base/mem.h"
#include "t.h"

/* 1: varint 150; 2: "hi"; 3: fixed32 1; 4: fixed64 2; 5: varint 2^64-1; 6: empty; 1: 7 */
static const uint8_t message[] = {0x08, 0x96, 0x01, 0x12, 2,    'h',  'i',  0x1d, 1,
                                  0,    0,    0,    0x21, 2,    0,    0,    0,    0,
                                  0,    0,    0,    0x28, 0xff, 0xff, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0x01, 0x32, 0,    0x08, 7};
static const struct {
    uint32_t number;
    enum pb_wire wire;
    uint64_t value;
    const char *bytes;
} fields[] = {
    {1, PB_VARINT, 150, NULL}, {2, PB_BYTES, 0, "hi"},           {3, PB_FIXED32, 1, NULL},
    {4, PB_FIXED64, 2, NULL},  {5, PB_VARINT, UINT64_MAX, NULL}, {6, PB_BYTES, 0, ""},
    {1, PB_VARINT, 7, NULL},
};

static bool is_field(const struct pb_field *f, size_t i)
{
    size_t len = fields[i].bytes ? strlen(fields[i].bytes) : 0;

    return f->number == fields[i].number && f->wire == fields[i].wire &&
           f->value == fields[i].value && f->len == len &&
           (f->wire != PB_BYTES || (f->bytes && memcmp(f->bytes, fields[i].bytes, len) == 0));
}

TEST(fields_are_shown_in_order)
{
    struct pbwalk w;
    struct pb_field f;

    pbwalk_init(&w, message, sizeof(message));
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        CHECK_INT(pbwalk_next(&w, &f), 1);
        CHECK(is_field(&f, i));
    }
    CHECK_INT(pbwalk_next(&w, &f), 0);
    CHECK_INT(pbwalk_find(message, sizeof(message), 1, &f), 1);
    CHECK_INT(f.value, 150);
    CHECK_INT(pbwalk_find(message, sizeof(message), 9, &f), 0);
}

TEST(a_message_cut_anywhere_inside_a_field_is_truncated)
{
    size_t boundaries[] = {0, 3, 7, 12, 21, 32, 34, 36};
    size_t at = 0;

    for (size_t len = 0; len <= sizeof(message); len++) {
        struct pbwalk w;
        struct pb_field f;
        int r;
        pbwalk_init(&w, message, len);
        while ((r = pbwalk_next(&w, &f)) > 0) {
        }
        at += len > boundaries[at];
        CHECK_INT(r, len == boundaries[at] ? 0 : -ERR_TRUNCATED);
    }
}

TEST(what_is_not_protobuf_is_refused)
{
    static const struct {
        uint8_t bytes[12];
        size_t len;
    } rows[] = {
        {{0x0b}, 1},                            /* group */
        {{0x0c}, 1},                            /* end of group */
        {{0x0e, 0}, 2},                         /* wire type 6 */
        {{0x0f, 0}, 2},                         /* wire type 7 */
        {{0x00, 0}, 2},                         /* field 0 */
        {{0x80, 0x80, 0x80, 0x80, 0x10, 0}, 6}, /* field 2^29 */
        {{0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, 12}, /* 11 bytes */
        {{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, 11}, /* over 64 bits */
        {{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, 6}, /* length over 2^31 */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pbwalk w;
        struct pb_field f;
        struct pbstream s;
        const uint8_t *in = rows[i].bytes;
        size_t len = rows[i].len;
        pbwalk_init(&w, in, len);
        CHECK_INT(pbwalk_next(&w, &f), -ERR_SYNTAX);
        pbstream_init(&s, 1024);
        CHECK_INT(pbstream_next(&s, &in, &len, &f), -ERR_SYNTAX);
        CHECK_INT(pbstream_next(&s, &in, &len, &f), -ERR_SYNTAX);
        CHECK_INT(pbstream_end(&s), -ERR_SYNTAX);
        pbstream_fini(&s);
    }
}

TEST(a_message_in_pieces_shows_the_same_fields)
{
    for (size_t piece = 1; piece <= sizeof(message); piece++) {
        struct pbstream s;
        struct pb_field f;
        size_t shown = 0;
        pbstream_init(&s, 64);
        for (size_t at = 0; at < sizeof(message); at += piece) {
            const uint8_t *in = message + at;
            size_t len = piece < sizeof(message) - at ? piece : sizeof(message) - at;
            int r;
            while ((r = pbstream_next(&s, &in, &len, &f)) > 0) {
                CHECK(shown < ARRAY_LEN(fields) && is_field(&f, shown));
                shown++;
            }
            CHECK_INT(r, 0);
            CHECK_INT(len, 0);
        }
        CHECK_INT(shown, ARRAY_LEN(fields));
        CHECK_INT(pbstream_end(&s), 0);
        pbstream_fini(&s);
    }
}

TEST(a_field_over_its_limit_is_refused_as_soon_as_its_length_is_known)
{
    static const uint8_t big[] = {0x0a, 100, 'x'};
    struct pbstream s;
    struct pb_field f;

    for (size_t first = 1; first <= sizeof(big); first++) {
        const uint8_t *in = big;
        size_t len = first;
        int r;
        pbstream_init(&s, 64);
        r = pbstream_next(&s, &in, &len, &f);
        if (r == 0) {
            CHECK_INT(pbstream_end(&s), -ERR_TRUNCATED);
            len = sizeof(big) - first;
            r = pbstream_next(&s, &in, &len, &f);
        }
        CHECK_INT(r, -ERR_TOO_LARGE);
        pbstream_fini(&s);
    }
}

TEST(short_memory_ends_a_stream_cleanly)
{
    struct pbstream s;
    struct pb_field f;
    const uint8_t *in = message;
    size_t len = 5;

    pbstream_init(&s, 64);
    CHECK_INT(pbstream_next(&s, &in, &len, &f), 1);
    (void)mem_fault_set(0);
    CHECK_INT(pbstream_next(&s, &in, &len, &f), -ERR_TOO_LARGE);
    (void)mem_fault_set(-1);
    pbstream_fini(&s);
}
