/* SPDX-License-Identifier: Apache-2.0 */
/* The only callers of clock_gettime. Monotonic for intervals, wall for certificates and logs. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
/* Since 1970. */
uint64_t clock_wall_ns(void);
int64_t clock_wall_s(void);

/* "2026-11-25T15:00:00.123456Z" (microseconds) into buf of at least CLOCK_TEXT bytes. */
enum { CLOCK_TEXT = 32 };
void clock_format(uint64_t wall_ns, char *buf, size_t len);
