/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <assert.h>
#include <string.h>
#include <time.h>

static uint64_t now_ns(clockid_t id)
{
    struct timespec ts = {0};

    (void)clock_gettime(id, &ts); /* cannot fail for these clocks */
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000u;
}

uint64_t clock_wall_ns(void)
{
    return now_ns(CLOCK_REALTIME);
}

int64_t clock_wall_s(void)
{
    return (int64_t)(clock_wall_ns() / 1000000000u);
}

/* n as that many digits. */
static void put_digits(char *to, unsigned digits, unsigned n)
{
    for (; digits > 0; digits--, n /= 10) {
        to[digits - 1] = (char)('0' + n % 10);
    }
}

enum { DAY_TEXT = 19, STAMP_TEXT = DAY_TEXT + 7 };

/* "2026-11-25T15:00:00", kept for the second: most stamps share it with the one before. */
static const char *second_text(time_t s)
{
    static _Thread_local struct {
        time_t s;
        char text[24];
    } last;

    if (last.s != s || last.text[0] == '\0') {
        struct tm tm = {0};
        (void)gmtime_r(&s, &tm); /* fails only beyond year 2^31 */
        (void)strftime(last.text, sizeof(last.text), "%Y-%m-%dT%H:%M:%S", &tm);
        last.s = s;
    }
    return last.text;
}

void clock_format(uint64_t wall_ns, char *buf, size_t len)
{
    assert(len >= CLOCK_TEXT);
    memcpy(buf, second_text((time_t)(wall_ns / 1000000000u)), DAY_TEXT);
    buf[DAY_TEXT] = '.';
    put_digits(buf + DAY_TEXT + 1, 6, (unsigned)(wall_ns / 1000u % 1000000u));
    memcpy(buf + STAMP_TEXT, "Z", 2);
}
