/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/url.h"

#include "base/mem.h"
#include "t.h"

TEST(escapes_are_undone)
{
    static const struct {
        const char *text;
        enum url_decode how;
        int result;
        const char *want;
    } rows[] = {
        {"a%20b", URL_PATH, 0, "a b"},
        {"a+b", URL_PATH, 0, "a+b"},
        {"a+b", URL_FORM, 0, "a b"},
        {"%c3%A9", URL_PATH, 0, "\xc3\xa9"},
        {"", URL_PATH, 0, ""},
        {"%", URL_PATH, -ERR_SYNTAX, ""},
        {"%4", URL_PATH, -ERR_SYNTAX, ""},
        {"%zz", URL_PATH, -ERR_SYNTAX, ""},
        {"%00", URL_PATH, -ERR_SYNTAX, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        CHECK_INT(url_decode(&b, slice_of(rows[i].text), rows[i].how), rows[i].result);
        if (rows[i].result == 0) {
            CHECK_STR(strbuf_text(&b), rows[i].want);
        }
    }
}

TEST(any_byte_but_nul_survives_encoding)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf back = {0};
    char all[255];

    for (int i = 0; i < 255; i++) {
        all[i] = (char)(i + 1);
    }
    url_encode(&text, (struct slice){all, sizeof(all)});
    CHECK(!strchr(text.p, '/') && !strchr(text.p, ' '));
    CHECK_INT(url_decode(&back, (struct slice){text.p, text.len}, URL_FORM), 0);
    CHECK_INT(back.len, sizeof(all));
    CHECK_MEM(back.p, all, sizeof(all));
}

TEST(a_query_is_split_into_its_parameters)
{
    struct slice path, query, key, value;
    AUTO(strbuf) struct strbuf v = {0};
    int n = 0;

    url_split(slice_of("/api/v1/pods?a=1&&b&c=x%3Dy&a=2#frag?x=9"), &path, &query);
    CHECK(slice_is(path, "/api/v1/pods"));
    for (struct slice rest = query; url_query_next(&rest, &key, &value); n++) {
        static const char *const keys[] = {"a", "b", "c", "a"};
        CHECK(n < 4 && slice_is(key, keys[n]));
    }
    CHECK_INT(n, 4);
    CHECK_INT(url_query_get(query, "c", &v), 1);
    CHECK_STR(strbuf_text(&v), "x=y");
    strbuf_clear(&v);
    CHECK_INT(url_query_get(query, "a", &v), 1);
    CHECK_STR(strbuf_text(&v), "1");
    CHECK_INT(url_query_get(query, "none", &v), 0);
    CHECK_INT(url_query_get(slice_of("a=%zz"), "a", &v), -ERR_SYNTAX);
    url_split(slice_of("/x"), &path, &query);
    CHECK(slice_is(path, "/x") && query.len == 0);
}

TEST(a_query_is_built)
{
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_puts(&b, "/p?");
    url_query_add(&b, "labelSelector", "a=b,c");
    url_query_add(&b, "limit", "500");
    CHECK_STR(b.p, "/p?labelSelector=a%3Db%2Cc&limit=500");
}

TEST(configured_addresses_are_taken_apart)
{
    static const struct {
        const char *text;
        int result;
        const char *scheme, *host, *path;
        unsigned port;
    } rows[] = {
        {"https://istiod.istio-system.svc:15012", 0, "https", "istiod.istio-system.svc", "", 15012},
        {"http://[::1]:80/a/b", 0, "http", "::1", "/a/b", 80},
        {"http://h", 0, "http", "h", "", 0},
        {"http://h/", 0, "http", "h", "/", 0},
        {"h", -ERR_SYNTAX, "", "", "", 0},
        {"://h", -ERR_SYNTAX, "", "", "", 0},
        {"h:80", -ERR_SYNTAX, "", "", "", 0},
        {"http://", -ERR_SYNTAX, "", "", "", 0},
        {"http://:80", -ERR_SYNTAX, "", "", "", 0},
        {"http://h:0", -ERR_SYNTAX, "", "", "", 0},
        {"http://h:x", -ERR_SYNTAX, "", "", "", 0},
        {"http://u@h", -ERR_SYNTAX, "", "", "", 0},
        {"http://h/?q", -ERR_SYNTAX, "", "", "", 0},
        {"http://[::1", -ERR_SYNTAX, "", "", "", 0},
        {"http://[::1]x", -ERR_SYNTAX, "", "", "", 0},
        {"http://a b", -ERR_SYNTAX, "", "", "", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url u;
        printf("# %s\n", rows[i].text);
        CHECK_INT(url_parse(&u, rows[i].text, strlen(rows[i].text), NULL), rows[i].result);
        if (rows[i].result == 0) {
            CHECK(slice_is(u.scheme, rows[i].scheme) && slice_is(u.host, rows[i].host) &&
                  slice_is(u.path, rows[i].path));
            CHECK_INT(u.port, rows[i].port);
        }
    }
}
