/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/http_path.h"

#include <string.h>

#include "t.h"

TEST(a_path_has_one_form)
{
    static const struct {
        const char *path, *kept, *merged; /* NULL: refused */
    } rows[] = {
        {"/", "/", "/"},
        {"*", "*", "*"},
        {"/a/b", "/a/b", "/a/b"},
        {"/a/./b", "/a/b", "/a/b"},
        {"/a/../b", "/b", "/b"},
        {"/a/b/..", "/a/", "/a/"},
        {"/a/b/.", "/a/b/", "/a/b/"},
        {"/a/.../b", "/a/.../b", "/a/.../b"},
        {"/a/..b/.c", "/a/..b/.c", "/a/..b/.c"},
        {"/%2e%2E/a", NULL, NULL},
        {"/a/%2e%2e/b", "/b", "/b"},
        {"/a/.%2e/b", "/b", "/b"},
        {"/..", NULL, NULL},
        {"/a/../..", NULL, NULL},
        {"/a//b", "/a//b", "/a/b"},
        {"//a///", "//a///", "/a/"},
        {"/a//../b", "/a/b", "/b"},
        {"/%41%7a%2d", "/Az-", "/Az-"},
        {"/a%2fb", "/a%2Fb", "/a%2Fb"},
        {"/a%5cb", "/a%5Cb", "/a%5Cb"},
        {"/a\\b", "/a/b", "/a/b"},
        {"/a\\..\\b", "/b", "/b"},
        {"\\a", "/a", "/a"},
        {"/%25%32%66", "/%252f", "/%252f"}, /* decoded once */
        {"/a;x=1/../b", "/b", "/b"},
        {"/a\xc3\xa9", "/a\xc3\xa9", "/a\xc3\xa9"},
        {"/%c3%a9", "/%C3%A9", "/%C3%A9"},
        {"/a%00b", NULL, NULL},
        {"/a%0", NULL, NULL},
        {"/a%", NULL, NULL},
        {"/a%zz", NULL, NULL},
        {"/a#b", NULL, NULL},
        {"/a?b", NULL, NULL},
        {"/a b", NULL, NULL},
        {"/a\tb", NULL, NULL},
        {"/a\x7f", NULL, NULL},
        {"", NULL, NULL},
        {"a", NULL, NULL},
        {"%2fa", NULL, NULL},
        {"http://h/a", NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        enum http_slashes how = i % 2 ? HTTP_SLASHES_MERGED : HTTP_SLASHES_KEPT;
        const char *want = i % 2 ? rows[i / 2].merged : rows[i / 2].kept;
        AUTO(strbuf) struct strbuf out = {0};
        strbuf_puts(&out, "x");
        int r = http_path_normalise(slice_of(rows[i / 2].path), how, &out, NULL);
        CHECK_STR(rows[i / 2].path, (r == 0) == (want != NULL) ? rows[i / 2].path : "");
        CHECK_STR(strbuf_text(&out) + 1, want ? want : "");
    }
}

TEST(a_path_with_a_zero_byte_or_too_long_is_refused)
{
    AUTO(strbuf) struct strbuf out = {0};
    static char big[HTTP_PATH_MAX + 1];

    memset(big, 'a', sizeof(big));
    big[0] = '/';
    CHECK(http_path_normalise((struct slice){"/a\0b", 4}, HTTP_SLASHES_KEPT, &out, NULL) < 0);
    CHECK_INT(http_path_normalise((struct slice){big, sizeof(big)}, HTTP_SLASHES_KEPT, &out, NULL),
              -ERR_TOO_LARGE);
    CHECK_INT(
        http_path_normalise((struct slice){big, sizeof(big) - 1}, HTTP_SLASHES_KEPT, &out, NULL),
        0);
}

TEST(a_configured_path_keeps_all_but_the_spelling_of_escapes)
{
    AUTO(strbuf) struct strbuf out = {0};

    http_path_respell(slice_of("/%61/../%c3*{*}\\#?%00%zz%2"), &out);
    CHECK_STR(strbuf_text(&out), "/a/../%C3*{*}\\#?%00%zz%2");
    strbuf_clear(&out);
    http_path_respell(slice_of("*/caf\xc3\xa9 %c3%A9\t\x7f~"), &out);
    CHECK_STR(strbuf_text(&out), "*/caf%C3%A9%20%C3%A9%09%7F~");
}

TEST(a_host_has_one_form)
{
    static const struct {
        const char *host, *want, *name; /* NULL: refused */
    } rows[] = {
        {"Example.COM", "example.com", "example.com"},
        {"example.com.", "example.com", "example.com"},
        {"example.com.:80", "example.com:80", "example.com"},
        {"a_b-c.d:8080", "a_b-c.d:8080", "a_b-c.d"},
        {"10.0.0.1:80", "10.0.0.1:80", "10.0.0.1"},
        {"[::1]", "[::1]", "[::1]"},
        {"[FE80::1]:443", "[fe80::1]:443", "[fe80::1]"},
        {"", NULL, NULL},
        {".", NULL, NULL},
        {"a..", NULL, NULL},
        {":80", NULL, NULL},
        {"a:", NULL, NULL},
        {"a:0", NULL, NULL},
        {"a:65536", NULL, NULL},
        {"a:80:80", NULL, NULL},
        {"user@a", NULL, NULL},
        {"a/b", NULL, NULL},
        {"a b", NULL, NULL},
        {"a,b", NULL, NULL},
        {"a%2eb", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[]", NULL, NULL},
        {"[::g]", NULL, NULL},
        {"::1", NULL, NULL},
        {"[::1]a", NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf out = {0};
        int r = http_host_canonical(slice_of(rows[i].host), &out, NULL);
        CHECK_STR(rows[i].host, (r == 0) == (rows[i].want != NULL) ? rows[i].host : "");
        CHECK_STR(strbuf_text(&out), rows[i].want ? rows[i].want : "");
        if (r == 0) {
            CHECK(slice_is(http_host_name(slice_of(strbuf_text(&out))), rows[i].name));
        }
    }
}
