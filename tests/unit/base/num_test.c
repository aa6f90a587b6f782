/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"

#include "base/str.h"
#include "t.h"

TEST(durations_read_as_the_environment_writes_them)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {{"5s", 5000}, {"1m30s", 90000}, {"100ms", 100},     {"24h", 86400000},
                {"7", 7000},  {"0.5s", 500},    {"1.25h", 4500000}, {"1m0.0019s", 60001}};
    uint64_t ms = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_INT(num_parse_duration_ms(rows[i].text, strlen(rows[i].text), &ms), 0);
        CHECK_INT(ms, rows[i].ms);
    }
}

TEST(durations_that_are_not_are_refused)
{
    static const char *const bad[] = {
        "", "s", "5x", "-5s", "5 s", "5s3", "1.s", ".5s", "1.5", "1.5.5s", "99999999999999999999s"};
    uint64_t ms = 0;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (num_parse_duration_ms(bad[i], strlen(bad[i]), &ms) == 0) {
            test_fail(t, __FILE__, __LINE__, bad[i]);
        }
    }
}

TEST(numbers_beyond_their_range_are_refused)
{
    uint64_t v = 0;
    uint16_t port = 0;

    CHECK_INT(num_parse_u64("18446744073709551615", 20, UINT64_MAX, &v), 0);
    CHECK(v == UINT64_MAX);
    CHECK_INT(num_parse_u64("18446744073709551616", 20, UINT64_MAX, &v), -ERR_RANGE);
    CHECK_INT(num_parse_port("65536", 5, &port), -ERR_RANGE);
    CHECK_INT(num_parse_port("0", 1, &port), -ERR_RANGE);
    CHECK_INT(num_parse_port("080", 3, &port), 0);
}

TEST(numbers_print_in_decimal)
{
    static const struct {
        uint64_t n;
        const char *text;
    } rows[] = {{0, "0"}, {9, "9"}, {10, "10"}, {UINT64_MAX, "18446744073709551615"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(strbuf) struct strbuf out = {0};
        strbuf_put_u64(&out, rows[i].n);
        CHECK_STR(strbuf_text(&out), rows[i].text);
    }
}
