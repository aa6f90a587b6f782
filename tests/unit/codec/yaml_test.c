/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/yaml.h"

#include <string.h>

#include "base/mem.h"
#include "t.h"

/* All documents of text as JSON, or the error's text. */
static const char *read_all(const char *text, struct strbuf *b)
{
    struct diag why = {0};
    AUTO(json) struct json *all = NULL;

    strbuf_clear(b);
    if (yaml_parse_all(&all, text, strlen(text), &why) < 0) {
        strbuf_puts(b, why.text);
    } else {
        json_print(all, 0, b);
    }
    return strbuf_text(b);
}

TEST(documents_become_json)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a: 1\nb: [x, 'y', \"z\"]\n", "[{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}]"},
        {"a:\n- b: c\n  d:\n- - e\n", "[{\"a\":[{\"b\":\"c\",\"d\":null},[\"e\"]]}]"},
        {"a: |\n  x\n  y\nb: >-\n  p\n  q\n", "[{\"a\":\"x\\ny\\n\",\"b\":\"p q\"}]"},
        {"a: 1\n---\nb: 2\n---\n---\n# only a comment\n---\nc: 3\n...\n",
         "[{\"a\":1},{\"b\":2},{\"c\":3}]"},
        {"", "[]"},
        {"# nothing\n", "[]"},
        {"{\"json\": [true, null, 1.5]}", "[{\"json\":[true,null,1.5]}]"},
        {"a: &x {p: 1}\nb: *x\n", "[{\"a\":{\"p\":1},\"b\":{\"p\":1}}]"},
        {"a: &x 1\n---\nb: 2\n", "[{\"a\":1},{\"b\":2}]"},
        {"a: &x {a: &x 1, b: *x}\nc: *x\n", "[{\"a\":{\"a\":1,\"b\":1},\"c\":{\"a\":1,\"b\":1}}]"},
        {"base: &b {x: 1, z: 2}\nd:\n  <<: *b\n  z: 3\n",
         "[{\"base\":{\"x\":1,\"z\":2},\"d\":{\"z\":3,\"x\":1}}]"},
        {"y: 1\n", "[{\"true\":1}]"},
        {"d:\n  <<: [{x: 1}, {x: 2, z: 3}]\n", "[{\"d\":{\"x\":1,\"z\":3}}]"},
        {"a: 1\na: 2\n", "[{\"a\":2}]"},
        {"1: a\ntrue: b\n1.5: c\n", "[{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}]"},
        {"\"<<\": 1\n", "[{\"<<\":1}]"},
        {"a: !!str 1\nb: !!int 2\nc: !!float 3\nd: !!map {}\n",
         "[{\"a\":\"1\",\"b\":2,\"c\":3,\"d\":{}}]"},
    };
    AUTO(strbuf) struct strbuf b = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_STR(read_all(rows[i].text, &b), rows[i].want);
    }
}

TEST(scalars_mean_what_kubectl_takes_them_for)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"yes", "true"},
        {"Yes", "true"},
        {"on", "true"},
        {"y", "true"},
        {"no", "false"},
        {"OFF", "false"},
        {"N", "false"},
        {"True", "true"},
        {"FALSE", "false"},
        {"tRue", "\"tRue\""},
        {"~", "null"},
        {"Null", "null"},
        {"'yes'", "\"yes\""},
        {"\"1\"", "\"1\""},
        {"0", "0"},
        {"-0", "0"},
        {"007", "7"},
        {"0644", "420"},
        {"0o17", "15"},
        {"0x1F", "31"},
        {"-0x10", "-16"},
        {"0b101", "5"},
        {"+12", "12"},
        {"1_000", "1000"},
        {"08", "8"},
        {"1.5", "1.5"},
        {"1e3", "1000"},
        {"1e-2", "0.01"},
        {"25e+1", "250"},
        {"1e+", "\"1e+\""},
        {".5", "0.5"},
        {"5.", "5"},
        {"1.", "1"},
        {"1e", "\"1e\""},
        {".", "\".\""},
        {"-", "null"},
        {"+", "\"+\""},
        {"0x", "\"0x\""},
        {"1.2.3.4", "\"1.2.3.4\""},
        {"10m", "\"10m\""},
        {"1Gi", "\"1Gi\""},
        {"2001-12-14", "\"2001-12-14\""},
        {"12:30:45", "\"12:30:45\""},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9.2233720368547758e18"},
        {"__", "\"__\""},
    };
    AUTO(strbuf) struct strbuf b = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf text = {0};
        AUTO(strbuf) struct strbuf want = {0};
        strbuf_printf(&text, "[%s]", rows[i].text);
        if (strcmp(rows[i].text, "-") == 0) {
            strbuf_clear(&text);
            strbuf_puts(&text, "-");
        }
        strbuf_printf(&want, "[[%s]]", rows[i].want);
        CHECK_STR(read_all(text.p, &b), want.p);
    }
}

TEST(what_is_wrong_is_said_with_its_line)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a: 1\nb: [\n", "YAML line 3"},
        {"a: *x\n", "YAML line 1 column 4: alias without its anchor"},
        {"a: &x [*x]\n", "YAML line 1 column 8: alias without its anchor"},
        {"a: &x 1\n---\nb: *x\n", "YAML line 3 column 4: alias without its anchor"},
        {"\n\n? [a]\n: 1\n", "YAML line 3 column 5: not a usable key"},
        {"~: 1\n", "YAML line 1 column 1: not a usable key"},
        {"<<: 1\n", "YAML line 1 column 5: not a usable key"},
        {"a: .inf\n", "YAML line 1 column 4: number is not finite"},
        {"a: !!int x\n", "YAML line 1 column 4: value does not fit its tag"},
        {"a: !!bool 1\n", "YAML line 1 column 4: value does not fit its tag"},
        {"a: !!float true\n", "YAML line 1 column 4: value does not fit its tag"},
        {"a: !other x\n", "YAML line 1 column 4: value does not fit its tag"},
        {"a: \"\\0\"\n", "YAML line 1 column 4: NUL in a string"},
        {"a: \xff\n", "YAML byte 3"},
        {"\ta: 1\n", "YAML line 1"},
    };
    AUTO(strbuf) struct strbuf b = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)read_all(rows[i].text, &b);
        if (strncmp(b.p, rows[i].want, strlen(rows[i].want)) != 0) {
            CHECK_STR(b.p, rows[i].want);
        }
    }
}

TEST(a_bomb_of_aliases_stays_small)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_puts(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++) {
        strbuf_printf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++) {
            strbuf_printf(&text, "%s*a%d", k > 0 ? "," : "", i - 1);
        }
        strbuf_puts(&text, "]\n");
    }
    (void)read_all(text.p, &b);
    CHECK(strstr(b.p, "aliases expand to too many values"));
}

TEST(a_long_text_behind_many_aliases_counts_by_its_length)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf b = {0};

    strbuf_puts(&text, "a: &a ");
    for (int i = 0; i < 1000000; i++) {
        strbuf_putc(&text, 'x');
    }
    strbuf_puts(&text, "\nb: [");
    for (int i = 0; i < 100; i++) {
        strbuf_puts(&text, "*a,");
    }
    strbuf_puts(&text, "]\n");
    (void)read_all(text.p, &b);
    CHECK(strstr(b.p, "aliases expand to too many values"));
}

TEST(depth_and_size_have_limits)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf b = {0};
    struct yaml_reader *y = NULL;

    for (int i = 0; i <= YAML_DEPTH_MAX; i++) {
        strbuf_putc(&text, '[');
    }
    (void)read_all(text.p, &b);
    CHECK(strstr(b.p, "nested too deep"));
    CHECK_INT(yaml_reader_new(&y, "", YAML_BYTES_MAX + 1, NULL), -ERR_TOO_LARGE);
}

TEST(documents_come_one_by_one_and_a_broken_one_ends_them)
{
    static const char text[] = "a: 1\n---\nb: 2\n---\nc: [\n";
    AUTO(yaml_reader) struct yaml_reader *y = NULL;
    struct json *j = NULL;

    CHECK_INT(yaml_reader_new(&y, text, strlen(text), NULL), 0);
    CHECK_INT(yaml_reader_next(y, &j, NULL), 1);
    CHECK_INT(yaml_reader_line(y), 1);
    CHECK_INT(json_int_at(j, "a", 0), 1);
    j = json_unref(j);
    CHECK_INT(yaml_reader_next(y, &j, NULL), 1);
    CHECK_INT(yaml_reader_line(y), 2);
    j = json_unref(j);
    CHECK_INT(yaml_reader_next(y, &j, NULL), -ERR_SYNTAX);
    CHECK_INT(yaml_reader_next(y, &j, NULL), -ERR_SYNTAX);
    CHECK(!j);
}
