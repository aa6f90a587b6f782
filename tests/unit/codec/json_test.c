/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "t.h"

static struct json *parse(const char *text)
{
    struct json *j = NULL;
    int r = json_parse(&j, text, strlen(text), NULL, NULL);

    return r < 0 ? NULL : j;
}

static const char *print(const struct json *j, unsigned flags, struct strbuf *b)
{
    strbuf_clear(b);
    json_print(j, flags, b);
    return strbuf_text(b);
}

TEST(every_kind_survives_a_round_trip)
{
    static const char *const texts[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-9223372036854775808",
                                        "9223372036854775807",
                                        "1.5",
                                        "\"\"",
                                        "\"a\"",
                                        "[]",
                                        "{}",
                                        "[1,[2,[3]],{\"k\":null}]",
                                        "{\"b\":1,\"a\":{\"c\":[true,\"\xc3\xa9\"]}}"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(json) struct json *j = parse(texts[i]);
        AUTO(strbuf) struct strbuf b = {0};
        CHECK(j);
        CHECK_STR(print(j, 0, &b), texts[i]);
    }
}

TEST(text_that_is_not_json_is_refused_with_its_place)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "line 1"},
        {"{\"a\":1,\n \"b\":}", "line 2 column 6"},
        {"[1,]", "line 1 column 4"},
        {"{} x", "line 1"},
        {"\"\\u0000\"", "line 1"},
        {"\"\xff\"", "line 1"},
        {"99999999999999999999", "line 1"},
        {"1e999", "line 1"},
        {"nul", "line 1"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *j = NULL;
        struct diag why = {0};
        CHECK_INT(json_parse(&j, rows[i].text, strlen(rows[i].text), NULL, &why), -ERR_SYNTAX);
        CHECK(!j);
        if (!strstr(why.text, rows[i].why)) {
            CHECK_STR(why.text, rows[i].why);
        }
    }
}

TEST(size_and_depth_have_limits)
{
    struct json *j = NULL;
    struct json_limits limits = {.bytes = 8, .depth = 2};

    CHECK_INT(json_parse(&j, "[[1]]", 5, &limits, NULL), 0);
    j = json_unref(j);
    CHECK_INT(json_parse(&j, "[[[1]]]", 7, &limits, NULL), -ERR_TOO_LARGE);
    CHECK_INT(json_parse(&j, "[1,2,3,4]", 9, &limits, NULL), -ERR_TOO_LARGE);
    CHECK_INT(json_parse(&j, "\"[[[[\"", 6, &limits, NULL), 0);
    j = json_unref(j);
    CHECK_INT(json_parse(&j, "\"\\\"[[[\"", 7, &limits, NULL), 0);
    j = json_unref(j);
}

TEST(getters_answer_the_fallback_for_what_is_not_there)
{
    AUTO(json)
    struct json *j =
        parse("{\"s\":\"x\",\"i\":7,\"r\":2.0,\"f\":2.5,\"b\":true,\"o\":{\"p\":{\"q\":"
              "[10,20]}},\"a.b\":1}");

    CHECK(j);
    CHECK_STR(json_str_at(j, "s", "-"), "x");
    CHECK_STR(json_str_at(j, "i", "-"), "-");
    CHECK_STR(json_str_at(j, "none.of.it", "-"), "-");
    CHECK_INT(json_int_at(j, "i", -1), 7);
    CHECK_INT(json_int_at(j, "r", -1), 2);
    CHECK_INT(json_int_at(j, "f", -1), -1);
    CHECK(json_num(json_get(j, "f"), 0) == 2.5 && json_num(json_get(j, "s"), 9) == 9);
    CHECK(json_bool_at(j, "b", false) && !json_bool_at(j, "i", false));
    CHECK_INT(json_count(json_array_at(j, "o.p.q")), 2);
    CHECK_INT(json_int(json_item(json_at(j, "o.p.q"), 1), -1), 20);
    CHECK(!json_item(json_at(j, "o.p.q"), 2));
    CHECK(!json_object_at(j, "o.p.q") && json_object_at(j, "o.p"));
    CHECK_INT(json_int(json_get(j, "a.b"), -1), 1);
    CHECK(!json_at(j, "a.b") && !json_at(NULL, "a") && json_count(NULL) == 0);
}

TEST(members_are_visited_in_the_order_they_came)
{
    AUTO(json) struct json *j = parse("{\"z\":0,\"a\":1,\"m\":2}");
    AUTO(strbuf) struct strbuf b = {0};
    const char *keys = "zam";
    int n = 0;

    for (struct json_iter it = {0}; json_each(j, &it); n++) {
        CHECK_INT(it.key[0], keys[n]);
        CHECK_INT(json_int(it.value, -1), n);
    }
    CHECK_INT(n, 3);
    CHECK_STR(print(j, JSON_PRINT_SORTED, &b), "{\"a\":1,\"m\":2,\"z\":0}");
    CHECK_STR(print(j, JSON_PRINT_INDENT | JSON_PRINT_SORTED, &b),
              "{\n  \"a\": 1,\n  \"m\": 2,\n  \"z\": 0\n}");
}

TEST(a_tree_is_built_and_changed_in_place)
{
    AUTO(json) struct json *j = json_new_object();
    AUTO(strbuf) struct strbuf b = {0};
    struct json *list;

    json_set_str(json_make_object(j, "metadata.labels"), "app.kubernetes.io/name", "x");
    json_set_int(j, "n", 1);
    json_set_int(j, "n", 2);
    json_set_bool(j, "t", true);
    json_set(j, "null", NULL);
    list = json_make_array(j, "spec.list");
    json_append_str(list, "b");
    json_insert(list, 0, json_new_str("a"));
    json_replace(list, 1, json_new_int(3));
    json_append(list, json_new_real(0.5));
    CHECK(json_remove_item(list, 2) && !json_remove_item(list, 2));
    CHECK(json_remove(j, "t") && !json_remove(j, "t"));
    CHECK_STR(print(j, 0, &b),
              "{\"metadata\":{\"labels\":{\"app.kubernetes.io/name\":\"x\"}},\"n\":2,"
              "\"null\":null,\"spec\":{\"list\":[\"a\",3]}}");
    json_clear(list);
    CHECK_INT(json_count(list), 0);
    CHECK(json_make_array(j, "spec.list") == list);
}

TEST(text_from_outside_can_always_be_printed)
{
    AUTO(json) struct json *j = json_new_object();
    AUTO(strbuf) struct strbuf b = {0};
    AUTO(json) struct json *back = NULL;

    json_set(j, "bytes", json_new_strn("a\xff\0b", 4));
    json_set_str(j, "k\xc0\x80", "v");
    json_set(j, "nan", json_new_real(strtod("nan", NULL)));
    (void)print(j, 0, &b);
    CHECK_INT(json_parse(&back, b.p, b.len, NULL, NULL), 0);
    CHECK_STR(json_str_at(back, "bytes", ""), "a\xef\xbf\xbd\xef\xbf\xbd"
                                              "b");
    CHECK(json_get(back, "k\xef\xbf\xbd\xef\xbf\xbd") != NULL);
    CHECK_INT(json_kind(json_get(back, "nan")), JSON_KIND_NULL);
}

/* RFC 7396 appendix A, all rows. */
TEST(merge_patch_does_what_its_rfc_lists)
{
    static const struct {
        const char *target, *patch, *want;
    } rows[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json) struct json *patch = parse(rows[i].patch);
        AUTO(json) struct json *got = json_merge_patch(parse(rows[i].target), patch);
        AUTO(strbuf) struct strbuf b = {0};
        CHECK_STR(print(got, 0, &b), rows[i].want);
        (void)print(patch, 0, &b);
        CHECK_STR(b.p, rows[i].patch); /* the patch itself stays what it was */
    }
}

TEST(equality_ignores_the_order_of_members_only)
{
    AUTO(json) struct json *a = parse("{\"x\":[1,2],\"y\":{\"p\":1,\"q\":2}}");
    AUTO(json) struct json *b = parse("{\"y\":{\"q\":2,\"p\":1},\"x\":[1,2]}");
    AUTO(json) struct json *c = parse("{\"y\":{\"q\":2,\"p\":1},\"x\":[2,1]}");
    AUTO(json) struct json *d = json_clone(a);

    CHECK(json_same(a, b) && !json_same(a, c) && json_same(NULL, NULL) && !json_same(a, NULL));
    json_set_int(json_object_at(d, "y"), "p", 9);
    CHECK(!json_same(a, d) && json_int_at(a, "y.p", 0) == 1);
}

TEST(printing_stops_at_the_limit_of_its_buffer)
{
    AUTO(json) struct json *j = parse("[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]");
    AUTO(strbuf) struct strbuf b = {.limit = 16};

    json_print(j, 0, &b);
    CHECK(b.overflow && b.len <= 16);
}
