/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/span.h"

#include <string.h>

#include "base/num.h"

enum { YEAR_MAX = 9999, DAY_S = 24 * 60 * 60 };

/* len digits at s + at; -1 when they are none. */
static int digits(const char *s, size_t at, size_t len)
{
    uint32_t n;

    return num_parse_u32(s + at, len, YEAR_MAX, &n) < 0 ? -1 : (int)n;
}

/* Days since 1970 of a date of the Gregorian calendar: years are counted from March, so that the day
 * that may be missing is the last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t in_era = y % 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return y / 400 * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static bool is_date(int year, int month, int day)
{
    return year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

int span_time(const char *text, int64_t *out_s)
{
    size_t len = strlen(text);

    if (len < 20 || text[len - 1] != 'Z' || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
        text[13] != ':' || text[16] != ':' || (len > 20 && text[19] != '.')) {
        return -ERR_SYNTAX;
    }
    int year = digits(text, 0, 4);
    int month = digits(text, 5, 2);
    int day = digits(text, 8, 2);
    int hour = digits(text, 11, 2);
    int minute = digits(text, 14, 2);
    int second = digits(text, 17, 2);
    if (!is_date(year, month, day) || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 60) {
        return -ERR_SYNTAX;
    }
    *out_s = days_of(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    return 0;
}

void span_print(int64_t seconds, struct strbuf *out)
{
    static const struct {
        int64_t s;
        char name;
    } units[] = {{DAY_S, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;

    if (seconds < 0) {
        strbuf_putc(out, '-');
        seconds = -seconds;
    }
    while (i < 3 && seconds < units[i].s) {
        i++;
    }
    strbuf_printf(out, "%lld%c", (long long)(seconds / units[i].s), units[i].name);
    int64_t rest = i < 3 ? seconds % units[i].s / units[i + 1].s : 0;
    if (rest > 0 && seconds < 100 * (int64_t)DAY_S) {
        strbuf_printf(out, "%lld%c", (long long)rest, units[i + 1].name);
    }
}

void span_bytes(uint64_t bytes, struct strbuf *out)
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    uint64_t unit = 1;
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(names) && bytes / unit >= 1000) {
        unit *= 1000;
        i++;
    }
    if (i > 0 && bytes / unit < 10) {
        strbuf_printf(out, "%llu.%llu%s", (unsigned long long)(bytes / unit),
                      (unsigned long long)(bytes % unit / (unit / 10)), names[i]);
        return;
    }
    strbuf_printf(out, "%llu%s", (unsigned long long)(bytes / unit), names[i]);
}

const char *span_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}
