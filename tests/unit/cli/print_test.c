/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/rows.h"
#include "cli/span.h"
#include "cli/text_table.h"
#include "cli/yaml_print.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "t.h"

static struct json *read_json(const char *text)
{
    struct json *j = NULL;

    return json_parse(&j, text, strlen(text), NULL, NULL) < 0 ? NULL : j;
}

TEST(columns_are_as_wide_as_their_widest_cell_and_nothing_is_cut)
{
    static const char *const heads[] = {"NAME", "STATE", "NOTE"};
    AUTO(text_table) struct text_table *table = text_table_new(heads, 3);
    AUTO(strbuf) struct strbuf b = {0};

    text_table_row(table);
    text_table_cell(table, STYLE_PLAIN, "%s", "a-long-name");
    text_table_cell(table, STYLE_PLAIN, "%s", "");
    text_table_row(table);
    text_table_cell(table, STYLE_PLAIN, "%s", "b\xc3\xa4");
    text_table_cell(table, STYLE_BAD, "%d", 7);
    text_table_cell(table, STYLE_PLAIN, "%s", "x\x1b[2Jy");
    text_table_print(table, true, false, &b);
    CHECK_STR(strbuf_text(&b), "NAME         STATE  NOTE\n"
                               "a-long-name  -      -\n"
                               "b\xc3\xa4           7      x?[2Jy\n");
    strbuf_clear(&b);
    text_table_print(table, false, true, &b);
    CHECK_STR(strbuf_text(&b), "a-long-name  -  -\nb\xc3\xa4           \033[31m7\033[0m  x?[2Jy\n");
}

TEST(rows_show_members_in_the_way_of_their_column)
{
    static const struct row_column columns[] = {{"NAME", "name", CELL_TEXT, false},
                                                {"SENT", "sent", CELL_BYTES, false},
                                                {"AGE", "age_ms", CELL_SPAN_MS, false},
                                                {"LEFT", "left_s", CELL_SPAN_S, false},
                                                {"OK", "ok", CELL_VERDICT, false},
                                                {"ID", "id", CELL_TEXT, true},
                                                {0}};
    AUTO(json)
    struct json *rows = read_json(
        "[{\"name\":[\"a\",\"b\"],\"sent\":12345,\"age_ms\":61000,\"left_s\":90,\"ok\":\"mTLS\"},"
        "{\"id\":7}]");
    AUTO(strbuf) struct strbuf b = {0};

    rows_print(rows, columns, false, false, &b);
    CHECK_STR(strbuf_text(&b), "NAME  SENT  AGE   LEFT   OK\n"
                               "a,b   12kB  1m1s  1m30s  mTLS\n"
                               "-     -     -     -      -\n");
    strbuf_clear(&b);
    rows_print(rows, columns, true, true, &b);
    CHECK(strstr(strbuf_text(&b), "\033[32mmTLS\033[0m"));
    CHECK(strstr(strbuf_text(&b), "7\n"));
}

TEST(rows_are_sorted_by_several_members_and_else_keep_their_order)
{
    static const char *const keys[] = {"a", "b", NULL};
    AUTO(json)
    struct json *rows = read_json(
        "[{\"a\":\"y\",\"b\":\"1\"},{\"a\":\"x\",\"b\":\"2\",\"n\":1},{\"a\":\"x\",\"b\":\"1\"},"
        "{\"a\":\"x\",\"b\":\"2\",\"n\":2},{\"b\":\"9\"}]");
    AUTO(json) struct json *sorted = rows_sorted(rows, keys);
    AUTO(strbuf) struct strbuf b = {0};

    json_print(sorted, JSON_PRINT_SORTED, &b);
    CHECK_STR(strbuf_text(&b),
              "[{\"b\":\"9\"},{\"a\":\"x\",\"b\":\"1\"},{\"a\":\"x\",\"b\":\"2\",\"n\":1},"
              "{\"a\":\"x\",\"b\":\"2\",\"n\":2},{\"a\":\"y\",\"b\":\"1\"}]");
}

TEST(times_are_read_as_rfc_3339_has_them)
{
    static const struct {
        const char *text;
        int64_t s;
    } good[] = {{"1970-01-01T00:00:00Z", 0},
                {"2000-02-29T12:30:15Z", 951827415},
                {"2026-11-26T14:16:20Z", 1795702580},
                {"2026-11-26T14:16:20.999999Z", 1795702580},
                {"2100-03-01T00:00:00Z", 4107542400}};
    static const char *const bad[] = {"",
                                      "2026-11-26",
                                      "2026-11-26T14:16:20",
                                      "2026-11-26 14:16:20Z",
                                      "2026-13-26T14:16:20Z",
                                      "2026-11-26T24:16:20Z",
                                      "2026-11-26T14:1x:20Z",
                                      "2026-11-26T14:16:20+01:00Z",
                                      "1969-12-31T23:59:59Z"};
    int64_t s;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CHECK_INT(span_time(good[i].text, &s), 0);
        CHECK_INT(s, good[i].s);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_INT(span_time(bad[i], &s), -ERR_SYNTAX);
    }
}

TEST(spans_and_sizes_are_short)
{
    static const struct {
        int64_t s;
        const char *text;
    } spans[] = {{0, "0s"},      {59, "59s"},       {60, "1m"},       {61, "1m1s"},
                 {3600, "1h"},   {86399, "23h59m"}, {86400, "1d"},    {90000, "1d1h"},
                 {-61, "-1m1s"}, {8640000, "100d"}, {8643600, "100d"}};
    static const struct {
        uint64_t n;
        const char *text;
    } sizes[] = {{0, "0B"},       {999, "999B"},     {1000, "1.0kB"},    {9999, "9.9kB"},
                 {10000, "10kB"}, {999999, "999kB"}, {1000000, "1.0MB"}, {UINT64_MAX, "18446PB"}};

    for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        span_print(spans[i].s, &b);
        CHECK_STR(strbuf_text(&b), spans[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        AUTO(strbuf) struct strbuf b = {0};
        span_bytes(sizes[i].n, &b);
        CHECK_STR(strbuf_text(&b), sizes[i].text);
    }
}

TEST(yaml_reads_as_the_value_it_was_printed_from)
{
    static const char *const values[] = {
        "{\"apiVersion\":\"v1\",\"items\":[{\"a\":1,\"b\":[1,2,{\"c\":null}]},[],{},[[1],[2,[3]]]]"
        "}",
        "{\"yes\":\"yes\",\"n\":\"0644\",\"date\":\"2026-01-01\",\"tilde\":\"~\",\"empty\":\"\"}",
        "{\"text\":\"a: b # c\\n- d\",\"colon:\":\"- "
        "x\",\"u\":\"\\u00e4\\u2028\",\"t\":true,\"r\":1.5}",
        "[\"null\",null,\"1e3\",\".5\",\"=\",\"<<\",\"*a\",\"&b\",\"!c\"]",
        "\"plain\"",
        "[\"\\u007f \\u0085 \\u009f \\ufeff \\u2028\\u2029 \\ud83d\\ude00\",\"\x7f\"]",
    };

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        AUTO(json) struct json *j = read_json(values[i]);
        AUTO(json) struct json *back = NULL;
        AUTO(strbuf) struct strbuf b = {0};
        yaml_print(j, &b);
        CHECK_INT(yaml_parse_all(&back, b.p, b.len, NULL), 0);
        CHECK_INT(json_count(back), 1);
        CHECK(json_same(json_item(back, 0), j));
    }
}

TEST(yaml_with_a_key_longer_than_a_line_may_be_reads_as_it_was_printed)
{
    AUTO(strbuf) struct strbuf text = {0};
    AUTO(strbuf) struct strbuf b = {0};
    AUTO(json) struct json *back = NULL;

    strbuf_puts(&text, "[{\"");
    for (unsigned i = 0; i < 1100; i++) {
        strbuf_putc(&text, 'k');
    }
    strbuf_puts(&text, "\":{\"a\":[1,{}]},\"z\":2}]");
    AUTO(json) struct json *j = read_json(strbuf_text(&text));
    yaml_print(j, &b);
    CHECK_INT(yaml_parse_all(&back, b.p, b.len, NULL), 0);
    CHECK(json_same(json_item(back, 0), j));
}

TEST(yaml_looks_as_people_write_it)
{
    AUTO(json)
    struct json *j =
        read_json("{\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"a.b/c\":\"x\",\"n\":\"1\"}},"
                  "\"spec\":{\"ports\":[{\"port\":80,\"name\":\"http\"},{\"port\":81}],\"e\":[]}}");
    AUTO(strbuf) struct strbuf b = {0};

    yaml_print(j, &b);
    CHECK_STR(strbuf_text(&b), "kind: Pod\nmetadata:\n  labels:\n    a.b/c: x\n    \"n\": \"1\"\n"
                               "spec:\n  ports:\n  - port: 80\n    name: http\n  - port: 81\n"
                               "  e: []\n");
}
