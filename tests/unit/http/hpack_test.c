/* SPDX-License-Identifier: Apache-2.0 */
#include "http/hpack.h"

#include <string.h>

#include "base/mem.h"
#include "t.h"

/* Fields of a block, one after the other, as text; "!" and the code for a failure. */
static void decode(struct hpack_decoder *d, const uint8_t *p, size_t len, size_t portion,
                   char out[1024])
{
    size_t n = 0;
    int r = 1;

    out[0] = '\0';
    for (size_t at = 0; at <= len && r >= 0; at += portion) {
        size_t part = len - at < portion ? len - at : portion;
        bool last = at + part == len;
        uint8_t *copy = mem_dup(p + at, part);
        struct slice s = {(const char *)copy, part};
        struct hpack_field f;

        while ((r = hpack_next(d, &s, last, &f)) == 1) {
            int w = snprintf(out + n, 1024 - n, "%.*s=%.*s;", (int)f.name.len, f.name.p,
                             (int)f.value.len, f.value.p);
            n += w > 0 ? (size_t)w : 0;
        }
        mem_free(copy);
        if (last) {
            break;
        }
    }
    if (r < 0) {
        (void)snprintf(out + n, 1024 - n, "!%s", err_name(r));
    }
}

/* RFC 7541 C.3 and C.4: three requests that build on each other, plain and Huffman. */
static const struct {
    const char *bytes;
    size_t len;
    const char *fields;
} plain[] =
    {
        {"\x82\x86\x84\x41\x0fwww.example.com", 20,
         ":method=GET;:scheme=http;:path=/;:authority=www.example.com;"},
        {"\x82\x86\x84\xbe\x58\x08no-cache", 14,
         ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;"},
        {"\x82\x87\x85\xbf\x40\x0a"
         "custom-key\x0c"
         "custom-value",
         29,
         ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;"
         "custom-key=custom-value;"},
},
  huffman[] = {
      {"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", 17,
       ":method=GET;:scheme=http;:path=/;:authority=www.example.com;"},
      {"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf", 12,
       ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;"},
      {"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8"
       "\xb4"
       "\xbf",
       24,
       ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;"
       "custom-key=custom-value;"},
};

TEST(blocks_are_decoded_in_any_portions_against_the_same_table)
{
    char got[1024];

    for (size_t portion = 1; portion < 40; portion++) {
        AUTO(hpack_decoder) struct hpack_decoder *a = hpack_decoder_new();
        AUTO(hpack_decoder) struct hpack_decoder *b = hpack_decoder_new();

        for (int i = 0; i < 3; i++) {
            decode(a, (const uint8_t *)plain[i].bytes, plain[i].len, portion, got);
            CHECK_STR(got, plain[i].fields);
            decode(b, (const uint8_t *)huffman[i].bytes, huffman[i].len, portion, got);
            CHECK_STR(got, huffman[i].fields);
        }
    }
}

TEST(a_decoder_moves_with_its_table)
{
    char got[1024];

    for (int moved = 0; moved < 3; moved++) {
        AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();

        for (int i = 0; i < 3; i++) {
            decode(d, (const uint8_t *)plain[i].bytes, plain[i].len, 100, got);
            CHECK_STR(got, plain[i].fields);
            if (i == moved) {
                struct bytes table;
                struct hpack_decoder *next = NULL;

                bytes_init(&table, 65536);
                CHECK_INT(hpack_decoder_export(d, &table), 0);
                CHECK_INT(hpack_decoder_import(&next, bytes_peek(&table), table.len), 0);
                bytes_fini(&table);
                hpack_decoder_free(d);
                d = next;
            }
        }
    }
}

TEST(a_decoder_is_blank_until_its_table_holds_something_or_has_another_size)
{
    AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();
    AUTO(hpack_decoder) struct hpack_decoder *small = hpack_decoder_new();
    char got[1024];

    decode(d, (const uint8_t *)"\x82\x86", 2, 100, got);
    CHECK(hpack_decoder_is_blank(d));
    decode(d, (const uint8_t *)plain[0].bytes, plain[0].len, 100, got);
    CHECK(!hpack_decoder_is_blank(d));
    decode(small, (const uint8_t *)"\x20\x82", 2, 100, got);
    CHECK(!hpack_decoder_is_blank(small));
}

TEST(a_table_that_the_peer_shrank_stays_small_when_it_moves)
{
    AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();
    struct hpack_decoder *next = NULL;
    struct bytes table;
    char got[1024];

    /* size 40 holds one entry of 1 + 1 + 32 bytes */
    decode(d,
           (const uint8_t *)"\x3f\x09\x40\x01"
                            "a\x01"
                            "1\x40\x01"
                            "b\x01"
                            "2",
           12, 100, got);
    CHECK_STR(got, "a=1;b=2;");
    bytes_init(&table, 65536);
    CHECK_INT(hpack_decoder_export(d, &table), 0);
    CHECK_INT(hpack_decoder_import(&next, bytes_peek(&table), table.len), 0);
    bytes_fini(&table);
    decode(next,
           (const uint8_t *)"\xbe\x40\x01"
                            "c\x01"
                            "3\xbe",
           7, 100, got);
    CHECK_STR(got, "b=2;c=3;c=3;");
    decode(next, (const uint8_t *)"\xbf", 1, 100, got);
    CHECK_STR(got, "!ERR_H2_PROTOCOL");
    hpack_decoder_free(next);
}

TEST(bad_blocks_are_refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"\xff\x49", 2},
               {"\x00\x05"
                "ab",
                4},
               {"\x3f\xe1\x3f", 3},
               {"\x80", 1},
               {"\x82\x20", 2},
               {"\x00\x81\x00\x00", 4},
               {"\x00\xff\xff\xff\xff\xff\xff\x7f", 8}};
    char got[1024];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();

        decode(d, (const uint8_t *)bad[i].bytes, bad[i].len, 100, got);
        CHECK(strstr(got, "!ERR_H2_PROTOCOL") != NULL);
    }
}

TEST(what_is_encoded_is_decoded_and_leaves_no_trace)
{
    AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();
    static char text[20000];
    struct bytes out, table;
    struct hpack_field f;
    static const unsigned statuses[] = {100, 200, 204, 401, 404, 431, 500, 503, 999};

    bytes_init(&out, 100000);
    memset(text, 'v', sizeof(text));
    for (size_t len = 0; len < sizeof(text); len = len * 3 / 2 + 1) {
        CHECK_INT(hpack_put(&out, "x-name", (struct slice){text, len}, len % 2), 0);
    }
    CHECK_INT(hpack_put_no_table(&out), 0); /* only at the front: not part of this block */
    out.len--;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        CHECK_INT(hpack_put_status(&out, statuses[i]), 0);
    }
    struct slice at = {(const char *)bytes_peek(&out), out.len};
    for (size_t len = 0; len < sizeof(text); len = len * 3 / 2 + 1) {
        CHECK_INT(hpack_next(d, &at, true, &f), 1);
        CHECK(slice_is(f.name, "x-name"));
        CHECK_INT(f.value.len, len);
    }
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        char want[16];

        (void)snprintf(want, sizeof(want), "%u", statuses[i]);
        CHECK_INT(hpack_next(d, &at, true, &f), 1);
        CHECK(slice_is(f.name, ":status"));
        CHECK(slice_is(f.value, want));
    }
    CHECK_INT(hpack_next(d, &at, true, &f), 0);
    bytes_init(&table, 1000);
    CHECK_INT(hpack_decoder_export(d, &table), 0);
    CHECK_INT(table.len, 0); /* nothing was indexed */
    bytes_fini(&table);
    bytes_fini(&out);
}

TEST(a_secret_value_is_never_indexed)
{
    struct bytes out;

    bytes_init(&out, 100);
    CHECK_INT(hpack_put(&out, ":authority", slice_of("a:1"), true), 0);
    CHECK_INT(bytes_peek(&out)[0], 0x11);
    CHECK_INT(hpack_put(&out, "name", slice_of("v"), true), 0);
    CHECK_INT(bytes_peek(&out)[5], 0x10);
    bytes_fini(&out);
}

TEST(each_allocation_of_a_decoder_may_fail)
{
    char got[1024];
    int made = 0;

    for (int i = 0; i < 40; i++) {
        (void)mem_fault_set(i);
        AUTO(hpack_decoder) struct hpack_decoder *d = hpack_decoder_new();
        if (d) {
            made++;
            decode(d, (const uint8_t *)plain[0].bytes, plain[0].len, 100, got);
            CHECK(strcmp(got, plain[0].fields) == 0 || strstr(got, "!ENOMEM"));
        }
        (void)mem_fault_set(-1);
    }
    CHECK(made > 0 && made < 40);
}
