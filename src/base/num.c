/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"

#include "base/ascii.h"

int num_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (len == 0) {
        return -ERR_SYNTAX;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(s[i] - '0');
        if (s[i] < '0' || s[i] > '9') {
            return -ERR_SYNTAX;
        }
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v)) {
            return -ERR_RANGE;
        }
    }
    if (v > max) {
        return -ERR_RANGE;
    }
    *out = v;
    return 0;
}

int num_parse_u32(const char *s, size_t len, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    int r = num_parse_u64(s, len, max, &v);

    if (r == 0) {
        *out = (uint32_t)v;
    }
    return r;
}

int num_parse_port(const char *s, size_t len, uint16_t *out)
{
    uint64_t v = 0;
    int r = num_parse_u64(s, len, UINT16_MAX, &v);

    if (r < 0) {
        return r;
    }
    if (v == 0) {
        return -ERR_RANGE;
    }
    *out = (uint16_t)v;
    return 0;
}

static const struct {
    const char *name;
    uint64_t ms;
} duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
};

/* The unit at s, or 0. What follows the letters must be a digit or the end. */
static uint64_t duration_unit(const char *s, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
        if (strlen(duration_units[i].name) == len && memcmp(s, duration_units[i].name, len) == 0) {
            return duration_units[i].ms;
        }
    }
    return 0;
}

static size_t digits_at(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && ascii_is_digit(s[n])) {
        n++;
    }
    return n;
}

/* What ".25" of a unit is; finer than a millisecond is cut off. */
static uint64_t duration_fraction(const char *s, size_t digits, uint64_t unit)
{
    uint64_t nano = 0;

    for (size_t i = 0; i < 9; i++) {
        nano = nano * 10 + (i < digits ? (uint64_t)(s[i] - '0') : 0);
    }
    return unit * nano / 1000000000; /* a week of milliseconds has 10 digits: it fits */
}

/* One "<digits>[.<digits>]<unit>" at s: how many bytes it took, or an error. */
static int duration_part(const char *s, size_t len, uint64_t *total)
{
    size_t whole = digits_at(s, len);
    size_t fraction =
        whole < len && s[whole] == '.' ? digits_at(s + whole + 1, len - whole - 1) : 0;
    size_t digits = whole + (fraction > 0 ? 1 + fraction : 0);
    size_t end = digits;
    uint64_t n = 0;

    while (end < len && !ascii_is_digit(s[end])) {
        end++;
    }
    int r = num_parse_u64(s, whole, UINT64_MAX, &n);
    if (r < 0) {
        return r;
    }
    uint64_t unit = duration_unit(s + digits, end - digits);
    if (unit == 0) {
        return -ERR_SYNTAX;
    }
    if (__builtin_mul_overflow(n, unit, &n) || __builtin_add_overflow(*total, n, total) ||
        __builtin_add_overflow(*total, duration_fraction(s + whole + 1, fraction, unit), total)) {
        return -ERR_RANGE;
    }
    return (int)end;
}

int num_parse_duration_ms(const char *s, size_t len, uint64_t *out)
{
    uint64_t total = 0;

    if (len == 0 || len > 64) {
        return -ERR_SYNTAX;
    }
    if (num_parse_u64(s, len, UINT64_MAX / 1000, &total) == 0) {
        *out = total * 1000;
        return 0;
    }
    for (size_t at = 0; at < len;) {
        int r = duration_part(s + at, len - at, &total);
        if (r < 0) {
            return r;
        }
        at += (size_t)r;
    }
    *out = total;
    return 0;
}
