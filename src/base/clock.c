/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
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

void clock_format(uint64_t wall_ns, char *buf, size_t len)
{
    time_t s = (time_t)(wall_ns / 1000000000u);
    unsigned us = (unsigned)(wall_ns / 1000u % 1000000u);
    struct tm tm = {0};
    char day[24];

    (void)gmtime_r(&s, &tm); /* fails only beyond year 2^31 */
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf, len, "%s.%06uZ", day, us);
}
